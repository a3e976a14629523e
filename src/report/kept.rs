//! The reports of the last runs, for `amb report --last`: kept only if that was asked for, since amb leaves nothing behind
//! unasked.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::report::document::Document;

/// The directory in which reports are kept, for the user alone.
#[derive(Debug)]
pub struct Kept(PathBuf);

impl Kept {
    /// Where it is, by the variables of the environment: `$XDG_STATE_HOME/amb/reports` or `~/.local/state/amb/reports`.
    ///
    /// # Errors
    ///
    /// Neither variable names a directory.
    pub fn of(environment: &[(OsString, OsString)]) -> io::Result<Self> {
        let named = |name: &str| {
            let (_, value) = environment.iter().find(|(known, _)| known == name)?;
            Some(PathBuf::from(value)).filter(|path| path.is_absolute())
        };
        let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
        match state {
            Some(state) => Ok(Self(state.join("amb/reports"))),
            None => Err(io::Error::other("HOME and XDG_STATE_HOME are not set")),
        }
    }

    /// Keeps a report, and of all those that are kept the last `count`.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or written to.
    pub fn keep(&self, document: &Document, count: usize) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let mut file = tempfile::Builder::new().prefix(".amb-report-").tempfile_in(&self.0)?;
        file.write_all(&document.to_json())?;
        file.persist(self.0.join(format!("{}.json", document.run.id)))?;
        let all = self.all()?;
        for path in all.iter().rev().skip(count) {
            // Another run may have removed it at the same time.
            if let Err(reason) = fs::remove_file(path)
                && reason.kind() != io::ErrorKind::NotFound
            {
                return Err(reason);
            }
        }
        Ok(())
    }

    /// The last report.
    ///
    /// # Errors
    ///
    /// None is kept, or the directory cannot be read.
    pub fn last(&self) -> io::Result<PathBuf> {
        let last = self.all()?.pop();
        last.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// All reports, the oldest first.
    fn all(&self) -> io::Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if time_and_process(&path).is_some() {
                all.push(path);
            }
        }
        all.sort_by_cached_key(|path| time_and_process(path));
        Ok(all)
    }
}

/// When the run began that a file is the report of, in milliseconds, and amb's process id: they are in a run's id, which is the
/// file's name. None of a file that is no report of amb's.
fn time_and_process(path: &Path) -> Option<(u64, u32)> {
    let (time, process) = path.file_name()?.to_str()?.strip_suffix(".json")?.split_once('-')?;
    Some((
        u64::from_str_radix(time, 16).ok()?,
        u32::from_str_radix(process, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::report::human::tests::nothing_seen;

    /// A report with this id.
    fn report(id: &str) -> Document {
        let mut document = Document::of(&nothing_seen());
        document.run.id = id.to_owned();
        document
    }

    #[test]
    fn the_last_are_kept_for_the_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::of(&[("HOME".into(), home.path().into())]).unwrap();
        assert_eq!(kept.last().unwrap_err().kind(), io::ErrorKind::NotFound);
        for id in ["19aaf00d10a-7f", "9-1", "19aaf00d10b-2", "19aaf00d10b-1"] {
            kept.keep(&report(id), 2).unwrap();
        }
        let names: Vec<_> = kept.all().unwrap();
        let directory = home.path().join(".local/state/amb/reports");
        assert_eq!(
            names,
            [
                directory.join("19aaf00d10b-1.json"),
                directory.join("19aaf00d10b-2.json")
            ]
        );
        assert_eq!(kept.last().unwrap(), names[1]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&names[1])), (0o700, 0o600));
    }

    #[test]
    fn what_is_no_report_of_ambs_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::of(&[("XDG_STATE_HOME".into(), home.path().into())]).unwrap();
        kept.keep(&report("a-1"), 1).unwrap();
        let other = home.path().join("amb/reports/mine.json");
        fs::write(&other, "").unwrap();
        kept.keep(&report("b-1"), 1).unwrap();
        assert!(other.exists() && !home.path().join("amb/reports/a-1.json").exists());
        assert!(Kept::of(&[("HOME".into(), "relative".into())]).is_err());
    }
}
