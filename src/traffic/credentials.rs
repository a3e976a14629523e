//! What was done about credentials, and what amb asked on its own account.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Record;

/// Hosts at which credentials were withheld that are told apart.
const MOST_HOSTS: usize = 20;

/// What was done about the credentials of one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignedIn {
    /// Whether amb signed it in.
    pub by_amb: bool,
    /// How many names of secrets in it were replaced.
    pub stand_ins: u32,
    /// Why a credential did not go along; none if none was missed.
    pub withheld: Option<Withheld>,
}

/// Why a credential did not go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// It is for other hosts.
    OtherHost,
    /// Others could have read it on the way.
    PlainHttp,
}

/// The same of all exchanges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Credentials {
    /// Exchanges that amb signed in.
    pub signed_in: u64,
    /// Names of secrets that were replaced by them.
    pub stand_ins: u64,
    /// Exchanges that went without a credential that somebody may have expected.
    pub withheld: u64,
    /// Requests of amb's own, for tokens.
    pub token_requests: u64,
    /// Those of them that failed.
    pub token_failures: u64,
    /// How often credentials were withheld, by reason and host.
    #[serde(skip)]
    withheld_at: BTreeMap<(Withheld, String), u64>,
}

impl Credentials {
    /// Counts one exchange.
    pub(crate) fn add(&mut self, record: &Record) {
        let SignedIn {
            by_amb,
            stand_ins,
            withheld,
        } = record.signed_in;
        self.signed_in += u64::from(by_amb);
        self.stand_ins += u64::from(stand_ins);
        if let Some(why) = withheld {
            self.withheld += 1;
            self.count_withheld((why, record.host.clone()), 1);
        }
    }

    /// Counts exchanges without a credential.
    fn count_withheld(&mut self, at: (Withheld, String), count: u64) {
        if self.withheld_at.len() < MOST_HOSTS || self.withheld_at.contains_key(&at) {
            *self.withheld_at.entry(at).or_default() += count;
        }
    }

    /// Counts a request of amb's own for a token.
    pub fn add_token_request(&mut self, succeeded: bool) {
        self.token_requests += 1;
        self.token_failures += u64::from(!succeeded);
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.signed_in += other.signed_in;
        self.stand_ins += other.stand_ins;
        self.withheld += other.withheld;
        self.token_requests += other.token_requests;
        self.token_failures += other.token_failures;
        for (at, count) in other.withheld_at {
            self.count_withheld(at, count);
        }
    }

    /// Whether there was nothing to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What people should know: a sentence for each reason and host.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |((why, host), count): (&(Withheld, String), &u64)| {
            let requests = if *count == 1 {
                "1 request".to_owned()
            } else {
                format!("{count} requests")
            };
            match why {
                Withheld::OtherHost => {
                    format!("{requests} to {host} went without a secret that is not for that host")
                }
                Withheld::PlainHttp => format!(
                    "{requests} to {host} went without their credential, which does not go by plain http \
                     (allow-plain-http)"
                ),
            }
        };
        self.withheld_at.iter().map(warning).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withheld_is_told_by_host() {
        let mut one = Credentials::default();
        one.count_withheld((Withheld::OtherHost, "a.test".to_owned()), 1);
        let mut other = Credentials::default();
        other.count_withheld((Withheld::OtherHost, "a.test".to_owned()), 1);
        other.count_withheld((Withheld::PlainHttp, "b.test".to_owned()), 1);
        one.merge(other);
        let warnings = one.warnings();
        assert!(
            warnings[0].starts_with("2 requests to a.test went without a secret"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].starts_with("1 request to b.test went without their credential"),
            "{warnings:?}"
        );
    }

    #[test]
    fn hosts_without_end_do_not_fill_the_memory() {
        let mut sum = Credentials::default();
        for number in 0..1000 {
            sum.count_withheld((Withheld::OtherHost, format!("{number}.test")), 1);
        }
        assert_eq!(sum.warnings().len(), MOST_HOSTS);
    }
}
