//! What of the system matters to amb: whom it can recognise, how many connections it may have, what is set already.

use std::{env, fs, path::Path};

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::{proxy, supervise::Confinement};

/// Variables that lead to certificates, and so decide what programs trust before amb adds to it.
const CERTIFICATES: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "JAVA_TOOL_OPTIONS",
];

/// What was found out.
#[derive(Serialize)]
pub(super) struct System {
    /// The kernel and its version.
    kernel: String,
    /// Whether processes can be looked up in `/proc`; without it amb does not name them.
    proc: bool,
    /// Why the kernel's socket table says nothing, if it does not; without it nobody is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    sock_diag_error: Option<String>,
    /// Why the kernel cannot hold a command to the proxy, if it cannot; without it there is no `--confine tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    confine_error: Option<String>,
    /// How many files amb may have open, which it raises to the second; none for as many as it likes.
    open_files: [Option<u64>; 2],
    /// Variables in the environment that decide about proxies and certificates.
    environment: Vec<Variable>,
}

/// A variable.
#[derive(Serialize)]
struct Variable {
    /// Its name.
    name: String,
    /// Its value, without passwords.
    value: String,
    /// What is to be said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl System {
    /// Looks around.
    pub(super) fn look() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let limit = getrlimit(Resource::Nofile);
        let mut environment: Vec<Variable> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| is_proxy(name) || CERTIFICATES.contains(&&**name))
            .map(|(name, value)| Variable::of(name, &value))
            .collect();
        environment.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            kernel: format!("{} {}", env::consts::OS, release.trim()).trim().to_owned(),
            proc: fs::read_dir("/proc/self/fd").is_ok(),
            sock_diag_error: proxy::recognises_clients().err().map(|error| error.to_string()),
            confine_error: Confinement::possible().err().map(|error| error.reason),
            open_files: [limit.current, limit.maximum],
            environment,
        }
    }

    /// For people: what it is about, and what there is to say of it.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let most = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        let mut lines = vec![
            ("kernel".to_owned(), self.kernel.clone()),
            (
                "/proc".to_owned(),
                if self.proc {
                    "can be read: programs are named".to_owned()
                } else {
                    "cannot be read: programs are not named".to_owned()
                },
            ),
            (
                "sock_diag".to_owned(),
                match &self.sock_diag_error {
                    None => "says whose a connection is: strangers are refused".to_owned(),
                    Some(reason) => format!("says nothing ({reason}): nobody is refused"),
                },
            ),
            (
                "landlock".to_owned(),
                match &self.confine_error {
                    None => "holds a command to the proxy: --confine tcp works".to_owned(),
                    Some(reason) => format!("holds nothing ({reason}): --confine tcp lets nothing start"),
                },
            ),
            (
                "open files".to_owned(),
                format!("{}, at most {}", most(self.open_files[0]), most(self.open_files[1])),
            ),
        ];
        for variable in &self.environment {
            let note = variable.note.map_or_else(String::new, |note| format!("  ({note})"));
            lines.push((variable.name.clone(), format!("{}{note}", variable.value)));
        }
        lines
    }
}

impl Variable {
    /// The one of this name.
    fn of(name: String, value: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        let note = if value.is_empty() {
            None
        } else if lower == "no_proxy" {
            value
                .split(',')
                .any(|host| host.trim() == "*")
                .then_some("the command goes around amb, to every host")
        } else if is_proxy(&name) {
            Some("amb goes through it")
        } else if name != "JAVA_TOOL_OPTIONS" && !value.split(':').all(|path| Path::new(path).exists()) {
            Some("there is no such file")
        } else {
            None
        };
        Self {
            value: without_password(value),
            name,
            note,
        }
    }
}

/// Whether it is a variable that leads to a proxy, or past one.
fn is_proxy(name: &str) -> bool {
    matches!(
        &*name.to_ascii_lowercase(),
        "http_proxy" | "https_proxy" | "all_proxy" | "no_proxy"
    )
}

/// A URL without who it says to be.
fn without_password(value: &str) -> String {
    match value.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, place)) => format!("{scheme}://***@{place}"),
            None => value.to_owned(),
        },
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_told_with_what_it_means_and_without_its_password() {
        for (name, value, shown, note) in [
            (
                "https_proxy",
                "http://me:secret@p:1",
                "http://***@p:1",
                Some("amb goes through it"),
            ),
            ("NO_PROXY", "a,b", "a,b", None),
            (
                "NO_PROXY",
                "a, *",
                "a, *",
                Some("the command goes around amb, to every host"),
            ),
            ("HTTP_PROXY", "", "", None),
            (
                "SSL_CERT_FILE",
                "/nowhere/at/all",
                "/nowhere/at/all",
                Some("there is no such file"),
            ),
            ("SSL_CERT_DIR", "/:/dev", "/:/dev", None),
        ] {
            let variable = Variable::of(name.to_owned(), value);
            assert_eq!((&*variable.value, variable.note), (shown, note), "{name}");
        }
    }
}
