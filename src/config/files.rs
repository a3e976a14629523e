//! Which files are read, and where they are looked for.
//!
//! The system's, the user's, the project's, and the one that was asked for. The project's is searched from the working
//! directory upwards, as far as the project reaches: to the root of the repository, or, where there is none, to the home
//! directory. Where neither is above it, nothing says how far that is, and only the working directory itself counts:
//! what anybody may have left in `/tmp` is nobody's project.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use toml_edit::{ImDocument, TomlError};

use super::error::ConfigError;

/// The system's file.
pub const SYSTEM_FILE: &str = "/etc/amb/amb.toml";

/// The names of a project's file; the first that is there counts.
pub const PROJECT_FILES: [&str; 3] = ["amb.toml", ".amb.toml", ".config/amb.toml"];

/// What the root of a repository holds.
const REPOSITORY_MARKS: [&str; 3] = [".git", ".jj", ".hg"];

/// A file that was read.
#[derive(Debug)]
pub struct File {
    /// Its path as people know it: relative where it was given or found so.
    pub shown: String,
    /// Its path, relative to the working directory or absolute.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
    /// Where everything in it is, once somebody has asked.
    document: OnceLock<Result<ImDocument<String>, TomlError>>,
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.text) == (&other.path, &other.text)
    }
}

impl Eq for File {}

impl File {
    /// A file that holds `text`.
    pub fn new(shown: String, path: PathBuf, text: String) -> Self {
        Self {
            shown,
            path,
            text,
            document: OnceLock::new(),
        }
    }

    /// Where everything in it is. A run without mistakes asks only when it is over.
    pub(super) fn document(&self) -> &Result<ImDocument<String>, TomlError> {
        self.document.get_or_init(|| ImDocument::parse(self.text.clone()))
    }
}

/// The file at `path`, relative to `directory`; none if there is none.
///
/// # Errors
///
/// It exists and cannot be read.
pub fn optional(directory: &Path, path: &Path) -> Result<Option<File>, ConfigError> {
    match fs::read(directory.join(path)) {
        Ok(bytes) => decode(directory, path, bytes).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        // A home directory that belongs to somebody else holds no file for us.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !present(&directory.join(path)) => Ok(None),
        Err(error) => Err(ConfigError::unreadable(&path.display().to_string(), &error)),
    }
}

/// The file that was asked for, relative to `directory`.
///
/// # Errors
///
/// It is absent or cannot be read.
pub fn explicit(directory: &Path, path: &Path) -> Result<File, ConfigError> {
    if path == Path::new("-") {
        return Err(ConfigError::other(
            "--config -: stdin is the command's own; write --config /dev/fd/3 and add `3<FILE` in the shell",
        ));
    }
    match fs::read(directory.join(path)) {
        Ok(bytes) => decode(directory, path, bytes),
        Err(error) => Err(ConfigError::unreadable(&path.display().to_string(), &error)),
    }
}

/// The project's file, for somebody in `directory`, with its path relative to it.
///
/// # Errors
///
/// It exists and cannot be read.
pub fn project(directory: &Path, home: Option<&Path>) -> Result<Option<File>, ConfigError> {
    match project_path(directory, home) {
        Some(path) => optional(directory, &path),
        None => Ok(None),
    }
}

/// Where the project's file is.
fn project_path(directory: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let mut found = None;
    let mut above = PathBuf::new();
    // The working directory is known by its real path, the home directory often by another.
    let home = home.map(|home| fs::canonicalize(home).unwrap_or_else(|_| home.to_owned()));
    for (distance, place) in directory.ancestors().enumerate() {
        if found.is_none() {
            let name = PROJECT_FILES.iter().find(|name| present(&place.join(name)));
            found = name.map(|name| above.join(name));
            if found.is_some() && distance == 0 {
                return found;
            }
        }
        let is_root = REPOSITORY_MARKS.iter().any(|mark| present(&place.join(mark)));
        if is_root || home.as_deref() == Some(place) {
            return found;
        }
        above.push("..");
    }
    None
}

/// Whether there is anything at `path`.
fn present(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether two paths lead to one file.
pub(super) fn same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// The user's file, by the variables of the environment: `$XDG_CONFIG_HOME/amb/amb.toml` or `~/.config/amb/amb.toml`.
pub fn user_path(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    base_directory(environment, "XDG_CONFIG_HOME", ".config").map(|base| base.join("amb/amb.toml"))
}

/// A base directory of the XDG specification: a variable, or else a directory in the home directory. A relative path in
/// the variable counts as none, as the specification asks.
pub fn base_directory(environment: &[(OsString, OsString)], variable: &str, fallback: &str) -> Option<PathBuf> {
    let named = value(environment, variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    named.or_else(|| home(environment).map(|home| home.join(fallback)))
}

/// The home directory, if the environment names one.
pub(super) fn home(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    value(environment, "HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The value of a variable; an empty one counts as none.
pub(super) fn value<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let (_, value) = environment.iter().find(|(known, _)| known == name)?;
    (!value.is_empty()).then_some(value)
}

/// The bytes as text.
fn decode(directory: &Path, path: &Path, bytes: Vec<u8>) -> Result<File, ConfigError> {
    let shown = path.display().to_string();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File::new(shown, directory.join(path), text)),
        Err(_) => Err(ConfigError::other(format!(
            "{shown}: is not UTF-8, which TOML requires"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// What is found from `from` in a tree of these files, with `home` as the home directory.
    #[track_caller]
    fn check(tree: &[&str], from: &str, home: &str, expected: Option<&str>) {
        let root = TempDir::new().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        for file in tree {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let directory = root.join(from);
        fs::create_dir_all(&directory).unwrap();
        let found = project_path(&directory, Some(&root.join(home)));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.as_deref(), expected.map(Path::new), "{tree:?} from {from}");
    }

    #[test]
    fn the_search_goes_up_to_the_repositorys_root_and_no_further() {
        check(&["r/.git", "r/amb.toml"], "r/a/b", "-", Some("../../amb.toml"));
        check(
            &["r/.git", "r/a/amb.toml", "r/amb.toml"],
            "r/a/b",
            "-",
            Some("../amb.toml"),
        );
        check(&["amb.toml", "r/.git"], "r/a", "-", None);
        check(&["r/.git", "r/amb.toml"], "r", "-", Some("amb.toml"));
        check(&["r/.jj/repo", "amb.toml"], "r/a", "-", None);
    }

    #[test]
    fn without_a_repository_it_ends_at_the_home_directory() {
        check(&["h/p/amb.toml"], "h/p/a", "h", Some("../amb.toml"));
        check(&["h/amb.toml"], "h/p/a", "h", Some("../../amb.toml"));
        check(&["amb.toml"], "h/p/a", "h", None);
        check(&["amb.toml"], "h", "h", None);
    }

    #[test]
    fn with_neither_only_the_directory_itself_counts() {
        check(&["t/amb.toml"], "t/a", "h", None);
        check(&["t/amb.toml"], "t", "h", Some("amb.toml"));
    }

    #[test]
    fn three_names_are_known_and_the_first_counts() {
        check(
            &["r/.git", "r/.amb.toml", "r/.config/amb.toml"],
            "r",
            "-",
            Some(".amb.toml"),
        );
        check(
            &["r/.git", "r/.config/amb.toml"],
            "r/a",
            "-",
            Some("../.config/amb.toml"),
        );
        check(&["r/.git", "r/amb.toml", "r/.amb.toml"], "r", "-", Some("amb.toml"));
    }

    #[test]
    fn the_users_file_is_where_xdg_says() {
        let environment = |pairs: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
            pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        for (pairs, expected) in [
            (&[("HOME", "/h")][..], Some("/h/.config/amb/amb.toml")),
            (&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], Some("/x/amb/amb.toml")),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "x")],
                Some("/h/.config/amb/amb.toml"),
            ),
            (
                &[("HOME", "/h"), ("XDG_CONFIG_HOME", "")],
                Some("/h/.config/amb/amb.toml"),
            ),
            (&[], None),
        ] {
            assert_eq!(
                user_path(&environment(pairs)).as_deref(),
                expected.map(Path::new),
                "{pairs:?}"
            );
        }
    }
}
