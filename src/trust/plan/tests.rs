//! Where each variable leads, and what is there, table by table.

use std::{fs, os::unix::fs::PermissionsExt};

use tempfile::{TempDir, tempdir};

use super::{
    super::{jks as jks_format, pem::encode},
    *,
};

/// Variables that replace what a program trusts.
const REPLACING: [&str; 16] = [
    "SSL_CERT_FILE",
    "NIX_SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
    "BUNDLE_SSL_CA_CERT",
    "COMPOSER_CAFILE",
    "HEX_CACERTS_PATH",
    "PERL_LWP_SSL_CA_FILE",
    "npm_config_cafile",
];

/// Variables that add to it.
const ADDING: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// A certificate in DER, to those who do not look inside.
fn der(byte: u8) -> Vec<u8> {
    [&[0x30, 9], [byte; 9].as_slice()].concat()
}

/// The same in PEM.
fn pem(byte: u8) -> String {
    encode("CERTIFICATE", &der(byte))
}

/// The authority, and the system's root.
const AUTHORITY: u8 = 1;
/// The system's only root.
const SYSTEM: u8 = 2;
/// A root of the user's own.
const OWN: u8 = 3;
/// Another one.
const OTHER: u8 = 4;

/// A machine: its file system below a directory.
struct Machine(TempDir);

impl Machine {
    /// One with a root.
    fn new() -> Self {
        let machine = Self::empty();
        machine.file(&source::SYSTEM_FILES[0][1..], pem(SYSTEM));
        machine
    }

    /// One without.
    fn empty() -> Self {
        Self(tempdir().unwrap())
    }

    /// Writes a file; returns its path.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// What is planned for this environment.
    fn plan(&self, environment: &[(&str, &str)]) -> Planned {
        let environment = environment.iter();
        let environment = environment
            .map(|(name, value)| (OsStr::new(*name), OsStr::new(*value)))
            .collect();
        let authority = der(AUTHORITY);
        let plan = Plan::new(&environment, &authority, Path::new("/run/x"), self.0.path());
        let (contents, files) = plan.finish();
        Planned { contents, files }
    }
}

/// What came out.
struct Planned {
    /// The files.
    contents: Vec<Content>,
    /// Where the variables lead.
    files: Files,
}

impl Planned {
    /// A variable's value.
    #[track_caller]
    fn value(&self, name: &str) -> &str {
        self.files.variables[name].as_ref().unwrap().to_str().unwrap()
    }

    /// The file at a path.
    #[track_caller]
    fn file(&self, path: &str) -> &Content {
        let name = path.strip_prefix("/run/x/").unwrap();
        let mut found = self.contents.iter().filter(|content| content.name == name);
        let file = found.next().unwrap_or_else(|| panic!("nothing is written to {path}"));
        assert!(found.next().is_none(), "{path} is written twice");
        file
    }

    /// The text of the file that a variable names.
    #[track_caller]
    fn text(&self, name: &str) -> String {
        String::from_utf8(self.file(self.value(name)).bytes.clone()).unwrap()
    }

    /// The certificates in the JVM's store, which its options name.
    #[track_caller]
    fn java(&self) -> Vec<u8> {
        let path = self.files.java_options[0]
            .strip_prefix("-Djavax.net.ssl.trustStore=")
            .unwrap();
        let certificates = jks_format::read(&self.file(path).bytes).unwrap();
        certificates.iter().map(|certificate| certificate[2]).collect()
    }
}

/// Several certificates in PEM.
fn pems(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| pem(*byte)).collect()
}

#[test]
fn unset_variables_get_the_systems_roots_or_the_authority_alone() {
    let planned = Machine::new().plan(&[]);
    assert_eq!(planned.files.notes, [""; 0]);
    assert_eq!(planned.files.authority, Path::new("/run/x/amb.pem"));
    assert_eq!(planned.file("/run/x/amb.pem").bytes, pem(AUTHORITY).into_bytes());
    for name in REPLACING {
        assert_eq!(planned.value(name), "/run/x/roots.pem", "{name}");
    }
    assert_eq!(planned.text("SSL_CERT_FILE"), pems(&[SYSTEM, AUTHORITY]));
    for name in ADDING {
        assert_eq!(planned.value(name), "/run/x/amb.pem", "{name}");
    }
    let others: Vec<_> = planned.files.variables.keys().map(|name| &**name).collect();
    let others: Vec<_> = others
        .into_iter()
        .filter(|name| !REPLACING.contains(name) && !ADDING.contains(name))
        .collect();
    assert_eq!(
        others,
        ["APT_CONFIG", "GUILE_TLS_CERTIFICATE_DIRECTORY", "PHP_INI_SCAN_DIR"]
    );
}

#[test]
fn a_variable_of_the_users_is_followed_to_its_file_or_directory() {
    for name in REPLACING.into_iter().chain(ADDING) {
        let machine = Machine::new();
        let file = machine.file("own.pem", pem(OWN));
        let planned = machine.plan(&[(name, &file)]);
        assert_eq!(planned.text(name), pems(&[OWN, AUTHORITY]), "{name}");
        assert_eq!(planned.value(name), format!("/run/x/{name}.pem"));

        let directory = Path::new(&machine.file("own/a.pem", pem(OWN)))
            .parent()
            .unwrap()
            .to_owned();
        machine.file("own/b.pem", pem(OTHER));
        let planned = machine.plan(&[(name, directory.to_str().unwrap())]);
        assert_eq!(planned.text(name), pems(&[OWN, OTHER, AUTHORITY]), "{name}");
        assert_eq!(planned.files.notes, [""; 0], "{name}");
    }
}

#[test]
fn what_a_variable_names_in_vain_is_told_and_trusts_the_authority_alone() {
    let machine = Machine::new();
    let empty = machine.file("empty.pem", "");
    let missing = machine.0.path().join("missing.pem");
    for name in REPLACING.into_iter().chain(ADDING) {
        let planned = machine.plan(&[(name, missing.to_str().unwrap())]);
        assert_eq!(planned.text(name), pem(AUTHORITY), "{name}");
        let expected = format!(
            "{name}: {} cannot be read: No such file or directory (os error 2)",
            missing.display()
        );
        assert_eq!(planned.files.notes, [expected]);

        let planned = machine.plan(&[(name, &empty)]);
        assert_eq!(planned.text(name), pem(AUTHORITY), "{name}");
        assert_eq!(
            planned.files.notes,
            [format!("{name}: there are no certificates in {empty}")]
        );
    }
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let unset = Machine::new().plan(&[]);
    for name in REPLACING
        .into_iter()
        .chain(ADDING)
        .chain(["WGETRC", "APT_CONFIG", "SSL_CERT_DIR"])
    {
        let planned = Machine::new().plan(&[(name, "")]);
        assert_eq!(planned.files, unset.files, "{name}");
    }
}

#[test]
fn a_program_that_looks_at_anothers_variable_keeps_what_that_one_names() {
    let machine = Machine::new();
    let file = machine.file("own.pem", pem(OWN));
    for (set, followers) in [
        (
            "SSL_CERT_FILE",
            [
                "NIX_SSL_CERT_FILE",
                "CURL_CA_BUNDLE",
                "CARGO_HTTP_CAINFO",
                "BUNDLE_SSL_CA_CERT",
                "COMPOSER_CAFILE",
            ]
            .as_slice(),
        ),
        ("CURL_CA_BUNDLE", &["REQUESTS_CA_BUNDLE", "PIP_CERT"]),
        ("REQUESTS_CA_BUNDLE", &["PIP_CERT", "AWS_CA_BUNDLE"]),
        ("HTTPS_CA_FILE", &["PERL_LWP_SSL_CA_FILE"]),
    ] {
        let planned = machine.plan(&[(set, &file)]);
        for follower in followers {
            assert_eq!(planned.text(follower), pems(&[OWN, AUTHORITY]), "{follower} by {set}");
        }
        assert_eq!(planned.text("GIT_SSL_CAINFO"), pems(&[SYSTEM, AUTHORITY]), "{set}");
    }
}

#[test]
fn directories_of_openssl_are_folded_in_and_the_variable_removed() {
    let machine = Machine::new();
    let one = Path::new(&machine.file("one/a.pem", pem(OWN)))
        .parent()
        .unwrap()
        .to_owned();
    let two = Path::new(&machine.file("two/b.pem", pem(OTHER)))
        .parent()
        .unwrap()
        .to_owned();
    let directories = format!("{}::{}", one.display(), two.display());
    let file = machine.file("file.pem", pem(5));
    let planned = machine.plan(&[("SSL_CERT_DIR", &directories)]);
    assert_eq!(planned.files.variables["SSL_CERT_DIR"], None);
    assert_eq!(planned.text("SSL_CERT_FILE"), pems(&[OWN, OTHER, AUTHORITY]));
    assert_eq!(planned.text("CURL_CA_BUNDLE"), planned.text("SSL_CERT_FILE"));
    let planned = machine.plan(&[("SSL_CERT_DIR", &directories), ("SSL_CERT_FILE", &file)]);
    assert_eq!(planned.text("SSL_CERT_FILE"), pems(&[5, OWN, OTHER, AUTHORITY]));
    assert_eq!(planned.files.notes, [""; 0]);
}

#[test]
fn npm_does_not_lose_what_node_was_given() {
    let machine = Machine::new();
    let extra = machine.file("extra.pem", pem(OWN));
    let planned = machine.plan(&[("NODE_EXTRA_CA_CERTS", &extra)]);
    assert_eq!(planned.text("npm_config_cafile"), pems(&[SYSTEM, OWN, AUTHORITY]));
    assert_eq!(planned.text("NODE_EXTRA_CA_CERTS"), pems(&[OWN, AUTHORITY]));
    let own = machine.file("own.pem", pem(OTHER));
    let planned = machine.plan(&[("NODE_EXTRA_CA_CERTS", &extra), ("NPM_CONFIG_CAFILE", &own)]);
    assert_eq!(planned.text("npm_config_cafile"), pems(&[OTHER, AUTHORITY]));
}

#[test]
fn a_variable_does_not_override_what_the_programs_settings_name() {
    let machine = Machine::new();
    let home = machine.0.path().to_str().unwrap();
    let own = machine.file("own.pem", pem(OWN));
    let other = machine.file("other.pem", pem(OTHER));
    machine.file("etc/gitconfig", format!("[http]\nsslCAInfo = {other}\n"));
    for (file, text) in [
        (".gitconfig", format!("[http]\n\tsslCAInfo = {own}\n")),
        (".config/pip/pip.conf", format!("[global]\ncert = {own}\n")),
        (".cargo/config.toml", format!("[http]\ncainfo = \"{own}\"\n")),
        (".npmrc", "cafile=~/own.pem\n".to_owned()),
    ] {
        machine.file(file, text);
    }
    for name in ["GIT_SSL_CAINFO", "PIP_CERT", "CARGO_HTTP_CAINFO", "npm_config_cafile"] {
        let planned = machine.plan(&[
            ("HOME", home),
            ("REQUESTS_CA_BUNDLE", "/nowhere"),
            ("SSL_CERT_FILE", "/nowhere"),
        ]);
        assert_eq!(planned.text(name), pems(&[OWN, AUTHORITY]), "{name}");
        // A variable of the user's would override them without amb, too.
        let planned = machine.plan(&[("HOME", home), (name, &other)]);
        assert_eq!(planned.text(name), pems(&[OTHER, AUTHORITY]), "{name}");
    }
    assert_eq!(
        machine.plan(&[]).text("GIT_SSL_CAINFO"),
        pems(&[OTHER, AUTHORITY]),
        "without a home"
    );
}

#[test]
fn yarn_gets_its_variable_only_where_it_has_one() {
    let machine = Machine::new();
    let own = machine.file("own.pem", pem(OWN));
    assert!(
        !machine
            .plan(&[])
            .files
            .variables
            .contains_key("YARN_HTTPS_CA_FILE_PATH")
    );
    let planned = machine.plan(&[("YARN_HTTPS_CA_FILE_PATH", &own)]);
    assert_eq!(planned.text("YARN_HTTPS_CA_FILE_PATH"), pems(&[OWN, AUTHORITY]));
}

#[test]
fn a_system_without_roots_is_told_of_once() {
    let planned = Machine::empty().plan(&[]);
    assert_eq!(planned.text("SSL_CERT_FILE"), pem(AUTHORITY));
    assert_eq!(planned.java(), [AUTHORITY]);
    assert_eq!(planned.files.notes.len(), 1, "{:?}", planned.files.notes);
    assert!(planned.files.notes[0].contains("no root certificates"));
}

#[test]
fn wget_keeps_its_settings_and_what_they_trust() {
    let machine = Machine::new();
    let home = machine.0.path().to_str().unwrap();
    let planned = machine.plan(&[("HOME", home)]);
    assert_eq!(planned.text("WGETRC"), "ca_certificate = /run/x/roots.pem\n");
    machine.file(".wgetrc", "quiet = on");
    let planned = machine.plan(&[("HOME", home)]);
    assert_eq!(
        planned.text("WGETRC"),
        "quiet = on\nca_certificate = /run/x/roots.pem\n"
    );

    let own = machine.file("own.pem", pem(OWN));
    let settings = machine.file("wgetrc", format!("password = x\nca_certificate = {own}\n"));
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
    let planned = machine.plan(&[("HOME", home), ("WGETRC", &settings)]);
    let text = planned.text("WGETRC");
    assert_eq!(
        text,
        format!("password = x\nca_certificate = {own}\nca_certificate = /run/x/WGETRC.pem\n")
    );
    assert_eq!(
        planned.file("/run/x/WGETRC.pem").bytes,
        pems(&[OWN, AUTHORITY]).into_bytes()
    );
    assert!(planned.file(planned.value("WGETRC")).is_private);

    machine.file("etc/wgetrc", format!("ca_certificate = {own}\n"));
    let planned = machine.plan(&[("HOME", home)]);
    assert_eq!(
        planned.file("/run/x/WGETRC.pem").bytes,
        pems(&[OWN, AUTHORITY]).into_bytes()
    );
}

#[test]
fn settings_that_cannot_be_read_are_left_to_their_program() {
    for name in ["WGETRC", "APT_CONFIG"] {
        let planned = Machine::new().plan(&[(name, "/nowhere/at/all")]);
        assert!(!planned.files.variables.contains_key(name), "{name}");
        let expected = format!("{name}: /nowhere/at/all cannot be read: No such file or directory (os error 2)");
        assert_eq!(planned.files.notes, [expected]);
    }
    assert!(
        !Machine::new().plan(&[]).files.variables.contains_key("WGETRC"),
        "without a home"
    );
}

#[test]
fn apt_keeps_its_settings() {
    let machine = Machine::new();
    let ours = "Acquire::https::CAInfo \"/run/x/roots.pem\";\n";
    assert_eq!(machine.plan(&[]).text("APT_CONFIG"), ours);
    let settings = machine.file("apt.conf", "Quiet \"1\";");
    let planned = machine.plan(&[("APT_CONFIG", &settings)]);
    assert_eq!(planned.text("APT_CONFIG"), format!("Quiet \"1\";\n{ours}"));
}

#[test]
fn php_reads_one_directory_more() {
    for (own, expected) in [
        (None, ":/run/x/php"),
        (Some(""), "/run/x/php"),
        (Some("/a:/b"), "/a:/b:/run/x/php"),
        (Some(":/b"), ":/b:/run/x/php"),
    ] {
        let machine = Machine::new();
        let own = own.map(|own| ("PHP_INI_SCAN_DIR", own));
        let planned = machine.plan(own.as_slice());
        assert_eq!(planned.value("PHP_INI_SCAN_DIR"), expected);
        let settings = &planned.file("/run/x/php/amb.ini").bytes;
        let expected = "openssl.cafile = \"/run/x/roots.pem\"\ncurl.cainfo = \"/run/x/roots.pem\"\n";
        assert_eq!(settings, expected.as_bytes());
    }
}

#[test]
fn guile_reads_one_directory_with_one_file() {
    let machine = Machine::new();
    let own = machine.file("own/own.pem", pem(OWN));
    let own = own.strip_suffix("/own.pem").unwrap();
    for (variables, expected) in [
        (vec![], pems(&[SYSTEM, AUTHORITY])),
        (vec![("SSL_CERT_DIR", own)], pems(&[OWN, AUTHORITY])),
        (
            vec![("GUILE_TLS_CERTIFICATE_DIRECTORY", own), ("SSL_CERT_DIR", "/nowhere")],
            pems(&[OWN, AUTHORITY]),
        ),
    ] {
        let planned = machine.plan(&variables);
        assert_eq!(planned.value("GUILE_TLS_CERTIFICATE_DIRECTORY"), "/run/x/guile");
        assert_eq!(planned.file("/run/x/guile/roots.pem").bytes, expected.into_bytes());
    }
}

#[test]
fn mojolicious_keeps_what_it_was_told_to_trust() {
    let machine = Machine::new();
    let own = machine.file("own.pem", pem(OWN));
    assert!(!machine.plan(&[]).files.variables.contains_key("MOJO_CA_FILE"));
    let planned = machine.plan(&[("MOJO_CA_FILE", &own)]);
    assert_eq!(planned.text("MOJO_CA_FILE"), pems(&[OWN, AUTHORITY]));
}

#[test]
fn java_trusts_what_it_brings_along_and_the_authority() {
    let store = |byte| jks([der(byte)]);
    let machine = Machine::new();
    // Nothing of a JVM: the system's roots.
    assert_eq!(machine.plan(&[]).java(), [AUTHORITY, SYSTEM]);
    machine.file(&source::SYSTEM_STORES[0][1..], store(5));
    assert_eq!(machine.plan(&[]).java(), [AUTHORITY, 5]);
    // The one on the path, behind a link.
    let program = machine.file("opt/jdk/bin/java", "");
    machine.file("opt/jdk/lib/security/cacerts", store(6));
    fs::create_dir(machine.0.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(program, machine.0.path().join("bin/java")).unwrap();
    let path = format!("/nowhere:{}/bin", machine.0.path().display());
    assert_eq!(machine.plan(&[("PATH", &path)]).java(), [AUTHORITY, 6]);
    // The one that is chosen, of the old kind, whose own additions come first.
    machine.file("opt/jre8/jre/lib/security/cacerts", store(7));
    let home = format!("{}/opt/jre8", machine.0.path().display());
    let environment = [("PATH", path.as_str()), ("JAVA_HOME", &home)];
    assert_eq!(machine.plan(&environment).java(), [AUTHORITY, 7]);
    machine.file("opt/jre8/jre/lib/security/jssecacerts", store(8));
    assert_eq!(machine.plan(&environment).java(), [AUTHORITY, 8]);
    // What is no store is passed over.
    machine.file("opt/jre8/lib/security/cacerts", "nonsense");
    assert_eq!(machine.plan(&environment).java(), [AUTHORITY, 8]);
    assert_eq!(
        machine.plan(&[]).files.java_options,
        [
            "-Djavax.net.ssl.trustStore=/run/x/java.jks",
            "-Djavax.net.ssl.trustStorePassword=changeit"
        ]
    );
}

#[test]
fn java_keeps_the_store_that_the_users_options_name() {
    let machine = Machine::new();
    let own = machine.file("my store.jks", jks([der(OWN), der(AUTHORITY)]));
    let options = format!("-Xmx1g '-Djavax.net.ssl.trustStore={own}' -Djavax.net.ssl.trustStorePassword=x");
    let planned = machine.plan(&[("JAVA_TOOL_OPTIONS", &options)]);
    assert_eq!(planned.java(), [AUTHORITY, OWN]);
    assert_eq!(planned.files.java_options.len(), 2);
    let typed = format!("{options} -Djavax.net.ssl.trustStoreType=pkcs12");
    let planned = machine.plan(&[("JAVA_TOOL_OPTIONS", &typed)]);
    assert_eq!(planned.files.java_options[2], "-Djavax.net.ssl.trustStoreType=JKS");

    let planned = machine.plan(&[("MAVEN_OPTS", "-Xmx1g -Djavax.net.ssl.trustStore=/nowhere")]);
    assert_eq!(
        planned.files.notes,
        ["MAVEN_OPTS names a trust store, which wins over that of amb: import the certificate in AMB_CA_FILE"]
    );

    let planned = machine.plan(&[("JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=/nowhere")]);
    assert_eq!(planned.java(), [AUTHORITY]);
    assert_eq!(planned.files.notes, ["JAVA_TOOL_OPTIONS: /nowhere does not exist"]);

    let odd = machine.file("odd.bks", "nonsense");
    let planned = machine.plan(&[("JAVA_TOOL_OPTIONS", &format!("-Djavax.net.ssl.trustStore={odd}"))]);
    assert_eq!(planned.files.java_options, [""; 0]);
    assert_eq!(
        planned.files.notes,
        [format!(
            "JAVA_TOOL_OPTIONS: {odd} is no trust store that amb can read: JVMs will not trust amb"
        )]
    );
}

/// A JVM's store.
fn jks(certificates: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let certificates: Vec<_> = certificates.into_iter().collect();
    let named = certificates.iter().enumerate();
    jks_format::write(named.map(|(index, certificate)| (index.to_string(), certificate.as_slice())))
}
