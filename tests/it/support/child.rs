//! The program under amb.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The example program `child` with the things that it is to do, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Child {
    /// Its arguments.
    verbs: Vec<OsString>,
}

impl Child {
    /// Does these things, as `tests/child/main.rs` spells them.
    pub(crate) fn new<T: Into<OsString>>(verbs: impl IntoIterator<Item = T>) -> Self {
        Self {
            verbs: verbs.into_iter().map(Into::into).collect(),
        }
    }

    /// Exits with `status`.
    pub(crate) fn exit(status: u8) -> Self {
        Self::new(["--exit", &status.to_string()])
    }

    /// Ends by a signal.
    pub(crate) fn die(signal: &str) -> Self {
        Self::new(["--die", signal])
    }

    /// Counts signals (`TERM,HUP`) until its stdin ends; prints `ready` when it is.
    pub(crate) fn count(signals: &str) -> Self {
        Self::new(["--count", signals, "--until-eof"])
    }

    /// Prints its arguments, escaped, one a line.
    pub(crate) fn argv<T: Into<OsString>>(arguments: impl IntoIterator<Item = T>) -> Self {
        Self::new(["--argv"]).then(arguments)
    }

    /// Gets a URL through the proxy; prints the status line and the body.
    pub(crate) fn get(url: impl Into<OsString>) -> Self {
        Self::new(["--get".into(), url.into()])
    }

    /// Does these things as well.
    pub(crate) fn then<T: Into<OsString>>(mut self, verbs: impl IntoIterator<Item = T>) -> Self {
        self.verbs.extend(verbs.into_iter().map(Into::into));
        self
    }

    /// The program and its arguments.
    pub(crate) fn command(self) -> Vec<OsString> {
        let mut command = vec![Self::program().into_os_string()];
        command.extend(self.verbs);
        command
    }

    /// Where the program is.
    #[track_caller]
    pub(crate) fn program() -> PathBuf {
        let directory = Path::new(env!("CARGO_BIN_EXE_amb")).parent().unwrap();
        let program = directory.join("examples/child");
        assert!(
            program.exists(),
            "the tests need the program `child`: run `cargo build --example child`"
        );
        program
    }
}
