//! Signed policies: what is not signed lets nothing start, and who signs can be asked for.

use std::{fs, io::Cursor, path::Path};

use minisign::{KeyPair, sign};

use crate::support::{Amb, Outcome};

/// Signs a file as minisign does.
#[track_caller]
fn signed(keys: &KeyPair, file: &Path) {
    let text = fs::read(file).unwrap();
    let signature = sign(Some(&keys.pk), &keys.sk, Cursor::new(text), Some("acme 7"), None).unwrap();
    let beside = format!("{}.minisig", file.display());
    fs::write(beside, signature.into_string()).unwrap();
}

/// A pair of keys, and the public one as text.
fn keys() -> (KeyPair, String) {
    let keys = KeyPair::generate_unencrypted_keypair().unwrap();
    let public = keys.pk.to_base64();
    (keys, public)
}

#[test]
fn only_what_was_signed_is_a_policy() {
    let (keys, public) = keys();
    let (others, _) = self::keys();
    let run = |prepare: &dyn Fn(&Path)| {
        let run = Amb::run(["--no-config"]);
        let directory = run.home().join("policy");
        fs::create_dir_all(directory.join("policy.d")).unwrap();
        fs::write(
            directory.join("policy.toml"),
            format!("id = 'base'\nsigned-by = '{public}'\n"),
        )
        .unwrap();
        let file = directory.join("policy.d/more.toml");
        fs::write(&file, "id = 'more'\n[enforce]\n'run.threads' = { min = 2 }\n").unwrap();
        prepare(&file);
        run.env("AMB_POLICY_ROOT", directory)
            .command(["echo", "it ran"])
            .reporting()
            .outcome()
    };
    let outcome = run(&|file| signed(&keys, file));
    outcome.assert_status(0);
    assert_eq!(outcome.report.as_ref().unwrap()["run"]["policy"]["id"], "base, more");
    let refused = |outcome: Outcome, wanted: &str| {
        outcome.assert_status(125).assert_stdout("");
        assert!(outcome.stderr().contains(wanted), "{wanted}: {outcome}");
    };
    refused(run(&|_| {}), "more.toml: is not signed: there is no ");
    refused(
        run(&|file| signed(&others, file)),
        "its signature is not that of a key that is trusted",
    );
    let changed = run(&|file| {
        signed(&keys, file);
        fs::write(file, "id = 'more'\n").unwrap();
    });
    refused(changed, "its signature is not that of a key that is trusted");
    let garbage = run(&|file| fs::write(format!("{}.minisig", file.display()), "x").unwrap());
    refused(garbage, "more.toml.minisig: is no signature of minisign");
    let usurper = run(&|file| {
        fs::write(file, format!("signed-by = '{public}'\n")).unwrap();
        signed(&keys, file);
    });
    refused(usurper, "only policy.toml itself says who signs the files of policy.d");
}

#[test]
fn a_signature_can_be_checked_by_hand() {
    let (keys, public) = keys();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    fs::write(&file, "id = 'p'\n").unwrap();
    signed(&keys, &file);
    let key = directory.path().join("minisign.pub");
    fs::write(&key, keys.pk.to_box().unwrap().to_string()).unwrap();
    let verify = |words: &[&str]| {
        let amb = [env!("CARGO_BIN_EXE_amb"), "policy", "verify", file.to_str().unwrap()];
        Amb::bare().command(amb.iter().chain(words).copied()).outcome()
    };
    for key in [public.as_str(), key.to_str().unwrap()] {
        let said = format!("{}: the signature is good\ncomment: acme 7\n", file.display());
        verify(&["--key", key]).assert_status(0).assert_stdout(&said);
    }
    let outcome = verify(&["--key", "nonsense"]);
    outcome.assert_status(1);
    assert!(
        outcome
            .stderr()
            .contains("there is no file `nonsense`, and it is no public key of minisign"),
        "{outcome}"
    );
    fs::write(&file, "id = 'q'\n").unwrap();
    verify(&["--key", &public]).assert_status(1).assert_stdout("");
}
