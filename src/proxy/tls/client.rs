//! amb as a client of TLS: whom it wants to talk to, and how the handshake with a server goes.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, pki_types::ServerName};
use tokio::sync::OnceCell;

use super::{
    CRYPTOGRAPHY, Tls,
    problem::CertificateProblem,
    verify::{Identity, Verifier},
    versions,
};
use crate::{
    policy::tls::{Pin, Version},
    proxy::{
        deadline,
        error::ExchangeError,
        wire::{
            connection::Connection,
            tls::{HandshakeError, Session},
        },
    },
};

/// How long a handshake may take, where connecting may take as long again.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Protocols that are offered to a server ([RFC 7301]).
///
/// [RFC 7301]: https://www.rfc-editor.org/rfc/rfc7301
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Offer {
    /// None: it speaks what it speaks, which is HTTP/1.1.
    Nothing,
    /// HTTP/1.1.
    Http11,
}

impl Offer {
    /// As TLS has it.
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Http11 => vec![b"http/1.1".to_vec()],
        }
    }
}

/// Who is to be at the other end of a connection, and what it is offered. Two connections for the same can stand in for
/// each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    /// The name that its certificate must be for.
    name: ServerName<'static>,
    /// Whether it is told that name.
    named: bool,
    /// What it is offered.
    offer: Offer,
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
    pub(crate) fn new(name: &str, named: bool, offer: Offer) -> Result<Rc<Self>, ExchangeError> {
        let valid = ServerName::try_from(name.to_owned()).map_err(|_| ExchangeError::CertificateRejected {
            server: name.to_owned(),
            reason: "no certificate can be for this name".to_owned(),
        })?;
        Ok(Rc::new(Self {
            name: valid,
            named,
            offer,
        }))
    }
}

/// How rustls is to go about aims of one kind.
struct Config {
    /// Whether the servers are told their names.
    named: bool,
    /// What they are offered.
    offer: Offer,
    /// How.
    means: Arc<ClientConfig>,
}

/// One worker's way to secure connections to servers.
pub(crate) struct Securing {
    /// What the workers share.
    shared: Arc<Tls>,
    /// Keys, one of which each server must have.
    pins: Vec<Pin>,
    /// The oldest version.
    oldest: Version,
    /// How rustls is to go about it, once that was needed; sessions that can be resumed are remembered in it.
    basis: OnceCell<ClientConfig>,
    /// The same for each kind of aim.
    configs: RefCell<Vec<Config>>,
}

impl Securing {
    /// Costs nothing until something is to be secured.
    pub(crate) fn new(shared: Arc<Tls>, pins: Vec<Pin>, oldest: Version) -> Self {
        Self {
            shared,
            pins,
            oldest,
            basis: OnceCell::new(),
            configs: RefCell::default(),
        }
    }

    /// How rustls is to go about this aim.
    async fn config(&self, aim: &Aim) -> Result<Arc<ClientConfig>, ExchangeError> {
        let fits = |known: &&Config| known.named == aim.named && known.offer == aim.offer;
        let known = self
            .configs
            .borrow()
            .iter()
            .find(fits)
            .map(|known| Arc::clone(&known.means));
        if let Some(config) = known {
            return Ok(config);
        }
        let mut config = self.basis.get_or_try_init(|| self.make_basis()).await?.clone();
        config.enable_sni = aim.named;
        config.alpn_protocols = aim.offer.protocols();
        let config = Arc::new(config);
        self.configs.borrow_mut().push(Config {
            named: aim.named,
            offer: aim.offer,
            means: Arc::clone(&config),
        });
        Ok(config)
    }

    /// What all aims have in common.
    async fn make_basis(&self) -> Result<ClientConfig, ExchangeError> {
        let verifier = Verifier::new(&self.shared.roots, self.pins.clone()).await;
        let config = ClientConfig::builder_with_provider(Arc::clone(&CRYPTOGRAPHY))
            .with_protocol_versions(versions(self.oldest))
            .map_err(|error| ExchangeError::Internal(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Identity(self.shared.identity.clone())));
        Ok(config)
    }

    /// Speaks TLS on a connection to `server` from now on. `false` if `unless_asked` was said and the server asks for a
    /// certificate that amb has not: then the connection is of no use any more, and nothing else was wrong with it.
    ///
    /// # Errors
    /// Names whose fault it was.
    pub(crate) async fn secure(
        &self,
        connection: &mut Connection,
        server: &str,
        aim: &Aim,
        unless_asked: bool,
    ) -> Result<bool, ExchangeError> {
        let config = self.config(aim).await?;
        let session = ClientConnection::new(config, aim.name.clone())
            .map_err(|error| ExchangeError::Internal(error.to_string()))?;
        let mut session = Session::new(session, Vec::new());
        session.stops_if_asked = unless_asked;
        let shaking = connection.secure(session);
        match deadline::within(HANDSHAKE_LIMIT, shaking).await {
            Some(Ok(())) => Ok(true),
            Some(Err(HandshakeError::Asked)) => Ok(false),
            Some(Err(error)) => Err(failed(server, error)),
            None => Err(ExchangeError::TlsTimedOut {
                server: server.to_owned(),
                limit: HANDSHAKE_LIMIT,
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
