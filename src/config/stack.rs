//! All layers, read and put in their order.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Request,
    central::{self, Central},
    error::{ConfigError, Mark, Origin},
    files::{self, File},
    heads,
    layer::{Findings, Layer, Rank},
    overrides, variables,
};
use crate::spelling::nearest;

/// The variable that chooses profiles, with commas between them.
pub(super) const PROFILE_VARIABLE: &str = "AMB_PROFILE";

/// A place that was looked in for a file.
#[derive(Debug)]
pub(super) struct Looked {
    /// What it would be.
    pub(super) rank: Rank,
    /// Where; none if nothing says where it could be.
    pub(super) path: Option<PathBuf>,
    /// What was there.
    pub(super) found: Found,
}

/// What was found in a place.
#[derive(Debug)]
pub(super) enum Found {
    /// No file.
    Nothing,
    /// It was not looked, because of `--no-config`.
    LeftOut,
    /// A file that is not to be read.
    Broken,
    /// A file.
    File(Arc<File>),
}

/// Every layer of a run.
#[derive(Debug, Default)]
pub(super) struct Stack {
    /// The weakest first.
    pub(super) layers: Vec<Layer>,
    /// Where files were looked for, in the same order.
    pub(super) looked: Vec<Looked>,
    /// The names of all profiles of all files, sorted, each once.
    pub(super) profiles: Vec<String>,
    /// What the central policy says; none if there is none.
    pub(super) central: Option<Central>,
    /// Mistakes and warnings.
    pub(super) findings: Findings,
}

impl Stack {
    /// Reads everything that the request names or implies.
    pub(super) fn read(request: &Request) -> Self {
        let mut stack = Self::default();
        let environment = &request.environment;
        let mut profiles = Vec::new();

        let directory = request.policy_directory.as_deref();
        stack.central = directory.and_then(|directory| central::read(directory, &mut stack.findings));
        if let Some(central) = &mut stack.central {
            for (layer, path) in central.defaults.iter().zip(&central.paths) {
                let found = match &layer.origin {
                    Origin::File(file) => Found::File(Arc::clone(file)),
                    _ => Found::Broken,
                };
                let path = Some(path.clone());
                stack.looked.push(Looked {
                    rank: Rank::Policy,
                    path,
                    found,
                });
            }
            stack.layers.append(&mut central.defaults);
        }

        let system = request.system_file.clone();
        let found = system
            .as_deref()
            .map_or(Ok(None), |path| files::optional(Path::new(""), path));
        profiles.extend(stack.file(Rank::System, system, found, false));

        let user = files::user_path(environment);
        let found = match &user {
            Some(path) if !request.no_config => files::optional(Path::new(""), path),
            _ => Ok(None),
        };
        profiles.extend(stack.file(Rank::User, user.clone(), found, request.no_config));

        let found = if request.no_config {
            Ok(None)
        } else {
            // In the directory of the user's file, that is not the project's as well.
            let found = files::project(&request.directory, files::home(environment).as_deref());
            found.map(|file| file.filter(|file| !user.as_ref().is_some_and(|user| files::same(&file.path, user))))
        };
        profiles.extend(stack.file(Rank::Project, None, found, request.no_config));

        let below_profiles = stack.layers.len();
        let mut explicit_profiles = Vec::new();
        if let Some(path) = explicit_path(request) {
            let found = files::explicit(&request.directory, &path).map(Some);
            explicit_profiles = stack.file(Rank::Explicit, Some(path), found, false);
        }
        let explicit = stack.layers.split_off(below_profiles);

        // A profile that is named later is stronger, whichever file it is in.
        let wanted = wanted(request);
        let all: Vec<&Layer> = profiles.iter().chain(&explicit_profiles).collect();
        stack.profiles = all
            .iter()
            .filter_map(|profile| name(profile))
            .map(ToOwned::to_owned)
            .collect();
        stack.profiles.sort();
        stack.profiles.dedup();
        let chosen = |from: &[Layer]| -> Vec<Layer> {
            let with_name = |wanted: &(Origin, String)| {
                let wanted = wanted.1.clone();
                from.iter()
                    .filter(move |profile| name(profile) == Some(&*wanted))
                    .cloned()
            };
            wanted.iter().flat_map(with_name).collect()
        };
        let (profiles, explicit_profiles) = (chosen(&profiles), chosen(&explicit_profiles));
        let unknown: Vec<ConfigError> = wanted
            .into_iter()
            .filter(|(_, name)| !stack.profiles.contains(name))
            // The variable is about files that are left out then.
            .filter(|(origin, _)| !request.no_config || matches!(origin, Origin::Flag(_)))
            .map(|(origin, name)| unknown_profile(origin, &name, &stack.profiles))
            .collect();

        let errors = &mut stack.findings.errors;
        errors.extend(unknown);
        stack.layers.extend(profiles);
        stack.layers.extend(variables::layers(environment, errors));
        stack.layers.extend(explicit);
        stack.layers.extend(explicit_profiles);
        stack.layers.extend(request.flags.as_deref().map(Layer::of_flags));
        stack.layers.extend(overrides::layers(&request.overrides, errors));
        heads::spell_alike(&mut stack.layers);
        stack.findings.warnings.extend(variables::near_misses(environment));
        stack.findings.warnings.extend(heads::warnings(&stack.layers));
        stack
    }

    /// Takes in a file that was looked for; its profiles, none of which is chosen yet.
    fn file(
        &mut self,
        rank: Rank,
        path: Option<PathBuf>,
        found: Result<Option<File>, ConfigError>,
        left_out: bool,
    ) -> Vec<Layer> {
        let (layers, path, found) = match found {
            Ok(Some(file)) => {
                let path = file.path.clone();
                match Layer::of_file(&rank, file, &mut self.findings) {
                    Some((layer, profiles)) => {
                        let found = match &layer.origin {
                            Origin::File(file) => Found::File(Arc::clone(file)),
                            _ => Found::Broken,
                        };
                        self.layers.push(layer);
                        (profiles, Some(path), found)
                    }
                    None => (Vec::new(), Some(path), Found::Broken),
                }
            }
            Ok(None) if left_out => (Vec::new(), path, Found::LeftOut),
            Ok(None) => (Vec::new(), path, Found::Nothing),
            Err(error) => {
                self.findings.errors.push(error);
                (Vec::new(), path, Found::Broken)
            }
        };
        self.looked.push(Looked { rank, path, found });
        layers
    }
}

/// The file that was asked for: by the flag, else by `AMB_CONFIG`.
fn explicit_path(request: &Request) -> Option<PathBuf> {
    let variable = || files::value(&request.environment, "AMB_CONFIG").map(PathBuf::from);
    request.file.clone().or_else(variable)
}

/// The profiles that were asked for: by flags, else by the variable. Each once, in the place where it was named last.
fn wanted(request: &Request) -> Vec<(Origin, String)> {
    let mut wanted: Vec<(Origin, String)> = if request.profiles.is_empty() {
        let variable = files::value(&request.environment, PROFILE_VARIABLE).map(OsString::from);
        let text = variable
            .map(|value| value.to_string_lossy().into_owned())
            .unwrap_or_default();
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| (Origin::Variable(PROFILE_VARIABLE.to_owned()), name.to_owned()))
            .collect()
    } else {
        let names = request.profiles.iter();
        names.map(|name| (Origin::Flag("--profile"), name.clone())).collect()
    };
    let names: Vec<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
    let mut at = 0;
    wanted.retain(|(_, name)| {
        at += 1;
        !names[at..].contains(name)
    });
    wanted
}

/// The name of a profile's layer.
fn name(profile: &Layer) -> Option<&str> {
    match &profile.rank {
        Rank::Profile(name) | Rank::ExplicitProfile(name) => Some(name),
        _ => None,
    }
}

/// A profile that is in no file.
fn unknown_profile(origin: Origin, name: &str, known: &[String]) -> ConfigError {
    let hint = match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "no file that was read has any".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    let reason = format!("there is no [profile.{name}]");
    ConfigError::at(origin, Vec::new(), Mark::Value, reason, Some(hint))
}
