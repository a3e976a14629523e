//! Where requests may go: `deny`, the rules in their order, `allow`, and what holds where none of them says anything.
//!
//! A host that is a name is looked at twice: by its name, before it is looked up, and with each address that it leads to,
//! before that is dialled. Something that a network in `deny` covers is denied, whatever its name allows; a network in
//! `allow` covers the names that lead into it. What a pooled connection leads to is looked at again for each request.
//!
//! An address is looked at in all its meanings: `::ffff:10.0.0.1` and `64:ff9b::a00:1` are 10.0.0.1, and `0.0.0.0` is this
//! machine.

pub mod destination;
pub mod lock;
mod options;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::options::{EgressOptions, Mode, RuleOptions, Violations};
use self::{destination::Destination, lock::Lock};
use super::{
    condition::Condition,
    matching::{Match, Subject, host::HostPattern, hosts::HostIndex},
    rules::Asked,
};

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It may go there
    Allow,
    /// It may not
    Deny,
}

/// An element of `[[egress.rule]]` that is valid.
#[derive(Debug)]
pub(super) struct Rule {
    /// What it is called: no other is called so.
    id: Arc<str>,
    /// Which requests it is about.
    matches: Match,
    /// And only if this holds.
    when: Option<Condition>,
    /// What it says.
    action: Action,
    /// What the refused are told.
    message: Option<Arc<str>>,
    /// Where it was written, if that is known.
    origin: Option<Arc<str>>,
}

/// Where entries and rules were written: files, variables, flags. In the order of the lists; empty where it is not known.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Those of `allow`.
    pub allow: Vec<Arc<str>>,
    /// Those of `deny`.
    pub deny: Vec<Arc<str>>,
    /// Those of the rules.
    pub rule: Vec<Arc<str>>,
    /// That of `default`; none if nobody says anything of it.
    pub default: Option<Arc<str>>,
}

/// What the options themselves do not say.
#[derive(Clone, Debug, Default)]
pub struct Background {
    /// The lockfile of `locked`.
    pub lock: Option<Lock>,
    /// Where what was written.
    pub origins: Origins,
}

/// The elements of `allow` or of `deny`.
#[derive(Debug, Default)]
struct Places {
    /// Where each pattern is; its place is that in `patterns`.
    index: HostIndex,
    /// The patterns, and the entries that they come from.
    patterns: Vec<(HostPattern, Entry)>,
}

/// An element of `allow` or of `deny`.
#[derive(Clone, Debug)]
struct Entry {
    /// `allow HOST`, `deny HOST`
    name: Arc<str>,
    /// Where it was written, if that is known.
    origin: Option<Arc<str>>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go.
    pub action: Action,
    /// What says so: a rule's id, `allow HOST`, `deny HOST`, `locked`, or `default`.
    pub rule: Arc<str>,
    /// Where that was written, if it is known: a file, a variable, a flag.
    pub origin: Option<Arc<str>>,
    /// What the refused are told.
    pub message: Option<Arc<str>>,
    /// The address that decided; none if the name did.
    pub address: Option<IpAddr>,
}

/// What can be said of a request before its host is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByName {
    /// It is decided.
    Decided(Decision),
    /// The addresses have a say.
    Open,
}

/// The rules of a run.
#[derive(Debug)]
pub struct Egress {
    /// Whether what is denied is refused; it is only reported otherwise.
    pub enforced: bool,
    /// Whether a refusal fails the run.
    pub fails: bool,
    /// Whom to ask for an exception.
    pub contact: Option<Arc<str>>,
    /// The file that a good run is written to; none for none.
    pub learn: Option<PathBuf>,
    /// What no rule lets anything past.
    lock: Option<Lock>,
    /// What holds where nothing else is said.
    default: Action,
    /// Where that was written, if it was.
    default_origin: Option<Arc<str>>,
    /// `deny`
    deny: Places,
    /// `allow`
    allow: Places,
    /// The rules, in their order.
    rules: Vec<Rule>,
    /// Where the rules are.
    index: HostIndex,
    /// Whether any of it is about addresses.
    knows_networks: bool,
}

/// The name of what holds where nothing else is said.
static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("default"));

/// The name of what a lockfile says.
static LOCKED: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("locked"));

impl Places {
    /// The index of a list that is called `name`, whose elements were written there.
    fn new(name: &str, list: &[Destination], origins: &[Arc<str>]) -> Self {
        let mut places = Self::default();
        for (at, destination) in list.iter().enumerate() {
            let entry = Entry {
                name: format!("{name} {destination}").into(),
                origin: origins.get(at).map(Arc::clone),
            };
            for pattern in destination.hosts() {
                places.index.add(places.patterns.len(), Some(pattern));
                places.patterns.push((pattern.clone(), entry.clone()));
            }
        }
        places
    }

    /// The entry that fits, if one does.
    fn find(&self, place: &Place<'_>) -> Option<(&Entry, Option<IpAddr>)> {
        let at = place.first(&self.index, |at| place.fits(&self.patterns[at].0))?;
        let (pattern, entry) = &self.patterns[at];
        Some((entry, place.address_in(pattern)))
    }
}

/// A host with what is known of it.
struct Place<'a> {
    /// As it was asked for: lower case, no trailing dot, no brackets.
    name: &'a str,
    /// Whether that is an address.
    is_address: bool,
    /// The address that it leads to, in all its meanings.
    addresses: Vec<IpAddr>,
    /// The port.
    port: u16,
}

impl<'a> Place<'a> {
    /// The place that `asked` names, and the address that it has been found to lead to.
    fn of(asked: &Asked<'a>, address: Option<IpAddr>) -> Self {
        let own: Option<IpAddr> = asked.host.parse().ok();
        let mut addresses = Vec::new();
        for address in own.into_iter().chain(address) {
            for meaning in meanings(address) {
                if !addresses.contains(&meaning) {
                    addresses.push(meaning);
                }
            }
        }
        Self {
            name: asked.host,
            is_address: own.is_some(),
            addresses,
            port: asked.port,
        }
    }

    /// See [`HostIndex::first`].
    fn first(&self, index: &HostIndex, fits: impl FnMut(usize) -> bool) -> Option<usize> {
        index.first(self.name, &self.addresses, fits)
    }

    /// Whether a pattern fits the name or what it leads to.
    fn fits(&self, pattern: &HostPattern) -> bool {
        let by_name = || !self.is_address && pattern.fits(self.name, None, self.port);
        let by_address = |address: &IpAddr| pattern.fits(self.name, Some(*address), self.port);
        by_name() || self.addresses.iter().any(by_address)
    }

    /// The address that fits, if the pattern is about addresses and the place was asked for by a name.
    fn address_in(&self, pattern: &HostPattern) -> Option<IpAddr> {
        if self.is_address || !pattern.is_network() {
            return None;
        }
        let mut fitting = self.addresses.iter();
        fitting
            .find(|address| pattern.fits(self.name, Some(**address), self.port))
            .copied()
    }
}

/// What an address means: itself, the IPv4 address in it, and for "any address" what a connect to it leads to, this machine.
fn meanings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into();
    let plain = address.to_canonical();
    let inner = match plain {
        IpAddr::V4(address) if address.is_unspecified() => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unspecified() => Some(Ipv6Addr::LOCALHOST.into()),
        // NAT64 (RFC 6052 §2.1) and 6to4 (RFC 3056 §2).
        IpAddr::V6(address) => match address.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(joined(high, low)),
            // "IPv4-compatible", out of use since RFC 4291.
            [0, 0, 0, 0, 0, 0, high, low] if high > 0 => Some(joined(high, low)),
            _ => None,
        },
        IpAddr::V4(_) => None,
    };
    [Some(plain), inner].into_iter().flatten()
}

impl Egress {
    /// See the options of the same names. Nothing is enforced.
    fn new(
        default: Action,
        allow: &[Destination],
        deny: &[Destination],
        rules: Vec<Rule>,
        background: Background,
    ) -> Self {
        let mut index = HostIndex::default();
        for (at, rule) in rules.iter().enumerate() {
            match &rule.matches.host {
                None => index.add(at, None),
                Some(hosts) => hosts.0.iter().for_each(|host| index.add(at, Some(host))),
            }
        }
        let Background { lock, origins } = background;
        let allow = Places::new("allow", allow, &origins.allow);
        let deny = Places::new("deny", deny, &origins.deny);
        let knows_networks = [&index, &allow.index, &deny.index]
            .into_iter()
            .any(HostIndex::knows_networks);
        Self {
            enforced: false,
            fails: false,
            contact: None,
            learn: None,
            lock,
            default,
            default_origin: origins.default,
            deny,
            allow,
            rules,
            index,
            knows_networks,
        }
    }

    /// Whether a lockfile has a say.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Whether a request may go, as far as the name says. Of a tunnel that something is allowed in, what is in it decides.
    pub fn by_name(&self, asked: &Asked<'_>) -> ByName {
        let place = Place::of(asked, None);
        if self.leaves_open(&place) {
            ByName::Open
        } else {
            ByName::Decided(self.decide(asked, &place))
        }
    }

    /// Whether the addresses to which a request's host leads have a say.
    pub fn asks_for_addresses(&self, asked: &Asked<'_>) -> bool {
        self.knows_networks && self.leaves_open(&Place::of(asked, None))
    }

    /// Whether the name of a place does not decide yet.
    fn leaves_open(&self, place: &Place<'_>) -> bool {
        self.knows_networks && !place.is_address && self.locked_out(place).is_none() && self.deny.find(place).is_none()
    }

    /// What the lockfile says of a place that is not in it.
    fn locked_out(&self, place: &Place<'_>) -> Option<Decision> {
        let lock = self.lock.as_ref()?;
        if lock.holds(place.name, place.port) {
            return None;
        }
        let shown = lock.shown();
        Some(Decision {
            action: Action::Deny,
            rule: Arc::clone(&LOCKED),
            origin: Some(Arc::clone(shown)),
            message: Some(format!("it is not in {shown}, which a good run with --learn {shown} writes anew").into()),
            address: None,
        })
    }

    /// Whether a request may go to this address, to which its host leads.
    pub fn by_address(&self, asked: &Asked<'_>, address: IpAddr) -> Decision {
        self.decide(asked, &Place::of(asked, Some(address)))
    }

    /// Whether a request may go, where nobody here knows to which address.
    pub fn by_name_alone(&self, asked: &Asked<'_>) -> Decision {
        self.decide(asked, &Place::of(asked, None))
    }

    /// Whether something in a tunnel may go where it leads, though not every tunnel may: what is in it has to be looked at.
    pub fn allows_some(&self, asked: &Asked<'_>, address: Option<IpAddr>) -> bool {
        let place = Place::of(asked, address);
        if self.locked_out(&place).is_some() || self.deny.find(&place).is_some() {
            return false;
        }
        let found = place.first(&self.index, |at| {
            let rule = &self.rules[at];
            // A rule that denies all there makes those behind it void.
            let denies_all = rule.action == Action::Deny && rule.when.is_none() && rule.matches.is_of_places();
            (rule.action == Action::Allow || denies_all)
                && rule.matches.fits_port(place.port)
                && Self::fits_host(rule, &place)
        });
        found.is_some_and(|at| self.rules[at].action == Action::Allow)
    }

    /// Whether a rule is about the host.
    fn fits_host(rule: &Rule, place: &Place<'_>) -> bool {
        let hosts = rule.matches.host.as_ref();
        hosts.is_none_or(|hosts| hosts.0.iter().any(|host| place.fits(host)))
    }

    /// What holds for a request to this place.
    fn decide(&self, asked: &Asked<'_>, place: &Place<'_>) -> Decision {
        if let Some(decision) = self.locked_out(place) {
            return decision;
        }
        let said = |action, rule: &Arc<str>, origin: &Option<Arc<str>>, address| Decision {
            action,
            rule: Arc::clone(rule),
            origin: origin.clone(),
            message: None,
            address,
        };
        if let Some((entry, address)) = self.deny.find(place) {
            return said(Action::Deny, &entry.name, &entry.origin, address);
        }
        let subject = Subject::of(asked);
        let fits = |at: usize| {
            let rule = &self.rules[at];
            Self::fits_host(rule, place)
                && rule.matches.fits_apart_from_host(&subject)
                && rule.when.as_ref().is_none_or(|when| {
                    let holds = when.evaluate(&subject);
                    holds.unwrap_or(rule.action == Action::Deny)
                })
        };
        if let Some(at) = place.first(&self.index, fits) {
            let rule = &self.rules[at];
            let hosts = rule.matches.host.iter().flat_map(|hosts| &hosts.0);
            let address = hosts
                .filter(|host| place.fits(host))
                .find_map(|host| place.address_in(host));
            return Decision {
                message: rule.message.clone(),
                ..said(rule.action, &rule.id, &rule.origin, address)
            };
        }
        if let Some((entry, address)) = self.allow.find(place) {
            return said(Action::Allow, &entry.name, &entry.origin, address);
        }
        said(self.default, &DEFAULT, &self.default_origin, None)
    }

    /// For people: what is done, a sentence each.
    pub fn said(&self) -> Vec<String> {
        let verb = if self.enforced {
            "is refused"
        } else {
            "is reported, and passes"
        };
        let mut said = Vec::new();
        if let Some(lock) = &self.lock {
            said.push(format!("what goes elsewhere than {} says is refused", lock.shown()));
        }
        let named = |places: &Places, skip: usize| {
            let mut names: Vec<&str> = places.patterns.iter().map(|(_, entry)| &entry.name[skip..]).collect();
            names.dedup();
            let more = names.len().saturating_sub(MOST_NAMED);
            names.truncate(MOST_NAMED);
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            names.join(", ") + &more
        };
        if !self.deny.patterns.is_empty() {
            said.push(format!("what goes to {} {verb}", named(&self.deny, "deny ".len())));
        }
        if !self.rules.is_empty() {
            let ids: Vec<&str> = self.rules.iter().take(MOST_NAMED).map(|rule| &*rule.id).collect();
            said.push(format!("the first rule that fits says what may go: {}", ids.join(", ")));
        }
        let rest = match (self.default, self.allow.patterns.is_empty()) {
            (Action::Deny, true) => Some(format!("what no rule allows {verb}")),
            (Action::Deny, false) => {
                let allowed = named(&self.allow, "allow ".len());
                Some(format!("what goes elsewhere than to {allowed} {verb}"))
            }
            (Action::Allow, _) => None,
        };
        said.extend(rest);
        said
    }
}

/// Destinations and rules that are named where all are told of in a sentence.
const MOST_NAMED: usize = 20;

#[cfg(test)]
mod tests;
