//! The lockfile: every place that a good run has asked for, a line each, sorted, so that a change of it can be read.

use std::{fmt::Write as _, sync::Arc};

use crate::policy::matching::host::of_request;

/// What every lockfile begins with.
const HEAD: &str = "\
# Where the requests of a command go: all of them, and no others.
# A run with `--learn FILE` writes this file anew if it ends well; one with `--locked FILE` is held to it.
";

/// The places of a lockfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The file, as people know it.
    shown: Arc<str>,
    /// Hosts, as [`Asked`](crate::policy::rules::Asked) has them, and ports; sorted.
    places: Vec<(String, u16)>,
}

impl Lock {
    /// Reads the text of a lockfile that is called `shown`.
    ///
    /// # Errors
    /// The number of the first line that is no place, from 1, and why not.
    pub fn read(shown: &str, text: &str) -> Result<Self, (usize, String)> {
        let mut places = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                places.push(of_request(line, None).map_err(|reason| (at + 1, reason))?);
            }
        }
        places.sort();
        places.dedup();
        Ok(Self {
            shown: shown.into(),
            places,
        })
    }

    /// The text of a lockfile for these places.
    pub fn text(places: impl IntoIterator<Item = (String, u16)>) -> String {
        let mut places: Vec<(String, u16)> = places.into_iter().collect();
        places.sort();
        places.dedup();
        let mut text = HEAD.to_owned();
        for (host, port) in places {
            // Writing to a string cannot fail.
            writeln!(text, "{}", place(&host, port)).unwrap_or_default();
        }
        text
    }

    /// The file, as people know it.
    pub fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// Its places, sorted, as `egress.allow` has them.
    pub fn places(&self) -> Vec<String> {
        self.places.iter().map(|(host, port)| place(host, *port)).collect()
    }

    /// Whether this place is in it.
    pub(super) fn holds(&self, host: &str, port: u16) -> bool {
        let found = self
            .places
            .binary_search_by(|(known, of)| (known.as_str(), *of).cmp(&(host, port)));
        found.is_ok()
    }
}

/// A place as it is written: `[::1]:443`, `a.test:80`.
pub fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_sorted_and_read_again() {
        let places = [
            ("b.test", 443),
            ("a.test", 8080),
            ("a.test", 80),
            ("::1", 443),
            ("a.test", 80),
        ];
        let places = places.map(|(host, port)| (host.to_owned(), port));
        let text = Lock::text(places.clone());
        assert_eq!(
            text.strip_prefix(HEAD),
            Some("[::1]:443\na.test:80\na.test:8080\nb.test:443\n")
        );
        let lock = Lock::read("amb.lock", &text).unwrap();
        assert!(places.iter().all(|(host, port)| lock.holds(host, *port)));
        assert!(!lock.holds("a.test", 443));
        assert_eq!(Lock::text(lock.places.clone()), text);
        assert_eq!(lock.places(), ["[::1]:443", "a.test:80", "a.test:8080", "b.test:443"]);
    }

    #[test]
    fn hosts_are_read_as_requests_name_them_and_nothing_wider() {
        let lock = Lock::read("amb.lock", "# all\n\n  A.Test.:443 # ours\n").unwrap();
        assert!(lock.holds("a.test", 443));
        for (text, line) in [
            ("a.test", 1),
            ("\na.test:0", 2),
            ("*.a.test:443", 1),
            ("a b:1", 1),
            ("10.0.0.0/8:1", 1),
        ] {
            let mistake = Lock::read("amb.lock", text).map_err(|(line, _)| line);
            assert_eq!(mistake.map(|lock| lock.places), Err(line), "{text:?}");
        }
    }
}
