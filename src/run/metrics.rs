//! To whom the figures of a run are told: scraped while it goes on, and when it is over written to a file and sent to a push
//! gateway. Nothing that goes wrong with the latter changes how amb ends; the summary warns of it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::system::uname;
use tokio::runtime::{self, LocalOptions};

use super::StartError;
use crate::{
    config::metrics::{Gateway, Metrics},
    monitor::metrics::Scraped,
    policy::{Policy, percent},
    proxy::{Authority, Message, Messenger, Tls},
    report::{
        document::Document,
        file::{OutputFile, ReportError},
        openmetrics::{Exposition, Format},
    },
    traffic::summary::{Summary, Warning},
    veil,
};

/// How long a push gateway may take in all.
const LIMIT: Duration = Duration::from_secs(5);

/// How much of what a push gateway says is passed on, in characters.
const MOST_SAID: usize = 200;

/// Where the figures go at the end.
pub(super) struct Figures<'a> {
    /// What is asked for.
    metrics: &'a Metrics,
    /// Their file, or why it cannot be written; none if there is to be none.
    file: Option<Result<OutputFile, ReportError>>,
}

/// Where the run's metrics are scraped, before the command starts; none if they are not.
///
/// # Errors
/// Nothing can listen there.
pub(super) fn bind(metrics: &Metrics) -> Result<Option<Scraped>, StartError> {
    let Some(address) = metrics.listen else {
        return Ok(None);
    };
    let bound = Scraped::bind(address, metrics.labels.clone());
    let scraped = bound.map_err(|reason| StartError::Metrics { address, reason })?;
    tracing::info!(address = %scraped.address(), "the metrics can be scraped");
    Ok(Some(scraped))
}

impl<'a> Figures<'a> {
    /// Finds out, before the command starts, whether the file can be written; and sees to it that no password is.
    pub(super) fn prepare(metrics: &'a Metrics) -> Self {
        let authorization = metrics
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.authorization.as_ref());
        if let Some(authorization) = authorization {
            veil::learn(&authorization.password);
            veil::learn(authorization.value.as_bytes());
        }
        let file = metrics.textfile.as_deref();
        Self {
            metrics,
            file: file.map(|path| OutputFile::reserve("metrics", path)),
        }
    }

    /// Writes and sends them, as [`Messenger::new`] has it. Returns what to warn of.
    pub(super) fn tell(
        self,
        summary: &Summary,
        policy: &Arc<Policy>,
        proxy: SocketAddr,
        tls: &Arc<Tls>,
    ) -> Vec<Warning> {
        if self.file.is_none() && self.metrics.gateway.is_none() {
            return Vec::new();
        }
        let document = match Document::of(summary).veiled() {
            Ok(document) => document,
            Err(reason) => {
                let message = format!("the metrics cannot be told: {reason}");
                return vec![Warning::new("metrics_not_written", message)];
            }
        };
        let text = Exposition::new(self.metrics.labels.clone()).render(&document, None, Format::Text);
        let text = veil::text(&text);
        let mut warnings = Vec::new();
        if let Some(Err(error)) = self.file.map(|file| file.and_then(|file| file.write(text.as_bytes()))) {
            warnings.push(Warning::new("metrics_not_written", error.to_string()));
        }
        if let Some(gateway) = &self.metrics.gateway
            && let Err(reason) = push(gateway, &summary.run.name, text.as_bytes(), || {
                Messenger::new(policy, proxy, tls)
            })
        {
            let message = format!("cannot push the metrics to {gateway}: {reason}");
            warnings.push(Warning::new("metrics_not_pushed", message));
        }
        warnings
    }
}

/// Sends the figures, in the place of those that the last run of this name on this machine has sent.
///
/// # Errors
/// A sentence fragment that says what went wrong.
fn push(gateway: &Gateway, job: &str, text: &[u8], messenger: impl FnOnce() -> Messenger) -> Result<(), String> {
    let instance = uname().nodename().to_string_lossy().into_owned();
    let path = format!(
        "{}/metrics{}{}",
        gateway.prefix,
        segment("job", job),
        segment("instance", &instance)
    );
    let authority = Authority::new(&*gateway.host, gateway.port);
    let mut fields = vec![("Content-Type".to_owned(), Format::Text.content_type().into())];
    if let Some(authorization) = &gateway.authorization {
        fields.push(("Authorization".to_owned(), authorization.value.clone().into_bytes()));
    }
    let message = Message {
        fields,
        limit: LIMIT,
        ..Message::put(authority, gateway.is_secure, path, text.to_vec())
    };
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let runtime = runtime.map_err(|reason| reason.to_string())?;
    let reply = runtime.block_on(async { messenger().ask(message).await })?;
    if (200..300).contains(&reply.status) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&reply.body);
    let said: String = said
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(MOST_SAID)
        .collect();
    let said = said.trim();
    let pause = if said.is_empty() { "" } else { ": " };
    Err(format!("it answered {}{pause}{said}", reply.status))
}

/// A label of the group and its value, as they stand in the path. What a path cannot hold is written in base64, as the push
/// gateway [has it].
///
/// [has it]: https://github.com/prometheus/pushgateway#url
fn segment(name: &str, value: &str) -> String {
    if value.is_empty() {
        // The padding alone: a path may end with nothing else.
        return format!("/{name}@base64/=");
    }
    if value.contains('/') || matches!(value, "." | "..") {
        return format!("/{name}@base64/{}", URL_SAFE_NO_PAD.encode(value));
    }
    format!("/{name}/{}", percent::encoded(value.as_bytes(), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_cannot_hold_is_written_in_base64() {
        for (value, written) in [
            ("billing", "/job/billing"),
            ("a b%ü", "/job/a%20b%25%C3%BC"),
            ("/var/tmp", "/job@base64/L3Zhci90bXA"),
            ("..", "/job@base64/Li4"),
            ("", "/job@base64/="),
        ] {
            assert_eq!(segment("job", value), written);
        }
    }
}
