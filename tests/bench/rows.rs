//! The rows of the table, and how each is measured.

use std::{error::Error, ffi::OsStr, time::Duration};

use super::{
    amb::Amb,
    bulk, footprint,
    load::{self, Use, Way},
    origin::Origin,
    secure::{self, SecureOrigin},
    table::{Line, Measured},
};

/// How often a row is measured, directly and through amb.
const REPETITIONS: usize = 5;

/// A row of the table.
#[derive(Clone, Copy)]
pub(crate) enum Row {
    /// Small responses over so many connections that are kept alive.
    KeepAlive(&'static str, u32),
    /// Small responses, each over a connection of its own, so many at once.
    Close(&'static str, u32),
    /// Tunnels opened, used for one small response and closed, so many at once.
    Tunnels(&'static str, u32),
    /// Connections by TLS that amb decrypts, by so many threads, each to a host of its own or all to one.
    Handshakes(&'static str, u32, bool),
    /// So many bytes through a tunnel.
    BulkTunnel(&'static str, usize),
    /// So many bytes as the body of a response.
    BulkHttp(&'static str, usize),
    /// `amb run -- true` over `true`.
    Launch(&'static str),
    /// Resident memory while nothing happens.
    Idle(&'static str),
    /// Memory for each of many idle tunnels.
    IdleTunnels(&'static str),
}

impl Row {
    /// All rows, in the order of the table.
    pub(crate) const ALL: [Self; 13] = [
        Self::KeepAlive("keepalive-1", 1),
        Self::KeepAlive("keepalive-50", 50),
        Self::KeepAlive("keepalive-256", 256),
        Self::Close("close-50", 50),
        Self::Tunnels("tunnel-1", 1),
        Self::Tunnels("tunnel-32", 32),
        Self::Handshakes("tls-new-host", 4, true),
        Self::Handshakes("tls-known-host", 4, false),
        Self::BulkTunnel("bulk-tunnel", 1 << 30),
        Self::BulkHttp("bulk-http", 256 << 20),
        Self::Launch("launch"),
        Self::Idle("memory-idle"),
        Self::IdleTunnels("memory-tunnel"),
    ];

    /// Its name in the table and in `AMB_BENCH_ROWS`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KeepAlive(name, _)
            | Self::Close(name, _)
            | Self::Tunnels(name, _)
            | Self::Handshakes(name, ..)
            | Self::BulkTunnel(name, _)
            | Self::BulkHttp(name, _)
            | Self::Launch(name)
            | Self::Idle(name)
            | Self::IdleTunnels(name) => name,
        }
    }

    /// Its line of the table.
    ///
    /// # Errors
    /// Something fails: a request, amb, a file of `/proc`.
    pub(crate) fn measure(self, origin: &Origin, measurement: Duration) -> Result<Line, Box<dyn Error>> {
        let name = self.name();
        match self {
            Self::Launch(_) => Ok(Line::launch(name, &footprint::launches()?)),
            Self::Idle(_) => Ok(Line::idle(name, footprint::idle()?)),
            Self::IdleTunnels(_) => Ok(Line::per_tunnel(name, footprint::per_tunnel(origin)?)),
            Self::Handshakes(_, threads, new_hosts) => {
                let origin = SecureOrigin::start()?;
                let mut pairs = Vec::new();
                for _ in 0..REPETITIONS {
                    pairs.push(handshakes(&origin, threads, new_hosts, measurement)?);
                }
                Ok(Line::pairs(name, &pairs))
            }
            _ => {
                let mut pairs = Vec::new();
                for repetition in 0..REPETITIONS {
                    pairs.push(self.pair(origin, measurement, repetition % 2 == 1)?);
                }
                Ok(Line::pairs(name, &pairs))
            }
        }
    }

    /// Measures it once directly and once through a fresh amb, the latter first if `reversed`. Returns the direct one first.
    ///
    /// # Errors
    /// Those of [`Row::measure`].
    fn pair(self, origin: &Origin, measurement: Duration, reversed: bool) -> Result<[Measured; 2], Box<dyn Error>> {
        if reversed {
            let through = self.through_amb(origin, measurement)?;
            return Ok([self.direct(origin, measurement)?, through]);
        }
        let direct = self.direct(origin, measurement)?;
        Ok([direct, self.through_amb(origin, measurement)?])
    }

    /// Measures it once directly.
    ///
    /// # Errors
    /// Those of [`Row::measure`].
    fn direct(self, origin: &Origin, measurement: Duration) -> Result<Measured, Box<dyn Error>> {
        self.once(origin, None, measurement)
    }

    /// Measures it once through a fresh amb.
    ///
    /// # Errors
    /// Those of [`Row::measure`].
    fn through_amb(self, origin: &Origin, measurement: Duration) -> Result<Measured, Box<dyn Error>> {
        self.once(origin, Some(&Amb::start()?), measurement)
    }

    /// Measures it once.
    ///
    /// # Errors
    /// Those of [`Row::measure`].
    fn once(self, origin: &Origin, amb: Option<&Amb>, measurement: Duration) -> Result<Measured, Box<dyn Error>> {
        let way = Way {
            origin: origin.address,
            proxy: amb.map(|amb| amb.address),
        };
        let cpu_time = || amb.map_or(Ok(Duration::ZERO), Amb::cpu_time);
        let load = |purpose, connections| load::measure(way, purpose, connections, measurement, cpu_time);
        let bulk = |tunnel, length| bulk::measure(way, tunnel, length, measurement, cpu_time);
        Ok(match self {
            Self::KeepAlive(_, connections) => load(Use::KeptAlive, connections)?,
            Self::Close(_, connections) => load(Use::Once, connections)?,
            Self::Tunnels(_, connections) => load(Use::Tunnel, connections)?,
            Self::BulkTunnel(_, length) => bulk(true, length)?,
            Self::BulkHttp(_, length) => bulk(false, length)?,
            Self::Handshakes(..) | Self::Launch(_) | Self::Idle(_) | Self::IdleTunnels(_) => {
                return Err("is no ratio".into());
            }
        })
    }
}

/// Measures connections by TLS once directly and once through a fresh amb.
///
/// # Errors
/// Those of [`Row::measure`].
fn handshakes(
    origin: &SecureOrigin,
    threads: u32,
    new_hosts: bool,
    measurement: Duration,
) -> Result<[Measured; 2], Box<dyn Error>> {
    let nothing = || Ok(Duration::ZERO);
    let direct = secure::measure(origin, None, threads, new_hosts, measurement, nothing)?;
    let root = origin.root_file();
    let flags = [OsStr::new("--intercept"), OsStr::new("--extra-root"), root.as_os_str()];
    let amb = Amb::with(&flags)?;
    let authority = amb.authority.as_deref().ok_or("amb has no authority")?;
    let proxy = Some((amb.address, authority));
    let through = secure::measure(origin, proxy, threads, new_hosts, measurement, || amb.cpu_time())?;
    Ok([direct, through])
}
