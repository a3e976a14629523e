//! The JVM's trust store: what it trusted before and the run's authority, in a file that `JAVA_TOOL_OPTIONS` names.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{
    jks,
    plan::Plan,
    source::{self, SYSTEM_STORES},
};

/// The variable whose options reach every JVM.
const TOOL_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// Variables whose options win over those, of the JVM and of what starts it.
const STRONGER: [&str; 7] = [
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "JAVA_OPTS",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "SBT_OPTS",
    "CATALINA_OPTS",
];

/// The option that names a trust store.
const STORE: &str = "-Djavax.net.ssl.trustStore";

/// Where a JVM keeps its roots, below its home; the first that is there counts. A `jre` is what Java 8 has.
const STORES: [&str; 4] = [
    "lib/security/jssecacerts",
    "lib/security/cacerts",
    "jre/lib/security/jssecacerts",
    "jre/lib/security/cacerts",
];

/// Writes the store and says which options lead to it.
///
/// There are none, and a note, if the user's own options name a store that cannot be understood: its certificates would be
/// lost.
pub(super) fn options(plan: &mut Plan<'_>) {
    for name in STRONGER {
        let options = plan.named(name).unwrap_or_default().to_string_lossy();
        if split(&options)
            .iter()
            .any(|option| option.split_once('=').is_some_and(|(name, _)| name == STORE))
        {
            let advice = "which wins over that of amb: import the certificate in AMB_CA_FILE";
            plan.files.notes.push(format!("{name} names a trust store, {advice}"));
        }
    }
    let own = OwnOptions::of(plan);
    let found = match &own.store {
        Some(store) => match source::store(store, &own.passwords()) {
            // A JVM trusts nobody then.
            Err(reason) if reason.kind() == ErrorKind::NotFound => {
                plan.note(TOOL_OPTIONS, &format!("{} does not exist", store.display()));
                Some(Vec::new())
            }
            Err(reason) => {
                plan.note(TOOL_OPTIONS, &format!("{} cannot be read: {reason}", store.display()));
                None
            }
            Ok(None) => {
                let fact = "is no trust store that amb can read: JVMs will not trust amb";
                plan.note(TOOL_OPTIONS, &format!("{} {fact}", store.display()));
                None
            }
            Ok(certificates) => certificates,
        },
        None => Some(stock(plan).unwrap_or_else(|| plan.system_certificates().to_vec())),
    };
    let Some(mut certificates) = found else { return };
    certificates.retain(|certificate| certificate != plan.authority);
    let roots = certificates.iter().enumerate();
    let named = roots.map(|(index, root)| (format!("root-{}", index + 1), root.as_slice()));
    let store = jks::write([("amb".to_owned(), plan.authority)].into_iter().chain(named));
    let path = plan.write("java.jks", store, false);
    let mut options = vec![
        format!("{STORE}={}", path.display()),
        format!("-Djavax.net.ssl.trustStorePassword={}", jks::PASSWORD),
    ];
    if own.names_type {
        options.push("-Djavax.net.ssl.trustStoreType=JKS".to_owned());
    }
    plan.files.java_options = options;
}

/// What the user's own options say of the trust store. The last option of a name counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct OwnOptions {
    /// The file.
    store: Option<PathBuf>,
    /// Its password.
    password: Option<String>,
    /// Whether its format is named, which would be taken for that of ours.
    names_type: bool,
}

impl OwnOptions {
    /// What `JAVA_TOOL_OPTIONS` says.
    fn of(plan: &Plan<'_>) -> Self {
        let options = plan.named(TOOL_OPTIONS).unwrap_or_default().to_string_lossy();
        let mut own = Self::default();
        for option in split(&options) {
            let Some((name, value)) = option.split_once('=') else {
                continue;
            };
            match name {
                STORE => own.store = Some(value.into()),
                "-Djavax.net.ssl.trustStorePassword" => own.password = Some(value.to_owned()),
                "-Djavax.net.ssl.trustStoreType" => own.names_type = true,
                _ => {}
            }
        }
        own
    }

    /// The passwords to try.
    fn passwords(&self) -> Vec<&str> {
        self.password
            .as_deref()
            .into_iter()
            .chain([jks::PASSWORD, ""])
            .collect()
    }
}

/// The options in a variable: white space divides, quotes of either kind keep together and are left out.
fn split(options: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut option: Option<String> = None;
    let mut quote = None;
    for character in options.chars() {
        match quote {
            Some(open) if open == character => quote = None,
            None if character.is_ascii_whitespace() => found.extend(option.take()),
            None if matches!(character, '"' | '\'') => {
                quote = Some(character);
                option.get_or_insert_default();
            }
            _ => option.get_or_insert_default().push(character),
        }
    }
    found.extend(option);
    found
}

/// The roots that the JVM at hand brings along, in DER: that of `JAVA_HOME`, else the one on `PATH`, else the system's.
fn stock(plan: &Plan<'_>) -> Option<Vec<Vec<u8>>> {
    let home = plan.named("JAVA_HOME").map(PathBuf::from);
    let on_path = plan.named("PATH").and_then(|path| {
        let mut programs = env::split_paths(path).map(|directory| directory.join("java"));
        let program = programs.find(|program| program.is_file())?;
        // `HOME/bin/java`, and in front of it the links of whatever chooses among several.
        Some(fs::canonicalize(program).ok()?.parent()?.parent()?.to_owned())
    });
    let homes = home.into_iter().chain(on_path);
    let stores = homes.flat_map(|home: PathBuf| STORES.map(|store| home.join(store)));
    stores
        .chain(SYSTEM_STORES.map(|store| source::below(plan.root, store)))
        .find_map(|store: PathBuf| readable(&store))
}

/// The certificates of a store, if there are any.
fn readable(store: &Path) -> Option<Vec<Vec<u8>>> {
    let certificates = source::store(store, &[jks::PASSWORD, ""]).ok()??;
    (!certificates.is_empty()).then_some(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_the_jvm_splits_them() {
        for (options, expected) in [
            ("", vec![]),
            (" -Xmx1g\t-Da=b ", vec!["-Xmx1g", "-Da=b"]),
            ("-Da='b c' \"-Dd=e 'f'\"", vec!["-Da=b c", "-Dd=e 'f'"]),
            ("-Da=\"b'c\"'d'e", vec!["-Da=b'cde"]),
            ("'' -Da='b", vec!["", "-Da=b"]),
        ] {
            assert_eq!(split(options), expected, "{options}");
        }
    }
}
