//! Bundles for programs that open theirs by its path: what is in the file, as it is, and the authority behind it.
//!
//! Behind it, so that whoever has asked for the file's size before and reads no more than that still gets what it trusted.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use rustix::fs::{Mode, OFlags, openat};

use super::{
    directory::{Readers, write},
    pem::{self, Bundle},
    source::MOST_BYTES,
};

/// What tells a file, as it is, from others and from itself at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    /// On which device it is, and its number there.
    place: (u64, u64),
    /// How long it is.
    length: u64,
    /// When it was changed, in seconds and nanoseconds.
    changed: (i64, i64),
}

/// Makes such bundles in a run's directory, each once.
#[derive(Debug)]
pub struct Merged {
    /// The directory.
    directory: File,
    /// Who can read what is in it.
    readers: Readers,
    /// The authority's certificate, in DER.
    authority: Vec<u8>,
    /// The names of the bundles, by what they were made of; none for what is no bundle of roots.
    made: Mutex<HashMap<(Identity, usize), Option<String>>>,
}

impl Merged {
    /// Bundles in this directory with this authority, which is DER.
    pub(super) fn new(directory: File, readers: Readers, authority: &[u8]) -> Self {
        Self {
            directory,
            readers,
            authority: authority.to_owned(),
            made: Mutex::default(),
        }
    }

    /// Opens, to be read from its beginning, what a program is to read in the place of this file; none if the file has fewer
    /// certificates than that, the authority already, or a private key.
    ///
    /// # Errors
    /// The file cannot be read, or the other one not be written.
    pub fn of(&self, file: File, fewest: usize) -> io::Result<Option<File>> {
        let metadata = file.metadata()?;
        let identity = Identity {
            place: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let known = |made: &HashMap<_, Option<String>>| made.get(&(identity, fewest)).cloned();
        if let Some(made) = known(&self.lock()) {
            return made.map(|name| self.open(&name)).transpose();
        }
        // Nobody waits for this: the file may be in a file system that takes its time.
        let bytes = self.merge(file, fewest)?;
        let mut made = self.lock();
        let name = match (known(&made), bytes) {
            (Some(name), _) => name,
            (None, None) => None,
            (None, Some(bytes)) => {
                let name = format!("merged-{}.pem", made.len() + 1);
                let is_private = metadata.mode() & 0o004 == 0;
                write(&self.directory, Path::new(&name), &bytes, self.readers.mode(is_private))?;
                Some(name)
            }
        };
        made.insert((identity, fewest), name.clone());
        drop(made);
        name.map(|name| self.open(&name)).transpose()
    }

    /// What a program is to read in the place of a file.
    fn merge(&self, file: File, fewest: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        let mut bundle = Bundle::default();
        let is_bundle = bytes.len() as u64 <= MOST_BYTES
            && bundle.add(&bytes) >= fewest
            && !bundle.certificates().contains(&self.authority)
            && !pem::has_key(&bytes);
        if !is_bundle {
            return Ok(None);
        }
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        bytes.extend(pem::encode("CERTIFICATE", &self.authority).into_bytes());
        Ok(Some(bytes))
    }

    /// Opens one of the bundles.
    fn open(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.directory, name, flags, Mode::empty())?))
    }

    /// The names. Whoever panicked while it held them was inserting one: they are whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Identity, usize), Option<String>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::PathBuf};

    use tempfile::{TempDir, tempdir};

    use super::*;

    /// The authority.
    const AUTHORITY: [u8; 5] = [0x30, 3, 1, 2, 3];

    /// Something that looks like a certificate to those who do not look inside.
    fn certificate(byte: u8) -> String {
        pem::encode("CERTIFICATE", &[&[0x30, 9], [byte; 9].as_slice()].concat())
    }

    /// Bundles for these readers, and a file with this text.
    fn merged(readers: Readers, text: &str) -> (TempDir, Merged, PathBuf) {
        let place = tempdir().unwrap();
        fs::create_dir(place.path().join("made")).unwrap();
        let directory = File::open(place.path().join("made")).unwrap();
        let path = place.path().join("roots.pem");
        fs::write(&path, text).unwrap();
        (place, Merged::new(directory, readers, &AUTHORITY), path)
    }

    /// What is read in the place of a file with this text, which is a bundle if it has so many certificates.
    fn read(text: &str, fewest: usize) -> Option<String> {
        let (_place, merged, path) = merged(Readers::Owner, text);
        let mut found = merged.of(File::open(path).unwrap(), fewest).unwrap()?;
        let mut text = String::new();
        found.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn what_was_trusted_stands_there_as_it_did_and_the_authority_behind_it() {
        let authority = pem::encode("CERTIFICATE", &AUTHORITY);
        let text = format!(
            "# One\n{}# Two\n{}",
            certificate(1),
            certificate(2).replace('\n', "\r\n")
        );
        assert_eq!(read(&text, 1), Some(format!("{text}{authority}")));
        let unended = text.trim_end();
        assert_eq!(read(unended, 2), Some(format!("{unended}\n{authority}")));
    }

    #[test]
    fn what_is_no_bundle_or_has_the_authority_is_left_as_it_is() {
        let authority = pem::encode("CERTIFICATE", &AUTHORITY);
        for (text, fewest) in [
            (String::new(), 1),
            ("nothing".to_owned(), 1),
            (certificate(1), 2),
            (certificate(1) + &authority, 1),
            (certificate(1) + &pem::encode("PRIVATE KEY", b"secret"), 1),
            (certificate(1) + &pem::encode("EC PRIVATE KEY", b"secret"), 1),
        ] {
            assert_eq!(read(&text, fewest), None, "{text}");
        }
    }

    #[test]
    fn a_bundle_is_made_once_and_anew_when_its_file_changes() {
        let (place, merged, path) = merged(Readers::Owner, &certificate(1));
        let names = || fs::read_dir(place.path().join("made")).unwrap().count();
        let text = |merged: &Merged| {
            let mut text = String::new();
            let found = merged.of(File::open(&path).unwrap(), 1).unwrap();
            found.unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let first = text(&merged);
        assert_eq!((text(&merged), names()), (first, 1), "from the beginning each time");
        fs::write(&path, certificate(1) + &certificate(2)).unwrap();
        assert!(text(&merged).starts_with(&(certificate(1) + &certificate(2))));
        assert_eq!(names(), 2);
    }

    #[test]
    fn what_others_may_not_read_they_may_not_read_in_a_bundle() {
        for (mode, expected) in [(0o600, 0o600), (0o644, 0o644)] {
            let (_place, merged, path) = merged(Readers::Everybody, &certificate(1));
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = merged.of(File::open(path).unwrap(), 1).unwrap().unwrap();
            assert_eq!(found.metadata().unwrap().mode() & 0o777, expected);
        }
    }
}
