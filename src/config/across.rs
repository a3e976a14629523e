//! Values that are good one by one, and at odds with each other.

use std::path::Path;

use super::Config;
use crate::policy::Problem;

/// Finds values that are at odds with each other.
pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    if let Some(egress) = &config.policy.egress
        && egress.learn.is_some()
        && egress.is_locked()
    {
        let reason = "what is held to a lockfile learns nothing: leave out one of the two";
        problems.push(Problem::between(&["egress", "learn"], &["egress", "locked"], reason));
    }
    let log = config.access_log.as_ref().and_then(|target| target.file.as_deref());
    let plain = |path: &Path| path.strip_prefix("./").unwrap_or(path).to_owned();
    if let Some(textfile) = &config.metrics.textfile {
        let is_same = |path: &Path| plain(path) == plain(textfile);
        let reports = &config.report.files;
        let other: Option<&[&str]> = if log.is_some_and(is_same) {
            Some(&["access-log", "file"])
        } else if reports.iter().any(|report| is_same(&report.path)) {
            Some(&["report", "files"])
        } else {
            None
        };
        if let Some(other) = other {
            let reason = format!("`{}` cannot be two files at once", textfile.display());
            problems.push(Problem::between(&["metrics", "textfile"], other, reason));
        }
    }
    if let Some(log) = log
        && config
            .report
            .files
            .iter()
            .any(|report| plain(&report.path) == plain(log))
    {
        let reason = format!(
            "`{}` is the access log's file too, and a report replaces it",
            log.display()
        );
        problems.push(Problem::between(&["report", "files"], &["access-log", "file"], reason));
    }
}
