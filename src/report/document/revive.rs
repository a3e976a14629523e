//! A report read back as the run that it tells of, for the summary that people read.

use crate::{
    report::document::{Asserted, ChildEnd, Decision, Document, Exit, Group, Host, Route, Times, point},
    traffic::{
        Blame,
        egress::{Decisions, Place, Verdict},
        failures::FailureGroup,
        meter::{HostTraffic, Traffic, route::RouteTraffic},
        summary::{self, ChildOutcome, ExitReason, Summary, Warning},
        timeline::{Slot, Timeline},
    },
};

/// Warnings that follow from the figures: they are made anew.
const FOLLOWING: [&str; 3] = ["hosts_beyond_limit", "failures_beyond_limit", "unedited"];

impl Document {
    /// The run, as far as the summary tells of it: what only programs are told, such as TLS, is left out.
    pub fn revive(&self) -> Summary {
        let run = &self.run;
        Summary {
            run: summary::Run {
                id: run.id.clone(),
                trace_id: run.trace_id.clone(),
                name: run.name.clone(),
                command: run.command.clone(),
                started_at: self.started_at(),
                duration: run.duration,
                config_sources: run.config.sources.clone(),
                policy: run.policy.clone(),
                confine: run.confine.as_deref().filter(|held| *held == "tcp").map(|_| "tcp"),
                capture: run.capture,
                amb_version: self.amb.version.clone(),
            },
            child: self.child.revive(),
            exit: self.exit.revive(),
            traffic: self.traffic(),
            assertions: self.assertions.iter().map(Asserted::revive).collect(),
            warnings: self.own_warnings().cloned().collect(),
            panicked_tasks: 0,
            leftovers: self.leftovers,
            egress: self.egress.as_ref().map(|egress| match &*egress.mode {
                "enforce" => "enforce",
                _ => "audit",
            }),
            reports: Vec::new(),
        }
    }

    /// The warnings that the run has collected, without those that follow from its figures.
    fn own_warnings(&self) -> impl Iterator<Item = &Warning> {
        self.warnings
            .iter()
            .filter(|warning| !FOLLOWING.contains(&&*warning.code))
    }

    /// What passed.
    fn traffic(&self) -> Traffic {
        let totals = &self.totals;
        let decisions = self.egress.iter().flat_map(|egress| &egress.decisions);
        Traffic {
            requests: totals.requests.counts.clone(),
            tunnels: totals.tunnels.clone(),
            connections: totals.connections,
            bytes: totals.bytes,
            held: totals.held.clone().unwrap_or_default(),
            retries: totals.retries.clone().unwrap_or_default(),
            latency: totals.latency.clone(),
            connect: totals.connect.clone(),
            first_byte: totals.first_byte.clone(),
            hosts: self.hosts.iter().map(Host::revive).collect(),
            routes: self.routes.iter().map(Route::revive).collect(),
            failures: self.failures.iter().map(Group::revive).collect(),
            failures_beyond: self.failures_beyond,
            denials: self.denials.iter().map(Group::revive).collect(),
            denials_beyond: self.denials_beyond,
            decisions: decisions.filter_map(Decision::revive).collect::<Decisions>(),
            circuits: self.breakers.circuits.clone(),
            names: Vec::new(),
            tls_failures: totals.tls_failures,
            edits: self.edits.clone().unwrap_or_default(),
            credentials: totals.credentials.clone().unwrap_or_default(),
            timeline: self.timeline.as_ref().and_then(Times::revive).unwrap_or_default(),
        }
    }
}

impl ChildEnd {
    /// How the child ended; that amb lost sight of it, if a newer one has another word for it.
    fn revive(&self) -> summary::Child {
        let known = ChildOutcome::ALL.into_iter().find(|known| known.name() == self.outcome);
        summary::Child {
            pid: self.pid,
            exit_code: self.exit_code,
            signal: self.signal.map(|number| summary::Signal {
                number,
                name: self.signal_name.clone().unwrap_or_else(|| number.to_string()),
            }),
            outcome: known.unwrap_or(ChildOutcome::Lost),
        }
    }
}

impl Exit {
    /// How amb ended; as the child did, if a newer one has another reason for it.
    fn revive(&self) -> summary::Exit {
        let known = ExitReason::ALL.into_iter().find(|known| known.name() == self.reason);
        summary::Exit {
            code: self.code,
            reason: known.unwrap_or(ExitReason::Child),
        }
    }
}

impl Host {
    /// What passed between the child and this host.
    fn revive(&self) -> HostTraffic {
        HostTraffic {
            host: self.name.clone(),
            port: self.port,
            requests: self.requests.clone(),
            tunnels: self.tunnels.clone().unwrap_or_default(),
            connections: self.connections,
            bytes: self.bytes,
            held: self.held.clone().unwrap_or_default(),
            retries: self.retries.clone().unwrap_or_default(),
            latency: self.latency.clone(),
            connect: self.connect.clone(),
            first_byte: self.first_byte.clone(),
            tls: None,
        }
    }
}

impl Route {
    /// What went by this route.
    fn revive(&self) -> RouteTraffic {
        RouteTraffic {
            id: self.id.clone(),
            requests: self.requests.clone(),
            tunnels: self.tunnels.clone().unwrap_or_default(),
            connections: self.connections,
            bytes: self.bytes,
            held: self.held.clone().unwrap_or_default(),
            latency: self.latency.clone(),
            connect: self.connect.clone(),
            first_byte: self.first_byte.clone(),
            templates: Vec::new(),
        }
    }
}

impl Group {
    /// These failures, without the reason why they were not retried.
    fn revive(&self) -> FailureGroup {
        FailureGroup {
            count: self.count,
            method: self.method.clone(),
            host: self.host.clone(),
            port: self.port,
            path: self.path.clone(),
            error_type: self.error_type.clone(),
            blame: match &*self.blame {
                "client" => Blame::Client,
                "upstream" => Blame::Upstream,
                "policy" => Blame::Policy,
                _ => Blame::Amb,
            },
            detail: self.detail.clone(),
            refused: None,
            first_at: point(&self.first_at),
            first_request_id: self.first_request_id.clone(),
        }
    }
}

impl Decision {
    /// What was decided about a place, and how often; none if a newer amb has another word for it.
    fn revive(&self) -> Option<(Place, u64)> {
        let all = [Verdict::Denied, Verdict::WouldDeny, Verdict::Allowed];
        let verdict = all.into_iter().find(|verdict| verdict.name() == self.action)?;
        let place = Place {
            verdict,
            host: self.host.clone(),
            port: self.port,
            rule: self.rule.as_str().into(),
            origin: self.origin.as_deref().map(Into::into),
        };
        Some((place, self.count))
    }
}

impl Times {
    /// The timeline; none if it is not like one.
    pub(in crate::report) fn revive(&self) -> Option<Timeline> {
        let all = self.requests.iter().zip(&self.tunnels).zip(&self.failed);
        let slots = all.map(|((requests, tunnels), failed)| Slot {
            requests: *requests,
            tunnels: *tunnels,
            failed: *failed,
        });
        Timeline::revive(point(&self.begins_at), self.width, slots.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        SummaryMode,
        color::{Stream, When},
        human::{self, tests::summary},
        json::tests::everything,
    };

    #[test]
    fn a_report_reads_as_the_run_was_told_of() {
        let terminal = Stream::decide(When::Never, true, Some(120), |_| None);
        let file = Stream::decide(When::Never, false, None, |_| None);
        for summary in [everything(), summary()] {
            let again = Document::read(&Document::of(&summary).to_json()).unwrap().revive();
            for stream in [terminal, file] {
                for mode in [SummaryMode::Full, SummaryMode::Compact, SummaryMode::Auto] {
                    assert_eq!(
                        human::render(&again, mode, &stream),
                        human::render(&summary, mode, &stream)
                    );
                }
            }
        }
    }
}
