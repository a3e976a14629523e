//! Tables, and what is folded.

use std::fmt::{self, Write as _};

/// A table that grows by rows.
pub(super) struct Table {
    /// It as it stands.
    pub(super) text: String,
    /// How many columns it has.
    columns: usize,
}

impl Table {
    /// A table of these headings, each with whether numbers stand below it.
    pub(super) fn of(headings: &[(&str, bool)]) -> Self {
        let mut table = Self {
            text: String::new(),
            columns: headings.len(),
        };
        table.line(headings.iter().map(|(name, _)| *name));
        let rule: String = headings
            .iter()
            .map(|(_, number)| if *number { "---:|" } else { "---|" })
            .collect();
        push(&mut table.text, format_args!("|{rule}\n"));
        table.text.push('\n');
        table
    }

    /// Adds a line before the empty one at the end.
    fn line<'a>(&mut self, cells: impl Iterator<Item = &'a str>) {
        let ended = self.text.ends_with("\n\n");
        if ended {
            self.text.pop();
        }
        self.text.push('|');
        for cell in cells {
            push(&mut self.text, format_args!(" {cell} |"));
        }
        self.text.push('\n');
        if ended {
            self.text.push('\n');
        }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: &[String]) {
        self.line(cells.iter().map(String::as_str));
    }

    /// Adds what is said of rows that are not there.
    pub(super) fn rest(&mut self, all: usize, shown: usize, noun: &str) {
        let more = all.saturating_sub(shown);
        if more > 0 {
            let mut cells = vec![String::new(); self.columns];
            cells[1.min(self.columns - 1)] = format!("_and {more} more {noun}_");
            self.row(&cells);
        }
    }

    /// The table behind a line that unfolds it.
    pub(super) fn folded(&self, title: &str) -> String {
        folded(title, &self.text)
    }
}

/// Something behind a line that unfolds it.
pub(super) fn folded(title: &str, text: &str) -> String {
    format!(
        "<details><summary>{title}</summary>\n\n{}\n</details>\n\n",
        text.trim_end_matches('\n').to_owned() + "\n"
    )
}

/// Appends what is formatted.
pub(super) fn push(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes everything");
}
