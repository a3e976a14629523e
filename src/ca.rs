//! `amb ca`: a certificate authority that an organisation keeps, instead of one for each run.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    cli::{
        self,
        ca::{CaAction, CaArgs, CaCreateArgs, CaPlaceArgs},
    },
    config,
    exit::Exit,
    policy::{
        matching::host::{HostPattern, Subtree},
        tls::authority::AuthorityFiles,
    },
    proxy::kept,
};

/// The name of the certificate's file.
const CERTIFICATE: &str = "ca.pem";
/// The name of the key's file.
const KEY: &str = "ca.key";

/// Does what `amb ca` is for.
pub fn run(args: &CaArgs) -> Exit {
    match &args.action {
        CaAction::Create(args) => match create(args) {
            Ok(text) => cli::print(text),
            Err(reason) => {
                cli::say(&reason);
                Exit::Negative
            }
        },
        CaAction::Show(args) => with_place(args, show),
        CaAction::Path(args) => with_place(args, |files| {
            cli::print(format!("{}\n{}\n", files.certificate.display(), files.key.display()))
        }),
    }
}

/// Does something with the authority that is configured.
fn with_place(args: &CaPlaceArgs, act: impl FnOnce(&AuthorityFiles) -> Exit) -> Exit {
    match config::inspect(&args.layers.request()) {
        Ok((config, _)) => {
            if let Some(files) = &config.policy.tls.authority {
                return act(files);
            }
            cli::say(
                &"tls.ca names no files: a run that decrypts makes an authority of its own\n\
                  hint: `amb ca create` makes one that is kept",
            );
            Exit::Negative
        }
        Err(mistakes) => cli::refuse_to_start(&mistakes),
    }
}

/// Shows an authority, and whether it can be used.
fn show(files: &AuthorityFiles) -> Exit {
    let about = match kept::describe(files, SystemTime::now()) {
        Ok(about) => about,
        Err(reason) => {
            cli::say(&reason);
            return Exit::Negative;
        }
    };
    let lines: Vec<String> = about
        .lines
        .iter()
        .map(|(what, value)| format!("{what:13}{value}\n"))
        .collect();
    let shown = cli::print(lines.concat());
    match about.wrong {
        Some(reason) => {
            cli::say(&reason);
            Exit::Negative
        }
        None => shown,
    }
}

/// Makes one; returns what is to be said of it.
fn create(args: &CaCreateArgs) -> Result<String, String> {
    let patterns: Result<Vec<HostPattern>, _> = args.hosts.iter().map(|host| host.parse::<HostPattern>()).collect();
    let patterns = patterns.map_err(|error| format!("--host: {error}"))?;
    let subtrees: Option<Vec<Subtree<'_>>> = patterns.iter().map(HostPattern::subtree).collect();
    let subtrees = subtrees.ok_or("--host: `*` is every host, to which it need not be confined")?;
    let directory = match &args.directory {
        Some(directory) => directory.clone(),
        None => {
            data_directory().ok_or("HOME and XDG_DATA_HOME are not set: say where to, as in `amb ca create DIR`")?
        }
    };
    let life = Duration::from_hours(24 * u64::from(args.days));
    let made = kept::make(&args.name, &subtrees, life, SystemTime::now())?;
    let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    let failed = |path: &Path, reason: io::Error| format!("{}: {reason}", path.display());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|reason| failed(&directory, reason))?;
    if !args.force
        && let Some(there) = [&certificate, &key]
            .into_iter()
            .find(|path| path.symlink_metadata().is_ok())
    {
        return Err(format!(
            "{} is there already\nhint: --force replaces it, and whoever trusts it has to be told of the new one",
            there.display()
        ));
    }
    write(&key, &made.key, 0o600).map_err(|reason| failed(&key, reason))?;
    write(&certificate, &made.certificate, 0o644).map_err(|reason| failed(&certificate, reason))?;
    let shown = |path: &Path| {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        toml_text(&path.to_string_lossy())
    };
    Ok(format!(
        "{}\n{}\n\nIn amb.toml:\n\n[tls]\nca = {{ cert = {}, key = {} }}\n",
        certificate.display(),
        key.display(),
        shown(&certificate),
        shown(&key)
    ))
}

/// A text as TOML has it.
fn toml_text(text: &str) -> String {
    if text.contains(['\'', '\n']) {
        format!("{text:?}")
    } else {
        format!("'{text}'")
    }
}

/// Writes a file of this mode all at once: under another name first, which nobody else can have put there.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err()
        && let Err(reason) = fs::remove_file(&fresh)
    {
        tracing::debug!(%reason, "what was begun stays");
    }
    written
}

/// Where amb keeps what is to last.
fn data_directory() -> Option<PathBuf> {
    let environment: Vec<_> = env::vars_os().collect();
    let base = config::files::base_directory(&environment, "XDG_DATA_HOME", ".local/share")?;
    Some(base.join("amb"))
}
