//! What a run that decrypts leaves behind: nothing, and least of all its key. And what many hosts cost.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::GET;
use crate::support::{
    Amb, Proxy,
    secure::{Certificate, client_config, hello, shake},
};

/// Every file below these directories.
fn files(directories: &[&Path]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = directories.iter().map(|path| path.to_path_buf()).collect();
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether a file holds a key, as it is or in PEM: by the number that it is.
fn holds(path: &Path, secret: &[u8]) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let Ok(mut file) = fs::File::open(path) else {
        return false;
    };
    let mut bytes = Vec::new();
    if !file.metadata().is_ok_and(|about| about.is_file()) || file.read_to_end(&mut bytes).is_err() {
        return false;
    }
    let lines: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    // Where in three bytes a number begins decides how it looks in PEM.
    let written = (0..3).map(|shift| {
        let text = STANDARD.encode([&vec![0; shift][..], secret].concat());
        text[4..text.len() - 4].to_owned().into_bytes()
    });
    let found = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|it| it == word);
    found(&bytes, secret) || written.into_iter().any(|word| found(&lines, &word))
}

#[test]
fn nothing_is_left_behind_and_the_key_is_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let [temporary, runtime, disclosed] = ["tmp", "run", "disclosed"].map(|name| {
        let path = place.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    });
    let root = Certificate::root("Test Root");
    let roots = disclosed.join("roots.pem");
    fs::write(&roots, root.pem()).unwrap();
    let run = Amb::run(["--intercept", "--access-log", "calls.ndjson"])
        .env("SSL_CERT_FILE", &roots)
        .without_env("SSL_CERT_DIR")
        .env("TMPDIR", &temporary)
        .env("XDG_RUNTIME_DIR", &runtime)
        .env("AMB_SABOTAGE_CA", disclosed.join("amb.pem"))
        .env("AMB_SABOTAGE_CA_KEY", disclosed.join("amb.key"));
    let home = run.home().to_owned();
    let before = files(&[&home]);
    let proxy = Proxy::of(run);
    let key = fs::read(disclosed.join("amb.key")).unwrap();
    // PKCS#8 of P-256: the number itself is what follows its length in the inner structure.
    let at = key.windows(2).position(|it| it == [4, 32]).unwrap();
    let secret = &key[at + 2..at + 34];
    assert!(holds(&disclosed.join("amb.key"), secret), "this test can find it");
    let server = hello(root.server("h.test").config(), "hi");
    let mut tunnel = proxy.connect();
    let target = server.address();
    tunnel.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    drop(tunnel.until(b"\r\n\r\n").unwrap());
    let authority = fs::read_to_string(disclosed.join("amb.pem")).unwrap();
    let mut client = shake(client_config(&[&authority], &["http/1.1"]), "h.test", tunnel.stream).unwrap();
    client.send(GET).answer().assert_is(200, "hi");
    let descriptors = PathBuf::from(format!("/proc/{}/fd", proxy.running.pid()));
    let places = [&*home, &temporary, &runtime, &descriptors];
    let during = files(&places);
    assert!(during.len() > before.len(), "the command is given certificates");
    for path in during {
        assert!(!holds(&path, secret), "the key is in {}", path.display());
    }
    drop(client);
    proxy.end().assert_exchanges(&[("ok", 1)]);
    assert_eq!(files(&[&temporary, &runtime]), Vec::<PathBuf>::new());
    let new: Vec<PathBuf> = files(&[&home])
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    for path in &new {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "calls.ndjson" || name.contains("report"),
            "{} is new",
            path.display()
        );
        assert!(!holds(path, secret), "the key is in {}", path.display());
    }
    server.join();
}

/// What a process has in memory that is its own, in KiB.
#[track_caller]
fn resident(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn ten_thousand_hosts_take_little_memory() {
    const HOSTS: usize = 10_000;
    const MOST_KIB: usize = 64 * 1024;
    let over = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let ended = Arc::clone(&over);
    // A server that goes as soon as it is greeted: the certificate in its name is made all the same.
    let server = thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(move || drop(connection.read(&mut [0; 16])));
            if ended.load(Ordering::SeqCst) {
                break;
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("amb.pem");
    let run = Amb::run([
        "--intercept",
        "--threads=2",
        "--connect-to",
        &format!("::127.0.0.1:{}", place.port()),
    ])
    .env("AMB_SABOTAGE_CA", &file)
    .env("AMB_LOG", "off");
    let proxy = Proxy::of(run);
    let config = Arc::new(client_config(&[&fs::read_to_string(&file).unwrap()], &["http/1.1"]));
    let call = |number: usize| {
        let name = format!("h{number}.test");
        let mut tunnel = proxy.connect();
        tunnel.send(format!("CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n"));
        let head = tunnel.until(b"\r\n\r\n").unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
        // As far as to see that there is a certificate; what follows costs time and tells nothing.
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        let mut tls = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut greeting = Vec::new();
        tls.write_tls(&mut greeting).unwrap();
        tunnel.send(greeting);
        assert_eq!(tunnel.take(1).unwrap(), [22], "a handshake's message");
    };
    // What is made but once is there by then.
    (0..200).for_each(call);
    let before = resident(proxy.running.pid());
    thread::scope(|scope| {
        for part in 0..4 {
            let call = &call;
            scope.spawn(move || (200 + part..HOSTS).step_by(4).for_each(call));
        }
    });
    let grown = resident(proxy.running.pid()).saturating_sub(before);
    assert!(grown < MOST_KIB, "{grown} KiB for {HOSTS} hosts");
    let records = proxy.end();
    let tunnels = records.tunnels("total");
    assert_eq!(tunnels, HOSTS as u64);
    over.store(true, Ordering::SeqCst);
    drop(std::net::TcpStream::connect(place));
    server.join().unwrap();
}
