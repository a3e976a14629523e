//! Signatures over a request, and over its body where that is there as a whole.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    super::{
        error::ExchangeError,
        wire::{
            connection::Connection,
            framing::Framing,
            gather::{Gathering, Seen},
            head::Fields,
        },
    },
    Exchange,
    authenticate::Body,
};
use crate::{
    policy::{
        auth::{
            Signing, signature,
            sigv4::{self, Signer},
        },
        retry::Kept,
    },
    units::ByteSize,
};

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
    /// Signs it as AWS wants it.
    pub(super) async fn sign_for_aws(
        &mut self,
        client: &mut Connection,
        signer: &Signer,
        body: Body<'_>,
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
            _ => sigv4::payload(&self.whole_body(client, body).await?),
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
    pub(super) async fn sign(
        &mut self,
        client: &mut Connection,
        signing: &Signing,
        body: Body<'_>,
    ) -> Result<(), ExchangeError> {
        let key = self.worker.credentials.secret(signing.key.name()).await?;
        let body = if signing.needs_body() {
            self.whole_body(client, body).await?
        } else {
            Cow::Borrowed(&[][..])
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
    async fn whole_body<'a>(
        &mut self,
        client: &mut Connection,
        body: Body<'a>,
    ) -> Result<Cow<'a, [u8]>, ExchangeError> {
        let framing = match body {
            Body::Whole(body) => return Ok(body.into()),
            Body::Coming(framing) => framing,
        };
        let most = self.rules.retry.buffer_limit;
        let too_large = || {
            let most = ByteSize(most);
            ExchangeError::BodyNotSignable(format!("it is larger than {most}, which is retry.buffer-limit"))
        };
        let bytes = match framing {
            Framing::Empty | Framing::UntilClose => return Ok(Cow::Borrowed(&[])),
            Framing::Length(length) if length > most => return Err(too_large()),
            Framing::Length(length) => length,
            Framing::Chunked => most,
        };
        let kept = &self.worker.policy.kept;
        if !kept.reserve(bytes) {
            return Err(ExchangeError::BodyNotSignable(
                "amb keeps too many bodies already".to_owned(),
            ));
        }
        self.room = Some(Room {
            bytes,
            kept: Arc::clone(kept),
        });
        // Also one that has not waited: what it expects is not the server's business any more.
        self.ask_for_body(client).await?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut gathering = Gathering::new(framing, most).of_small_chunks();
        match self.gather(client, &mut gathering).await? {
            // Trailers go on behind the body, and are not signed.
            Seen::Whole(_) | Seen::Trailers => Ok(gathering.body.into()),
            Seen::TooLong => Err(too_large()),
            Seen::Broken | Seen::Part => Err(ExchangeError::RequestBodyBroken(gathering.why.to_owned())),
        }
    }
}

/// The seconds since 1970.
fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
