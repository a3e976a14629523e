//! `amb policy test`: what would hold for a request, and who says so. Nothing is sent.

mod ruled;

use std::{fmt::Write as _, net::IpAddr};

use serde_json::json;

use self::ruled::Ruled;
use super::{
    Config, Source, Sources,
    error::ConfigError,
    schema, secret,
    show::{self, Effective},
};
use crate::policy::{
    auth::Destination,
    edit::{
        rewrite::{Place, Scheme},
        value::Ids,
    },
    matching::{Subject, host::of_request},
    rules::{Asked, Fields, Rules},
    tls::Tls,
};

/// The tables that are not shown: those about the run, and those about requests whose meaning for this one is told.
const NOT_SHOWN: [&str; 12] = [
    "access-log",
    "assert",
    "auth",
    "egress",
    "log",
    "metrics",
    "redact",
    "report",
    "route",
    "run",
    "secret",
    "ui",
];

/// A request that somebody wants to know about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// `GET`; `CONNECT` for a tunnel.
    method: String,
    /// As in [`Asked::host`].
    host: String,
    /// As in [`Asked::port`].
    port: u16,
    /// Path and query; empty for a `CONNECT`.
    path: String,
    /// Whether amb would see only a tunnel: so it does of what is encrypted, unless it decrypts it.
    tunnel: bool,
    /// Whether it is encrypted.
    encrypted: bool,
    /// Names and values.
    fields: Head,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// `allow`, `deny` or `depends`: see [`Ruled::action`].
    pub(super) action: &'static str,
    /// The rule that says so.
    pub(super) rule: Option<String>,
    /// Where that was written.
    pub(super) origin: Option<String>,
    /// The route that it goes by.
    pub(super) route: Option<String>,
}

/// Header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Head(Vec<(String, String)>);

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

impl Trial {
    /// Reads `[METHOD] URL` and fields of the form `NAME: VALUE`.
    ///
    /// # Errors
    /// What is no request.
    pub fn read(words: &[String], headers: &[String]) -> Result<Self, ConfigError> {
        read(words, headers).map_err(ConfigError::other)
    }

    /// What would become of it, and it in a line as amb would see it. `address` is what its name leads to, if that is known.
    pub(super) fn fate(&self, config: &Config, sources: &Sources, address: Option<IpAddr>) -> (String, Fate) {
        let trial = self.seen(&config.policy.tls);
        let asked = trial.asked();
        let ruled = config.policy.egress.as_ref().map(|egress| match address {
            Some(address) => Ruled::by_address(egress, sources, &asked, address),
            None => Ruled::of(egress, sources, &asked),
        });
        let (action, rule, origin) =
            ruled.map_or(("allow", None, None), |ruled| (ruled.action, ruled.rule, ruled.origin));
        let route = config.policy.rules_for(&asked).route.map(ToString::to_string);
        let fate = Fate {
            action,
            rule,
            origin,
            route,
        };
        (trial.line(), fate)
    }

    /// It as amb would see it.
    fn seen(&self, tls: &Tls) -> Self {
        Self {
            tunnel: self.tunnel && !(self.encrypted && tls.opens(&self.host, &self.host, self.port)),
            ..self.clone()
        }
    }

    /// `http`, or `https`.
    fn scheme(&self) -> &'static str {
        if self.encrypted { "https" } else { "http" }
    }

    /// What policies look at.
    fn asked(&self) -> Asked<'_> {
        let tunnel = Asked::tunnel(&self.host, self.port);
        if self.tunnel {
            return tunnel;
        }
        Asked {
            scheme: self.scheme(),
            method: &self.method,
            path: self.path.as_bytes(),
            fields: &self.fields,
            ..tunnel
        }
    }

    /// It in a line.
    fn line(&self) -> String {
        let Self {
            method,
            host,
            port,
            path,
            ..
        } = self;
        let (scheme, usual) = (self.scheme(), if self.encrypted { 443 } else { 80 });
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        if self.tunnel {
            format!("CONNECT {host}:{port}")
        } else if *port == usual {
            format!("{method} {scheme}://{host}{path}")
        } else {
            format!("{method} {scheme}://{host}:{port}{path}")
        }
    }
}

/// See [`Trial::read`].
fn read(words: &[String], headers: &[String]) -> Result<Trial, String> {
    let (method, url) = match words {
        [url] => ("GET", url),
        [method, url] => (method.as_str(), url),
        _ => return Err("write [METHOD] URL".to_owned()),
    };
    let method = method.to_ascii_uppercase();
    let mut fields = Vec::new();
    for header in headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("`{}` is no header: write NAME: VALUE", header.escape_debug()))?;
        fields.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let fields = Head(fields);
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None if method == "CONNECT" => (String::new(), url.as_str()),
        None => {
            return Err(format!(
                "`{}` is no URL: write http://{}",
                url.escape_debug(),
                url.escape_debug()
            ));
        }
    };
    let usual = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        "" => None,
        other => {
            return Err(format!(
                "amb carries no `{}` requests, only http and tunnels",
                other.escape_debug()
            ));
        }
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = of_request(authority, usual)?;
    let encrypted = scheme == "https" && method != "CONNECT";
    let tunnel = encrypted || method == "CONNECT";
    let path = match path {
        _ if method == "CONNECT" => String::new(),
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        path => path.to_owned(),
    };
    Ok(Trial {
        method,
        host,
        port,
        path,
        tunnel,
        encrypted,
        fields,
    })
}

/// A route, as far as a trial is concerned.
struct Tried {
    /// What it is called.
    id: String,
    /// Where it was written.
    place: String,
    /// Why it does not fit; none if it does.
    misfit: Option<String>,
}

/// What is changed on the way.
struct Changes {
    /// Where the request goes instead, as a URL; none if it goes where it asks.
    sent_to: Option<String>,
    /// The id of each change, and what it does.
    edits: Vec<(String, String)>,
}

impl Changes {
    /// What these rules change. A tunnel is changed by none.
    fn of(trial: &Trial, rules: &Rules) -> Self {
        let edits = rules.edits.as_ref().filter(|_| !trial.tunnel);
        let sent_to = edits.and_then(|edits| edits.rewrite.as_ref()).and_then(|rewrite| {
            let ids = Ids {
                run: "RUN-ID",
                request: &"REQUEST-ID",
            };
            let asked = Place {
                scheme: if trial.encrypted { Scheme::Https } else { Scheme::Http },
                host: trial.host.clone(),
                port: trial.port,
            };
            let (place, path) = (rewrite.place(&asked), rewrite.path(trial.path.as_bytes(), &ids));
            let changes = place.is_some() || path.is_some();
            let path = path.map_or_else(
                || trial.path.clone(),
                |path| String::from_utf8_lossy(&path).into_owned(),
            );
            changes.then(|| format!("{}{path}", place.unwrap_or(asked)))
        });
        Self {
            sent_to,
            edits: edits.map(|edits| edits.said()).unwrap_or_default(),
        }
    }

    /// Appends them, a line each.
    fn write_to(&self, text: &mut String) {
        if self.edits.is_empty() {
            return;
        }
        text.push_str("\nchanged on the way\n");
        // Writing to a string cannot fail.
        if let Some(place) = &self.sent_to {
            writeln!(text, "  sent to {place}").unwrap_or_default();
        }
        let width = self.edits.iter().map(|(id, _)| id.chars().count()).max();
        for (id, does) in &self.edits {
            let width = width.unwrap_or_default();
            writeln!(text, "  {id:<width$}  {does}").unwrap_or_default();
        }
    }
}

/// What a trial comes to, as text or as JSON.
pub fn run(config: &Config, sources: &Sources, trial: &Trial, as_json: bool) -> String {
    let trial = &trial.seen(&config.policy.tls);
    let asked = trial.asked();
    let subject = Subject::of(&asked);
    let mut tried = Vec::new();
    for (at, route) in config.policy.routes().iter().enumerate() {
        let place = sources.inside(&route_key(at, &[])).map(|source| source.place);
        let misfit = route.misfit(&subject);
        let fits = misfit.is_none();
        tried.push(Tried {
            id: route.id.to_string(),
            place: place.unwrap_or_default(),
            misfit,
        });
        if fits {
            break;
        }
    }
    let at = tried.iter().position(|route| route.misfit.is_none());
    let chosen = config.policy.rules_for(&asked);
    let template = chosen.url_template.map(ToString::to_string);
    let changes = Changes::of(trial, chosen.rules);
    let mark = if as_json { "" } else { " (route)" };
    let values = values(sources, at, mark);
    let egress = config.policy.egress.as_ref();
    let egress = egress.map(|egress| Ruled::of(egress, sources, &asked));
    let guard = config.policy.rules_for(&asked).rules.guard.as_ref();
    let credential = guard.filter(|_| !asked.is_tunnel()).and_then(|guard| {
        guard.told(Destination {
            host: asked.host,
            port: asked.port,
            is_open: asked.scheme == "http" && !config.policy.reach.stays_here(asked.host, asked.port),
        })
    });
    if as_json {
        let json = json!({
            "request": {
                "method": asked.method, "host": asked.host, "port": asked.port,
                "path": if trial.tunnel { "" } else { &trial.path }, "tunnel": trial.tunnel,
            },
            "route": at.map(|at| json!({ "id": tried[at].id, "place": tried[at].place, "url_template": template })),
            "passed_over": tried
                .iter()
                .filter(|route| route.misfit.is_some())
                .map(|route| json!({ "id": route.id, "place": route.place, "reason": route.misfit }))
                .collect::<Vec<_>>(),
            "sent_to": changes.sent_to,
            "edits": changes.edits.iter().map(|(id, does)| json!({ "id": id, "does": does })).collect::<Vec<_>>(),
            "egress": egress.map(|ruled| json!({
                "action": ruled.action, "rule": ruled.rule, "origin": ruled.origin, "message": ruled.message,
                "enforced": ruled.enforced,
            })),
            "credential": credential,
            "values": show::as_json(&values, true),
        });
        return format!("{json:#}\n");
    }
    text(
        trial,
        &tried,
        template.as_deref(),
        egress.as_ref(),
        credential.as_deref(),
        &changes,
        &values,
    )
}

/// A trial as text.
fn text(
    trial: &Trial,
    tried: &[Tried],
    template: Option<&str>,
    egress: Option<&Ruled>,
    credential: Option<&str>,
    changes: &Changes,
    values: &[Effective],
) -> String {
    let mut text = trial.line();
    text.push('\n');
    text.push_str(match (trial.encrypted, trial.tunnel) {
        (true, true) => "  https is encrypted: amb sees a tunnel, which has neither a path nor headers\n",
        (true, false) => "  https of this host is decrypted: amb sees the request\n",
        (false, _) => "",
    });
    text.push('\n');
    let widths = |of: fn(&Tried) -> &str| {
        tried
            .iter()
            .map(|route| of(route).chars().count())
            .max()
            .unwrap_or_default()
    };
    let (first, second) = (widths(|route| &route.id), widths(|route| &route.place));
    for Tried { id, place, misfit } in tried {
        let (mark, why) = match misfit {
            None => ("→", "fits"),
            Some(reason) => (" ", reason.as_str()),
        };
        // Writing to a string cannot fail.
        writeln!(text, "{mark} {id:<first$}  {place:<second$}  {why}").unwrap_or_default();
    }
    match (tried.last(), template) {
        (None, _) => text.push_str("  there are no routes: what is said for all requests holds\n"),
        (Some(Tried { misfit: Some(_), .. }), _) => {
            text.push_str("  no route fits: what is said for all requests holds\n");
        }
        (Some(_), Some(template)) => writeln!(text, "  reported as {template}").unwrap_or_default(),
        (Some(_), None) => {}
    }
    if let Some(ruled) = egress {
        writeln!(text, "\n  egress: {}", ruled.sentence).unwrap_or_default();
    }
    changes.write_to(&mut text);
    if let Some(credential) = credential {
        writeln!(text, "\n  {credential}").unwrap_or_default();
    }
    text.push('\n');
    for line in show::as_toml(values, true).lines() {
        text.extend(["  ", line, "\n"]);
    }
    text
}

/// The key of what the route at this place says of another key.
fn route_key(at: usize, key: &[String]) -> Vec<String> {
    [&["route".to_owned(), at.to_string()], key].concat()
}

/// What holds for a request that goes by the route at this place, if it goes by one; `mark` stands behind the places of what
/// the route says.
fn values(sources: &Sources, route: Option<usize>, mark: &str) -> Vec<Effective> {
    let mut tables: Vec<&str> = schema::keys().iter().map(|key| key.path[0].as_str()).collect();
    tables.dedup();
    tables.retain(|table| !NOT_SHOWN.contains(table));
    let all = tables
        .into_iter()
        .flat_map(|table| show::effective(sources, &[table.to_owned()]));
    all.map(|mut effective| {
        let own = route.map(|at| route_key(at, &effective.path));
        if let Some((value, source)) = own.and_then(|key| Some((sources.value_inside(&key)?, sources.inside(&key)?))) {
            effective.value = secret::value(&effective.path, value);
            effective.sources = vec![Source {
                place: format!("{}{mark}", source.place),
                ..source
            }];
        }
        effective
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request that these words are, in a line.
    fn line(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        read(&words, &[]).map(|trial| trial.line())
    }

    #[test]
    fn what_is_decrypted_is_seen() {
        let tls = Tls {
            intercept: vec!["h.test".parse().unwrap()],
            ..Tls::default()
        };
        for (url, expected) in [
            ("https://h.test/v1?x", "GET https://h.test/v1?x"),
            ("https://h.test:8443/", "GET https://h.test:8443/"),
            ("https://other.test/v1", "CONNECT other.test:443"),
            ("http://h.test/", "GET http://h.test/"),
        ] {
            let trial = read(&[url.to_owned()], &[]).unwrap().seen(&tls);
            assert_eq!(trial.line(), expected);
            assert_eq!(trial.asked().is_tunnel(), expected.starts_with("CONNECT"));
        }
    }

    #[test]
    fn a_request_is_read_as_the_proxy_would() {
        for (words, expected) in [
            (vec!["http://H.Example."], "GET http://h.example/"),
            (vec!["post", "http://h:8080/v1?x#y"], "POST http://h:8080/v1?x"),
            (vec!["http://h?x"], "GET http://h/?x"),
            (vec!["http://user:word@[::1]:81/"], "GET http://[::1]:81/"),
            (vec!["https://h/v1"], "CONNECT h:443"),
            (vec!["CONNECT", "h:22"], "CONNECT h:22"),
            (vec!["CONNECT", "https://h"], "CONNECT h:443"),
            (vec!["http://10.0.0.0/8"], "GET http://10.0.0.0/8"),
        ] {
            assert_eq!(line(&words).as_deref(), Ok(expected), "{words:?}");
        }
        for words in [
            vec!["h/v1"],
            vec!["CONNECT", "h"],
            vec!["ftp://h/"],
            vec!["http:///v1"],
            vec!["http://*.h/"],
            vec!["http://h:0/"],
        ] {
            assert!(line(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let words = ["http://h/".to_owned()];
        let trial = read(&words, &["X-A:  b: c ".to_owned()]).unwrap();
        assert_eq!(trial.fields.first("x-a"), Some(b"b: c".as_slice()));
        assert!(read(&words, &["x".to_owned()]).is_err());
    }
}
