//! What a host is called in the summary.

use std::collections::HashMap;

use crate::{
    report::text::{Charset, escape},
    traffic::meter::{HostTraffic, OTHER_HOST, Traffic, route::RouteTraffic},
};

/// Names hosts: with the port only where it says something.
pub(super) struct Labels<'a> {
    /// How many ports were seen of each host.
    ports: HashMap<&'a str, usize>,
    /// Which characters may be used.
    charset: Charset,
}

impl<'a> Labels<'a> {
    /// The names of all hosts of this traffic.
    pub(super) fn of(traffic: &'a Traffic, charset: Charset) -> Self {
        let mut ports = HashMap::new();
        for host in &traffic.hosts {
            *ports.entry(&*host.host).or_default() += 1;
        }
        Self { ports, charset }
    }

    /// The name of a host; the port is left out if it is one of the usual two and the only one.
    pub(super) fn name(&self, host: &str, port: u16) -> String {
        if host.is_empty() {
            return "(unreadable)".to_owned();
        }
        if host == OTHER_HOST {
            return "(other hosts)".to_owned();
        }
        let escaped = escape(host, self.charset);
        let only = self.ports.get(host).is_none_or(|ports| *ports <= 1);
        if only && matches!(port, 80 | 443) {
            escaped
        } else if host.contains(':') {
            format!("[{escaped}]:{port}")
        } else {
            format!("{escaped}:{port}")
        }
    }

    /// The name of this host.
    pub(super) fn of_host(&self, host: &HostTraffic) -> String {
        self.name(&host.host, host.port)
    }
}

/// Hosts that are shown; a table of hundreds of lines is no summary.
const MOST_SHOWN: usize = 30;

/// The hosts to show, in their order, and the rest. If there are too many, those that nothing went wrong with give way.
pub(super) fn shown(traffic: &Traffic) -> (Vec<&HostTraffic>, Vec<&HostTraffic>) {
    let wrong = |host: &HostTraffic| {
        host.requests.failed + host.tunnels.failed + host.requests.denied + host.tunnels.denied > 0
    };
    let mut order: Vec<usize> = (0..traffic.hosts.len()).collect();
    // Stable: among those that something went wrong with, and among the others, the order stays.
    order.sort_by_key(|place| !wrong(&traffic.hosts[*place]));
    let mut chosen = vec![false; order.len()];
    for place in order.iter().take(MOST_SHOWN) {
        chosen[*place] = true;
    }
    let (shown, rest): (Vec<_>, Vec<_>) = traffic.hosts.iter().zip(chosen).partition(|(_, chosen)| *chosen);
    let hosts = |pairs: Vec<(_, bool)>| pairs.into_iter().map(|(host, _)| host).collect();
    (hosts(shown), hosts(rest))
}

/// What is said of hosts that are not shown: `and 12 more hosts with 188 requests and 2 tunnels`.
pub(super) fn rest(hosts: &[&HostTraffic]) -> Option<String> {
    if hosts.is_empty() {
        return None;
    }
    let requests: u64 = hosts.iter().map(|host| host.requests.total).sum();
    let tunnels: u64 = hosts.iter().map(|host| host.tunnels.total).sum();
    Some(format!(
        "and {} more hosts: requests={requests} tunnels={tunnels}",
        hosts.len()
    ))
}

/// The routes to show, in their order.
pub(super) fn shown_routes(traffic: &Traffic) -> impl Iterator<Item = &RouteTraffic> {
    traffic.routes.iter().take(MOST_SHOWN)
}

/// What is said of routes that are not shown.
pub(super) fn rest_of_routes(traffic: &Traffic) -> Option<String> {
    let more = traffic.routes.len().checked_sub(MOST_SHOWN + 1)? + 1;
    Some(format!("and {more} more routes"))
}
