//! The program that the tests put under `amb run`.
//!
//! Its arguments are a list of things to do, one after the other. With nothing left to do it exits with 0.

#![expect(unsafe_code, reason = "signal(7) calls made as a C program would make them")]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    mem,
    net::{Shutdown, TcpStream, UdpSocket},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    process, ptr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

/// How often each signal came, counted by a handler as in C: two that come at once are two.
static COUNTS: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];
/// What to exit with when a signal comes, plus one; zero for going on.
static TRAPS: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];

/// Counts, or exits if the signal is trapped.
extern "C" fn on_signal(signal: libc::c_int) {
    let index = signal.unsigned_abs() as usize;
    let trap = TRAPS[index].load(Ordering::SeqCst);
    if trap > 0 {
        // SAFETY: _exit(2) is async-signal-safe.
        unsafe { libc::_exit((trap - 1).cast_signed()) };
    }
    COUNTS[index].fetch_add(1, Ordering::SeqCst);
}

/// The signals that have names here, with their numbers.
const NAMES: [(&str, i32); 22] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("ABRT", 6),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
];

/// The number of a signal by its name or number.
fn signal(text: &str) -> i32 {
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.unwrap_or_else(|| text.parse().expect("a signal"))
}

/// Sets a signal's disposition.
fn handle(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: the handlers used here are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// Prints a line at once.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
        .expect("stdout");
}

/// Ends by a signal.
fn die(signal: i32) -> ! {
    handle(signal, libc::SIG_DFL);
    // SAFETY: plain system calls on a set that is initialised.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
    panic!("signal {signal} did not end it")
}

/// Forks a process that does nothing for some seconds, and prints its id.
fn leave_behind(seconds: u32, own_session: bool) {
    // SAFETY: this program has one thread here, so the child may do anything.
    let id = unsafe { libc::fork() };
    if id == 0 {
        // SAFETY: plain system calls. It must not hold the pipes open that the test reads to their end.
        unsafe {
            if own_session {
                libc::setsid();
            }
            for descriptor in 0..3 {
                libc::close(descriptor);
            }
            libc::sleep(seconds);
            libc::_exit(0);
        }
    }
    say(&format!("left {id}"));
}

/// Counts the signals named in `list` until stdin ends, telling each as it comes and the sums at the end.
fn count(list: &str) {
    let signals: Vec<(&str, i32)> = list.split(',').map(|name| (name, signal(name))).collect();
    for (_, signal) in &signals {
        handle(*signal, on_signal as *const () as libc::sighandler_t);
    }
    say("ready");
    let mut told = vec![0; signals.len()];
    loop {
        let mut stdin = libc::pollfd {
            fd: 0,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: poll(2) on one descriptor that lives on the stack. A signal cuts it short, or else the next turn sees it.
        let ready = unsafe { libc::poll(&raw mut stdin, 1, 5) };
        for (told, (name, signal)) in told.iter_mut().zip(&signals) {
            while *told < COUNTS[signal.unsigned_abs() as usize].load(Ordering::SeqCst) {
                *told += 1;
                say(&format!("got {name}"));
            }
        }
        let mut byte = [0; 64];
        if ready > 0 && !matches!(io::stdin().read(&mut byte), Ok(1..)) {
            break;
        }
    }
    for (name, signal) in &signals {
        say(&format!(
            "{name}={}",
            COUNTS[signal.unsigned_abs() as usize].load(Ordering::SeqCst)
        ));
    }
}

/// Prints what a process inherits besides files: signal state, limits, mask, place.
fn print_status() {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    for line in status.lines() {
        if [
            "SigBlk",
            "SigIgn",
            "SigCgt",
            "Umask",
            "Seccomp:",
            "NoNewPrivs",
            "CapEff",
            "Groups",
            "Cpus_allowed:",
        ]
        .iter()
        .any(|name| line.starts_with(name))
        {
            say(line);
        }
    }
    say(&fs::read_to_string("/proc/self/limits").expect("limits"));
    say(&fs::read_to_string("/proc/self/cgroup").expect("cgroup"));
    say(&fs::read_to_string("/proc/self/oom_score_adj").expect("score"));
    say(&format!("cwd {}", env::current_dir().expect("cwd").display()));
    // SAFETY: getpriority(2) takes integers.
    say(&format!("nice {}", unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }));
}

/// Prints the open files and what they lead to.
fn print_files() {
    let mut files: Vec<String> = (0..1024)
        .filter_map(|number| {
            Some(format!(
                "{number} -> {}",
                fs::read_link(format!("/proc/self/fd/{number}")).ok()?.display()
            ))
        })
        .collect();
    files.sort();
    say(&files.join("\n"));
}

/// Prints bytes so that every one can be told.
fn say_escaped(bytes: &[u8]) {
    say(&bytes.escape_ascii().to_string());
}

/// The address in `http_proxy`.
fn proxy() -> String {
    let url = env::var("http_proxy").expect("http_proxy");
    let address = url.strip_prefix("http://").unwrap_or(&url);
    let address = address.rsplit_once('@').map_or(address, |(_, address)| address);
    address.trim_end_matches('/').to_owned()
}

/// The part of an URL between `http://` and the path.
fn authority(url: &str) -> &str {
    url.strip_prefix("http://")
        .and_then(|rest| rest.split('/').next())
        .expect("an http URL")
}

/// Gets `url` through the proxy, and prints the status line and then the body.
fn get(url: &str) {
    let mut stream = TcpStream::connect(proxy()).expect("the proxy");
    let host = authority(url);
    write!(
        stream,
        "GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .expect("the request");
    let mut response = BufReader::new(stream);
    let mut line = String::new();
    response.read_line(&mut line).expect("a status line");
    say(line.trim_end());
    let (mut length, mut chunked) = (None, false);
    loop {
        line.clear();
        response.read_line(&mut line).expect("a field");
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse::<u64>().ok();
        }
        chunked |= field.starts_with("transfer-encoding:") && field.ends_with("chunked");
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            response.read_line(&mut line).expect("a chunk's size");
            let size = u64::from_str_radix(line.trim_end().split(';').next().unwrap_or(""), 16).expect("a size");
            let read = response.by_ref().take(size).read_to_end(&mut body).expect("a chunk");
            assert_eq!(read as u64, size, "the body was cut off");
            line.clear();
            response.read_line(&mut line).expect("the end of a chunk");
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = length {
        let read = response.take(length).read_to_end(&mut body).expect("the body");
        assert_eq!(read as u64, length, "the body was cut off");
    } else {
        response.read_to_end(&mut body).expect("the body");
    }
    io::stdout().write_all(&body).expect("stdout");
}

/// Sends stdin to the proxy as it is, and prints everything that comes back, until the proxy closes.
fn proxy_script() {
    let mut stream = TcpStream::connect(proxy()).expect("the proxy");
    let mut upwards = stream.try_clone().expect("a second handle");
    thread::spawn(move || {
        if io::copy(&mut io::stdin(), &mut upwards).is_ok() {
            drop(upwards.shutdown(Shutdown::Write));
        }
    });
    let mut buffer = [0; 16384];
    // A reset ends it like an end of file: what came before is what the test looks at.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(&buffer[..count])
            .and_then(|()| stdout.flush())
            .expect("stdout");
    }
}

/// Reads single keys from the terminal, as a pager does whose stdin is a pipe: raw until `q`, then as it was.
fn read_keys() {
    let mut terminal = fs::File::open("/dev/tty").expect("a terminal");
    // SAFETY: termios is plain data that tcgetattr(3) fills, of a descriptor that is open.
    let before = unsafe {
        let mut before: libc::termios = mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &raw mut before), 0);
        let mut raw = before;
        libc::cfmakeraw(&raw mut raw);
        libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const raw);
        before
    };
    say("raw\r");
    let mut key = [0];
    while terminal.read(&mut key).is_ok_and(|count| count == 1) && key != *b"q" {
        say(&format!("key {}\r", key[0]));
    }
    // SAFETY: as above.
    unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const before) };
}

/// Moves to a process group of its own and makes it the terminal's foreground, as an interactive shell does.
fn take_foreground() {
    handle(libc::SIGTTOU, libc::SIG_IGN);
    // SAFETY: plain system calls.
    unsafe {
        assert_eq!(libc::setpgid(0, 0), 0);
        assert_eq!(libc::tcsetpgrp(0, libc::getpid()), 0);
    }
}

fn main() {
    let mut arguments = env::args_os().skip(1);
    while let Some(verb) = arguments.next() {
        let mut value = || arguments.next().and_then(|it| it.into_string().ok()).expect("a value");
        match verb.to_str().expect("a verb") {
            "--exit" => process::exit(value().parse().expect("a status")),
            "--die" => die(signal(&value())),
            "--count" => count(&value()),
            // Said by the tests for the reader: `--count` always ends with stdin.
            "--until-eof" => {}
            "--ignore" => handle(signal(&value()), libc::SIG_IGN),
            "--trap" => {
                let value = value();
                let (name, status) = value.split_once(':').expect("SIG:STATUS");
                let status: u32 = status.trim_start_matches("exit ").parse().expect("a status");
                TRAPS[signal(name).unsigned_abs() as usize].store(status + 1, Ordering::SeqCst);
                handle(signal(name), on_signal as *const () as libc::sighandler_t);
            }
            "--ready" => say("ready"),
            "--say" => say(&value()),
            "--pid" => say(&process::id().to_string()),
            "--wait" => {
                // A terminal that hung up is the end as well.
                drop(io::stdin().read_to_end(&mut Vec::new()));
            }
            "--print-status" => print_status(),
            "--fds" => print_files(),
            "--env" => {
                let environment = fs::read("/proc/self/environ").expect("environ");
                environment.split(|byte| *byte == 0).for_each(say_escaped);
            }
            "--argv" => return arguments.for_each(|argument| say_escaped(argument.as_bytes())),
            "--fork-leftover" => leave_behind(value().parse().expect("seconds"), false),
            "--setsid-leftover" => leave_behind(value().parse().expect("seconds"), true),
            // SAFETY: kill(2) takes integers.
            "--kill0" => drop(unsafe { libc::kill(0, signal(&value())) }),
            // SAFETY: kill(2) and getppid(2) take integers.
            "--kill-parent" => drop(unsafe { libc::kill(libc::getppid(), signal(&value())) }),
            "--read-tty" => {
                let mut line = String::new();
                BufReader::new(fs::File::open("/dev/tty").expect("a terminal"))
                    .read_line(&mut line)
                    .expect("a line");
                say(&format!("read {}", line.trim_end()));
            }
            "--read-keys" => read_keys(),
            "--take-foreground" => take_foreground(),
            // SAFETY: setresuid(2) takes integers.
            "--become-root" => assert_eq!(unsafe { libc::setresuid(0, 0, 0) }, 0, "not a setuid program"),
            // SAFETY: kill(2) and getpid(2) take integers.
            "--raise" => drop(unsafe { libc::kill(libc::getpid(), signal(&value())) }),
            "--window" => {
                // SAFETY: winsize is plain data that TIOCGWINSZ fills.
                let size = unsafe {
                    let mut size: libc::winsize = mem::zeroed();
                    libc::ioctl(0, libc::TIOCGWINSZ, &raw mut size);
                    size
                };
                say(&format!("window {}x{}", size.ws_col, size.ws_row));
            }
            "--mute" => {
                let port: u16 = value().parse().expect("a port");
                let socket = UdpSocket::bind(("127.0.0.1", port)).expect("a port");
                // Open to the end, and never read.
                mem::forget(socket);
            }
            "--connect" => {
                let stream = TcpStream::connect(value()).expect("a connection");
                // Open to the end.
                mem::forget(stream);
            }
            "--connect-proxy" => {
                let stream = TcpStream::connect(proxy()).expect("the proxy");
                mem::forget(stream);
            }
            "--datagrams" => {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
                socket.connect(value()).expect("a place");
                mem::forget(socket);
            }
            "--get" => get(&value()),
            "--proxy-script" => proxy_script(),
            other => panic!("unknown verb {other}"),
        }
    }
}
