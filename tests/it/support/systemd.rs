//! A systemd of a test's own.

use std::{
    io::Read,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    process::{self, Child, Command, Stdio},
};

use super::PATIENCE;

/// Makes systemd the first process over a file system that it cannot write to, where no unit of this machine is in sight: what
/// a machine does when it starts, such as to empty `/tmp`, is not to happen here.
const BOOT: &str = "set -e
mount --make-rprivate /
mount -o remount,bind,ro /
mount -t proc proc /proc
for hidden in /run /etc/systemd /usr/lib/systemd/system /usr/lib/systemd/system-generators; do
    mount -t tmpfs -o mode=755 tmpfs $hidden
done
mkdir -p /run/systemd/system
cd /run/systemd/system
for unit in sysinit.target basic.target shutdown.target system.slice; do
    printf '[Unit]\\nDefaultDependencies=no\\n' >$unit
done
printf '[Unit]\\nDefaultDependencies=no\\n[Socket]\\nListenStream=/run/dbus/system_bus_socket\\n' >dbus.socket
printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nExecStart=%s\\n' \\
    \"$(command -v dbus-daemon) --system --address=systemd: --nofork --nopidfile\" >dbus.service
printf '[Unit]\\nDefaultDependencies=no\\nRequires=dbus.socket\\nAfter=dbus.socket\\n' >booted.target
exec /usr/lib/systemd/systemd --system --unit=booted.target --log-target=console --show-status=0";

/// A systemd that is process 1 of its own namespaces; all of it ends with this value.
pub(crate) struct Systemd {
    /// `unshare`, whose end is that of the namespaces.
    outside: Child,
    /// Process 1, by its number out here.
    first: String,
}

impl Systemd {
    /// Starts one and waits until it has started what it was to start; else says what is in the way.
    pub(crate) fn boot() -> Result<Self, String> {
        for needed in [
            "/usr/lib/systemd/systemd",
            "/usr/bin/systemd-run",
            "/usr/bin/dbus-daemon",
        ] {
            if !Path::new(needed).exists() {
                return Err(format!("{needed} is not there"));
            }
        }
        // Abstract, because the file system in there is another one.
        let name = format!("amb-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let ready = UnixDatagram::bind_addr(&address).unwrap();
        ready.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut outside = Command::new("unshare")
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--uts",
                "--ipc",
                "--cgroup",
            ])
            .args(["sh", "-c", BOOT])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("container", "amb-test")
            .env("NOTIFY_SOCKET", format!("@{name}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        // The end of whatever holds the pipe is the end of a start that failed.
        let mut stderr = outside.stderr.take().unwrap();
        let told = std::thread::spawn(move || {
            let mut text = String::new();
            drop(stderr.read_to_string(&mut text));
            // Wakes the wait below, which this is the answer of.
            let waker = UnixDatagram::unbound().unwrap();
            drop(waker.send_to_addr(b"FAILED=1", &address));
            text
        });
        let mut message = [0; 4096];
        loop {
            let count = ready
                .recv(&mut message)
                .map_err(|error| format!("systemd does not start: {error}"))?;
            let text = String::from_utf8_lossy(&message[..count]);
            if text.lines().any(|line| line == "FAILED=1") {
                drop(outside.wait());
                return Err(told.join().unwrap().trim().to_owned());
            }
            if text.lines().any(|line| line == "READY=1") {
                break;
            }
        }
        let id = outside.id();
        let first = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Ok(Self {
            outside,
            first: first.trim().to_owned(),
        })
    }

    /// A program inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &self.first,
                "--pid",
                "--mount",
                "--uts",
                "--ipc",
                "--cgroup",
            ])
            .arg(program);
        command
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        drop(self.outside.kill());
        drop(self.outside.wait());
    }
}
