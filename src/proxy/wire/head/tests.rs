//! Heads survive to the byte, edits touch nothing else, and what is ambiguous is refused.

use super::*;

/// Parses a request head that must be good.
#[track_caller]
fn request(text: &str) -> RequestHead {
    RequestHead::parse(text.as_bytes().to_vec()).expect("a good head")
}

/// A request head written out again with its own target.
#[track_caller]
fn written(head: &RequestHead) -> String {
    let mut out = Vec::new();
    head.write_to(head.target(), &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn an_unedited_head_survives_to_the_byte() {
    let text =
        "GET /a//b/../c?x=%2F|y HTTP/1.1\r\nhOsT:example.com\r\nX-Spaces:   two  \t\r\nEmpty:\r\nA: 1\r\na: 2\r\n\r\n";
    assert_eq!(written(&request(text)), text);
}

#[test]
fn values_come_trimmed_and_in_order() {
    let head = request("GET / HTTP/1.1\r\nA:  1 \r\nB:\r\na: 2\r\n\r\n");
    assert_eq!(head.fields.values("A").collect::<Vec<_>>(), [b"1".as_slice(), b"2"]);
    assert_eq!(head.fields.first("b"), Some(b"".as_slice()));
    assert!(!head.fields.contains("c"));
}

#[test]
fn members_of_several_lines_are_one_list() {
    let head = request("GET / HTTP/1.1\r\nConnection: close, X-One\r\nConnection:,x-two ,\r\n\r\n");
    let members: Vec<_> = head.fields.members("connection").collect();
    assert_eq!(members, [b"close".as_slice(), b"X-One", b"x-two"]);
    assert!(head.fields.has_member("Connection", "CLOSE"));
}

#[test]
fn removing_touches_nothing_else() {
    let mut head = request("GET / HTTP/1.1\r\nA: 1\r\nKeep-Alive: x\r\nB:2\r\nkeep-alive: y\r\nC: 3\r\n\r\n");
    head.fields.remove("Keep-Alive");
    assert_eq!(written(&head), "GET / HTTP/1.1\r\nA: 1\r\nB:2\r\nC: 3\r\n\r\n");
}

#[test]
fn setting_keeps_place_and_spelling() {
    let mut head = request("GET / HTTP/1.1\r\nA: 1\r\nhost: evil\r\nB: 2\r\nHost: other\r\n\r\n");
    head.fields.set("Host", b"good");
    head.fields.append("Via", b"1.1 amb");
    assert_eq!(
        written(&head),
        "GET / HTTP/1.1\r\nA: 1\r\nhost: good\r\nB: 2\r\nVia: 1.1 amb\r\n\r\n"
    );
    let mut bare = request("GET / HTTP/1.0\r\nA: 1\r\n\r\n");
    bare.fields.set("Host", b"h");
    assert_eq!(written(&bare), "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\n\r\n");
}

#[test]
fn ambiguous_requests_are_refused() {
    for text in [
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nA: 1\rB: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
        "G@T / HTTP/1.1\r\nno colon\r\n\r\n",
    ] {
        let result = RequestHead::parse(text.as_bytes().to_vec());
        assert!(matches!(result, Err(HeadError::Malformed(_))), "{text:?}: {result:?}");
    }
    for text in ["GET / HTTP/9.9\r\n\r\n", "GET / HTTP/2.0\r\n\r\n"] {
        let result = RequestHead::parse(text.as_bytes().to_vec());
        assert!(matches!(result, Err(HeadError::Version)), "{text:?}: {result:?}");
    }
}

#[test]
fn too_many_fields_are_too_large() {
    let text = format!("GET / HTTP/1.1\r\n{}\r\n", "A: 1\r\n".repeat(FIELDS_LIMIT + 1));
    assert_eq!(RequestHead::parse(text.into_bytes()).err(), Some(HeadError::TooLarge));
}

#[test]
fn a_response_is_passed_on_in_plain_form() {
    let text = b"HTTP/1.0 200 Fine\nA : 1\r\nB: x\r\n  y\r\nC:3\r\n\r\n";
    let head = ResponseHead::parse(text.to_vec()).expect("a readable head");
    assert_eq!((head.status, head.version), (200, Version::Http10));
    let mut out = Vec::new();
    head.write_to(&mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "HTTP/1.1 200 Fine\r\nA: 1\r\nB: x y\r\nC:3\r\n\r\n"
    );
}

#[test]
fn odd_statuses_and_reasons_survive() {
    for (text, status, reason) in [
        (b"HTTP/1.1 299 \r\n\r\n".as_slice(), 299, b"".as_slice()),
        (b"HTTP/1.1 599\r\n\r\n", 599, b""),
        (b"HTTP/1.1 200 Tr\xe9s bien\r\n\r\n", 200, b"Tr\xe9s bien"),
    ] {
        let head = ResponseHead::parse(text.to_vec()).expect("a readable head");
        assert_eq!((head.status, head.reason()), (status, reason));
    }
    assert!(ResponseHead::parse(b"HTTP/1.1 099 No\r\n\r\n".to_vec()).is_err());
}

#[test]
fn the_end_of_a_head_is_found_across_reads() {
    let bytes = b"GET / HTTP/1.1\r\nA: 1\r\n\r\nrest";
    for cut in 0..bytes.len() {
        let found = end_of_head(&bytes[..cut], 0);
        let again = end_of_head(bytes, cut);
        assert_eq!(found.or(again), Some(24), "cut at {cut}");
    }
    assert_eq!(end_of_head(b"GET / HTTP/1.1\nA: 1\n\nrest", 0), Some(21));
}

/// A response, after `edit`, as it is written.
fn response_after(head: &str, edit: impl FnOnce(&mut ResponseHead)) -> String {
    let mut head = ResponseHead::parse(head.as_bytes().to_vec()).expect("a good head");
    edit(&mut head);
    let mut out = Vec::new();
    head.write_to(&mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn a_field_is_put_in_the_place_of_its_like_or_at_the_end_and_said_to_be_new_or_not() {
    let head = "HTTP/1.1 200 OK\r\nA:1\r\nx-b:  2 \r\nC: 3\r\nX-B: 4\r\n\r\n";
    let put = |name: &str, value: &str| {
        let mut changed = false;
        let head = response_after(head, |head| changed = head.fields.put(name, value.as_bytes()));
        (head, changed)
    };
    assert_eq!(put("A", "1"), (head.to_owned(), false));
    let other = "HTTP/1.1 200 OK\r\nA:1\r\nx-b:  2 \r\nC: 3\r\n\r\n";
    assert_eq!(put("X-B", "2"), (other.to_owned(), true), "one of the two goes");
    assert_eq!(put("X-B", "5"), (other.replace("  2 ", " 5"), true));
    assert_eq!(put("D", "6"), (head.replace("4\r\n", "4\r\nD: 6\r\n"), true));
}

#[test]
fn values_are_exchanged_where_there_is_another() {
    let head = "HTTP/1.1 200 OK\r\nA:1\r\nB:  1\r\nA: 2\r\n\r\n";
    let mut changed = true;
    let same = response_after(head, |head| changed = head.fields.exchange(|_, _| None));
    assert_eq!((same.as_str(), changed), (head, false));
    let other = response_after(head, |head| {
        changed = head
            .fields
            .exchange(|name, value| (name == b"A" && value == b"2").then(|| b"longer".to_vec()));
    });
    assert_eq!((other, changed), (head.replace("A: 2", "A: longer"), true));
}

#[test]
fn a_status_becomes_another_with_its_phrase() {
    let other = response_after("HTTP/1.0 404 Not here\r\nA:1\r\n\r\n", |head| {
        head.set_status(204, "No Content");
    });
    assert_eq!(other, "HTTP/1.1 204 No Content\r\nA:1\r\n\r\n");
}
