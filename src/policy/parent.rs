//! The parent proxy: whether amb itself reaches a target by way of another proxy, and of which.
//!
//! Where the child would have used a proxy without amb, amb uses it in the child's place: the one that
//! `--upstream-proxy` names, or else those of the `…_proxy` variables in amb's own environment, `NO_PROXY` included.
//! An amb inside an amb so goes through the outer one.
//!
//! Names are compared as they are written; nothing is resolved to match an address in `NO_PROXY`.

mod address;
mod exceptions;

use std::{convert::Infallible, ffi::OsString, fmt, net::SocketAddr, str::FromStr};

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use address::{Credentials, Kind, ParentProxy, Secret};
use exceptions::{Exceptions, Host};

/// Which proxy amb uses itself.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ParentOptions {
    /// Reach the network through this proxy [default: amb's own environment]
    ///
    /// `http://`, `socks5://` or `socks5h://` with `[USER:PASSWORD@]HOST[:PORT]`; `none` for a direct connection.
    /// Hosts in `NO_PROXY`, and this machine itself, are reached directly all the same.
    /// Without it, it is taken from `http_proxy`, `https_proxy` and `all_proxy`.
    #[arg(
        id = "upstream.proxy",
        long = "upstream-proxy",
        value_name = "URL|none",
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "sends every request through a proxy of its choice"))]
    pub proxy: Option<UpstreamProxy>,
}

/// What `--upstream-proxy` was given, not yet read. It may hold a password, so `Debug` does not show it.
///
/// Any text is taken here: what is wrong with it is for [`Parent::build`] to say, which does not repeat the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("title" = "the URL of a proxy, or none"))]
pub struct UpstreamProxy(pub String);

impl FromStr for UpstreamProxy {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&address::masked(&self.0))
    }
}

/// How a target is spoken to, which decides what variable names its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`: the variable is `http_proxy`.
    Http,
    /// Anything in a tunnel, which is nearly always TLS: the variable is `https_proxy`.
    Tunnel,
}

/// What is excepted from a proxy, for those who know destinations by their addresses.
#[derive(Clone, Debug)]
pub struct Excepted(Exceptions);

impl Excepted {
    /// Reads a value of `NO_PROXY`.
    pub fn read(value: String) -> Self {
        Self(Exceptions::read(std::iter::once(value)))
    }

    /// Whether this destination is excepted. By its name it might be; that is not known.
    pub fn has(&self, to: SocketAddr) -> bool {
        self.0.contain(&Host::Address(to.ip().to_canonical()), to.port())
    }
}

/// The way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// A connection to the target itself.
    Direct,
    /// A connection to this proxy.
    Via(&'a ParentProxy),
}

/// Which parent proxy a target is reached by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// The proxy for [`Scheme::Http`].
    http: Option<ParentProxy>,
    /// The proxy for [`Scheme::Tunnel`].
    tunnel: Option<ParentProxy>,
    /// What is reached directly all the same.
    exceptions: Exceptions,
}

impl Parent {
    /// From the options, or else from the environment.
    ///
    /// As in curl, a lower-case variable wins over its upper-case twin, `all_proxy` stands in for either of the others,
    /// and an empty value is no value; unlike in curl, `HTTP_PROXY` counts, but not where `REQUEST_METHOD` is set: in a
    /// CGI program it is whatever the client of the web server sent. The exceptions are those of both cases together,
    /// as the child gets them. A variable that nobody would read is not judged.
    ///
    /// # Errors
    ///
    /// A value that is not the address of a proxy, or of one that amb cannot speak to. The text names the flag or the
    /// variable and shows the value without its user and password.
    pub fn build(options: &ParentOptions, environment: &[(OsString, OsString)]) -> Result<Self, String> {
        let variables = Variables(environment);
        let exceptions = Exceptions::read(["no_proxy", "NO_PROXY"].iter().filter_map(|name| variables.value(name)));
        if let Some(UpstreamProxy(text)) = &options.proxy {
            if text == "none" {
                return Ok(Self::default());
            }
            let proxy = ParentProxy::read("--upstream-proxy", text)?;
            return Ok(Self {
                http: Some(proxy.clone()),
                tunnel: Some(proxy),
                exceptions,
            });
        }
        let http: &[&'static str] = if variables.value("REQUEST_METHOD").is_some() {
            &["http_proxy", "all_proxy", "ALL_PROXY"]
        } else {
            &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
        };
        Ok(Self {
            http: variables.proxy(http)?,
            tunnel: variables.proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            exceptions,
        })
    }

    /// The way to `host` and `port`; `host` is a name or an address, an IPv6 address with or without its brackets.
    ///
    /// This machine itself is reached directly, because a proxy elsewhere would reach another machine by that name. A
    /// proxy on this machine is the exception: an outer amb with `--proxy-loopback` is to see such requests as well.
    /// Without that flag it has loopback in `NO_PROXY`.
    pub fn for_target(&self, scheme: Scheme, host: &str, port: u16) -> Route<'_> {
        let proxy = match scheme {
            Scheme::Http => &self.http,
            Scheme::Tunnel => &self.tunnel,
        };
        let host = Host::read(host);
        match proxy {
            Some(proxy) if host.is_loopback() && !Host::read(&proxy.host).is_loopback() => Route::Direct,
            Some(proxy) if !self.exceptions.contain(&host, port) => Route::Via(proxy),
            _ => Route::Direct,
        }
    }

    /// The proxies in use, for those who show or check them: none, one, or one for each [`Scheme`].
    pub fn proxies(&self) -> impl Iterator<Item = &ParentProxy> {
        let second = self
            .tunnel
            .as_ref()
            .filter(|tunnel| self.http.as_ref() != Some(*tunnel));
        self.http.iter().chain(second)
    }
}

/// amb's own environment, as far as it is looked at here.
struct Variables<'a>(&'a [(OsString, OsString)]);

impl Variables<'_> {
    /// A variable that is set and not empty.
    ///
    /// Bytes that are not UTF-8 become a replacement character, which no proxy's address may hold.
    fn value(&self, name: &str) -> Option<String> {
        // Of two with one name the later counts.
        let (_, value) = self.0.iter().rev().find(|(known, _)| known == name)?;
        let value = value.to_string_lossy();
        (!value.trim().is_empty()).then(|| value.trim().to_owned())
    }

    /// The proxy that the first of `names` to be set names.
    fn proxy(&self, names: &[&'static str]) -> Result<Option<ParentProxy>, String> {
        let found = names.iter().find_map(|name| Some((name, self.value(name)?)));
        found.map(|(name, value)| ParentProxy::read(name, &value)).transpose()
    }
}

#[cfg(test)]
mod tests;
