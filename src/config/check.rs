//! `amb config check`: every mistake, without a run.

use std::{fmt::Write as _, path::Path};

use super::{
    Request,
    error::{ConfigError, ConfigErrors},
    inspect,
    stack::{Found, Stack},
    trust,
};

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// A line for each file that is sound.
    pub sound: String,
    /// What is wrong.
    pub mistakes: Vec<ConfigError>,
    /// What the user should know of.
    pub warnings: Vec<String>,
}

/// Checks everything that a run would read, or else only these files, each by itself, with each of its profiles.
pub fn check(request: &Request, paths: &[impl AsRef<Path>]) -> Checked {
    let mut checked = Checked::default();
    if paths.is_empty() {
        checked.all(request);
    }
    for path in paths {
        checked.one(&Request {
            file: Some(path.as_ref().to_owned()),
            no_config: true,
            directory: request.directory.clone(),
            ..Request::default()
        });
    }
    checked
}

impl Checked {
    /// Checks all layers of a run.
    fn all(&mut self, request: &Request) {
        let stack = Stack::read(request);
        let refused = trust::refusals(&stack, request);
        self.warnings.extend(refused.iter().map(ToString::to_string));
        self.one(request);
    }

    /// Checks the layers of a request as they are, and then with each profile.
    fn one(&mut self, request: &Request) {
        let before = self.mistakes.len();
        self.take(inspect(request));
        let stack = Stack::read(request);
        for profile in &stack.profiles {
            let with_profile = Request {
                profiles: vec![profile.clone()],
                ..request.clone()
            };
            if let Err(mistakes) = inspect(&with_profile) {
                let known = &mut self.mistakes;
                known.extend(
                    mistakes
                        .mistakes
                        .into_iter()
                        .filter(|mistake| !known.contains(mistake))
                        .collect::<Vec<_>>(),
                );
            }
        }
        if self.mistakes.len() > before {
            return;
        }
        for looked in &stack.looked {
            if let Found::File(file) = &looked.found {
                // Writing to a string cannot fail.
                writeln!(self.sound, "{}: sound", file.shown).unwrap_or_default();
            }
        }
        if !stack.profiles.is_empty() {
            let profiles = stack.profiles.join(", ");
            writeln!(self.sound, "with each of these profiles as well: {profiles}").unwrap_or_default();
        }
        if self.sound.is_empty() {
            self.sound
                .push_str("there is no file to check, and everything else is sound\n");
        }
    }

    /// Takes in what loading came to.
    fn take<T>(&mut self, loaded: Result<(T, super::Sources), ConfigErrors>) {
        match loaded {
            Ok((_, sources)) => self.warnings.extend(sources.warnings.iter().map(ToString::to_string)),
            Err(found) => {
                self.mistakes.extend(found.mistakes);
                self.warnings.extend(found.warnings.iter().map(ToString::to_string));
            }
        }
    }
}
