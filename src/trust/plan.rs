//! What is written for a run, and what each variable is to say: from the environment as amb found it.
//!
//! Most variables *replace* what a program trusts; they get a bundle of what it trusted before and of the run's
//! authority. What that is depends on the variable: what it names, else what the program's own settings name or it looks at
//! in its place, else the system's roots. The few that *add* to what a program trusts get what they named and the authority.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{Environment, Files, configured, java, pem, pem::Bundle, settings, source};

/// How a program takes a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It trusts what the variable names and nothing else; unset, what the first of these names, else the system's roots.
    Replaces(&'static [&'static str]),
    /// The same, but it need not or, where some versions refuse to start on it, must not be set: it is changed only where it is.
    ReplacesWhereSet,
    /// It trusts what the variable names besides its own roots.
    Adds,
}

/// The variable that adds to Node's roots; what npm trusts if it is told nothing else.
const NODE: &str = "NODE_EXTRA_CA_CERTS";

/// The variable that names npm's roots, which it reads in any case.
pub(super) const NPM: &str = "npm_config_cafile";

/// OpenSSL's roots as a file.
const OPENSSL_FILE: &str = "SSL_CERT_FILE";

/// OpenSSL's roots as directories, separated by colons.
///
/// Folded into the bundle and removed: older curls look at it alone where both are set, and OpenSSL finds in it only
/// certificates whose file is named by a hash.
const OPENSSL_DIRECTORY: &str = "SSL_CERT_DIR";

/// The variables that name certificates.
const VARIABLES: [(&str, Kind); 19] = [
    (OPENSSL_FILE, Kind::Replaces(&[])),
    ("NIX_SSL_CERT_FILE", Kind::Replaces(&[OPENSSL_FILE])),
    ("CURL_CA_BUNDLE", Kind::Replaces(&[OPENSSL_FILE])),
    ("REQUESTS_CA_BUNDLE", Kind::Replaces(&["CURL_CA_BUNDLE"])),
    ("PIP_CERT", Kind::Replaces(&["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])),
    ("GIT_SSL_CAINFO", Kind::Replaces(&[])),
    ("AWS_CA_BUNDLE", Kind::Replaces(&["REQUESTS_CA_BUNDLE"])),
    ("CARGO_HTTP_CAINFO", Kind::Replaces(&[OPENSSL_FILE])),
    ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", Kind::Replaces(&[])),
    ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Kind::Replaces(&[])),
    ("HTTPLIB2_CA_CERTS", Kind::Replaces(&[])),
    ("BUNDLE_SSL_CA_CERT", Kind::Replaces(&[OPENSSL_FILE])),
    ("COMPOSER_CAFILE", Kind::Replaces(&[OPENSSL_FILE])),
    ("HEX_CACERTS_PATH", Kind::Replaces(&[])),
    ("PERL_LWP_SSL_CA_FILE", Kind::Replaces(&["HTTPS_CA_FILE", OPENSSL_FILE])),
    // Unset, Mojolicious trusts what OpenSSL does.
    ("MOJO_CA_FILE", Kind::ReplacesWhereSet),
    // Yarn 3 and later; Yarn 2 does not know it, and refuses to start on what it does not know.
    ("YARN_HTTPS_CA_FILE_PATH", Kind::ReplacesWhereSet),
    (NODE, Kind::Adds),
    ("DENO_CERT", Kind::Adds),
];

/// Roots that a bundle is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The system's.
    System,
    /// Those in a file or directory.
    At(PathBuf),
}

/// A file that is to be written.
#[derive(Debug)]
pub(super) struct Content {
    /// Its path in the directory.
    pub(super) name: String,
    /// What is in it.
    pub(super) bytes: Vec<u8>,
    /// Whether it was made of something that others may not read.
    pub(super) is_private: bool,
}

/// What is written, and where the variables lead.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The environment as amb found it.
    pub(super) environment: &'a Environment<'a>,
    /// The authority's certificate, in DER.
    pub(super) authority: &'a [u8],
    /// Where the files will be.
    pub(super) directory: &'a Path,
    /// The root of the file system; another one in tests.
    pub(super) root: &'a Path,
    /// The files, without those of `bundles`.
    pub(super) contents: Vec<Content>,
    /// The bundles by what they are made of: their name in the directory, and what is in them.
    bundles: BTreeMap<Vec<Source>, (String, Bundle)>,
    /// Where the variables lead.
    pub(super) files: Files,
}

impl<'a> Plan<'a> {
    /// The plan for these variables, with an authority's certificate in DER, for files in `directory`.
    ///
    /// Reads what the variables name. What cannot be read is told in the notes of [`Files`].
    pub(super) fn new(
        environment: &'a Environment<'a>,
        authority: &'a [u8],
        directory: &'a Path,
        root: &'a Path,
    ) -> Self {
        let mut plan = Self {
            environment,
            authority,
            directory,
            root,
            contents: Vec::new(),
            bundles: BTreeMap::new(),
            files: Files {
                authority: directory.join("amb.pem"),
                variables: BTreeMap::new(),
                java_options: Vec::new(),
                notes: Vec::new(),
            },
        };
        plan.write("amb.pem", pem::encode("CERTIFICATE", authority).into_bytes(), false);
        for (name, kind) in VARIABLES {
            plan.variable(name, kind);
        }
        plan.npm();
        if plan.named(OPENSSL_DIRECTORY).is_some() {
            plan.set(OPENSSL_DIRECTORY, None);
        }
        settings::wget(&mut plan);
        settings::apt(&mut plan);
        settings::php(&mut plan);
        settings::guile(&mut plan);
        java::options(&mut plan);
        plan
    }

    /// The files and where the variables lead.
    pub(super) fn finish(self) -> (Vec<Content>, Files) {
        let mut contents = self.contents;
        contents.extend(self.bundles.into_values().map(|(name, bundle)| Content {
            name,
            bytes: bundle.text().into(),
            is_private: false,
        }));
        (contents, self.files)
    }

    /// Decides on one variable.
    fn variable(&mut self, name: &'static str, kind: Kind) {
        let path = match kind {
            Kind::Replaces(otherwise) => {
                let sources = self.first_named(name, otherwise);
                self.bundle(name, &sources.unwrap_or_else(|| vec![Source::System]))
            }
            Kind::ReplacesWhereSet => match self.first_named(name, &[]) {
                Some(sources) => self.bundle(name, &sources),
                None => return,
            },
            Kind::Adds => match self.first_named(name, &[]) {
                Some(sources) => self.bundle(name, &sources),
                None => self.files.authority.clone(),
            },
        };
        self.set(name, Some(path.into()));
    }

    /// Decides on npm's roots. Told them, npm forgets those of Node and what was added to them.
    fn npm(&mut self) {
        let spelled = |name: &&OsStr| name.eq_ignore_ascii_case(NPM);
        let own = self.environment.iter().filter(|(name, _)| spelled(name));
        let own = own
            .map(|(_, value)| PathBuf::from(value))
            .rfind(|path| !path.as_os_str().is_empty());
        let sources = if let Some(path) = own {
            vec![Source::At(path)]
        } else {
            // Which of its files npm reads depends on more than is known here: rather a root too many.
            let roots = configured::named(self, NPM).map_or(Source::System, Source::At);
            [roots].into_iter().chain(self.at(NODE)).collect()
        };
        let path = self.bundle(NPM, &sources);
        self.set(NPM, Some(path.into()));
    }

    /// What the variable names, else the program's own settings, else the first of the others that is set.
    fn first_named(&self, name: &str, otherwise: &[&str]) -> Option<Vec<Source>> {
        let own = || configured::named(self, name).map(|path| vec![Source::At(path)]);
        let others = || otherwise.iter().find_map(|name| self.named_by(name));
        self.named_by(name).or_else(own).or_else(others)
    }

    /// What a variable names.
    fn named_by(&self, name: &str) -> Option<Vec<Source>> {
        let mut sources: Vec<Source> = self.at(name).collect();
        if name == OPENSSL_FILE
            && let Some(directories) = self.named(OPENSSL_DIRECTORY)
        {
            let directories = env::split_paths(directories).filter(|path| !path.as_os_str().is_empty());
            sources.extend(directories.map(Source::At));
        }
        (!sources.is_empty()).then_some(sources)
    }

    /// What OpenSSL trusts without amb.
    pub(super) fn openssl(&self) -> Vec<Source> {
        self.first_named(OPENSSL_FILE, &[])
            .unwrap_or_else(|| vec![Source::System])
    }

    /// What a variable names, as a source.
    fn at(&self, name: &str) -> impl Iterator<Item = Source> + use<> {
        self.named(name).map(|path| Source::At(path.into())).into_iter()
    }

    /// The value of a variable; an empty one names nothing.
    pub(super) fn named(&self, name: &str) -> Option<&'a OsStr> {
        let value = self.environment.get(OsStr::new(name)).copied();
        value.filter(|value| !value.is_empty())
    }

    /// Where a variable is to lead.
    pub(super) fn set(&mut self, name: &'static str, value: Option<OsString>) {
        self.files.variables.insert(name.into(), value);
    }

    /// Says what the user should know of something that a variable names; once, however many variables name it.
    pub(super) fn note(&mut self, variable: &str, fact: &str) {
        if !self.files.notes.iter().any(|note| note.ends_with(fact)) {
            self.files.notes.push(format!("{variable}: {fact}"));
        }
    }

    /// Has a file written; returns its path.
    pub(super) fn write(&mut self, name: &str, bytes: Vec<u8>, is_private: bool) -> PathBuf {
        self.contents.push(Content {
            name: name.to_owned(),
            bytes,
            is_private,
        });
        self.directory.join(name)
    }

    /// The path of the bundle of these sources and the authority. `name` is who asks for it.
    pub(super) fn bundle(&mut self, name: &str, sources: &[Source]) -> PathBuf {
        if !self.bundles.contains_key(sources) {
            let file = match sources {
                [Source::System] => "roots.pem".to_owned(),
                _ => format!("{name}.pem"),
            };
            let bundle = self.gather(name, sources);
            self.bundles.insert(sources.to_vec(), (file, bundle));
        }
        let file = self.bundles.get(sources).map_or("", |(file, _)| file);
        self.directory.join(file)
    }

    /// The text of the bundle of these sources and the authority. `name` is who asks for it.
    pub(super) fn bundle_text(&mut self, name: &str, sources: &[Source]) -> Vec<u8> {
        self.bundle(name, sources);
        self.bundles
            .get(sources)
            .map_or_else(Vec::new, |(_, bundle)| bundle.text().into())
    }

    /// The certificates of the bundle of the system's roots and the authority.
    pub(super) fn system_certificates(&mut self) -> &[Vec<u8>] {
        let system = [Source::System];
        self.bundle("", &system);
        self.bundles
            .get(system.as_slice())
            .map_or(&[], |(_, bundle)| bundle.certificates())
    }

    /// Reads the sources of a bundle.
    fn gather(&mut self, name: &str, sources: &[Source]) -> Bundle {
        let mut bundle = Bundle::default();
        for source in sources {
            match source {
                Source::System => {
                    if !source::add_system(&mut bundle, self.root) {
                        self.files.notes.push(
                            "this system has no root certificates in a usual place: most programs will trust only the \
                             hosts that amb opens"
                                .to_owned(),
                        );
                    }
                }
                Source::At(path) => match source::add(&mut bundle, path) {
                    Ok(0) => self.note(name, &format!("there are no certificates in {}", path.display())),
                    Ok(_) => {}
                    Err(reason) => self.note(name, &format!("{} cannot be read: {reason}", path.display())),
                },
            }
        }
        bundle.add(pem::encode("CERTIFICATE", self.authority).as_bytes());
        bundle
    }
}

#[cfg(test)]
mod tests;
