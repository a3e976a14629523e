//! The running sums of one host and port, or of one route.

use crate::traffic::{
    Kind, Record,
    held::Held,
    latency::Durations,
    meter::{Bytes, Connections, Counts, HostTraffic, Requests, Tunnels},
    retries::RetryCounts,
    secured::SecuredTally,
};

/// What one host and port has seen so far.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// See [`HostTraffic::host`].
    pub(super) host: String,
    /// See [`HostTraffic::port`].
    pub(super) port: u16,
    /// See [`HostTraffic::requests`].
    requests: Requests,
    /// See [`HostTraffic::tunnels`].
    tunnels: Tunnels,
    /// See [`HostTraffic::connections`].
    connections: Connections,
    /// See [`HostTraffic::bytes`].
    bytes: Bytes,
    /// See [`HostTraffic::held`].
    held: Held,
    /// See [`HostTraffic::retries`].
    retries: RetryCounts,
    /// See [`HostTraffic::latency`].
    latency: Durations,
    /// See [`HostTraffic::connect`].
    connect: Durations,
    /// See [`HostTraffic::first_byte`].
    first_byte: Durations,
    /// See [`HostTraffic::tls`]; none until there is some.
    tls: Option<Box<SecuredTally>>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            requests: Requests::default(),
            tunnels: Tunnels::default(),
            connections: Connections::default(),
            bytes: Bytes::default(),
            held: Held::default(),
            retries: RetryCounts::default(),
            latency: Durations::default(),
            connect: Durations::default(),
            first_byte: Durations::default(),
            tls: None,
        }
    }

    /// Counts one record of this host.
    pub(super) fn add(&mut self, record: &Record) {
        self.bytes.add(record);
        self.held.add(record);
        self.retries.add(record);
        if record.reused {
            self.connections.reused += 1;
        }
        self.connections.opened += u64::from(record.opened);
        if let Some(connect) = record.connect {
            self.connect.add(connect);
        }
        if let Some(state) = SecuredTally::state_of(record) {
            self.tls.get_or_insert_default().add(record, state);
        }
        match record.kind {
            Kind::Exchange => {
                self.requests.add(record);
                if let Some(first_byte) = record.first_byte {
                    self.first_byte.add(first_byte);
                }
                if let Some(latency) = record.latency() {
                    self.latency.add(latency);
                }
            }
            Kind::Tunnel => self.tunnels.add(record),
        }
    }

    /// How much there was, and how it ended.
    pub(super) fn counts(&self) -> Counts {
        let (requests, tunnels) = (&self.requests, &self.tunnels);
        Counts {
            requests: requests.total,
            tunnels: tunnels.total,
            failed: requests.failed + tunnels.failed,
            denied: requests.denied + tunnels.denied,
        }
    }

    /// Adds all of another's.
    pub(super) fn merge(&mut self, other: &Self) {
        self.requests.merge(&other.requests);
        self.tunnels.merge(&other.tunnels);
        self.connections.merge(&other.connections);
        self.bytes.merge(&other.bytes);
        self.held.merge(&other.held);
        self.retries.merge(&other.retries);
        self.latency.merge(&other.latency);
        self.connect.merge(&other.connect);
        self.first_byte.merge(&other.first_byte);
        if let Some(theirs) = &other.tls {
            self.tls.get_or_insert_default().merge(theirs);
        }
    }

    /// The sums.
    pub(super) fn finish(self) -> HostTraffic {
        HostTraffic {
            host: self.host,
            port: self.port,
            requests: self.requests,
            tunnels: self.tunnels,
            connections: self.connections,
            bytes: self.bytes,
            held: self.held,
            retries: self.retries,
            latency: self.latency.finish(),
            connect: self.connect.finish(),
            first_byte: self.first_byte.finish(),
            tls: self.tls.and_then(|tls| tls.finish()),
        }
    }
}
