//! How things look: colours if they are wanted, and characters that the terminal has.

use ratatui::{
    style::{Color, Modifier, Style},
    symbols::{bar, border},
};

use crate::report::{
    color::Stream,
    text::{self, Charset},
};

/// Bars where there is only ASCII.
const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "+",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ".",
    one_eighth: "_",
    empty: " ",
};

/// A border where there is only ASCII.
const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Whether colours are wanted.
    pub(super) color: bool,
    /// Which characters there are.
    pub(super) charset: Charset,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The name of something that follows.
    Heading,
    /// What is the matter.
    Failed,
    /// What is worth a look.
    Notable,
    /// What is as it should be.
    Good,
    /// What is of less interest.
    Quiet,
    /// A line across the screen that is set off.
    Bar,
    /// All else.
    Plain,
}

impl Theme {
    /// What suits this stream.
    pub(super) fn of(stream: &Stream) -> Self {
        Self {
            color: stream.color,
            charset: stream.charset,
        }
    }

    /// How this part looks. Without colours nothing is told by brightness either.
    pub(super) fn style(self, part: Part) -> Style {
        let plain = Style::new();
        match part {
            Part::Heading => plain.add_modifier(Modifier::BOLD),
            Part::Bar => plain.add_modifier(Modifier::REVERSED),
            Part::Plain => plain,
            _ if !self.color => plain,
            Part::Failed => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Part::Notable => plain.fg(Color::Yellow),
            Part::Good => plain.fg(Color::Green),
            Part::Quiet => plain.add_modifier(Modifier::DIM),
        }
    }

    /// What bars are made of.
    pub(super) fn bars(self) -> bar::Set<'static> {
        match self.charset {
            Charset::Unicode => bar::NINE_LEVELS,
            Charset::Ascii => ASCII_BARS,
        }
    }

    /// What borders are made of.
    pub(super) fn border(self) -> border::Set<'static> {
        match self.charset {
            Charset::Unicode => border::ROUNDED,
            Charset::Ascii => ASCII_BORDER,
        }
    }

    /// `text` made harmless and brought to exactly this many columns.
    pub(super) fn fit(self, text: &str, columns: usize, side: Side) -> String {
        let text = text::shorten(&text::escape(text, self.charset), columns, self.charset);
        let room = " ".repeat(columns.saturating_sub(text::width(&text)));
        match side {
            Side::Left => text + &room,
            Side::Right => room + &text,
        }
    }
}

/// On which side a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Text.
    Left,
    /// Figures.
    Right,
}
