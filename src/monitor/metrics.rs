//! The metrics of a run, for whoever scrapes them: `GET /metrics` at the address of `--metrics-listen`.
//!
//! The figures are asked from the workers when somebody asks for them, and cost requests nothing. Whoever can connect is
//! answered, whatever `Host` says: a scrape is made by any name.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, HeaderValue, VARY},
};

use super::{
    View,
    endpoint::{self, Body, Socket},
};
use crate::{
    report::openmetrics::{Exposition, Format},
    veil,
};

/// Where the metrics of a run can be scraped.
#[derive(Debug)]
pub struct Scraped {
    /// The socket, bound.
    listener: TcpListener,
    /// Its address.
    address: SocketAddr,
    /// Labels that every figure gets.
    labels: BTreeMap<String, String>,
}

impl Scraped {
    /// Binds this address; port 0 for any free one.
    ///
    /// # Errors
    /// The kernel's, such as "address in use".
    pub fn bind(address: SocketAddr, labels: BTreeMap<String, String>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            labels,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers all who ask, for ever. `ended` says whether the command has ended.
    ///
    /// # Errors
    /// The process is out of something.
    pub(super) async fn serve(self, view: Arc<View>, ended: Arc<AtomicBool>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let exposition = Rc::new(RefCell::new(Exposition::new(self.labels)));
        let answer = move |request| {
            let (view, exposition, ended) = (Arc::clone(&view), Rc::clone(&exposition), Arc::clone(&ended));
            async move { answer(&view, &exposition, &ended, request).await }
        };
        endpoint::serve(Socket::Tcp(listener), answer).await;
        Ok(())
    }
}

/// Answers a request.
async fn answer(
    view: &View,
    exposition: &RefCell<Exposition>,
    ended: &AtomicBool,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path();
    if !matches!(path, "/" | "/metrics") {
        return endpoint::refuse(
            StatusCode::NOT_FOUND,
            "there is no such thing: the metrics are at /metrics",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = endpoint::refuse(StatusCode::METHOD_NOT_ALLOWED, "not by this method");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if path == "/" {
        return endpoint::refuse(StatusCode::OK, "amb: the metrics of this run are at /metrics");
    }
    let unavailable = |reason| endpoint::refuse(StatusCode::SERVICE_UNAVAILABLE, reason);
    // Sums without those of a worker would look as if the counters had begun anew.
    let Some((document, mut moment)) = view.moment().await else {
        return unavailable("the figures are not to be had: the run is at its end, or amb is too busy");
    };
    moment.child_up = moment.child_up.map(|_| !ended.load(Ordering::Relaxed));
    let Ok(document) = document.veiled() else {
        return unavailable("a secret is one of the words that the figures consist of");
    };
    let format = accepted(request.headers());
    let text = exposition.borrow_mut().render(&document, Some(moment), format);
    let text = veil::text(&text).into_owned();
    let mut response = endpoint::answer(StatusCode::OK, format.content_type(), text);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// The format that is asked for ([RFC 9110 §12.5.1]); the plain one, unless the other is named and wanted as much.
///
/// [RFC 9110 §12.5.1]: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
fn accepted(headers: &HeaderMap) -> Format {
    let (mut open, mut text) = (0.0, 0.0);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut version) = (1.0_f32, None);
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match &*name.trim().to_ascii_lowercase() {
                "q" => weight = value.parse().unwrap_or(0.0),
                "version" => version = Some(value),
                _ => {}
            }
        }
        match (&*media, version) {
            // What has come since 0.0.1 is not used.
            ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => open = weight.max(open),
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => text = weight.max(text),
            _ => {}
        }
    }
    if open > 0.0 && open >= text {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                            application/openmetrics-text;version=0.0.1;q=0.4,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            (prometheus_2, Format::OpenMetrics),
            (prometheus_3, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", Format::OpenMetrics),
            (
                "text/plain;version=0.0.4;q=1,application/openmetrics-text;q=0.3",
                Format::Text,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("*/*", Format::Text),
            ("application/json", Format::Text),
            (",;q,=", Format::Text),
            ("", Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(accepted(&headers), format, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()), Format::Text);
    }
}
