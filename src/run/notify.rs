//! What a service manager shows of a run (`systemctl status`), where amb is started by one that asks for it: `sd_notify(3)`.
//!
//! Status lines only: whether the service is ready is for the command to say, to which the socket's name passes on.

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
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(reason) = send(&socket, text) {
        tracing::debug!(%reason, "the service manager was not told");
    }
}

/// Sends a status line; never waits for a reader.
fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    let line = text.replace(['\n', '\0'], " ");
    sender.send_to_addr(format!("STATUS={line}").as_bytes(), &address)?;
    Ok(())
}
