//! An authority of nobody's, and a server with a certificate that it has signed.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::support::PATIENCE;

/// An authority.
pub(super) struct Authority {
    /// What it signs with.
    issuer: Issuer<'static, KeyPair>,
    /// Where its certificate is, in DER.
    file: PathBuf,
    /// What holds the file.
    _home: tempfile::TempDir,
}

impl Authority {
    /// A new one.
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "amb test authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("authority.der");
        let certificate = parameters.self_signed(&key).unwrap();
        fs::write(&file, certificate.der()).unwrap();
        fs::write(file.with_extension("pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(parameters, key),
            file,
            _home: home,
        }
    }

    /// Where its certificate is, in DER.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The same in PEM.
    pub(super) fn pem_file(&self) -> PathBuf {
        self.file.with_extension("pem")
    }
}

/// A server on loopback that answers every request with an empty JSON object.
pub(super) struct Server {
    /// Where it listens.
    address: SocketAddr,
    /// What has come in since it was asked last.
    seen: Arc<Mutex<Seen>>,
}

/// What clients have done.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Connections that have come.
    pub(super) connections: usize,
    /// The first lines of requests: their clients have accepted the certificate.
    pub(super) requests: Vec<String>,
    /// How the other connections ended.
    pub(super) refusals: Vec<String>,
}

impl Server {
    /// Starts one whose certificate is signed by this authority.
    pub(super) fn start(authority: &Authority) -> Self {
        Self::speaking(authority, &[])
    }

    /// Starts one that speaks HTTP/2, and answers no request: connections open.
    pub(super) fn start_http2(authority: &Authority) -> Self {
        Self::speaking(authority, &[b"h2"])
    }

    /// Starts one that offers these protocols.
    fn speaking(authority: &Authority, protocols: &[&[u8]]) -> Self {
        let names = ["localhost", "origin.test"].map(str::to_owned);
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &authority.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&server.seen);
        // Ends with the test's process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (config, seen) = (Arc::clone(&config), Arc::clone(&seen));
                lock(&seen).connections += 1;
                thread::spawn(move || {
                    if let Err(refusal) = serve(connection.unwrap(), config, &seen) {
                        lock(&seen).refusals.push(refusal);
                    }
                });
            }
        });
        server
    }

    /// Its URL for a client on its own.
    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}/", self.address.port())
    }

    /// Its URL for a client under an amb that finds it; some clients never ask a proxy for `localhost`.
    pub(super) fn proxied_url(&self) -> String {
        format!("https://origin.test:{}/", self.address.port())
    }

    /// What clients have done since this was asked last.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *lock(&self.seen))
    }
}

/// The lock of what was seen.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap()
}

/// Serves one request, which is noted before it is answered.
///
/// # Errors
/// Why there was none.
fn serve(mut connection: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Seen>) -> Result<(), String> {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut tls = ServerConnection::new(config).unwrap();
    let mut stream = Stream::new(&mut tls, &mut connection);
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) => return Err("closed before a request".to_owned()),
            Ok(count) => head.extend(&buffer[..count]),
            Err(reason) => return Err(reason.to_string()),
        }
    }
    let head = String::from_utf8_lossy(&head);
    lock(seen).requests.extend(head.lines().next().map(str::to_owned));
    if stream.conn.alpn_protocol().is_some() {
        stay(&mut stream);
        return Ok(());
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let sent = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
    tls.send_close_notify();
    // Who has sent a request has accepted the certificate, whatever becomes of the answer.
    let closed = sent.and_then(|()| tls.complete_io(&mut connection).map(drop));
    drop(closed);
    Ok(())
}

/// Holds a connection of HTTP/2 open until its client leaves.
fn stay(stream: &mut Stream<'_, ServerConnection, TcpStream>) {
    // No settings of its own, and that it has read the client's.
    let opened = stream.write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0");
    let mut buffer = [0; 4096];
    let mut goes_on = opened.and_then(|()| stream.flush()).is_ok();
    while goes_on {
        goes_on = stream.read(&mut buffer).is_ok_and(|count| count > 0);
    }
}
