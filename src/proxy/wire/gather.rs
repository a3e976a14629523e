//! A body as a whole, where something has to be done to all of it: looked at in the inbox that it arrives in, and left there
//! until that is known to be possible. What cannot be done leaves it to go on as it came.

use super::{chunked::Chunked, framing::Framing};

/// Bytes of the chunked coding that come on top of a body's own, at most, whatever its length.
const CODING_BYTES: usize = 64 * 1024;

/// What is in an inbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not all of it yet.
    Part,
    /// All of it: so many bytes of the inbox.
    Whole(usize),
    /// More than the limit, or it is going to be.
    TooLong,
    /// Behind it stand trailers, which would have no place behind another body.
    Trailers,
    /// It breaks off, or its coding is broken.
    Broken,
}

/// A body on its way into an inbox.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// How its end is known.
    framing: Framing,
    /// The coding, as far as it was read.
    chunked: Chunked,
    /// How much of the inbox was looked at.
    seen: usize,
    /// The body without its coding, as far as it is there.
    pub(crate) body: Vec<u8>,
    /// The longest that will do, in bytes.
    limit: usize,
    /// The most that it may take with its coding.
    coded_limit: usize,
    /// Why it is broken, once it is: in words that follow "the body is broken".
    pub(crate) why: &'static str,
}

impl Gathering {
    /// Before the first byte.
    pub(crate) fn new(framing: Framing, limit: usize) -> Self {
        Self {
            framing,
            chunked: Chunked::new(),
            seen: 0,
            body: Vec::new(),
            limit,
            coded_limit: limit.saturating_mul(2) + CODING_BYTES,
            why: "",
        }
    }

    /// The same for one that may come in chunks so small that their coding is more than they are.
    pub(crate) fn of_small_chunks(self) -> Self {
        let coded_limit = self.limit.saturating_mul(8).saturating_add(CODING_BYTES);
        Self { coded_limit, ..self }
    }

    /// Looks at an inbox that holds all that came so far; `ended` if nothing more will.
    pub(crate) fn look(&mut self, inbox: &[u8], ended: bool) -> Seen {
        let missing = if ended {
            self.why = "it ended early";
            Seen::Broken
        } else {
            Seen::Part
        };
        match self.framing {
            Framing::Empty => Seen::Whole(0),
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= self.limit => match inbox.get(..length) {
                    Some(body) => {
                        self.body = body.to_vec();
                        Seen::Whole(length)
                    }
                    None => missing,
                },
                _ => Seen::TooLong,
            },
            Framing::UntilClose if inbox.len() > self.limit => Seen::TooLong,
            Framing::UntilClose if ended => {
                self.body = inbox.to_vec();
                Seen::Whole(inbox.len())
            }
            Framing::UntilClose => Seen::Part,
            Framing::Chunked => {
                let Self { chunked, body, .. } = self;
                let new = &inbox[self.seen..];
                match chunked.advance(new, |range| body.extend_from_slice(&new[range])) {
                    Ok(read) => self.seen += read,
                    Err(reason) => {
                        self.why = reason;
                        return Seen::Broken;
                    }
                }
                if self.body.len() > self.limit || self.seen > self.coded_limit {
                    Seen::TooLong
                } else if !self.chunked.ended() {
                    missing
                } else if self.chunked.has_trailers() {
                    Seen::Trailers
                } else {
                    Seen::Whole(self.seen)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of bytes that come one by one, and then end.
    fn gathered(framing: Framing, limit: usize, bytes: &[u8]) -> (Seen, Vec<u8>) {
        let mut gathering = Gathering::new(framing, limit);
        for end in 0..=bytes.len() {
            let seen = gathering.look(&bytes[..end], false);
            if seen != Seen::Part {
                return (seen, gathering.body);
            }
        }
        let seen = gathering.look(bytes, true);
        (seen, gathering.body)
    }

    #[test]
    fn a_body_is_whole_when_its_framing_says_so() {
        let whole = |framing, bytes: &[u8]| gathered(framing, 5, bytes);
        assert_eq!(whole(Framing::Empty, b"next"), (Seen::Whole(0), Vec::new()));
        assert_eq!(
            whole(Framing::Length(5), b"helloGET"),
            (Seen::Whole(5), b"hello".to_vec())
        );
        assert_eq!(
            whole(Framing::UntilClose, b"hello"),
            (Seen::Whole(5), b"hello".to_vec())
        );
        let coded = b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nGET";
        assert_eq!(whole(Framing::Chunked, coded), (Seen::Whole(24), b"hello".to_vec()));
    }

    #[test]
    fn what_cannot_be_had_as_a_whole_is_told() {
        let seen = |framing, bytes: &[u8]| gathered(framing, 4, bytes).0;
        assert_eq!(seen(Framing::Length(5), b""), Seen::TooLong);
        assert_eq!(seen(Framing::Length(3), b"he"), Seen::Broken);
        assert_eq!(seen(Framing::UntilClose, b"hello"), Seen::TooLong);
        assert_eq!(seen(Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\n"), Seen::TooLong);
        assert_eq!(seen(Framing::Chunked, b"2\r\nhe\r\n0\r\nA: 1\r\n\r\n"), Seen::Trailers);
        assert_eq!(seen(Framing::Chunked, b"2\r\nhello"), Seen::Broken);
        assert_eq!(seen(Framing::Chunked, b"2\r\nh"), Seen::Broken);
    }
}
