//! Tokens that token servers hand out for amb's own credentials ([RFC 6749 §4.4]): got once, kept, got anew before they expire.
//!
//! All workers share them. For a token one request is under way at a time: whoever has the turn asks, the others wait for their
//! turn and find it there. No lock is held meanwhile.
//!
//! [RFC 6749 §4.4]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::Instant};
use zeroize::{Zeroize, Zeroizing};

use super::{
    credentials::Credentials,
    error::ExchangeError,
    own::{self, Question, Reply},
    recorder::Recorder,
    target::Authority,
    upstream::Upstreams,
};
use crate::{
    policy::auth::{Text, TokenSource},
    veil,
};

/// How long before its end a token is got anew, at most; of a token that is good for less, a tenth.
const EARLY: Duration = Duration::from_mins(1);
/// How long a failure holds for those who come after it: a server that is down is not asked for each request.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// Most that is repeated of what a token server says about a failure.
const REASON_CHARACTERS: usize = 200;

/// A token.
#[derive(Clone)]
pub(crate) struct Token {
    /// What `Authorization` says.
    pub(crate) authorization: Arc<Zeroizing<Vec<u8>>>,
    /// Which of its source's tokens it is.
    number: u64,
}

/// All tokens, by where they come from.
#[derive(Default)]
pub(crate) struct Tokens {
    /// Them.
    slots: Mutex<BTreeMap<Arc<TokenSource>, Arc<Slot>>>,
}

/// The token of one source.
struct Slot {
    /// Who may ask for the next one.
    turn: Semaphore,
    /// What is known.
    state: Mutex<State>,
}

/// What is known of a source's token.
#[derive(Default)]
struct State {
    /// The last one, and when it is to be got anew and when it ends; none if it is of no use any more.
    held: Option<(Token, Option<(Instant, Instant)>)>,
    /// The last failure, and until when it holds.
    failed: Option<(Instant, String)>,
    /// How many there were.
    count: u64,
}

impl Slot {
    /// What is known.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is at hand: a token, a failure that still holds, or nothing. `waits` if a token that is still good but soon to
    /// end will not do.
    fn at_hand(&self, waits: bool) -> Option<Result<Token, String>> {
        let now = Instant::now();
        let failed = self.failed.as_ref().filter(|(until, _)| now < *until);
        if let Some((token, times)) = &self.held {
            // One that is still good is better than a failure that still holds.
            let until = times.map(|(early, end)| if waits && failed.is_none() { early } else { end });
            if until.is_none_or(|until| now < until) {
                return Some(Ok(token.clone()));
            }
        }
        failed.map(|(_, reason)| Err(reason.clone()))
    }
}

impl Tokens {
    /// The slot of a source.
    fn slot(&self, source: &Arc<TokenSource>) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(Arc::clone(source)).or_insert_with(|| {
            Arc::new(Slot {
                turn: Semaphore::new(1),
                state: Mutex::default(),
            })
        });
        Arc::clone(slot)
    }

    /// The token, got anew if need be.
    ///
    /// # Errors
    /// The server does not give one, now or a moment ago.
    pub(crate) async fn get(
        &self,
        source: &Arc<TokenSource>,
        credentials: &Credentials,
        upstreams: &Rc<Upstreams>,
        recorder: &Recorder,
    ) -> Result<Token, ExchangeError> {
        let failed = |reason: String| ExchangeError::TokenUnavailable {
            server: source.to_string(),
            reason,
        };
        let slot = self.slot(source);
        let known = slot.state().at_hand(true);
        if let Some(known) = known {
            return known.map_err(failed);
        }
        let turn = if let Ok(turn) = slot.turn.try_acquire() {
            turn
        } else {
            // Somebody is at it. What is still good will do for the others.
            let known = slot.state().at_hand(false);
            if let Some(known) = known {
                return known.map_err(failed);
            }
            let Ok(turn) = slot.turn.acquire().await else {
                return Err(ExchangeError::Internal("nobody asks for tokens any more".to_owned()));
            };
            turn
        };
        let known = slot.state().at_hand(true);
        if let Some(known) = known {
            return known.map_err(failed);
        }
        let asked = ask(source, credentials, upstreams).await?;
        recorder.note_token_request(asked.is_ok());
        let mut state = slot.state();
        let result = match asked {
            Ok((authorization, lifetime)) => {
                state.count += 1;
                let token = Token {
                    authorization: Arc::new(authorization),
                    number: state.count,
                };
                let now = Instant::now();
                let times =
                    lifetime.map(|lifetime| (now + lifetime.saturating_sub(EARLY.min(lifetime / 10)), now + lifetime));
                state.held = Some((token.clone(), times));
                state.failed = None;
                Ok(token)
            }
            Err(reason) => {
                tracing::warn!(server = %source, reason, "no token");
                state.failed = Some((Instant::now() + FAILED_FOR, reason.clone()));
                // One that is still good is better than none.
                state.at_hand(false).unwrap_or(Err(reason)).map_err(failed)
            }
        };
        drop(state);
        drop(turn);
        result
    }

    /// Takes back a token that a server has not accepted, unless there is a newer one already.
    pub(crate) fn refused(&self, source: &Arc<TokenSource>, token: &Token) {
        let slot = self.slot(source);
        let mut state = slot.state();
        if state.held.as_ref().is_some_and(|(held, _)| held.number == token.number) {
            state.held = None;
        }
    }
}

/// What a token server answers ([RFC 6749 §5]).
///
/// [RFC 6749 §5]: https://www.rfc-editor.org/rfc/rfc6749#section-5
#[derive(Default, Deserialize)]
struct Answer {
    /// The token.
    #[serde(default)]
    access_token: String,
    /// Its type: `Bearer`.
    #[serde(default)]
    token_type: String,
    /// How long it is good for, in seconds: a number, or a text with one, as some servers write it.
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
    /// The name of an error.
    #[serde(default)]
    error: String,
    /// What else there is to say of it.
    #[serde(default)]
    error_description: String,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

/// A token and how long it is good for, or why there is none.
type Got = Result<(Zeroizing<Vec<u8>>, Option<Duration>), String>;

/// Asks for a token.
///
/// # Errors
/// The secrets for it cannot be had.
async fn ask(source: &TokenSource, credentials: &Credentials, upstreams: &Rc<Upstreams>) -> Result<Got, ExchangeError> {
    let id = match &source.client_id {
        Text::Plain(text) => Zeroizing::new(text.clone().into_bytes()),
        Text::Secret(reference) => Zeroizing::new(credentials.secret(reference.name()).await?.expose().to_vec()),
    };
    let proof = credentials.secret(source.client_secret.name()).await?;
    let question = question(source, &id, proof.expose());
    Ok(match own::ask(upstreams, question).await {
        Ok(reply) => read(&reply),
        Err(reason) => Err(reason),
    })
}

/// The request for a token.
fn question(source: &TokenSource, id: &[u8], proof: &[u8]) -> Question {
    let (id, proof) = (Zeroizing::new(form(id)), Zeroizing::new(form(proof)));
    let mut body = "grant_type=client_credentials".to_owned();
    if !source.scope.is_empty() {
        body.extend(["&scope=", &form(source.scope.as_bytes())]);
    }
    if let Some(audience) = &source.audience {
        body.extend(["&audience=", &form(audience.as_bytes())]);
    }
    let mut fields = vec![
        ("Content-Type".to_owned(), b"application/x-www-form-urlencoded".to_vec()),
        ("Accept".to_owned(), b"application/json".to_vec()),
    ];
    if source.in_body {
        body.extend(["&client_id=", &id, "&client_secret=", &proof]);
    } else {
        let both = Zeroizing::new(format!("{}:{}", &*id, &*proof));
        let encoded = STANDARD.encode(both.as_bytes());
        veil::learn_derived(encoded.as_bytes());
        fields.push(("Authorization".to_owned(), format!("Basic {encoded}").into_bytes()));
    }
    let authority = Authority::new(&*source.host, source.port);
    Question {
        fields,
        ..Question::post(authority, source.is_secure, source.path.clone(), body.into_bytes())
    }
}

/// As forms have it: a space is a plus.
fn form(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' ' => text.push('+'),
            b'-' | b'.' | b'_' | b'*' => text.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => write!(text, "%{byte:02X}").unwrap_or_default(),
        }
    }
    text
}

/// Reads what a token server has answered.
fn read(reply: &Reply) -> Got {
    let answer = serde_json::from_slice::<Answer>(&reply.body);
    if reply.status != 200 {
        let answer = answer.unwrap_or_default();
        let said: Vec<&str> = [&*answer.error, &*answer.error_description]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        let said: String = said.join(", ").chars().take(REASON_CHARACTERS).collect();
        return Err(match said.as_str() {
            "" => format!("it answered {}", reply.status),
            said => format!("it answered {}: {}", reply.status, said.escape_debug()),
        });
    }
    let answer = answer.map_err(|_| "its answer is not the JSON that it should be".to_owned())?;
    if answer.access_token.is_empty() {
        return Err("there is no access_token in its answer".to_owned());
    }
    if !answer.token_type.is_empty() && !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err("its token is not of the type Bearer".to_owned());
    }
    if !answer.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its token cannot stand in a header".to_owned());
    }
    veil::learn_derived(answer.access_token.as_bytes());
    let lifetime = answer.expires_in.as_ref().and_then(|value| match value {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    });
    let lifetime = lifetime
        .filter(|seconds: &f64| *seconds >= 0.0)
        // A year is as good as for ever, and more would not be a time any more.
        .map(|seconds| Duration::from_secs_f64(seconds.min(31_536_000.0)));
    let authorization = [b"Bearer ", answer.access_token.as_bytes()].concat();
    Ok((Zeroizing::new(authorization), lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of tokens.
    fn source(in_body: bool) -> TokenSource {
        TokenSource {
            is_secure: true,
            host: "auth.test".to_owned(),
            port: 443,
            path: "/token".to_owned(),
            client_id: Text::Plain("me".to_owned()),
            client_secret: "secret:a".parse().unwrap(),
            scope: "a b".to_owned(),
            audience: Some("https://api.test/".to_owned()),
            in_body,
        }
    }

    #[test]
    fn a_client_proves_itself_in_the_header_or_in_the_body() {
        let asked = question(&source(false), b"me", b"p w:");
        let body = String::from_utf8(asked.body).unwrap();
        assert_eq!(
            body,
            "grant_type=client_credentials&scope=a+b&audience=https%3A%2F%2Fapi.test%2F"
        );
        let (name, value) = &asked.fields[2];
        let expected = format!("Basic {}", STANDARD.encode("me:p+w%3A"));
        assert_eq!((&**name, value.as_slice()), ("Authorization", expected.as_bytes()));

        let asked = question(&source(true), b"me", b"p w:");
        assert_eq!(asked.fields.len(), 2);
        let body = String::from_utf8(asked.body).unwrap();
        assert!(body.ends_with("&client_id=me&client_secret=p+w%3A"), "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_got_anew_before_it_ends_and_is_good_until_then() {
        let now = Instant::now();
        let token = Token {
            authorization: Arc::new(Zeroizing::new(b"Bearer x".to_vec())),
            number: 1,
        };
        let mut state = State {
            held: Some((
                token,
                Some((now + Duration::from_secs(9), now + Duration::from_secs(10))),
            )),
            ..State::default()
        };
        let ok = |state: &State, waits| state.at_hand(waits).map(|found| found.is_ok());
        assert_eq!(ok(&state, true), Some(true));
        tokio::time::advance(Duration::from_millis(9_500)).await;
        assert_eq!((ok(&state, true), ok(&state, false)), (None, Some(true)));
        // Getting it anew has failed: what there is goes on being good.
        state.failed = Some((Instant::now() + FAILED_FOR, "down".to_owned()));
        assert_eq!(ok(&state, true), Some(true));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((ok(&state, true), ok(&state, false)), (Some(false), Some(false)));
        tokio::time::advance(FAILED_FOR).await;
        assert_eq!(ok(&state, true), None);
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<(&str, Option<u64>), &str>) {
        let reply = Reply {
            status,
            body: body.to_owned().into(),
            ..Reply::default()
        };
        match (read(&reply), expected) {
            (Ok((token, lifetime)), Ok((text, seconds))) => {
                assert_eq!(String::from_utf8(token.to_vec()).unwrap(), text);
                assert_eq!(lifetime, seconds.map(Duration::from_secs), "{body}");
            }
            (Err(reason), Err(expected)) => assert_eq!(reason, expected, "{body}"),
            (got, _) => panic!("{body}: {:?}", got.map(|(_, lifetime)| lifetime)),
        }
    }

    #[test]
    fn answers_of_token_servers_are_read() {
        check(
            200,
            r#"{"access_token":"t0ken-1","expires_in":60}"#,
            Ok(("Bearer t0ken-1", Some(60))),
        );
        check(
            200,
            r#"{"access_token":"t0ken-2","token_type":"bearer","expires_in":"60"}"#,
            Ok(("Bearer t0ken-2", Some(60))),
        );
        check(200, r#"{"access_token":"t0ken-3"}"#, Ok(("Bearer t0ken-3", None)));
        check(
            200,
            r#"{"access_token":"a\nb"}"#,
            Err("its token cannot stand in a header"),
        );
        check(
            200,
            r#"{"access_token":"t","token_type":"mac"}"#,
            Err("its token is not of the type Bearer"),
        );
        check(200, "{}", Err("there is no access_token in its answer"));
        check(200, "<html>", Err("its answer is not the JSON that it should be"));
        check(
            401,
            r#"{"error":"invalid_client","error_description":"who?"}"#,
            Err("it answered 401: invalid_client, who?"),
        );
        check(503, "busy", Err("it answered 503"));
    }
}
