//! Conditions: an expression in [CEL] over a request, for what patterns cannot say. The one file that knows the crate `cel`.
//!
//! An expression is compiled when the configuration is read, and tried on a request and on a tunnel, so that what can never
//! be evaluated is a mistake of the configuration. What fails on some requests only, such as a header that one of them does
//! not have, counts as "does not hold" for them.
//!
//! [CEL]: https://cel.dev

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Program, Value,
    common::ast::{EntryExpr, Expr, SourceInfo},
    objects::{Key, Map},
};

use super::{
    matching::Subject,
    rules::{Asked, Fields},
};
use crate::spelling::nearest;

/// The longest expression, in bytes.
const LONGEST: usize = 1024;

/// The deepest expression, in parentheses, brackets and question marks: before anything is parsed.
const DEEPEST: usize = 32;

/// The most operations that may be inside each other, for which a proxy's thread has room in an unoptimised build, too.
pub(crate) const MOST_INSIDE: usize = 32;

/// The only variable.
const REQUEST: &str = "request";

/// What is known of it.
const FIELDS: [&str; 7] = ["method", "scheme", "host", "port", "path", "query", "headers"];

/// The names of types, which are values in CEL.
pub(crate) const TYPES: [&str; 9] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
];

/// The functions, operators left out. What is missing here would be found only by the first request that comes to it.
pub(crate) const FUNCTIONS: [&str; 16] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "hasValue",
    "int",
    "matches",
    "or",
    "orValue",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// The functions that make comprehensions, for proposals.
pub(crate) const MACROS: [&str; 6] = ["all", "exists", "exists_one", "filter", "has", "map"];

/// An expression that holds for some requests.
pub struct Condition {
    /// As it was written.
    source: String,
    /// Compiled.
    program: Program,
    /// Whether it looks at headers, which are copied for it then.
    headers: bool,
    /// Whether it has been said that it failed.
    said: AtomicBool,
}

/// What is wrong with an expression.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// A sentence fragment.
    pub reason: String,
    /// Where, in bytes of the expression; none if it is all of it.
    pub place: Option<Range<usize>>,
}

impl Condition {
    /// Compiles an expression. The parser needs much room on the stack: see `config::CONDITION_ROOM`.
    ///
    /// # Errors
    /// All that is wrong with it: at least one mistake.
    pub fn compile(source: &str) -> Result<Self, Vec<Mistake>> {
        check_size("a condition", source).map_err(|reason| vec![Mistake { reason, place: None }])?;
        let program = Program::compile(source).map_err(|errors| syntax("condition", source, &errors))?;
        let mut names = Names {
            source,
            places: program.source_info(),
            mistakes: Vec::new(),
            headers: false,
            inside: 0,
            most_inside: 0,
        };
        names.look_at(program.expression(), &mut Vec::new());
        let Names {
            mut mistakes,
            headers,
            most_inside,
            ..
        } = names;
        if most_inside > MOST_INSIDE {
            let reason = format!("more than {MOST_INSIDE} operations of this condition are inside each other");
            mistakes.push(Mistake { reason, place: None });
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let condition = Self {
            source: source.to_owned(),
            program,
            headers,
            said: AtomicBool::new(false),
        };
        condition
            .rehearse()
            .map_err(|reason| vec![Mistake { reason, place: None }])?;
        Ok(condition)
    }

    /// Whether it holds for a request.
    ///
    /// # Errors
    /// Why it could not be evaluated.
    pub fn evaluate(&self, subject: &Subject<'_>) -> Result<bool, String> {
        match self.run(subject) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it is a {} and neither true nor false", other.type_of())),
            Err(error) => Err(explain(&error)),
        }
    }

    /// Whether it holds for a request. What cannot be evaluated does not hold, which is said once.
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        self.evaluate(subject).unwrap_or_else(|reason| {
            if !self.said.swap(true, Ordering::Relaxed) {
                let condition = &self.source;
                tracing::warn!(
                    condition,
                    "a condition could not be evaluated and so does not hold: {reason}"
                );
            }
            false
        })
    }

    /// Evaluates it.
    fn run(&self, subject: &Subject<'_>) -> Result<Value, ExecutionError> {
        static STANDARD: OnceLock<Arc<Env>> = OnceLock::new();
        let standard = STANDARD.get_or_init(|| Arc::new(Env::stdlib()));
        let mut context = Context::with_env(Arc::clone(standard));
        context.add_variable_from_value(REQUEST, request(subject, self.headers));
        self.program.execute(&context)
    }

    /// Tries it on a request and on a tunnel.
    fn rehearse(&self) -> Result<(), String> {
        let exchange = Asked {
            scheme: "http",
            method: "GET",
            host: "example.com",
            port: 80,
            path: b"/path?query",
            fields: &Sample,
        };
        for asked in [exchange, Asked::tunnel("example.com", 443)] {
            match self.run(&Subject::of(&asked)) {
                // What is not there may be there in another request.
                Ok(Value::Bool(_)) | Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_)) => {}
                Ok(other) => {
                    return Err(format!(
                        "a condition is true or false, and this is a {}",
                        other.type_of()
                    ));
                }
                // What it was given may be another text then; a pattern is the same for all of them.
                Err(ExecutionError::FunctionError { function, .. }) if function != "matches" => {}
                Err(error) => return Err(explain(&error)),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

/// The fields of the request that conditions are tried on.
struct Sample;

impl Fields for Sample {
    fn first(&self, name: &str) -> Option<&[u8]> {
        name.eq_ignore_ascii_case("host").then_some(b"example.com")
    }

    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        see(b"Host", b"example.com");
    }
}

/// The variable: what is known of a request.
fn request(subject: &Subject<'_>, headers: bool) -> Value {
    let asked = subject.asked;
    let text = |bytes: &[u8]| Value::String(Arc::new(String::from_utf8_lossy(bytes).into_owned()));
    let query = memchr::memchr(b'?', asked.path).map_or(&b""[..], |mark| &asked.path[mark + 1..]);
    let mut known = HashMap::from([
        (Key::from("method"), text(asked.method.as_bytes())),
        (Key::from("scheme"), text(asked.scheme.as_bytes())),
        (Key::from("host"), text(asked.host.as_bytes())),
        (Key::from("port"), Value::Int(i64::from(asked.port))),
        (Key::from("path"), text(subject.path())),
        (Key::from("query"), text(query)),
    ]);
    if headers {
        let mut values: HashMap<String, String> = HashMap::new();
        asked.fields.each(&mut |name, value| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let value = String::from_utf8_lossy(value);
            let joined = values.entry(name).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&value);
        });
        let values = values
            .into_iter()
            .map(|(name, value)| (Key::from(name), Value::from(value)));
        known.insert(
            Key::from("headers"),
            Value::Map(Map {
                map: Arc::new(values.collect()),
            }),
        );
    }
    Value::Map(Map { map: Arc::new(known) })
}

/// Whether an expression is of a size for which there is room on the stack: the parser and the interpreter are recursive.
/// `what` says what it is: `a condition`.
pub(crate) fn check_size(what: &str, source: &str) -> Result<(), String> {
    if source.len() > LONGEST {
        return Err(format!(
            "{what} has at most {LONGEST} bytes, and this has {}",
            source.len()
        ));
    }
    let mut depth = 0_usize;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("{what} is at most {DEEPEST} parentheses deep"));
        }
    }
    Ok(())
}

/// What the parser found, without its own picture of the place; `what` is no more than the noun.
pub(crate) fn syntax(what: &str, source: &str, errors: &cel::ParseErrors) -> Vec<Mistake> {
    let mistake = |error: &cel::ParseError| {
        let (line, column) = error.pos;
        let line = usize::try_from(line).unwrap_or(1).max(1) - 1;
        let column = usize::try_from(column).unwrap_or(1).max(1) - 1;
        let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
        let at = source[start..]
            .char_indices()
            .nth(column)
            .map_or(source.len(), |(at, _)| start + at);
        let word = source[at..]
            .find(|character: char| !character.is_alphanumeric())
            .unwrap_or(0);
        Mistake {
            reason: format!("this is no {what}: {}", plainly(&error.msg)),
            place: (at < source.len()).then(|| at..at + word.max(1)),
        }
    };
    // What follows from the first is no help.
    errors.errors.iter().take(1).map(mistake).collect()
}

/// What the parser says, without its grammar.
fn plainly(message: &str) -> String {
    let message = message.trim_start_matches("Syntax error: ");
    let found = message
        .split_once('\'')
        .and_then(|(_, rest)| Some(rest.split_once('\'')?.0));
    match found {
        Some("<EOF>") => "it breaks off".to_owned(),
        Some("=" | "= ") => "`=` compares nothing; did you mean `==`?".to_owned(),
        Some(found) => format!("`{}` does not belong here", found.escape_debug()),
        None => message.replace('\n', " "),
    }
}

/// An error of an evaluation, in words for people: the crate's own print values of this program.
pub(crate) fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::NoSuchOverload(overload) => {
            let operator = overload.function().trim_matches('_').replace("[_]", "[]");
            format!("`{operator}` does not take {}", overload.argument_types().join(" and "))
        }
        ExecutionError::UnexpectedType { got, want } => format!("expected {want}, found {got}"),
        ExecutionError::FunctionError { function, message } => format!("`{function}`: {message}"),
        ExecutionError::ValuesNotComparable(..) => "values of different types cannot be compared".to_owned(),
        other => {
            let text = other.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        }
    }
}

/// A walk through an expression that looks for names nobody knows.
struct Names<'a> {
    /// The expression.
    source: &'a str,
    /// Where its parts are.
    places: &'a SourceInfo,
    /// What was found.
    mistakes: Vec<Mistake>,
    /// Whether `request.headers` is looked at, or `request` as a whole.
    headers: bool,
    /// How many parts the one that is looked at is inside of.
    inside: usize,
    /// The most of these there were.
    most_inside: usize,
}

impl Names<'_> {
    /// Looks at a part and all in it; `own` are the names that the expression itself has given.
    fn look_at<'e>(&mut self, part: &'e IdedExpr, own: &mut Vec<&'e str>) {
        self.inside += 1;
        self.most_inside = self.most_inside.max(self.inside);
        self.look_inside(part, own);
        self.inside -= 1;
    }

    /// See [`Names::look_at`].
    fn look_inside<'e>(&mut self, part: &'e IdedExpr, own: &mut Vec<&'e str>) {
        match &part.expr {
            Expr::Ident(name) => self.look_at_name(name, part, own),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if name == REQUEST && !own.contains(&REQUEST) => {
                    self.headers |= select.field == "headers";
                    if !FIELDS.contains(&&*select.field) {
                        let meant = meant(&select.field, &FIELDS);
                        let reason = format!("there is no `request.{}`; {}", select.field, meant("request."));
                        self.add(reason, part, &select.field);
                    }
                }
                _ => self.look_at(&select.operand, own),
            },
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let is_operator = name.contains(['_', '@', '!']) && name != "exists_one";
                if !is_operator && !FUNCTIONS.contains(&name) {
                    let known = [FUNCTIONS.as_slice(), &MACROS].concat();
                    let reason = format!("there is no function `{name}`; {}", meant(name, &known)(""));
                    self.add(reason, part, name);
                }
                for inside in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                    self.look_at(inside, own);
                }
            }
            Expr::Comprehension(all) => {
                self.look_at(&all.iter_range, own);
                self.look_at(&all.accu_init, own);
                let before = own.len();
                own.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
                own.extend(all.iter_var2.as_deref());
                for inside in [&all.loop_cond, &all.loop_step, &all.result] {
                    self.look_at(inside, own);
                }
                own.truncate(before);
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.look_at(element, own)),
            Expr::Map(map) => map
                .entries
                .iter()
                .for_each(|entry| self.look_at_entry(&entry.expr, own)),
            Expr::Struct(entries) => entries
                .entries
                .iter()
                .for_each(|entry| self.look_at_entry(&entry.expr, own)),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    /// Looks at an entry of a map or a struct.
    fn look_at_entry<'e>(&mut self, entry: &'e EntryExpr, own: &mut Vec<&'e str>) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.look_at(&entry.key, own);
                self.look_at(&entry.value, own);
            }
            EntryExpr::StructField(field) => self.look_at(&field.value, own),
        }
    }

    /// Looks at a name by itself.
    fn look_at_name(&mut self, name: &str, part: &IdedExpr, own: &[&str]) {
        if own.contains(&name) || name.starts_with('@') || TYPES.contains(&name) {
            return;
        }
        if name == REQUEST {
            // Who takes it as a whole can come to anything in it.
            self.headers = true;
            return;
        }
        let hint = match FIELDS.iter().find(|field| **field == name) {
            Some(field) => format!("did you mean `request.{field}`?"),
            None => meant(name, &[REQUEST])(""),
        };
        self.add(format!("there is no variable `{name}`; {hint}"), part, name);
    }

    /// Notes a mistake about `word` in a part.
    fn add(&mut self, reason: String, part: &IdedExpr, word: &str) {
        let place = place(self.source, self.places, part, word);
        self.mistakes.push(Mistake { reason, place });
    }
}

/// Where `word`, which is about a part of an expression, stands in that, in bytes; none if nobody knows.
pub(crate) fn place(source: &str, places: &SourceInfo, part: &IdedExpr, word: &str) -> Option<Range<usize>> {
    let (start, _) = places.offset_for(part.id)?;
    // Characters are counted there.
    let (start, _) = source.char_indices().nth(usize::try_from(start).ok()?)?;
    // A call is where its parenthesis is, a field where its dot is.
    let found = source.match_indices(word).map(|(at, _)| at);
    let at = found.min_by_key(|at| (at + word.len()).abs_diff(start).min(at.abs_diff(start)))?;
    Some(at..at + word.len())
}

/// A proposal for a word, with what stands before it: the nearest that is known, or all.
pub(crate) fn meant<'a>(found: &'a str, known: &'a [&'a str]) -> impl Fn(&str) -> String + 'a {
    move |before| match nearest(found, known.iter().copied()) {
        Some(word) => format!("did you mean `{before}{word}`?"),
        None => format!("known are {before}{}", known.join(&format!(", {before}"))),
    }
}

#[cfg(test)]
mod tests;
