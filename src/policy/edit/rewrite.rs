//! Where a request goes instead of where it asks: `rewrite` of a route.
//!
//! The server is the one that the request goes to: connections, limits, circuits, proxies on the way and `[connect-to]` are
//! about it. The report keeps the one that was asked for, and says beside it where the request went.
//!
//! `Host` follows, as with nginx's `proxy_pass`, unless `preserve-host` keeps it, as Envoy and Traefik do by default: there it
//! is the proxy that a name leads to, here it is a URL that is another one.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    table::{self, Entry},
    value::{Ids, Known, Value, valid},
};
use crate::policy::{
    Problem,
    matching::{Match, host::of_request, path::plain},
    percent::{decoded, encoded},
    words::list,
};

/// What a request was rewritten by, in records.
pub const ID: &str = "rewrite";

/// What a response's URLs and cookies were changed back by, in records.
pub const BACK_ID: &str = "rewrite.response";

/// What a server is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// In the clear
    Http,
    /// By TLS, which amb speaks on the command's behalf
    Https,
}

impl Scheme {
    /// Its name in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Its port, where none is given.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The table `rewrite` of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RewriteOptions {
    /// How the server is asked: https makes amb speak TLS on behalf of a command that speaks plain HTTP [default: as it asks]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "sends requests in another way than they ask"))]
    pub scheme: Option<Scheme>,

    /// The host to send to, a name or an address [default: the one that it asks for]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "sends requests to another host than the one they name"))]
    pub host: Option<String>,

    /// The port to send to [default: the one that it asks for; if that is its scheme's usual one, that of the new scheme]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "x-danger" = "sends requests to another port than the one they name"))]
    pub port: Option<u16>,

    /// What to put in front of the path, in the place of strip-prefix [default: nothing]
    ///
    /// Without strip-prefix it takes the place of what the route's match.path begins with up to its first wildcard, if
    /// that is one path: with /v1/** and /v2, /v1/a becomes /v2/a.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "sends requests for another path than the one they name"))]
    pub path_prefix: Option<String>,

    /// What to take from the beginning of the path, whole segments; a path that does not begin so stays [default: nothing]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "sends requests for another path than the one they name"))]
    pub strip_prefix: Option<String>,

    /// Leave the Host header as it is, whatever host and port are [default: off]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preserve_host: Option<bool>,

    /// Parameters of the query
    #[serde(skip_serializing_if = "QueryOptions::is_empty")]
    pub query: QueryOptions,
}

/// The table `rewrite.query` of a route. Names and values are written plainly, and encoded by amb.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct QueryOptions {
    /// Parameters to set, in the place of what is there under these names [default: none]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "table")]
    #[schemars(
        schema_with = "table::schema",
        extend("x-danger" = "sends requests with another query than the one they have")
    )]
    pub set: Vec<Entry>,

    /// Parameters to add, beside what is there under these names [default: none]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "table")]
    #[schemars(
        schema_with = "table::schema",
        extend("x-danger" = "sends requests with another query than the one they have")
    )]
    pub add: Vec<Entry>,

    /// Parameters to remove [default: none]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list")]
    #[schemars(extend("x-danger" = "sends requests with another query than the one they have"))]
    pub remove: Option<Vec<String>>,
}

impl QueryOptions {
    /// Whether nothing is said.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// How the server is asked; none for as it was.
    scheme: Option<Scheme>,
    /// The host; none for the one that was asked for.
    host: Option<String>,
    /// The port; none for the one that was asked for.
    port: Option<u16>,
    /// What is taken from the path's beginning; empty for nothing. Without a slash at its end.
    pub(super) stripped: String,
    /// What is put there; empty for nothing. Without a slash at its end.
    pub(super) prefix: String,
    /// Whether `Host` stays as it was.
    pub preserves_host: bool,
    /// What is done to the query.
    query: Query,
}

/// What is done to a query, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Query {
    /// The names of parameters that go.
    remove: Vec<String>,
    /// What parameters are set to.
    set: Vec<(String, Value)>,
    /// Parameters that are added.
    add: Vec<(String, Value)>,
}

/// A server, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// How.
    pub scheme: Scheme,
    /// Lower case, no trailing dot, no brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl Place {
    /// The host and the port as a URL and `Host` have them: without the port where it is the usual one.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let authority = format!("{open}{}{close}", self.host);
        if self.port == self.scheme.port() {
            authority
        } else {
            format!("{authority}:{}", self.port)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

impl RewriteOptions {
    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Says what `path-prefix` takes the place of, if only the route's `match` says it.
    pub(crate) fn complete(&mut self, matches: &Match) {
        if self.path_prefix.is_some()
            && self.strip_prefix.is_none()
            && let Some([path]) = matches.path.as_ref().map(|paths| paths.0.as_slice())
        {
            self.strip_prefix = Some(path.beginning()).filter(|beginning| beginning != "/");
        }
    }

    /// Where requests go; none if nothing is said. `problems` gets what is wrong.
    pub(super) fn build(&self, known: &Known<'_>, problems: &mut Vec<Problem>) -> Option<Rewrite> {
        if self.is_empty() {
            return None;
        }
        let mut problem = |key: &str, reason: String| problems.push(Problem::at(&[ID, key], reason));
        let host = self.host.as_ref().and_then(|host| match of_request(host, Some(1)) {
            Ok((name, 1)) => Some(name),
            Ok((name, port)) => {
                problem(
                    "host",
                    format!("the port stands by itself: host = \"{name}\", port = {port}"),
                );
                None
            }
            Err(reason) => {
                problem("host", reason);
                None
            }
        });
        if self.port == Some(0) {
            problem("port", "ports begin with 1".to_owned());
        }
        let mut prefix = |key: &str, prefix: &Option<String>| {
            let prefix = prefix.as_deref().unwrap_or_default();
            if let Some(reason) = misfit(prefix) {
                problem(key, reason);
            }
            prefix.trim_end_matches('/').to_owned()
        };
        let stripped = prefix("strip-prefix", &self.strip_prefix);
        let prefix = prefix("path-prefix", &self.path_prefix);
        let mut parameters = |operation: &str, entries: &[Entry]| -> Vec<(String, Value)> {
            let read = entries.iter().filter_map(|Entry { name, value }| {
                let value = valid(value, false, &[ID, "query", operation, name], known, problems)?;
                Some((name.clone(), value))
            });
            read.collect()
        };
        let set = parameters("set", &self.query.set);
        let add = parameters("add", &self.query.add);
        Some(Rewrite {
            scheme: self.scheme,
            host,
            port: self.port,
            stripped,
            prefix,
            preserves_host: self.preserve_host.unwrap_or(false),
            query: Query {
                remove: self.query.remove.clone().unwrap_or_default(),
                set,
                add,
            },
        })
    }
}

/// Why a text cannot be the beginning of a path, as a sentence fragment; none if it can.
fn misfit(prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return None;
    }
    if !prefix.starts_with('/') {
        return Some(format!("`{prefix}` is no beginning of a path: write `/{prefix}`"));
    }
    let odd = prefix
        .chars()
        .find(|character| !character.is_ascii_graphic() || matches!(character, '?' | '#'));
    odd.map(|odd| format!("`{}` stands in no path", odd.escape_debug()))
}

impl Rewrite {
    /// Where a request for this place goes; none if it goes there.
    pub fn place(&self, asked: &Place) -> Option<Place> {
        let scheme = self.scheme.unwrap_or(asked.scheme);
        let sent = Place {
            scheme,
            host: self.host.clone().unwrap_or_else(|| asked.host.clone()),
            port: match self.port {
                Some(port) => port,
                // A port that is not the usual one says where the server is.
                None if asked.port == asked.scheme.port() => scheme.port(),
                None => asked.port,
            },
        };
        (sent != *asked).then_some(sent)
    }

    /// The path and query that a request for these is sent with; none if they stay to the byte.
    pub fn path(&self, asked: &[u8], ids: &Ids<'_>) -> Option<Vec<u8>> {
        // OPTIONS may ask for `*`.
        if !asked.starts_with(b"/") {
            return None;
        }
        let (path, query) = match memchr::memchr(b'?', asked) {
            Some(mark) => (&asked[..mark], Some(&asked[mark + 1..])),
            None => (asked, None),
        };
        let moved = (self.stripped != self.prefix)
            .then(|| exchange(path, &self.stripped, &self.prefix))
            .flatten();
        let asking = self.query.of(query, ids);
        if moved.is_none() && asking.is_none() {
            return None;
        }
        let mut sent = moved.unwrap_or_else(|| path.to_vec());
        let query = match &asking {
            Some(query) if query.is_empty() => None,
            Some(query) => Some(query.as_slice()),
            None => query,
        };
        if let Some(query) = query {
            sent.push(b'?');
            sent.extend_from_slice(query);
        }
        (sent != asked).then_some(sent)
    }

    /// Whether paths of responses are other ones for the client.
    pub(super) fn moves_paths(&self) -> bool {
        self.stripped != self.prefix
    }
}

/// A path that begins with `new` where it began with `old`; none if it does not begin with that. Whole segments count.
pub(super) fn exchange(path: &[u8], old: &str, new: &str) -> Option<Vec<u8>> {
    let behind = |path: &[u8]| -> Option<Vec<u8>> {
        // As many segments as there are in what is to go, compared as a server understands them.
        let segments = old.bytes().filter(|byte| *byte == b'/').count();
        let mut slashes = memchr::memchr_iter(b'/', path);
        let end = slashes.nth(segments).unwrap_or(path.len());
        let (begin, rest) = path.split_at(end);
        let same = old.is_empty() || plain(begin) == plain(old.as_bytes());
        same.then(|| rest.to_vec())
    };
    let rest = behind(path).or_else(|| behind(&plain(path)))?;
    let mut moved = new.as_bytes().to_vec();
    moved.extend(rest);
    if moved.is_empty() {
        moved.push(b'/');
    }
    Some(moved)
}

impl Query {
    /// The query that a request with this one is sent with, empty for none; none if it stays to the byte.
    fn of(&self, asked: Option<&[u8]>, ids: &Ids<'_>) -> Option<Vec<u8>> {
        if self.remove.is_empty() && self.set.is_empty() && self.add.is_empty() {
            return None;
        }
        let mut set: Vec<Option<&(String, Value)>> = self.set.iter().map(Some).collect();
        let mut pairs: Vec<Vec<u8>> = Vec::new();
        for pair in asked.into_iter().flat_map(|query| query.split(|byte| *byte == b'&')) {
            let name = decoded(pair.split(|byte| *byte == b'=').next().unwrap_or_default(), true);
            if self.remove.iter().any(|removed| removed.as_bytes() == &*name) {
                continue;
            }
            let Some(at) = self.set.iter().position(|(known, _)| known.as_bytes() == &*name) else {
                pairs.push(pair.to_vec());
                continue;
            };
            // Of several the first has the place.
            if let Some((name, value)) = set[at].take() {
                pairs.push(encoded_pair(name, &value.bytes(ids)));
            }
        }
        let added = set.into_iter().flatten().chain(&self.add);
        pairs.extend(added.map(|(name, value)| encoded_pair(name, &value.bytes(ids))));
        Some(pairs.join(&b'&'))
    }
}

/// A parameter of a query.
fn encoded_pair(name: &str, value: &[u8]) -> Vec<u8> {
    format!("{}={}", encoded(name.as_bytes(), false), encoded(value, false)).into_bytes()
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.scheme, &self.host) {
            (Some(scheme), Some(host)) => parts.push(format!("go to {}://{host}", scheme.name())),
            (Some(scheme), None) => parts.push(format!("go by {}", scheme.name())),
            (None, Some(host)) => parts.push(format!("go to {host}")),
            (None, None) => {}
        }
        if let Some(port) = self.port {
            parts.push(format!("go to port {port}"));
        }
        if self.moves_paths() {
            let name = |prefix: &str| {
                if prefix.is_empty() {
                    "/".to_owned()
                } else {
                    format!("{prefix}/")
                }
            };
            parts.push(format!(
                "ask for {}… instead of {}…",
                name(&self.prefix),
                name(&self.stripped)
            ));
        }
        let names = |entries: &[(String, Value)]| {
            let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
            names.join(", ")
        };
        for (does, names) in [
            ("lose the parameters", self.query.remove.join(", ")),
            ("have the parameters", names(&self.query.set)),
            ("have as well the parameters", names(&self.query.add)),
        ] {
            if !names.is_empty() {
                parts.push(format!("{does} {names}"));
            }
        }
        if self.preserves_host {
            parts.push("keep their Host".to_owned());
        }
        write!(f, "requests {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::value::tests::with_known, *};

    /// A rewrite from TOML's values, as JSON.
    #[track_caller]
    fn rewrite(options: &str, path: Option<&str>) -> Rewrite {
        let mut options: RewriteOptions = serde_json::from_str(options).unwrap();
        let matches = path.map_or_else(String::new, |path| format!(r#""path": "{path}""#));
        options.complete(&serde_json::from_str(&format!("{{ {matches} }}")).unwrap());
        let mut problems = Vec::new();
        let built = with_known(|known| options.build(known, &mut problems));
        assert!(problems.is_empty(), "{problems:?}");
        built.unwrap()
    }

    /// The place of a URL without a path.
    fn place(scheme: Scheme, host: &str, port: u16) -> Place {
        Place {
            scheme,
            host: host.to_owned(),
            port,
        }
    }

    #[track_caller]
    fn check_place(options: &str, asked: (Scheme, &str, u16), sent: &str) {
        let asked = place(asked.0, asked.1, asked.2);
        let found = rewrite(options, None).place(&asked).unwrap_or(asked);
        assert_eq!(found.to_string(), sent, "{options}");
    }

    #[track_caller]
    fn check_path(options: &str, matches: Option<&str>, asked: &str, sent: &str) {
        let ids = Ids {
            run: "RUN",
            request: &"RUN-7",
        };
        let found = rewrite(options, matches).path(asked.as_bytes(), &ids);
        let found = found.map_or_else(|| asked.to_owned(), |path| String::from_utf8(path).unwrap());
        assert_eq!(found, sent, "{options}");
    }

    #[test]
    fn a_request_goes_to_the_place_that_is_named() {
        use Scheme::{Http, Https};
        check_place(r#"{ "scheme": "https" }"#, (Http, "h", 80), "https://h");
        check_place(r#"{ "scheme": "https" }"#, (Http, "h", 8080), "https://h:8080");
        check_place(r#"{ "scheme": "http" }"#, (Https, "h", 443), "http://h");
        check_place(r#"{ "host": "B." }"#, (Http, "a", 80), "http://b");
        check_place(r#"{ "host": "b" }"#, (Https, "a", 8443), "https://b:8443");
        check_place(r#"{ "host": "::1", "port": 81 }"#, (Http, "a", 80), "http://[::1]:81");
        check_place(r#"{ "scheme": "https", "port": 80 }"#, (Http, "a", 80), "https://a:80");
        let nothing = rewrite(r#"{ "scheme": "http", "host": "a" }"#, None);
        assert_eq!(nothing.place(&place(Http, "a", 80)), None);
    }

    #[test]
    fn the_beginning_of_a_path_is_exchanged() {
        let v2 = r#"{ "path-prefix": "/v2" }"#;
        check_path(v2, Some("/v1/**"), "/v1/a/b?c=/v1", "/v2/a/b?c=/v1");
        check_path(v2, Some("/v1/**"), "/v1", "/v2");
        check_path(v2, Some("/v1/**"), "/v1/", "/v2/");
        check_path(v2, Some("/v1/**"), "/%761/%2f", "/v2/%2f");
        check_path(v2, Some("/v1/**"), "/a/../v1/b", "/v2/b");
        check_path(v2, Some("/v1/{id}/x"), "/v1/7/x", "/v2/7/x");
        check_path(v2, Some("/old"), "/old?a", "/v2?a");
        check_path(v2, Some("/**"), "/a", "/v2/a");
        check_path(v2, None, "/a", "/v2/a");
        check_path(v2, None, "/", "/v2/");
        let both = r#"{ "path-prefix": "/x/y/", "strip-prefix": "/a/b/" }"#;
        check_path(both, Some("/v1/**"), "/a/b/c", "/x/y/c");
        check_path(both, None, "/a/bc", "/a/bc");
        check_path(both, None, "/a", "/a");
        let strip = r#"{ "strip-prefix": "/v1" }"#;
        check_path(strip, None, "/v1/a", "/a");
        check_path(strip, None, "/v1?a", "/?a");
        check_path(strip, None, "//v1/a", "//v1/a");
        check_path(strip, None, "*", "*");
    }

    #[test]
    fn parameters_are_removed_set_and_added_and_others_stay_to_the_byte() {
        let query = |query: &str| format!(r#"{{ "query": {query} }}"#);
        let set = query(r#"{ "set": { "a": "1 &", "new": "${request.id}" } }"#);
        check_path(
            &set,
            None,
            "/?x=%2f&a=0&y&a=2&&z=+",
            "/?x=%2f&a=1%20%26&y&&z=+&new=RUN-7",
        );
        check_path(&set, None, "/p", "/p?a=1%20%26&new=RUN-7");
        let remove = query(r#"{ "remove": ["k d"] }"#);
        check_path(&remove, None, "/?k+d=1&k%20d=2&k", "/?k");
        check_path(&remove, None, "/?k+d=1", "/");
        check_path(&remove, None, "/?", "/");
        check_path(&remove, None, "/a?b", "/a?b");
        let add = query(r#"{ "add": { "ü": "1" } }"#);
        check_path(&add, None, "/?%C3%BC=0", "/?%C3%BC=0&%C3%BC=1");
    }

    #[test]
    fn what_is_no_place_is_told() {
        for (options, key, part) in [
            (r#"{ "host": "h:81" }"#, "host", "port = 81"),
            (r#"{ "host": "*.h" }"#, "host", "no host"),
            (r#"{ "host": "http://h" }"#, "host", ""),
            (r#"{ "port": 0 }"#, "port", "begin with 1"),
            (r#"{ "path-prefix": "v2" }"#, "path-prefix", "`/v2`"),
            (r#"{ "strip-prefix": "/a?b" }"#, "strip-prefix", "`?`"),
            (
                r#"{ "query": { "set": { "a": "${x}" } } }"#,
                "query",
                "there is no `${x}`",
            ),
        ] {
            let options: RewriteOptions = serde_json::from_str(options).unwrap();
            let mut problems = Vec::new();
            with_known(|known| options.build(known, &mut problems));
            let [problem] = problems.as_slice() else {
                panic!("{problems:?}");
            };
            assert_eq!(problem.key[..2], [ID, key]);
            assert!(problem.reason.contains(part), "{problem:?}");
        }
    }
}
