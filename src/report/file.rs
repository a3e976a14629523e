//! A report's file: known to be writable before the child starts, replaced as a whole when the run is over.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Access, OFlags},
    io::Errno,
};
use tempfile::NamedTempFile;

use crate::report::{ReportFormat, ReportTarget, document::Document, har::Requests};

/// How long a reader may read nothing at all before the report is given up. Reports of less than a pipe holds, which is
/// 64 KiB on Linux, wait for nobody.
const READER_LIMIT: Duration = Duration::from_secs(5);

/// A file could not be written, or it is known beforehand that it cannot be.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {what} {}: {reason}", path.display())]
pub struct ReportError {
    /// What it is: `report`, `lockfile`.
    pub what: &'static str,
    /// The file as the user named it.
    pub path: PathBuf,
    /// What the system said.
    pub reason: io::Error,
}

/// A report that can be written, as far as could be found out.
#[derive(Debug)]
pub struct ReportFile {
    /// Where it is written to.
    file: OutputFile,
    /// What is written.
    format: ReportFormat,
}

/// A file that can be written at the end of a run, as far as could be found out.
///
/// Nothing lies about while the run lasts: a new file appears only when its contents are complete.
#[derive(Debug)]
pub struct OutputFile {
    /// What it is: `report`, `lockfile`.
    what: &'static str,
    /// The file as the user named it.
    path: PathBuf,
    /// How it is written.
    way: Way,
}

/// How a report is written.
#[derive(Debug)]
enum Way {
    /// A regular file, by putting a new one in its place. The path has no symbolic links left to follow.
    Replace(PathBuf),
    /// A regular file in a directory where none can be made.
    Overwrite(File),
    /// Something that takes bytes as they come: a pipe, a device, an open file.
    Stream(File),
    /// A named pipe that had no reader when it was looked at.
    Later,
}

impl ReportFile {
    /// Finds out whether the file can be written. An existing one keeps its contents for now.
    ///
    /// # Errors
    ///
    /// It cannot: no such directory, no permission, a directory.
    pub fn reserve(target: &ReportTarget) -> Result<Self, ReportError> {
        Ok(Self {
            file: OutputFile::reserve("report", &target.path)?,
            format: target.format,
        })
    }

    /// The file as the user named it.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Writes the report: of the document and, where the format tells them, of the requests that were kept.
    ///
    /// # Errors
    ///
    /// As [`OutputFile::write`].
    pub fn write(self, document: &Document, requests: &Requests) -> Result<(), ReportError> {
        self.file.write(&self.format.render(document, requests))
    }
}

impl OutputFile {
    /// Finds out whether the file at `path`, which is called `what`, can be written. An existing one keeps its contents for now.
    ///
    /// # Errors
    ///
    /// It cannot: no such directory, no permission, a directory.
    pub fn reserve(what: &'static str, path: &Path) -> Result<Self, ReportError> {
        let path = path.to_owned();
        match way(&path) {
            Ok(way) => Ok(Self { what, path, way }),
            Err(reason) => Err(ReportError { what, path, reason }),
        }
    }

    /// The file as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file.
    ///
    /// A pipe that nobody reads from is waited for until `READER_LIMIT` has passed: the child's end must reach whoever
    /// waits for amb, even if nobody wants the report.
    ///
    /// # Errors
    ///
    /// What was possible before has become impossible: the disk is full, the directory is gone. An existing file is
    /// then as it was, unless its directory takes no new files.
    pub fn write(self, bytes: &[u8]) -> Result<(), ReportError> {
        let written = match self.way {
            Way::Replace(target) => replace(&target, bytes),
            Way::Overwrite(file) => overwrite(file, bytes),
            Way::Stream(file) => stream(file, bytes),
            Way::Later => open_stream(&self.path).and_then(|file| stream(file, bytes)),
        };
        written.map_err(|reason| ReportError {
            what: self.what,
            path: self.path,
            reason,
        })
    }
}

/// How this file is to be written.
fn way(path: &Path) -> io::Result<Way> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            let target = absolute(path)?;
            drop(temporary(&target)?);
            return Ok(Way::Replace(target));
        }
        Err(reason) => return Err(reason),
    };
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() || is_descriptor(path) {
        return match open_stream(path) {
            Ok(file) => Ok(Way::Stream(file)),
            Err(reason) if metadata.file_type().is_fifo() && is_without_reader(&reason) => {
                rustix::fs::access(path, Access::WRITE_OK)?;
                Ok(Way::Later)
            }
            Err(reason) => Err(reason),
        };
    }
    // Who must not write the file must not replace it either, even if the directory would allow it.
    let existing = OpenOptions::new().write(true).open(path)?;
    let target = fs::canonicalize(path)?;
    Ok(match temporary(&target) {
        Ok(_) => Way::Replace(target),
        Err(_) => Way::Overwrite(existing),
    })
}

/// Whether a path means an open file rather than one in a directory.
fn is_descriptor(path: &Path) -> bool {
    let parent = path.parent().unwrap_or(Path::new(""));
    let standard = ["/dev/stdout", "/dev/stderr"]
        .iter()
        .any(|known| path == Path::new(known));
    standard || parent == Path::new("/dev/fd") || (parent.starts_with("/proc") && parent.ends_with("fd"))
}

/// Whether a named pipe could not be opened because nobody reads it.
fn is_without_reader(reason: &io::Error) -> bool {
    reason.raw_os_error() == Some(Errno::NXIO.raw_os_error())
}

/// Opens what takes bytes as they come. An open file that is shared with others is appended to.
///
/// Opening does not wait for a reader, and neither does writing. Whoever else has a pipe or terminal open is not affected, since
/// this opens it anew.
fn open_stream(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    OpenOptions::new().append(true).custom_flags(nonblocking).open(path)
}

/// The path of a file that does not exist yet, with the symbolic links of its directory followed.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    Ok(fs::canonicalize(directory)?.join(name))
}

/// A new file beside the target, with the permissions that any new file gets.
fn temporary(target: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".amb-report-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(target.parent().unwrap_or(Path::new("/")))
}

/// Puts a new file in the target's place.
fn replace(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(target)?;
    file.write_all(bytes)?;
    if let Ok(existing) = fs::metadata(target) {
        file.as_file().set_permissions(existing.permissions())?;
    }
    file.persist(target)?;
    Ok(())
}

/// Writes over an existing file.
fn overwrite(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(bytes)
}

/// Hands the bytes on, as fast as the reader takes them.
fn stream(mut file: File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(reason) if reason.kind() == io::ErrorKind::Interrupted => {}
            Err(reason) if reason.kind() == io::ErrorKind::WouldBlock => wait_for_room(&file)?,
            Err(reason) => return Err(reason),
        }
    }
    Ok(())
}

/// Waits until a stream takes bytes again.
///
/// # Errors
///
/// It does not within [`READER_LIMIT`].
fn wait_for_room(file: &File) -> io::Result<()> {
    let limit = Timespec::try_from(READER_LIMIT).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&limit)) {
            Ok(0) => {
                let limit = humantime::format_duration(READER_LIMIT);
                let reason = format!("its reader has read nothing for {limit}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            Ok(_) => return Ok(()),
            // A second signal that asks amb to end does end it, here as anywhere.
            Err(Errno::INTR) => {}
            Err(reason) => return Err(reason.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::AsRawFd, thread};

    use super::*;
    use crate::report::{document, human::tests::summary};

    /// Writes the report on a run.
    fn write(file: ReportFile) -> Result<(), ReportError> {
        file.write(&Document::of(&summary()), &Requests::default())
    }

    /// The JSON report to this path, reserved.
    fn reserve(path: &Path) -> Result<ReportFile, ReportError> {
        ReportFile::reserve(&ReportTarget {
            format: ReportFormat::Json,
            path: path.to_owned(),
        })
    }

    /// What is in a directory.
    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Reads a report back.
    fn schema(bytes: &[u8]) -> String {
        let report: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        report["schema_version"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_new_report_appears_only_when_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let file = reserve(&path).unwrap();
        assert_eq!(names(directory.path()), [""; 0], "reserving leaves nothing behind");
        write(file).unwrap();
        assert_eq!(names(directory.path()), ["report.json"]);
        assert_eq!(schema(&fs::read(&path).unwrap()), document::SCHEMA_VERSION);
        let plain = directory.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(
            mode(&path),
            mode(&plain),
            "a report has the permissions of any new file"
        );
    }

    #[test]
    fn an_existing_report_is_replaced_behind_its_link_and_keeps_its_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("report.json"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let file = reserve(&link).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(file).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(schema(&fs::read(&path).unwrap()), document::SCHEMA_VERSION);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_cannot_be_written_is_known_beforehand() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("none/report.json");
        let reason = reserve(&missing).unwrap_err().to_string();
        assert!(
            reason.starts_with(&format!("cannot write the report {}: ", missing.display())),
            "{reason}"
        );
        assert!(reserve(directory.path()).is_err(), "a directory");
        assert!(
            reserve(Path::new("/dev/fd/987654")).is_err(),
            "a descriptor that is not open"
        );
    }

    #[test]
    fn a_full_disk_is_an_error_at_the_end() {
        let file = reserve(Path::new("/dev/full")).unwrap();
        let error = write(file).unwrap_err();
        assert_eq!(error.reason.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_directory_that_vanished_is_an_error_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = reserve(&directory.path().join("report.json")).unwrap();
        directory.close().unwrap();
        assert!(write(file).is_err());
    }

    #[test]
    fn a_descriptor_gets_the_report_after_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("open");
        let mut open = File::create(&path).unwrap();
        open.write_all(b"before\n").unwrap();
        let file = reserve(Path::new(&format!("/dev/fd/{}", open.as_raw_fd()))).unwrap();
        write(file).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(
            schema(bytes.strip_prefix(b"before\n").unwrap()),
            document::SCHEMA_VERSION
        );
        assert_eq!(names(directory.path()), ["open"]);
    }

    #[test]
    fn a_named_pipe_is_never_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let unread = reserve(&path).unwrap();
        assert!(write(unread).is_err(), "nobody reads it");

        // Open for both, so that neither side waits for the other.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = reserve(&path).unwrap();
        let writer = thread::spawn(move || write(file));
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\n}\n") {
            let mut some = [0; 4096];
            let read = reader.read(&mut some).unwrap();
            bytes.extend_from_slice(&some[..read]);
        }
        writer.join().unwrap().unwrap();
        assert_eq!(schema(&bytes), document::SCHEMA_VERSION);
    }
}
