//! The sockets of this machine, as the kernel lists them: by `sock_diag(7)`, or where that is not to be had by `/proc/net`.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket as Netlink, protocols::NETLINK_SOCK_DIAG};
use schemars::JsonSchema;
use serde::Serialize;

/// Bytes that are taken of an answer at once; the kernel's are at most half of it.
const ANSWER: usize = 64 * 1024;
/// The number of the state of a listening socket, in both sources.
const LISTENING: u8 = 10;
/// The number of the state of a connection that this end has closed, and that the kernel remembers for a minute.
const REMEMBERED: u8 = 6;
/// The lists in `/proc/net`.
const LISTS: [(&str, Transport); 4] = [
    ("tcp", Transport::Tcp),
    ("tcp6", Transport::Tcp),
    ("udp", Transport::Udp),
    ("udp6", Transport::Udp),
];

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A socket that a process has open, or has just closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// How bytes travel.
    pub(super) transport: Transport,
    /// This end.
    pub(super) local: SocketAddr,
    /// The other end; its port is 0 if there is none.
    pub(super) remote: SocketAddr,
    /// Whether it waits for connections.
    pub(super) listens: bool,
    /// What tells it from every other that is open; 0 for one that the kernel only remembers.
    pub(super) inode: u32,
}

impl Socket {
    /// The one with these ends in this state; none if nobody has it open, and it is not remembered either.
    fn of(transport: Transport, local: SocketAddr, remote: SocketAddr, state: u8, inode: u32) -> Option<Self> {
        let is_tcp = transport == Transport::Tcp;
        let is_of_interest = inode != 0 || is_tcp && state == REMEMBERED;
        is_of_interest.then_some(Self {
            transport,
            local,
            remote,
            listens: is_tcp && state == LISTENING,
            inode,
        })
    }
}

/// Where the sockets are listed.
pub(super) enum Table {
    /// The kernel's own table, asked through this.
    Kernel(Netlink),
    /// The files of `/proc/net`, which are slower to read.
    Files,
}

impl Table {
    /// The faster of the two that is to be had.
    pub(super) fn open() -> Self {
        let kernel = || {
            let mut socket = Netlink::new(NETLINK_SOCK_DIAG)?;
            socket.bind_auto()?;
            socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
            asked(&socket, AF_INET, IPPROTO_TCP, StateFlags::LISTEN, &mut Vec::new())?;
            Ok::<_, io::Error>(socket)
        };
        match kernel() {
            Ok(socket) => Self::Kernel(socket),
            Err(reason) => {
                tracing::debug!(%reason, "the sockets are read from /proc/net");
                Self::Files
            }
        }
    }

    /// All sockets that some process has open; and the connections that the kernel remembers, if these are wanted: they may be
    /// many.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(super) fn look(&self, remembered: bool) -> io::Result<Vec<Socket>> {
        let mut states = StateFlags::all();
        if !remembered {
            states.remove(StateFlags::TIME_WAIT);
        }
        let mut found = Vec::new();
        match self {
            Self::Kernel(socket) => {
                for protocol in [IPPROTO_TCP, IPPROTO_UDP] {
                    for family in [AF_INET, AF_INET6] {
                        asked(socket, family, protocol, states.clone(), &mut found)?;
                    }
                }
            }
            Self::Files => {
                for (list, transport) in LISTS {
                    // Without IPv6 there is no list of it.
                    match fs::read_to_string(format!("/proc/net/{list}")) {
                        Ok(text) => found.extend(text.lines().filter_map(|line| listed(line, transport))),
                        Err(reason) if reason.kind() == io::ErrorKind::NotFound && list.ends_with('6') => {}
                        Err(reason) => return Err(reason),
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Asks the kernel for all sockets of a family and a protocol that are in one of these states.
fn asked(socket: &Netlink, family: u8, protocol: u8, states: StateFlags, found: &mut Vec<Socket>) -> io::Result<()> {
    let socket_id = if family == AF_INET {
        SocketId::new_v4()
    } else {
        SocketId::new_v6()
    };
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let transport = if protocol == IPPROTO_TCP {
        Transport::Tcp
    } else {
        Transport::Udp
    };
    let mut answer = Vec::with_capacity(ANSWER);
    loop {
        answer.clear();
        if socket.recv(&mut answer, 0)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &answer[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason.to_string()))?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let header = &response.header;
                    let end = |address: IpAddr, port| SocketAddr::new(address.to_canonical(), port);
                    let local = end(header.socket_id.source_address, header.socket_id.source_port);
                    let remote = end(header.socket_id.destination_address, header.socket_id.destination_port);
                    found.extend(Socket::of(transport, local, remote, header.state, header.inode));
                }
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Messages begin at multiples of four bytes.
            let length = (message.header.length as usize).next_multiple_of(4).max(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// A line of a list of `/proc/net`; none if it is its heading.
fn listed(line: &str, transport: Transport) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    // Queues, timer, retransmissions, user and timeout stand before the inode.
    let inode = fields.nth(5)?.parse().ok()?;
    let state = u8::from_str_radix(state, 16).ok()?;
    Socket::of(transport, end(local)?, end(remote)?, state, inode)
}

/// `0100007F:0050`: the address in words of the machine's own order, and the port.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Vec<u32> = address
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .collect::<Option<_>>()?;
    let address = match *words {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (place, word) in bytes.chunks_mut(4).zip([a, b, c, d]) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_line_of_the_list_is_understood() {
        #[track_caller]
        fn check(line: &str, expected: Option<(&str, &str, bool, u32)>) {
            let found = listed(line, Transport::Tcp).map(|socket| {
                let ends = (socket.local.to_string(), socket.remote.to_string());
                (ends.0, ends.1, socket.listens, socket.inode)
            });
            let found = found.as_ref().map(|it| (&*it.0, &*it.1, it.2, it.3));
            assert_eq!(found, expected, "{line}");
        }
        check(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            None,
        );
        if cfg!(target_endian = "little") {
            check(
                "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 21451 1 0 100 0",
                Some(("127.0.0.1:8080", "0.0.0.0:0", true, 21451)),
            );
            check(
                "   1: 0A02A8C0:D2F0 0101010A:01BB 01 00000000:00000000 02:0000 00000000  1000        0 777 2 0 20 4 30 10 -1",
                Some(("192.168.2.10:54000", "10.1.1.1:443", false, 777)),
            );
            check(
                "   2: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:0050 01 0:0 00:0 0 0 0 9 1",
                Some(("127.0.0.1:40000", "127.0.0.1:80", false, 9)),
            );
            check(
                "   3: 00000000000000000000000001000000:9C40 B80D0120000000000000000001000000:0050 01 0:0 00:0 0 0 0 9 1",
                Some(("[::1]:40000", "[2001:db8::1]:80", false, 9)),
            );
        }
        check("   4: nonsense", None);
    }

    #[test]
    fn both_sources_list_the_same_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let client = TcpStream::connect(own).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagrams.connect("127.0.0.1:9").unwrap();
        for table in [Table::open(), Table::Files] {
            let all = table.look(true).unwrap();
            let is = |transport, local: SocketAddr, remote: Option<SocketAddr>, listens| {
                all.iter().any(|it| {
                    it.transport == transport
                        && it.local == local
                        && remote.is_none_or(|remote| it.remote == remote)
                        && it.listens == listens
                })
            };
            assert!(is(Transport::Tcp, own, None, true));
            assert!(is(Transport::Tcp, peer, Some(own), false));
            assert!(is(Transport::Tcp, own, Some(peer), false));
            let from = datagrams.local_addr().unwrap();
            assert!(is(Transport::Udp, from, Some("127.0.0.1:9".parse().unwrap()), false));
        }
        drop(client);
    }
}
