//! Who hears of each exchange and tunnel as it ends.

use std::sync::Arc;

use super::live::Sums;
use crate::{
    monitor::Feed,
    otlp::Sink as Spans,
    proxy::Listener,
    report::{access_log::Sink, har::Keeper},
};

/// Who gets each record as it ends.
pub(super) struct Listeners {
    /// The logs.
    pub(super) logs: Vec<Sink>,
    /// What may stop the run.
    pub(super) sums: Option<Arc<Sums>>,
    /// The requests that are kept for reports.
    pub(super) requests: Option<Keeper>,
    /// The page.
    pub(super) feed: Option<Arc<Feed>>,
    /// A collector.
    pub(super) spans: Option<Spans>,
}

impl Listeners {
    /// All of them as one; none if there are none.
    pub(super) fn listener(self) -> Option<Listener> {
        let Self {
            logs,
            sums,
            requests,
            feed,
            spans,
        } = self;
        if logs.is_empty() && sums.is_none() && requests.is_none() && feed.is_none() && spans.is_none() {
            return None;
        }
        Some(Arc::new(move |record| {
            for log in &logs {
                log.log(record);
            }
            if let Some(sums) = &sums {
                sums.add(record);
            }
            if let Some(requests) = &requests {
                requests.keep(record);
            }
            if let Some(feed) = &feed {
                feed.add(record);
            }
            if let Some(spans) = &spans {
                spans.take(record);
            }
        }))
    }
}
