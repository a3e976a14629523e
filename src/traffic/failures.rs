//! Failures that are alike, counted together.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::SystemTime,
};

use crate::traffic::{Blame, Failure, Record, retries::Refused};

/// Groups that are told apart; what would make a further one is only counted.
///
/// Enough to see what is wrong. Paths with identifiers in them would otherwise make a group each.
const MOST_GROUPS: usize = 200;

/// Failures that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// How many.
    pub count: u64,
    /// As in [`Record::method`].
    pub method: String,
    /// As in [`Record::host`].
    pub host: String,
    /// As in [`Record::port`].
    pub port: u16,
    /// As in [`Record::path`], without the query.
    pub path: String,
    /// As in [`Failure::error_type`].
    pub error_type: String,
    /// Whose fault the first was.
    pub blame: Blame,
    /// The first one's sentence for people.
    pub detail: String,
    /// Why the first was not retried; none if retries had nothing to do with it.
    pub refused: Option<Refused>,
    /// When the first began.
    pub first_at: SystemTime,
    /// As in [`Record::request_id`], of the first.
    pub first_request_id: String,
}

/// What makes two failures alike.
#[derive(Hash, PartialEq, Eq)]
struct Likeness<'a> {
    /// See [`FailureGroup::method`].
    method: &'a str,
    /// See [`FailureGroup::host`].
    host: &'a str,
    /// See [`FailureGroup::port`].
    port: u16,
    /// See [`FailureGroup::path`].
    path: &'a str,
    /// See [`FailureGroup::error_type`].
    error_type: &'a str,
}

impl FailureGroup {
    /// What another must have in common with it.
    fn likeness(&self) -> Likeness<'_> {
        Likeness {
            method: &self.method,
            host: &self.host,
            port: self.port,
            path: &self.path,
            error_type: &self.error_type,
        }
    }
}

/// Failures, grouped as they come. Nothing is allocated for one that has its like already.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureGroups {
    /// The groups by the hash of what they have in common; more than one in an entry is a collision.
    ///
    /// Keyed by hash, because a map with a key of several strings cannot be asked without making these strings.
    groups: HashMap<u64, Vec<FailureGroup>>,
    /// How many groups there are.
    len: usize,
    /// Failures that are in no group because there were too many.
    beyond: u64,
    /// Makes the hashes.
    hasher: RandomState,
}

impl FailureGroups {
    /// Counts one.
    pub(crate) fn add(&mut self, record: &Record, failure: &Failure) {
        let likeness = Likeness {
            method: &record.method,
            host: &record.host,
            port: record.port,
            path: record.path.split_once('?').map_or(&*record.path, |(path, _query)| path),
            error_type: &failure.error_type,
        };
        let hash = self.hasher.hash_one(&likeness);
        if let Some(group) = self.find(hash, &likeness) {
            group.count += 1;
            // Records come as exchanges end, which is not the order they began in.
            if record.started_at < group.first_at {
                group.first_at = record.started_at;
                group.first_request_id.clone_from(&record.request_id);
                failure.detail.clone_into(&mut group.detail);
                group.blame = failure.blame;
                group.refused = record.retries.refused;
            }
        } else if self.len < MOST_GROUPS {
            let group = FailureGroup {
                count: 1,
                method: likeness.method.to_owned(),
                host: likeness.host.to_owned(),
                port: likeness.port,
                path: likeness.path.to_owned(),
                error_type: likeness.error_type.to_owned(),
                blame: failure.blame,
                detail: failure.detail.clone(),
                refused: record.retries.refused,
                first_at: record.started_at,
                first_request_id: record.request_id.clone(),
            };
            self.insert(hash, group);
        } else {
            self.beyond += 1;
        }
    }

    /// The group of this likeness, if there is one.
    fn find(&mut self, hash: u64, likeness: &Likeness<'_>) -> Option<&mut FailureGroup> {
        self.groups
            .get_mut(&hash)?
            .iter_mut()
            .find(|group| group.likeness() == *likeness)
    }

    /// Adds a group that has no like yet.
    fn insert(&mut self, hash: u64, group: FailureGroup) {
        self.groups.entry(hash).or_default().push(group);
        self.len += 1;
    }

    /// Adds all of another's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.beyond += other.beyond;
        for theirs in other.groups.into_values().flatten() {
            let likeness = theirs.likeness();
            let hash = self.hasher.hash_one(&likeness);
            if let Some(ours) = self.find(hash, &likeness) {
                let count = ours.count + theirs.count;
                if theirs.first_at < ours.first_at {
                    *ours = theirs;
                }
                ours.count = count;
            } else if self.len < MOST_GROUPS {
                self.insert(hash, theirs);
            } else {
                self.beyond += theirs.count;
            }
        }
    }

    /// The groups, the commonest first and those as common in the order they began; and how many failures are in none.
    pub(crate) fn finish(self) -> (Vec<FailureGroup>, u64) {
        let mut groups: Vec<_> = self.groups.into_values().flatten().collect();
        groups.sort_by(|a, b| {
            let most = b.count.cmp(&a.count).then_with(|| a.first_at.cmp(&b.first_at));
            most.then_with(|| (&a.host, a.port, &a.path, &a.method).cmp(&(&b.host, b.port, &b.path, &b.method)))
                .then_with(|| a.error_type.cmp(&b.error_type))
        });
        (groups, self.beyond)
    }
}
