//! What the kernel offers, and what of amb each is for.

use std::{env, fs};

use rustix::{
    pipe::{SpliceFlags, pipe, splice},
    process::{DumpableBehavior, PidfdFlags, Resource, Rlimit, dumpable_behavior, getpid, getrlimit, pidfd_open},
};

use super::check::Check;
use crate::{
    capture::{self, Asks, Unavailable},
    proxy,
    supervise::Confinement,
};

/// Descriptors that a busy run needs, two for each connection.
const ENOUGH: u64 = 4096;
/// Where Yama says who may look into whose processes.
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

/// Looks at the kernel.
pub(super) fn checks() -> Vec<Check> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let detail = format!("{} {}", env::consts::OS, release.trim()).trim().to_owned();
    let mut checks = vec![Check::ok("kernel.release", "kernel", detail)];
    checks.push(if fs::read_dir("/proc/self/fd").is_ok() {
        Check::ok("kernel.proc", "/proc", "can be read: programs are named")
    } else {
        Check::warn(
            "kernel.proc",
            "/proc",
            "cannot be read: programs are not named, and what is left behind is not counted",
        )
        .with_remedy("mount it: mount -t proc proc /proc")
    });
    checks.push(match proxy::recognises_clients() {
        Ok(()) => Check::ok(
            "kernel.sock_diag",
            "sock_diag",
            "says whose a connection is: strangers are refused",
        ),
        Err(reason) => Check::warn(
            "kernel.sock_diag",
            "sock_diag",
            format!("says nothing ({reason}): nobody on this machine is refused"),
        )
        .with_remedy(
            "modprobe tcp_diag inet_diag, or let the sandbox open netlink sockets; --token keeps strangers out",
        ),
    });
    let modules = fs::read_to_string("/sys/kernel/security/lsm").ok();
    checks.push(landlock(
        Confinement::possible().err().map(|error| error.reason),
        modules.as_deref(),
    ));
    checks.push(seccomp(capture::possible(Asks::Connecting)));
    checks.push(match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Check::ok("kernel.pidfd", "pidfd", "the command's end is noticed at once"),
        Err(reason) => Check::warn(
            "kernel.pidfd",
            "pidfd",
            format!("cannot be had ({reason}): the command's end is noticed by its signal"),
        )
        .with_remedy("Linux 5.3 or later, or a sandbox that allows pidfd_open"),
    });
    checks.push(match spliced() {
        Ok(()) => Check::ok("kernel.splice", "splice", "tunnels move bytes within the kernel"),
        Err(reason) => Check::warn(
            "kernel.splice",
            "splice",
            format!("is refused ({reason}): tunnels copy bytes"),
        )
        .with_remedy("a sandbox that allows splice"),
    });
    checks.push(yama(fs::read_to_string(PTRACE_SCOPE).ok().as_deref()));
    checks.push(match dumpable_behavior() {
        Ok(DumpableBehavior::NotDumpable) => Check::ok(
            "kernel.dumpable",
            "memory",
            "this process is closed to others already: they cannot look where amb connects",
        ),
        Ok(_) => Check::ok(
            "kernel.dumpable",
            "memory",
            "can be closed to others while amb holds secrets (PR_SET_DUMPABLE)",
        ),
        Err(reason) => Check::warn(
            "kernel.dumpable",
            "memory",
            format!("cannot be closed to others ({reason}): processes of the same user can read amb's secrets"),
        )
        .with_remedy("a sandbox that allows prctl"),
    });
    let limit = getrlimit(Resource::Nofile);
    checks.push(descriptors(limit));
    checks
}

/// Whether a command can be held to the proxy, by why not, and the security modules there are.
fn landlock(refused: Option<String>, modules: Option<&str>) -> Check {
    let (id, title) = ("kernel.landlock", "landlock");
    let Some(reason) = refused else {
        return Check::ok(
            id,
            title,
            "has rules for TCP and holds a command to the proxy: --confine tcp works",
        );
    };
    let is_on = modules.map(|modules| modules.trim().split(',').any(|module| module == "landlock"));
    let remedy = match is_on {
        Some(false) => "lsm=landlock,… on the kernel's command line: it is not among the modules that are on",
        _ => "Linux 6.7 or later, which has rules for TCP (version 4 of landlock)",
    };
    Check::warn(
        id,
        title,
        format!("holds nothing ({reason}): --confine tcp lets nothing start"),
    )
    .with_remedy(remedy)
}

/// Whether amb can be asked about connections.
fn seccomp(possible: Result<(), Unavailable>) -> Check {
    let (id, title) = ("kernel.seccomp", "seccomp");
    match possible {
        Ok(()) => Check::ok(
            id,
            title,
            "asks amb where a command connects to: --capture works, for programs that ignore proxies",
        ),
        Err(reason) => {
            Check::warn(id, title, format!("{reason}: --capture captures nothing")).with_remedy(reason.remedy())
        }
    }
}

/// Moves a byte from one pipe into another.
fn spliced() -> rustix::io::Result<()> {
    let (source, sink) = pipe()?;
    let (_kept, target) = pipe()?;
    rustix::io::write(&sink, b"x")?;
    splice(&source, None, &target, None, 1, SpliceFlags::empty()).map(drop)
}

/// Who may look into a process, which naming programs of other users and `doctor --run` depend on.
fn yama(scope: Option<&str>) -> Check {
    let (id, title) = ("kernel.yama", "ptrace scope");
    match scope.map(str::trim) {
        None => Check::ok(
            id,
            title,
            "Yama is off: processes of the same user may look into each other",
        ),
        Some("0") => Check::ok(id, title, "0: processes of the same user may look into each other"),
        Some("1") => Check::ok(
            id,
            title,
            "1: a process may look into those that come from it, as amb into its command",
        ),
        Some(scope) => Check::warn(
            id,
            title,
            format!("{scope}: nobody but root looks into processes, so that programs may stay without their names"),
        )
        .with_remedy("sysctl kernel.yama.ptrace_scope=1"),
    }
}

/// How many files and connections amb may have open.
fn descriptors(limit: Rlimit) -> Check {
    let (id, title) = ("kernel.descriptors", "open files");
    let detail = format!(
        "{}, at most {}, to which amb raises it for itself",
        most(limit.current),
        most(limit.maximum)
    );
    if limit.maximum.is_some_and(|most| most < ENOUGH) {
        return Check::warn(
            id,
            title,
            format!("{detail}: enough for {} connections", most_connections(limit)),
        )
        .with_remedy("ulimit -Hn 65536 as root, LimitNOFILE= of the service, or --ulimit nofile of the container");
    }
    Check::ok(id, title, detail)
}

/// How many of something a limit allows, for people.
fn most(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// How many connections a limit allows, two descriptors each.
fn most_connections(limit: Rlimit) -> u64 {
    limit.maximum.unwrap_or(u64::MAX) / 2
}

#[cfg(test)]
mod tests {
    use super::{super::check::State, *};

    #[test]
    fn what_the_kernel_lacks_is_told_with_what_it_is_for() {
        let limit = |maximum| Rlimit {
            current: Some(256),
            maximum,
        };
        for (check, state, said) in [
            (landlock(None, None), State::Ok, "--confine tcp works"),
            (
                landlock(Some("x".to_owned()), Some("capability,yama\n")),
                State::Warn,
                "not among",
            ),
            (
                landlock(Some("x".to_owned()), Some("landlock,yama")),
                State::Warn,
                "6.7",
            ),
            (seccomp(Ok(())), State::Ok, "--capture works"),
            (seccomp(Err(Unavailable::Taken)), State::Warn, "outer amb"),
            (
                seccomp(Err(Unavailable::Blind(std::io::ErrorKind::PermissionDenied.into()))),
                State::Warn,
                "SYS_PTRACE",
            ),
            (yama(None), State::Ok, "off"),
            (yama(Some("1\n")), State::Ok, "1: "),
            (yama(Some("2\n")), State::Warn, "sysctl"),
            (descriptors(limit(Some(1024))), State::Warn, "512 connections"),
            (descriptors(limit(None)), State::Ok, "unlimited"),
        ] {
            let all = format!("{} {}", check.detail, check.remedy.unwrap_or_default());
            assert_eq!(check.state, state, "{all}");
            assert!(all.contains(said), "{all}");
        }
    }

    #[test]
    fn bytes_are_moved_within_the_kernel() {
        spliced().unwrap();
    }
}
