//! The environment of the child: which variables change, and to what, so that its requests come to the proxy.
//!
//! Pure: (inherited environment, address of the proxy, files of certificates, settings) → a sorted list of [`Change`]s.
//! Nothing is read from the process and nothing is set; what is not in the list stays as it was inherited.
//!
//! Every value that names the proxy is `http://ADDRESS:PORT`: a number, never `localhost`, which some runtimes try as
//! `::1` first; with a scheme, because gRPC refuses a value without one; without a trailing slash, because some
//! clients append to it; and never `https://`, which would mean TLS *to the proxy*, also for `https` targets.
//!
//! A variable that names a certificate is set only when there are files for it: while nothing is decrypted, nothing needs to
//! be trusted.

mod difference;
mod families;
mod java;
pub mod memory;
mod no_proxy;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

pub use difference::difference;
pub use families::{Family, FamilyList};

use crate::trust;

/// The marker that tells a nested amb, or a script, that it runs under amb, and in which run.
pub const RUN_ID: &str = "AMB_RUN_ID";

/// The marker that holds what the user calls the run: for prompts.
pub const NAME: &str = "AMB_NAME";

/// The marker that holds the proxy's address, as `http://127.0.0.1:PORT`.
pub const PROXY_URL: &str = "AMB_PROXY_URL";

/// The marker that names the certificate of the authority by which HTTPS is decrypted, alone and in PEM. Set when it is.
pub const CA_FILE: &str = "AMB_CA_FILE";

/// An environment, by name.
pub type Environment<'a> = BTreeMap<&'a OsStr, &'a OsStr>;

/// The environment that these variables make. Of two with one name the later counts.
pub fn environment(variables: &[(OsString, OsString)]) -> Environment<'_> {
    variables.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// What is to be put in the child's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The value of [`NAME`]; none leaves it as it was inherited.
    pub name: Option<String>,
    /// The families of variables to set; the markers are set whatever stands here.
    pub families: Vec<Family>,
    /// Entries to add to the child's `NO_PROXY`, in the form in which they are to appear there.
    pub no_proxy: Vec<String>,
    /// Whether requests to this machine itself go to the proxy.
    pub loopback: Loopback,
    /// The trace to join; none leaves the child what was inherited.
    pub trace: Option<TraceContext>,
}

/// A place in a trace, as variables say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The value of `TRACEPARENT`.
    pub parent: String,
    /// Whether an inherited `TRACESTATE` belongs to it.
    pub keeps_state: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            families: FamilyList::default().0,
            no_proxy: Vec::new(),
            loopback: Loopback::Direct,
            trace: None,
        }
    }
}

/// Whether the child's requests to `localhost`, `127.0.0.1` and `::1` go to the proxy.
///
/// Go never sends them to a proxy, whatever the environment says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loopback {
    /// They go direct, as local test servers expect.
    #[default]
    Direct,
    /// They go to the proxy: loopback is taken out of the child's `NO_PROXY`, the user's own entries included.
    Proxied,
    /// They go to the proxy, as everything does: the child can reach nothing else, so nothing is excepted.
    Confined,
}

/// One variable that differs from the inherited environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The variable.
    pub name: String,
    /// Its value in the child; `None` removes it.
    pub value: Option<OsString>,
    /// Why it changes.
    pub origin: Origin,
}

/// What a [`Change`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A family the user can choose.
    Family(Family),
    /// [`RUN_ID`], [`NAME`] and [`PROXY_URL`], which every run sets, and [`CA_FILE`].
    Marker,
}

/// The variables in which the child's environment differs from `inherited`, sorted by name, each at most once.
///
/// A variable that already has its value is left out. `proxy` is where the listener is bound; an unspecified address
/// (`0.0.0.0`) becomes the loopback address of its kind, because nothing can connect to it. Without `certificates` no
/// variable that names any is touched.
pub fn changes(
    inherited: &Environment<'_>,
    proxy: SocketAddr,
    certificates: Option<&trust::Files>,
    run_id: &str,
    settings: &Settings,
) -> Vec<Change> {
    let proxy = reachable(proxy);
    let url = format!("http://{proxy}");
    let mut wanted: BTreeMap<String, (Option<OsString>, Origin)> = BTreeMap::new();
    let no_proxy = no_proxy::merge(inherited, proxy, &settings.no_proxy, settings.loopback);
    let target = families::Target {
        inherited,
        proxy,
        url: &url,
        no_proxy: &no_proxy,
        no_proxy_value: &no_proxy.join(","),
        loopback: settings.loopback,
        certificates,
        trace: settings.trace.as_ref(),
    };
    let mut chosen = settings.families.clone();
    // In the order of the variants: `perl` looks at what the families before it leave in the environment.
    chosen.sort_unstable();
    chosen.dedup();
    for family in chosen {
        for (name, value) in family.variables(&target, &wanted) {
            wanted.insert(name, (value, Origin::Family(family)));
        }
    }
    wanted.insert(RUN_ID.to_owned(), (Some(run_id.into()), Origin::Marker));
    if let Some(name) = &settings.name {
        wanted.insert(NAME.to_owned(), (Some(name.into()), Origin::Marker));
    }
    wanted.insert(PROXY_URL.to_owned(), (Some(url.clone().into()), Origin::Marker));
    if let Some(files) = certificates {
        wanted.insert(
            CA_FILE.to_owned(),
            (Some(files.authority.clone().into()), Origin::Marker),
        );
    }
    wanted
        .into_iter()
        .filter(|(name, (value, _))| inherited.get(OsStr::new(name)).copied() != value.as_deref())
        .map(|(name, (value, origin))| Change { name, value, origin })
        .collect()
}

/// The value of the child's `NO_PROXY`, whether or not it gets a variable that says so; arguments as for [`changes`].
pub fn no_proxy(inherited: &Environment<'_>, proxy: SocketAddr, settings: &Settings) -> String {
    no_proxy::merge(inherited, reachable(proxy), &settings.no_proxy, settings.loopback).join(",")
}

/// The address under which a listener bound to `bound` is reached from this machine.
fn reachable(mut bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() {
        bound.set_ip(match bound.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    bound
}

#[cfg(test)]
mod tests;
