//! The chunked coding, checked as it passes ([RFC 9112 §7.1]).
//!
//! The coding goes on unchanged, chunk sizes, extensions and trailers included; this only finds its end and refuses what
//! another parser might read differently: signs, `0x`, white space, a bare line feed anywhere, an overlong size.
//!
//! [RFC 9112 §7.1]: https://www.rfc-editor.org/rfc/rfc9112#section-7.1

use std::ops::Range;

/// Most bytes of chunk extensions in one body.
const EXTENSIONS_LIMIT_BYTES: u32 = 16 * 1024;
/// Most bytes of trailers.
const TRAILERS_LIMIT_BYTES: usize = 16 * 1024;
/// Most hexadecimal digits of a chunk's size.
const SIZE_DIGITS: u8 = 15;

/// Fields that a trailer section must not hold, because they frame, route or authorise ([RFC 9110 §6.5.1]).
///
/// [RFC 9110 §6.5.1]: https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
const FORBIDDEN_TRAILERS: [&str; 13] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a chunk's size, so many digits read.
    Size(u8),
    /// In a chunk's extensions.
    Extension,
    /// The line feed behind a size line's carriage return.
    SizeFeed,
    /// In a chunk's data.
    Data,
    /// The carriage return behind the data.
    DataReturn,
    /// The line feed behind the data.
    DataFeed,
    /// In the trailer section, `trailers` holding its current line.
    Trailers,
    /// Behind the end.
    End,
}

/// The state of one chunked body.
#[derive(Debug)]
pub(crate) struct Chunked {
    /// Where the next byte stands.
    place: Place,
    /// Bytes left in the current chunk, or its size as read so far.
    left: u64,
    /// Bytes of extensions seen.
    extensions: u32,
    /// Bytes of trailers seen.
    trailer_bytes: usize,
    /// The trailer line that is being read.
    trailer: Vec<u8>,
    /// Those that were, if somebody wants them.
    kept: Option<Vec<u8>>,
}

impl Chunked {
    /// Before the first chunk.
    pub(crate) const fn new() -> Self {
        Self {
            place: Place::Size(0),
            left: 0,
            extensions: 0,
            trailer_bytes: 0,
            trailer: Vec::new(),
            kept: None,
        }
    }

    /// The same, for somebody who wants the trailers.
    pub(crate) fn keeping_trailers() -> Self {
        let mut chunked = Self::new();
        chunked.kept = Some(Vec::new());
        chunked
    }

    /// The lines of the trailers, as far as they were read and if they were to be kept.
    pub(crate) fn kept(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Whether the body has ended.
    pub(crate) fn ended(&self) -> bool {
        self.place == Place::End
    }

    /// Whether there were trailers, once it has ended: more than the empty line behind the last chunk.
    pub(crate) fn has_trailers(&self) -> bool {
        self.trailer_bytes > 2
    }

    /// Reads on in `input` up to its end or the body's, and hands each stretch of data (not of the coding) to `data`.
    /// Returns how many bytes of `input` belong to the body.
    ///
    /// # Errors
    /// What is wrong with the coding. The body must not be completed then.
    pub(crate) fn advance(&mut self, input: &[u8], mut data: impl FnMut(Range<usize>)) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match self.place {
                Place::Data => {
                    let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                    data(at..at + here);
                    self.left -= here as u64;
                    at += here;
                    if self.left == 0 {
                        self.place = Place::DataReturn;
                    }
                    continue;
                }
                Place::Size(digits) => self.size(digits, byte)?,
                Place::Extension => self.extension(byte)?,
                Place::SizeFeed => {
                    expect(byte, b'\n', "a chunk's size line does not end in CRLF")?;
                    self.place = if self.left == 0 { Place::Trailers } else { Place::Data };
                }
                Place::DataReturn => {
                    expect(byte, b'\r', "a chunk's data is longer than its size")?;
                    self.place = Place::DataFeed;
                }
                Place::DataFeed => {
                    expect(byte, b'\n', "a chunk's data does not end in CRLF")?;
                    self.place = Place::Size(0);
                }
                Place::Trailers => self.trailer(byte)?,
                Place::End => break,
            }
            at += 1;
        }
        Ok(at)
    }

    /// One byte of a chunk's size.
    fn size(&mut self, digits: u8, byte: u8) -> Result<(), &'static str> {
        match (byte, char::from(byte).to_digit(16)) {
            (_, Some(_)) if digits == SIZE_DIGITS => return Err("a chunk's size has too many digits"),
            (_, Some(digit)) => {
                self.left = if digits == 0 { 0 } else { self.left << 4 } | u64::from(digit);
                self.place = Place::Size(digits + 1);
            }
            (b'\r', _) if digits > 0 => self.place = Place::SizeFeed,
            (b';', _) if digits > 0 => self.place = Place::Extension,
            _ => return Err("a chunk's size is not a plain hexadecimal number"),
        }
        Ok(())
    }

    /// One byte of a chunk's extensions.
    fn extension(&mut self, byte: u8) -> Result<(), &'static str> {
        self.extensions += 1;
        match byte {
            b'\r' => self.place = Place::SizeFeed,
            b'\t' | b' '..=b'~' | 0x80.. if self.extensions <= EXTENSIONS_LIMIT_BYTES => {}
            b'\t' | b' '..=b'~' | 0x80.. => return Err("more chunk extensions than amb carries"),
            _ => return Err("a control character in a chunk extension"),
        }
        Ok(())
    }

    /// One byte of the trailer section.
    fn trailer(&mut self, byte: u8) -> Result<(), &'static str> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILERS_LIMIT_BYTES {
            return Err("more trailers than amb carries");
        }
        if byte != b'\n' {
            self.trailer.push(byte);
            return Ok(());
        }
        let Some(line) = self.trailer.strip_suffix(b"\r") else {
            return Err("a trailer does not end in CRLF");
        };
        if line.is_empty() {
            self.place = Place::End;
            self.trailer = Vec::new();
            return Ok(());
        }
        check_trailer(line)?;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&self.trailer);
            kept.push(b'\n');
        }
        self.trailer.clear();
        Ok(())
    }
}

/// Whether a trailer line is a field that may stand there.
pub(crate) fn check_trailer(line: &[u8]) -> Result<(), &'static str> {
    let Some(colon) = memchr::memchr(b':', line) else {
        return Err("a trailer without a colon");
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(token) {
        return Err("a trailer's name is not a token");
    }
    if value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
        return Err("a control character in a trailer");
    }
    if FORBIDDEN_TRAILERS
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
    {
        return Err("a trailer that frames, routes or authorises");
    }
    Ok(())
}

/// An error with `reason` unless `byte` is `wanted`.
fn expect(byte: u8, wanted: u8, reason: &'static str) -> Result<(), &'static str> {
    if byte == wanted { Ok(()) } else { Err(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `body` in pieces of `step` bytes: how many bytes belong to it, its data, and whether it ended.
    fn read(body: &[u8], step: usize) -> Result<(usize, Vec<u8>, bool), &'static str> {
        let mut chunked = Chunked::new();
        let (mut taken, mut data) = (0, Vec::new());
        for piece in body.chunks(step) {
            let here = chunked.advance(piece, |range| data.extend_from_slice(&piece[range]))?;
            taken += here;
            if here < piece.len() {
                break;
            }
        }
        Ok((taken, data, chunked.ended()))
    }

    #[test]
    fn a_body_is_read_alike_in_pieces_of_any_size() {
        let body = b"5;ext=\"v\"\r\nhello\r\n00a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET /next";
        for step in 1..body.len() {
            let (taken, data, ended) = read(body, step).expect("a good body");
            assert_eq!(
                (taken, data.as_slice(), ended),
                (body.len() - 9, b"hello0123456789".as_slice(), true),
                "step {step}"
            );
        }
    }

    #[test]
    fn what_another_parser_might_read_differently_is_refused() {
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5_0\r\n",
            "\r\n",
            "5\rhello",
            "5\r\nhelloo\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5;a\0b\r\nhello\r\n0\r\n\r\n",
            "0000000000000005\r\nhello\r\n0\r\n\r\n",
            "ffffffffffffffff\r\n",
            "0\r\nContent-Length: 3\r\n\r\n",
            "0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "0\r\nX: 1\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\nbad name: 1\r\n\r\n",
            "0\r\n folded: 1\r\n\r\n",
        ] {
            assert!(read(body.as_bytes(), 3).is_err(), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extensions = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(20_000));
        assert!(read(extensions.as_bytes(), 4096).is_err());
        let trailers = format!("0\r\n{}\r\n", "A: 1\r\n".repeat(4_000));
        assert!(read(trailers.as_bytes(), 4096).is_err());
    }

    #[test]
    fn a_body_that_stops_early_has_not_ended() {
        for body in [
            "5\r\nhel",
            "5\r\nhello\r\n",
            "5\r\nhello\r\n0\r\n",
            "5\r\nhello\r\n0\r\nA: 1\r\n",
        ] {
            assert!(!read(body.as_bytes(), 100).expect("good so far").2, "{body:?}");
        }
    }
}
