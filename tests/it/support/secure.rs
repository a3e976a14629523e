//! TLS for the tests: an authority of their own, servers that it vouches for, and clients that believe whom they are told to.

use std::{
    io,
    net::TcpStream,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig, ServerConnection, SideData,
    StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
    server::{ClientHello, NoClientAuth, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Amb, Peer, Proxy, Upstream};

/// The client's end of a connection by TLS.
pub(crate) type Client = Peer<StreamOwned<ClientConnection, TcpStream>>;
/// The server's end.
pub(crate) type Server = Peer<StreamOwned<ServerConnection, TcpStream>>;

/// A certificate and what it is for.
pub(crate) struct Certificate {
    /// What was asked for.
    params: CertificateParams,
    /// Its key.
    key: KeyPair,
    /// The certificate.
    made: rcgen::Certificate,
    /// Those that lead to its root, which is not among them.
    chain: Vec<CertificateDer<'static>>,
    /// Whether nobody else vouches for it.
    is_root: bool,
}

impl Certificate {
    /// What a server of this name or address has, for a day: to be changed.
    pub(crate) fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().expect("a name")),
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        valid(&mut params, -1, 24);
        params
    }

    /// What an authority has.
    pub(crate) fn authority_params(name: &str) -> CertificateParams {
        let mut params = Self::params(name);
        params.subject_alt_names.clear();
        params.extended_key_usages.clear();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// A root authority.
    pub(crate) fn root(name: &str) -> Self {
        Self::self_signed(Self::authority_params(name))
    }

    /// One that vouches for itself.
    pub(crate) fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            params,
            key,
            made: certificate,
            chain: Vec::new(),
            is_root: true,
        }
    }

    /// One that this one vouches for.
    pub(crate) fn issue(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let mut chain = self.chain.clone();
        if !self.is_root {
            chain.insert(0, self.made.der().clone());
        }
        Self {
            params,
            key,
            made: certificate,
            chain,
            is_root: false,
        }
    }

    /// A list, in PEM, of one that this one has revoked, to be renewed `due` hours from now.
    pub(crate) fn revokes(&self, other: &Self, due: i64) -> String {
        let mut times = CertificateParams::default();
        valid(&mut times, -48, due);
        let (_, revoked) = X509Certificate::from_der(other.made.der()).expect("a certificate");
        let list = CertificateRevocationListParams {
            this_update: times.not_before,
            next_update: times.not_after,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from_slice(revoked.raw_serial()),
                revocation_time: times.not_before,
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&Issuer::from_params(&self.params, &self.key));
        signed.and_then(|list| list.pem()).expect("a list")
    }

    /// Without those that lead to its root.
    pub(crate) fn without_chain(mut self) -> Self {
        self.chain.clear();
        self
    }

    /// One for a server of this name or address.
    pub(crate) fn server(&self, name: &str) -> Self {
        self.issue(Self::params(name))
    }

    /// PEM.
    pub(crate) fn pem(&self) -> String {
        self.made.pem()
    }

    /// Its key, PEM.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The SHA-256 of its public key, as a pin.
    pub(crate) fn pin(&self) -> String {
        use base64::{Engine, engine::general_purpose::STANDARD};
        use rcgen::PublicKeyData;
        use sha2::{Digest, Sha256};
        format!(
            "sha256/{}",
            STANDARD.encode(Sha256::digest(self.key.subject_public_key_info()))
        )
    }

    /// How a server with this certificate is configured.
    pub(crate) fn config(&self) -> ServerConfig {
        self.config_with(rustls::ALL_VERSIONS)
    }

    /// The same with these versions.
    pub(crate) fn config_with(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ServerConfig {
        self.build(versions, Arc::new(NoClientAuth))
    }

    /// How one is configured that has this certificate, PEM, for the key of this one.
    pub(crate) fn config_of(&self, pem: &str) -> ServerConfig {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|certificate| certificate.expect("PEM"));
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                chain.collect(),
                PrivatePkcs8KeyDer::from(self.key.serialize_der()).into(),
            )
            .expect("a certificate with its key")
    }

    /// How one is configured that sends these certificates, in this order, whichever is first.
    pub(crate) fn config_in_order(&self, order: &[&Self]) -> ServerConfig {
        /// What is sent to everybody.
        #[derive(Debug)]
        struct Always(Arc<CertifiedKey>);

        impl ResolvesServerCert for Always {
            fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
                Some(Arc::clone(&self.0))
            }
        }
        let provider = Arc::new(ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        let key = provider.key_provider.load_private_key(key).expect("a key");
        let chain = order.iter().map(|certificate| certificate.made.der().clone()).collect();
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(Arc::new(CertifiedKey::new(chain, key)))))
    }

    /// How one is configured that asks its clients for certificates.
    pub(crate) fn config_asking(&self, verifier: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        self.build(rustls::ALL_VERSIONS, verifier)
    }

    /// A configuration.
    fn build(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> ServerConfig {
        let mut chain = vec![self.made.der().clone()];
        chain.extend(self.chain.iter().cloned());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(self.key.serialize_der()).into())
            .expect("a certificate with its key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// Makes it valid from so many hours from now on, to so many.
pub(crate) fn valid(params: &mut CertificateParams, from: i64, to: i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("today");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |hours: i64| {
        let hour = Duration::from_hours(hours.unsigned_abs());
        epoch
            + if hours < 0 {
                now.saturating_sub(hour)
            } else {
                now + hour
            }
    };
    (params.not_before, params.not_after) = (at(from), at(to));
}

/// A server that does this with each connection by TLS, given with its number from 0. One whose handshake fails is over.
pub(crate) fn serve(config: ServerConfig, serve: impl Fn(Server, usize) + Clone + Send + 'static) -> Upstream {
    let config = Arc::new(config);
    Upstream::serve(move |mut stream, number| {
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a socket");
        let mut tls = ServerConnection::new(Arc::clone(&config)).expect("a server");
        while tls.is_handshaking() {
            if tls.complete_io(&mut stream).is_err() {
                return;
            }
        }
        serve(Peer::over(StreamOwned::new(tls, stream)), number);
    })
}

/// A server of HTTP/1.1 that answers every request with 200 and this.
pub(crate) fn hello(mut config: ServerConfig, body: &'static str) -> Upstream {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    serve(config, move |mut peer, _| {
        while let Ok(head) = peer.until(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&head).into_owned();
            if let Some((_, length)) = head.split_once("Content-Length: ") {
                let length = length.split('\r').next().unwrap_or_default();
                peer.take(length.parse().expect("a length")).expect("a body");
            }
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

impl<C, D> Peer<StreamOwned<C, TcpStream>>
where
    C: std::ops::DerefMut<Target = ConnectionCommon<D>>,
    D: SideData,
{
    /// Says that nothing follows, and ends the sending half.
    pub(crate) fn end(&mut self) -> &mut Self {
        self.stream.conn.send_close_notify();
        drop(self.stream.conn.write_tls(&mut self.stream.sock));
        drop(self.stream.sock.shutdown(std::net::Shutdown::Write));
        self
    }
}

/// How a client is configured that believes these roots, and offers these protocols.
pub(crate) fn client_config(roots: &[&str], protocols: &[&str]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in roots {
        for root in CertificateDer::pem_slice_iter(root.as_bytes()) {
            store.add(root.expect("PEM")).expect("a root");
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Speaks TLS on a connection, with somebody who proves to be `name`.
///
/// # Errors
/// If the other side does not, or does not want to.
pub(crate) fn shake(config: ClientConfig, name: &str, mut stream: TcpStream) -> io::Result<Client> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(Peer::over(StreamOwned::new(tls, stream)))
}

/// An amb that decrypts, and believes the servers of [`Scene::root`].
pub(crate) struct Scene {
    /// The authority of the servers.
    pub(crate) root: Certificate,
    /// amb.
    pub(crate) proxy: Proxy,
    /// Holds files.
    directory: tempfile::TempDir,
}

impl Scene {
    /// With these flags of `amb run`.
    #[track_caller]
    pub(crate) fn with(flags: &[&str]) -> Self {
        Self::prepared(|_, _| flags.iter().map(ToString::to_string).collect())
    }

    /// With flags that need the servers' authority, and a directory for files.
    #[track_caller]
    pub(crate) fn prepared(flags: impl FnOnce(&Certificate, &std::path::Path) -> Vec<String>) -> Self {
        let root = Certificate::root("Test Root");
        let directory = tempfile::tempdir().expect("a directory");
        let flags = flags(&root, directory.path());
        let roots = directory.path().join("roots.pem");
        std::fs::write(&roots, root.pem()).expect("a file");
        let run = Amb::run(flags)
            .env("SSL_CERT_FILE", &roots)
            .without_env("SSL_CERT_DIR")
            .env("AMB_LOG", "warn")
            .env("AMB_SABOTAGE_CA", directory.path().join("amb.pem"));
        Self {
            root,
            proxy: Proxy::of(run),
            directory,
        }
    }

    /// Where amb's own authority is.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.directory.path().join("amb.pem")
    }

    /// amb's own authority.
    #[track_caller]
    pub(crate) fn authority(&self) -> String {
        std::fs::read_to_string(self.authority_file()).expect("amb has an authority")
    }

    /// A connection through a tunnel that `CONNECT` opened to `host:port`.
    #[track_caller]
    pub(crate) fn tunnel(&self, place: &str) -> Peer {
        let mut client = self.proxy.connect();
        client.send(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"));
        let head = client.until(b"\r\n\r\n").expect("an answer");
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
        client
    }

    /// A client that trusts amb, by TLS through a tunnel to the server, which it calls `name`.
    #[track_caller]
    pub(crate) fn client(&self, server: &Upstream, name: &str) -> Client {
        self.client_offering(server, name, &["http/1.1"]).expect("TLS")
    }

    /// The same with these protocols, of which nobody knows whether amb takes them.
    #[track_caller]
    pub(crate) fn client_offering(&self, server: &Upstream, name: &str, protocols: &[&str]) -> io::Result<Client> {
        let config = client_config(&[&self.authority()], protocols);
        shake(config, name, self.tunnel(&server.address().to_string()).stream)
    }

    /// A client that trusts the servers' authority alone.
    #[track_caller]
    pub(crate) fn stranger(&self, server: &Upstream, name: &str) -> io::Result<Client> {
        let config = client_config(&[&self.root.pem()], &["http/1.1"]);
        shake(config, name, self.tunnel(&server.address().to_string()).stream)
    }
}
