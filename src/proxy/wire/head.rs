//! A request's or response's head: its bytes as they came, an index of its fields, and edits as operations on the list.
//!
//! Order, case, spacing and values of what is not edited survive to the byte ([RFC 9110 §5.3]).
//!
//! [RFC 9110 §5.3]: https://www.rfc-editor.org/rfc/rfc9110#section-5.3

use std::mem::MaybeUninit;

use httparse::Status;

use crate::policy::rules;

/// Most bytes a head may have, its request line included. Apache takes 8 KiB a line, squid and nginx 64 and 32 KiB in all.
pub(crate) const HEAD_LIMIT_BYTES: usize = 64 * 1024;

/// Most fields a head may have.
pub(crate) const FIELDS_LIMIT: usize = 256;

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// It breaks the grammar; the text says where.
    Malformed(&'static str),
    /// More than [`HEAD_LIMIT_BYTES`], or more fields than [`FIELDS_LIMIT`].
    TooLarge,
    /// The request line alone fills the limit.
    TargetTooLong,
    /// An HTTP version that amb does not speak.
    Version,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.0: no chunked coding, no interim responses, keep-alive only if asked for.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2, in the shape of HTTP/1.1.
    Http2,
}

/// A stretch of the head's bytes.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// First byte.
    from: u32,
    /// One past the last.
    to: u32,
}

impl Span {
    /// Where `part` lies inside `whole`, of which it must be a slice.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let from = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self::new(from, from + part.len())
    }

    /// From `from` up to `to`; heads are far below 4 GiB.
    fn new(from: usize, to: usize) -> Self {
        let narrow = |position: usize| u32::try_from(position).expect("a head is at most a few times 64 KiB");
        Self {
            from: narrow(from),
            to: narrow(to),
        }
    }

    /// The bytes in `bytes` that this covers.
    fn slice(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.from as usize..self.to as usize]
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
struct Field {
    /// The name, in the case in which it came.
    name: Span,
    /// The value without the white space around it.
    value: Span,
    /// The whole line with its CRLF.
    line: Span,
}

/// The fields of a head, in their order.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The head as it came, followed by the lines that edits added.
    bytes: Vec<u8>,
    /// The index.
    list: Vec<Field>,
}

/// How many lines are added to a head at most, usually: room for them is made at once.
const USUALLY_ADDED: usize = 6;

/// The comma-separated members of one value, trimmed, empty ones left out.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

impl rules::Fields for Fields {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.first(name)
    }

    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        self.iter().for_each(|(name, value)| see(name, value));
    }
}

impl Fields {
    /// The fields in their order: name as it came, value trimmed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list
            .iter()
            .map(|field| (field.name.slice(&self.bytes), field.value.slice(&self.bytes)))
    }

    /// The values of all fields called `name`, whatever the case.
    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The first value of `name`.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// Whether a field called `name` is there.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The comma-separated members of all fields called `name`, trimmed, empty ones left out ([RFC 9110 §5.6.1]).
    ///
    /// Only for fields whose members hold no quoted commas.
    ///
    /// [RFC 9110 §5.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1
    pub(crate) fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name).flat_map(members)
    }

    /// Whether `name` has the member `token`, whatever the case.
    pub(crate) fn has_member(&self, name: &str, token: &str) -> bool {
        self.any_member(name, |member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether `is` is true of a member of `name`.
    ///
    /// Not by [`Fields::members`]: this is asked of every request, and nearly always there is no such field.
    pub(crate) fn any_member(&self, name: &str, is: impl Fn(&[u8]) -> bool) -> bool {
        self.iter()
            .any(|(field, value)| field.eq_ignore_ascii_case(name.as_bytes()) && members(value).any(&is))
    }

    /// Removes every field for which `goes` is true of its name.
    pub(crate) fn remove_where(&mut self, mut goes: impl FnMut(&[u8]) -> bool) {
        let Self { bytes, list } = self;
        list.retain(|field| !goes(field.name.slice(bytes)));
    }

    /// Removes every field called `name`. Whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.list.len();
        self.remove_where(|field| field.eq_ignore_ascii_case(name.as_bytes()));
        self.list.len() != before
    }

    /// Appends the line `name: value` at the end.
    pub(crate) fn append(&mut self, name: &str, value: &[u8]) {
        let field = self.line(name.as_bytes(), value);
        self.list.push(field);
    }

    /// Gives `name` this one value: in the place of its first field and in that field's spelling, or at the front if there is none.
    ///
    /// At the front because the only field that is set where there was none is `Host`, which belongs there
    /// ([RFC 9110 §7.2]).
    ///
    /// [RFC 9110 §7.2]: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        let place = self
            .list
            .iter()
            .position(|field| is(field.name.slice(&self.bytes), name));
        let Some(place) = place else {
            let field = self.line(name.as_bytes(), value);
            self.list.insert(0, field);
            return;
        };
        if self.list[place].value.slice(&self.bytes) != value {
            let spelling = self.list[place].name.slice(&self.bytes).to_vec();
            self.list[place] = self.line(&spelling, value);
        }
        let mut index = 0;
        let Self { bytes, list } = self;
        list.retain(|field| {
            index += 1;
            index - 1 <= place || !is(field.name.slice(bytes), name)
        });
    }

    /// Gives `name` this one value, as [`Fields::set`] does, but at the end if there is none. Whether that changed anything.
    pub(crate) fn put(&mut self, name: &str, value: &[u8]) -> bool {
        let same = {
            let mut values = self.values(name);
            values.next().map(|first| first == value && values.next().is_none())
        };
        match same {
            None => self.append(name, value),
            Some(true) => return false,
            Some(false) => self.set(name, value),
        }
        true
    }

    /// Gives each field the value that `other` has for its name and value, if it has one. Whether that changed anything.
    pub(crate) fn exchange(&mut self, mut other: impl FnMut(&[u8], &[u8]) -> Option<Vec<u8>>) -> bool {
        let mut changed = false;
        for index in 0..self.list.len() {
            let Field { name, value, .. } = self.list[index];
            let (name, value) = (name.slice(&self.bytes), value.slice(&self.bytes));
            if let Some(value) = other(name, value) {
                let name = name.to_vec();
                self.list[index] = self.line(&name, &value);
                changed = true;
            }
        }
        changed
    }

    /// Writes a line behind the bytes and returns its index entry.
    fn line(&mut self, name: &[u8], value: &[u8]) -> Field {
        let start = self.bytes.len();
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value_end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        Field {
            name: Span::new(start, start + name.len()),
            value: Span::new(value_start, value_end),
            line: Span::new(start, self.bytes.len()),
        }
    }

    /// Appends all lines and the empty one to `out`, neighbouring lines in one copy.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        let mut run = Span { from: 0, to: 0 };
        for field in &self.list {
            if field.line.from == run.to {
                run.to = field.line.to;
            } else {
                out.extend_from_slice(run.slice(&self.bytes));
                run = field.line;
            }
        }
        out.extend_from_slice(run.slice(&self.bytes));
        out.extend_from_slice(b"\r\n");
    }

    /// Indexes what httparse found; `bytes` is the head that it parsed.
    fn index(headers: &[httparse::Header<'_>], bytes: &[u8]) -> Vec<Field> {
        let mut list = Vec::with_capacity(headers.len() + USUALLY_ADDED);
        for header in headers {
            let name = Span::of(header.name.as_bytes(), bytes);
            let value = Span::of(header.value, bytes);
            // An empty value may point anywhere; the line ends at the first line feed behind name and value all the same.
            let behind = if header.value.is_empty() { name.to } else { value.to } as usize;
            let end = memchr::memchr(b'\n', &bytes[behind..]).map_or(bytes.len(), |offset| behind + offset + 1);
            let value = if header.value.is_empty() {
                Span::new(behind, behind)
            } else {
                value
            };
            list.push(Field {
                name,
                value,
                line: Span::new(name.from as usize, end),
            });
        }
        list
    }

    /// Rewrites every line that is not of the plain form `name:value CRLF`: folded values, bare line feeds, a space before
    /// the colon. Only responses get here with such lines; what goes on to the client must be plain ([RFC 9112 §5.2]).
    ///
    /// [RFC 9112 §5.2]: https://www.rfc-editor.org/rfc/rfc9112#section-5.2
    fn straighten(&mut self) {
        for index in 0..self.list.len() {
            let field = self.list[index];
            let line = field.line.slice(&self.bytes);
            let plain = line.ends_with(b"\r\n")
                && line.get((field.name.to - field.name.from) as usize) == Some(&b':')
                && memchr::memchr2(b'\r', b'\n', &line[..line.len() - 2]).is_none();
            if plain {
                continue;
            }
            let name = field.name.slice(&self.bytes).to_vec();
            let mut value = Vec::with_capacity(line.len());
            for part in field
                .value
                .slice(&self.bytes)
                .split(|byte| matches!(byte, b'\r' | b'\n'))
            {
                let part = part.trim_ascii();
                if !part.is_empty() {
                    if !value.is_empty() {
                        value.push(b' ');
                    }
                    value.extend_from_slice(part);
                }
            }
            self.list[index] = self.line(&name, &value);
        }
    }
}

/// Whether a field's name is `name`, whatever the case.
fn is(field: &[u8], name: &str) -> bool {
    field.eq_ignore_ascii_case(name.as_bytes())
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// Its fields, and the bytes of all of it.
    pub(crate) fields: Fields,
    /// The version it came with.
    pub(crate) version: Version,
    /// Where the method stands.
    method: Span,
    /// Where the target stands.
    target: Span,
}

impl RequestHead {
    /// Parses `bytes`, one whole head with its empty line as [`end_of_head`] found it.
    ///
    /// Stricter than the grammar's leniencies: a bare line feed, a bare carriage return, a folded line and a space before
    /// the colon are all refused, because two parsers that read them differently are how requests are smuggled.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, HeadError> {
        for feed in memchr::memchr_iter(b'\n', &bytes) {
            if feed == 0 || bytes[feed - 1] != b'\r' {
                return Err(HeadError::Malformed("a line ends in a bare line feed"));
            }
        }
        let mut headers = [const { MaybeUninit::uninit() }; FIELDS_LIMIT];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(&bytes, &mut headers) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) => return Err(HeadError::Malformed("the head ends early")),
            Err(httparse::Error::Version) if !names_a_version(&bytes) => {
                return Err(HeadError::Malformed(
                    "the request line does not end in a version of HTTP",
                ));
            }
            Err(reason) => return Err(refusal(reason)),
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(HeadError::Malformed("the request line is incomplete"));
        };
        let method = Span::of(method.as_bytes(), &bytes);
        let target = Span::of(target.as_bytes(), &bytes);
        let list = Fields::index(request.headers, &bytes);
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        Ok(Self {
            fields: Fields { bytes, list },
            version,
            method,
            target,
        })
    }

    /// The method, in the case in which it came.
    pub(crate) fn method(&self) -> &str {
        match self.method.slice(&self.fields.bytes) {
            // Asked for many times a request.
            b"GET" => "GET",
            b"POST" => "POST",
            // httparse lets token characters pass and nothing else.
            other => str::from_utf8(other).unwrap_or_default(),
        }
    }

    /// The target as it came.
    pub(crate) fn target(&self) -> &[u8] {
        self.target.slice(&self.fields.bytes)
    }

    /// Appends the head to `out` with `target` in the place of its own, as HTTP/1.1 ([RFC 9110 §2.5]: a proxy sends its own version).
    ///
    /// [RFC 9110 §2.5]: https://www.rfc-editor.org/rfc/rfc9110#section-2.5
    pub(crate) fn write_to(&self, target: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.fields.bytes.len() + 64);
        out.extend_from_slice(self.method.slice(&self.fields.bytes));
        out.push(b' ');
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.fields.write_to(out);
    }
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    /// Its fields, and the bytes of all of it.
    pub(crate) fields: Fields,
    /// The version it came with.
    pub(crate) version: Version,
    /// The status code, 100 to 999.
    pub(crate) status: u16,
    /// Where the reason phrase stands; may be empty.
    reason: Span,
}

impl ResponseHead {
    /// Parses `bytes`, one whole head with its empty line as [`end_of_head`] found it.
    ///
    /// Servers are old and are not attacking their own client: folded lines, bare line feeds and a space before the colon are
    /// read, and passed on in plain form. So is the `ICY` with which the servers of internet radios begin; it is HTTP/1.0.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, HeadError> {
        let bytes = match bytes.strip_prefix(b"ICY ") {
            Some(rest) => [b"HTTP/1.0 ", rest].concat(),
            None => bytes,
        };
        let mut config = httparse::ParserConfig::default();
        config.allow_obsolete_multiline_headers_in_responses(true);
        config.allow_spaces_after_header_name_in_responses(true);
        let mut headers = [const { MaybeUninit::uninit() }; FIELDS_LIMIT];
        let mut response = httparse::Response::new(&mut []);
        match config.parse_response_with_uninit_headers(&mut response, &bytes, &mut headers) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) => return Err(HeadError::Malformed("the head ends early")),
            Err(reason) => return Err(refusal(reason)),
        }
        let (Some(status), Some(minor)) = (response.code, response.version) else {
            return Err(HeadError::Malformed("the status line is incomplete"));
        };
        if status < 100 {
            return Err(HeadError::Malformed("the status is below 100"));
        }
        let reason = match response.reason {
            Some(reason) if !reason.is_empty() => Span::of(reason.as_bytes(), &bytes),
            _ => reason_with_high_bytes(&bytes),
        };
        let list = Fields::index(response.headers, &bytes);
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let mut fields = Fields { bytes, list };
        fields.straighten();
        Ok(Self {
            fields,
            version,
            status,
            reason,
        })
    }

    /// The reason phrase as it came; may be empty.
    pub(crate) fn reason(&self) -> &[u8] {
        self.reason.slice(&self.fields.bytes)
    }

    /// Makes it a response with this status and reason phrase.
    pub(crate) fn set_status(&mut self, status: u16, reason: &str) {
        let start = self.fields.bytes.len();
        self.fields.bytes.extend_from_slice(reason.as_bytes());
        self.status = status;
        self.reason = Span::new(start, self.fields.bytes.len());
    }

    /// Appends the head to `out` as HTTP/1.1.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.fields.bytes.len() + 64);
        out.extend_from_slice(b"HTTP/1.1 ");
        let digits = [self.status / 100, self.status / 10 % 10, self.status % 10];
        out.extend(digits.map(|digit| b'0' + u8::try_from(digit).unwrap_or(0)));
        out.push(b' ');
        out.extend_from_slice(self.reason());
        out.extend_from_slice(b"\r\n");
        self.fields.write_to(out);
    }
}

/// Whether a request's first line has three words of which the last is a version of HTTP, if not one that amb speaks.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start();
    let line = &line[..memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len())];
    let mut words = line.splitn(3, |byte| *byte == b' ').skip(2);
    matches!(words.next(), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// Where the reason phrase stands if httparse left it out, which it does when it holds bytes above 0x7F.
fn reason_with_high_bytes(bytes: &[u8]) -> Span {
    let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
    // "HTTP/1.1 200 " is 13 bytes.
    Span::new(end.min(13), end)
}

/// httparse's refusal in our words.
fn refusal(reason: httparse::Error) -> HeadError {
    match reason {
        httparse::Error::HeaderName => {
            HeadError::Malformed("a field name is not a token, or white space stands around it")
        }
        httparse::Error::HeaderValue => HeadError::Malformed("a field value holds a control character"),
        httparse::Error::NewLine => HeadError::Malformed("a line does not end in CRLF"),
        httparse::Error::Status => HeadError::Malformed("the status line is malformed"),
        httparse::Error::Token => HeadError::Malformed("the request line is malformed"),
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::Version => HeadError::Version,
    }
}

/// Where a head ends in `bytes` (one past its empty line), if all of it is there. Search begins at `from`, a position to
/// which an earlier call had come without finding it.
///
/// An empty line that ends in a bare line feed counts too, so that such a head is refused at once instead of waited for.
pub(crate) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    // An earlier call may have stopped between the two line ends.
    let from = from.saturating_sub(3);
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|feed| {
        let behind = from + feed + 1;
        match bytes[behind..] {
            [b'\n', ..] => Some(behind + 1),
            [b'\r', b'\n', ..] => Some(behind + 2),
            _ => None,
        }
    })
}

#[cfg(test)]
#[path = "head/tests.rs"]
mod tests;
