//! Where secrets come from, what is said when they cannot be had, and what others see of them meanwhile.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{
    super::support::{Amb, Child, Proxy, Upstream, ok},
    get, resolve, trusted,
};

/// The value that goes to the server, of a secret from there.
#[track_caller]
fn check(secret: &str, prepare: impl FnOnce(Amb) -> Amb, expected: &str) {
    let upstream = Upstream::script([ok("")]);
    let address = upstream.address();
    let file = format!("[secret]\nx = {secret}\n[auth]\n'api.test' = 'secret:x'\n");
    let run = trusted(&file, &[&resolve("api.test", address)]);
    let proxy = Proxy::of(prepare(run));
    get(&proxy, "api.test", address, "/", "").assert_is(200, "");
    assert_eq!(
        upstream.join()[0].field("authorization"),
        Some(format!("Bearer {expected}").as_str())
    );
    proxy.end();
}

/// Writes a file that only its owner may read.
fn private(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn each_source_gives_its_secret() {
    check(
        "{ env = 'X' }",
        |run| run.env("X", "from-a-variable"),
        "from-a-variable",
    );
    let file = |run: Amb| {
        private(&run.home().join("s"), "from-a-file\n");
        run
    };
    check("{ file = 's' }", file, "from-a-file");
    check("{ file = 's', lazy = true }", file, "from-a-file");
    check("{ command = ['echo', 'from-a-program'] }", |run| run, "from-a-program");
    check(
        "{ command = ['sh', '-c', 'echo $WORD'], lazy = true, cache = '1h' }",
        |run| run.env("WORD", "from-a-program"),
        "from-a-program",
    );
    let credential = |run: Amb| {
        private(&run.home().join("c"), "from-systemd");
        let home = run.home().to_owned();
        run.env("CREDENTIALS_DIRECTORY", home)
    };
    check("{ credential = 'c' }", credential, "from-systemd");
}

#[test]
fn what_is_wrong_with_secrets_is_told_at_once_and_nothing_starts() {
    let file = "[secret]\na = { env = 'NOT_SET' }\nb = { file = 'none' }\nc = { command = ['sh', '-c', 'echo the-value; exit 3'] }\n\
                d = { env = 'EMPTY' }\nlazy = { file = 'none', lazy = true }\n";
    let outcome = trusted(file, &[])
        .env("EMPTY", "")
        .child(Child::new(["touch", "started"]))
        .outcome();
    outcome.assert_status(125);
    assert_eq!(
        outcome.stderr(),
        "amb: the secret `a` cannot be had from the variable NOT_SET: it is not set\n\
         amb: the secret `b` cannot be had from the file none: there is no such file\n\
         amb: the secret `c` cannot be had from the command sh: it ended with exit status: 3\n\
         amb: the secret `d` cannot be had from the variable EMPTY: it is empty\n"
    );
}

#[test]
fn a_lazy_secret_that_cannot_be_had_fails_the_request_that_needs_it() {
    let upstream = Upstream::script([ok("")]);
    let address = upstream.address();
    let file = "[secret]\nx = { file = 'later', lazy = true }\n[auth]\n'api.test' = 'secret:x'\n";
    let run = trusted(file, &[&resolve("api.test", address)]);
    let later = run.home().join("later");
    let proxy = Proxy::of(run);
    let answer = get(&proxy, "api.test", address, "/", "");
    answer.assert_own(502, "proxy_configuration_error");
    assert!(
        answer
            .body()
            .contains("the secret `x` cannot be had from the file later"),
        "{}",
        answer.body()
    );
    private(&later, "there-now");
    get(&proxy, "api.test", address, "/", "").assert_is(200, "");
    assert_eq!(upstream.join()[0].field("authorization"), Some("Bearer there-now"));
    proxy.end().assert_exchanges(&[("failed", 1), ("ok", 1)]);
}

#[test]
fn a_hidden_variable_is_in_nobodys_environment() {
    let file = "[secret]\nx = { env = 'HIDDEN', hide-from-child = true }\ny = { env = 'SHOWN' }\n";
    let outcome = trusted(file, &[])
        .env("HIDDEN", "the-hidden-value")
        .env("SHOWN", "the-shown-value")
        .env("LAST", "1")
        .shell(
            "env | grep -c -e HIDDEN -e the-hidden-value; env | grep -e ^SHOWN -e ^LAST | sort; \
             tr '\\0' '\\n' </proc/$PPID/environ | grep -c the-hidden-value; exit 0",
        )
        .success();
    // The last line is missing where amb's own environment may not even be looked at, as anybody but root finds it.
    let lines: Vec<&str> = outcome.stdout().lines().collect();
    assert_eq!(
        lines[..3],
        ["0", "LAST=1", "SHOWN=the-shown-value"],
        "{}",
        outcome.stdout()
    );
    assert!(lines[3..].iter().all(|line| *line == "0"), "{}", outcome.stdout());
}

#[test]
fn an_amb_with_secrets_leaves_no_dump_and_its_command_is_as_ever() {
    let file = "[secret]\nx = { env = 'X' }\n";
    let owner = "stat -c %u /proc/$PPID/environ; stat -c %u /proc/$$/environ";
    let outcome = trusted(file, &[]).env("X", "the-value").shell(owner).success();
    let own = rustix::process::geteuid().as_raw().to_string();
    let lines: Vec<&str> = outcome.stdout().lines().collect();
    // The kernel gives what is not dumpable to root.
    assert_eq!(lines, ["0", own.as_str()]);
    let outcome = trusted("", &[]).shell(owner).success();
    assert_eq!(
        outcome.stdout().lines().collect::<Vec<_>>(),
        [own.as_str(), own.as_str()]
    );
}

#[test]
fn a_dry_run_tells_what_is_hidden_and_no_value() {
    let file = "[secret]\nx = { env = 'HIDDEN', hide-from-child = true }\nc = { command = ['touch', 'ran'] }\n\
                [auth]\n'api.test' = { basic = { user = 'me', password = 'secret:x' } }\n";
    let run = trusted(file, &["--dry-run"])
        .env("HIDDEN", "the-hidden-value")
        .command([
            "curl",
            "-H",
            "Authorization: Bearer own",
            "http://h/?x=the-hidden-value",
        ]);
    let ran = run.home().join("ran");
    let outcome = run.success();
    let said = outcome.stdout();
    assert!(said.contains("  - HIDDEN  (hidden from the command)\n"), "{said}");
    assert!(
        said.contains("requests to api.test are signed in (basic with secret:x)"),
        "{said}"
    );
    assert!(said.contains("\"Authorization: ***\" \"http://h/?x=***\""), "{said}");
    assert!(said.contains("secret.x.env = \"HIDDEN\""), "{said}");
    assert!(!said.contains("the-hidden-value") && !ran.exists(), "{said}");
}

#[test]
fn a_value_in_the_place_of_a_reference_is_refused_and_not_repeated() {
    for (file, flags) in [
        ("[auth]\n'api.test' = 'sk_live_value'\n", &[][..]),
        ("[auth]\n'api.test' = { bearer = 'sk_live_value', nonsense = 1 }\n", &[]),
        (
            "[auth.'api.test'.basic]\nuser = 'me'\npassword = \"sk_live_value\"\n",
            &[],
        ),
        ("[auth.'api.test']\nbearer = 'sk_live_value' x\n", &[]),
        ("[[route]]\nmatch = { host = 'h' }\nauth = 'sk_live_value'\n", &[]),
        ("", &["--auth=api.test=sk_live_value"]),
        ("", &["--auth=sk_live_value"]),
        ("", &["--set=auth.'api.test'.bearer=\"sk_live_value\""]),
    ] {
        let outcome = trusted(file, flags).child(Child::exit(0)).outcome();
        outcome.assert_status(125);
        assert!(
            !outcome.stderr().contains("sk_live_value"),
            "{file} {flags:?}: {}",
            outcome.stderr()
        );
    }
}
