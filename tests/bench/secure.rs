//! HTTPS: connections by TLS one after the other, each for one small response, with an origin that decrypts for itself. Client
//! and origin are blocking threads.

#![expect(clippy::disallowed_methods, reason = "it is the time that counts here")]

use std::{
    error::Error,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};

use super::{load::BODY, table::Measured};

/// How long connections are made before it counts.
const WARM_UP: Duration = Duration::from_millis(150);

/// The origin, which is every host below `bench.test`; it ends with the process.
pub(crate) struct SecureOrigin {
    /// Where it listens.
    address: SocketAddr,
    /// The authority that vouches for it.
    root: CertificateDer<'static>,
    /// The same in a file, for amb.
    directory: tempfile::TempDir,
}

impl SecureOrigin {
    /// Begins to serve on a free port of loopback.
    ///
    /// # Errors
    /// No port, no randomness, or no room for a file.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let mut about = CertificateParams::default();
        about.distinguished_name.push(DnType::CommonName, "bench root");
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let root = about.self_signed(&key)?;
        let leaf_key = KeyPair::generate()?;
        let leaf = CertificateParams::new(["*.bench.test".to_owned()])?;
        let leaf = leaf.signed_by(&leaf_key, &Issuer::from_params(&about, &key))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into(),
            )?;
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("root.pem"), root.pem())?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let config = Arc::clone(&config);
                thread::spawn(move || {
                    // A client that goes away when its time is over is no fault.
                    drop(serve(stream, config));
                });
            }
        });
        Ok(Self {
            address,
            root: root.der().clone(),
            directory,
        })
    }

    /// The file with the authority that vouches for it.
    pub(crate) fn root_file(&self) -> std::path::PathBuf {
        self.directory.path().join("root.pem")
    }
}

/// Serves requests of one connection.
///
/// # Errors
/// The client has gone.
fn serve(mut stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut secured = Stream::new(&mut tls, &mut stream);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n{}", ".".repeat(BODY));
    loop {
        read_head(&mut secured)?;
        secured.write_all(answer.as_bytes())?;
        secured.flush()?;
    }
}

/// Reads to the end of a head, and returns what is behind it.
///
/// # Errors
/// It does not come.
fn read_head(stream: &mut impl Read) -> io::Result<usize> {
    let mut head = Vec::with_capacity(512);
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..count]);
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            if !head.starts_with(b"HTTP/1.1 200 ") && !head.starts_with(b"GET ") {
                return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
            }
            return Ok(head.len() - end - 4);
        }
    }
}

/// Makes connections by so many threads for so long, each to a host of its own or all to one. `proxy` is amb's address, and the
/// file of its authority.
///
/// # Errors
/// A request fails, or the CPU time cannot be read.
pub(crate) fn measure(
    origin: &SecureOrigin,
    proxy: Option<(SocketAddr, &Path)>,
    threads: u32,
    new_hosts: bool,
    measurement: Duration,
    cpu_time: impl Fn() -> io::Result<Duration>,
) -> Result<Measured, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(origin.root.clone())?;
    if let Some((_, file)) = proxy {
        roots.add(CertificateDer::from_pem_file(file)?)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    let (counting, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (number, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let latencies = Mutex::new(Vec::new());
    let mut times = Ok((Duration::ZERO, Duration::ZERO));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let host = if new_hosts {
                        format!("h{}.bench.test", number.fetch_add(1, Ordering::Relaxed))
                    } else {
                        "known.bench.test".to_owned()
                    };
                    let began = Instant::now();
                    if let Err(reason) = call(origin.address, proxy.map(|(address, _)| address), &config, &host) {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                        break;
                    }
                    if counting.load(Ordering::Relaxed) {
                        own.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                    }
                }
                latencies
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .append(&mut own);
            });
        }
        thread::sleep(WARM_UP);
        times = (|| {
            let (before, began) = (cpu_time()?, Instant::now());
            counting.store(true, Ordering::Relaxed);
            thread::sleep(measurement);
            counting.store(false, Ordering::Relaxed);
            Ok::<_, io::Error>((began.elapsed(), cpu_time()?.saturating_sub(before)))
        })();
        over.store(true, Ordering::Relaxed);
    });
    if let Some(reason) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(reason.into());
    }
    let (lasted, cpu) = times?;
    let latencies = latencies.into_inner().unwrap_or_else(PoisonError::into_inner);
    if latencies.is_empty() {
        return Err("no connection was made in time; AMB_BENCH_SECONDS gives more".into());
    }
    Ok(Measured::requests(latencies, lasted, cpu))
}

/// Makes one connection, asks one small response over it and closes it.
///
/// # Errors
/// It is not as it should be.
fn call(origin: SocketAddr, proxy: Option<SocketAddr>, config: &Arc<ClientConfig>, host: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(proxy.unwrap_or(origin))?;
    stream.set_nodelay(true)?;
    // Its port is free at once.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    if proxy.is_some() {
        stream.write_all(format!("CONNECT {origin} HTTP/1.1\r\nhost: {origin}\r\n\r\n").as_bytes())?;
        read_head(&mut stream)?;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut secured = Stream::new(&mut tls, &mut stream);
    secured.write_all(format!("GET /{BODY} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())?;
    let got = read_head(&mut secured)?;
    secured.read_exact(&mut vec![0; BODY - got])
}
