//! Values that are put in on the way: text with `${…}` for what is known only when the run, or the request, is there.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    io::Write,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use crate::policy::{
    Problem,
    auth::{Binding, PREFIX, Reference},
};

/// What a placeholder may be called, apart from variables.
const PLACEHOLDERS: [&str; 2] = ["run.id", "request.id"];

/// What the name of a variable is put behind.
const VARIABLE: &str = "env.";

/// The longest value: beyond it servers refuse the head.
const LONGEST: usize = 32 * 1024;

/// Reads a file.
pub type Reader<'a> = &'a dyn Fn(&Path) -> Result<Vec<u8>, String>;

/// What values may refer to.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// amb's own environment.
    pub environment: &'a [(OsString, OsString)],
    /// The variables of it that may be named: `headers.env`.
    pub allowed: &'a [String],
    /// Reads the files that are named.
    pub read: Reader<'a>,
    /// Where each secret may go, by name.
    pub secrets: &'a Arc<BTreeMap<String, Binding>>,
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// What tells one request from all others.
#[derive(Clone, Copy)]
pub struct Ids<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The request's id, which holds that of the run: written out only where a value names it.
    pub request: &'a dyn fmt::Display,
}

impl fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ids({})", self.request)
    }
}

/// A value that can be put in.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// As it was written: what of it may be shown.
    written: String,
    /// What it is made of.
    parts: Vec<Part>,
    /// The secret that it is to become, of which it is the placeholder.
    secret: Option<Reference>,
}

/// A part of a value.
#[derive(Clone, PartialEq, Eq)]
enum Part {
    /// These bytes, whoever asks.
    Bytes(Vec<u8>),
    /// The run's id.
    RunId,
    /// The request's id.
    RequestId,
}

impl Value {
    /// Reads a value as it is written: text with placeholders, or `@FILE` for the content of a file without the line break
    /// at its end (`@@` for an at sign), or `secret:NAME` for a secret that says to which hosts it may go.
    ///
    /// # Errors
    /// A sentence fragment: what it refers to is not there, or is nothing that it may refer to.
    pub fn read(written: &str, known: &Known<'_>) -> Result<Self, String> {
        let mut secret = None;
        let parts = if written.starts_with(PREFIX) {
            let reference: Reference = written.parse()?;
            let parts = vec![Part::Bytes(placeholder(&reference, known)?)];
            secret = Some(reference);
            parts
        } else if let Some(text) = written.strip_prefix("@@") {
            let mut parts = parts(text, known)?;
            parts.insert(0, Part::Bytes(b"@".to_vec()));
            parts
        } else if let Some(path) = written.strip_prefix('@') {
            vec![Part::Bytes(of_file(path, known)?)]
        } else {
            parts(written, known)?
        };
        let length: usize = parts.iter().map(Part::length).sum();
        if length > LONGEST {
            return Err(format!(
                "{length} bytes are more than the {LONGEST} that a value may have"
            ));
        }
        Ok(Self {
            written: written.to_owned(),
            parts,
            secret,
        })
    }

    /// Why it cannot be the value of a field, as a sentence fragment ([RFC 9110 §5.5]); none if it can.
    ///
    /// [RFC 9110 §5.5]: https://www.rfc-editor.org/rfc/rfc9110#section-5.5
    pub fn misfit(&self) -> Option<String> {
        let bytes = self.parts.iter().filter_map(|part| match part {
            Part::Bytes(bytes) => Some(bytes),
            Part::RunId | Part::RequestId => None,
        });
        let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        let control = bytes.flatten().copied().find(is_control)?;
        Some(format!(
            "the value holds the control character 0x{control:02x}, which no header can"
        ))
    }

    /// The value for a request.
    pub fn bytes(&self, ids: &Ids<'_>) -> Cow<'_, [u8]> {
        match self.parts.as_slice() {
            [] => Cow::Borrowed(b""),
            [Part::Bytes(bytes)] => Cow::Borrowed(bytes),
            parts => {
                let mut value = Vec::new();
                for part in parts {
                    match part {
                        Part::Bytes(bytes) => value.extend_from_slice(bytes),
                        Part::RunId => value.extend_from_slice(ids.run.as_bytes()),
                        Part::RequestId => write!(value, "{}", ids.request).expect("a vector takes all"),
                    }
                }
                Cow::Owned(value)
            }
        }
    }

    /// The secret that takes its place where that may go: nowhere else is there such a value.
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_ref().map(Reference::name)
    }
}

/// Only as it was written: a file or a variable may hold a secret.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.written).finish()
    }
}

impl Part {
    /// How many bytes it has, as far as that is known.
    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::RunId | Self::RequestId => 0,
        }
    }
}

/// The parts of a text with placeholders.
fn parts(text: &str, known: &Known<'_>) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        plain.extend_from_slice(before.as_bytes());
        rest = if let Some(behind) = behind.strip_prefix('$') {
            plain.push(b'$');
            behind
        } else if let Some(behind) = behind.strip_prefix('{') {
            let (name, behind) = behind
                .split_once('}')
                .ok_or("a `${` is not closed; write `$$` for a dollar sign")?;
            let part = match name {
                "run.id" => Part::RunId,
                "request.id" => Part::RequestId,
                name => Part::Bytes(of_variable(name, known)?),
            };
            if let Part::Bytes(bytes) = part {
                plain.extend(bytes);
            } else {
                if !plain.is_empty() {
                    parts.push(Part::Bytes(std::mem::take(&mut plain)));
                }
                parts.push(part);
            }
            behind
        } else {
            plain.push(b'$');
            behind
        };
    }
    plain.extend_from_slice(rest.as_bytes());
    if !plain.is_empty() {
        parts.push(Part::Bytes(plain));
    }
    Ok(parts)
}

/// What stands in the place of a secret until that is put in.
fn placeholder(reference: &Reference, known: &Known<'_>) -> Result<Vec<u8>, String> {
    let name = reference.name();
    match known.secrets.get(name) {
        None => Err("there is no secret of this name: it is an entry of [secret]".to_owned()),
        Some(binding) if !binding.names_hosts() => Err(format!(
            "a credential is for given hosts: name them in secret.{name}.hosts, or use `auth` instead"
        )),
        Some(_) => Ok(format!("amb-secret:{name}").into_bytes()),
    }
}

/// What the placeholder `${name}` stands for, which is a variable.
fn of_variable(name: &str, known: &Known<'_>) -> Result<Vec<u8>, String> {
    let Some(variable) = name.strip_prefix(VARIABLE) else {
        return Err(unknown(name));
    };
    if !known.allowed.iter().any(|allowed| allowed == variable) {
        return Err(format!("`{variable}` may not be named: put it in the list headers.env"));
    }
    let found = known
        .environment
        .iter()
        .rev()
        .find(|(name, _)| name == OsStr::new(variable));
    match found {
        Some((_, value)) => Ok(value.as_bytes().to_vec()),
        None => Err(format!("the variable `{variable}` is not set")),
    }
}

/// What to say of a placeholder that there is not.
fn unknown(name: &str) -> String {
    let nearest = PLACEHOLDERS
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min();
    let name = name.escape_debug();
    match nearest {
        Some((0..=3, known)) => format!("there is no `${{{name}}}`; did you mean `${{{known}}}`?"),
        _ => format!("there is no `${{{name}}}`; known are run.id, request.id and env.NAME"),
    }
}

/// What is in a file, without the line break at its end.
fn of_file(path: &str, known: &Known<'_>) -> Result<Vec<u8>, String> {
    if path.is_empty() {
        return Err("the name of a file is missing behind `@`; write `@@` for an at sign".to_owned());
    }
    let mut content = (known.read)(Path::new(path)).map_err(|reason| format!("{path}: {reason}"))?;
    if content.ends_with(b"\n") {
        content.pop();
    }
    if content.ends_with(b"\r") {
        content.pop();
    }
    Ok(content)
}

/// A value; none if it is wrong, of which `problems` gets what. Only where `may_be_secret` it may be one.
pub(super) fn valid(
    written: &str,
    may_be_secret: bool,
    key: &[&str],
    known: &Known<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    Value::read(written, known)
        .and_then(|value| match value.secret {
            Some(_) if !may_be_secret => Err("secrets are for headers of requests, and for `auth`".to_owned()),
            _ => Ok(value),
        })
        .map_err(|reason| problems.push(Problem::at(key, reason)))
        .ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Hands out a closure's surroundings: the variables `A` and `LINES`, of which `A`, `LINES` and `GONE` may be named, and
    /// the file `token`.
    pub(in super::super) fn with_known<T>(test: impl FnOnce(&Known<'_>) -> T) -> T {
        let environment = [("A", "first"), ("LINES", "a\nb"), ("HOME", "/root")]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let allowed = ["A", "LINES", "GONE"].map(ToOwned::to_owned);
        let hosts = Some(vec!["api.test".parse().unwrap()]);
        let bound = Binding::build(&[], hosts, false, &mut Vec::new());
        let secrets = [("bound", bound), ("loose", Binding::default())];
        let secrets = Arc::new(secrets.map(|(name, binding)| (name.to_owned(), binding)).into());
        test(&Known {
            environment: &environment,
            allowed: &allowed,
            read: &|path| match path.to_str() {
                Some("token") => Ok(b"s3cret\r\n".to_vec()),
                _ => Err("No such file or directory".to_owned()),
            },
            secrets: &secrets,
        })
    }

    #[track_caller]
    fn check(written: &str, expected: Result<&str, &str>) {
        let ids = Ids {
            run: "RUN",
            request: &"RUN-7",
        };
        let found = with_known(|known| Value::read(written, known));
        let found = found.map(|value| String::from_utf8(value.bytes(&ids).into_owned()).unwrap());
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{written}"),
            (Err(found), Err(part)) => assert!(found.contains(part), "{written}: {found}"),
            _ => panic!("{written}: {found:?}"),
        }
    }

    #[test]
    fn placeholders_stand_for_what_is_known_later() {
        check("billing", Ok("billing"));
        check("", Ok(""));
        check("${run.id}", Ok("RUN"));
        check("a-${request.id}-${run.id}.", Ok("a-RUN-7-RUN."));
        check("<${env.A}>", Ok("<first>"));
        check("$$5 is 5$, $${run.id}", Ok("$5 is 5$, ${run.id}"));
        check("@token", Ok("s3cret"));
        check("@@${env.A}", Ok("@first"));
        check("secret:bound", Ok("amb-secret:bound"));
    }

    #[test]
    fn what_there_is_not_is_an_error_with_a_way_out() {
        check("${run.di}", Err("did you mean `${run.id}`?"));
        check("${host}", Err("known are run.id, request.id and env.NAME"));
        check("${env.HOME}", Err("headers.env"));
        check("${env.GONE}", Err("the variable `GONE` is not set"));
        check("${run.id", Err("write `$$`"));
        check("@", Err("write `@@`"));
        check("@gone", Err("gone: No such file"));
        check("secret:gone", Err("there is no secret of this name"));
        check("secret:", Err("secret:NAME"));
        check("secret:loose", Err("secret.loose.hosts"));
        check(&"x".repeat(40_000), Err("40000 bytes"));
    }

    #[test]
    fn a_value_that_breaks_its_line_is_no_fields_value() {
        with_known(|known| {
            let misfit = |written| Value::read(written, known).unwrap().misfit();
            assert_eq!(misfit("tab\tand ü"), None);
            assert!(misfit("a\r\nb").is_some_and(|why| why.contains("0x0d")));
            assert!(misfit("${env.LINES}").is_some_and(|why| why.contains("0x0a")));
        });
    }

    #[test]
    fn what_a_value_is_made_of_is_not_shown() {
        let shown = with_known(|known| format!("{:?}", Value::read("@token", known).unwrap()));
        assert_eq!(shown, "Value(\"@token\")");
    }
}
