//! `--ui`: a page on loopback that shows requests as they end, for the user who has started the run and nobody else.
//!
//! Whoever wants it must be a process of the same user or of root, know the token that amb has written to its stderr, call the
//! page by its address, and not be another page. The token leaves the address bar with the first answer, for a cookie that
//! scripts cannot read. The page loads nothing from elsewhere, and what comes from traffic is text in it and never markup.

mod curl;
mod door;
mod feed;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
        SET_COOKIE,
    },
};

use self::door::{Door, Verdict};
pub use self::feed::Feed;
use super::{
    View, control,
    endpoint::{self, Body, Ends, Socket},
};

/// What the browser may load, which is what is here.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                              form-action 'none'; frame-ancestors 'none'";

/// The parts of the page: their paths, types and contents.
const PARTS: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("page/page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    ),
];

/// A page that is bound and not yet served: browsers already queue up.
#[derive(Debug)]
pub struct Page {
    /// Where it listens.
    listener: TcpListener,
    /// Who may come in.
    door: Arc<Door>,
    /// What it shows.
    feed: Arc<Feed>,
}

impl Page {
    /// Binds it.
    ///
    /// # Errors
    /// The address is taken, or the kernel has no random numbers for a token.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            door: Arc::new(Door::new(listener.local_addr()?)?),
            listener,
            feed: Arc::default(),
        })
    }

    /// What opens it in a browser.
    pub fn url(&self) -> String {
        self.door.url()
    }

    /// Where records are put for it.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Serves it for ever.
    ///
    /// # Errors
    /// The process is out of something.
    pub(super) fn serve(self, view: &Arc<View>) -> io::Result<impl Future<Output = ()> + use<>> {
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let (page, view) = (Arc::new(self), Arc::clone(view));
        let answer = move |request| Arc::clone(&page).answer(Arc::clone(&view), request);
        Ok(endpoint::serve(Socket::Tcp(listener), answer))
    }

    /// It, for the thread that serves it.
    pub(super) fn share(&self) -> io::Result<Self> {
        Ok(Self {
            listener: self.listener.try_clone()?,
            door: Arc::clone(&self.door),
            feed: Arc::clone(&self.feed),
        })
    }

    /// Answers a request.
    async fn answer(self: Arc<Self>, view: Arc<View>, request: Request<Incoming>) -> Response<Body> {
        let ends = request.extensions().get::<Ends>().copied();
        let mut response = match self.door.judge(ends, request.uri(), request.headers()) {
            Verdict::Refused(status, reason) => endpoint::refuse(status, reason),
            Verdict::Welcome(cookie) => {
                let mut response = endpoint::answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
                let headers = response.headers_mut();
                headers.insert(LOCATION, HeaderValue::from_static("/"));
                if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                    headers.insert(SET_COOKIE, cookie);
                }
                response
            }
            Verdict::Known if request.method() != Method::GET => {
                endpoint::refuse(StatusCode::METHOD_NOT_ALLOWED, "not by this method")
            }
            Verdict::Known => self.part(&view, request.uri().path(), request.headers()).await,
        };
        secure(response.headers_mut());
        response
    }

    /// A part of the page.
    async fn part(&self, view: &Arc<View>, path: &str, headers: &HeaderMap) -> Response<Body> {
        match path {
            "/v1/live" => control::json(&view.live().await),
            "/v1/events" => {
                let last = headers
                    .get("last-event-id")
                    .and_then(|id| id.to_str().ok()?.parse().ok());
                let mut response = Response::new(self.feed.follow(last.unwrap_or(0)).boxed_unsync());
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
                headers.insert(hyper::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            _ => match PARTS.iter().find(|(known, ..)| *known == path) {
                Some((_, content_type, content)) => endpoint::answer(StatusCode::OK, content_type, *content),
                None => endpoint::refuse(StatusCode::NOT_FOUND, "there is no such thing"),
            },
        }
    }
}

/// What every answer says to the browser, refusals included.
fn secure(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
