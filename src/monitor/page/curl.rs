//! A request as a command line for curl that does the same again, as far as a record knows it: neither headers nor body are kept.

use std::fmt::Write as _;

use crate::traffic::{Kind, Record, Scheme};

/// The command; none for what curl cannot do again.
///
/// In the URL everything is percent-encoded that means something to a shell's single quotes, or to a terminal: whatever a
/// client has sent, pasting it starts curl and nothing else, and what is masked elsewhere is found by the same rules.
pub(super) fn command(record: &Record) -> Option<String> {
    if record.kind == Kind::Tunnel || record.host.is_empty() || record.method.is_empty() {
        return None;
    }
    let mut command = "curl --path-as-is".to_owned();
    match &*record.method {
        "GET" => {}
        "HEAD" => command.push_str(" --head"),
        method => command.extend([" --request ", &quoted(method)]),
    }
    let scheme = record.scheme.unwrap_or(Scheme::Http);
    let host = if record.host.contains(':') {
        format!("[{}]", record.host)
    } else {
        record.host.clone()
    };
    let port = match record.port {
        port if port == scheme.port() => String::new(),
        port => format!(":{port}"),
    };
    let url = encoded(&format!("{}://{host}{port}{}", scheme.name(), record.path));
    // What curl would take for a pattern of several URLs.
    if url.contains(['[', ']', '{', '}']) {
        command.push_str(" --globoff");
    }
    write!(command, " '{url}'").unwrap_or_default();
    Some(command)
}

/// A URL with nothing in it that single quotes, a terminal or curl would not leave as it is.
fn encoded(url: &str) -> String {
    url.bytes().fold(String::with_capacity(url.len()), |mut encoded, byte| {
        if byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
        encoded
    })
}

/// A word in single quotes, unless it needs none.
fn quoted(word: &str) -> String {
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain {
        word.to_owned()
    } else {
        let printable = word.chars().filter(char::is_ascii_graphic).collect::<String>();
        format!("'{}'", printable.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::meter::tests::exchange;

    /// The command for such a request.
    fn of(method: &str, host: &str, port: u16, path: &str) -> String {
        let mut record = exchange();
        record.host = host.to_owned();
        record.method = method.to_owned();
        record.port = port;
        record.path = path.to_owned();
        record.scheme = Some(Scheme::Http);
        command(&record).unwrap()
    }

    #[test]
    fn a_request_is_what_curl_would_send() {
        for (command, expected) in [
            (
                of("GET", "example.com", 80, "/a?b=c&d"),
                "curl --path-as-is 'http://example.com/a?b=c&d'",
            ),
            (
                of("HEAD", "a.test", 81, "/../x"),
                "curl --path-as-is --head 'http://a.test:81/../x'",
            ),
            (
                of("DELETE", "::1", 80, "/"),
                "curl --path-as-is --request DELETE --globoff 'http://[::1]/'",
            ),
            (
                of("GET", "a.test", 80, "/?token=***&x={1,2}"),
                "curl --path-as-is --globoff 'http://a.test/?token=***&x={1,2}'",
            ),
        ] {
            assert_eq!(command, expected);
        }
    }

    #[test]
    fn nothing_that_a_client_sends_leaves_the_quotes() {
        let command = of("GET", "a.test", 80, "/'; touch /tmp/x; echo '\n\x1b[2J\u{202e}`$(x)`\\");
        assert_eq!(
            command,
            "curl --path-as-is 'http://a.test/%27;%20touch%20/tmp/x;%20echo%20%27%0A%1B[2J%E2%80%AE%60$(x)%60%5C'"
                .replace("curl --path-as-is", "curl --path-as-is --globoff")
        );
        let command = of("X';reboot;'`", "a.test", 80, "/");
        assert_eq!(
            command,
            r"curl --path-as-is --request 'X'\'';reboot;'\''`' 'http://a.test/'"
        );
    }
}
