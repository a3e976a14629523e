//! Exactly one record for each exchange and tunnel, however it ends, and sums that add up.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    time::Duration,
};

use amb::{
    config::{self, Request},
    proxy::{Listener, Proxy, Serving},
    traffic::{Kind, Outcome, Record, meter::Traffic},
};
use socket2::{Domain, Socket, Type};

use super::support::{PATIENCE, Step, Upstream, ok, status};

/// A proxy in this process whose records are caught.
struct Books {
    /// Where it listens.
    address: SocketAddr,
    /// The proxy.
    serving: Serving,
    /// The records as they end.
    records: mpsc::Receiver<Record>,
}

impl Books {
    /// A proxy with nothing configured.
    fn open() -> Self {
        Self::told(|_| {})
    }

    /// The same, whose records go to `tell` as well.
    fn told(tell: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        let (config, _) = config::load(&Request::default()).unwrap();
        let (sender, records) = mpsc::channel();
        let listener: Listener = Arc::new(move |record: &Record| {
            // At the end of the test nobody listens any more.
            drop(sender.send(record.clone()));
            tell(record);
        });
        let proxy = Proxy::bind(config.listen, 1).unwrap();
        let address = proxy.address();
        let serving = proxy
            .serve(
                &config.policy,
                &Arc::default(),
                &Arc::default(),
                "1",
                Some(&listener),
                &amb::proxy::Lookout::default(),
            )
            .unwrap();
        Self {
            address,
            serving,
            records,
        }
    }

    /// A client that has sent this.
    fn client(&self, bytes: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(bytes).unwrap();
        client
    }

    /// The next record; there has to be one soon.
    #[track_caller]
    fn next(&self) -> (Kind, String) {
        let record = self.records.recv_timeout(PATIENCE).expect("a record");
        (record.kind, name(&record.outcome))
    }

    /// Ends the proxy at once: the sums, and the records that were still to come.
    fn close(self) -> (Traffic, Vec<(Kind, String)>) {
        let drained = self.serving.drain(Duration::ZERO).finish();
        assert!(drained.lost.is_empty(), "{:?}", drained.lost);
        let rest = self.records.try_iter();
        let rest = rest.map(|record| (record.kind, name(&record.outcome))).collect();
        (drained.meter.finish(), rest)
    }
}

/// An outcome in a word, or the type of its error.
fn name(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok => "ok".to_owned(),
        Outcome::Failed(failure) => failure.error_type.clone(),
        Outcome::Denied(_) => "denied".to_owned(),
        Outcome::ClientAborted => "aborted".to_owned(),
        Outcome::CutShort => "cut short".to_owned(),
    }
}

/// Reads an answer's head, to the empty line.
#[track_caller]
fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A request for something on this server.
fn get(address: SocketAddr) -> Vec<u8> {
    format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// A request for a tunnel to it.
fn connect(address: SocketAddr) -> Vec<u8> {
    format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// A server that takes a request and does not answer.
fn silent() -> Upstream {
    Upstream::script([vec![Step::Read, Step::Stall, Step::Close]])
}

/// An address that refuses connections for as long as the socket lives.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn whatever_becomes_of_a_request_it_is_one_record() {
    let books = Books::open();
    let server = Upstream::script([ok("hello"), status(503)]);
    let (_kept, refused) = refusing();

    let mut client = books.client(&get(server.address()));
    assert_eq!(books.next(), (Kind::Exchange, "ok".to_owned()));
    client.write_all(&get(server.address())).unwrap();
    assert_eq!(books.next(), (Kind::Exchange, "503".to_owned()));

    let _client = books.client(&get(refused));
    assert_eq!(books.next(), (Kind::Exchange, "connection_refused".to_owned()));
    let _client = books.client(b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(books.next(), (Kind::Exchange, "http_request_error".to_owned()));
    let _client = books.client(&get(books.address));
    assert_eq!(books.next(), (Kind::Exchange, "http_request_denied".to_owned()));

    let gone = silent();
    let client = books.client(&get(gone.address()));
    gone.wait_for_requests(1);
    drop(client);
    assert_eq!(books.next(), (Kind::Exchange, "aborted".to_owned()));

    let open = silent();
    let _client = books.client(&get(open.address()));
    open.wait_for_requests(1);

    let (traffic, rest) = books.close();
    assert_eq!(rest, [(Kind::Exchange, "cut short".to_owned())]);
    let requests = &traffic.requests;
    assert_eq!(
        (
            requests.total,
            requests.ok,
            requests.failed,
            requests.aborted,
            requests.cut_short
        ),
        (7, 1, 4, 1, 1)
    );
    assert_eq!(traffic.tunnels.total, 0);
    assert_eq!(traffic.failures.iter().map(|group| group.count).sum::<u64>(), 4);
    assert_eq!(
        traffic.hosts.iter().map(|host| host.requests.total).sum::<u64>(),
        requests.total
    );
}

/// Checklist 118.
#[test]
fn a_panic_in_one_connection_disturbs_no_other() {
    let books = Books::told(|record| assert_ne!(record.method, "PANIC", "as the test wants it"));
    let server = Upstream::script([
        vec![
            Step::Read,
            Step::Stall,
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ],
        ok("hello"),
    ]);
    let (_kept, refused) = refusing();
    let mut waiting = books.client(&get(server.address()));
    server.wait_for_requests(1);

    let mut broken = books.client(format!("PANIC http://{refused}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!(books.next(), (Kind::Exchange, "connection_refused".to_owned()));
    // Its own connection ends.
    broken.read_to_end(&mut Vec::new()).unwrap();

    server.release();
    assert!(read_head(&mut waiting).contains(" 200 "));
    assert_eq!(books.next(), (Kind::Exchange, "ok".to_owned()));
    let _client = books.client(&get(server.address()));
    assert_eq!(books.next(), (Kind::Exchange, "ok".to_owned()));

    let (traffic, rest) = books.close();
    assert_eq!(rest, []);
    let requests = &traffic.requests;
    assert_eq!((requests.total, requests.ok, requests.failed), (3, 2, 1));
}

#[test]
fn whatever_becomes_of_a_tunnel_it_is_one_record() {
    let books = Books::open();
    let echo = Upstream::serve(|mut stream, _| {
        let mut bytes = [0; 4];
        if stream.read_exact(&mut bytes).is_ok() {
            stream.write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        }
    });
    let (_kept, refused) = refusing();

    let mut client = books.client(&connect(echo.address()));
    assert!(read_head(&mut client).contains(" 200 "));
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    drop(client);
    assert_eq!(books.next(), (Kind::Tunnel, "ok".to_owned()));

    let _client = books.client(&connect(refused));
    assert_eq!(books.next(), (Kind::Tunnel, "connection_refused".to_owned()));

    let mut client = books.client(&[5, 1, 0]);
    client.read_exact(&mut [0; 2]).unwrap();
    let [high, low] = refused.port().to_be_bytes();
    client.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).unwrap();
    assert_eq!(books.next(), (Kind::Tunnel, "connection_refused".to_owned()));

    let mut client = books.client(&connect(echo.address()));
    assert!(read_head(&mut client).contains(" 200 "));

    let (traffic, rest) = books.close();
    assert_eq!(rest, [(Kind::Tunnel, "cut short".to_owned())]);
    let tunnels = &traffic.tunnels;
    assert_eq!(
        (tunnels.total, tunnels.ok, tunnels.failed, tunnels.open_at_end),
        (4, 1, 2, 1)
    );
    assert_eq!(traffic.requests.total, 0);
}
