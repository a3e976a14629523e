//! `amb top`: a run as it goes on, on a terminal.
//!
//! One thread asks the runs once a second, the main one waits for keys and draws. What is drawn is a pure function of a
//! state and the terminal's size.

mod draw;
mod failing;
mod hosts;
mod screen;
mod state;
mod theme;
mod watch;

use std::{
    env,
    io::{self, IsTerminal},
    time::Duration,
};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::{
    screen::Screen,
    state::{Key, State, Wish},
    theme::Theme,
    watch::Watch,
};
use crate::{
    cli::{say, top::TopArgs},
    exit::Exit,
    monitor::client::Client,
    report::color::Stream,
};

/// How long a key may wait for what has come from a run: nobody notices less.
const TURN: Duration = Duration::from_millis(100);

/// Shows runs until somebody has seen enough. The status is 1 if there is none, or no terminal.
pub fn run(args: &TopArgs) -> Exit {
    let dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() || dumb {
        say(&"amb top draws on a terminal, and this is none: `amb status` tells the same in lines");
        return Exit::Negative;
    }
    match show(args) {
        Ok(exit) => exit,
        Err(reason) => {
            say(&format_args!("cannot show it: {reason}"));
            Exit::Negative
        }
    }
}

/// Shows them.
fn show(args: &TopArgs) -> io::Result<Exit> {
    let client = Client::new(|name| env::var_os(name))?;
    let watch = Watch::start(client, args.run.clone())?;
    let Some(first) = watch.first() else {
        return Err(io::Error::other("nobody asks the runs"));
    };
    let Some(mut state) = State::new(first) else {
        say(&match &args.run {
            Some(run) => format!("no run of yours is called `{run}`, or has this id"),
            None => "nothing of yours runs under amb".to_owned(),
        });
        return Ok(Exit::Negative);
    };
    let theme = Theme::of(&Stream::stdout(args.console.color));
    let mut screen = Screen::enter()?;
    loop {
        screen.draw(|frame| draw::draw(&state, theme, frame))?;
        let mut changed = false;
        while !changed {
            if event::poll(TURN)? {
                changed = true;
                if let Some(key) = pressed(&event::read()?) {
                    match state.press(key) {
                        Wish::Leave => return Ok(Exit::Done),
                        Wish::See(id) => watch.see(id),
                        Wish::Nothing => {}
                    }
                }
            }
            while let Some(look) = watch.fresh() {
                state.take(look);
                changed = true;
            }
        }
    }
}

/// What was pressed; none if it means nothing here. A change of the terminal's size needs no more than to draw again.
fn pressed(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent {
        code, modifiers, kind, ..
    }) = event
    else {
        return None;
    };
    if *kind == KeyEventKind::Release {
        return None;
    }
    Some(match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Key::Leave,
        KeyCode::Char('q') => Key::Leave,
        KeyCode::Esc => Key::Back,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Key::Help,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Tab => Key::Next,
        KeyCode::BackTab => Key::Previous,
        KeyCode::Down | KeyCode::Char('j') => Key::Down(1),
        KeyCode::Up | KeyCode::Char('k') => Key::Up(1),
        KeyCode::PageDown | KeyCode::Char(' ') => Key::Down(10),
        KeyCode::PageUp => Key::Up(10),
        KeyCode::Home | KeyCode::Char('g') => Key::Up(usize::MAX),
        KeyCode::End | KeyCode::Char('G') => Key::Down(usize::MAX),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
