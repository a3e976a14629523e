//! Ten thousand configurations from a seed: none panics, and each value that holds is explained by exactly one layer.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Value, json};

use super::{declared::accepts, *};
use crate::config::{
    error::dotted,
    layer::{Findings, Layer, Rank},
    schema::{self, Key},
    secret,
};

/// Random numbers by xorshift, the same ones in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// One of `range`.
    pub(super) fn roll(&mut self, range: Range<u64>) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.start + self.0 % (range.end - range.start)
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.roll(0..of.len() as u64);
        &of[usize::try_from(at).unwrap()]
    }

    /// A value that `key` takes.
    fn value(&mut self, key: &Key) -> Value {
        if !key.choices.is_empty() {
            return json!(self.pick(&key.choices).0);
        }
        let number = self.roll(1..60);
        match (key.name().as_str(), key.kind.as_str()) {
            ("report.files", _) => json!([format!("out{number}.json")]),
            ("metrics.listen", _) => json!(format!("127.0.0.1:{number}")),
            ("metrics.pushgateway", _) => json!(format!("https://user:word{number}@h{number}.test/base")),
            ("metrics.labels", _) => json!(format!("team{number}")),
            ("log.level", _) => json!(self.pick(&["debug", "warn"])),
            ("assert", _) => json!(format!("requests.total > {number}")),
            (name, _) if name.ends_with("headers.set") || name.ends_with("headers.add") => {
                json!(format!("value{number}"))
            }
            (name, _) if name.ends_with("json.set") => json!(number),
            (name, _) if name.ends_with("json.patch") => json!([{ "op": "remove", "path": format!("/{number}") }]),
            ("response-status", _) => json!(200 + number),
            ("response-body.file", _) => json!(format!("f{number}.json")),
            ("response-body.on", _) => json!([format!("{}", 400 + number), "5xx"]),
            ("connect-to", _) => json!(format!("h{number}:80")),
            ("resolve", _) => json!(format!("127.0.0.{number}")),
            ("tls.pin", _) => json!([format!("sha256/{number:042}0=")]),
            (_, "a list of files") => json!([format!("f{number}.pem")]),
            (_, kind) if kind.starts_with("a list of hosts") => json!([format!("*.h{number}.test"), "*"]),
            ("retry.hedge.max", _) => json!(number % 2),
            ("retry.backoff.base", _) => json!(format!("{number}ms")),
            (_, "a list of what to retry on") => json!(["connect-failure", "reset"]),
            (_, "a list of methods") => json!(["GET", "PUT"]),
            (_, "a number from 0 to 100") => json!(f64::from(u8::try_from(number).unwrap()) / 4.0),
            (_, "p95, or a duration with its unit") => json!(self.pick(&["p95", "50ms"])),
            (_, "true or false") => json!(number.is_multiple_of(2)),
            (_, "a text") => json!(format!("text{number}")),
            ("circuit-breaker.on", _) => json!([self.pick(&["reset", "5xx", "500"]), 503]),
            (_, kind) if kind.starts_with("a rate") => json!(format!("{number}/m")),
            (_, kind) if kind.starts_with("bytes a second") => json!(format!("{number}KiB/s")),
            (_, "a whole number") => json!(number),
            (_, "a share, above 0 up to 1") => json!(f64::from(u8::try_from(number).unwrap_or(1)) / 60.0),
            ("egress.rule", _) => json!([
                { "match": { "host": format!("h{number}.test") }, "action": "deny" },
                { "when": "request.port == 80", "action": self.pick(&["allow", "deny"]) },
            ]),
            ("route", _) => json!([
                { "match": { "host": format!("h{number}.test") } },
                { "id": self.pick(&["a", "b"]), "when": "request.port == 80", "timeout": { "connect": "2s" } },
            ]),
            ("secret", _) => json!(format!("WORD{number}")),
            ("auth", _) => json!(format!("secret:a{number}")),
            (_, "a list of texts") => json!([format!("a{number}"), format!("b{number}")]),
            (_, "a list of families") => json!([self.pick(&["proxy", "-java", "all"]), "node"]),
            (_, "an address of the loopback with a port") => json!(format!("127.0.0.1:{number}")),
            (_, "a signal, auto or none") => json!(self.pick(&["auto", "none", "TERM", "USR1"])),
            (_, "the URL of a proxy, or none") => json!(format!("http://user:word{number}@p:80")),
            (_, kind) if kind.starts_with("a duration") => json!(format!("{number}s")),
            (_, kind) if kind.starts_with("a size") => json!(format!("{number}KiB")),
            (_, kind) if kind.starts_with("a whole number from ") => json!(number),
            (name, kind) => panic!("say here how to make a value for {name}: {kind}"),
        }
    }

    /// A value that `key` may not take at all.
    fn nonsense(&mut self) -> Value {
        let values = [
            json!(-1),
            json!(""),
            json!([]),
            json!({}),
            json!([[]]),
            json!(1.5),
            json!("\u{0}"),
            json!(true),
        ];
        self.pick(&values).clone()
    }

    /// What a layer says: each key with its value, and whether that is added.
    fn layer(&mut self) -> BTreeMap<Vec<String>, (Value, bool)> {
        let count = self.roll(0..5);
        (0..count)
            .map(|_| {
                let keys: Vec<&Key> = schema::keys().iter().filter(|key| !key.is_inside()).collect();
                let key = *self.pick(&keys);
                let mut path = key.path.clone();
                if key.entry.is_some() {
                    let number = self.roll(0..3);
                    path.push(match key.entry.as_deref() {
                        Some("NAME") => format!("X-Name-{number}"),
                        Some("LABEL") => format!("name_{number}"),
                        Some("POINTER") => format!("/name/{number}"),
                        Some("STATUS") => format!("40{number}"),
                        _ if key.name() == "secret" => format!("host{number}"),
                        _ => format!("host{number}:80"),
                    });
                    // These entries are tables.
                    match key.name().as_str() {
                        "secret" => path.push("env".to_owned()),
                        "auth" => path.push("bearer".to_owned()),
                        _ => {}
                    }
                }
                let adds = key.is_list && key.entry.is_none() && self.roll(0..2) == 0;
                (path, (self.value(key), adds))
            })
            .collect()
    }
}

/// What a layer says, as TOML.
fn toml(layer: &BTreeMap<Vec<String>, (Value, bool)>) -> String {
    layer.iter().fold(String::new(), |text, (path, (value, adds))| {
        let mut path = path.clone();
        if *adds {
            path.last_mut().unwrap().insert_str(0, "extend-");
        }
        text + &format!("{} = {}\n", dotted(&path), secret::toml(value))
    })
}

/// A layer that was read from a file which holds `text`.
fn read(rank: &Rank, number: usize, text: &str, findings: &mut Findings) -> Vec<Layer> {
    let name = format!("{number}.toml");
    let file = files::File::new(name.clone(), name.into(), text.to_owned());
    Layer::of_file(rank, file, findings)
        .into_iter()
        .map(|(layer, _)| layer)
        .collect()
}

/// Adds routes or rules as a stronger layer does: in front, but one whose id is known takes the place of that.
fn put_in_front(list: &mut Vec<Value>, added: Vec<Value>) {
    let mut new = Vec::new();
    for route in added {
        let known = list
            .iter_mut()
            .find(|other| route.get("id").is_some() && other.get("id") == route.get("id"));
        match known {
            Some(known) => *known = route,
            None => new.push(route),
        }
    }
    list.splice(0..0, new);
}

/// The ranks of the files that layers are put in, the weakest first.
const RANKS: [Rank; 4] = [Rank::System, Rank::User, Rank::Project, Rank::Explicit];

#[test]
fn each_value_that_holds_is_explained_by_exactly_one_winner() {
    let mut dice = Dice(0x5eed);
    for round in 0..10_000_u32 {
        let count = usize::try_from(dice.roll(1..5)).unwrap();
        let said: Vec<_> = (0..count).map(|_| dice.layer()).collect();
        let mut findings = Findings::default();
        let layers = said
            .iter()
            .zip(&RANKS)
            .enumerate()
            .flat_map(|(at, (layer, rank))| read(rank, at, &toml(layer), &mut findings))
            .collect();
        assert!(
            findings.errors.is_empty(),
            "{}: {said:?}",
            ConfigErrors::new(findings.errors, Vec::new())
        );
        let (options, sources) = Sources::of(layers, Vec::new()).unwrap();
        let mut problems = Vec::new();
        drop(build(
            options,
            Background::default(),
            &Request::default(),
            false,
            &mut problems,
        ));

        // The oracle: who says something last, and who adds to that.
        let mut paths: Vec<&Vec<String>> = said.iter().flat_map(BTreeMap::keys).collect();
        paths.sort();
        paths.dedup();
        let settings = sources.settings();
        assert_eq!(settings.len(), paths.len(), "{settings:?}");
        for (setting, path) in settings.iter().zip(paths) {
            assert_eq!(setting.key, dotted(path));
            let winner = said
                .iter()
                .rposition(|layer| layer.get(path).is_some_and(|(_, adds)| !adds));
            let adding: Vec<usize> = (winner.map_or(0, |at| at + 1)..said.len())
                .filter(|at| said[*at].contains_key(path))
                .collect();
            let mut expected = match winner {
                Some(at) => said[at][path].0.clone(),
                None => schema::default_of(path).unwrap(),
            };
            for at in &adding {
                let added = said[*at][path].0.as_array().unwrap().clone();
                let list = expected.as_array_mut().unwrap();
                if ["route", "egress.rule"].contains(&dotted(path).as_str()) {
                    put_in_front(list, added);
                } else {
                    list.extend(added);
                }
            }
            assert_eq!(setting.value, secret::value(path, expected), "{path:?} in {said:?}");

            let history = sources.history(path);
            let winners: Vec<_> = history.iter().filter(|step| step.role == Role::Wins).collect();
            let [wins] = winners.as_slice() else {
                panic!("{path:?} has {} winners in {said:?}", winners.len());
            };
            let named = |at: Option<usize>| at.map_or("built-in default".to_owned(), |at| format!("{at}.toml:"));
            assert!(
                wins.source.place.starts_with(&named(winner)),
                "{wins:?}, and not {winner:?}"
            );
            let places: Vec<&str> = setting.sources.iter().map(|source| source.place.as_str()).collect();
            let all: Vec<String> = [winner]
                .into_iter()
                .chain(adding.into_iter().map(Some))
                .map(named)
                .collect();
            assert!(
                places.len() == all.len() && places.iter().zip(&all).all(|(place, named)| place.starts_with(named)),
                "{places:?}, and not {all:?}"
            );
        }
        // What loading takes, the schema takes. Not each time, because the validator is slow to make.
        if round.is_multiple_of(200) {
            for layer in &said {
                accepts(&toml(layer)).unwrap_or_else(|mistakes| panic!("{mistakes}\n{}", toml(layer)));
            }
        }
    }
}

#[test]
fn nonsense_never_panics_and_is_always_told() {
    let mut dice = Dice(0xbad_5eed);
    for _ in 0..2_000 {
        let mut layer = dice.layer();
        let key = dice.pick(schema::keys()).path.clone();
        layer.retain(|path, _| !path.starts_with(&key) && !key.starts_with(path));
        layer.insert(key, (dice.nonsense(), false));
        layer.insert(vec!["nonsense".to_owned()], (dice.nonsense(), dice.roll(0..2) == 0));
        let mut findings = Findings::default();
        let layers = read(&Rank::Project, 0, &toml(&layer), &mut findings);
        let told = ConfigErrors::new(findings.errors, Vec::new()).to_string();
        assert!(told.contains("unknown key `"), "{told}\n{}", toml(&layer));
        if let Ok((options, _)) = Sources::of(layers, Vec::new()) {
            drop(build(
                options,
                Background::default(),
                &Request::default(),
                false,
                &mut Vec::new(),
            ));
        }
    }
}

#[test]
fn no_text_makes_it_panic() {
    let mut dice = Dice(0xdeed);
    let whole = include_str!("../example.toml");
    for _ in 0..2_000 {
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..dice.roll(1..6) {
            let at = usize::try_from(dice.roll(0..text.len() as u64 + 1))
                .unwrap()
                .min(text.len() - 1);
            match dice.roll(0..3) {
                0 if text.len() > 1 => drop(text.remove(at)),
                0 | 1 => text.insert(
                    at,
                    *dice.pick(&['"', '[', ']', '=', '\n', '.', 'ü', '{', '@', '\t', '#']),
                ),
                _ => text.truncate(at + 1),
            }
        }
        let text: String = text.into_iter().collect();
        let mut findings = Findings::default();
        let layers = read(&Rank::Project, 0, &text, &mut findings);
        drop(ConfigErrors::new(findings.errors, Vec::new()).to_string());
        drop(layers);
    }
}
