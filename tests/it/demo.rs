//! `amb demo`: shows a real run, anywhere, without a network.

use std::{
    fs::OpenOptions,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// `amb demo` in a directory of its own, with nothing in its environment.
fn demo(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amb"));
    command.arg("demo").current_dir(directory.path()).env_clear();
    command
}

/// It ends with 0, and neither the program nor amb found anything amiss.
#[track_caller]
fn assert_went_well(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!said.contains("unexpected") && !said.contains("did not go"), "{said}");
}

#[test]
fn the_demo_shows_the_command_line_and_what_the_program_gets() {
    let output = demo(&TempDir::new().unwrap()).output().unwrap();
    assert_went_well(&output);
    let shown = String::from_utf8(output.stdout).unwrap();
    let order = [
        "$ amb run --no-config --name demo --summary full",
        "--connect-to api.demo.test:80:127.0.0.1:",
        "-- amb demo-program\n",
        "GET  http://api.demo.test/customers       200 OK",
        "/customers/99    404 Not Found",
        "POST http://api.demo.test/orders          201 Created",
        "503 Service Unavailable",
        "http://files.demo.test/manual.txt    200 OK, 262144 bytes",
        "http://billing.demo.test/invoices    502 Bad Gateway",
        "amb run -- COMMAND",
    ];
    let mut rest = shown.as_str();
    for expected in order {
        let at = rest.find(expected);
        rest = &rest[at.unwrap_or_else(|| panic!("no `{expected}` in its place: {shown}"))..];
    }
    assert!(!shown.contains("unexpected"), "{shown}");
}

#[test]
fn what_is_configured_around_the_demo_does_not_change_it() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("amb.toml"), "[timeot\n").unwrap();
    let output = demo(&directory)
        .env("AMB_CONFIG", "missing.toml")
        .env("AMB_TIMEOUT__CONNECT", "soon")
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "nonsense://")
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    assert_went_well(&output);
}

#[test]
fn a_demo_that_nobody_reads_goes_well_all_the_same() {
    let directory = TempDir::new().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_went_well(&demo(&directory).stdout(full).output().unwrap());

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_went_well(&demo(&directory).stdout(writer).output().unwrap());

    let closed = Command::new("sh")
        .args(["-c", "\"$0\" demo >&- 2>&- <&-", env!("CARGO_BIN_EXE_amb")])
        .env("HOME", directory.path())
        .status()
        .unwrap();
    assert!(closed.success(), "{closed}");
}

#[test]
fn the_options_that_say_how_amb_speaks_reach_the_run() {
    let output = demo(&TempDir::new().unwrap())
        .args(["-v", "--color", "never"])
        .output()
        .unwrap();
    assert_went_well(&output);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("--verbose --color=never"), "{shown}");
    assert!(
        !shown.contains('\u{1b}') && !output.stderr.contains(&0x1b),
        "{output:?}"
    );

    let quiet = demo(&TempDir::new().unwrap()).arg("-q").output().unwrap();
    assert_went_well(&quiet);
    assert!(quiet.stderr.is_empty(), "{quiet:?}");
}

#[test]
fn the_demo_works_from_a_file_that_is_gone() {
    let directory = TempDir::new().unwrap();
    // The shell holds the door: the copy is gone before amb looks for itself. A copy made by this process might still be
    // open for writing in a child that another test is starting, and could not be executed.
    let script = "cp \"$1\" copy && exec 3<copy && rm copy && exec /proc/self/fd/3 demo";
    let output = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_amb")])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_went_well(&output);
}

#[test]
fn the_program_without_amb_says_what_it_lacks() {
    let output = Command::new(env!("CARGO_BIN_EXE_amb"))
        .arg("demo-program")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("http_proxy") && said.ends_with("amb: hint: amb demo\n"),
        "{said}"
    );
}

/// A summary without what differs from run to run: times, ports, and the widths of columns that follow from them.
fn without_times(summary: &str) -> Vec<String> {
    let is_time = |word: &str| {
        let number = word.trim_end_matches(&['µ', 'm', 's', ','][..]);
        number.len() < word.trim_end_matches(',').len() && number.parse::<f64>().is_ok()
    };
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| match word.split_once("127.0.0.1:") {
            _ if is_time(word) => "TIME",
            Some(_) => "ADDRESS",
            None => word,
        });
        words.collect::<Vec<_>>().join(" ")
    };
    summary.lines().map(line).collect()
}

#[test]
fn readme_shows_the_summary_of_the_demo() {
    let output = demo(&TempDir::new().unwrap())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert_went_well(&output);
    let readme = super::readme::read("README.md");
    assert_eq!(
        without_times(super::readme::block(&readme, "summary")),
        without_times(&String::from_utf8(output.stderr).unwrap())
    );
}
