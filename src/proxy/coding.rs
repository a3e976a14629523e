//! Content codings, taken off ([RFC 9110 §8.4.1]): only where a body is going to be edited. What was edited goes on without
//! one, which every recipient can read.
//!
//! [RFC 9110 §8.4.1]: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1

use std::io::{self, Read};

use brotli_decompressor::Decompressor;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use super::wire::head::Fields;

/// Bytes that brotli's decoder reads at once.
const BROTLI_READ_BYTES: usize = 4096;

/// More codings than anybody puts on top of each other.
const MOST: usize = 4;

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// Its coding is none that amb knows.
    Unknown,
    /// It is not what its coding says.
    Broken,
    /// Decoded it is longer than the limit.
    TooLong,
}

/// A body without the codings that `fields` say it has, if that is at most `limit` bytes.
///
/// # Errors
/// Why not. The body is to go on as it is then.
pub(crate) fn decoded(fields: &Fields, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, Undecodable> {
    let codings: Vec<&[u8]> = fields.members("content-encoding").collect();
    if codings.len() > MOST {
        return Err(Undecodable::Unknown);
    }
    let mut body = body;
    // The last one was put on last.
    for coding in codings.into_iter().rev() {
        let is = |known: &str| coding.eq_ignore_ascii_case(known.as_bytes());
        let bytes = body.as_slice();
        let decoded = if is("identity") {
            continue;
        } else if is("gzip") || is("x-gzip") {
            read(MultiGzDecoder::new(bytes), limit)
        } else if is("deflate") {
            // zlib's format by the standard; without its head and tail by some servers.
            let zlib = read(ZlibDecoder::new(bytes), limit);
            match zlib {
                Err(Undecodable::Broken) => read(DeflateDecoder::new(bytes), limit),
                zlib => zlib,
            }
        } else if is("br") {
            read(Decompressor::new(bytes, BROTLI_READ_BYTES), limit)
        } else if is("zstd") {
            zstd(bytes, limit)
        } else {
            Err(Undecodable::Unknown)
        };
        body = decoded?;
    }
    Ok(body)
}

/// All that a decoder has, if that is at most `limit` bytes.
fn read(decoder: impl Read, limit: usize) -> Result<Vec<u8>, Undecodable> {
    let mut body = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let result: io::Result<usize> = decoder.take(most).read_to_end(&mut body);
    match result {
        Ok(_) if body.len() > limit => Err(Undecodable::TooLong),
        Ok(_) => Ok(body),
        Err(_) => Err(Undecodable::Broken),
    }
}

/// Zstandard, which may come in several frames ([RFC 8878 §3.1]).
///
/// [RFC 8878 §3.1]: https://www.rfc-editor.org/rfc/rfc8878#section-3.1
fn zstd(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Undecodable> {
    let mut rest = bytes;
    let mut body = Vec::new();
    while !rest.is_empty() {
        let decoder = StreamingDecoder::new(&mut rest).map_err(|_| Undecodable::Broken)?;
        body.extend(read(decoder, limit - body.len())?);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;
    use crate::proxy::wire::head::RequestHead;

    /// `{"a":1}` by brotli, from its reference encoder.
    const BROTLI: &[u8] = b"\x0b\x03\x80{\"a\":1}\x03";

    /// The same by Zstandard, in two frames.
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x20\x03\x19\x00\x00{\"a\x28\xb5\x2f\xfd\x20\x04\x21\x00\x00\":1}";

    /// Fields with this coding.
    fn fields(coding: &str) -> Fields {
        let head = format!("POST / HTTP/1.1\r\nContent-Encoding: {coding}\r\n\r\n");
        RequestHead::parse(head.into_bytes()).unwrap().fields
    }

    /// `{"a":1}` through an encoder.
    fn through<W>(mut encoder: W, finish: fn(W) -> io::Result<Vec<u8>>) -> Vec<u8>
    where
        W: Write,
    {
        encoder.write_all(br#"{"a":1}"#).unwrap();
        finish(encoder).unwrap()
    }

    #[test]
    fn every_coding_is_taken_off() {
        let best = Compression::best();
        let gzip = through(GzEncoder::new(Vec::new(), best), GzEncoder::finish);
        let zlib = through(ZlibEncoder::new(Vec::new(), best), ZlibEncoder::finish);
        let raw = through(DeflateEncoder::new(Vec::new(), best), DeflateEncoder::finish);
        let mut twice = GzEncoder::new(Vec::new(), best);
        twice.write_all(&zlib).unwrap();
        let twice = decoded(&fields("deflate, gzip"), twice.finish().unwrap(), 99);
        assert_eq!(twice.as_deref(), Ok(&br#"{"a":1}"#[..]));
        for (coding, bytes) in [
            ("identity", br#"{"a":1}"#.to_vec()),
            ("gzip", gzip.clone()),
            ("X-GZIP, identity", gzip.clone()),
            ("deflate", zlib),
            ("deflate", raw),
            ("br", BROTLI.to_vec()),
            ("zstd", ZSTD.to_vec()),
        ] {
            let found = decoded(&fields(coding), bytes.clone(), 7);
            assert_eq!(found.as_deref(), Ok(&br#"{"a":1}"#[..]), "{coding}");
            if coding != "identity" {
                assert_eq!(
                    decoded(&fields(coding), bytes.clone(), 6),
                    Err(Undecodable::TooLong),
                    "{coding}"
                );
                let torn = bytes[..bytes.len() - 2].to_vec();
                assert_eq!(decoded(&fields(coding), torn, 7), Err(Undecodable::Broken), "{coding}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for coding in ["compress", "gzip, dcb", "a, b, c, d, e"] {
            assert_eq!(
                decoded(&fields(coding), b"x".to_vec(), 9),
                Err(Undecodable::Unknown),
                "{coding}"
            );
        }
        assert_eq!(decoded(&fields("gzip"), b"plain".to_vec(), 9), Err(Undecodable::Broken));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 1 << 17);
        assert_eq!(decoded(&fields("gzip"), bomb, 1 << 20), Err(Undecodable::TooLong));
    }
}
