//! Whether something may go where it wants: the rules of `[egress]` asked, by the name and by the address that is dialled, and
//! what they say entered in its record.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use super::{
    error::ExchangeError,
    target::{self, Authority},
    tls::client::Aim,
    upstream::Server,
    worker::Worker,
};
use crate::{
    policy::{
        egress::{Action, ByName, Decision, Egress},
        rules::Asked,
    },
    traffic::{
        Record,
        egress::{Said, Verdict},
    },
};

/// What is asked for a request or tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clearance<'a> {
    /// The rules.
    egress: &'a Egress,
    /// What wants to go.
    asked: Asked<'a>,
    /// Whether it is a tunnel in which something may go, though not everything: what is in it is asked for later.
    some: bool,
}

impl<'a> Clearance<'a> {
    /// For a request; none if there are no rules.
    pub(crate) fn of(worker: &'a Worker, asked: Asked<'a>) -> Option<Self> {
        let egress = worker.policy.egress.as_ref()?;
        Some(Self {
            egress,
            asked,
            some: false,
        })
    }

    /// For a tunnel that is to be opened, whatever will be in it; none if there are no rules.
    pub(crate) fn of_tunnel(worker: &'a Worker, authority: &'a Authority) -> Option<Self> {
        let whole = Self::of(worker, Asked::tunnel(&authority.host, authority.port))?;
        let denied = match whole.egress.by_name(&whole.asked) {
            ByName::Decided(decision) => decision.action == Action::Deny,
            ByName::Open => true,
        };
        let some = denied && whole.egress.allows_some(&whole.asked, None);
        Some(Self { some, ..whole })
    }

    /// Asks by the name alone, before it is looked up.
    ///
    /// # Errors
    /// If it may not go there.
    pub(crate) fn by_name(&self, record: &mut Record) -> Result<(), ExchangeError> {
        if self.some {
            return Ok(());
        }
        match self.egress.by_name(&self.asked) {
            ByName::Decided(decision) => self.enter(decision, record),
            ByName::Open => Ok(()),
        }
    }

    /// Asks by what a connection leads to. Where a parent proxy looks the name up, by the name.
    ///
    /// # Errors
    /// If it may not go there.
    pub(crate) fn by_server(&self, server: &Server, record: &mut Record) -> Result<(), ExchangeError> {
        if self.some || !self.egress.asks_for_addresses(&self.asked) {
            return Ok(());
        }
        self.enter(self.decide(server), record)
    }

    /// Whether it may use this connection.
    pub(crate) fn admits(&self, server: &Server) -> bool {
        self.some || !self.egress.enforced || self.decide(server).action == Action::Allow
    }

    /// Those of the addresses that it may go to.
    ///
    /// # Errors
    /// If it may go to none of them.
    pub(crate) fn admitted(&self, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ExchangeError> {
        let mut denied = None;
        if self.egress.enforced {
            addresses.retain(|address| match self.denial(address.ip()) {
                Some(decision) => {
                    denied.get_or_insert(decision);
                    false
                }
                None => true,
            });
        }
        match denied {
            Some(decision) if addresses.is_empty() => Err(self.error(&decision)),
            _ => Ok(addresses),
        }
    }

    /// Why it may not go to this address; none if it may.
    fn denial(&self, address: IpAddr) -> Option<Decision> {
        let decision = self.egress.by_address(&self.asked, address);
        let denied =
            decision.action == Action::Deny && !(self.some && self.egress.allows_some(&self.asked, Some(address)));
        denied.then_some(decision)
    }

    /// What holds for this connection.
    fn decide(&self, server: &Server) -> Decision {
        match server.connection.reached() {
            Some(address) => self.egress.by_address(&self.asked, address),
            None => self.egress.by_name_alone(&self.asked),
        }
    }

    /// Enters a decision in the record.
    ///
    /// # Errors
    /// If it was to deny, and is enforced.
    fn enter(&self, decision: Decision, record: &mut Record) -> Result<(), ExchangeError> {
        let denied = decision.action == Action::Deny;
        let result = if denied && self.egress.enforced {
            Err(self.error(&decision))
        } else {
            Ok(())
        };
        let verdict = match (denied, self.egress.enforced) {
            (false, _) => Verdict::Allowed,
            (true, false) => Verdict::WouldDeny,
            (true, true) => Verdict::Denied,
        };
        record.egress = Some(Said {
            verdict,
            rule: decision.rule,
            origin: decision.origin,
        });
        let host = self.asked.host;
        if host != record.host && !record.called.iter().any(|known| known == host) {
            record.called.push(host.to_owned());
        }
        result
    }

    /// The error of a denial.
    fn error(&self, decision: &Decision) -> ExchangeError {
        let Asked { host, port, .. } = self.asked;
        ExchangeError::EgressDenied(Box::new(Denial {
            place: Authority::new(host, port).to_string(),
            address: decision.address,
            rule: decision.rule.to_string(),
            origin: decision.origin.as_ref().map(ToString::to_string),
            message: decision.message.as_ref().map(ToString::to_string),
            contact: self.egress.contact.as_ref().map(ToString::to_string),
        }))
    }
}

/// Asks for a request by every name that says whom it means. A server that serves many goes by what the client calls it inside
/// TLS and, in a tunnel, in `Host`, so that these count as well.
///
/// # Errors
/// If it may not go there.
pub(crate) fn by_names(
    worker: &Worker,
    asked: Asked<'_>,
    aim: Option<&Rc<Aim>>,
    in_tunnel: bool,
    record: &mut Record,
) -> Result<(), ExchangeError> {
    if worker.policy.egress.is_none() {
        return Ok(());
    }
    let field = asked.fields.first("host").filter(|_| in_tunnel);
    let field = field.and_then(|host| target::authority(host, Some(asked.port)).ok());
    let others = [aim.map(|aim| aim.server()), field.map(|field| field.host)];
    let others: Vec<String> = others.into_iter().flatten().filter(|name| name != asked.host).collect();
    for host in others.iter().map(String::as_str).chain([asked.host]) {
        if let Some(clearance) = Clearance::of(worker, Asked { host, ..asked }) {
            clearance.by_name(record)?;
        }
    }
    Ok(())
}

/// What was denied, and by what.
#[derive(Debug)]
pub(crate) struct Denial {
    /// Where it wanted to go: `host:port`.
    pub(crate) place: String,
    /// The address that it may not go to; none if it is the name.
    pub(crate) address: Option<IpAddr>,
    /// The rule.
    pub(crate) rule: String,
    /// Where that was written, if it is known.
    pub(crate) origin: Option<String>,
    /// What the rule says about it.
    pub(crate) message: Option<String>,
    /// Whom to ask for an exception.
    pub(crate) contact: Option<String>,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is not allowed", self.place)?;
        if let Some(address) = self.address {
            write!(f, " to be {address}")?;
        }
        match self.rule.as_str() {
            "default" => f.write_str(" by any rule of egress")?,
            rule => write!(f, " by egress rule `{rule}`")?,
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(contact) = &self.contact {
            write!(f, " (ask {contact})")?;
        }
        Ok(())
    }
}
