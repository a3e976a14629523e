//! Bytes that wait: read but not yet understood, or to be written but not yet taken by the kernel.

/// A buffer that keeps its allocation up to this size when it runs empty; larger ones are given back, so that an idle
/// connection holds next to nothing.
const RETAINED_BYTES: usize = 1024;

/// Room behind the first bytes that come.
const HEADROOM_BYTES: usize = 64;

/// A queue of bytes: appended at the end, consumed from the front.
///
/// An empty buffer that was never used holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// The bytes, those before `start` already consumed.
    bytes: Vec<u8>,
    /// Where the unconsumed bytes begin.
    start: usize,
}

impl Buffer {
    /// The bytes that wait.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether no byte waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `bytes`.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0 {
            // Most of what comes is a head, which is taken out whole and gets a line or two more.
            self.bytes.reserve_exact(bytes.len() + HEADROOM_BYTES);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The vector behind the queue, to append to.
    pub(crate) fn appender(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Drops the first `count` bytes; when none is left, most of the memory is given back.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len(), "consumed more than there was");
        if self.start == self.bytes.len() {
            self.start = 0;
            if self.bytes.capacity() > RETAINED_BYTES {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
    }

    /// Takes the first `count` bytes out as a vector of their own, without a copy if they are all there is.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.start == 0 && count == self.bytes.len() {
            return std::mem::take(&mut self.bytes);
        }
        let taken = self.as_slice()[..count].to_vec();
        self.consume(count);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut buffer = Buffer::default();
        buffer.extend(b"hello ");
        buffer.extend(b"world");
        buffer.consume(6);
        assert_eq!(buffer.as_slice(), b"world");
        assert_eq!(buffer.take(2), b"wo");
        assert_eq!(buffer.take(3), b"rld");
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_large_buffer_is_given_back_when_it_runs_empty() {
        let mut buffer = Buffer::default();
        buffer.extend(&vec![0; 100_000]);
        buffer.consume(100_000);
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
