//! What a request must be like: the tables `match`, by which routes are chosen, and whatever else is about some requests only.
//!
//! All parts that are given must fit, and of a list one suffices. What is not given fits anything; so does an empty table.
//! A tunnel has a host, a port and the method `CONNECT`: what wants a path or a header of it does not fit.

pub mod field;
pub mod glob;
pub mod host;
pub mod hosts;
pub mod path;
pub mod port;
pub mod several;

use std::{borrow::Cow, cell::OnceCell, fmt::Display, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{field::FieldPatterns, host::HostPattern, path::PathPattern, port::PortPattern, several::Several};
use super::rules::Asked;

/// A table `match`. There is nothing in it that could be wrong but its parts, so it is what decides, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Match {
    /// The host, without or with its port [default: any]
    ///
    /// A name, an address, a network, or a glob: `*` is one label, `**` is one or more, `*` by itself is any host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Several<HostPattern>>,
    /// The port, or a range of them [default: any]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Several<PortPattern>>,
    /// The method; CONNECT for a tunnel [default: any]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(title = "a method such as GET, or a list of them")]
    pub method: Option<Several<String>>,
    /// The path, without its query [default: any]
    ///
    /// `*` and `{name}` are one segment or a part of one, `**` is any number of segments. Case and a slash at the end count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Several<PathPattern>>,
    /// Header fields, all of which must fit: a value with * for any characters, or present, or absent [default: any]
    #[serde(skip_serializing_if = "FieldPatterns::is_empty")]
    pub header: FieldPatterns,
}

/// What is compared: a request, and what has been found out about it so far.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The request.
    pub asked: &'a Asked<'a>,
    /// Its host as an address, if it is one; canonical.
    address: OnceCell<Option<IpAddr>>,
    /// Its path as patterns compare it.
    path: OnceCell<Cow<'a, [u8]>>,
}

impl<'a> Subject<'a> {
    /// Before anything was found out.
    pub fn of(asked: &'a Asked<'a>) -> Self {
        Self {
            asked,
            address: OnceCell::new(),
            path: OnceCell::new(),
        }
    }

    /// Its host as an address, if it is one.
    fn address(&self) -> Option<IpAddr> {
        *self.address.get_or_init(|| {
            let host = self.asked.host;
            // A name hardly ever begins with a digit, and never holds a colon.
            let may_be = host.as_bytes().first().is_some_and(u8::is_ascii_digit) || host.contains(':');
            may_be
                .then(|| host.parse::<IpAddr>().ok())
                .flatten()
                .map(|address| address.to_canonical())
        })
    }

    /// Its path as patterns compare it; empty for a tunnel.
    pub fn path(&self) -> &[u8] {
        self.path.get_or_init(|| {
            if self.asked.is_tunnel() {
                Cow::Borrowed(b"".as_slice())
            } else {
                path::plain(self.asked.path)
            }
        })
    }
}

/// A part of a [`Match`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `host`
    Host,
    /// `port`
    Port,
    /// `method`
    Method,
    /// `path`
    Path,
    /// `header`
    Header,
}

impl Match {
    /// Whether a request fits.
    pub fn fits(&self, subject: &Subject<'_>) -> bool {
        self.unfit(subject).is_none()
    }

    /// Why a request does not fit, as a sentence fragment; none if it does.
    pub fn misfit(&self, subject: &Subject<'_>) -> Option<String> {
        /// The alternatives of a list, or nothing if there is none.
        fn any_of<T: Display>(list: Option<&Several<T>>) -> String {
            let words: Vec<String> = list
                .into_iter()
                .flat_map(|list| &list.0)
                .map(ToString::to_string)
                .collect();
            words.join(" or ")
        }
        let asked = subject.asked;
        Some(match self.unfit(subject)? {
            Part::Host => {
                let hosts = self.host.as_ref();
                let of_a_port = hosts.is_some_and(|hosts| hosts.0.iter().any(HostPattern::has_port));
                let port = if of_a_port {
                    format!(", port {}", asked.port)
                } else {
                    String::new()
                };
                format!("host {}{port} is not {}", asked.host, any_of(hosts))
            }
            Part::Port => format!("port {} is not {}", asked.port, any_of(self.port.as_ref())),
            Part::Method => format!("method {} is not {}", asked.method, any_of(self.method.as_ref())),
            Part::Path | Part::Header if asked.is_tunnel() => "a tunnel has neither path nor headers".to_owned(),
            Part::Path => {
                let path = String::from_utf8_lossy(subject.path());
                format!("path {path} is not {}", any_of(self.path.as_ref()))
            }
            Part::Header => {
                let (name, wanted) = self.header.unfit(asked.fields)?;
                format!("header {name} is not {}", any_of(Some(wanted)))
            }
        })
    }

    /// The names of all hosts that fit, if they are only names.
    pub fn host_names(&self) -> Option<Vec<&str>> {
        self.host.as_ref()?.0.iter().map(HostPattern::name).collect()
    }

    /// Whether its parts other than `host` fit.
    pub fn fits_apart_from_host(&self, subject: &Subject<'_>) -> bool {
        self.fits_port(subject.asked.port) && self.unfit_request(subject).is_none()
    }

    /// Whether its port fits.
    pub fn fits_port(&self, port: u16) -> bool {
        let ports = self.port.as_ref();
        ports.is_none_or(|ports| ports.0.iter().any(|known| known.fits(port)))
    }

    /// Whether it is about hosts and ports alone, which tunnels have as well.
    pub fn is_of_places(&self) -> bool {
        self.method.is_none() && self.path.is_none() && self.header.is_empty()
    }

    /// The first part that does not fit. The cheapest come first.
    fn unfit(&self, subject: &Subject<'_>) -> Option<Part> {
        let asked = subject.asked;
        let host = |host: &HostPattern| host.fits(asked.host, subject.address(), asked.port);
        if !self.fits_port(asked.port) {
            Some(Part::Port)
        } else if self.host.as_ref().is_some_and(|hosts| !hosts.0.iter().any(host)) {
            Some(Part::Host)
        } else {
            self.unfit_request(subject)
        }
    }

    /// The first part that does not fit, of those that are not about the place.
    fn unfit_request(&self, subject: &Subject<'_>) -> Option<Part> {
        let asked = subject.asked;
        let method = |method: &String| method.eq_ignore_ascii_case(asked.method);
        let path = |path: &PathPattern| path.fits(subject.path());
        if self
            .method
            .as_ref()
            .is_some_and(|methods| !methods.0.iter().any(method))
        {
            Some(Part::Method)
        } else if self.path.as_ref().is_some_and(|paths| !paths.0.iter().any(path)) {
            Some(Part::Path)
        } else if !self.header.is_empty() && (asked.is_tunnel() || self.header.unfit(asked.fields).is_some()) {
            Some(Part::Header)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
