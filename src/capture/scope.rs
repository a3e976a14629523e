//! Which connections are captured: the decision, without anything that could fail.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// What is captured, and what goes where it wants.
pub struct Scope {
    /// Whether connections to this machine itself are.
    pub loopback: bool,
    /// amb's own listeners, which a command may well call: never captured.
    pub own: Vec<SocketAddr>,
    /// Whether a destination is excepted from the proxy, as `NO_PROXY` has it.
    pub excepted: Box<dyn Fn(SocketAddr) -> bool + Send>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("loopback", &self.loopback)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is led to amb.
    Captured,
    /// It goes where it wants, as it should.
    Direct,
    /// It goes where it wants, since amb could not lead it there in its place.
    Beyond,
}

impl Scope {
    /// What is to become of a connection of TCP to there.
    pub(super) fn way(&self, to: SocketAddr) -> Way {
        let ip = to.ip().to_canonical();
        let is_here = ip.is_loopback() || ip.is_unspecified();
        let is_own = |own: &SocketAddr| own.port() == to.port() && (own.ip().to_canonical() == ip || is_here);
        if to.port() == 0 || is_here && (!self.loopback || self.own.iter().any(is_own)) || (self.excepted)(to) {
            return Way::Direct;
        }
        match ip {
            // TCP knows none of them, and says so.
            ip if ip.is_multicast() => Way::Direct,
            IpAddr::V4(ip) if ip.is_broadcast() => Way::Direct,
            // It takes the network card to say where it leads.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Way::Beyond,
            _ => Way::Captured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything but what `NO_PROXY=10.0.0.0/8` excepts, with amb at port 9000.
    fn scope(loopback: bool) -> Scope {
        Scope {
            loopback,
            own: vec!["127.0.0.1:9000".parse().unwrap()],
            excepted: Box::new(|to| matches!(to.ip().to_canonical(), IpAddr::V4(ip) if ip.octets()[0] == 10)),
        }
    }

    #[track_caller]
    fn check(loopback: bool, to: &str, expected: Way) {
        assert_eq!(scope(loopback).way(to.parse().unwrap()), expected, "{to}");
    }

    #[test]
    fn what_leads_away_is_captured() {
        for to in [
            "192.0.2.1:80",
            "[2001:db8::1]:443",
            "[::ffff:192.0.2.1]:22",
            "169.254.169.254:80",
        ] {
            check(false, to, Way::Captured);
        }
    }

    #[test]
    fn this_machine_is_captured_only_if_that_is_wanted() {
        for to in [
            "127.0.0.1:80",
            "127.8.9.10:1",
            "[::1]:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
        ] {
            check(false, to, Way::Direct);
            check(true, to, Way::Captured);
        }
    }

    #[test]
    fn amb_itself_and_what_is_excepted_go_direct() {
        for to in [
            "127.0.0.1:9000",
            "[::ffff:127.0.0.1]:9000",
            "0.0.0.0:9000",
            "10.1.2.3:80",
            "[::ffff:10.1.2.3]:80",
        ] {
            check(true, to, Way::Direct);
        }
        check(true, "192.0.2.1:9000", Way::Captured);
    }

    #[test]
    fn what_is_no_place_for_tcp_is_left_to_the_kernel() {
        for to in ["192.0.2.1:0", "224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80"] {
            check(true, to, Way::Direct);
        }
        check(true, "[fe80::1]:80", Way::Beyond);
    }
}
