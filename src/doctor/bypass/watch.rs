//! Looks at the sockets of a run again and again, in a thread of its own, from the command's start to its end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    family::{Family, Process},
    reason,
    sockets::{Socket, Table},
};
use crate::cli;

/// How long it waits between two looks, at least, and otherwise as long as the last one took: half of a processor is the most
/// that it takes.
const PAUSE: Duration = Duration::from_millis(5);
/// Of how many looks one is at what the kernel remembers, too, which it does for a minute.
const REMEMBERED: u64 = 256;

/// A socket that a process of the run had connected.
#[derive(Debug)]
pub(super) struct Sighting {
    /// The socket.
    pub(super) socket: Socket,
    /// Who had it, when it was first seen.
    pub(super) process: Process,
    /// In how many looks it was there.
    pub(super) times: u32,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Sockets that may lead around the proxy, in the order in which they came up.
    pub(super) sightings: Vec<Sighting>,
    /// The proxies of amb that processes of the run were told of.
    pub(super) proxies: BTreeSet<SocketAddr>,
    /// Where anybody waited for connections.
    pub(super) listening: BTreeSet<SocketAddr>,
    /// Connections that were closed before they were looked at, from where to where: nobody knows any more whose they were.
    pub(super) missed: BTreeSet<(SocketAddr, SocketAddr)>,
    /// How often it looked.
    pub(super) looks: u64,
    /// The longest time from one look to the next.
    pub(super) longest_gap: Duration,
    /// Why it could not look, if it could not.
    pub(super) failure: Option<String>,
}

impl Seen {
    /// The sockets that did lead around the proxy.
    ///
    /// A datagram socket counts from its second look on: the C library connects one to each address of a name for a moment,
    /// to find out in which order to try them, and sends nothing.
    pub(super) fn around(&self) -> impl Iterator<Item = &Sighting> {
        let proxies: Vec<_> = self.proxies.iter().copied().collect();
        let listening: Vec<_> = self.listening.iter().copied().collect();
        self.sightings.iter().filter(move |sighting| {
            reason::is_around(&sighting.socket, &proxies, &listening)
                && (sighting.times > 1 || reason::counts_at_once(&sighting.socket))
        })
    }
}

impl Seen {
    /// Where the connections led that were closed too soon, and how many each time, the proxies left out.
    pub(super) fn missed(&self) -> BTreeMap<SocketAddr, usize> {
        let mut found = BTreeMap::new();
        for (_, remote) in self.missed.iter().filter(|(_, remote)| !self.proxies.contains(remote)) {
            *found.entry(*remote).or_insert(0) += 1;
        }
        found
    }
}

/// Who looks.
pub(super) struct Watcher {
    /// Dropped to end it.
    end: Sender<()>,
    /// The thread.
    thread: JoinHandle<Seen>,
}

impl Watcher {
    /// Begins to look at what comes from this process of amb's; says at once what it sees, if that is wanted.
    ///
    /// # Errors
    /// There is no thread to be had.
    #[expect(clippy::disallowed_methods, reason = "what it looks at is not on tokio's clock")]
    pub(super) fn start(amb: u32, aloud: bool) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("amb-watch".to_owned()).spawn(move || {
            let mut look = Looking {
                table: Table::open(),
                family: Family::of(amb),
                known: HashMap::new(),
                accounted: HashSet::new(),
                busy: HashSet::new(),
                aloud,
                seen: Seen::default(),
            };
            let mut last = Instant::now();
            loop {
                let began = Instant::now();
                look.seen.longest_gap = look.seen.longest_gap.max(began - last);
                last = began;
                let remembered = look.seen.looks.is_multiple_of(REMEMBERED);
                let looked = look.once(remembered);
                let pause = PAUSE.max(began.elapsed());
                let is_over = ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                // Once more at the end, for what came and went last.
                let looked = if is_over {
                    looked.and_then(|()| look.once(true))
                } else {
                    looked
                };
                if let Err(reason) = looked {
                    look.seen.failure = Some(reason.to_string());
                    return look.seen;
                }
                if is_over {
                    return look.seen;
                }
            }
        })?;
        Ok(Self { end, thread })
    }

    /// Ends it, and says what was seen.
    pub(super) fn finish(self) -> Seen {
        drop(self.end);
        self.thread.join().unwrap_or_else(|_| Seen {
            failure: Some("amb itself failed: a bug, please report it".to_owned()),
            ..Seen::default()
        })
    }
}

/// What the thread works with.
struct Looking {
    /// Where sockets are listed.
    table: Table,
    /// Whose they have to be.
    family: Family,
    /// Each socket and where it leads, with its place among the sightings; none if it is somebody else's.
    known: HashMap<(u32, SocketAddr), Option<usize>>,
    /// Connections that were there while somebody had them open, or before the command was, from where to where.
    accounted: HashSet<(SocketAddr, SocketAddr)>,
    /// Where somebody had connected to before the command was there, who most probably goes on with that.
    busy: HashSet<SocketAddr>,
    /// Whether to say at once what goes around.
    aloud: bool,
    /// What was seen so far.
    seen: Seen,
}

impl Looking {
    /// Looks once, at what the kernel remembers as well if that is wanted.
    fn once(&mut self, remembered: bool) -> io::Result<()> {
        let sockets = self.table.look(remembered)?;
        self.seen.looks += 1;
        let listening = sockets.iter().filter(|socket| socket.listens);
        self.seen.listening.extend(listening.map(|socket| socket.local));
        if self.seen.proxies.is_empty() {
            // amb listens before the command is there; where it hides its descriptors, the command's variables tell as much.
            let own = self.family.sockets_of_amb();
            let of_amb = sockets
                .iter()
                .filter(|socket| socket.listens && own.contains(&socket.inode));
            self.seen.proxies.extend(of_amb.map(|socket| socket.local));
        }
        let (open, closed): (Vec<Socket>, Vec<Socket>) = sockets.iter().copied().partition(|socket| socket.inode != 0);
        self.accounted
            .extend(open.iter().map(|socket| (socket.local, socket.remote)));
        self.miss(&closed);
        let connected = open.iter().filter(|socket| reason::is_around(socket, &[], &[]));
        let (old, new): (Vec<Socket>, Vec<Socket>) = connected
            .copied()
            .partition(|socket| self.known.contains_key(&(socket.inode, socket.remote)));
        for socket in old {
            if let Some(Some(place)) = self.known.get(&(socket.inode, socket.remote)) {
                self.seen.sightings[*place].times += 1;
                self.tell(*place);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let wanted: HashSet<u32> = new.iter().map(|socket| socket.inode).collect();
        let holders = self.family.holders(&wanted);
        let mut processes: HashMap<u32, Process> = HashMap::new();
        for socket in new {
            let pid = holders.get(&socket.inode);
            let place = pid.map(|pid| {
                let process = processes.entry(*pid).or_insert_with(|| Process::of(*pid)).clone();
                self.seen.proxies.extend(process.proxy());
                self.seen.sightings.push(Sighting {
                    socket,
                    process,
                    times: 1,
                });
                self.seen.sightings.len() - 1
            });
            self.known.insert((socket.inode, socket.remote), place);
            if let Some(place) = place {
                self.tell(place);
            }
        }
        Ok(())
    }

    /// Takes in connections that the kernel remembers. Those of the first look were there before the command.
    fn miss(&mut self, closed: &[Socket]) {
        let listening: Vec<_> = self.seen.listening.iter().copied().collect();
        for socket in closed {
            let ends = (socket.local, socket.remote);
            if self.seen.looks == 1 {
                self.accounted.insert(ends);
                self.busy.insert(socket.remote);
            } else if !self.accounted.contains(&ends)
                && !self.busy.contains(&socket.remote)
                && reason::is_around(socket, &[], &listening)
            {
                self.seen.missed.insert(ends);
            }
        }
    }

    /// Says what was seen, if it has just come to count.
    fn tell(&self, place: usize) {
        let sighting = &self.seen.sightings[place];
        let Socket { transport, remote, .. } = sighting.socket;
        let threshold = if reason::counts_at_once(&sighting.socket) { 1 } else { 2 };
        if self.aloud && sighting.times == threshold && !self.seen.proxies.contains(&remote) {
            let pid = sighting.process.pid;
            let transport = transport.name();
            cli::say(&format_args!(
                "pid {pid} is connected to {transport} {remote}, and not to amb"
            ));
        }
    }
}
