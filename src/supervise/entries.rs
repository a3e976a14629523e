//! The child's environment: which entries it has, and numbers in them.

use std::ffi::{OsStr, OsString};

/// The most digits of a process id.
const DIGITS: usize = 10;

/// Writes `number` in decimal to the front of `room`, which is long enough and holds zeroes; allocates nothing.
pub(super) fn write_decimal(room: &mut [u8], number: u32) {
    let mut digits = [0; DIGITS];
    let mut rest = number;
    let mut first = DIGITS;
    loop {
        first -= 1;
        // The remainder of a division by ten fits.
        digits[first] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    room[..DIGITS - first].copy_from_slice(&digits[first..]);
}

/// The `inherited` variables in their order with `changes` made: a changed variable stays in its place, new ones come last.
pub(super) fn changed_environment<'a>(
    inherited: &'a [(OsString, OsString)],
    changes: &'a [(OsString, Option<OsString>)],
) -> Vec<(&'a OsStr, &'a OsStr)> {
    let inherited = inherited.iter().map(|(name, value)| (&**name, &**value));
    let mut variables: Vec<(&OsStr, &OsStr)> = inherited.collect();
    for (name, value) in changes {
        let Some(value) = value else {
            variables.retain(|(known, _)| known != name);
            continue;
        };
        let mut known = variables.iter_mut().filter(|(known, _)| known == name).peekable();
        if known.peek().is_none() {
            variables.push((name, value));
        } else {
            known.for_each(|(_, old)| *old = value);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_environment_keeps_its_order() {
        let inherited = [("B", "1"), ("A", "2"), ("C", "3")].map(|(name, value)| (name.into(), value.into()));
        let changes = [("A", Some("new")), ("C", None), ("D", Some("4")), ("B2", None)];
        let changes = changes.map(|(name, value)| (name.into(), value.map(OsString::from)));
        let expected = [("B", "1"), ("A", "new"), ("D", "4")].map(|(name, value)| (name.into(), value.into()));
        let child = changed_environment(&inherited, &changes);
        assert_eq!(
            child,
            expected
                .each_ref()
                .map(|(name, value): &(OsString, OsString)| (&**name, &**value))
        );
    }

    #[test]
    fn process_ids_are_written_in_decimal() {
        for (number, text) in [(1, "1"), (4_194_304, "4194304"), (u32::MAX, "4294967295")] {
            let mut room = [0; DIGITS + 1];
            write_decimal(&mut room, number);
            assert_eq!(&room[..text.len()], text.as_bytes());
            assert_eq!(room[text.len()], 0);
        }
    }
}
