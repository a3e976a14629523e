//! What must not be written down. Always on.
//!
//! Applied before anything leaves the proxy for a log or a report, so that nothing downstream can forget it.

/// Query parameters whose values are secrets wherever they are met.
const SECRET_PARAMETERS: [&str; 16] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "client_secret",
    "code",
    "id_token",
    "key",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "signature",
    "token",
];
/// Beginnings of names of such parameters: AWS's, Azure's and Google's signed URLs.
const SECRET_BEGINNINGS: [&str; 4] = ["sig", "x-amz-cred", "x-amz-s", "x-goog-sig"];
/// What is written in the place of a secret.
const MASK: &str = "***";

/// Takes secrets out of what is written down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redact;

impl Redact {
    /// A path and query without secret values.
    pub fn path(&self, path: &[u8]) -> String {
        let text = String::from_utf8_lossy(path);
        let Some((path, query)) = text.split_once('?') else {
            return text.into_owned();
        };
        let parameters: Vec<String> = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
                _ => parameter.to_owned(),
            })
            .collect();
        format!("{path}?{}", parameters.join("&"))
    }

    /// A `Referer` without user information and query.
    pub fn referer(&self, referer: &[u8]) -> String {
        let text = String::from_utf8_lossy(referer);
        let text = text.split(['?', '#']).next().unwrap_or_default();
        match text.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}{path}")
            }
            None => text.to_owned(),
        }
    }
}

/// Whether a parameter of this name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARAMETERS.contains(&name.as_str()) || SECRET_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_values_go_and_the_rest_stays() {
        for (path, written) in [
            ("/a?b=c", "/a?b=c"),
            ("/a?token=abc&x=1&API_KEY=q", "/a?token=***&x=1&API_KEY=***"),
            (
                "/a?sig=1&X-Amz-Signature=2&X-Amz-Date=3",
                "/a?sig=***&X-Amz-Signature=***&X-Amz-Date=3",
            ),
            ("/token/abc", "/token/abc"),
            ("/a?token", "/a?token"),
        ] {
            assert_eq!(Redact.path(path.as_bytes()), written);
        }
        assert_eq!(Redact.referer(b"http://u:p@h/x?token=1#f"), "http://h/x");
    }
}
