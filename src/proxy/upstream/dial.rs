//! From a name to a connection: resolution, and happy eyeballs ([RFC 8305]).
//!
//! [RFC 8305]: https://www.rfc-editor.org/rfc/rfc8305

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};
use tokio::{net::TcpStream, task::JoinSet};

use super::super::{error::ExchangeError, target::Authority};

/// How long an address has before the next one is tried beside it ([RFC 8305 §5]).
///
/// [RFC 8305 §5]: https://www.rfc-editor.org/rfc/rfc8305#section-5
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// How far the opening of a connection has come, for the message when it takes too long.
#[derive(Debug, Default)]
pub(crate) enum Stage {
    /// The name is being looked up.
    #[default]
    Resolving,
    /// This address is being dialled.
    Dialling(String),
}

impl Stage {
    /// The error when time is up at this stage.
    pub(crate) fn timed_out(self, authority: &Authority, limit: Duration) -> ExchangeError {
        match self {
            Self::Resolving => ExchangeError::NameTimedOut(authority.host.clone()),
            Self::Dialling(address) => ExchangeError::UpstreamConnectTimedOut { address, limit },
        }
    }
}

/// The addresses of `authority`, by the system's own resolver, so that amb finds what the program itself would have found.
///
/// # Errors
/// If there is none.
pub(crate) async fn resolve(authority: &Authority, stage: &RefCell<Stage>) -> Result<Vec<SocketAddr>, ExchangeError> {
    if let Some(address) = authority.address() {
        return Ok(vec![SocketAddr::new(address, authority.port)]);
    }
    stage.replace(Stage::Resolving);
    let host = authority.host.clone();
    let looked_up = tokio::task::spawn_blocking(move || {
        let hints = AddrInfoHints {
            socktype: SockType::Stream.into(),
            ..AddrInfoHints::default()
        };
        let found = dns_lookup::getaddrinfo(Some(&host), None, Some(hints))?;
        Ok::<_, dns_lookup::LookupError>(
            found
                .filter_map(Result::ok)
                .map(|info| info.sockaddr.ip())
                .collect::<Vec<_>>(),
        )
    })
    .await;
    let unresolved = |reason: String, rcode| ExchangeError::NameUnresolved {
        host: authority.host.clone(),
        reason,
        rcode,
    };
    let addresses = match looked_up {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => {
            let rcode = match error.kind() {
                LookupErrorKind::NoName | LookupErrorKind::NoData => "NXDOMAIN",
                _ => "SERVFAIL",
            };
            let reason = io::Error::from(error).to_string();
            // "failed to lookup address information: Name or service not known": the second half says it.
            return Err(unresolved(
                reason.rsplit(": ").next().unwrap_or(&reason).to_owned(),
                rcode,
            ));
        }
        Err(_) => return Err(ExchangeError::Internal("the resolver's thread panicked".to_owned())),
    };
    if addresses.is_empty() {
        return Err(unresolved("no address".to_owned(), "NXDOMAIN"));
    }
    Ok(alternating(addresses)
        .into_iter()
        .map(|address| SocketAddr::new(address, authority.port))
        .collect())
}

/// The addresses with the two families in turn, the first one's first, each address once ([RFC 8305 §4]).
///
/// [RFC 8305 §4]: https://www.rfc-editor.org/rfc/rfc8305#section-4
fn alternating(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut preferred, mut other) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv6() == first_is_v6 {
            &mut preferred
        } else {
            &mut other
        };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let mut merged = Vec::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        match (preferred.next(), other.next()) {
            (None, None) => return merged,
            (one, two) => merged.extend(one.into_iter().chain(two)),
        }
    }
}

/// A connection to the first of `addresses` that answers, each next one tried beside those before it after a quarter of a second.
///
/// # Errors
/// The first address's error, if none answers. The caller bounds the whole.
pub(crate) async fn race(
    place: &Authority,
    addresses: Vec<SocketAddr>,
    stage: &RefCell<Stage>,
) -> Result<TcpStream, ExchangeError> {
    stage.replace(Stage::Dialling(shown(place, addresses.first())));
    if let [address] = addresses[..] {
        return TcpStream::connect(address)
            .await
            .map_err(|reason| ExchangeError::of_connect(shown(place, Some(&address)), reason));
    }
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut first_error = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn_local(async move { (address, TcpStream::connect(address).await) });
        } else if attempts.is_empty() {
            return Err(first_error.unwrap_or_else(|| ExchangeError::Internal("no address to dial".to_owned())));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok((_, Ok(stream))) => return Ok(stream),
                Ok((address, Err(reason))) => {
                    first_error.get_or_insert(ExchangeError::of_connect(shown(place, Some(&address)), reason));
                }
                Err(reason) => {
                    first_error.get_or_insert(ExchangeError::Internal(reason.to_string()));
                }
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if more => {}
        }
    }
}

/// The address as messages have it, with the name it was looked up by.
fn shown(place: &Authority, address: Option<&SocketAddr>) -> String {
    match address {
        Some(address) if place.address().is_none() => format!("{} ({address})", place.host),
        Some(address) => address.to_string(),
        None => place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_no_address_comes_twice() {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        let sorted = alternating(
            ["::1", "::2", "::1", "1.1.1.1", "2.2.2.2", "3.3.3.3"]
                .map(parse)
                .to_vec(),
        );
        assert_eq!(
            sorted,
            ["::1", "1.1.1.1", "::2", "2.2.2.2", "3.3.3.3"].map(parse).to_vec()
        );
    }
}
