//! A check: what was looked at, how it is, and what helps. How they are shown.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::{
    color::{DIM, FAILED, GOOD, HEADING, NOTABLE, Stream},
    text::{escape, width, wrap},
};

/// Columns of the titles, at most.
const MOST_TITLE: usize = 22;
/// Columns from which on details stand beside their titles; below it they stand under them.
const BESIDE: usize = 64;

/// How something is; these are the words of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Worth a look.
    Warn,
    /// Wrong.
    Fail,
}

impl State {
    /// It as a mark, in its colour. In ASCII all are equally wide words.
    pub(super) fn mark(self, stream: &Stream) -> String {
        let (style, mark) = match self {
            Self::Ok => (GOOD, stream.charset.sound()),
            Self::Warn => (NOTABLE, stream.charset.doubtful()),
            Self::Fail => (FAILED, stream.charset.broken()),
        };
        stream.paint(style, mark)
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Check {
    /// Which check it is, by a name that stays: `network.dns`, `program.curl`. Several may have the same.
    pub(super) id: String,
    /// How it is.
    pub(super) state: State,
    /// What was looked at, for people.
    pub(super) title: String,
    /// What was found, for people.
    pub(super) detail: String,
    /// What to do about it; absent if there is nothing to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
    /// Of a program that was tried, what became of it: `works`, `needs_option`, `ignores_proxy`, `does_not_trust`, `timed_out` or
    /// `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<&'static str>,
}

impl Check {
    /// One that is as it should be.
    pub(super) fn ok(id: impl Into<String>, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            state: State::Ok,
            title: title.into(),
            detail: detail.into(),
            remedy: None,
            verdict: None,
        }
    }

    /// One that is worth a look.
    pub(super) fn warn(id: impl Into<String>, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            state: State::Warn,
            ..Self::ok(id, title, detail)
        }
    }

    /// One that is wrong.
    pub(super) fn fail(id: impl Into<String>, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            state: State::Fail,
            ..Self::ok(id, title, detail)
        }
    }

    /// The same with what helps.
    pub(super) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The worst of some checks; all is well with none.
pub(super) fn worst(checks: &[Check]) -> State {
    checks.iter().map(|check| check.state).max().unwrap_or(State::Ok)
}

/// Some checks below a heading, each with its detail beside its title or, where that is too narrow, under it.
pub(super) fn section(heading: &str, checks: &[Check], stream: &Stream) -> String {
    let mut text = format!("{}\n", stream.paint(HEADING, heading));
    let title_columns = checks.iter().map(|check| width(&check.title)).max().unwrap_or(0);
    let title_columns = title_columns.min(MOST_TITLE);
    let mark_columns = width(stream.charset.sound());
    for check in checks {
        let title = escape(&check.title, stream.charset);
        let room = " ".repeat(title_columns.saturating_sub(width(&title)));
        let beside = mark_columns + title_columns.max(width(&title)) + 3;
        let mark = check.state.mark(stream);
        let mut lines: Vec<String> = check.detail.lines().map(|line| escape(line, stream.charset)).collect();
        if stream.columns >= BESIDE {
            let first = lines.first().cloned().unwrap_or_default();
            let first = wrapped(&first, stream, beside);
            text.push_str(format!("{mark} {title}{room}  {}", first.trim_start()).trim_end());
            text.push('\n');
            if !lines.is_empty() {
                lines.remove(0);
            }
        } else {
            text.extend([&*mark, " ", &*title, "\n"]);
        }
        let indent = if stream.columns >= BESIDE {
            beside
        } else {
            mark_columns + 1
        };
        for line in lines {
            text.push_str(&wrapped(&line, stream, indent));
        }
        if let Some(remedy) = &check.remedy {
            text.push_str(&advice(remedy, stream, indent));
        }
    }
    text
}

/// What helps, on lines of its own.
pub(super) fn advice(remedy: &str, stream: &Stream, indent: usize) -> String {
    let arrow = stream.charset.arrow();
    let indent = indent + width(arrow) + 1;
    let mut text = String::new();
    for line in remedy.lines() {
        let shown = wrapped(&escape(line, stream.charset), stream, indent);
        for (number, line) in shown.lines().enumerate() {
            let before = if number == 0 {
                " ".repeat(indent - width(arrow) - 1) + &stream.paint(DIM, arrow) + " "
            } else {
                " ".repeat(indent)
            };
            text.push_str(&before);
            text.push_str(line.trim_start());
            text.push('\n');
        }
    }
    text
}

/// A line within the columns of a terminal; elsewhere as it is, for programs that look for lines.
pub(super) fn wrapped(line: &str, stream: &Stream, indent: usize) -> String {
    let indent = " ".repeat(indent);
    if stream.terminal {
        wrap(line, stream.columns, &indent)
    } else {
        format!("{indent}{line}\n")
    }
}

/// What it all comes to, in one line.
pub(super) fn verdict(checks: &[Check], stream: &Stream) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (failed, doubtful) = (count(State::Fail), count(State::Warn));
    let look = match doubtful {
        0 => String::new(),
        1 => "1 thing is worth a look".to_owned(),
        many => format!("{many} things are worth a look"),
    };
    let words = match (failed, doubtful) {
        (0, 0) => "all is well".to_owned(),
        (0, _) => format!("nothing is wrong; {look}"),
        (1, 0) => "1 thing is wrong".to_owned(),
        (many, 0) => format!("{many} things are wrong"),
        (1, _) => format!("1 thing is wrong; {look}"),
        (many, _) => format!("{many} things are wrong; {look}"),
    };
    format!("{} {words}\n", worst(checks).mark(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::text::Charset;

    /// A terminal this wide, or a file.
    fn stream(columns: Option<usize>, charset: Charset) -> Stream {
        Stream {
            terminal: columns.is_some(),
            color: false,
            charset,
            columns: columns.unwrap_or(100),
        }
    }

    #[test]
    fn a_remedy_stands_on_its_own_line_below_what_it_is_for() {
        let checks = [
            Check::ok("a", "kernel", "linux 6.1"),
            Check::fail("b", "port", "in use by somebody else\nsecond line").with_remedy("--listen 127.0.0.1:0"),
        ];
        assert_eq!(
            section("System", &checks, &stream(None, Charset::Unicode)),
            "System\n✓ kernel  linux 6.1\n✗ port    in use by somebody else\n          second line\n          → --listen 127.0.0.1:0\n"
        );
        assert_eq!(
            section("System", &checks, &stream(Some(30), Charset::Ascii)),
            "System\nok   kernel\n     linux 6.1\nFAIL port\n     in use by somebody else\n     second line\n     -> --listen 127.0.0.1:0\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let checks =
            [Check::warn("a", "a title that is longer than most", "word ".repeat(40)).with_remedy("do ".repeat(50))];
        for columns in [40, 64, 80, 200] {
            for charset in [Charset::Ascii, Charset::Unicode] {
                let text = section("System", &checks, &stream(Some(columns), charset));
                assert!(text.lines().all(|line| width(line) <= columns), "{columns}:\n{text}");
            }
        }
    }

    #[test]
    fn the_verdict_counts() {
        let ok = || Check::ok("a", "a", "a");
        let warn = || Check::warn("a", "a", "a");
        let fail = || Check::fail("a", "a", "a");
        for (checks, said) in [
            (vec![ok()], "✓ all is well\n"),
            (vec![ok(), warn()], "! nothing is wrong; 1 thing is worth a look\n"),
            (vec![fail()], "✗ 1 thing is wrong\n"),
            (
                vec![fail(), fail(), warn(), warn()],
                "✗ 2 things are wrong; 2 things are worth a look\n",
            ),
        ] {
            assert_eq!(verdict(&checks, &stream(None, Charset::Unicode)), said);
        }
    }
}
