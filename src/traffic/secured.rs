//! TLS: the handshakes of amb's with servers, what was decrypted and what passed as it was.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::traffic::{
    Kind, Outcome, Record, Scheme,
    latency::{Durations, Latency},
};

/// What a record's failure is called where a client has refused amb's certificate.
pub const REFUSED: &str = "intercept_refused";

/// One handshake of amb's with a server, which went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// How long it took.
    pub took: Duration,
    /// `1.3`.
    pub version: &'static str,
    /// As IANA has it: `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// Whether it went on with an earlier session.
    pub resumed: bool,
    /// How long the server's certificate is valid; none of a session that was resumed.
    pub valid: Option<Validity>,
}

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub from: SystemTime,
    /// Until when.
    pub to: SystemTime,
}

impl Validity {
    /// How long before its end a certificate is warned of, unless it is one that is short-lived.
    const SOON: Duration = Duration::from_hours(14 * 24);

    /// What is left of it, if that is less than it should be: two weeks and a sixth of its life. Whoever renews certificates by
    /// a clock has done so by then.
    pub fn ends_soon(&self, now: SystemTime) -> Option<Duration> {
        let left = self.to.duration_since(now).ok()?;
        let life = self.to.duration_since(self.from).ok()?;
        (left < Self::SOON.min(life / 6)).then_some(left)
    }
}

/// What became of TLS with a host; these are the words of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsState {
    /// It passed as it was.
    Tunnelled,
    /// amb spoke it with the server, and saw the requests.
    Intercepted,
    /// A client has refused amb's certificate.
    Pinned,
}

impl TlsState {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnelled => "tunnelled",
            Self::Intercepted => "intercepted",
            Self::Pinned => "pinned",
        }
    }
}

/// TLS with one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecuredTraffic {
    /// What became of it; the last in the order of the words, if there was more than one thing.
    pub state: TlsState,
    /// Handshakes of amb's with it.
    pub handshakes: u64,
    /// Those that went on with an earlier session.
    pub resumed: u64,
    /// How many handshakes came to each version, by name.
    pub versions: Vec<(&'static str, u64)>,
    /// How many came to each cipher suite, by name.
    pub ciphers: Vec<(&'static str, u64)>,
    /// How long they took; none if there were none.
    pub took: Option<Latency>,
    /// How long the certificate is valid that ends first; none if none was seen.
    pub valid: Option<Validity>,
}

/// The running sums of [`SecuredTraffic`].
#[derive(Clone, Debug, Default)]
pub(crate) struct SecuredTally {
    /// See [`SecuredTraffic::state`].
    state: Option<TlsState>,
    /// See [`SecuredTraffic::resumed`].
    resumed: u64,
    /// See [`SecuredTraffic::versions`].
    versions: Vec<(&'static str, u64)>,
    /// See [`SecuredTraffic::ciphers`].
    ciphers: Vec<(&'static str, u64)>,
    /// See [`SecuredTraffic::took`].
    took: Durations,
    /// See [`SecuredTraffic::valid`].
    valid: Option<Validity>,
}

impl SecuredTally {
    /// What a record says about TLS; none if it has nothing to do with it.
    pub(crate) fn state_of(record: &Record) -> Option<TlsState> {
        let refused = matches!(&record.outcome, Outcome::Failed(failure) if failure.error_type == REFUSED);
        match record.kind {
            _ if refused => Some(TlsState::Pinned),
            Kind::Exchange => (record.scheme == Some(Scheme::Https)).then_some(TlsState::Intercepted),
            Kind::Tunnel if record.tls.is_some() => Some(TlsState::Intercepted),
            Kind::Tunnel => record.sealed.then_some(TlsState::Tunnelled),
        }
    }

    /// Counts one record, which says this.
    pub(crate) fn add(&mut self, record: &Record, state: TlsState) {
        self.state = self.state.max(Some(state));
        let Some(handshake) = &record.tls else { return };
        self.took.add(handshake.took);
        self.resumed += u64::from(handshake.resumed);
        count(&mut self.versions, handshake.version, 1);
        count(&mut self.ciphers, handshake.cipher, 1);
        self.note(handshake.valid);
    }

    /// Keeps of two certificates the one that ends first.
    fn note(&mut self, valid: Option<Validity>) {
        let both = self.valid.into_iter().chain(valid);
        self.valid = both.min_by_key(|valid| valid.to);
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.state = self.state.max(other.state);
        self.resumed += other.resumed;
        self.took.merge(&other.took);
        for (name, times) in &other.versions {
            count(&mut self.versions, name, *times);
        }
        for (name, times) in &other.ciphers {
            count(&mut self.ciphers, name, *times);
        }
        self.note(other.valid);
    }

    /// The sums; none if there was no TLS.
    pub(crate) fn finish(mut self) -> Option<SecuredTraffic> {
        self.versions.sort_unstable();
        self.ciphers.sort_unstable();
        let took = self.took.finish();
        Some(SecuredTraffic {
            state: self.state?,
            handshakes: took.as_ref().map_or(0, |took| took.count),
            resumed: self.resumed,
            versions: self.versions,
            ciphers: self.ciphers,
            took,
            valid: self.valid,
        })
    }
}

/// Counts a name up. There are a handful of them.
fn count(counts: &mut Vec<(&'static str, u64)>, name: &'static str, times: u64) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, count)) => *count += times,
        None => counts.push((name, times)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_of_late_in_its_life_and_not_all_its_life() {
        let from = SystemTime::UNIX_EPOCH;
        let days = |count: u64| Duration::from_hours(24 * count);
        for (life, age, soon) in [
            (365, 300, false),
            (365, 350, false),
            (365, 352, true),
            (365, 366, false),
            (90, 75, false),
            (90, 77, true),
            (6, 4, false),
            (6, 6, true),
            (1, 0, false),
        ] {
            let valid = Validity {
                from,
                to: from + days(life) + Duration::from_secs(1),
            };
            let now = from + days(age);
            assert_eq!(valid.ends_soon(now).is_some(), soon, "{life} days, {age} old");
        }
    }
}
