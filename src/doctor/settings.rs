//! Whether the configuration holds, and the central policy.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::check::Check;
use crate::config::{self, Request, central, check, files};

/// Looks at all that a run would read.
pub(super) fn checks(request: &Request) -> Vec<Check> {
    let mut checks = Vec::new();
    let examined = match &request.policy_directory {
        Some(directory) => central::examine(directory),
        None => central::Examined::default(),
    };
    let of_policy: Vec<String> = examined.mistakes.iter().map(ToString::to_string).collect();
    let checked = check::check(request, &[] as &[&Path]);
    let mistakes: Vec<String> = checked.mistakes.iter().map(ToString::to_string).collect();
    for mistake in mistakes.iter().filter(|mistake| !of_policy.contains(mistake)) {
        let check = Check::fail("configuration", "configuration", mistake);
        checks.push(check.with_remedy("mend it; `amb config check` looks again, `amb help config` explains the keys"));
    }
    let sources = config::inspect(request).map(|(_, sources)| sources);
    let trust = config::load(request).err().filter(|_| sources.is_ok());
    if let Some(refused) = trust {
        let check = Check::fail("configuration.trust", "project", refused.to_string());
        checks.push(
            check.with_remedy("look at the file, then `amb trust`; in CI, where the checkout is your own, AMB_TRUST=1"),
        );
    }
    if let Ok(sources) = &sources {
        for warning in &sources.warnings {
            checks.push(Check::warn("configuration", "configuration", warning.to_string()));
        }
        if mistakes.is_empty() {
            checks.insert(0, Check::ok("configuration", "configuration", checked.sound.trim_end()));
        }
    }
    let clamps = sources.as_ref().ok().and_then(|sources| sources.central.as_ref());
    let clamps = clamps.map_or(0, |central| central.clamps.len());
    checks.extend(policy(&examined, request.policy_directory.as_deref(), clamps));
    checks.extend(user_file(request));
    checks
}

/// Looks at the central policy; `clamps` is how many of the user's own settings it changes.
fn policy(examined: &central::Examined, directory: Option<&Path>, clamps: usize) -> Vec<Check> {
    let mut checks: Vec<Check> = examined
        .mistakes
        .iter()
        .map(|mistake| {
            Check::fail("policy", "central policy", mistake.to_string())
                .with_remedy("nothing starts under a policy that cannot be read: ask whoever looks after this machine")
        })
        .collect();
    if !checks.is_empty() {
        return checks;
    }
    if examined.paths.is_empty() {
        let place = directory.map_or_else(String::new, |place| format!(" in {}", place.display()));
        return vec![Check::ok("policy", "central policy", format!("there is none{place}"))];
    }
    for path in &examined.paths {
        let owner = fs::metadata(path).map_or_else(
            |reason| format!("cannot be looked at: {reason}"),
            |found| format!("user {}'s, mode {:03o}", found.uid(), found.mode() & 0o777),
        );
        let signed = if examined.is_signed {
            ", signed"
        } else {
            ", not signed by anybody"
        };
        checks.push(Check::ok(
            "policy",
            "central policy",
            format!("{}: {owner}{signed}", path.display()),
        ));
    }
    if clamps > 0 {
        let detail = format!("it changes {clamps} of your own settings");
        checks.push(
            Check::warn("policy.clamps", "central policy", detail).with_remedy("`amb config show --origin` says which"),
        );
    }
    checks
}

/// The user's own file, if others can write to it: whoever can decides where requests go.
fn user_file(request: &Request) -> Option<Check> {
    let path = files::user_path(&request.environment).filter(|_| !request.no_config)?;
    let mode = fs::metadata(&path).ok()?.mode();
    (mode & 0o022 != 0).then(|| {
        let detail = format!("{}: others can write to it (mode {:03o})", path.display(), mode & 0o777);
        Check::warn("configuration.mode", "user's file", detail).with_remedy(format!("chmod go-w {}", path.display()))
    })
}
