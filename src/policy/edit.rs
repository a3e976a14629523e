//! What is changed in requests and responses on their way: fields of heads, where a request goes, JSON in bodies, statuses.
//!
//! A request is changed once, before limits, circuits and retries look at it: all of these are about what is sent, and what
//! is sent again is what was sent. What is decided about a request, its route above all, goes by what the client asked.
//!
//! Each change has an id, which is its key: `headers.set.X-Team`. Records name it, and never a value.

pub mod back;
pub mod header;
pub mod json;
pub mod plain;
pub mod reply;
pub mod rewrite;
pub mod table;
pub mod value;

use std::{fmt::Write as _, sync::Arc};

use self::{
    header::{HeaderEdits, HeaderOptions},
    json::{Json, JsonOptions},
    reply::{Replacement, ReplyOptions, StatusOptions, Statuses},
    rewrite::{Rewrite, RewriteOptions},
    value::Known,
};
use super::Problem;

/// The options of all that a route can change, each under the name of its table.
#[derive(Clone, Copy, Debug)]
pub struct EditOptions<'a> {
    /// `headers`
    pub headers: &'a HeaderOptions,
    /// `response-headers`
    pub response_headers: &'a HeaderOptions,
    /// `rewrite`
    pub rewrite: &'a RewriteOptions,
    /// `json`
    pub json: &'a JsonOptions,
    /// `response-json`
    pub response_json: &'a JsonOptions,
    /// `response-status`
    pub response_status: &'a StatusOptions,
    /// `response-body`
    pub response_body: &'a ReplyOptions,
}

/// What is changed in the requests and responses of a route.
#[derive(Debug, Default)]
pub struct Edits {
    /// Fields of requests.
    pub headers: HeaderEdits,
    /// Fields of responses.
    pub response_headers: HeaderEdits,
    /// Where requests go instead; none for where they ask.
    pub rewrite: Option<Rewrite>,
    /// What is changed in JSON that goes up.
    pub json: Option<Json>,
    /// What is changed in JSON that comes down.
    pub response_json: Option<Json>,
    /// Other statuses.
    pub response_status: Statuses,
    /// Another body.
    pub response_body: Option<Replacement>,
}

impl EditOptions<'_> {
    /// The valid edits; none if nothing is changed. `weaker` is what the route's own fields lie over, `problems` gets what is
    /// wrong.
    pub fn build(
        self,
        weaker: Option<EditOptions<'_>>,
        known: &Known<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Edits>> {
        let edits = Edits {
            headers: self.headers.build(
                header::REQUESTS,
                weaker.map(|weaker| weaker.headers),
                header::of_request,
                known,
                problems,
            ),
            response_headers: self.response_headers.build(
                "response-headers",
                weaker.map(|weaker| weaker.response_headers),
                header::of_response,
                known,
                problems,
            ),
            rewrite: self.rewrite.build(known, problems),
            json: self.json.build("json", problems),
            response_json: self.response_json.build("response-json", problems),
            response_status: self.response_status.build(problems),
            response_body: self.response_body.build(known, problems),
        };
        let nothing = edits.headers.is_empty()
            && edits.response_headers.is_empty()
            && edits.rewrite.is_none()
            && edits.json.is_none()
            && edits.response_json.is_none()
            && edits.response_status.is_empty()
            && edits.response_body.is_none();
        (!nothing).then(|| Arc::new(edits))
    }
}

impl Edits {
    /// Whether anything of a response may have to be changed.
    pub fn is_about_responses(&self) -> bool {
        self.rewrite.is_some()
            || !self.response_headers.is_empty()
            || !self.response_status.is_empty()
            || self.response_json.is_some()
            || self.response_body.is_some()
    }

    /// Whether the body of a response may have to be changed; to be without one, by its status, is a change too.
    pub fn may_change_reply_body(&self) -> bool {
        !self.response_status.is_empty() || self.response_json.is_some() || self.response_body.is_some()
    }

    /// What is changed, in the order in which it is: each with its id and what it does, without the values of variables and
    /// files.
    pub fn said(&self) -> Vec<(String, String)> {
        let mut said = Vec::new();
        if let Some(rewrite) = &self.rewrite {
            said.push((rewrite::ID.to_owned(), rewrite.to_string()));
        }
        said.extend(self.headers.said("requests"));
        if let Some(json) = &self.json {
            said.push((json.id.to_string(), format!("{json} in JSON that requests carry")));
        }
        said.extend(self.response_status.said());
        said.extend(self.response_headers.said("responses"));
        if let Some(body) = &self.response_body {
            said.push((reply::BODY_ID.to_owned(), body.to_string()));
        }
        if let Some(json) = &self.response_json {
            said.push((json.id.to_string(), format!("{json} in JSON that responses carry")));
        }
        said
    }

    /// What is changed, as one sentence for people.
    pub fn rule(&self) -> String {
        let mut text = "changed on the way: ".to_owned();
        for (at, (_, does)) in self.said().into_iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(text, "{separator}{does}").unwrap_or_default();
        }
        text
    }
}
