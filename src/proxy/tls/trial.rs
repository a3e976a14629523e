//! A server for `amb doctor`, on loopback, with a certificate that nobody vouches for but an authority which only amb is told
//! of: whoever has a request answered here has come through amb, and trusts it.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use rustls::{ServerConfig, ServerConnection, Stream};

use super::{CRYPTOGRAPHY, authority::CertificateAuthority, leaves::Only};

/// The name that the server's certificate is for, which leads nowhere but through amb.
pub const NAME: &str = "doctor.test";
/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest head of a request that is read.
const MOST_BYTES: usize = 64 * 1024;

/// The server. It ends with the process.
pub struct TrialServer {
    /// Where it listens.
    port: u16,
    /// The authority that vouches for it, PEM.
    root: String,
    /// The targets of the requests that came.
    seen: Arc<Mutex<Vec<String>>>,
}

impl TrialServer {
    /// Starts one.
    ///
    /// # Errors
    /// If there is no port for it, or no randomness.
    pub fn start() -> io::Result<Self> {
        let now = SystemTime::now();
        let authority = CertificateAuthority::new("doctor", None, now).map_err(io::Error::other)?;
        let leaf = authority.mint(NAME, now).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&CRYPTOGRAPHY))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Only(Arc::new(leaf))));
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let server = Self {
            port: listener.local_addr()?.port(),
            root: authority.pem(),
            seen: Arc::clone(&seen),
        };
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (config, seen) = (Arc::clone(&config), Arc::clone(&seen));
                thread::spawn(move || {
                    if let Err(reason) = serve(stream, config, &seen) {
                        tracing::debug!(%reason, "a client was not served");
                    }
                });
            }
        });
        Ok(server)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that vouches for it, PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Whether a request came with this in its target, which may be a path or a whole URL.
    pub fn has_seen(&self, part: &str) -> bool {
        let seen = self.seen.lock();
        seen.is_ok_and(|seen| seen.iter().any(|target| target.contains(part)))
    }
}

/// Notes one request, and answers it with an empty JSON object.
fn serve(mut stream: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut secured = Stream::new(&mut tls, &mut stream);
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
        let count = secured.read(&mut buffer)?;
        if count == 0 || head.len() > MOST_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&head);
    if let (Some(target), Ok(mut seen)) = (text.split(' ').nth(1), seen.lock()) {
        seen.push(target.to_owned());
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    secured.write_all(answer.as_bytes())?;
    secured.flush()?;
    tls.send_close_notify();
    tls.complete_io(&mut stream).map(drop)
}
