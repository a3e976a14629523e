//! What is changed in a request, once and before anything is sent of it: an attempt sends what all attempts send.

use std::sync::Arc;

use super::{
    super::{
        coding::{self, Undecodable},
        error::ExchangeError,
        recorder::RequestId,
        target::Authority,
        tls::client::{Aim, Offer},
        upstream::Purpose,
        wire::{
            connection::Connection,
            framing::Framing,
            gather::{Gathering, Seen},
            head::Fields,
            http1::Conversation,
            pump::{Coding, Pump},
            tape::Tape,
        },
    },
    Exchange, Expects,
};
use crate::{
    policy::{
        auth::Withheld,
        edit::{
            Edits,
            back::Trip,
            header::{Change, HeaderEdit, HeaderEdits},
            json::{Edited, Json, OnLimit, is_json},
            rewrite::{self, Place, Rewrite, Scheme},
            value::Ids,
        },
        trace::TraceParent,
    },
    traffic::{self, edits::Notes},
};

/// What no longer holds for a body that was changed: what it was checked by.
const DIGESTS: [&str; 4] = ["Content-MD5", "Digest", "Content-Digest", "Repr-Digest"];

/// What no longer holds for a representation that was changed: what it is known by, and that parts of it can be had.
const VALIDATORS: [&str; 2] = ["ETag", "Accept-Ranges"];

/// A body that takes the place of another.
pub(super) enum Other {
    /// This one.
    Body(Vec<u8>),
    /// None: it goes on as it came, of which the notes say why if it should not have.
    None,
}

impl<'a> Exchange<'a> {
    /// What tells the request from all others.
    pub(super) fn request_id(&self) -> RequestId<'a> {
        RequestId {
            run: &self.worker.run_id,
            number: self.open.id,
        }
    }
}

impl Exchange<'_> {
    /// Changes the request as its rules and the run's trace have it. Returns the conversation in which it is sent.
    pub(super) async fn change_request(
        &mut self,
        client: &mut Connection,
        framing: Framing,
    ) -> Result<Conversation, ExchangeError> {
        let mut other = Other::None;
        if let Some(edits) = self.rules.edits.clone() {
            self.change_request_head(&edits)?;
            if let Some(json) = &edits.json
                && framing != Framing::Empty
                && self.request.head.fields.first("content-type").is_some_and(is_json)
            {
                // Boxed here and not by the caller: heads are changed far more often than bodies.
                other = Box::pin(self.change_body(json, client, framing)).await?;
            }
        }
        self.join_trace();
        Ok(match other {
            Other::Body(body) => Conversation::of(Tape::whole(body, &self.worker.policy.kept)),
            Other::None => Conversation::new(Pump::new(framing, Coding::Kept)),
        })
    }

    /// Changes where the request goes, and its fields.
    fn change_request_head(&mut self, edits: &Edits) -> Result<(), ExchangeError> {
        let request = self.request_id();
        let ids = Ids {
            run: request.run,
            request: &request,
        };
        if let Some(rewrite) = &edits.rewrite {
            self.redirect(rewrite, &ids)?;
            if self.trip.is_some() {
                // Whether it may go where it goes now.
                self.clear_names()?;
            }
        }
        self.change_request_fields(&edits.headers, &ids);
        Ok(())
    }

    /// Changes the request's fields; where one is to be a secret, to what [`Exchange::sign_in`] finds and replaces, if that may
    /// go where the request goes.
    fn change_request_fields(&mut self, edits: &HeaderEdits, ids: &Ids<'_>) {
        self.open.record.edits.applied.reserve(edits.0.len());
        for edit in &edits.0 {
            if let Some(name) = edit.secret()
                && let Err(why) = self.may_stand_in(name)
            {
                // That there are hosts without it is what its hosts are for.
                if why != Withheld::OtherHost {
                    self.withhold(why);
                }
                continue;
            }
            change_field(&mut self.request.head.fields, edit, ids, &mut self.open.record.edits);
        }
    }

    /// Sends the request elsewhere. `Host` follows, unless it is to be preserved.
    fn redirect(&mut self, rewrite: &Rewrite, ids: &Ids<'_>) -> Result<(), ExchangeError> {
        let request = &mut self.request;
        let asked = Place {
            scheme: match request.scheme() {
                traffic::Scheme::Http => Scheme::Http,
                traffic::Scheme::Https => Scheme::Https,
            },
            host: request.authority.host.clone(),
            port: request.authority.port,
        };
        let path = rewrite.path(&request.path, ids);
        let place = rewrite.place(&asked);
        if path.is_none() && place.is_none() {
            return Ok(());
        }
        self.open.record.edits.applied.push(rewrite::ID.into());
        let written = request.host.as_deref().or_else(|| request.head.fields.first("host"));
        let written = written.map(|host| String::from_utf8_lossy(host).into_owned());
        if let Some(path) = path {
            self.asked_path = Some(std::mem::replace(&mut request.path, path));
        }
        if let Some(place) = &place {
            request.authority = Authority::new(&*place.host, place.port);
            request.purpose = match place.scheme {
                Scheme::Http => Purpose::Exchange,
                Scheme::Https => {
                    let demands = &self.rules.server_tls;
                    Purpose::Secure(Aim::new(&place.host, true, Offer::Http11, demands)?)
                }
            };
            // What was prepared leads to the server that was asked for.
            request.prepared = None;
            let host = place.authority().into_bytes();
            if !rewrite.preserves_host {
                request.head.fields.set("Host", &host);
            }
            request.host = Some(host);
            self.open.record.scheme = Some(request.scheme());
        }
        self.trip = Some(Trip {
            written: written.unwrap_or_else(|| asked.authority()),
            sent: place.unwrap_or_else(|| asked.clone()),
            asked,
        });
        Ok(())
    }

    /// Reads all of the body, if it is not too long for that, and changes it.
    async fn change_body(
        &mut self,
        json: &Json,
        client: &mut Connection,
        framing: Framing,
    ) -> Result<Other, ExchangeError> {
        let mut gathering = Gathering::new(framing, json.limit);
        let length = match self.gather(client, &mut gathering).await? {
            Seen::Whole(length) => length,
            Seen::TooLong => {
                return too_long(json, "the request's", &mut self.open.record.edits)
                    .map(|()| Other::None)
                    .ok_or(ExchangeError::RequestUnedited(json.limit));
            }
            Seen::Trailers => {
                self.open.record.edits.note("the request has trailers");
                return Ok(Other::None);
            }
            // Whoever passes it on says so.
            Seen::Broken | Seen::Part => return Ok(Other::None),
        };
        let fields = &mut self.request.head.fields;
        let notes = &mut self.open.record.edits;
        let changed = changed(json, fields, gathering.body, "the request's", notes)
            .ok_or(ExchangeError::RequestUnedited(json.limit))?;
        let Other::Body(body) = changed else {
            return Ok(Other::None);
        };
        client.inbox.consume(length);
        fields.put("Content-Length", body.len().to_string().as_bytes());
        // Nothing is waited for any more.
        fields.remove("Expect");
        self.expects = Expects::Nothing;
        Ok(Other::Body(body))
    }

    /// Reads on until it is known whether the request's body can be had as a whole, and leaves it in the inbox.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) async fn gather(
        &mut self,
        client: &mut Connection,
        gathering: &mut Gathering,
    ) -> Result<Seen, ExchangeError> {
        loop {
            let seen = gathering.look(client.inbox.as_slice(), client.ended);
            if seen != Seen::Part {
                return Ok(seen);
            }
            self.ask_for_body(client).await?;
            client.fill().await.map_err(|_| ExchangeError::ClientGone)?;
        }
    }

    /// Tells a client that waits for its turn to send the body that this has come.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) async fn ask_for_body(&mut self, client: &mut Connection) -> Result<(), ExchangeError> {
        if std::mem::replace(&mut self.expects, Expects::Nothing) == Expects::Continue {
            self.request.head.fields.remove("Expect");
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            client.send(go_on).await.map_err(|_| ExchangeError::ClientGone)?;
        }
        Ok(())
    }

    /// Puts the request into the run's trace, if it is to be in it, and says in the record which one it is in.
    fn join_trace(&mut self) {
        let Some(trace) = &self.worker.policy.trace else { return };
        let fields = &mut self.request.head.fields;
        let found = fields.first("traceparent");
        let parent = found.and_then(TraceParent::read);
        let mut place = parent.map(|parent| place_of(parent, None));
        if self.worker.policy.exports_traces() {
            let (around, above) = parent.map_or((trace.run, trace.run.span), |parent| (parent, parent.span));
            let own = TraceParent {
                span: fastrand::u64(1..),
                ..around
            };
            place = Some(place_of(own, Some(above)));
        }
        if trace.replaces(found) {
            let own = trace.request(fastrand::u64(..));
            fields.put("traceparent", own.to_string().as_bytes());
            // It belongs to the other one.
            fields.remove("tracestate");
            if let Some(state) = &trace.state {
                fields.append("tracestate", state.as_bytes());
            }
            if let Some(baggage) = &trace.baggage
                && !fields.contains("baggage")
            {
                fields.append("baggage", baggage.as_bytes());
            }
            self.open.record.edits.applied.push("otel.propagate".into());
            place = Some(place_of(own, Some(trace.run.span)));
        }
        self.open.record.trace = place;
    }
}

/// A place in a trace as records have it.
fn place_of(place: TraceParent, parent: Option<u64>) -> traffic::TracePlace {
    traffic::TracePlace {
        trace: place.trace,
        span: place.span,
        parent,
        sampled: place.is_sampled(),
    }
}

/// Changes the fields of a head, and notes what was changed.
pub(super) fn change_fields(fields: &mut Fields, edits: &HeaderEdits, ids: &Ids<'_>, notes: &mut Notes) {
    for edit in &edits.0 {
        change_field(fields, edit, ids, notes);
    }
}

/// Changes the fields of one name.
fn change_field(fields: &mut Fields, edit: &HeaderEdit, ids: &Ids<'_>, notes: &mut Notes) {
    let changed = match &edit.change {
        Change::Remove => fields.remove(&edit.name),
        Change::Set(value) => fields.put(&edit.name, &value.bytes(ids)),
        Change::Add(value) => {
            fields.append(&edit.name, &value.bytes(ids));
            true
        }
    };
    if changed {
        notes.applied.push(Arc::clone(&edit.id));
    }
}

/// What JSON of this body comes to, which has the codings that `fields` say; `whose` it is, in notes. None if it is to be
/// refused for its length. Takes the fields away that do not hold for what came of it.
pub(super) fn changed(
    json: &Json,
    fields: &mut Fields,
    body: Vec<u8>,
    whose: &str,
    notes: &mut Notes,
) -> Option<Other> {
    let text = match coding::decoded(fields, body, json.limit) {
        Ok(text) => text,
        Err(Undecodable::TooLong) => return too_long(json, whose, notes).map(|()| Other::None),
        Err(Undecodable::Unknown) => {
            notes.note(format!("{whose} body has a content coding that amb does not know"));
            return Some(Other::None);
        }
        Err(Undecodable::Broken) => {
            notes.note(format!("{whose} body is not what its content coding says"));
            return Some(Other::None);
        }
    };
    match json.apply(&text) {
        Edited::Changed(body) => {
            notes.applied.push(Arc::clone(&json.id));
            reframe(fields);
            Some(Other::Body(body))
        }
        Edited::Unchanged => Some(Other::None),
        Edited::Misfit(reason) => {
            tracing::debug!(reason, "{whose} body was not edited");
            notes.note(format!("{whose} body does not fit `{}`", json.id));
            Some(Other::None)
        }
    }
}

/// Notes that a body is too long. None if it is to be refused.
pub(super) fn too_long(json: &Json, whose: &str, notes: &mut Notes) -> Option<()> {
    (json.on_limit == OnLimit::Pass).then(|| {
        notes.note(format!("{whose} body is longer than `{}.limit`", json.id));
    })
}

/// Takes away what says how a body was framed, coded and checked that another one takes the place of.
pub(super) fn reframe(fields: &mut Fields) {
    fields.remove_where(|name| {
        let known = ["transfer-encoding", "trailer", "content-encoding"].iter();
        known
            .chain(&DIGESTS)
            .chain(&VALIDATORS)
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    });
}
