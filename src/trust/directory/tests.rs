//! Directories that come and go.

use std::{collections::BTreeSet, fs::OpenOptions, os::unix::fs::symlink};

use tempfile::tempdir;

use super::*;

/// A certificate to those who do not look inside.
const AUTHORITY: &[u8] = &[0x30, 1, 0];

/// A directory below `place` for these readers.
fn create(place: &Path, readers: Readers) -> Result<Directory, TrustError> {
    let environment = [("TMPDIR", place)].map(|(name, value)| (OsStr::new(name), value.as_os_str()));
    Directory::with(AUTHORITY, &environment.into_iter().collect(), readers)
}

/// The mode of a file.
fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// The names in a directory.
fn names(place: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(place).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn nobody_else_can_look_into_a_users_directory() {
    let place = tempdir().unwrap();
    let directory = create(place.path(), Readers::Owner).unwrap();
    let path = directory.made.path();
    assert_eq!(mode(path), 0o700);
    for name in ["amb.pem", "roots.pem", "java.jks", "apt.conf"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    assert_eq!(
        (mode(&path.join("php")), mode(&path.join("php/amb.ini"))),
        (0o700, 0o600)
    );
    assert_eq!(
        fs::read_to_string(&directory.files().authority)
            .unwrap()
            .lines()
            .count(),
        3
    );
}

#[test]
fn whom_root_starts_can_read_by_name_what_was_not_private() {
    let place = tempdir().unwrap();
    let private = place.path().join("private");
    let public = place.path().join("public");
    for (path, mode) in [(&private, 0o600), (&public, 0o644)] {
        fs::write(path, "x = y\n").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let variables = [("TMPDIR", place.path()), ("WGETRC", &private), ("APT_CONFIG", &public)];
    let environment = variables.map(|(name, value)| (OsStr::new(name), value.as_os_str()));
    let directory = Directory::with(AUTHORITY, &environment.into_iter().collect(), Readers::Everybody).unwrap();
    let path = directory.made.path();
    assert_eq!(mode(path), 0o711);
    for name in ["amb.pem", "roots.pem", "java.jks", "apt.conf", "php/amb.ini"] {
        assert_eq!(mode(&path.join(name)), 0o644, "{name}");
    }
    assert_eq!((mode(&path.join("php")), mode(&path.join("wgetrc"))), (0o755, 0o600));
}

#[test]
fn the_directory_goes_with_the_run() {
    let place = tempdir().unwrap();
    let directory = create(place.path(), Readers::Owner).unwrap();
    assert_eq!(names(place.path()).len(), 1);
    drop(directory);
    assert_eq!(names(place.path()).len(), 0);
}

#[test]
fn the_next_run_removes_what_killed_ones_left_and_nothing_else() {
    let place = tempdir().unwrap();
    let place = place.path();
    // A run that was killed: its directory stays, the lock does not.
    let Directory { made, opened, .. } = create(place, Readers::Owner).unwrap();
    let killed = made.keep();
    drop(opened);
    let killed_root = place.join("amb-trust-1-abcdefABCDEF");
    fs::create_dir(&killed_root).unwrap();
    fs::set_permissions(&killed_root, Permissions::from_mode(0o711)).unwrap();
    let living = create(place, Readers::Owner).unwrap();
    assert!(!killed.exists() && !killed_root.exists());

    let elsewhere = tempdir().unwrap();
    fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o700)).unwrap();
    fs::write(elsewhere.path().join("file"), "x").unwrap();
    symlink(elsewhere.path(), place.join("amb-trust-1-symlinkabcde")).unwrap();
    fs::write(place.join("amb-trust-1-regularfile0"), "x").unwrap();
    for name in [
        "amb-trust-notes",
        "amb-trust-1-short",
        "amb-trust--abcdefabcdef",
        "amb-trust-x-abcdefabcdef",
    ] {
        fs::create_dir(place.join(name)).unwrap();
        fs::set_permissions(place.join(name), Permissions::from_mode(0o700)).unwrap();
    }
    let shared = place.join("amb-trust-1-sharedabcdef");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
    let before = names(place);
    drop(create(place, Readers::Owner).unwrap());
    assert_eq!(names(place), before);
    assert!(living.files().authority.exists() && elsewhere.path().join("file").exists());
}

#[test]
fn a_link_in_the_leftover_is_not_followed() {
    let place = tempdir().unwrap();
    let precious = tempdir().unwrap();
    fs::write(precious.path().join("file"), "x").unwrap();
    let leftover = place.path().join("amb-trust-1-abcdefabcdef");
    fs::create_dir(&leftover).unwrap();
    fs::set_permissions(&leftover, Permissions::from_mode(0o700)).unwrap();
    symlink(precious.path(), leftover.join("php")).unwrap();
    drop(create(place.path(), Readers::Owner).unwrap());
    assert!(!leftover.exists() && precious.path().join("file").exists());
}

#[test]
fn runs_at_once_do_not_sweep_each_other() {
    let place = tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let directory = create(place.path(), Readers::Owner).unwrap();
                    assert!(directory.files().authority.exists());
                    assert!(directory.made.path().join("php/amb.ini").exists());
                }
            });
        }
    });
    assert_eq!(names(place.path()).len(), 0);
}

#[test]
fn a_place_in_which_others_can_replace_things_is_refused() {
    let place = tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
    let error = create(place.path(), Readers::Owner).unwrap_err().to_string();
    let expected = format!(
        "cannot make a directory for certificates in {}: others could replace what is in it\nhint: set TMPDIR to a \
         directory that you can write to",
        place.path().display()
    );
    assert_eq!(error, expected);
    fs::set_permissions(place.path(), Permissions::from_mode(0o1777)).unwrap();
    assert!(create(place.path(), Readers::Owner).is_ok());
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    for (place, reason) in [
        ("/nowhere", "No such file or directory (os error 2)"),
        ("/dev/null", "not a directory"),
        // Nobody, root neither, makes a directory there.
        ("/proc/self", "Permission denied (os error 13)"),
    ] {
        let error = create(Path::new(place), Readers::Owner).unwrap_err().to_string();
        let error = error.lines().next().unwrap();
        let beginning = format!("cannot make a directory for certificates in {place}: ");
        let found = error.strip_prefix(&beginning).unwrap_or_else(|| panic!("{error}"));
        // What the kernel says of `/proc` differs between versions.
        assert!(found == reason || place.starts_with("/proc"), "{error}");
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let place = tempdir().unwrap();
    let directory = create(place.path(), Readers::Owner).unwrap();
    // A descriptor that refuses to be written to, as a full disk does.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(
        (&full).write_all(b"x").unwrap_err().raw_os_error(),
        Some(Errno::NOSPC.raw_os_error())
    );
    // What was there already is not written over, by a link of somebody's neither.
    let link = directory.made.path().join("new");
    symlink("/dev/full", &link).unwrap();
    let content = Content {
        name: "new".to_owned(),
        bytes: b"x".to_vec(),
        is_private: false,
    };
    let refused = directory.write(&content).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    let told = TrustError::NotWritten {
        file: link,
        reason: Errno::NOSPC.into(),
    };
    assert!(told.to_string().contains("/new: No space left on device"), "{told}");
}

#[test]
fn the_first_usable_place_is_taken() {
    let runtime = tempdir().unwrap();
    let temporary = tempdir().unwrap();
    let of = |runtime: &Path, temporary: &Path, readers| {
        let variables = [("XDG_RUNTIME_DIR", runtime), ("TMPDIR", temporary)];
        let environment = variables.map(|(name, value)| (OsStr::new(name), value.as_os_str()));
        let directory = Directory::with(AUTHORITY, &environment.into_iter().collect(), readers).unwrap();
        directory.made.path().parent().unwrap().to_owned()
    };
    assert_eq!(of(runtime.path(), temporary.path(), Readers::Owner), runtime.path());
    assert_eq!(
        of(runtime.path(), temporary.path(), Readers::Everybody),
        temporary.path()
    );
    for unusable in ["/nowhere", "relative", ""] {
        assert_eq!(
            of(Path::new(unusable), temporary.path(), Readers::Owner),
            temporary.path()
        );
    }
    // What would need quotes, which not every variable has.
    let odd = temporary.path().join("my dir");
    fs::create_dir(&odd).unwrap();
    for odd in [odd.as_path(), Path::new("relative"), Path::new("")] {
        assert_eq!(of(odd, odd, Readers::Owner), Path::new("/tmp"));
    }
}
