//! Requests that are no exchanges: `CONNECT`, `OPTIONS *`, and what is refused. Few are, so each is boxed, and a connection's
//! task has no room for them.

use std::rc::Rc;

use super::{
    super::{
        answer::OWN,
        error::ExchangeError,
        exchange::Next,
        recorder::Open,
        target::{Authority, Target},
        tunnel,
        wire::{
            connection::Connection,
            framing::{self, Framing},
            head::{RequestHead, Version},
            hop,
        },
        worker::Worker,
    },
    answer_error, refuse,
};
use crate::traffic::Outcome;

/// A request that is no exchange: it opens a tunnel, or is answered here.
pub(super) struct Apart {
    /// Its head.
    pub(super) head: RequestHead,
    /// Its record.
    pub(super) open: Open,
    /// What it asks for, or why it is refused, and who was to be asked if that is known.
    pub(super) target: Result<Target, (ExchangeError, Option<Authority>)>,
}

impl Apart {
    /// Opens the tunnel, or answers.
    pub(super) async fn answer(self, worker: &Rc<Worker>, client: &mut Connection) -> Next {
        let Self { head, open, target } = self;
        let (error, authority) = match target {
            Ok(Target::Tunnel(authority)) => return connect(worker, client, &head, authority, open).await,
            Ok(Target::Asterisk) => return answer_options(client, head, open).await,
            Ok(Target::Origin | Target::Absolute { .. }) => (ExchangeError::NotAProxyRequest, None),
            Err(refusal) => refusal,
        };
        refuse(client, open, &error, Some(&head), authority.as_ref()).await;
        Next::Close
    }
}

/// Answers an `OPTIONS *`. A body that it has is not read, so nothing behind it can be either.
async fn answer_options(client: &mut Connection, mut head: RequestHead, mut open: Open) -> Next {
    let framing = match framing::of_request(&head) {
        Ok(framing) => framing,
        Err(reason) => {
            refuse(
                client,
                open,
                &ExchangeError::RequestMalformed(reason),
                Some(&head),
                None,
            )
            .await;
            return Next::Close;
        }
    };
    let version = head.version;
    let close = hop::strip(&mut head.fields, version, false).close || framing != Framing::Empty;
    open.record.status = Some(200);
    let answer = ["HTTP/1.1 200 OK\r\n", OWN, "Content-Length: 0\r\n\r\n"].concat();
    let sent = client.send(answer.as_bytes()).await;
    open.end(Outcome::Ok);
    Next::after(&sent, close)
}

/// Opens the tunnel that a `CONNECT` asks for ([RFC 9110 §9.3.6]): success is said once the server is connected, not before.
///
/// [RFC 9110 §9.3.6]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
async fn connect(
    worker: &Rc<Worker>,
    client: &mut Connection,
    head: &RequestHead,
    authority: Authority,
    mut open: Open,
) -> Next {
    let framed = match framing::of_request(head) {
        Ok(Framing::Empty) => worker.via.check_loop(&head.fields),
        Ok(_) => Err(ExchangeError::RequestMalformed("a CONNECT with a body")),
        Err(reason) => Err(ExchangeError::RequestMalformed(reason)),
    };
    let rules = worker.rules_of_tunnel(&authority, &mut open);
    let connected = match framed {
        Ok(()) => worker.open_tunnel(&authority, &rules, client, &mut open.record).await,
        Err(error) => {
            refuse(client, open, &error, Some(head), Some(&authority)).await;
            return Next::Close;
        }
    };
    match connected {
        Ok(server) => {
            open.record.connect = server.connect;
            open.record.attempts = 1;
            open.record.status = Some(200);
            if client
                .send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
                .is_err()
            {
                open.fail(&ExchangeError::ClientGone);
                return Next::Reset;
            }
            // To the client's own protocol this is a new connection.
            client.acknowledge();
            Next::Upgraded(Box::new(tunnel::Opened {
                server,
                open,
                unseen: Some(authority),
                idle: rules.timeouts.tunnel_idle,
            }))
        }
        Err(error) => {
            // What was sent ahead into the tunnel is not a request.
            let close = head.version == Version::Http10
                || head.fields.has_member("connection", "close")
                || !client.inbox.is_empty();
            let sent = answer_error(client, open, &error, Some(head), Some(&authority), close).await;
            Next::after(&sent, close)
        }
    }
}
