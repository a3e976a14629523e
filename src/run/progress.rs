//! What a person sees of a run while its child has the terminal, or the log of a job while its child writes there. Only for
//! whoever asks for it: without `--progress title` or `line` nothing of this exists.

use std::{
    cell::{Cell, RefCell},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::Purpose;
use crate::{
    cli,
    config::Config,
    proxy::{Asked, Glance, Lookout},
    report::{
        color::Stream,
        progress::{Place, ProgressMode, state},
    },
    sabotage,
    supervise::{Title, write_stderr},
};

/// How often the workers are asked, and the title is changed at most.
pub(super) const EVERY: Duration = Duration::from_millis(500);

/// After how many of these a line may follow another: 10 s.
const TURNS_OF_A_LINE: u32 = 20;

/// What is shown, and where.
pub(super) struct Progress {
    /// What the run is called.
    name: String,
    /// What stderr can show.
    stderr: Stream,
    /// The workers.
    lookout: Lookout,
    /// What they were asked and have not all answered yet.
    asked: RefCell<Option<Asked>>,
    /// Where it is shown.
    shown: Shown,
}

/// Where it is shown.
enum Shown {
    /// In the terminal's title.
    Title(Title),
    /// In lines on stderr.
    Lines(Lines),
}

/// Lines on stderr, each written on a thread of its own: whoever reads stderr may take nothing for hours.
#[derive(Default)]
struct Lines {
    /// Turns since the last one.
    turns: Cell<u32>,
    /// What it said; empty before the first.
    last: RefCell<String>,
    /// What writes it; none before the first.
    writing: RefCell<Option<JoinHandle<()>>>,
}

impl Progress {
    /// What is wanted, if it can be had; else a warning says why there is nothing of it.
    pub(super) fn of(config: &Config, purpose: &Purpose<'_>, lookout: &Lookout) -> Option<Self> {
        let mode = config.report.progress;
        // Nothing is asked of the system by those who want nothing.
        if !matches!(mode, ProgressMode::Title | ProgressMode::Line) {
            return None;
        }
        let stderr = Stream::stderr(purpose.console.color);
        let terminal = std::env::var("TERM").ok();
        let shown = match mode.place(stderr.terminal, terminal.as_deref()) {
            Ok(Place::Nowhere) => return None,
            Ok(Place::Title) => Title::open()
                .map(Shown::Title)
                .map_err(|_| "the terminal of stderr is not the one that amb was started in"),
            Ok(Place::Lines) => Ok(Shown::Lines(Lines::default())),
            Err(reason) => Err(reason),
        };
        let shown = shown
            .inspect_err(|reason| {
                if !purpose.console.quiet {
                    cli::say(&format_args!("warning: --progress {mode}: {reason}"));
                }
            })
            .ok()?;
        Some(Self {
            name: config.name.clone(),
            stderr,
            lookout: lookout.clone(),
            asked: RefCell::default(),
            shown,
        })
    }

    /// Whether there is something to be done before amb stops.
    pub(super) fn leaves(&self) -> bool {
        matches!(self.shown, Shown::Title(_))
    }

    /// Says which process the child is; 0 is none.
    pub(super) fn note_child(&self, child: i32) {
        if let Shown::Title(title) = &self.shown {
            title.note_child(child);
        }
    }

    /// Shows what there is, and asks for what is to be shown next. Waits for nothing.
    pub(super) fn look(&self) {
        let mut asked = self.asked.borrow_mut();
        let answer = asked.get_or_insert_with(|| self.lookout.ask()).answer();
        if let Some(glance) = answer {
            *asked = Some(self.lookout.ask());
            match &self.shown {
                Shown::Title(title) => {
                    let state = state(&self.name, glance.counts, glance.open, self.stderr.charset);
                    title.show(&crate::veil::text(&format!("amb {state}")));
                }
                Shown::Lines(lines) => lines.show(&self.name, glance, &self.stderr),
            }
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn leave(&self) {
        if let Shown::Title(title) = &self.shown {
            title.give_back();
        }
    }
}

impl Lines {
    /// Writes a line, if it is time for one and there is something new.
    fn show(&self, name: &str, glance: Glance, stderr: &Stream) {
        let turns = self.turns.get() + 1;
        self.turns.set(turns);
        let is_time = turns >= TURNS_OF_A_LINE || sabotage::is_wanted("progress");
        let is_busy = |writing: &JoinHandle<()>| !writing.is_finished();
        let mut writing = self.writing.borrow_mut();
        let mut last = self.last.borrow_mut();
        if !is_time || writing.as_ref().is_some_and(is_busy) || (last.is_empty() && glance == Glance::default()) {
            return;
        }
        let state = state(name, glance.counts, glance.open, stderr.charset);
        if *last == state {
            return;
        }
        let line = format!("amb: {state}\n");
        let thread = thread::Builder::new()
            .name("amb-progress".to_owned())
            .spawn(move || write_stderr(&line));
        match thread {
            Ok(thread) => *writing = Some(thread),
            Err(reason) => tracing::debug!(%reason, "no line of progress"),
        }
        *last = state;
        self.turns.set(0);
    }
}
