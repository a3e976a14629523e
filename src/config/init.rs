//! `amb init`: a first `amb.toml`.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{files::PROJECT_FILES, schema};

/// What is written: everything in it is commented out, so that it changes nothing.
pub const TEMPLATE: &str = include_str!("init.toml");

/// The file beside it that editors read.
pub const SCHEMA_FILE: &str = ".amb.schema.json";

/// Writes `amb.toml` to `directory`, and the schema beside it unless that is not wanted. Nothing is ever replaced but a
/// schema, which is the same for every project. Returns what was written.
///
/// # Errors
///
/// There is a project's file already, or one cannot be written.
pub fn init(directory: &Path, with_schema: bool) -> Result<Vec<PathBuf>, String> {
    for name in PROJECT_FILES {
        let path = directory.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(format!("{}: exists already", path.display()));
        }
    }
    let mut written = Vec::new();
    let mut write = |name: &str, text: &str, anew: bool| {
        let path = directory.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(!anew).create_new(anew);
        let done: io::Result<()> = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        done.map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
        written.push(path);
        Ok::<(), String>(())
    };
    let text = if with_schema {
        format!("#:schema ./{SCHEMA_FILE}\n{TEMPLATE}")
    } else {
        TEMPLATE.to_owned()
    };
    write(PROJECT_FILES[0], &text, true)?;
    if with_schema {
        write(SCHEMA_FILE, &format!("{:#}\n", schema::document()), false)?;
    }
    Ok(written)
}
