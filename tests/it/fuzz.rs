//! Malformed messages by the tens of thousands, the same ones each time, judged by a strict reader of its own.
//!
//! `AMB_TEST_FUZZ` sets another number of requests.

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use crate::support::{Answer, End, Peer, Proxy, Upstream};

/// Requests that are tried.
const REQUESTS: usize = 100_000;
/// Responses that are tried.
const RESPONSES: usize = 20_000;
/// Clients at the same time.
const CLIENTS: usize = 4;
/// How long any answer may take: no input may make anybody wait for one of amb's own limits.
const HANG: Duration = Duration::from_secs(10);

/// A generator of numbers that look random: xorshift64.
struct Dice(u64);

impl Dice {
    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// A byte, mostly one that means something to HTTP.
    fn byte(&mut self) -> u8 {
        const MEANINGFUL: &[u8] = b"\0\x01\t\n\x0b\x0c\r \"#%(),/0159:;<=?@AFTXacfhxz[\\]{}\x7f\x80\xa0\xff+-_.";
        if self.below(4) == 0 {
            u8::try_from(self.below(256)).unwrap()
        } else {
            MEANINGFUL[self.below(MEANINGFUL.len())]
        }
    }

    /// `seed` with one byte changed, added or taken away, or cut short; nothing happens to `spared`.
    fn mutate(&mut self, seed: &[u8], spared: &[Range<usize>]) -> Vec<u8> {
        let at = loop {
            let at = self.below(seed.len());
            if !spared.iter().any(|range| range.contains(&at)) {
                break at;
            }
        };
        let mut bytes = seed.to_vec();
        match self.below(20) {
            0..=12 => bytes[at] = self.byte(),
            13..=15 => {
                bytes.remove(at);
            }
            16..=18 => bytes.insert(at, self.byte()),
            _ => bytes.truncate(at),
        }
        bytes
    }
}

/// Tells which input it was if the test fails on it.
struct Tried<'bytes>(&'bytes [u8]);

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            ::amb::supervise::write_stderr(&format!("failed on {}\n", self.0.escape_ascii()));
        }
    }
}

/// A message as the strict reader understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    /// The words of the first line.
    line: [String; 3],
    /// The body, without its coding.
    body: Vec<u8>,
    /// Its bytes in all.
    length: usize,
}

/// What the strict reader says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// A whole message.
    Whole(Message),
    /// The beginning of one.
    Part,
    /// None.
    Bad(&'static str),
}

/// The next line, which must end in CRLF and hold no other control character than a tab.
fn line<'bytes>(bytes: &'bytes [u8], at: &mut usize) -> Result<&'bytes [u8], Verdict> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return Err(Verdict::Part);
    };
    let Some(line) = rest[..end].strip_suffix(b"\r") else {
        return Err(Verdict::Bad("a bare line feed"));
    };
    if line.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
        return Err(Verdict::Bad("a control character"));
    }
    *at += end + 1;
    Ok(line)
}

/// Whether these are characters of a token.
fn is_token(bytes: &[u8]) -> bool {
    let one = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(one)
}

/// A field line: name in lower case, and value.
fn field(line: &[u8]) -> Result<(String, &[u8]), Verdict> {
    let colon = line.iter().position(|byte| *byte == b':');
    let Some((name, value)) = colon.map(|colon| (&line[..colon], &line[colon + 1..])) else {
        return Err(Verdict::Bad("no colon"));
    };
    if !is_token(name) {
        return Err(Verdict::Bad("no token"));
    }
    Ok((String::from_utf8_lossy(name).to_lowercase(), value.trim_ascii()))
}

/// Reads one message, as strictly as the standard allows.
fn read(bytes: &[u8]) -> Verdict {
    try_read(bytes).unwrap_or_else(|verdict| verdict)
}

/// See [`read`].
fn try_read(bytes: &[u8]) -> Result<Verdict, Verdict> {
    let mut at = 0;
    let first = line(bytes, &mut at)?;
    let words: Vec<String> = first
        .splitn(3, |byte| *byte == b' ')
        .map(|word| word.iter().copied().map(char::from).collect())
        .collect();
    let words: [String; 3] = words.try_into().map_err(|_| Verdict::Bad("not three words"))?;
    let response = words[0].starts_with("HTTP/");
    let version = if response { &words[0] } else { &words[2] };
    if !matches!(version.as_str(), "HTTP/1.0" | "HTTP/1.1") || !response && !is_token(words[0].as_bytes()) {
        return Err(Verdict::Bad("the first line"));
    }
    let (mut length, mut chunked) = (None, false);
    loop {
        let line = line(bytes, &mut at)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = field(line)?;
        match name.as_str() {
            "content-length" if length.is_some() => return Err(Verdict::Bad("two lengths")),
            "content-length" => {
                let digits = std::str::from_utf8(value).unwrap_or("-");
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let parsed = digits.parse::<u64>().ok().filter(|_| plain);
                length = Some(parsed.ok_or(Verdict::Bad("no length"))?);
            }
            "transfer-encoding" if chunked || !value.eq_ignore_ascii_case(b"chunked") => {
                return Err(Verdict::Bad("another coding"));
            }
            "transfer-encoding" => chunked = true,
            _ => {}
        }
    }
    if chunked && (length.is_some() || version == "HTTP/1.0") {
        return Err(Verdict::Bad("a coding too many"));
    }
    let mut body = Vec::new();
    if chunked {
        read_chunks(bytes, &mut at, &mut body)?;
    } else if let Some(length) = length {
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let Some(content) = end.and_then(|end| bytes.get(at..end)) else {
            return Err(Verdict::Part);
        };
        body.extend_from_slice(content);
        at += content.len();
    } else if response {
        return Err(Verdict::Part);
    }
    Ok(Verdict::Whole(Message {
        line: words,
        body,
        length: at,
    }))
}

/// Reads a chunked body.
fn read_chunks(bytes: &[u8], at: &mut usize, body: &mut Vec<u8>) -> Result<(), Verdict> {
    loop {
        let line = line(bytes, at)?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Verdict::Bad("no chunk size"));
        }
        let size =
            usize::from_str_radix(&String::from_utf8_lossy(digits), 16).map_err(|_| Verdict::Bad("a huge chunk"))?;
        if size == 0 {
            break;
        }
        let chunk = bytes.get(*at..at.saturating_add(size)).ok_or(Verdict::Part)?;
        body.extend_from_slice(chunk);
        *at += size;
        match bytes.get(*at..*at + 2) {
            Some(b"\r\n") => *at += 2,
            None if bytes.len() <= *at || bytes[*at] == b'\r' => return Err(Verdict::Part),
            _ => return Err(Verdict::Bad("a chunk's end")),
        }
    }
    loop {
        let line = line(bytes, at)?;
        if line.is_empty() {
            return Ok(());
        }
        field(line)?;
    }
}

/// The requests that are mutated, with the origin's `host:port` as `ORIGIN`.
const REQUEST_SEEDS: [&str; 14] = [
    "GET http://ORIGIN/a?b=c HTTP/1.1\r\nHost: ORIGIN\r\nAccept: */*\r\nUser-Agent: x/1\r\n\r\n",
    "GET http://ORIGIN/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 11\r\n\r\nhello world",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 54\r\n\r\nGET http://ORIGIN/inner HTTP/1.1\r\nHost: ORIGINxxxx\r\n\r\n",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: xchunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: \tchunked\r\nX: y\r\n\r\n1\r\nZ\r\n0\r\n\r\n",
    "PUT http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nConnection: x-a, close\r\nX-A: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\n\r\n",
    "GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    "POST http://ORIGIN/p HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 3\r\n\r\nabcGET http://ORIGIN/two HTTP/1.1\r\nHost: ORIGIN\r\n\r\n",
];

/// A seed aimed at `origin`, and where in it the targets' hosts are: were they changed, amb would ask the network for others.
fn aimed(seed: &str, origin: &str) -> (Vec<u8>, Vec<Range<usize>>) {
    let text = seed.replace("ORIGIN", origin);
    let host = format!("//{origin}/");
    let spared = text.match_indices(&host).map(|(at, _)| at..at + host.len()).collect();
    (text.into_bytes(), spared)
}

/// Every message that an origin got, whole ones in their order, and what was wrong with others.
#[derive(Default)]
struct Recorded {
    /// Whole requests since they were last taken.
    requests: Mutex<Vec<Message>>,
    /// Bytes that the strict reader could not read.
    bad: Mutex<Vec<String>>,
}

/// Reads requests strictly, records and answers them.
fn record(recorded: &Recorded, mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match read(&bytes) {
            Verdict::Whole(message) => {
                bytes.drain(..message.length);
                recorded.requests.lock().unwrap().push(message);
                if stream
                    .write_all(b"HTTP/1.1 200 OK\r\nX-Origin: yes\r\nContent-Length: 2\r\n\r\nok")
                    .is_err()
                {
                    return;
                }
            }
            Verdict::Part => match stream.read(&mut buffer) {
                Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
                // What is not whole by now was given up, and will never be taken for a request.
                _ => return,
            },
            Verdict::Bad(reason) => {
                let shown = format!("{reason}: {}", bytes.escape_ascii());
                recorded.bad.lock().unwrap().push(shown);
                return;
            }
        }
    }
}

/// The whole requests that `bytes` begin with.
fn requests_in(bytes: &[u8]) -> (Vec<Message>, bool) {
    let mut found = Vec::new();
    let mut rest = bytes;
    loop {
        // amb takes an empty line before a request for nothing.
        while let Some(behind) = rest.strip_prefix(b"\r\n") {
            rest = behind;
        }
        match read(rest) {
            Verdict::Whole(message) => {
                rest = &rest[message.length..];
                found.push(message);
            }
            _ => return (found, rest.is_empty()),
        }
    }
}

/// One client: tries `count` mutated requests against an origin of its own.
fn try_requests(proxy: std::net::SocketAddr, seed: u64, count: usize) -> [usize; 2] {
    let recorded = Arc::new(Recorded::default());
    let recording = Arc::clone(&recorded);
    let origin = Upstream::serve(move |stream, _| record(&recording, stream));
    let address = origin.address().to_string();
    let mut dice = Dice(seed);
    let mut client: Option<Peer> = None;
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..count {
        let (text, spared) = aimed(REQUEST_SEEDS[dice.below(REQUEST_SEEDS.len())], &address);
        let bytes = dice.mutate(&text, &spared);
        // What begins like TLS or SOCKS is none of HTTP's business.
        if matches!(bytes.first(), Some(4 | 5 | 0x16)) {
            continue;
        }
        let _tried = Tried(&bytes);
        let shown = || bytes.escape_ascii().to_string();
        let (expected, exact) = requests_in(&bytes);
        let mut peer = client.take().unwrap_or_else(|| {
            let peer = Peer::new(TcpStream::connect(proxy).expect("the proxy lives"));
            peer.stream.set_read_timeout(Some(HANG)).unwrap();
            peer
        });
        peer.send(&bytes);
        let whole = exact && expected.len() == 1;
        if !whole {
            peer.half_close();
        }
        let mut answers: Vec<Answer> = Vec::new();
        while !(whole && answers.len() == 1) {
            match peer.try_answer("GET") {
                Ok(answer) => answers.push(answer),
                Err(End::Closed) => break,
                Err(End::Reset | End::CutOff) => panic!("a reset for {}", shown()),
            }
        }
        let from_origin = answers.iter().filter(|it| it.field("x-origin").is_some()).count();
        for answer in answers.iter().filter(|it| it.field("x-origin").is_none()) {
            let own = (400..600).contains(&answer.status()) && answer.field("proxy-status").is_some();
            assert!(own && !answer.body.is_empty(), "{}: {}", shown(), answer.head());
        }
        assert!(answers.len() - from_origin <= 1, "{}", shown());
        let came = std::mem::take(&mut *recorded.requests.lock().unwrap());
        assert_eq!(
            came.len(),
            from_origin,
            "answers and requests differ in number: {}",
            shown()
        );
        assert!(
            from_origin <= expected.len(),
            "more requests than were sent: {}",
            shown()
        );
        for (came, sent) in came.iter().zip(&expected) {
            assert_eq!((&came.line[0], &came.body), (&sent.line[0], &sent.body), "{}", shown());
            assert!(
                sent.line[1].ends_with(&came.line[1]) || came.line[1].starts_with("/?"),
                "{}",
                shown()
            );
        }
        assert_eq!(*recorded.bad.lock().unwrap(), Vec::<String>::new(), "{}", shown());
        let empty = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) || bytes.is_empty();
        assert!(!answers.is_empty() || empty, "no answer at all to {}", shown());
        accepted += from_origin;
        refused += answers.len() - from_origin;
        let last = answers.last();
        let kept =
            last.is_some_and(|it| it.field("x-origin").is_some() && it.field("connection").as_deref() != Some("close"));
        let old = expected.first().is_some_and(|it| it.line[2] == "HTTP/1.0");
        if whole && kept && !old {
            client = Some(peer);
        } else {
            // No connection is left behind to wait for its end: there are only so many ports.
            peer.reset();
        }
    }
    origin.join();
    [accepted, refused]
}

#[test]
fn no_malformed_request_gets_past_as_something_else() {
    let count = env::var("AMB_TEST_FUZZ").map_or(REQUESTS, |text| text.parse().expect("a number"));
    let proxy = Proxy::start();
    let address = proxy.address;
    let clients: Vec<_> = (1..=CLIENTS as u64)
        .map(|seed| {
            thread::spawn(move || try_requests(address, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), count / CLIENTS))
        })
        .collect();
    let [mut accepted, mut refused] = [0, 0];
    for client in clients {
        let [took, threw] = client.join().unwrap();
        accepted += took;
        refused += threw;
    }
    assert!(
        accepted > count / 20 && refused > count / 10,
        "{accepted} accepted, {refused} refused"
    );
    let origin = Upstream::script([crate::support::ok("alive")]);
    proxy
        .ask(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/")))
        .assert_is(200, "alive");
    let records = proxy.end();
    assert_eq!(
        records.exchanges("ok"),
        accepted as u64 + 1,
        "each accepted request is one record"
    );
    assert_eq!(records.exchanges("cut_short"), 0);
    assert_eq!(
        records.exchanges("total"),
        records.exchanges("ok") + records.exchanges("failed")
    );
}

/// The responses that are mutated.
const RESPONSE_SEEDS: [&str; 12] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\nX-Lax : 1\r\nX-Fold: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nConnection: close, x-a\r\nX-A: 1\r\n\r\nuntil the end",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
];

/// Answers `/bad` with the next of `answers`, and anything else with its own path.
fn answer(stream: TcpStream, answers: &Mutex<Receiver<Vec<u8>>>) {
    let mut peer = Peer::new(stream);
    while let Ok(head) = peer.until(b"\r\n\r\n") {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default().to_vec();
        if path != b"/bad" {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", path.len()));
            peer.send(path);
            continue;
        }
        let bytes = answers.lock().unwrap().recv().expect("an answer for each request");
        peer.send(&bytes);
        // An interim response is never the last.
        let whole = matches!(read(&bytes), Verdict::Whole(message)
            if message.length == bytes.len() && !message.line[1].starts_with('1'));
        if !whole {
            return;
        }
    }
}

/// One client: has `count` mutated responses sent to it.
fn try_responses(proxy: std::net::SocketAddr, seed: u64, count: usize) -> [usize; 3] {
    let (answers, next_answer) = channel();
    let next_answer = Arc::new(Mutex::new(next_answer));
    let origin = Upstream::serve(move |stream, _| answer(stream, &next_answer));
    let mut dice = Dice(seed);
    let mut client: Option<Peer> = None;
    let connect = move |client: Option<Peer>| {
        client.unwrap_or_else(|| {
            let peer = Peer::new(TcpStream::connect(proxy).expect("the proxy lives"));
            peer.stream.set_read_timeout(Some(HANG)).unwrap();
            peer
        })
    };
    let (mut passed, mut refused, mut crossed) = (0, 0, 0);
    for number in 0..count {
        let seed = RESPONSE_SEEDS[dice.below(RESPONSE_SEEDS.len())].as_bytes();
        let bytes = dice.mutate(seed, &[]);
        let _tried = Tried(&bytes);
        let shown = || bytes.escape_ascii().to_string();
        answers.send(bytes.clone()).unwrap();
        let mut peer = connect(client.take());
        // Not to be sent again on another connection, whatever happens: each answer is for one request.
        peer.send(format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            origin.url("/bad")
        ));
        let answer = loop {
            let answer = peer
                .try_answer("POST")
                .unwrap_or_else(|end| panic!("{end:?} without an answer for {}", shown()));
            assert!(
                answer
                    .field("transfer-encoding")
                    .is_none_or(|coding| coding.eq_ignore_ascii_case("identity"))
                    || answer.field("content-length").is_none(),
                "two lengths: {} became {}",
                shown(),
                answer.head()
            );
            let plain = answer
                .head
                .split(|byte| *byte == b'\n')
                .rev()
                .skip(1)
                .all(|line| line.ends_with(b"\r"));
            assert!(
                plain && !answer.head.contains(&0),
                "{} became {:?}",
                shown(),
                answer.head()
            );
            if answer.status() >= 200 {
                break answer;
            }
        };
        if answer.field("proxy-status").is_some_and(|it| it.starts_with("amb;")) {
            assert_eq!(answer.status(), 502, "{}", shown());
            refused += 1;
        } else {
            passed += 1;
        }
        let kept = answer.end.is_none() && answer.field("connection").as_deref() != Some("close");
        let mut peer = connect(kept.then_some(peer));
        peer.send(format!(
            "GET {} HTTP/1.1\r\nHost: x\r\n\r\n",
            origin.url(&format!("/good/{number}"))
        ));
        let mut next = peer
            .try_answer("GET")
            .unwrap_or_else(|end| panic!("{end:?} behind {}", shown()));
        // The server closes its connections without a word: a request may meet that, as it may without amb.
        if next.status() == 502 && kept && next.body().contains("urn:amb:error:connection_terminated") {
            let other = format!(
                "GET {} HTTP/1.1\r\nHost: x\r\n\r\n",
                origin.url(&format!("/good/{number}"))
            );
            peer = connect(None);
            peer.send(other);
            next = peer.answer();
            crossed += 1;
        }
        assert_eq!(
            (next.status(), next.body()),
            (200, format!("/good/{number}")),
            "behind {}",
            shown()
        );
        client = Some(peer);
    }
    drop(client);
    [passed, refused, crossed]
}

#[test]
fn no_malformed_response_disturbs_the_next() {
    let proxy = Proxy::start();
    let address = proxy.address;
    let clients: Vec<_> = (1..=CLIENTS as u64)
        .map(|seed| {
            thread::spawn(move || try_responses(address, seed.wrapping_mul(0x2545_f491_4f6c_dd1d), RESPONSES / CLIENTS))
        })
        .collect();
    let [mut passed, mut refused, mut crossed] = [0; 3];
    for client in clients {
        let [took, threw, closed] = client.join().unwrap();
        passed += took;
        refused += threw;
        crossed += closed;
    }
    assert!(
        passed > RESPONSES / 20 && refused > RESPONSES / 20,
        "{passed} passed, {refused} refused"
    );
    let records = proxy.end();
    assert_eq!(records.exchanges("total"), (2 * RESPONSES + crossed) as u64);
    assert!(crossed < RESPONSES / 100, "{crossed}");
    assert_eq!(records.exchanges("cut_short"), 0);
}
