//! What a service manager shows of a run (`systemctl status`), where amb is started by one that asks for it: `sd_notify(3)`.
//!
//! Status lines only: whether the service is ready is for the command to say, to which the socket's name passes on. Without a
//! command (`amb serve`) amb says it.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Tells the service manager in one line what amb does; nothing happens if there is none.
pub(super) fn status(text: &str) {
    tell("", text);
}

/// Tells it that an amb without a command is ready.
pub(super) fn ready(text: &str) {
    tell("READY=1\n", text);
}

/// Tells it that an amb without a command is about to end.
pub(super) fn stopping(text: &str) {
    tell("STOPPING=1\n", text);
}

/// Tells it of a change, and what amb does now.
fn tell(change: &str, text: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(reason) = send(&socket, change, text) {
        tracing::debug!(%reason, "the service manager was not told");
    }
}

/// Sends a change and a status line; never waits for a reader.
fn send(socket: &OsStr, change: &str, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    let line = text.replace(['\n', '\0'], " ");
    sender.send_to_addr(format!("{change}STATUS={line}").as_bytes(), &address)?;
    Ok(())
}
