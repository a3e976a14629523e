//! `--events`: a line of JSON for each exchange and tunnel as it ends, for a program that follows the run.

use std::{fs, path::PathBuf, str::FromStr};

/// The flag of descriptors that are closed when another program is executed, in `/proc/PID/fdinfo`: such a one is amb's own.
const CLOSED_ON_EXEC: u32 = 0o2_000_000;

/// The flags that say that a descriptor can be written to.
const WRITABLE: u32 = 0o3;

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsTarget {
    /// A file or a named pipe.
    File(PathBuf),
    /// A descriptor that amb has inherited.
    Descriptor(u32),
}

impl FromStr for EventsTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let stdout = "stdout is the command's own: write fd:3 and add `3>FILE` in the shell";
        match text.strip_prefix("fd:") {
            Some(number) => match number.parse() {
                Ok(1) => Err(stdout.to_owned()),
                Ok(number @ 2..) => Ok(Self::Descriptor(number)),
                _ => Err(format!("`{text}` is no descriptor: write fd:3")),
            },
            None if matches!(text, "-" | "/dev/stdout" | "/dev/fd/1") => Err(stdout.to_owned()),
            None if text.is_empty() => Err("the file for events has no name".to_owned()),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl EventsTarget {
    /// The path to write to.
    ///
    /// # Errors
    ///
    /// A sentence for people: the descriptor is not open, cannot be written to, or is one of amb's own.
    pub(super) fn path(&self) -> Result<PathBuf, String> {
        let number = match self {
            Self::File(path) => return Ok(path.clone()),
            Self::Descriptor(number) => number,
        };
        let information = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = information.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        match flags {
            Some(flags) if flags & CLOSED_ON_EXEC == 0 && flags & WRITABLE != 0 => {
                Ok(PathBuf::from(format!("/dev/fd/{number}")))
            }
            Some(flags) if flags & CLOSED_ON_EXEC == 0 => Err(format!(
                "cannot write the events to fd:{number}: it is open for reading only"
            )),
            _ => Err(format!(
                "cannot write the events to fd:{number}: it is not open; add `{number}>FILE` in the shell"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn a_file_and_a_descriptor_are_told_apart() {
        for (text, expected) in [
            ("events.ndjson", EventsTarget::File("events.ndjson".into())),
            ("./fd:3", EventsTarget::File("./fd:3".into())),
            ("fd:3", EventsTarget::Descriptor(3)),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
        for wrong in ["", "-", "fd:1", "fd:0", "fd:", "fd:x", "/dev/stdout"] {
            assert!(wrong.parse::<EventsTarget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_descriptor_of_ambs_own_is_none_to_write_to() {
        let own = File::options().write(true).open("/dev/null").unwrap();
        let number = own.as_raw_fd().unsigned_abs();
        for number in [number, 987_654] {
            let reason = EventsTarget::Descriptor(number).path().unwrap_err();
            assert!(reason.contains("it is not open"), "{reason}");
        }
    }
}
