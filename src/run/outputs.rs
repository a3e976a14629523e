//! What a run is written to.

use super::{export, metrics::Figures};
use crate::{
    config::Config,
    otlp::Exporter,
    report::{
        access_log::{AccessLog, AccessLogEnd},
        file::{OutputFile, ReportFile},
    },
};

/// What a run is written to.
pub(super) struct Outputs<'a> {
    /// What is written at the end.
    files: Files<'a>,
    /// The access log; none if none is wanted.
    access_log: Option<AccessLog>,
    /// The events; none if nobody follows the run.
    events: Option<AccessLog>,
    /// What is exported; none if nothing is.
    pub(super) exporter: Option<Exporter>,
}

/// What is written at the end.
pub(super) struct Files<'a> {
    /// The reports' files.
    pub(super) reports: Vec<ReportFile>,
    /// The lockfile that it makes; none if it makes none.
    pub(super) learned: Option<OutputFile>,
    /// Its figures.
    pub(super) figures: Figures<'a>,
}

impl<'a> Outputs<'a> {
    /// Opens all of them.
    ///
    /// # Errors
    /// A line for each that cannot be written.
    pub(super) fn open(config: &'a Config) -> Result<Self, String> {
        let reports = config.report.reserve();
        let learned = config.policy.egress.as_ref().and_then(|egress| egress.learn.as_deref());
        let learned = learned.map(|path| OutputFile::reserve("lockfile", path)).transpose();
        let learned = learned.map_err(|error| error.to_string());
        let access_log = config.access_log.as_ref().map(AccessLog::open).transpose();
        let events = config.report.events.as_ref().map(AccessLog::follow).transpose();
        match (reports, learned, access_log, events) {
            (Ok(reports), Ok(learned), Ok(access_log), Ok(events)) => Ok(Self {
                files: Files {
                    reports,
                    learned,
                    figures: Figures::prepare(&config.metrics),
                },
                access_log,
                events,
                exporter: export::prepare(config),
            }),
            (reports, learned, access_log, events) => {
                let reasons = [reports.err(), learned.err(), access_log.err(), events.err()];
                Err(reasons.into_iter().flatten().collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// What takes a line for each record.
    pub(super) fn logs(&self) -> [&Option<AccessLog>; 2] {
        [&self.access_log, &self.events]
    }

    /// Ends the logs; what is written at the end, and what became of them.
    pub(super) fn close(self) -> (Files<'a>, [Option<AccessLogEnd>; 2]) {
        let logs = [self.access_log, self.events].map(|log| log.map(AccessLog::close));
        (self.files, logs)
    }
}
