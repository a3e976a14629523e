//! Where certificates are found: in a file or directory that a variable names, or in the usual places of the system.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{jks, pem::Bundle, pkcs12};

/// The most bytes that are read of a file: many times what the largest collection of roots has.
pub(super) const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// The most files that are read of a directory: many times what the largest collection of roots has.
const MOST_FILES: usize = 4096;

/// Where systems keep their roots as one file, the best known first.
pub(super) const SYSTEM_FILES: [&str; 7] = [
    // Debian, Ubuntu, Arch, Gentoo, Alpine, NixOS.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // openSUSE, SLES.
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    // Alpine, the BSDs.
    "/etc/ssl/cert.pem",
    // FreeBSD's package.
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Where systems keep their roots as a directory.
pub(super) const SYSTEM_DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Where systems keep the roots of their JVMs.
pub(super) const SYSTEM_STORES: [&str; 4] = [
    // Debian, Ubuntu, Alpine.
    "/etc/ssl/certs/java/cacerts",
    // Fedora, RHEL.
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/etc/pki/java/cacerts",
    // openSUSE, SLES.
    "/var/lib/ca-certificates/java-cacerts",
];

/// A file's contents.
///
/// # Errors
/// If it cannot be read, is no regular file (what comes out of a pipe is gone for its reader), or is too large.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: opening a pipe waits for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Adds the certificates of a file, or of the files of a directory; returns how many these are.
///
/// In a directory, what cannot be read or holds no certificate is passed over, as programs do.
///
/// # Errors
/// If the file or the directory cannot be read.
pub(super) fn add(bundle: &mut Bundle, path: &Path) -> io::Result<usize> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(bundle.add(&read(path)?));
    }
    let entries = fs::read_dir(path)?.filter_map(Result::ok).map(|entry| entry.path());
    // Links within the directory, by which OpenSSL finds a certificate, lead to what is read anyway.
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| fs::read_link(entry).map_or(true, |target| target.components().count() > 1))
        .collect();
    files.sort_unstable();
    files.truncate(MOST_FILES);
    Ok(files
        .iter()
        .filter_map(|file| read(file).ok())
        .map(|text| bundle.add(&text))
        .sum())
}

/// Adds the system's roots, from the first of the usual places that has any; returns whether one has.
///
/// `root` is `/` but in tests.
pub(super) fn add_system(bundle: &mut Bundle, root: &Path) -> bool {
    SYSTEM_FILES
        .iter()
        .chain(&SYSTEM_DIRECTORIES)
        .any(|place| add(bundle, &below(root, place)).is_ok_and(|count| count > 0))
}

/// A place of the system below another root.
pub(super) fn below(root: &Path, place: &str) -> PathBuf {
    root.join(place.trim_start_matches('/'))
}

/// The certificates of a JVM's trust store, in DER; `None` if its format is not known or no password fits.
///
/// # Errors
/// If it cannot be read.
pub(super) fn store(path: &Path, passwords: &[&str]) -> io::Result<Option<Vec<Vec<u8>>>> {
    let bytes = read(path)?;
    Ok(jks::read(&bytes).or_else(|| pkcs12::read(&bytes, passwords)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::tempdir;

    use super::{super::pem, *};

    /// A certificate to those who do not look inside.
    fn certificate(byte: u8) -> String {
        pem::encode("CERTIFICATE", &[&[0x30, 9], [byte; 9].as_slice()].concat())
    }

    #[test]
    fn a_directory_is_all_of_its_certificates_each_once() {
        let directory = tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("b.pem"), certificate(2)).unwrap();
        fs::write(path.join("a.crt"), certificate(1)).unwrap();
        fs::write(path.join("all.pem"), certificate(1) + &certificate(2)).unwrap();
        fs::write(path.join("README"), "nothing").unwrap();
        fs::create_dir(path.join("below")).unwrap();
        symlink("a.crt", path.join("0123abcd.0")).unwrap();
        symlink("/nowhere", path.join("broken.pem")).unwrap();
        mknodat(CWD, path.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let elsewhere = tempdir().unwrap();
        fs::write(elsewhere.path().join("c.pem"), certificate(3)).unwrap();
        symlink(elsewhere.path().join("c.pem"), path.join("c.pem")).unwrap();
        let mut bundle = Bundle::default();
        assert_eq!(add(&mut bundle, path).unwrap(), 5);
        assert_eq!(bundle.text(), certificate(1) + &certificate(2) + &certificate(3));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(read(&pipe).unwrap_err().to_string(), "it is no regular file");
        assert_eq!(read(&pipe.join("x")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert!(read(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn the_first_of_the_usual_places_that_has_roots_counts() {
        for (place, is_directory) in SYSTEM_FILES
            .map(|place| (place, false))
            .into_iter()
            .chain(SYSTEM_DIRECTORIES.map(|place| (place, true)))
        {
            let root = tempdir().unwrap();
            let mut bundle = Bundle::default();
            assert!(!add_system(&mut bundle, root.path()), "{place}");
            // An empty file is as good as none.
            let first = below(root.path(), SYSTEM_FILES[0]);
            fs::create_dir_all(first.parent().unwrap()).unwrap();
            fs::write(first, "").unwrap();
            let mut path = below(root.path(), place);
            if is_directory {
                path.push("root.pem");
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, certificate(7)).unwrap();
            assert!(add_system(&mut bundle, root.path()), "{place}");
            assert_eq!(bundle.text(), certificate(7), "{place}");
        }
    }
}
