//! Programs that are told their roots only by a file of settings: a variable leads them to a copy of the user's file, with
//! a line more. The user's own files are never changed.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    plan::{Plan, Source},
    source,
};

/// The variable that names wget's settings, in the place of `~/.wgetrc`.
const WGET: &str = "WGETRC";

/// wget's settings for the whole system, which it reads before the user's.
const WGET_SYSTEM: &str = "/etc/wgetrc";

/// The variable that names apt's settings, which it reads before its others.
const APT: &str = "APT_CONFIG";

/// The variable that names PHP's directories of settings, separated by colons; an empty part is the one it was built with.
const PHP: &str = "PHP_INI_SCAN_DIR";

/// The variable that names Guile's directory of roots.
const GUILE: &str = "GUILE_TLS_CERTIFICATE_DIRECTORY";

/// Leads wget to its settings with `ca_certificate`: built with `GnuTLS`, as by Debian, it reads no variable of certificates.
pub(super) fn wget(plan: &mut Plan<'_>) {
    let home = plan.named("HOME").map(PathBuf::from);
    let own = match (plan.named(WGET), &home) {
        (Some(path), _) => path.into(),
        (None, Some(home)) => home.join(".wgetrc"),
        // wget then asks the system's list of users, where amb does not look.
        (None, None) => return,
    };
    let Some(own) = copy(plan, WGET, &own) else { return };
    let mut sources = vec![Source::System];
    let system = source::read(&source::below(plan.root, WGET_SYSTEM)).unwrap_or_default();
    for settings in [&system, &own.bytes] {
        if let Some(path) = certificate_of_wget(settings, home.as_deref()) {
            sources = vec![Source::At(path)];
        }
    }
    let bundle = plan.bundle(WGET, &sources);
    let line = [b"ca_certificate = ", bundle.as_os_str().as_bytes(), b"\n"].concat();
    let path = plan.write("wgetrc", [own.bytes, line].concat(), own.is_private);
    plan.set(WGET, Some(path.into()));
}

/// What wget's settings name as `ca_certificate`; the last one counts. Case, `_` and `-` do not matter in names.
fn certificate_of_wget(settings: &[u8], home: Option<&Path>) -> Option<PathBuf> {
    let settings = String::from_utf8_lossy(settings);
    let named = settings
        .lines()
        .filter_map(|line| line.split_once('='))
        .rfind(|(name, value)| {
            let name = name.trim().replace(['_', '-'], "");
            name.eq_ignore_ascii_case("cacertificate") && !value.trim().is_empty()
        });
    let path = named?.1.trim();
    Some(match (path.strip_prefix("~/"), home) {
        (Some(path), Some(home)) => home.join(path),
        _ => path.into(),
    })
}

/// Leads apt to settings with `Acquire::https::CAInfo`. It reads no variable of certificates.
pub(super) fn apt(plan: &mut Plan<'_>) {
    let own = match plan.named(APT) {
        Some(path) => copy(plan, APT, Path::new(path)),
        None => Some(Copy::default()),
    };
    let Some(own) = own else { return };
    let bundle = plan.bundle(APT, &[Source::System]);
    let line = format!("Acquire::https::CAInfo \"{}\";\n", bundle.display());
    let path = plan.write("apt.conf", [own.bytes, line.into_bytes()].concat(), own.is_private);
    plan.set(APT, Some(path.into()));
}

/// Leads PHP to one directory of settings more, read last: curl inside PHP reads no variable of certificates.
pub(super) fn php(plan: &mut Plan<'_>) {
    let sources = plan.openssl();
    let bundle = plan.bundle(PHP, &sources);
    let bundle = bundle.display();
    let settings = format!("openssl.cafile = \"{bundle}\"\ncurl.cainfo = \"{bundle}\"\n");
    let file = plan.write("php/amb.ini", settings.into_bytes(), false);
    let directory = file.parent().unwrap_or(Path::new("/"));
    let mut value = match plan.environment.get(OsStr::new(PHP)) {
        // Empty means that none is read.
        Some(own) if own.is_empty() => OsString::new(),
        Some(own) => {
            let mut value = (*own).to_owned();
            value.push(":");
            value
        }
        None => OsString::from(":"),
    };
    value.push(directory);
    plan.set(PHP, Some(value));
}

/// Leads Guile to a directory with one file: it reads all in one that end in `.pem`, and no variable that names a file.
pub(super) fn guile(plan: &mut Plan<'_>) {
    let named = plan.named(GUILE).or_else(|| plan.named("SSL_CERT_DIR"));
    // The latter may name several.
    let directories = named.into_iter().flat_map(env::split_paths);
    let directories = directories.filter(|path| !path.as_os_str().is_empty());
    let mut sources: Vec<Source> = directories.map(Source::At).collect();
    if sources.is_empty() {
        sources.push(Source::System);
    }
    let bytes = plan.bundle_text(GUILE, &sources);
    let file = plan.write("guile/roots.pem", bytes, false);
    let directory = file.parent().unwrap_or(Path::new("/"));
    plan.set(GUILE, Some(directory.into()));
}

/// A file of the user's settings, to be followed by lines of ours.
#[derive(Default)]
struct Copy {
    /// What is in it, with a line break at the end.
    bytes: Vec<u8>,
    /// Whether others may not read it: there may be a password in it.
    is_private: bool,
}

/// Reads the settings that a variable names.
///
/// `None`, and a note, if the file cannot be read: the program says so itself then, as without amb. A file that the
/// variable does not name need not be there.
fn copy(plan: &mut Plan<'_>, variable: &'static str, path: &Path) -> Option<Copy> {
    let found = source::read(path).and_then(|bytes| Ok((bytes, fs::metadata(path)?.mode())));
    match found {
        Ok((mut bytes, mode)) => {
            if !bytes.is_empty() && !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            Some(Copy {
                bytes,
                is_private: mode & 0o004 == 0,
            })
        }
        Err(reason) if reason.kind() == io::ErrorKind::NotFound && plan.named(variable).is_none() => {
            Some(Copy::default())
        }
        Err(reason) => {
            plan.note(variable, &format!("{} cannot be read: {reason}", path.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_certificate_of_wgets_settings_counts() {
        let of = |settings: &str| certificate_of_wget(settings.as_bytes(), Some(Path::new("/home/me")));
        for (settings, expected) in [
            ("", None),
            ("# ca_certificate = /x", None),
            ("ca_directory = /x\nquiet = on", None),
            ("ca_certificate =", None),
            ("ca_certificate = /x", Some("/x")),
            ("CACertificate=/x\nca-certificate = /y z \nquiet=on", Some("/y z")),
            ("ca_certificate = ~/x", Some("/home/me/x")),
        ] {
            assert_eq!(of(settings), expected.map(PathBuf::from), "{settings:?}");
        }
    }
}
