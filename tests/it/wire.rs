//! What the proxy does on the wire: clients and servers that talk to it byte for byte.
//!
//! The tests name items of a checklist of what a proxy must get right, by their numbers.

mod crowd;
mod delays;
mod errors;
pub(crate) mod faults;
mod framing;
mod heads;
mod hop;
mod inside;
mod interim;
mod malformed;
mod memory;
mod parent;
mod pooling;
mod socks;
mod tunnels;
mod upgrade;

use crate::support::{Answer, Peer, Proxy, Request, Step, Upstream, ok};

/// Sends `text`, with the origin's `host:port` in the place of `ORIGIN`, and returns what the origin got and the answer.
#[track_caller]
fn passed(text: &str) -> (Request, Answer) {
    let origin = Upstream::script([ok("hello")]);
    let proxy = Proxy::start();
    let answer = proxy.ask(aimed(text, &origin));
    assert_eq!(answer.status(), 200, "{text:?}: {}{}", answer.head(), answer.body());
    proxy.end().assert_exchanges(&[("ok", 1)]);
    (origin.join().remove(0), answer)
}

/// Each of `texts` is refused with its status by amb itself, and no origin hears of it.
#[track_caller]
fn refused<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = (u16, T)>) {
    let origin = Upstream::script([]);
    let proxy = Proxy::start();
    let mut count = 0;
    for (status, text) in texts {
        let text = text.as_ref();
        let bytes = replaced(text, b"ORIGIN", origin.address().to_string().as_bytes());
        let mut client = proxy.connect();
        client.send(bytes).half_close();
        let answer = client.answer();
        assert_eq!(
            answer.status(),
            status,
            "{:?}\n{}",
            text.escape_ascii().to_string(),
            answer.head()
        );
        answer.assert_own(
            status,
            if status == 403 {
                "http_request_denied"
            } else {
                "http_request_error"
            },
        );
        client.assert_closed();
        count += 1;
    }
    assert_eq!(origin.connections(), 0, "the origin was contacted");
    let records = proxy.end();
    assert_eq!(
        records.exchanges("failed") + records.tunnels("failed"),
        count,
        "{records:?}"
    );
    assert_eq!(
        records.exchanges("total") + records.tunnels("total"),
        count,
        "{records:?}"
    );
}

/// What a client gets when the origin answers a `GET` with `response` and then closes.
#[track_caller]
fn answered(response: impl AsRef<[u8]>) -> Answer {
    let origin = Upstream::script([vec![Step::Read, Step::Send(response.as_ref().to_vec()), Step::Close]]);
    let proxy = Proxy::start();
    let answer = proxy.ask(get(&origin));
    proxy.end();
    origin.join();
    answer
}

/// `text` with the origin's `host:port` in the place of `ORIGIN`.
fn aimed(text: &str, origin: &Upstream) -> String {
    text.replace("ORIGIN", &origin.address().to_string())
}

/// A plain request for the origin's `/`.
fn get(origin: &Upstream) -> String {
    aimed("GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n", origin)
}

/// So many bytes that do not repeat themselves.
fn noise(count: u32) -> Vec<u8> {
    (0..count)
        .map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect()
}

/// `text` with `from` replaced by `to`.
fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// An origin that does this with each connection, given with its number from 0.
fn by_hand(serve: impl Fn(Peer, usize) + Clone + Send + 'static) -> Upstream {
    Upstream::serve(move |stream, number| serve(Peer::new(stream), number))
}
