//! GitLab: a [section] of the job's log that can be folded.
//!
//! [section]: https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections

use std::time::UNIX_EPOCH;

use crate::{report::ci::heading, traffic::summary::Summary};

/// The summary in a section, folded if all is well.
pub(super) fn framed(summary: &Summary, text: &str) -> String {
    if text.lines().count() < 2 {
        return text.to_owned();
    }
    let run = &summary.run;
    let ended = (run.started_at + run.duration).duration_since(UNIX_EPOCH);
    let ended = ended.unwrap_or_default().as_secs();
    let name: String = run
        .id
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || *character == '-')
        .collect();
    let well = summary.exit.code == 0
        && summary.traffic.failed() + summary.traffic.denied() == 0
        && summary
            .assertions
            .iter()
            .all(crate::traffic::assertion::Assertion::passed);
    let folded = if well { "[collapsed=true]" } else { "" };
    let heading = heading(summary);
    format!(
        "\u{1b}[0Ksection_start:{ended}:amb_{name}{folded}\r\u{1b}[0Kamb: {heading}\n\
         {text}\u{1b}[0Ksection_end:{ended}:amb_{name}\r\u{1b}[0K\n"
    )
}
