//! A page of text: read from Markdown, written for a terminal or for man(1).

use anstyle::{AnsiColor, Style};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::report::color::Stream;

/// Headings, as in the help.
const HEADING: Style = AnsiColor::Green.on_default().bold();
/// What is typed, or read elsewhere, letter by letter.
const LITERAL: Style = AnsiColor::Cyan.on_default();
/// What matters most.
const STRONG: Style = Style::new().bold();
/// Widest text.
const WIDEST: usize = 100;
/// Widest column of terms in a list of them.
const TERM_COLUMNS: usize = 26;

/// A stretch of text of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// The text.
    text: String,
    /// Its kind.
    kind: Kind,
}

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Prose.
    Plain,
    /// Code.
    Literal,
    /// Emphasised.
    Strong,
}

/// A piece of a page.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// The title of what follows.
    Heading(Vec<Span>),
    /// Prose.
    Paragraph(Vec<Span>),
    /// An item of a list.
    Item(Vec<Span>),
    /// Lines that stay as they are.
    Code(String),
    /// A table: its titles, and rows of cells.
    Table(Vec<String>, Vec<Vec<Vec<Span>>>),
}

/// A page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Its pieces.
    blocks: Vec<Block>,
}

/// Reads Markdown piece by piece.
#[derive(Default)]
struct Reader {
    /// What is read.
    page: Page,
    /// The text that is being read.
    spans: Vec<Span>,
    /// Its kind.
    strong: bool,
    /// Whether it is in an item.
    item: bool,
    /// The lines of code that are being read.
    code: Option<String>,
    /// The cells of the row that is being read.
    row: Vec<Vec<Span>>,
}

impl Reader {
    /// Takes the text that was read.
    fn take(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.spans)
    }

    /// Adds text.
    fn add(&mut self, text: &str, kind: Kind) {
        self.spans.push(Span {
            text: text.to_owned(),
            kind: if kind == Kind::Plain && self.strong {
                Kind::Strong
            } else {
                kind
            },
        });
    }

    /// Ends a stretch of prose, if there is one.
    fn end_prose(&mut self) {
        let spans = self.take();
        if spans.is_empty() {
            return;
        }
        self.page.blocks.push(if self.item {
            Block::Item(spans)
        } else {
            Block::Paragraph(spans)
        });
    }

    /// Reads what comes next.
    fn read(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(text),
                None => self.add(text, Kind::Plain),
            },
            Event::Code(text) => self.add(text, Kind::Literal),
            Event::SoftBreak | Event::HardBreak => self.add(" ", Kind::Plain),
            Event::Start(Tag::Strong) => self.strong = true,
            Event::End(TagEnd::Strong) => self.strong = false,
            Event::Start(Tag::Item) => {
                self.end_prose();
                self.item = true;
            }
            Event::End(TagEnd::Item) => {
                self.end_prose();
                self.item = false;
            }
            Event::End(TagEnd::Paragraph) => self.end_prose(),
            Event::End(TagEnd::Heading(_)) => {
                let spans = self.take();
                self.page.blocks.push(Block::Heading(spans));
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented)) => {
                self.end_prose();
                self.code = Some(String::new());
            }
            Event::End(TagEnd::CodeBlock) => {
                let code = self.code.take().unwrap_or_default();
                self.page.blocks.push(Block::Code(code));
            }
            Event::Start(Tag::Table(_)) => self.page.blocks.push(Block::Table(Vec::new(), Vec::new())),
            Event::End(TagEnd::TableCell) => {
                let cell = self.take();
                self.row.push(cell);
            }
            Event::End(TagEnd::TableHead) => {
                let row = std::mem::take(&mut self.row);
                if let Some(Block::Table(titles, _)) = self.page.blocks.last_mut() {
                    *titles = row.iter().map(|cell| plain(cell)).collect();
                }
            }
            Event::End(TagEnd::TableRow) => {
                let row = std::mem::take(&mut self.row);
                if let Some(Block::Table(_, rows)) = self.page.blocks.last_mut() {
                    rows.push(row);
                }
            }
            _ => {}
        }
    }
}

impl Page {
    /// Reads a page of Markdown. What has no place on a terminal, such as comments and pictures, is left out.
    pub(super) fn parse(markdown: &str) -> Self {
        let mut reader = Reader::default();
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
            reader.read(&event);
        }
        reader.page
    }

    /// The page as this stream shows it.
    pub(super) fn for_terminal(&self, stream: &Stream) -> String {
        let width = stream.columns.clamp(30, WIDEST);
        let mut out = String::new();
        let mut last_was_item = false;
        for block in &self.blocks {
            let is_item = matches!(block, Block::Item(_));
            let joins = is_item && last_was_item;
            if !out.is_empty() && !joins {
                out.push('\n');
            }
            last_was_item = is_item;
            match block {
                Block::Heading(spans) => {
                    out.push_str(&stream.paint(HEADING, &plain(spans)));
                    out.push('\n');
                }
                Block::Paragraph(spans) => out.push_str(&wrapped(spans, "", "", width, stream)),
                Block::Item(spans) => out.push_str(&wrapped(spans, "  - ", "    ", width, stream)),
                Block::Code(code) => code.lines().for_each(|line| {
                    let indent = if line.is_empty() { "" } else { "    " };
                    out.push_str(indent);
                    out.push_str(line);
                    out.push('\n');
                }),
                Block::Table(titles, rows) => {
                    for row in rows {
                        out.push_str(&definition(titles, row, width, stream));
                    }
                }
            }
        }
        out
    }

    /// The page for man(1), without its header.
    pub(super) fn roff(&self) -> String {
        let piece = |block: &Block| match block {
            Block::Heading(spans) => format!(".SS {}\n", escaped(&plain(spans))),
            Block::Paragraph(spans) => format!(".PP\n{}\n", marked(spans)),
            Block::Item(spans) => format!(".IP \\(bu 2\n{}\n", marked(spans)),
            Block::Code(code) => format!(".PP\n.RS 4\n.nf\n{}.fi\n.RE\n", lines(code)),
            Block::Table(titles, rows) => {
                let entry = |row: &Vec<Vec<Span>>| match row.split_first() {
                    Some((term, rest)) => format!(".TP\n{}\n{}\n", marked(term), marked(&joined(titles, rest))),
                    None => String::new(),
                };
                rows.iter().map(entry).collect()
            }
        };
        let mut text = String::new();
        for block in &self.blocks {
            let piece = piece(block);
            let headed = text.lines().last().is_some_and(|line| line.starts_with(".SS "));
            // A heading begins a paragraph already.
            text.push_str(piece.strip_prefix(".PP\n").filter(|_| headed).unwrap_or(&piece));
        }
        text
    }
}

/// The text of `spans`.
fn plain(spans: &[Span]) -> String {
    spans.iter().map(|span| span.text.as_str()).collect()
}

/// What a row says of its first cell: the second one, and the others each behind its title.
fn joined(titles: &[String], cells: &[Vec<Span>]) -> Vec<Span> {
    let mut text = Vec::new();
    for (number, cell) in cells.iter().enumerate() {
        if number > 0 && !cell.is_empty() {
            let title = titles.get(number + 1).map(String::as_str).unwrap_or_default();
            text.push(Span {
                text: format!("; {} ", title.to_lowercase()),
                kind: Kind::Plain,
            });
        }
        text.extend(cell.iter().cloned());
    }
    text
}

/// A row of a table as a term and its definition.
fn definition(titles: &[String], row: &[Vec<Span>], width: usize, stream: &Stream) -> String {
    let Some((term, rest)) = row.split_first() else {
        return String::new();
    };
    let text = joined(titles, rest);
    let indent = " ".repeat(TERM_COLUMNS.min(width / 3));
    let length = plain(term).chars().count() + 2;
    if length + 2 > indent.len() {
        wrapped(term, "  ", "    ", width, stream) + &wrapped(&text, &indent, &indent, width, stream)
    } else {
        let painted = wrapped(term, "  ", "  ", width, stream);
        let gap = " ".repeat(indent.len() - length);
        let body = wrapped(&text, &indent, &indent, width, stream);
        format!("{}{gap}{}", painted.trim_end(), body.trim_start_matches(' '))
    }
}

/// `spans` in lines of at most `width` columns, the first behind `first` and the others behind `next`. Words stay whole.
fn wrapped(spans: &[Span], first: &str, next: &str, width: usize, stream: &Stream) -> String {
    let mut out = first.to_owned();
    let mut column = first.chars().count();
    for (number, word) in words(spans).iter().enumerate() {
        let length: usize = word.iter().map(|(_, piece)| piece.chars().count()).sum();
        if number > 0 && column + 1 + length > width {
            out.extend(["\n", next]);
            column = next.chars().count();
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        column += length;
        for (kind, piece) in word {
            out.push_str(&match kind {
                Kind::Plain => (*piece).to_owned(),
                Kind::Literal => stream.paint(LITERAL, piece),
                Kind::Strong => stream.paint(STRONG, piece),
            });
        }
    }
    out.push('\n');
    out
}

/// The words of `spans`, each in pieces of one kind.
fn words(spans: &[Span]) -> Vec<Vec<(Kind, &str)>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    for span in spans {
        for (number, piece) in span.text.split(' ').enumerate() {
            if number > 0 && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            if !piece.is_empty() {
                word.push((span.kind, piece));
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `spans` with roff's fonts.
fn marked(spans: &[Span]) -> String {
    let text: String = spans
        .iter()
        .map(|span| match span.kind {
            Kind::Plain => escaped(&span.text),
            Kind::Literal | Kind::Strong => format!("\\fB{}\\fR", escaped(&span.text)),
        })
        .collect();
    guarded(&text)
}

/// Lines of code for roff.
fn lines(code: &str) -> String {
    code.lines().map(|line| guarded(&escaped(line)) + "\n").collect()
}

/// `text` with what is special to roff made plain.
pub(in crate::cli) fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

/// A line of roff that is no request, whatever it begins with.
pub(in crate::cli) fn guarded(line: &str) -> String {
    if line.starts_with('.') {
        format!("\\&{line}")
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::color::When;

    const TEXT: &str = "One `--flag` and more words.\n<!-- x -->\n\n- first\n- **second** one\n\n| A | B | C |\n| --- | --- | --- |\n| `a` | bee | c |\n\n### Sub\n\n```toml\n.x = \"y\"\n```\n";

    #[test]
    fn a_terminal_gets_lines_of_its_width() {
        let stream = Stream::decide(When::Never, false, Some(30), |_| None);
        let expected =
            "One --flag and more words.\n\n  - first\n  - second one\n\n  a       bee; c c\n\nSub\n\n    .x = \"y\"\n";
        assert_eq!(Page::parse(TEXT).for_terminal(&stream), expected);
    }

    #[test]
    fn man_gets_its_requests_and_no_others() {
        let expected = ".PP\nOne \\fB\\-\\-flag\\fR and more words.\n.IP \\(bu 2\nfirst\n.IP \\(bu 2\n\\fBsecond\\fR one\n.TP\n\\fBa\\fR\nbee; c c\n.SS Sub\n.RS 4\n.nf\n\\&.x = \"y\"\n.fi\n.RE\n";
        assert_eq!(Page::parse(TEXT).roff(), expected);
    }
}
