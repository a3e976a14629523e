//! Decision tables: which request fits which pattern.

use serde_json::{Value, json};

use super::*;
use crate::policy::rules::Fields;

/// Header fields.
struct Head(&'static [(&'static str, &'static str)]);

impl Fields for Head {
    fn first(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(found.1.as_bytes())
    }

    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        self.0
            .iter()
            .for_each(|(name, value)| see(name.as_bytes(), value.as_bytes()));
    }
}

/// A table `match`, as it is written.
#[track_caller]
fn pattern(table: &Value) -> Match {
    serde_json::from_value(table.clone()).unwrap_or_else(|error| panic!("{table}: {error}"))
}

#[test]
fn a_host_fits_or_does_not() {
    for (pattern, host, expected) in [
        ("api.example.com", "api.example.com", true),
        ("API.Example.COM", "api.example.com", true),
        ("api.example.com.", "api.example.com", true),
        ("api.example.com", "api.example.org", false),
        ("api.example.com", "x.api.example.com", false),
        ("api.example.com", "xapi.example.com", false),
        ("*.example.com", "api.example.com", true),
        ("*.EXAMPLE.com.", "api.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "a.b.example.com", false),
        ("*.example.com", "notexample.com", false),
        ("*.example.com", ".example.com", false),
        ("**.example.com", "api.example.com", true),
        ("**.example.com", "a.b.c.example.com", true),
        ("**.example.com", "example.com", false),
        ("api-*.example.com", "api-7.example.com", true),
        ("api-*.example.com", "api-.example.com", true),
        ("api-*.example.com", "api-7.x.example.com", false),
        ("api.*.example.com", "api.eu.example.com", true),
        ("api.*.example.com", "api.example.com", false),
        ("api.**.com", "api.a.b.com", true),
        ("api.**.com", "api.com", false),
        ("a.**.b.**.c", "a.x.b.y.b.z.c", true),
        ("*", "example.com", true),
        ("*", "127.0.0.1", true),
        ("**", "::1", true),
        ("localhost", "localhost", true),
        ("localhost", "127.0.0.1", false),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("10.20.0.0/16", "10.20.255.1", true),
        ("10.20.0.0/16", "10.21.0.1", false),
        ("10.20.7.7/16", "10.20.0.1", true),
        ("0.0.0.0/0", "8.8.8.8", true),
        ("0.0.0.0/0", "::1", false),
        ("0.0.0.0/0", "example.com", false),
        ("::1", "::1", true),
        ("[::1]", "::1", true),
        ("[0:0:0:0:0:0:0:1]", "::1", true),
        ("2001:DB8::/32", "2001:db8:1::2", true),
        ("[2001:db8::]/32", "2001:db9::", false),
        ("::ffff:127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "::ffff:127.0.0.1", true),
        ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("::/0", "2001:db8::1", true),
        ("api.example.com:80", "api.example.com", true),
        ("api.example.com:443", "api.example.com", false),
        ("*.example.com:80", "api.example.com", true),
        ("*:8080", "api.example.com", false),
        ("[::1]:80", "::1", true),
        ("[::1]:81", "::1", false),
        ("10.0.0.0/8:80", "10.0.0.1", true),
        ("10.0.0.0/8:81", "10.0.0.1", false),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", true),
        ("my_host", "my_host", true),
    ] {
        let read: HostPattern = pattern.parse().unwrap_or_else(|reason| panic!("{reason}"));
        let asked = Asked {
            host,
            ..Asked::tunnel("", 80)
        };
        let fits = read.fits(host, Subject::of(&asked).address(), 80);
        assert_eq!(fits, expected, "{pattern} and {host}");
        assert_eq!(read.to_string(), pattern);
    }
}

#[test]
fn a_host_that_is_none_is_told() {
    for (pattern, told) in [
        ("", "is missing"),
        (".", "is missing"),
        ("a..b", "two dots"),
        (".example.com", "write `*.example.com`"),
        ("http://example.com/", "is a URL"),
        ("example.com/v1", "`/` stands in no name"),
        ("exa mple.com", "stands in no name"),
        ("bücher.example", "xn--"),
        ("10.0.*", "10.0.0.0/8"),
        ("10.*.*.*", "10.0.0.0/8"),
        ("a**.example.com", "whole labels"),
        ("10.0.0.0/33", "from 0 to 32"),
        ("::1/129", "from 0 to 128"),
        ("example.com:0", "1 to 65535"),
        ("example.com:http", "1 to 65535"),
        ("example.com:99999", "1 to 65535"),
        ("[::1", "no IPv6 address"),
        ("[::g]:80", "no IPv6 address"),
        ("a:b:80", "no IPv6 address"),
    ] {
        let reason = pattern.parse::<HostPattern>().expect_err(pattern);
        assert!(reason.contains(told), "{pattern}: {reason}");
    }
}

#[test]
fn a_path_fits_or_does_not() {
    for (pattern, path, expected) in [
        ("/v1", "/v1", true),
        ("/v1", "/v1/", false),
        ("/v1/", "/v1/", true),
        ("/v1/", "/v1", false),
        ("/v1", "/V1", false),
        ("/v1", "/v1?x=1", true),
        ("/v1", "/v1?/../v2", true),
        ("/v1", "/v1x", false),
        ("/", "/", true),
        ("/", "", true),
        ("/", "?x=1", true),
        ("/", "/v1", false),
        ("/*", "/v1", true),
        ("/*", "/", false),
        ("/*", "/v1/x", false),
        ("/**", "/", true),
        ("/**", "/v1/x//y/", true),
        ("/v1/**", "/v1", true),
        ("/v1/**", "/v1/", true),
        ("/v1/**", "/v1/a/b", true),
        ("/v1/**", "/v10", false),
        ("/v1/*/items", "/v1/7/items", true),
        ("/v1/*/items", "/v1/7/8/items", false),
        ("/v1/*/items", "/v1//items", false),
        ("/v1/**/items", "/v1/items", true),
        ("/v1/**/items", "/v1/7/8/items", true),
        ("/v1/**/items", "/v1/7/items/8", false),
        ("/**/a/**/b", "/a/x/a/y/b", true),
        ("/**/a/**/b", "/a/x/a/y/c", false),
        ("/v1/charges/{id}", "/v1/charges/ch_1", true),
        ("/v1/charges/{id}", "/v1/charges/", false),
        ("/v1/charges/{id}", "/v1/charges/ch_1/refunds", false),
        ("/v1/customers/{id}/**", "/v1/customers/7/cards/8", true),
        ("/v1/customers/{id}/**", "/v1/customers/7", true),
        ("/v1/customers/{id}/**", "/v1/customers", false),
        ("/v1/{id}.json", "/v1/7.json", true),
        ("/v1/{id}.json", "/v1/.json", false),
        ("/v1/report-*", "/v1/report-", true),
        ("/v1//x", "/v1//x", true),
        ("/v1//x", "/v1/x", false),
        ("/a%2Fb", "/a%2fb", true),
        ("/a%2Fb", "/a/b", false),
        ("/a/b", "/a%2Fb", false),
        ("/a/*", "/a/b%2Fc", true),
        ("/admin", "/%61dmin", true),
        ("/%61dmin", "/admin", true),
        ("/a%20b", "/a%20b", true),
        ("/a~b", "/a%7Eb", true),
        ("/admin", "/v1/../admin", true),
        ("/v1/**", "/v1/../admin", false),
        ("/v1/**", "/v1/%2e%2E/admin", false),
        ("/v1/**", "/v1/..;/admin", true),
        ("/admin", "/./admin", true),
        ("/admin/", "/admin/.", true),
        ("/admin/", "/admin/x/..", true),
        ("/admin", "/../../admin", true),
        ("/", "/..", true),
        ("/.well-known/*", "/.well-known/x", true),
        ("/a", "/%", false),
        ("/%zz", "/%zz", true),
        ("/v1", "*", false),
    ] {
        let read: PathPattern = pattern.parse().unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!(
            read.fits(&path::plain(path.as_bytes())),
            expected,
            "{pattern} and {path}"
        );
        assert_eq!(read.to_string(), pattern);
    }
}

#[test]
fn a_path_that_is_none_is_told() {
    for (pattern, told) in [
        ("", "is missing"),
        ("v1", "write `/v1`"),
        ("*", "write `/*`"),
        ("http://h/v1", "is a URL"),
        ("/v1?x", "a query is no part"),
        ("/v1#x", "a query is no part"),
        ("/v 1", "encoded with %"),
        ("/vü", "encoded with %"),
        ("/a**", "whole segments"),
        ("/v1/../x", "is resolved"),
        ("/{id", "no other half"),
        ("/id}", "no other half"),
        ("/{}", "a name is missing"),
    ] {
        let reason = pattern.parse::<PathPattern>().expect_err(pattern);
        assert!(reason.contains(told), "{pattern}: {reason}");
    }
}

#[test]
fn many_gaps_in_a_path_take_no_time() {
    let read: PathPattern = format!("{}/end", "/**/a".repeat(30)).parse().unwrap();
    assert!(!read.fits("/a".repeat(3_000).as_bytes()));
}

/// A request with a head of a few fields.
const ASKED: Asked<'static> = Asked {
    scheme: "http",
    method: "POST",
    host: "api.example.com",
    port: 8080,
    path: b"/v1/charges?limit=1",
    fields: &Head(&[
        ("Accept", "text/html"),
        ("accept", "application/json"),
        ("X-Empty", ""),
        ("Host", "api.example.com:8080"),
    ]),
};

#[test]
fn all_parts_must_fit_and_one_of_a_list() {
    for (table, misfit) in [
        (json!({}), None),
        (json!({ "host": "api.example.com" }), None),
        (json!({ "host": ["a", "*.example.com"] }), None),
        (
            json!({ "host": ["a", "b:80"] }),
            Some("host api.example.com, port 8080 is not a or b:80"),
        ),
        (json!({ "port": 8080 }), None),
        (json!({ "port": "8080" }), None),
        (json!({ "port": "8000-8999" }), None),
        (json!({ "port": [80, "8080 - 8081"] }), None),
        (json!({ "port": [80, "81-90"] }), Some("port 8080 is not 80 or 81-90")),
        (json!({ "method": "POST" }), None),
        (json!({ "method": ["GET", "post"] }), None),
        (
            json!({ "method": ["GET", "HEAD"] }),
            Some("method POST is not GET or HEAD"),
        ),
        (json!({ "path": "/v1/**" }), None),
        (json!({ "path": ["/v2", "/v1/*"] }), None),
        (json!({ "path": "/v2" }), Some("path /v1/charges is not /v2")),
        (json!({ "header": { "X-Empty": "present" } }), None),
        (json!({ "header": { "x-empty": "" } }), None),
        (json!({ "header": { "X-None": "absent" } }), None),
        (
            json!({ "header": { "X-None": "present" } }),
            Some("header X-None is not present"),
        ),
        (
            json!({ "header": { "X-Empty": "absent" } }),
            Some("header X-Empty is not absent"),
        ),
        (json!({ "header": { "ACCEPT": "application/*" } }), None),
        (
            json!({ "header": { "Accept": "Application/*" } }),
            Some("header Accept is not Application/*"),
        ),
        (json!({ "header": { "Accept": ["a", "text/html"] } }), None),
        (
            json!({ "header": { "Accept": "*", "X-None": "*" } }),
            Some("header X-None is not *"),
        ),
        (
            json!({ "host": "*.example.com", "method": "GET", "path": "/v1/**" }),
            Some("method POST is not GET"),
        ),
        (
            json!({ "host": "api.example.com", "port": 8080, "method": "POST", "path": "/v1/**", "header": { "accept": "*json" } }),
            None,
        ),
    ] {
        let found = pattern(&table).misfit(&Subject::of(&ASKED));
        assert_eq!(found.as_deref(), misfit, "{table}");
    }
}

#[test]
fn a_tunnel_has_a_host_a_port_and_a_method() {
    let asked = Asked::tunnel("api.example.com", 443);
    for (table, fits) in [
        (json!({}), true),
        (json!({ "host": "api.example.com", "port": 443 }), true),
        (json!({ "method": "CONNECT" }), true),
        (json!({ "method": ["GET", "POST"] }), false),
        (json!({ "path": "/**" }), false),
        (json!({ "header": { "Accept": "present" } }), false),
        (json!({ "header": { "Accept": "absent" } }), false),
    ] {
        assert_eq!(pattern(&table).fits(&Subject::of(&asked)), fits, "{table}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for (table, told) in [
        (json!({ "hots": "a" }), "unknown field"),
        (json!({ "host": [] }), "an empty list fits nothing"),
        (json!({ "host": 5 }), "string"),
        (json!({ "port": 0 }), "1 to 65535"),
        (json!({ "port": -1 }), "1 to 65535"),
        (json!({ "port": "9-8" }), "write `8-9`"),
        (json!({ "port": true }), "a port such as 443"),
        (json!({ "header": { "a b": "x" } }), "`a b` is no name"),
        (json!({ "header": { "a": 5 } }), "string"),
    ] {
        let error = serde_json::from_value::<Match>(table.clone())
            .expect_err(&table.to_string())
            .to_string();
        assert!(error.contains(told), "{table}: {error}");
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    for table in [
        json!({}),
        json!({ "host": "*.example.com", "port": 80, "method": ["GET", "HEAD"] }),
        json!({ "port": "80-90", "path": ["/a", "/{b}"], "header": { "X-A": ["a", "present"] } }),
    ] {
        assert_eq!(serde_json::to_value(pattern(&table)).unwrap(), table);
    }
}
