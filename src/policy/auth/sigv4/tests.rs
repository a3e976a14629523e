//! The published vectors: AWS's own test suite for signature version 4, and the examples of the documentation of IAM and S3.

use super::*;

/// The key of the test suite.
const SUITE: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
/// The key of S3's documentation.
const DOCUMENTATION: (&str, &str) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");

/// A request of the test suite, whose last fields are those that all of it have.
#[track_caller]
fn check(name: &str, method: &str, target: &str, fields: &[(&str, &str)], body: &str, signature: &str) {
    let time = "20150830T123600Z";
    let own = [("Host", "example.amazonaws.com"), ("X-Amz-Date", time)];
    let fields: Vec<(&[u8], &[u8])> = own
        .iter()
        .chain(fields)
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let subject = Subject {
        method,
        target: target.as_bytes(),
        fields: &fields,
        payload: &payload(body.as_bytes()),
        time,
        straightens: true,
    };
    let value = authorization(&subject, SUITE.0.as_bytes(), SUITE.1.as_bytes(), "us-east-1", "service");
    let value = String::from_utf8(value).unwrap();
    assert!(
        value.ends_with(&format!(", Signature={signature}")),
        "{name}: {value}\n{}",
        String::from_utf8_lossy(&canonical(&subject).0)
    );
}

#[test]
fn signs_the_requests_of_the_test_suite() {
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    check(
        "get-vanilla-query-unreserved",
        "GET",
        &format!("/?{unreserved}={unreserved}"),
        &[],
        "",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    );
    check("get-vanilla", "GET", "/", &[], "", vanilla);
    check("get-slash", "GET", "//", &[], "", vanilla);
    check("get-slash-dot-slash", "GET", "/./", &[], "", vanilla);
    check("get-relative", "GET", "/example/..", &[], "", vanilla);
    check(
        "get-relative-relative",
        "GET",
        "/example1/example2/../..",
        &[],
        "",
        vanilla,
    );
    check(
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        &[],
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
    check(
        "get-vanilla-empty-query-key",
        "GET",
        "/?Param1=value1",
        &[],
        "",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    );
    check(
        "get-utf8",
        "GET",
        "/\u{1234}",
        &[],
        "",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    );
    check(
        "get-vanilla-utf8-query",
        "GET",
        "/?\u{1234}=bar",
        &[],
        "",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    );
    check(
        "get-unreserved",
        "GET",
        &format!("/{unreserved}"),
        &[],
        "",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    );
    check(
        "get-space",
        "GET",
        "/example space/",
        &[],
        "",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    );
}

#[test]
fn signs_the_requests_of_the_test_suite_with_fields_and_bodies() {
    check(
        "get-header-value-trim",
        "GET",
        "/",
        &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
    check(
        "get-header-key-duplicate",
        "GET",
        "/",
        &[
            ("My-Header1", "value2"),
            ("My-Header1", "value2"),
            ("My-Header1", "value1"),
        ],
        "",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    );
    check(
        "post-vanilla",
        "POST",
        "/",
        &[],
        "",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    );
    check(
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    );
}

/// An example of S3's documentation.
#[track_caller]
fn check_s3(method: &str, target: &str, fields: &[(&str, &str)], body: &str, signature: &str) {
    let (time, payload) = ("20130524T000000Z", payload(body.as_bytes()));
    let own = [
        ("Host", "examplebucket.s3.amazonaws.com"),
        ("x-amz-content-sha256", payload.as_str()),
        ("x-amz-date", time),
    ];
    let fields: Vec<(&[u8], &[u8])> = own
        .iter()
        .chain(fields)
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let subject = Subject {
        method,
        target: target.as_bytes(),
        fields: &fields,
        payload: &payload,
        time,
        straightens: false,
    };
    let value = authorization(
        &subject,
        DOCUMENTATION.0.as_bytes(),
        DOCUMENTATION.1.as_bytes(),
        "us-east-1",
        "s3",
    );
    let value = String::from_utf8(value).unwrap();
    assert!(
        value.ends_with(&format!(", Signature={signature}")),
        "{target}: {value}\n{}",
        String::from_utf8_lossy(&canonical(&subject).0)
    );
}

#[test]
fn signs_the_examples_of_the_documentation_of_s3() {
    check_s3(
        "GET",
        "/test.txt",
        &[("Range", "bytes=0-9")],
        "",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    check_s3(
        "PUT",
        "/test%24file.text",
        &[
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        "Welcome to Amazon S3.",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    check_s3(
        "GET",
        "/?lifecycle",
        &[],
        "",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
    check_s3(
        "GET",
        "/?max-keys=2&prefix=J",
        &[],
        "",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
}

#[test]
fn derives_the_key_of_the_documentation() {
    let key = key(SUITE.1.as_bytes(), "20150830T000000Z", "us-east-1", "iam");
    assert_eq!(
        hex(&*key),
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    );
}

#[test]
fn a_path_that_is_encoded_already_is_encoded_once_more_but_for_s3() {
    assert_eq!(canonical_path(b"/a%20b/c", true), "/a%2520b/c");
    assert_eq!(canonical_path(b"/a%20b//c/../d", false), "/a%20b//c/../d");
    assert_eq!(canonical_path(b"/a%2fb", false), "/a/b");
    assert_eq!(canonical_path(b"", true), "/");
}

#[test]
fn a_query_is_the_same_however_it_is_encoded() {
    for query in ["b=%7e&a=x+y", "a=x%20y&b=~", "a=x y&&b=~"] {
        assert_eq!(canonical_query(query.as_bytes()), "a=x%20y&b=~", "{query}");
    }
    assert_eq!(canonical_query(b"b&a=1&a=0&c=%zz"), "a=0&a=1&b=&c=%25zz");
}

#[test]
fn moments_are_written_as_they_are_signed() {
    for (seconds, text) in [
        (0, "19700101T000000Z"),
        (951_782_400, "20000229T000000Z"),
        (1_440_938_160, "20150830T123600Z"),
        (4_102_444_799, "20991231T235959Z"),
    ] {
        assert_eq!(time(seconds), text);
    }
}
