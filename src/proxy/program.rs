//! The program at the other end of a connection: what it is called, what it is made with, and what would make it trust amb.
//!
//! Linux alone says so, in `/proc`. A command line is not told, since it may hold a password: only its program and script.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File},
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The most bytes that are read of a memory map or an environment.
const MOST_BYTES: u64 = 512 * 1024;
/// The most bytes of an executable that are searched: more than most have.
const MOST_SEARCHED: u64 = 96 * 1024 * 1024;
/// What Go begins the section `.go.buildinfo` with.
const GO: &[u8] = b"\xff Go buildinf:";
/// What is searched at once.
const CHUNK: usize = 256 * 1024;
/// Endings of the names of scripts.
const SCRIPTS: [&str; 12] = [
    ".py", ".js", ".mjs", ".cjs", ".ts", ".jar", ".rb", ".php", ".pl", ".sh", ".exs", ".dll",
];

/// A program that was looked up while it was there.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its process.
    pid: u32,
    /// What the kernel calls it.
    name: String,
    /// Its executable; none if amb may not know.
    executable: Option<PathBuf>,
    /// The script that it runs, if it seems to run one.
    script: Option<String>,
    /// What was found out.
    evidence: Evidence,
}

/// What is known of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Evidence {
    /// The file name of its executable; else what the kernel calls it.
    executable: String,
    /// The file names of the libraries that it has mapped.
    libraries: BTreeSet<String>,
    /// The names of its variables; none if they may not be read.
    variables: Option<BTreeSet<String>>,
    /// Whether its command line names a trust store, as Java's may.
    names_store: bool,
    /// Whether its executable was made by Go.
    is_go: bool,
    /// Whether there are roots built into its executable, as in Rust's `webpki-roots`.
    has_roots: bool,
}

/// What a program is made with, as far as that decides whom it trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    /// A JVM.
    Java,
    /// Firefox, Chromium and what is made of them.
    Nss,
    /// Node.
    Node,
    /// Deno.
    Deno,
    /// Bun.
    Bun,
    /// Python.
    Python,
    /// .NET.
    DotNet,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// Perl.
    Perl,
    /// Go.
    Go,
    /// Rust with roots of its own.
    RustRoots,
    /// What links `GnuTLS`.
    GnuTls,
    /// What links OpenSSL.
    OpenSsl,
}

impl Runtime {
    /// What it is called, which variable it reads, and what else would help.
    fn facts(self) -> (&'static str, Option<&'static str>, &'static str) {
        match self {
            Self::Java => (
                "a JVM with a trust store of its own",
                Some("JAVA_TOOL_OPTIONS"),
                "-Djavax.net.ssl.trustStore=FILE names the one it reads, unless its code names another",
            ),
            Self::Nss => (
                "a program with Mozilla's NSS, as Firefox and Chromium are",
                None,
                "it reads no variable: certutil -A -t C -n amb -d sql:DIRECTORY adds an authority to its database, or tls.never \
                 names this host",
            ),
            Self::Node => (
                "Node",
                Some("NODE_EXTRA_CA_CERTS"),
                "a `ca` in its code replaces all roots; --use-openssl-ca makes it read SSL_CERT_FILE",
            ),
            Self::Deno => ("Deno", Some("DENO_CERT"), "--cert FILE names one more authority"),
            Self::Bun => (
                "Bun",
                Some("NODE_EXTRA_CA_CERTS"),
                "a `ca` in its code replaces all roots",
            ),
            Self::Python => (
                "Python, probably with the roots of certifi",
                Some("SSL_CERT_FILE"),
                "requests reads REQUESTS_CA_BUNDLE; where code names certifi's file, the package truststore or \
                 pip-system-certs helps",
            ),
            Self::DotNet => (
                ".NET",
                Some("SSL_CERT_FILE"),
                "code that checks certificates itself has to be told",
            ),
            Self::Ruby => ("Ruby", Some("SSL_CERT_FILE"), "a `ca_file` in its code replaces it"),
            Self::Php => (
                "PHP",
                Some("PHP_INI_SCAN_DIR"),
                "openssl.cafile and curl.cainfo name what it reads, unless php runs with -n",
            ),
            Self::Perl => (
                "Perl",
                Some("SSL_CERT_FILE"),
                "PERL_LWP_SSL_CA_FILE is what LWP reads, unless its code names Mozilla::CA",
            ),
            Self::Go => (
                "a program made with Go",
                Some("SSL_CERT_FILE"),
                "`RootCAs` in its code replaces it",
            ),
            Self::RustRoots => (
                "a program made with Rust and roots built in (webpki-roots)",
                None,
                "it reads no variable: it would have to be built with rustls-native-certs or rustls-platform-verifier, or \
                 tls.never names this host",
            ),
            Self::GnuTls => (
                "a program with GnuTLS",
                None,
                "it reads no variable: an option of its own may name a file, as wget's --ca-certificate does, or tls.never \
                 names this host",
            ),
            Self::OpenSsl => (
                "a program with OpenSSL",
                Some("SSL_CERT_FILE"),
                "an option of its own may name another file, as curl's --cacert does",
            ),
        }
    }
}

impl Evidence {
    /// What it points to.
    fn runtime(&self) -> Option<Runtime> {
        let library = |start: &str| self.libraries.iter().any(|name| name.starts_with(start));
        let is = |names: &[&str]| {
            let plain = self
                .executable
                .trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
            names.contains(&plain) || names.contains(&&*self.executable)
        };
        // What is more particular comes first: much maps libssl that does not trust by it.
        [
            (is(&["java"]) || library("libjvm.so"), Runtime::Java),
            (is(&["deno"]), Runtime::Deno),
            (is(&["bun"]), Runtime::Bun),
            (is(&["dotnet"]) || library("libcoreclr.so"), Runtime::DotNet),
            (is(&["node", "nodejs"]) || library("libnode.so"), Runtime::Node),
            (
                library("libnss3.so") || is(&["chrome", "chromium", "firefox", "electron"]),
                Runtime::Nss,
            ),
            (is(&["python", "pypy"]) || library("libpython"), Runtime::Python),
            (is(&["ruby"]) || library("libruby"), Runtime::Ruby),
            (is(&["php", "php-fpm", "php-cgi"]), Runtime::Php),
            (is(&["perl"]), Runtime::Perl),
            (self.is_go, Runtime::Go),
            (self.has_roots, Runtime::RustRoots),
            (library("libssl.so"), Runtime::OpenSsl),
            (library("libgnutls.so"), Runtime::GnuTls),
        ]
        .into_iter()
        .find_map(|(fits, runtime)| fits.then_some(runtime))
    }

    /// What it is, and what would make it trust amb; none if nobody knows.
    fn advice(&self) -> Option<String> {
        let runtime = self.runtime()?;
        let (what, variable, else_helps) = runtime.facts();
        let state = match (variable, &self.variables) {
            (Some(variable), Some(variables)) if !variables.contains(variable) => {
                format!("{variable} has been removed from its environment, or is not injected; ")
            }
            (Some(_), _) if runtime == Runtime::Java && self.names_store => {
                "its command line names another one than amb's; ".to_owned()
            }
            (Some(variable), _) => format!("it should read {variable}; "),
            (None, _) => String::new(),
        };
        Some(format!("{what}: {state}{else_helps}"))
    }
}

impl Program {
    /// Looks a process up.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let name = fs::read_to_string(process.join("comm")).ok()?;
        let name = name.trim_end().escape_debug().to_string();
        let executable = fs::read_link(process.join("exe")).ok();
        let words = read(&process.join("cmdline")).unwrap_or_default();
        let words: Vec<String> = words
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let file_name = executable.as_deref().and_then(file_name);
        let evidence = Evidence {
            executable: file_name.unwrap_or_else(|| name.clone()),
            libraries: libraries(&read(&process.join("maps")).unwrap_or_default()),
            variables: read(&process.join("environ")).map(|bytes| variables(&bytes)),
            names_store: words.iter().any(|word| word.starts_with("-Djavax.net.ssl.trustStore=")),
            ..Evidence::default()
        };
        let script = words.iter().skip(1).find(|word| {
            let name = word.to_ascii_lowercase();
            !word.starts_with('-') && SCRIPTS.iter().any(|ending| name.ends_with(ending))
        });
        Some(Self {
            pid,
            name,
            executable,
            script: script.map(|script| script.escape_debug().to_string()),
            evidence,
        })
    }

    /// What it is, and what would make it trust amb; none if nobody knows. Reads its executable, which may take a while.
    pub(crate) fn advice(mut self) -> Option<String> {
        if self
            .evidence
            .runtime()
            .is_none_or(|runtime| runtime == Runtime::OpenSsl)
            && let Some(executable) = &self.executable
        {
            let [is_go, is_rust, has_roots] = found(executable, [GO, b"rustls", b"webpki-roots"]);
            self.evidence.is_go = is_go;
            self.evidence.has_roots = is_rust && has_roots;
        }
        self.evidence.advice()
    }
}

/// `java (pid 4711, running app.jar)`.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}", self.name, self.pid)?;
        if let Some(script) = &self.script {
            write!(f, ", running {script}")?;
        }
        f.write_str(")")
    }
}

/// The name of a file.
fn file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

/// A file of `/proc`, as far as it is of interest.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The libraries in a memory map.
fn libraries(map: &[u8]) -> BTreeSet<String> {
    map.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let path = line.iter().position(|byte| *byte == b'/')?;
            file_name(Path::new(std::ffi::OsStr::from_bytes(&line[path..])))
        })
        .collect()
}

/// The names of the variables in an environment.
fn variables(environment: &[u8]) -> BTreeSet<String> {
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.split(|byte| *byte == b'=').next())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Whether an executable was made by Go, which leaves a mark in it also where it links nothing.
pub fn is_made_by_go(executable: &Path) -> bool {
    found(executable, [GO]) == [true]
}

/// Which of some words are in a file.
fn found<const COUNT: usize>(path: &Path, words: [&[u8]; COUNT]) -> [bool; COUNT] {
    let mut found = [false; COUNT];
    let Ok(file) = File::open(path) else { return found };
    let mut file = file.take(MOST_SEARCHED);
    let overlap = words.iter().map(|word| word.len()).max().unwrap_or_default();
    let mut bytes = Vec::new();
    loop {
        // A word may lie across two pieces.
        let kept = bytes.len().saturating_sub(overlap);
        bytes.drain(..kept);
        let before = bytes.len();
        let piece = file.by_ref().take(CHUNK as u64).read_to_end(&mut bytes);
        if piece.is_err() || bytes.len() == before {
            return found;
        }
        for (word, found) in words.iter().zip(&mut found) {
            *found |= memchr::memmem::find(&bytes, word).is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of a program of this name with these libraries.
    fn evidence(executable: &str, libraries: &[&str]) -> Evidence {
        Evidence {
            executable: executable.to_owned(),
            libraries: libraries.iter().map(ToString::to_string).collect(),
            variables: None,
            ..Evidence::default()
        }
    }

    #[test]
    fn a_runtime_is_known_by_its_program_or_its_libraries() {
        for (executable, libraries, runtime) in [
            ("java", &["libc.so.6"][..], Some(Runtime::Java)),
            ("app", &["libjvm.so", "libssl.so.3"], Some(Runtime::Java)),
            ("node", &["libssl.so.3"], Some(Runtime::Node)),
            ("node20", &[], Some(Runtime::Node)),
            ("python3.11", &["libssl.so.3"], Some(Runtime::Python)),
            ("uwsgi", &["libpython3.11.so.1.0", "libssl.so.3"], Some(Runtime::Python)),
            ("chrome", &["libnss3.so"], Some(Runtime::Nss)),
            ("thunderbird", &["libnss3.so", "libssl3.so"], Some(Runtime::Nss)),
            ("wget", &["libgnutls.so.30"], Some(Runtime::GnuTls)),
            (
                "curl",
                &["libcurl.so.4", "libssl.so.3", "libgnutls.so.30"],
                Some(Runtime::OpenSsl),
            ),
            ("dotnet", &["libcoreclr.so"], Some(Runtime::DotNet)),
            ("ruby3.1", &[], Some(Runtime::Ruby)),
            ("php8.2", &["libssl.so.3"], Some(Runtime::Php)),
            ("perl", &[], Some(Runtime::Perl)),
            ("something", &["libc.so.6"], None),
        ] {
            assert_eq!(evidence(executable, libraries).runtime(), runtime, "{executable}");
        }
        let go = Evidence {
            is_go: true,
            ..evidence("terraform", &[])
        };
        assert_eq!(go.runtime(), Some(Runtime::Go));
        let rust = Evidence {
            has_roots: true,
            ..evidence("tool", &["libssl.so.3"])
        };
        assert_eq!(rust.runtime(), Some(Runtime::RustRoots));
    }

    #[test]
    fn advice_says_whether_the_variable_has_arrived() {
        let with = |variables: Option<&[&str]>| Evidence {
            variables: variables.map(|names| names.iter().map(ToString::to_string).collect()),
            ..evidence("node", &[])
        };
        for (variables, said) in [
            (None, "should read NODE_EXTRA_CA_CERTS"),
            (
                Some(&["HOME", "NODE_EXTRA_CA_CERTS"][..]),
                "should read NODE_EXTRA_CA_CERTS",
            ),
            (Some(&["HOME"]), "NODE_EXTRA_CA_CERTS has been removed"),
        ] {
            let advice = with(variables).advice().unwrap();
            assert!(advice.starts_with("Node: ") && advice.contains(said), "{advice}");
        }
        let java = Evidence {
            names_store: true,
            ..evidence("java", &[])
        };
        let advice = java.advice().unwrap();
        assert!(advice.contains("its command line names another one"), "{advice}");
        assert_eq!(evidence("something", &[]).advice(), None);
    }

    #[test]
    fn this_very_process_is_known() {
        let program = Program::of(std::process::id()).unwrap();
        let shown = program.to_string();
        assert!(shown.ends_with(&format!("(pid {})", std::process::id())), "{shown}");
        assert!(program.evidence.variables.as_ref().unwrap().contains("PATH"));
        assert!(
            program.evidence.libraries.iter().any(|name| name.starts_with("libc.")),
            "{program:?}"
        );
    }

    #[test]
    fn a_word_is_found_across_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut bytes = vec![0; CHUNK - 3];
        bytes.extend_from_slice(b"rustls");
        bytes.extend(vec![1; CHUNK]);
        fs::write(&path, bytes).unwrap();
        assert_eq!(found(&path, [b"rustls", b"webpki"]), [true, false]);
        assert_eq!(found(&path.join("none"), [b"rustls"]), [false]);
    }
}
