//! What a call wants to open, read from the memory of the program that makes it. Every file that a captured command opens to
//! read comes by here, so that it allocates nothing for those that are no roots, and asks the kernel once.

use super::{
    bundles, filter,
    kernel::{self, Notice},
};

/// The most bytes of a path, with the zero behind it (`PATH_MAX`).
const MOST: usize = 4096;
/// How many are read at once. Most paths are shorter.
const AT_ONCE: u64 = 256;
/// The smallest page there is, at whose end what can be read may end.
const PAGE: u64 = 4096;

/// A file that may be a bundle of roots, as a program wants to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The thread that wants it.
    pub(super) thread: i32,
    /// From where its path leads on, if it is relative: a descriptor, or the working directory as `AT_FDCWD`.
    pub(super) directory: i32,
    /// The path, as the program says it.
    pub(super) path: Vec<u8>,
    /// How it is to be opened.
    pub(super) flags: i32,
}

/// That a call opens no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpensNothing;

impl Wanted {
    /// What a call wants to open; none if it is not worth while to look, or cannot be known.
    ///
    /// # Errors
    /// It is a call of another kind.
    pub(super) fn of(notice: &Notice) -> Result<Option<Self>, OpensNothing> {
        let [first, second, third, ..] = notice.arguments;
        let (directory, path, flags) = if filter::is_openat(notice.call) {
            (low(first), second, low(third))
        } else if filter::is_open(notice.call) {
            (libc::AT_FDCWD, first, low(second))
        } else {
            return Err(OpensNothing);
        };
        let mut room = [0; MOST];
        let path = read(path, &mut room, |at, room| {
            kernel::read_memory(notice.thread, at, room).unwrap_or_default()
        });
        Ok(path.filter(|path| bundles::may_be(path)).map(|path| Self {
            thread: notice.thread,
            directory,
            path: path.to_vec(),
            flags,
        }))
    }
}

/// An argument that is no larger than an `int`.
fn low(argument: u64) -> i32 {
    u32::try_from(argument & 0xffff_ffff).unwrap_or_default().cast_signed()
}

/// The text at an address, by `read`, which tells how many bytes there were; none if there is no end to it.
///
/// Nothing is read across the end of a page before the text is known to go on there.
fn read(address: u64, room: &mut [u8; MOST], read: impl Fn(u64, &mut [u8]) -> usize) -> Option<&[u8]> {
    let mut had = 0;
    while had < MOST {
        let at = address.checked_add(had as u64)?;
        let count = AT_ONCE.min(PAGE - at % PAGE);
        let end = usize::try_from(count).map_or(MOST, |count| MOST.min(had + count));
        let count = read(at, &mut room[had..end]);
        if let Some(length) = room[had..had + count].iter().position(|byte| *byte == 0) {
            return Some(&room[..had + length]);
        }
        if count == 0 {
            return None;
        }
        had += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text that lies so far before the end of what can be read, in which the pages begin at multiples of theirs.
    fn read_at(text: &[u8], before_end: u64) -> Option<Vec<u8>> {
        let end = 5 * PAGE;
        let begin = end - before_end;
        let mut room = [0; MOST];
        let found = read(begin, &mut room, |at, room| {
            assert!(at % PAGE + room.len() as u64 <= PAGE, "across the end of a page");
            assert!(at <= end);
            let from = usize::try_from(at - begin).unwrap();
            let there = text.get(from..).unwrap_or_default();
            let count = there.len().min(room.len());
            room[..count].copy_from_slice(&there[..count]);
            count
        });
        found.map(<[u8]>::to_vec)
    }

    #[test]
    fn a_path_is_read_to_its_end_wherever_it_lies() {
        for length in [0, 1, 255, 256, 257, 1000, MOST - 1] {
            let path = vec![b'x'; length];
            let text = [&path[..], b"\0 what stands behind it"].concat();
            for before_end in [text.len() as u64, 4096, 4097, 5000, 8191] {
                assert_eq!(
                    read_at(&text, before_end.max(text.len() as u64)),
                    Some(path.clone()),
                    "{length}"
                );
            }
            // Nothing can be read behind it.
            let text = &text[..=length];
            assert_eq!(read_at(text, text.len() as u64), Some(path), "{length}");
        }
    }

    #[test]
    fn what_has_no_end_is_no_path() {
        assert_eq!(read_at(&[b'x'; MOST + 1], 8191), None);
        assert_eq!(read_at(b"cut off", 7), None);
        assert_eq!(read_at(b"", 0), None);
        assert_eq!(read(u64::MAX, &mut [b'x'; MOST], |_, room| room.len()), None);
    }

    #[test]
    fn only_what_may_be_roots_is_looked_at() {
        let own = rustix::process::getpid().as_raw_pid();
        let notice = |call: libc::c_long, path: &[u8], arguments: [u64; 3]| {
            let address = path.as_ptr().addr() as u64;
            let [one, two, three] = arguments.map(|argument| if argument == 7 { address } else { argument });
            let call = i32::try_from(call).unwrap();
            Wanted::of(&Notice {
                id: 1,
                thread: own,
                call,
                arguments: [one, two, three, 0, 0, 0],
            })
        };
        let roots = b"/etc/ssl/certs/ca-certificates.crt\0";
        let wanted = |directory| Wanted {
            thread: own,
            directory,
            path: roots[..roots.len() - 1].to_vec(),
            flags: libc::O_CLOEXEC,
        };
        let closes = u64::from(libc::O_CLOEXEC.cast_unsigned());
        let here = u64::from(libc::AT_FDCWD.cast_unsigned());
        assert_eq!(
            notice(libc::SYS_openat, roots, [here, 7, closes]),
            Ok(Some(wanted(libc::AT_FDCWD)))
        );
        assert_eq!(notice(libc::SYS_openat, roots, [5, 7, closes]), Ok(Some(wanted(5))));
        assert_eq!(notice(libc::SYS_openat, b"/etc/passwd\0", [here, 7, closes]), Ok(None));
        assert_eq!(
            notice(libc::SYS_openat, roots, [here, 0, closes]),
            Ok(None),
            "nothing is there"
        );
        assert_eq!(notice(libc::SYS_connect, roots, [3, 7, 16]), Err(OpensNothing));
    }
}
