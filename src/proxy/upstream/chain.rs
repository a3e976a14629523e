//! Through a parent proxy: the client's side of HTTP `CONNECT` ([RFC 9110 §9.3.6]) and of SOCKS5 ([RFC 1928], [RFC 1929]).
//!
//! [RFC 9110 §9.3.6]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
//! [RFC 1928]: https://www.rfc-editor.org/rfc/rfc1928
//! [RFC 1929]: https://www.rfc-editor.org/rfc/rfc1929

use std::{future::poll_fn, io, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::super::{
    error::ExchangeError,
    target::Authority,
    wire::{
        connection::Connection,
        head::ResponseHead,
        http1::{HeadReader, ReadHeadError},
    },
};
use crate::policy::parent::ParentProxy;

/// Asks a parent of the HTTP kind for a tunnel to `target`.
pub(crate) async fn connect_http(
    connection: &mut Connection,
    parent: &ParentProxy,
    target: &Authority,
) -> Result<(), ExchangeError> {
    let authorization = basic_authorization(parent)
        .map(|value| format!("Proxy-Authorization: {value}\r\n"))
        .unwrap_or_default();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    let refused = |answer: String, is_final| ExchangeError::ParentRefused {
        parent: shown(parent),
        answer,
        is_final,
    };
    let broken = |how: String| refused(how, false);
    connection
        .send(request.as_bytes())
        .await
        .map_err(|reason| broken(reason.to_string()))?;
    let mut reader = HeadReader::default();
    loop {
        let head = poll_fn(|cx| reader.poll(cx, connection)).await.map_err(|error| {
            broken(match error {
                ReadHeadError::Ended | ReadHeadError::EndedInside => "by closing the connection".to_owned(),
                ReadHeadError::Io(reason, _) => reason.to_string(),
                ReadHeadError::Head(_) => "something that is not HTTP".to_owned(),
            })
        })?;
        let head = ResponseHead::parse(head).map_err(|_| broken("something that is not HTTP".to_owned()))?;
        match head.status {
            100..=199 => {}
            200..=299 => return Ok(()),
            status => {
                let answer = format!("{status} {}", String::from_utf8_lossy(head.reason()));
                return Err(refused(answer.trim_end().to_owned(), status < 500));
            }
        }
    }
}

/// Asks a SOCKS5 parent for a connection to `target`, or to `address` if the name was looked up here.
pub(crate) async fn connect_socks5(
    connection: &mut Connection,
    parent: &ParentProxy,
    target: &Authority,
    address: Option<IpAddr>,
) -> Result<(), ExchangeError> {
    let answered = |answer: &str, is_final| ExchangeError::ParentRefused {
        parent: shown(parent),
        answer: answer.to_owned(),
        is_final,
    };
    let refused = |answer| answered(answer, true);
    let broken = |reason: io::Error| answered(&reason.to_string(), false);
    let login = parent
        .credentials
        .as_ref()
        .map(|login| (login.user.reveal(), login.password.reveal()));
    connection
        .send(if login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] })
        .await
        .map_err(broken)?;
    match take(connection, 2).await.map_err(broken)?[..] {
        [5, 0] => {}
        [5, 2] => {
            let (user, password) = login.ok_or_else(|| refused("a wish for credentials that it was not offered"))?;
            let mut message = vec![1];
            for part in [user, password] {
                message.push(
                    u8::try_from(part.len())
                        .map_err(|_| refused("nothing yet: the credentials are longer than SOCKS5 carries"))?,
                );
                message.extend_from_slice(part.as_bytes());
            }
            connection.send(&message).await.map_err(broken)?;
            if take(connection, 2).await.map_err(broken)?[1] != 0 {
                return Err(refused("that the credentials are wrong"));
            }
        }
        [5, _] => return Err(refused("that it wants another kind of authentication")),
        _ => return Err(refused("something that is not SOCKS5")),
    }
    let mut request = vec![5, 1, 0];
    match address {
        Some(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        None => {
            request.push(3);
            request.push(
                u8::try_from(target.host.len())
                    .map_err(|_| refused("nothing yet: the name is longer than SOCKS5 carries"))?,
            );
            request.extend_from_slice(target.host.as_bytes());
        }
    }
    request.extend_from_slice(&target.port.to_be_bytes());
    connection.send(&request).await.map_err(broken)?;
    let reply = take(connection, 4).await.map_err(broken)?;
    if reply[1] != 0 {
        return Err(match reply[1] {
            2 => refused("that its rules forbid it"),
            3 => answered("that the network is unreachable", false),
            4 => answered("that the host is unreachable", false),
            5 => answered("that the connection was refused", false),
            6 => answered("that it took too long", false),
            7 | 8 => refused("that it cannot do that"),
            _ => answered("with a general failure", false),
        });
    }
    let rest = match reply[3] {
        1 => 4,
        4 => 16,
        _ => usize::from(take(connection, 1).await.map_err(broken)?[0]),
    };
    take(connection, rest + 2).await.map_err(broken)?;
    Ok(())
}

/// The next `count` bytes.
async fn take(connection: &mut Connection, count: usize) -> io::Result<Vec<u8>> {
    while connection.inbox.len() < count {
        if connection.fill().await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "by closing the connection",
            ));
        }
    }
    Ok(connection.inbox.take(count))
}

/// The value of `Proxy-Authorization` for a parent that wants credentials ([RFC 7617]).
///
/// [RFC 7617]: https://www.rfc-editor.org/rfc/rfc7617
pub(crate) fn basic_authorization(parent: &ParentProxy) -> Option<String> {
    let login = parent.credentials.as_ref()?;
    Some(format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", login.user.reveal(), login.password.reveal()))
    ))
}

/// The parent as messages have it.
fn shown(parent: &ParentProxy) -> String {
    format!("{}:{}", parent.host, parent.port)
}
