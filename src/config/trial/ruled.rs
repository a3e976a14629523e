//! What the rules of egress say of a trial, and where that was written.

use std::net::IpAddr;

use crate::{
    config::Sources,
    policy::{
        egress::{Action, ByName, Decision, Egress},
        rules::Asked,
    },
};

/// What the rules of egress say.
pub(super) struct Ruled {
    /// `allow` or `deny`; `depends` if the addresses that the name leads to have a say, or what is in the tunnel.
    pub(super) action: &'static str,
    /// The rule that says so; none if it depends.
    pub(super) rule: Option<String>,
    /// Where that was written; none if it depends, and if nobody has written it.
    pub(super) origin: Option<String>,
    /// What the refused are told.
    pub(super) message: Option<String>,
    /// Whether what is denied is refused.
    pub(super) enforced: bool,
    /// It in a sentence.
    pub(super) sentence: String,
}

impl Ruled {
    /// What they say of this.
    pub(super) fn of(egress: &Egress, sources: &Sources, asked: &Asked<'_>) -> Self {
        let depends = |sentence: &str| Self {
            action: "depends",
            rule: None,
            origin: None,
            message: None,
            enforced: egress.enforced,
            sentence: sentence.to_owned(),
        };
        let decision = match egress.by_name(asked) {
            ByName::Open => return depends("the addresses that it leads to decide, and nothing is looked up here"),
            ByName::Decided(decision) => decision,
        };
        let denied = decision.action == Action::Deny;
        if denied && asked.is_tunnel() && egress.allows_some(asked, None) {
            return depends("what is in the tunnel decides: a rule allows some of it");
        }
        Self::decided(egress, sources, decision)
    }

    /// What they say of this, if its name leads to this address.
    pub(super) fn by_address(egress: &Egress, sources: &Sources, asked: &Asked<'_>, address: IpAddr) -> Self {
        let decision = egress.by_address(asked, address);
        let some = asked.is_tunnel() && egress.allows_some(asked, Some(address));
        if decision.action == Action::Deny && some {
            return Self::of(egress, sources, asked);
        }
        Self::decided(egress, sources, decision)
    }

    /// A decision.
    fn decided(egress: &Egress, sources: &Sources, decision: Decision) -> Self {
        let denied = decision.action == Action::Deny;
        let what = match (denied, egress.enforced) {
            (false, _) => "allowed",
            (true, true) => "refused",
            (true, false) => "denied, but passes, since the mode is audit",
        };
        let message = decision.message.map(|message| message.to_string());
        let told = message
            .as_ref()
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        let origin =
            place_of_rule(sources, &decision.rule).or_else(|| decision.origin.map(|origin| origin.to_string()));
        let place = origin
            .as_ref()
            .map(|place| format!(" from {place}"))
            .unwrap_or_default();
        Self {
            action: if denied { "deny" } else { "allow" },
            sentence: format!("{what} ({}{place}){told}", decision.rule),
            origin,
            rule: Some(decision.rule.to_string()),
            message,
            enforced: egress.enforced,
        }
    }
}

/// Where a rule of this id was written: file, line and column; none if there is no such rule.
fn place_of_rule(sources: &Sources, id: &str) -> Option<String> {
    let list = ["egress", "rule"].map(str::to_owned);
    let rules = sources.value_inside(&list)?;
    let named = |(at, rule): (usize, &serde_json::Value)| match rule["id"].as_str() {
        Some(known) => known == id,
        None => id == format!("rule-{}", at + 1),
    };
    let at = rules.as_array()?.iter().enumerate().position(named)?;
    let key = [&list[..], &[at.to_string(), "action".to_owned()]].concat();
    sources.inside(&key).map(|source| source.place)
}
