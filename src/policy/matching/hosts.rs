//! Many hosts, of which the few that can fit are found without a look at the others.

use std::{collections::HashMap, net::IpAddr};

use foldhash::fast::RandomState;

use super::host::{HostPattern, Hosts, first_bits};

/// The places of patterns, by what they fit.
#[derive(Clone, Debug, Default)]
pub struct HostIndex {
    /// Those of one name.
    names: HashMap<String, Vec<usize>, RandomState>,
    /// Those of what is below a name, which begins with a dot.
    below: HashMap<String, Vec<usize>, RandomState>,
    /// Those of networks: by whether they are of IPv4, their length, and their bits.
    networks: HashMap<(bool, u8, u128), Vec<usize>, RandomState>,
    /// The families and lengths of networks that there are.
    lengths: Vec<(bool, u8)>,
    /// Those that have to be looked at each time.
    others: Vec<usize>,
}

impl HostIndex {
    /// Adds the pattern at `place`; none fits any host. Places are to be added in their order.
    pub fn add(&mut self, place: usize, pattern: Option<&HostPattern>) {
        let list = match pattern.map(HostPattern::hosts) {
            Some(Hosts::Name(name)) => self.names.entry(name.clone()).or_default(),
            Some(Hosts::Below { name, .. }) => self.below.entry(name.clone()).or_default(),
            Some(Hosts::Network(address, bits)) => {
                let family = (address.is_ipv4(), *bits);
                if !self.lengths.contains(&family) {
                    self.lengths.push(family);
                }
                let key = (family.0, family.1, first_bits(*address, *bits));
                self.networks.entry(key).or_default()
            }
            Some(Hosts::Any | Hosts::Labels(_)) | None => &mut self.others,
        };
        if list.last() != Some(&place) {
            list.push(place);
        }
    }

    /// Whether there is any network.
    pub fn knows_networks(&self) -> bool {
        !self.lengths.is_empty()
    }

    /// The first place whose pattern could fit, and that `fits`.
    pub fn first(&self, name: &str, addresses: &[IpAddr], mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut found: Option<usize> = None;
        let mut search = |places: &[usize]| {
            for place in places {
                if found.is_some_and(|found| found <= *place) {
                    break;
                }
                if fits(*place) {
                    found = Some(*place);
                    break;
                }
            }
        };
        if let Some(places) = self.names.get(name) {
            search(places);
        }
        if !self.below.is_empty() {
            for (dot, _) in name.match_indices('.') {
                if let Some(places) = self.below.get(&name[dot..]) {
                    search(places);
                }
            }
        }
        for address in addresses {
            for (is_v4, bits) in &self.lengths {
                if *is_v4 == address.is_ipv4()
                    && let Some(places) = self.networks.get(&(*is_v4, *bits, first_bits(*address, *bits)))
                {
                    search(places);
                }
            }
        }
        search(&self.others);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_ten_thousand_patterns_only_those_that_can_fit_are_looked_at() {
        let written = (0..2_500).flat_map(|number| {
            [
                format!("h{number}.test"),
                format!("*.d{number}.test"),
                format!("10.{}.{}.0/24", number / 250, number % 250),
                format!("2001:db8:{number:x}::/48"),
            ]
        });
        let patterns: Vec<HostPattern> = written.map(|text| text.parse().expect("a pattern")).collect();
        let mut index = HostIndex::default();
        for (place, pattern) in patterns.iter().enumerate() {
            index.add(place, Some(pattern));
        }
        for (host, wanted) in [
            ("h7.test", Some(28)),
            ("a.d7.test", Some(29)),
            ("a.b.d7.test", None),
            ("10.1.2.3", Some(4 * 252 + 2)),
            ("11.1.2.3", None),
            ("2001:db8:ff::1", Some(4 * 255 + 3)),
            ("else.test", None),
        ] {
            let address: Option<IpAddr> = host.parse().ok();
            let mut looked_at = 0;
            let found = index.first(host, address.as_slice(), |place| {
                looked_at += 1;
                patterns[place].fits(host, address, 80)
            });
            assert_eq!(found, wanted, "{host}");
            assert!(looked_at <= 2, "{host}: {looked_at}");
        }
    }

    #[test]
    fn the_first_place_counts_whatever_it_is_found_by() {
        let patterns: Vec<HostPattern> = ["**.b.test", "a.b.test", "a.*.test", "10.0.0.0/8"]
            .map(|text| text.parse().expect("a pattern"))
            .to_vec();
        let mut index = HostIndex::default();
        for (place, pattern) in patterns.iter().enumerate() {
            index.add(place, Some(pattern));
        }
        index.add(4, None);
        let address = ["10.1.1.1".parse().expect("an address")];
        for (skipped, wanted) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)] {
            let found = index.first("a.b.test", &address, |place| place >= skipped);
            assert_eq!(found, Some(wanted));
        }
        assert!(index.knows_networks());
    }
}
