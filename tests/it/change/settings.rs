//! What changes requests and responses is checked before the run, trusted first, and told to whoever asks.

use std::fs;

use crate::support::Amb;

/// What a run with this project file says on stderr before it starts nothing.
#[track_caller]
fn refused(file: &str, flags: &[&str], trusted: bool) -> String {
    let run = Amb::run(flags).env("AMB_TRUST", if trusted { "1" } else { "0" });
    fs::write(run.home().join("amb.toml"), file).unwrap();
    let outcome = run.command(["true"]).status(125);
    outcome.stderr().to_owned()
}

#[test]
fn every_mistake_has_its_place() {
    let file = "[headers.set]\nContent-Length = '5'\n\"a b\" = 'x'\nX = '${run.di}'\nY = '${env.HOME}'\nZ = '@gone'\n\
        W = \"a\\nb\"\nS = 'secret:x'\n[[route]]\nheaders = { remove = ['Host'] }\n\
        rewrite = { host = 'h:80', path-prefix = 'v2' }\nresponse-status = { 404 = 99 }\n\
        json = { set = { a = 1 }, patch = [{ op = 'x' }] }\nresponse-body = { file = 'gone.json' }\n";
    let said = refused(file, &[], true);
    for (place, reason) in [
        (
            "amb.toml:2:18",
            "`Content-Length` cannot be changed: it says where the message ends",
        ),
        ("amb.toml:3:", "`a b` is no name of a header field"),
        ("amb.toml:4:", "there is no `${run.di}`; did you mean `${run.id}`?"),
        ("amb.toml:5:", "`HOME` may not be named: put it in the list headers.env"),
        ("amb.toml:6:", "gone: No such file or directory"),
        ("amb.toml:7:", "the control character 0x0a"),
        ("amb.toml:8:", "there is no secret of this name"),
        (
            "amb.toml:10:",
            "`Host` cannot be changed: it follows the URL; rewrite.host changes both",
        ),
        ("amb.toml:11:", "the port stands by itself: host = \"h\", port = 80"),
        ("amb.toml:11:", "write `/v2`"),
        ("amb.toml:12:", "99 is no status of a final response"),
        ("amb.toml:13:", "write `/a`"),
        ("amb.toml:13:", "this is no JSON Patch"),
        ("amb.toml:14:", "gone.json: No such file or directory"),
    ] {
        let found = said.lines().any(|line| line.contains(place) && line.contains(reason));
        assert!(found, "{place} {reason}\n{said}");
    }
    let said = refused("", &["-H", "X"], true);
    assert!(said.contains("write NAME: VALUE"), "{said}");
    let said = refused("", &["-H", "Host: a"], true);
    assert!(said.contains("--header") && said.contains("rewrite.host"), "{said}");
}

#[test]
fn what_leads_elsewhere_or_reads_is_trusted_first() {
    for (file, does) in [
        (
            "route = [{ rewrite = { host = 'h' } }]",
            "sends requests to another host",
        ),
        (
            "route = [{ rewrite = { scheme = 'http' } }]",
            "sends requests in another way",
        ),
        (
            "route = [{ rewrite = { query = { add = { a = 'b' } } } }]",
            "with another query",
        ),
        ("headers.env = ['HOME']", "variables of the environment"),
        ("headers.set.X = 'a ${env.HOME}'", "reads from a file or a variable"),
        (
            "[profile.x]\nroute = [{ headers = { set = { X = '@f' } } }]",
            "reads from a file or a variable",
        ),
        ("response-headers.add.X = '@f'", "reads from a file or a variable"),
        ("response-body.file = 'f'", "reads a file"),
    ] {
        let said = refused(
            file,
            if file.contains("profile") {
                &["--profile=x"]
            } else {
                &[]
            },
            false,
        );
        assert!(said.contains(does) && said.contains("amb trust"), "{file}\n{said}");
    }
    let harmless = "headers.set.X = 'a ${run.id}'\nheaders.remove = ['Cookie']\njson.set = { '/a' = 1 }\n\
        response-status.404 = 204\nresponse-body.text = 'x'\notel.propagate = 'always'\n";
    let run = Amb::run::<&str>([]).env("AMB_TRUST", "0");
    fs::write(run.home().join("amb.toml"), harmless).unwrap();
    run.command(["true"]).success();
}

#[test]
fn a_credential_on_the_command_line_is_warned_of_and_not_shown() {
    for (header, warned) in [
        ("Authorization: Bearer abc123", true),
        ("X-Api-Key: abc123", true),
        ("X-Other: Basic abc123", true),
        ("Authorization: @token", false),
        ("X-Team: abc123", false),
    ] {
        let run = Amb::run(["-H", header]);
        fs::write(run.home().join("token"), "x").unwrap();
        let outcome = run.command(["true"]).success();
        let said = outcome.stderr();
        assert_eq!(
            said.contains("everybody on this machine can see it"),
            warned,
            "{header}: {said}"
        );
        assert!(!said.contains("abc123"), "{said}");
    }
}

#[test]
fn a_request_can_be_tried_out() {
    let run = Amb::bare().env("AMB_TRUST", "1");
    fs::write(
        run.home().join("amb.toml"),
        "[headers]\nset = { X-Team = 'billing', Authorization = '@token' }\n[[route]]\nid = 'soap'\n\
         match = { host = 'soap.test', path = '/v1/**' }\n\
         rewrite = { scheme = 'https', host = 'soap-v2.test', path-prefix = '/v2' }\nheaders = { remove = ['Cookie'] }\n\
         response-status = { 404 = 204 }\n",
    )
    .unwrap();
    fs::write(run.home().join("token"), "s3cret").unwrap();
    let run = run.shell(
        "\"$AMB\" policy test http://soap.test/v1/x; \"$AMB\" policy test http://other.test/; \
         \"$AMB\" policy test --json http://soap.test/v1/x",
    );
    let outcome = run.success();
    let said = outcome.stdout();
    for line in [
        "  sent to https://soap-v2.test/v2/x",
        "headers.remove.Cookie",
        "headers.set.X-Team",
        "requests say X-Team: billing",
        "requests say Authorization: @token",
        "responses with 404 get 204",
        "\"sent_to\": \"https://soap-v2.test/v2/x\"",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(said.matches("sent to ").count(), 1, "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
