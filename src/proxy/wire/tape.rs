//! What was read of a request's body, kept in case that the request has to be sent again.

use std::sync::Arc;

use crate::policy::retry::Kept;

/// Room is asked for in steps of so many bytes.
const STEP_BYTES: usize = 16 * 1024;

/// The beginning of a body as it came, up to a limit: beyond it nothing is kept.
#[derive(Debug)]
pub(crate) struct Tape {
    /// The bytes.
    bytes: Vec<u8>,
    /// How many there may be.
    limit: usize,
    /// For how many there is room.
    reserved: usize,
    /// The room of all tapes.
    kept: Arc<Kept>,
}

impl Tape {
    /// An empty one.
    pub(crate) fn new(limit: usize, kept: &Arc<Kept>) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            reserved: 0,
            kept: Arc::clone(kept),
        }
    }

    /// A body that is there as a whole, wherever it came from: there is room for it already.
    pub(crate) fn whole(bytes: Vec<u8>, kept: &Arc<Kept>) -> Self {
        Self {
            limit: bytes.len(),
            bytes,
            reserved: 0,
            kept: Arc::clone(kept),
        }
    }

    /// Adds `bytes`. False if they are too many: then what is here is of no use any more.
    pub(super) fn add(&mut self, bytes: &[u8]) -> bool {
        let length = self.bytes.len() + bytes.len();
        if length > self.limit {
            return false;
        }
        while self.reserved < length {
            let step = STEP_BYTES.min(self.limit - self.reserved);
            if !self.kept.reserve(step as u64) {
                return false;
            }
            self.reserved += step;
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// All that was read.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.kept.release(self.reserved as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_holds_up_to_its_limit_and_gives_its_room_back() {
        let kept = Arc::new(Kept::default());
        let mut tape = Tape::new(40_000, &kept);
        assert!(tape.add(&vec![1; 39_999]) && tape.add(&[2]) && !tape.add(&[3]));
        assert_eq!((tape.as_slice().len(), tape.as_slice()[39_999]), (40_000, 2));
        let rest = 16 * 1024 * 1024 - 40_000;
        assert!(kept.reserve(rest) && !kept.reserve(1));
        drop(tape);
        assert!(kept.reserve(40_000) && !kept.reserve(1));
    }

    #[test]
    fn nothing_is_kept_where_there_is_no_room() {
        let kept = Arc::new(Kept::default());
        assert!(kept.reserve(16 * 1024 * 1024));
        assert!(!Tape::new(40_000, &kept).add(b"a"));
    }
}
