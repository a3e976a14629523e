//! What an assertion can look at: every variable with its fields, and what kind of value each is.

use std::{collections::BTreeSet, ops::Range};

use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, LiteralValue, SourceInfo, operators},
};

use crate::policy::condition::{self, FUNCTIONS, MACROS, Mistake, TYPES, meant};

/// Functions about durations, beside those of conditions.
const OF_DURATIONS: [&str; 5] = ["duration", "getHours", "getMilliseconds", "getMinutes", "getSeconds"];

/// Comprehensions that may be inside each other: one through the hosts, and in that one through a list that is written out.
const MOST_NESTED: usize = 2;

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// How many.
    Count,
    /// A status or the number of a signal.
    Number,
    /// A share, 0 to 1.
    Ratio,
    /// A duration.
    Time,
    /// A number of bytes.
    Bytes,
    /// A text.
    Text,
    /// Fields of these names.
    Table(&'static [(&'static str, Self)]),
    /// An entry of this kind for each name.
    Entries(&'static Self),
}

/// Exchanges.
const REQUESTS: Known = Known::Table(&[
    ("total", Known::Count),
    ("ok", Known::Count),
    ("failed", Known::Count),
    ("denied", Known::Count),
    ("aborted", Known::Count),
    ("cut_short", Known::Count),
    ("retried", Known::Count),
    ("resends", Known::Count),
    ("replayed", Known::Count),
    ("faulted", Known::Count),
    ("plaintext", Known::Count),
    ("failed_ratio", Known::Ratio),
    (
        "status",
        Known::Table(&[
            ("1xx", Known::Count),
            ("2xx", Known::Count),
            ("3xx", Known::Count),
            ("4xx", Known::Count),
            ("5xx", Known::Count),
        ]),
    ),
]);

/// Tunnels.
const TUNNELS: Known = Known::Table(&[
    ("total", Known::Count),
    ("ok", Known::Count),
    ("failed", Known::Count),
    ("denied", Known::Count),
    ("aborted", Known::Count),
    ("open_at_end", Known::Count),
]);

/// How long exchanges took.
const LATENCY: Known = Known::Table(&[
    ("min", Known::Time),
    ("mean", Known::Time),
    ("p50", Known::Time),
    ("p90", Known::Time),
    ("p95", Known::Time),
    ("p99", Known::Time),
    ("max", Known::Time),
]);

/// Bytes on the wire.
const BYTES: Known = Known::Table(&[("sent", Known::Bytes), ("received", Known::Bytes)]);

/// Every variable.
pub(super) const VARIABLES: &[(&str, Known)] = &[
    ("requests", REQUESTS),
    ("latency", LATENCY),
    (
        "hosts",
        Known::Entries(&Known::Table(&[
            ("requests", REQUESTS),
            ("latency", LATENCY),
            ("tunnels", TUNNELS),
            ("bytes", BYTES),
            ("breaker", Known::Text),
        ])),
    ),
    (
        "routes",
        Known::Entries(&Known::Table(&[("requests", REQUESTS), ("latency", LATENCY)])),
    ),
    ("tunnels", TUNNELS),
    ("bytes", BYTES),
    (
        "egress",
        Known::Table(&[("denied", Known::Count), ("would_deny", Known::Count)]),
    ),
    ("tls", Known::Table(&[("failures", Known::Count)])),
    ("breakers", Known::Table(&[("opened", Known::Count)])),
    (
        "replay",
        Known::Table(&[
            ("hits", Known::Count),
            ("misses", Known::Count),
            ("unused", Known::Count),
        ]),
    ),
    ("run", Known::Table(&[("duration", Known::Time)])),
    (
        "child",
        Known::Table(&[
            ("exit_code", Known::Number),
            ("signal", Known::Number),
            ("signal_name", Known::Text),
        ]),
    ),
];

/// What an expression looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The variables.
    pub(super) variables: BTreeSet<&'static str>,
    /// The entries that are named, with the variable they are of.
    pub(super) entries: BTreeSet<(&'static str, String)>,
}

/// A walk through an expression that looks for names nobody knows.
pub(super) struct Names<'a> {
    /// The expression.
    source: &'a str,
    /// Where its parts are.
    places: &'a SourceInfo,
    /// What was found.
    pub(super) mistakes: Vec<Mistake>,
    /// What it looks at.
    pub(super) wanted: Wanted,
    /// How many parts the one that is looked at is inside of.
    inside: usize,
    /// The most of these there were.
    pub(super) most_inside: usize,
    /// How many comprehensions the part is inside of.
    nested: usize,
}

impl<'a> Names<'a> {
    /// A walk through this expression.
    pub(super) fn of(source: &'a str, places: &'a SourceInfo, expression: &IdedExpr) -> Self {
        let mut names = Self {
            source,
            places,
            mistakes: Vec::new(),
            wanted: Wanted::default(),
            inside: 0,
            most_inside: 0,
            nested: 0,
        };
        names.look_at(expression, &mut Vec::new());
        names
    }

    /// Looks at a part and all in it; `own` are the names that the expression itself has given. Returns what the part stands
    /// for, if it is a name.
    fn look_at<'e>(&mut self, part: &'e IdedExpr, own: &mut Vec<&'e str>) -> Option<&'static Known> {
        self.inside += 1;
        self.most_inside = self.most_inside.max(self.inside);
        let known = self.look_inside(part, own);
        self.inside -= 1;
        known
    }

    /// See [`Names::look_at`].
    fn look_inside<'e>(&mut self, part: &'e IdedExpr, own: &mut Vec<&'e str>) -> Option<&'static Known> {
        match &part.expr {
            Expr::Ident(name) => self.variable(name, part, own),
            Expr::Select(select) => {
                let inside = self.look_at(&select.operand, own)?;
                self.note_entry(&select.operand, &select.field, own);
                self.field(inside, &select.operand, &select.field, part)
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                let inside = self.look_at(&call.args[0], own);
                self.look_at(&call.args[1], own);
                match text(&call.args[1]) {
                    Some(name) => {
                        self.note_entry(&call.args[0], name, own);
                        self.field(inside?, &call.args[0], name, part)
                    }
                    None => match inside? {
                        Known::Entries(entry) => Some(entry),
                        _ => None,
                    },
                }
            }
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let is_operator = name.contains(['_', '@', '!']) && name != "exists_one";
                if !is_operator && !FUNCTIONS.contains(&name) && !OF_DURATIONS.contains(&name) {
                    let known = [FUNCTIONS.as_slice(), &MACROS, &OF_DURATIONS].concat();
                    let reason = format!("there is no function `{name}`; {}", meant(name, &known)(""));
                    self.add(reason, part, name);
                }
                for inside in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                    self.look_at(inside, own);
                }
                None
            }
            Expr::Comprehension(all) => {
                self.look_at(&all.iter_range, own);
                self.look_at(&all.accu_init, own);
                self.nested += 1;
                let written_out = matches!(all.iter_range.expr, Expr::List(_));
                if self.nested > MOST_NESTED || self.nested > 1 && !written_out {
                    // With as many hosts as there may be, that would take hours.
                    let reason = "inside `all` and its like only a list that is written out can be gone through";
                    self.mistakes.push(Mistake {
                        reason: reason.to_owned(),
                        place: None,
                    });
                }
                let before = own.len();
                own.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
                own.extend(all.iter_var2.as_deref());
                for inside in [&all.loop_cond, &all.loop_step, &all.result] {
                    self.look_at(inside, own);
                }
                own.truncate(before);
                self.nested -= 1;
                None
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.look_at(element, own);
                }
                None
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    self.look_at_entry(&entry.expr, own);
                }
                None
            }
            Expr::Struct(entries) => {
                for entry in &entries.entries {
                    self.look_at_entry(&entry.expr, own);
                }
                None
            }
            Expr::Literal(_) | Expr::Unspecified => None,
        }
    }

    /// Looks at an entry of a map or a struct.
    fn look_at_entry<'e>(&mut self, entry: &'e EntryExpr, own: &mut Vec<&'e str>) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.look_at(&entry.key, own);
                self.look_at(&entry.value, own);
            }
            EntryExpr::StructField(field) => {
                self.look_at(&field.value, own);
            }
        }
    }

    /// What a name by itself stands for.
    fn variable(&mut self, name: &str, part: &IdedExpr, own: &[&str]) -> Option<&'static Known> {
        if own.contains(&name) || name.starts_with('@') {
            return None;
        }
        // Before the types, of which one is called bytes, too.
        if let Some((known, kind)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            self.wanted.variables.insert(known);
            return Some(kind);
        }
        if TYPES.contains(&name) {
            return None;
        }
        let known: Vec<&str> = VARIABLES.iter().map(|(known, _)| *known).collect();
        let reason = format!("there is no variable `{name}`; {}", meant(name, &known)(""));
        self.add(reason, part, name);
        None
    }

    /// What a field stands for.
    fn field(&mut self, inside: &Known, operand: &IdedExpr, name: &str, part: &IdedExpr) -> Option<&'static Known> {
        let before = written(operand);
        match inside {
            Known::Table(fields) => {
                let found = fields.iter().find(|(known, _)| *known == name);
                if found.is_none() {
                    let known: Vec<&str> = fields.iter().map(|(known, _)| *known).collect();
                    let hint = meant(name, &known)(&format!("{before}."));
                    self.add(format!("there is no `{before}.{name}`; {hint}"), part, name);
                }
                found.map(|(_, kind)| kind)
            }
            Known::Entries(entry) => Some(entry),
            _ => {
                self.add(format!("`{before}` has no fields"), part, name);
                None
            }
        }
    }

    /// Notes that an entry is named.
    fn note_entry(&mut self, operand: &IdedExpr, name: &str, own: &[&str]) {
        if let Expr::Ident(variable) = &operand.expr
            && !own.contains(&variable.as_str())
            && let Some((known, Known::Entries(_))) = VARIABLES.iter().find(|(known, _)| known == variable)
        {
            self.wanted.entries.insert((known, name.to_owned()));
        }
    }

    /// Notes a mistake about `word` in a part.
    fn add(&mut self, reason: String, part: &IdedExpr, word: &str) {
        let place: Option<Range<usize>> = condition::place(self.source, self.places, part, word);
        self.mistakes.push(Mistake { reason, place });
    }
}

/// The text that a part is, if it is one that is written out.
pub(super) fn text(part: &IdedExpr) -> Option<&str> {
    match &part.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// What a part is called that is a name with fields; empty for what is none.
pub(super) fn written(part: &IdedExpr) -> String {
    match &part.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) => format!("{}.{}", written(&select.operand), select.field),
        Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
            let key = text(&call.args[1]).map_or_else(|| written(&call.args[1]), |key| format!("'{key}'"));
            format!("{}[{key}]", written(&call.args[0]))
        }
        _ => String::new(),
    }
}

/// What a part stands for that is a name with fields, of which `own` are none of amb's; none if it is no such name.
pub(super) fn known(part: &IdedExpr) -> Option<&'static Known> {
    let inside = |operand: &IdedExpr, name: Option<&str>| match known(operand)? {
        Known::Table(fields) => {
            let name = name?;
            fields.iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
        }
        Known::Entries(entry) => Some(*entry),
        _ => None,
    };
    match &part.expr {
        Expr::Ident(name) => VARIABLES.iter().find(|(known, _)| known == name).map(|(_, kind)| kind),
        Expr::Select(select) if !select.test => inside(&select.operand, Some(&select.field)),
        Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
            inside(&call.args[0], text(&call.args[1]))
        }
        _ => None,
    }
}
