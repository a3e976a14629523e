//! Signing a request in: what it gets of the credentials that are bound to where it goes, and what is done when a server does
//! not take a token any more.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{
    super::{
        error::ExchangeError,
        target,
        tokens::Token,
        upstream::Server,
        wire::{connection::Connection, framing::Framing, head::ResponseHead, http1::Conversation, tape::Tape},
    },
    Exchange, Request,
};
use crate::{
    policy::auth::{Auth, Destination, Guard, Method, Text, TokenSource, Withheld, write},
    traffic::credentials,
    veil,
};

/// A request's body.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// It is there.
    Whole(&'a [u8]),
    /// The client sends it, framed like this.
    Coming(Framing),
}

/// A token that a request went with.
pub(super) struct Carried {
    /// Where it comes from.
    source: Arc<TokenSource>,
    /// It.
    token: Token,
}

impl Exchange<'_> {
    /// Puts the credentials in the request that are bound to where it goes.
    ///
    /// # Errors
    /// One of them cannot be had, or not be made for this request.
    pub(super) async fn sign_in(
        &mut self,
        client: &mut Connection,
        guard: &Guard,
        conversation: &Conversation,
        framing: Framing,
    ) -> Result<(), ExchangeError> {
        if self.request.head.method() == "TRACE" {
            // Whoever answers it sends it back, to an application that is not to have it (RFC 9110 §9.3.8).
            return Ok(());
        }
        if guard.placeholders {
            self.fill_in(guard).await?;
        }
        let auth = match self.bound(guard) {
            Ok(Some(auth)) => auth,
            Ok(None) => return Ok(()),
            Err(why) => {
                self.withhold(why);
                return Ok(());
            }
        };
        if !auth.overrides && self.signs_in_by_itself(&auth) {
            return Ok(());
        }
        let body = match conversation.upload.tape.as_deref() {
            Some(whole) => Body::Whole(whole.as_slice()),
            None => Body::Coming(framing),
        };
        self.apply(client, &auth, body).await?;
        self.open.record.signed_in.by_amb = true;
        Ok(())
    }

    /// What is bound to every host that the request names: the one that it is sent to, the one whose certificate is checked,
    /// and the one in `Host`, which behind a common address decides who answers.
    fn bound(&self, guard: &Guard) -> Result<Option<Arc<Auth>>, Withheld> {
        let Some(auth) = guard.auth(self.destination())? else {
            return Ok(None);
        };
        for host in self.further_hosts() {
            let place = Destination {
                host: &host,
                ..self.destination()
            };
            if !auth.binding.is_for(place) {
                return Err(Withheld::OtherHost);
            }
        }
        Ok(Some(Arc::clone(auth)))
    }

    /// Where the request goes.
    pub(super) fn destination(&self) -> Destination<'_> {
        let Request { authority, purpose, .. } = &self.request;
        let stays = purpose.aim().is_some() || self.worker.upstreams.stays_here(authority, purpose);
        Destination {
            host: &authority.host,
            port: authority.port,
            is_open: !stays,
        }
    }

    /// The hosts that the request names beside the one that it is sent to.
    pub(super) fn further_hosts(&self) -> Vec<String> {
        let Request {
            authority,
            purpose,
            head,
            ..
        } = &self.request;
        let checked = purpose.aim().map(|aim| aim.server());
        // One that cannot be read is nobody's.
        let named = head.fields.first("host");
        let named =
            named.map(|host| target::authority(host, Some(1)).map_or_else(|_| String::new(), |named| named.host));
        // What a captured connection leads to in the clear, only the client says; where it leads, amb knows.
        let dialled = authority.at.filter(|_| purpose.aim().is_none());
        let dialled = dialled.map(|address| address.to_string());
        let mut hosts: Vec<String> = checked.into_iter().chain(named).chain(dialled).collect();
        hosts.retain(|host| *host != authority.host);
        hosts
    }

    /// Notes that a credential does not go along.
    pub(super) fn withhold(&mut self, why: Withheld) {
        self.open.record.signed_in.withheld = Some(match why {
            Withheld::OtherHost => credentials::Withheld::OtherHost,
            Withheld::PlainHttp => credentials::Withheld::PlainHttp,
        });
    }

    /// Whether the application has put there itself what amb would put there.
    fn signs_in_by_itself(&self, auth: &Auth) -> bool {
        match (&auth.method, auth.field()) {
            (Method::Query { name, .. }, _) => write::has_parameter(&self.request.path, name),
            (_, Some(field)) => self.request.head.fields.contains(field),
            (_, None) => false,
        }
    }

    /// Gives a field this value.
    pub(super) fn put(&mut self, name: &str, value: &[u8]) -> Result<(), ExchangeError> {
        if !write::is_field_value(value) {
            return Err(ExchangeError::SecretUnavailable(format!(
                "what `{name}` is to say holds control characters, which no header can"
            )));
        }
        let fields = &mut self.request.head.fields;
        if fields.contains(name) {
            fields.set(name, value);
        } else {
            fields.append(name, value);
        }
        Ok(())
    }

    /// The value of a text that may be a secret.
    pub(super) async fn value(&self, text: &Text) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        Ok(Zeroizing::new(match text {
            Text::Plain(text) => text.clone().into_bytes(),
            Text::Secret(reference) => self
                .worker
                .credentials
                .secret(reference.name())
                .await?
                .expose()
                .to_vec(),
        }))
    }

    /// Puts a credential in.
    async fn apply(&mut self, client: &mut Connection, auth: &Auth, body: Body<'_>) -> Result<(), ExchangeError> {
        let credentials = Arc::clone(&self.worker.credentials);
        let (field, value) = match &auth.method {
            Method::Bearer(reference) => {
                let secret = credentials.secret(reference.name()).await?;
                ("Authorization", write::prefixed("Bearer ", secret.expose()))
            }
            Method::Basic { user, password } => {
                let user = self.value(user).await?;
                let secret = credentials.secret(password.name()).await?;
                let value = write::basic(&user, secret.expose());
                veil::learn_derived(&value["Basic ".len()..]);
                ("Authorization", value)
            }
            Method::Header { name, prefix, value } => {
                let secret = credentials.secret(value.name()).await?;
                (&**name, write::prefixed(prefix, secret.expose()))
            }
            Method::Query { name, value } => {
                let secret = credentials.secret(value.name()).await?;
                let path = write::with_parameter(&self.request.path, name, secret.expose(), auth.overrides);
                self.request.path = path;
                return Ok(());
            }
            Method::Token(source) => {
                let worker = self.worker;
                let getting = credentials
                    .tokens
                    .get(source, &credentials, &worker.upstreams, &worker.recorder);
                let token = Box::pin(getting).await?;
                let value = token.authorization.to_vec();
                self.carried = Some(Box::new(Carried {
                    source: Arc::clone(source),
                    token,
                }));
                ("Authorization", Zeroizing::new(value))
            }
            Method::SigV4(signer) => return self.sign_for_aws(client, signer, body).await,
            Method::Hmac(signing) => return self.sign(client, signing, body).await,
        };
        self.put(field, &value)
    }

    /// As [`Exchange::send`] for a request that goes with a token: with another one if the server refuses the first.
    ///
    /// # Errors
    /// As [`Exchange::send`].
    pub(super) async fn send_with_token(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
    ) -> Result<(Box<Server>, ResponseHead), ExchangeError> {
        let bodiless = conversation.upload_over;
        self.keep_for_another_token(conversation);
        let answer = self.send(client, conversation).await?;
        if answer.1.status != 401 {
            return Ok(answer);
        }
        self.with_another_token(client, conversation, bodiless, answer).await
    }

    /// Keeps the request's body as it goes up, if it may have to be sent again with another token.
    fn keep_for_another_token(&self, conversation: &mut Conversation) {
        if !conversation.upload_over && conversation.upload.tape.is_none() {
            let limit = usize::try_from(self.rules.retry.buffer_limit).unwrap_or(usize::MAX);
            conversation.upload.tape = Some(Box::new(Tape::new(limit, &self.worker.policy.kept)));
        }
    }

    /// Sends the request again with a new token, once, if the server has not taken the one that it came with.
    ///
    /// # Errors
    /// There is no new one, or sending fails.
    async fn with_another_token(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
        bodiless: bool,
        answer: (Box<Server>, ResponseHead),
    ) -> Result<(Box<Server>, ResponseHead), ExchangeError> {
        let Some(carried) = self.carried.take() else {
            return Ok(answer);
        };
        let Carried { source, token } = *carried;
        let worker = self.worker;
        let credentials = &worker.credentials;
        credentials.tokens.refused(&source, &token);
        if conversation.kept().is_none() {
            // The next request gets a new one.
            return Ok(answer);
        }
        let (server, head) = answer;
        let getting = credentials
            .tokens
            .get(&source, credentials, &worker.upstreams, &worker.recorder);
        let new = Box::pin(getting).await;
        let new = match new {
            Ok(new) => new,
            Err(error) => {
                tracing::debug!(%error, "the server's refusal stands");
                return Ok((server, head));
            }
        };
        self.discard(client, conversation, server, head).await;
        self.open.record.first_byte = None;
        self.put("Authorization", &new.authorization)?;
        conversation.again(bodiless);
        self.send(client, conversation).await
    }
}
