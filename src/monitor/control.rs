//! The control socket of a run: what `amb status`, `amb top` and `amb stop` ask. HTTP/1.1 and JSON, so that curl can ask, too:
//! `curl --unix-socket …/amb/ID.sock http://amb/v1/status`.

use std::sync::Arc;

use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use serde::Serialize;

use super::{
    View,
    endpoint::{self, Body},
};
use crate::veil;

/// Answers a request.
pub(super) async fn answer(view: Arc<View>, request: Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/status") => json(&view.status().await),
        (&Method::GET, "/v1/live") => json(&view.live().await),
        (&Method::GET, "/v1/report") => json(&view.document().await),
        (&Method::GET, "/v1/environment") => json(&view.offer),
        (&Method::POST, "/v1/stop") => match &view.stop {
            Some(stop) => {
                stop();
                endpoint::answer(StatusCode::ACCEPTED, "application/json", "{}\n")
            }
            None => endpoint::refuse(StatusCode::CONFLICT, "this amb ends with its command: end that"),
        },
        (_, "/v1/environment" | "/v1/status" | "/v1/live" | "/v1/report" | "/v1/stop") => {
            endpoint::refuse(StatusCode::METHOD_NOT_ALLOWED, "not by this method")
        }
        _ => endpoint::refuse(StatusCode::NOT_FOUND, "there is no such thing"),
    }
}

/// A value as JSON, without the secrets that amb knows.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            endpoint::answer(StatusCode::OK, "application/json", veil::json(&bytes).into_owned())
        }
        Err(reason) => endpoint::refuse(StatusCode::INTERNAL_SERVER_ERROR, &reason.to_string()),
    }
}
