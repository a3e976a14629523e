//! Signing a request in: what it gets of the credentials that are bound to where it goes, and what is done when a server does
//! not take a token any more.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use zeroize::Zeroizing;

use super::{
    super::{
        error::ExchangeError,
        target,
        tokens::Token,
        upstream::Server,
        wire::{
            chunked::Chunked,
            connection::Connection,
            framing::Framing,
            head::{Fields, ResponseHead},
            http1::Conversation,
            tape::Tape,
        },
    },
    Exchange, Expects, Request,
};
use crate::{
    policy::{
        auth::{
            Auth, Destination, Guard, Method, Signing, Text, TokenSource, Withheld, signature,
            sigv4::{self, Signer},
            write,
        },
        retry::Kept,
    },
    secret::Secret,
    traffic::credentials,
    veil,
};

/// A token that a request went with.
pub(super) struct Carried {
    /// Where it comes from.
    source: Arc<TokenSource>,
    /// It.
    token: Token,
}

/// Room for a body that has to be there as a whole; given back at the end of the exchange.
pub(super) struct Room {
    /// How much.
    bytes: u64,
    /// The room of all.
    kept: Arc<Kept>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.kept.release(self.bytes);
    }
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
        framing: Framing,
    ) -> Result<(), ExchangeError> {
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
        self.apply(client, &auth, framing).await?;
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
    fn destination(&self) -> Destination<'_> {
        let Request { authority, purpose, .. } = &self.request;
        let stays = purpose.aim().is_some() || self.worker.upstreams.stays_here(authority, purpose);
        Destination {
            host: &authority.host,
            port: authority.port,
            is_open: !stays,
        }
    }

    /// The hosts that the request names beside the one that it is sent to.
    fn further_hosts(&self) -> Vec<String> {
        let Request {
            authority,
            purpose,
            head,
            ..
        } = &self.request;
        let checked = purpose.aim().map(|aim| aim.name());
        let named = head
            .fields
            .first("host")
            .and_then(|host| target::authority(host, Some(1)).ok());
        let mut hosts: Vec<String> = checked.into_iter().chain(named.map(|named| named.host)).collect();
        hosts.retain(|host| *host != authority.host);
        hosts
    }

    /// Notes that a credential does not go along.
    fn withhold(&mut self, why: Withheld) {
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

    /// Replaces the names of secrets in fields and query by the secrets, where these may go.
    async fn fill_in(&mut self, guard: &Guard) -> Result<(), ExchangeError> {
        let fields = &self.request.head.fields;
        let basic = |value: &[u8]| write::decoded_basic(value).filter(|both| write::may_hold_placeholder(both));
        let touched: Vec<(Vec<u8>, Zeroizing<Vec<u8>>, bool)> = fields
            .iter()
            .filter_map(|(name, value)| match write::may_hold_placeholder(value) {
                true => Some((name.to_vec(), Zeroizing::new(value.to_vec()), false)),
                false => basic(value).map(|both| (name.to_vec(), both, true)),
            })
            .collect();
        let query = memchr::memchr(b'?', &self.request.path);
        let query = query.filter(|at| write::may_hold_placeholder(&self.request.path[*at..]));
        let in_fields = touched.iter().flat_map(|(_, value, _)| write::placeholders(value));
        let in_query = query
            .map(|at| write::placeholders(&self.request.path[at..]))
            .unwrap_or_default();
        let names: Vec<String> = in_fields.chain(in_query).map(ToOwned::to_owned).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut secrets: BTreeMap<String, Arc<Secret>> = BTreeMap::new();
        for name in &names {
            let further = self.further_hosts();
            let place = self.destination();
            let elsewhere = further.iter().map(|host| Destination { host, ..place });
            match std::iter::once(place)
                .chain(elsewhere)
                .try_for_each(|place| guard.may_stand_in(name, place))
            {
                Ok(()) if secrets.contains_key(name) => {}
                Ok(()) => {
                    let secret = self.worker.credentials.secret(name).await?;
                    secrets.insert(name.clone(), secret);
                }
                Err(why) => self.withhold(why),
            }
        }
        let replaced = names.iter().filter(|name| secrets.contains_key(*name)).count();
        self.open.record.signed_in.stand_ins += u32::try_from(replaced).unwrap_or(u32::MAX);
        let secret = |name: &str| secrets.get(name).map(|secret| secret.expose());
        for (name, value, is_basic) in touched {
            let Ok(name) = str::from_utf8(&name) else { continue };
            let mut filled = write::replaced(&value, false, secret);
            if is_basic {
                filled = write::encoded_basic(&filled);
                veil::learn_derived(&filled["Basic ".len()..]);
            }
            if *filled != *value || is_basic {
                self.put(name, &filled)?;
            }
        }
        if let Some(at) = query {
            let filled = write::replaced(&self.request.path[at..], true, secret);
            self.request.path.truncate(at);
            self.request.path.extend_from_slice(&filled);
        }
        Ok(())
    }

    /// Gives a field this value.
    fn put(&mut self, name: &str, value: &[u8]) -> Result<(), ExchangeError> {
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
    async fn value(&self, text: &Text) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
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
    async fn apply(&mut self, client: &mut Connection, auth: &Auth, framing: Framing) -> Result<(), ExchangeError> {
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
                let token = credentials
                    .tokens
                    .get(source, &credentials, &worker.upstreams, &worker.recorder)
                    .await?;
                let value = token.authorization.to_vec();
                self.carried = Some(Box::new(Carried {
                    source: Arc::clone(source),
                    token,
                }));
                ("Authorization", Zeroizing::new(value))
            }
            Method::SigV4(signer) => return self.sign_for_aws(client, signer, framing).await,
            Method::Hmac(signing) => return self.sign(client, signing, framing).await,
        };
        self.put(field, &value)
    }

    /// Signs it as AWS wants it.
    async fn sign_for_aws(
        &mut self,
        client: &mut Connection,
        signer: &Signer,
        framing: Framing,
    ) -> Result<(), ExchangeError> {
        let credentials = Arc::clone(&self.worker.credentials);
        let id = self.value(&signer.access_key_id).await?;
        let secret = credentials.secret(signer.secret_access_key.name()).await?;
        let own = self
            .request
            .head
            .fields
            .first("x-amz-content-sha256")
            .map(<[u8]>::to_vec);
        let payload = match own {
            Some(word) if word.starts_with(b"STREAMING-AWS4") => {
                return Err(ExchangeError::BodyNotSignable(
                    "the application signs each chunk of it by itself".to_owned(),
                ));
            }
            Some(word) if word.starts_with(b"STREAMING-UNSIGNED") => String::from_utf8_lossy(&word).into_owned(),
            _ if signer.is_s3() && self.request.purpose.aim().is_some() => sigv4::UNSIGNED.to_owned(),
            _ => sigv4::payload(&self.whole_body(client, framing).await?),
        };
        let time = sigv4::time(seconds());
        for name in ["authorization", "x-amz-security-token"] {
            self.request.head.fields.remove(name);
        }
        self.put("X-Amz-Date", time.as_bytes())?;
        if let Some(reference) = &signer.session_token {
            let token = credentials.secret(reference.name()).await?;
            self.put("X-Amz-Security-Token", token.expose())?;
        }
        if signer.is_s3() {
            self.put("X-Amz-Content-Sha256", payload.as_bytes())?;
        }
        let is_signed = |name: &[u8]| {
            let name = name.to_ascii_lowercase();
            matches!(name.as_slice(), b"host" | b"content-type" | b"content-md5") || name.starts_with(b"x-amz-")
        };
        let fields = self.request.head.fields.iter().filter(|(name, _)| is_signed(name));
        let fields: Vec<(&[u8], &[u8])> = fields.collect();
        let subject = sigv4::Subject {
            method: self.request.head.method(),
            target: &self.request.path,
            fields: &fields,
            payload: &payload,
            time: &time,
            straightens: !signer.is_s3(),
        };
        let value = sigv4::authorization(&subject, &id, secret.expose(), &signer.region, &signer.service);
        self.put("Authorization", &value)
    }

    /// Signs it as its template says.
    async fn sign(
        &mut self,
        client: &mut Connection,
        signing: &Signing,
        framing: Framing,
    ) -> Result<(), ExchangeError> {
        let key = self.worker.credentials.secret(signing.key.name()).await?;
        let body = if signing.needs_body() {
            self.whole_body(client, framing).await?
        } else {
            Vec::new()
        };
        let timestamp = seconds();
        if let Some(name) = &signing.timestamp_header {
            self.put(name, timestamp.to_string().as_bytes())?;
        }
        let fields: &Fields = &self.request.head.fields;
        let subject = signature::Subject {
            method: self.request.head.method(),
            scheme: self.request.scheme().name(),
            host: fields.first("host").unwrap_or_default(),
            target: &self.request.path,
            fields,
            body: &body,
            timestamp,
        };
        let value = signing.sign(key.expose(), &subject);
        self.put(&signing.header, value.as_bytes())
    }

    /// All of the request's body, which stays where it is, to be sent behind the head that is signed for it.
    ///
    /// # Errors
    /// It is larger than what is kept of bodies, or does not come.
    async fn whole_body(&mut self, client: &mut Connection, framing: Framing) -> Result<Vec<u8>, ExchangeError> {
        let most = self.rules.retry.buffer_limit;
        let too_large = || {
            let most = crate::units::ByteSize(most);
            ExchangeError::BodyNotSignable(format!("it is larger than {most}, which is retry.buffer-limit"))
        };
        let expected = match framing {
            Framing::Empty | Framing::UntilClose => return Ok(Vec::new()),
            Framing::Length(length) if length > most => return Err(too_large()),
            Framing::Length(length) => Some(usize::try_from(length).unwrap_or(usize::MAX)),
            Framing::Chunked => None,
        };
        let kept = &self.worker.policy.kept;
        let bytes = expected.map_or(most, |length| length as u64);
        if !kept.reserve(bytes) {
            return Err(ExchangeError::BodyNotSignable(
                "amb keeps too many bodies already".to_owned(),
            ));
        }
        self.room = Some(Room {
            bytes,
            kept: Arc::clone(kept),
        });
        if std::mem::replace(&mut self.expects, Expects::Nothing) == Expects::Continue {
            self.request.head.fields.remove("expect");
            let sent = client.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            sent.map_err(|_| ExchangeError::ClientGone)?;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (mut chunked, mut seen, mut body) = (Chunked::new(), 0, Vec::new());
        loop {
            let waiting = client.inbox.as_slice();
            match expected {
                Some(length) if waiting.len() >= length => return Ok(waiting[..length].to_vec()),
                Some(_) => {}
                None => {
                    let new = &waiting[seen..];
                    let read = chunked.advance(new, |data| body.extend_from_slice(&new[data]));
                    seen += read.map_err(|reason| ExchangeError::RequestBodyBroken(reason.to_owned()))?;
                    if chunked.ended() {
                        return Ok(body);
                    }
                    // What the coding adds to small chunks is more than they are.
                    if body.len() > most || waiting.len() > most.saturating_mul(8).saturating_add(64 * 1024) {
                        return Err(too_large());
                    }
                }
            }
            match client.fill().await {
                Ok(1..) => {}
                Ok(0) => return Err(ExchangeError::RequestBodyBroken("it ended early".to_owned())),
                Err(_) => return Err(ExchangeError::ClientGone),
            }
        }
    }

    /// Sends the request until a server has answered it, with another token if that refuses the first one.
    ///
    /// # Errors
    /// As [`Exchange::send`].
    pub(super) async fn send_signed_in(
        &mut self,
        client: &mut Connection,
        conversation: &mut Conversation,
    ) -> Result<(Server, ResponseHead), ExchangeError> {
        if self.carried.is_none() {
            return self.send(client, conversation).await;
        }
        let bodiless = conversation.upload_over;
        self.keep_for_another_token(conversation);
        let answer = self.send(client, conversation).await?;
        if answer.1.status != 401 {
            return Ok(answer);
        }
        Box::pin(self.with_another_token(client, conversation, bodiless, answer)).await
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
        answer: (Server, ResponseHead),
    ) -> Result<(Server, ResponseHead), ExchangeError> {
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
        let new = credentials
            .tokens
            .get(&source, credentials, &worker.upstreams, &worker.recorder)
            .await;
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

/// The seconds since 1970.
fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
