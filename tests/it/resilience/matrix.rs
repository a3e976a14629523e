//! Nothing is executed twice that must not be: every fault × method × connection × level, at random moments.
//!
//! Each trial has a server of its own, on a port of its own, which counts as executed every request whose head it has read. The
//! record of the trial has to agree with what the server saw. `AMB_TEST_TRIALS` is how often each cell is tried.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use amb::{
    config::{self, Request},
    proxy::{Listener, Proxy, Serving},
    traffic::{Outcome, Record},
};
use socket2::{Domain, Socket, Type};

use super::let_pass;
use crate::support::{PATIENCE, Peer};

/// What a server does about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    /// Nobody listens.
    Refused,
    /// It breaks off at this point.
    Break(Point, Way),
    /// It answers 503.
    Unavailable,
    /// It never answers.
    Silent,
}

/// How far a server reads before it breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Point {
    /// Nothing.
    Accepted,
    /// The request's head.
    Head,
    /// The request's body.
    Body,
    /// All of it, and it answers with half a head.
    Answering,
}

/// How a server breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// By a reset.
    Reset,
    /// By an end of file.
    End,
}

/// Every fault.
const FAULTS: [Fault; 11] = [
    Fault::Refused,
    Fault::Break(Point::Accepted, Way::Reset),
    Fault::Break(Point::Accepted, Way::End),
    Fault::Break(Point::Head, Way::Reset),
    Fault::Break(Point::Head, Way::End),
    Fault::Break(Point::Body, Way::Reset),
    Fault::Break(Point::Body, Way::End),
    Fault::Break(Point::Answering, Way::Reset),
    Fault::Break(Point::Answering, Way::End),
    Fault::Unavailable,
    Fault::Silent,
];
/// The methods.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "PATCH"];
/// The levels.
const LEVELS: [&str; 4] = ["off", "safe", "idempotent", "all"];
/// What `timeout.first-byte` is set to.
const FIRST_BYTE: Duration = Duration::from_millis(100);
/// Threads that make trials.
const TESTERS: usize = 16;

/// A random number generator of the test's own: xorshift.
struct Dice(u64);

impl Dice {
    /// A number below `limit`.
    fn roll(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Waits up to two milliseconds, mostly not at all.
    fn dawdle(&mut self) {
        if self.roll(3) == 0 {
            let_pass(self.roll(3));
        }
    }
}

/// Records by port, and what rings when one comes.
type Books = (Mutex<HashMap<u16, Vec<Record>>>, Condvar);

/// A proxy of one level, in this process, and the records of its exchanges by the port that they went to.
struct Level {
    /// Its name.
    name: &'static str,
    /// Where it listens.
    address: SocketAddr,
    /// The records.
    records: Arc<Books>,
}

impl Level {
    /// A proxy of this level, whose limits do not let anybody wait.
    fn start(name: &'static str) -> (Self, Serving) {
        let overrides = [
            &format!("retry.level={name}"),
            "retry.backoff={ base = '1ms', max = '2ms' }",
            "retry.budget={ ratio = 100, min = 1000000 }",
            "timeout.first-byte=100ms",
        ];
        let (config, _) = config::load(&Request {
            overrides: overrides.map(ToOwned::to_owned).to_vec(),
            ..Request::default()
        })
        .unwrap();
        let records = Arc::new(Books::default());
        let told = Arc::clone(&records);
        let listener: Listener = Arc::new(move |record: &Record| {
            let mut records = told.0.lock().unwrap();
            records.entry(record.port).or_default().push(record.clone());
            told.1.notify_all();
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
        let level = Self { name, address, records };
        (level, serving)
    }

    /// The `count` records of this port, which are then forgotten.
    #[track_caller]
    fn take(&self, port: u16, count: usize) -> Vec<Record> {
        let missing = |records: &mut HashMap<u16, Vec<Record>>| records.get(&port).is_none_or(|all| all.len() < count);
        let (mut records, _) = self
            .records
            .1
            .wait_timeout_while(self.records.0.lock().unwrap(), PATIENCE, missing)
            .unwrap();
        records.remove(&port).unwrap_or_default()
    }
}

/// One cell of the table.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// What happens.
    fault: Fault,
    /// To a request with this method.
    method: &'static str,
    /// On a connection that has carried one before.
    pooled: bool,
    /// How many times, before the server is well again.
    times: usize,
}

/// What a server is to do, and has seen.
#[derive(Default)]
struct Seen {
    /// Faults that are still to come.
    faults: AtomicUsize,
    /// Requests of the trial whose head was read.
    executed: AtomicUsize,
    /// Requests of the warm-up whose head was read after it was over.
    stragglers: AtomicUsize,
}

/// Reads one request as far as the fault lets it. False if the connection is over.
fn serve_one(peer: &mut Peer, trial: Trial, seen: &Seen, dice: &mut Dice) -> bool {
    let faulty = seen.faults.load(Ordering::SeqCst) > 0;
    let point = match trial.fault {
        Fault::Break(point, _) if faulty => Some(point),
        _ => None,
    };
    dice.dawdle();
    if point == Some(Point::Accepted) {
        return false;
    }
    let Ok(head) = peer.until(b"\r\n\r\n") else {
        return false;
    };
    // A warm-up that amb gave up on may be read late: it is none of the trial's.
    if memchr::memmem::find(&head, b" /trial ").is_some() {
        seen.executed.fetch_add(1, Ordering::SeqCst);
    } else if seen.faults.load(Ordering::SeqCst) > 0 {
        seen.stragglers.fetch_add(1, Ordering::SeqCst);
    }
    if point == Some(Point::Head) {
        dice.dawdle();
        return false;
    }
    let has_body = memchr::memmem::find(&head, b"Content-Length: 5").is_some();
    if has_body && peer.take(5).is_err() {
        return false;
    }
    dice.dawdle();
    match (trial.fault, point) {
        (_, Some(Point::Body)) => return false,
        (_, Some(_)) => {
            peer.send("HTTP/1.1 200 OK\r\nContent-");
            dice.dawdle();
            return false;
        }
        (Fault::Unavailable, None) if faulty => {
            seen.faults.fetch_sub(1, Ordering::SeqCst);
            peer.send("HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n");
        }
        (Fault::Silent, None) if faulty => {
            seen.faults.fetch_sub(1, Ordering::SeqCst);
            peer.rest();
            return false;
        }
        _ => {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    }
    // What is refused next must not find this one open.
    trial.fault != Fault::Refused
}

/// Whether something comes before the connection, or the trial, is over.
fn comes(peer: &Peer, over: &AtomicUsize) -> bool {
    peer.stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let came = loop {
        match peer.stream.peek(&mut [0]) {
            Ok(count) => break count > 0,
            Err(reason) if reason.kind() == io::ErrorKind::WouldBlock && over.load(Ordering::SeqCst) == 0 => {}
            Err(_) => break false,
        }
    };
    peer.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    came
}

/// Serves connections until one comes that says the test is over.
fn serve(listener: &Socket, trial: Trial, seen: &Arc<Seen>, over: &Arc<AtomicUsize>, mut random: u64) {
    let mut threads = Vec::new();
    while let Ok((socket, _)) = listener.accept() {
        if over.load(Ordering::SeqCst) > 0 {
            break;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (seen, over, mut dice) = (Arc::clone(seen), Arc::clone(over), Dice(random | 1));
        threads.push(thread::spawn(move || {
            let mut peer = Peer::new(socket.into());
            // Before anything comes, or only once it does, as one does that waits for its next request.
            let mut at_once = seen.faults.load(Ordering::SeqCst) > 0 && dice.roll(2) == 0;
            loop {
                if !std::mem::take(&mut at_once) && !comes(&peer, &over) {
                    return;
                }
                if !serve_one(&mut peer, trial, &seen, &mut dice) {
                    break;
                }
            }
            if let Fault::Break(_, way) = trial.fault
                && seen.faults.load(Ordering::SeqCst) > 0
            {
                seen.faults.fetch_sub(1, Ordering::SeqCst);
                if way == Way::Reset {
                    peer.reset();
                }
            }
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// What came of a trial.
struct Result {
    /// The record.
    record: Record,
    /// How often it was executed.
    executed: usize,
    /// Warm-ups that were read during it.
    stragglers: usize,
    /// What the client got, if it got an answer.
    status: Option<u16>,
}

/// Makes a trial.
fn attempt(level: &Level, trial: Trial, dice: &mut Dice) -> Result {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let origin = socket.local_addr().unwrap().as_socket().unwrap();
    let seen = Arc::new(Seen::default());
    let over = Arc::new(AtomicUsize::new(0));
    let refused = trial.fault == Fault::Refused;
    let mut client = Peer::new(TcpStream::connect(level.address).unwrap());
    let head = |method: &str, path: &str| format!("{method} http://{origin}/{path} HTTP/1.1\r\nHost: {origin}\r\n");
    let mut server = None;
    if trial.pooled || !refused {
        socket.listen(16).unwrap();
        let (listener, watched, ended) = (socket.try_clone().unwrap(), Arc::clone(&seen), Arc::clone(&over));
        let random = dice.roll(u64::MAX);
        server = Some(thread::spawn(move || serve(&listener, trial, &watched, &ended, random)));
    }
    let end = || {
        over.store(1, Ordering::SeqCst);
        drop(TcpStream::connect(origin));
    };
    if trial.pooled {
        loop {
            client.send(head("GET", "warm-up") + "\r\n");
            let status = client.answer().status();
            level.take(origin.port(), 1);
            // On a crowded machine its time may have been over before the server had a turn.
            if status == 200 {
                break;
            }
        }
    }
    seen.faults.store(trial.times, Ordering::SeqCst);
    let mut kept = Some(socket);
    if refused && trial.pooled {
        end();
        drop(kept.take());
    }
    let body = trial.method != "GET";
    let length = if body { "Content-Length: 5\r\n" } else { "" };
    client.send(format!("{}{length}\r\n", head(trial.method, "trial")));
    if body {
        dice.dawdle();
        client.send("hello");
    }
    let answer = client.try_answer(trial.method);
    let status = answer.ok().map(|answer| answer.status());
    let record = level.take(origin.port(), 1).remove(0);
    drop(client);
    if kept.is_some() && server.is_some() {
        end();
    }
    if let Some(server) = server {
        server.join().unwrap();
    }
    Result {
        record,
        executed: seen.executed.load(Ordering::SeqCst),
        stragglers: seen.stragglers.load(Ordering::SeqCst),
        status,
    }
}

/// Counts over all trials.
#[derive(Debug, Default)]
struct Figures {
    /// Trials.
    trials: usize,
    /// Warm-ups that were read during a trial.
    stragglers: usize,
    /// Requests executed more than once, by the level that let them.
    twice: [usize; LEVELS.len()],
    /// Trials that were retried.
    retried: [usize; LEVELS.len()],
    /// Trials that ended well only by it.
    rescued: [usize; LEVELS.len()],
}

/// Holds a trial against what must be.
fn check(level: usize, trial: Trial, result: &Result, figures: &mut Figures) {
    let Result {
        record,
        executed,
        stragglers,
        status,
    } = result;
    let told = || format!("{} {trial:?} executed {executed}: {status:?} {record:?}", LEVELS[level]);
    // The record agrees with the server.
    let sent = (record.attempts + record.resends) as usize;
    assert!(*executed <= sent, "{}", told());
    assert_eq!(record.status, *status, "{}", told());
    assert!(record.attempts <= record.retries.count + 1, "{}", told());
    if *status == Some(200) {
        assert_eq!(record.outcome, Outcome::Ok, "{}", told());
        assert!(*executed >= 1, "{}", told());
    } else {
        assert!(
            record.outcome.failure().is_some() && record.retries.refused.is_some(),
            "{}",
            told()
        );
    }
    if trial.fault == Fault::Unavailable && record.duration < FIRST_BYTE && record.resends == 0 {
        assert_eq!(*executed, sent, "{}", told());
    }
    // What nobody may do twice.
    assert!(record.resends == 0 || trial.pooled, "{}", told());
    let allowed = match LEVELS[level] {
        "off" => {
            assert_eq!(record.retries.count, 0, "{}", told());
            1
        }
        "safe" => 1,
        "idempotent" if trial.method != "GET" => 1,
        _ => 3,
    };
    assert!(*executed <= allowed, "{}", told());
    figures.trials += 1;
    figures.stragglers += stragglers;
    figures.twice[level] += usize::from(*executed > 1);
    figures.retried[level] += usize::from(record.retries.count > 0);
    figures.rescued[level] += usize::from(record.is_rescued());
}

#[test]
fn nothing_is_executed_twice_below_the_level_that_allows_it() {
    let rounds: usize = std::env::var("AMB_TEST_TRIALS").map_or(1, |trials| trials.parse().unwrap());
    let (levels, serving): (Vec<Level>, Vec<Serving>) = LEVELS.map(Level::start).into_iter().unzip();
    let figures = Mutex::new(Figures::default());
    let next = AtomicUsize::new(0);
    let cells = FAULTS.len() * METHODS.len() * 2 * LEVELS.len();
    thread::scope(|scope| {
        for tester in 0..TESTERS {
            let (levels, figures, next) = (&levels, &figures, &next);
            scope.spawn(move || {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (tester as u64 + 1).wrapping_mul(0x5eed_5eed));
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= cells * rounds {
                        return;
                    }
                    let cell = number % cells;
                    let level = cell % LEVELS.len();
                    let rest = cell / LEVELS.len();
                    let trial = Trial {
                        pooled: rest % 2 == 1,
                        method: METHODS[rest / 2 % METHODS.len()],
                        fault: FAULTS[rest / 2 / METHODS.len()],
                        times: [1, 2, 99][usize::try_from(dice.roll(3)).unwrap()],
                    };
                    let result = attempt(&levels[level], trial, &mut dice);
                    check(level, trial, &result, &mut figures.lock().unwrap());
                }
            });
        }
    });
    for (level, serving) in levels.iter().zip(serving) {
        let lost = serving.drain(Duration::ZERO).finish().lost;
        assert!(lost.is_empty(), "{}: {lost:?}", level.name);
    }
    let figures = figures.into_inner().unwrap();
    let mut lines = vec![format!(
        "{} trials, {} late warm-ups",
        figures.trials, figures.stragglers
    )];
    lines.extend(LEVELS.iter().enumerate().map(|(at, level)| {
        format!(
            "{level}: {} executed twice, {} retried, {} rescued",
            figures.twice[at], figures.retried[at], figures.rescued[at]
        )
    }));
    amb::supervise::write_stderr(&(lines.join("; ") + "\n"));
    assert_eq!((figures.twice[0], figures.twice[1]), (0, 0));
    assert!(figures.rescued[2] > 0 && figures.rescued[3] > 0);
}
