//! amb as a client of TLS: whom it wants to talk to, and how the handshake with a server goes.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, pki_types::ServerName};

use super::{
    CRYPTOGRAPHY, Tls,
    problem::CertificateProblem,
    verify::{Identity, Verifier},
    versions,
};
use crate::{
    policy::tls::servers::ServerTls,
    proxy::{
        deadline,
        error::ExchangeError,
        wire::{
            connection::Connection,
            tls::{HandshakeError, Session},
        },
    },
};

/// Protocols that are offered to a server ([RFC 7301]).
///
/// [RFC 7301]: https://www.rfc-editor.org/rfc/rfc7301
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Offer {
    /// None: it speaks what it speaks, which is HTTP/1.1.
    Nothing,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2, and HTTP/1.1 for servers that do not speak it.
    Both,
}

/// What HTTP/2 is called.
pub(crate) const HTTP2: &[u8] = b"h2";
/// What HTTP/1.1 is called.
pub(crate) const HTTP11: &[u8] = b"http/1.1";

impl Offer {
    /// As TLS has it.
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Http11 => vec![HTTP11.to_vec()],
            Self::Http2 => vec![HTTP2.to_vec()],
            Self::Both => vec![HTTP2.to_vec(), HTTP11.to_vec()],
        }
    }
}

/// Who is to be at the other end of a connection, what is demanded of it and what it is offered. Two connections for the same
/// can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    /// The name that its certificate must be for.
    name: ServerName<'static>,
    /// Whether it is told that name.
    named: bool,
    /// What it is offered.
    offer: Offer,
    /// What is demanded of it, and what it is shown.
    demands: Arc<ServerTls>,
}

impl Aim {
    /// Who the server must prove to be: a name or an address.
    pub(crate) fn server(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// A server of this name or address: lower case, no brackets.
    ///
    /// # Errors
    /// If it can be nobody's.
    pub(crate) fn new(
        name: &str,
        named: bool,
        offer: Offer,
        demands: &Arc<ServerTls>,
    ) -> Result<Rc<Self>, ExchangeError> {
        let valid = ServerName::try_from(name.to_owned()).map_err(|_| ExchangeError::CertificateRejected {
            server: name.to_owned(),
            reason: "no certificate can be for this name".to_owned(),
        })?;
        Ok(Rc::new(Self {
            name: valid,
            named,
            offer,
            demands: Arc::clone(demands),
        }))
    }

    /// The same with other demands; none if these are its own.
    pub(crate) fn demanding(&self, demands: &Arc<ServerTls>) -> Option<Rc<Self>> {
        let same = Arc::ptr_eq(&self.demands, demands) || self.demands == *demands;
        (!same).then(|| {
            Rc::new(Self {
                demands: Arc::clone(demands),
                ..self.clone()
            })
        })
    }

    /// Whether a server may choose HTTP/2.
    pub(crate) fn offers_http2(&self) -> bool {
        matches!(self.offer, Offer::Http2 | Offer::Both)
    }

    /// The same, to be asked for what HTTP/2 has no way for.
    pub(crate) fn without_http2(self: &Rc<Self>) -> Rc<Self> {
        if !self.offers_http2() {
            return Rc::clone(self);
        }
        Rc::new(Self {
            offer: Offer::Http11,
            ..Self::clone(self)
        })
    }
}

/// How rustls is to go about aims of one kind.
struct Config {
    /// What is demanded of the servers.
    demands: Arc<ServerTls>,
    /// Whether the servers are told their names.
    named: bool,
    /// What they are offered.
    offer: Offer,
    /// How.
    way: Arc<ClientConfig>,
}

/// One worker's way to secure connections to servers.
pub(crate) struct Securing {
    /// What the workers share.
    shared: Arc<Tls>,
    /// How rustls is to go about each kind of aim, once that was needed. Those with the same demands share the sessions that can
    /// be resumed: of 256 servers at most, eight each.
    configs: RefCell<Vec<Config>>,
}

impl Securing {
    /// Costs nothing until something is to be secured.
    pub(crate) fn new(shared: Arc<Tls>) -> Self {
        Self {
            shared,
            configs: RefCell::default(),
        }
    }

    /// How rustls is to go about this aim.
    async fn config(&self, aim: &Aim) -> Result<Arc<ClientConfig>, ExchangeError> {
        if let Some(config) = self.known(aim) {
            return Ok(config);
        }
        let basis = self.similar(aim);
        let mut config = match basis {
            Some(basis) => ClientConfig::clone(&basis),
            None => self.make(&aim.demands).await?,
        };
        // While that was made, somebody else may have needed it too: sessions are shared only with what is known.
        if let Some(config) = self.known(aim) {
            return Ok(config);
        }
        if let Some(basis) = self.similar(aim) {
            config = ClientConfig::clone(&basis);
        }
        config.enable_sni = aim.named;
        config.alpn_protocols = aim.offer.protocols();
        let way = Arc::new(config);
        self.configs.borrow_mut().push(Config {
            demands: Arc::clone(&aim.demands),
            named: aim.named,
            offer: aim.offer,
            way: Arc::clone(&way),
        });
        Ok(way)
    }

    /// What was made for this kind of aim.
    fn known(&self, aim: &Aim) -> Option<Arc<ClientConfig>> {
        let configs = self.configs.borrow();
        let mut fitting = configs
            .iter()
            .filter(|known| known.named == aim.named && known.offer == aim.offer);
        let found = fitting.find(|known| aim.demanding(&known.demands).is_none())?;
        Some(Arc::clone(&found.way))
    }

    /// What was made for an aim with the same demands.
    fn similar(&self, aim: &Aim) -> Option<Arc<ClientConfig>> {
        let configs = self.configs.borrow();
        let found = configs.iter().find(|known| aim.demanding(&known.demands).is_none())?;
        Some(Arc::clone(&found.way))
    }

    /// What all aims with these demands have in common.
    async fn make(&self, demands: &Arc<ServerTls>) -> Result<ClientConfig, ExchangeError> {
        let means = self.shared.means(demands);
        let means = means.ok_or_else(|| ExchangeError::Internal("nobody has read this route's files".to_owned()))?;
        let verifier = Verifier::new(&means.roots, means.revoked.clone(), demands.pins.clone()).await;
        let config = ClientConfig::builder_with_provider(Arc::clone(&CRYPTOGRAPHY))
            .with_protocol_versions(versions(demands.min_version))
            .map_err(|error| ExchangeError::Internal(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Identity(means.identity.clone())));
        Ok(config)
    }

    /// Speaks TLS on a connection to `server` from now on. `false` if `unless_asked` was said and the server asks for a
    /// certificate that amb has not: then the connection is of no use any more, and nothing else was wrong with it.
    ///
    /// # Errors
    /// Names whose fault it was. Lasts at most `limit`.
    pub(crate) async fn secure(
        &self,
        connection: &mut Connection,
        server: &str,
        aim: &Aim,
        unless_asked: bool,
        limit: Duration,
    ) -> Result<bool, ExchangeError> {
        let config = self.config(aim).await?;
        let session = ClientConnection::new(config, aim.name.clone())
            .map_err(|error| ExchangeError::Internal(error.to_string()))?;
        let mut session = Session::new(session, Vec::new());
        session.stops_if_asked = unless_asked;
        let shaking = connection.secure(session);
        match deadline::within(limit, shaking).await {
            Some(Ok(())) => Ok(true),
            Some(Err(HandshakeError::Asked)) => Ok(false),
            Some(Err(error)) => Err(failed(server, error)),
            None => Err(ExchangeError::TlsTimedOut {
                server: server.to_owned(),
                limit,
            }),
        }
    }
}

/// What a failed handshake means.
fn failed(server: &str, error: HandshakeError) -> ExchangeError {
    let broken = |how: String| ExchangeError::TlsBroken {
        server: server.to_owned(),
        how,
    };
    match error {
        HandshakeError::Ended => broken("closed the connection".to_owned()),
        HandshakeError::Io(reason) if reason.kind() == std::io::ErrorKind::ConnectionReset => {
            broken("reset the connection".to_owned())
        }
        HandshakeError::Io(reason) => broken(format!("broke the connection ({reason})")),
        HandshakeError::Asked => broken("asked for a certificate".to_owned()),
        HandshakeError::Tls(error) => explained(server, &error),
    }
}

/// What an error of TLS means that a server caused.
pub(crate) fn explained(server: &str, error: &Error) -> ExchangeError {
    let server = server.to_owned();
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            let problem = other.0.downcast_ref::<CertificateProblem>();
            ExchangeError::CertificateRejected {
                server,
                reason: problem.map_or_else(|| other.to_string(), ToString::to_string),
            }
        }
        Error::InvalidCertificate(error) => ExchangeError::CertificateRejected {
            server,
            reason: error.to_string(),
        },
        Error::NoCertificatesPresented => ExchangeError::CertificateRejected {
            server,
            reason: "it sent none".to_owned(),
        },
        Error::AlertReceived(alert) => ExchangeError::TlsAlertReceived {
            server,
            alert: name_of(*alert),
            number: u8::from(*alert),
        },
        Error::InvalidMessage(_) => ExchangeError::TlsFailed {
            server,
            reason: "what it sent is not TLS".to_owned(),
        },
        other => ExchangeError::TlsFailed {
            server,
            reason: other.to_string(),
        },
    }
}

/// An alert's name as the RFCs write it: `handshake_failure`.
pub(crate) fn name_of(alert: AlertDescription) -> String {
    let mut name = String::new();
    for letter in alert.as_str().unwrap_or("unknown").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() && !name.ends_with(|last: char| last.is_ascii_uppercase()) {
            name.push('_');
        }
        name.push(letter);
    }
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_as_the_rfcs_name_them() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadCertificate, "bad_certificate"),
            (AlertDescription::CertificateUnknown, "certificate_unknown"),
        ] {
            assert_eq!(name_of(alert), name);
        }
    }
}
