//! The certificates that amb hands to a command: that programs take them, and that nothing of them is left behind.

mod clients;
mod directory;
mod server;
mod stores;

use std::{env, ffi::OsStr, path::PathBuf, process::Command};

use self::server::Authority;
use crate::support::Amb;

/// Every variable that names certificates, for a command that is to see none but amb's.
const VARIABLES: [&str; 29] = [
    "APT_CONFIG",
    "AWS_CA_BUNDLE",
    "BUNDLE_SSL_CA_CERT",
    "CARGO_HTTP_CAINFO",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "COMPOSER_CAFILE",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "GUILE_TLS_CERTIFICATE_DIRECTORY",
    "HEX_CACERTS_PATH",
    "HTTPLIB2_CA_CERTS",
    "HTTPS_CA_FILE",
    "JAVA_HOME",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "MOJO_CA_FILE",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PERL_LWP_SSL_CA_FILE",
    "PHP_INI_SCAN_DIR",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "WGETRC",
    "YARN_HTTPS_CA_FILE_PATH",
    "npm_config_cafile",
];

/// A run without variables of certificates, bare or under amb.
fn clean(mut run: Amb) -> Amb {
    for name in VARIABLES {
        run = run.without_env(name);
    }
    run
}

/// `amb run` that decrypts everything, and so has an authority that its command is to trust.
fn opening() -> Amb {
    // Without a control socket, which may be in the directory that is looked at.
    clean(Amb::run(["--summary=off", "--intercept", "--no-control"]))
}

/// The same, which itself believes servers that `authority` has signed for, and knows this machine by every name.
fn believing(authority: &Authority) -> Amb {
    let file = authority.pem_file();
    let flags = [
        "--summary=off",
        "--intercept",
        "--connect-to=::127.0.0.1:",
        "--extra-root",
    ]
    .map(OsStr::new);
    clean(Amb::run(flags.into_iter().chain([file.as_os_str()])))
}

/// The same with more flags, which captures what it is not asked for. Clients find this machine by themselves then.
fn capturing(authority: &Authority, more: &[&str]) -> Amb {
    let file = authority.pem_file();
    let flags = [
        "--summary=off",
        "--intercept",
        "--capture",
        "--proxy-loopback",
        "--extra-root",
    ];
    let flags = flags.into_iter().map(OsStr::new).chain([file.as_os_str()]);
    clean(Amb::run(flags.chain(more.iter().map(OsStr::new))))
}

/// Where a program is.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// The first line of what a command says, on whatever stream; `None` if it fails.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines()
        .find(|line| !line.trim().is_empty())
        .map(|line| line.trim().to_owned())
}
