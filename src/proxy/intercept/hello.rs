//! What a client says first: whom it wants, and what it can speak.

use std::time::Duration;

use rustls::{
    CipherSuite, NamedGroup, SignatureScheme,
    server::{Accepted, Acceptor, ClientHello},
};

use super::super::{
    deadline,
    tls::{
        CRYPTOGRAPHY,
        client::{HTTP2, HTTP11, Offer},
    },
    wire::connection::Connection,
};

/// How long a client may take to say it once it has begun.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// A client's first message.
pub(crate) struct Hello {
    /// For rustls, which has read it.
    pub(crate) accepted: Accepted,
    /// How many bytes of the client's inbox it is; they are still there.
    pub(crate) length: usize,
    /// The name that the client wants the server to be, lower case; none if it does not say.
    pub(crate) name: Option<String>,
    /// What of the protocols that it offers amb speaks; none if there is nothing, and it does offer some.
    pub(crate) offer: Option<Offer>,
    /// Whether it offers more than that.
    pub(crate) offers_more: bool,
    /// Whether amb can be the server that it wants.
    pub(crate) fits: bool,
}

/// Reads a client's first message; none if it is not TLS, or does not come. Takes nothing from the inbox.
pub(crate) async fn read(client: &mut Connection) -> Option<Hello> {
    deadline::within(HELLO_LIMIT, read_to_end(client)).await.flatten()
}

/// See [`read`], which bounds it.
async fn read_to_end(client: &mut Connection) -> Option<Hello> {
    let mut acceptor = Acceptor::default();
    let mut length = 0;
    loop {
        let mut bytes = &client.inbox.as_slice()[length..];
        if bytes.is_empty() {
            match client.fill().await {
                Ok(1..) => continue,
                _ => return None,
            }
        }
        length += acceptor.read_tls(&mut bytes).ok().filter(|count| *count > 0)?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(understood(accepted, length));
        }
    }
}

/// What it says.
fn understood(accepted: Accepted, length: usize) -> Hello {
    let hello = accepted.client_hello();
    let name = hello.server_name().map(|name| {
        let name = name.strip_suffix('.').unwrap_or(name);
        name.to_ascii_lowercase()
    });
    let protocols: Option<Vec<&[u8]>> = hello.alpn().map(Iterator::collect);
    let offer = match &protocols {
        None => Some(Offer::Nothing),
        Some(protocols) => match [HTTP2, HTTP11].map(|known| protocols.contains(&known)) {
            [true, true] => Some(Offer::Both),
            [true, false] => Some(Offer::Http2),
            [false, true] => Some(Offer::Http11),
            [false, false] => None,
        },
    };
    let known = offer.map_or(0, |offer| offer.protocols().len());
    let offers_more = protocols.is_some_and(|protocols| protocols.len() > known);
    let fits = fits(&hello);
    Hello {
        accepted,
        length,
        name,
        offer,
        offers_more,
        fits,
    }
}

/// Whether amb can be the server for such a client: old ones know neither the ciphers nor the kind of key.
fn fits(hello: &ClientHello<'_>) -> bool {
    let suites = hello.cipher_suites();
    let known = |suite: CipherSuite| suites.contains(&suite);
    let groups = hello.named_groups();
    let shares = |group: NamedGroup| groups.is_none_or(|groups| groups.contains(&group));
    hello
        .signature_schemes()
        .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
        && CRYPTOGRAPHY.cipher_suites.iter().any(|suite| known(suite.suite()))
        && CRYPTOGRAPHY.kx_groups.iter().any(|group| shares(group.name()))
}
