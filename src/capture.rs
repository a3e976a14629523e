//! Transparent capture on Linux: connections of programs that know of no proxy are led to amb all the same.
//!
//! A seccomp filter has the kernel ask amb about every connect(2) of the command and of all that it starts. amb duplicates the
//! program's own socket, connects that to a listener of its own, and remembers where it was to lead; the program goes on as
//! after any connect. What else is done with the socket is not looked at, so that nothing but connecting takes longer.
//!
//! The mechanism alone, on one thread: [`possible`] before anything else, [`Landing::open`] for the listener, [`Handover`]
//! between fork and exec, [`Watcher::begin`] for the rest of the run. What becomes of a captured connection is the proxy's
//! business (`proxy/captured.rs`).

mod filter;
mod keeper;
mod kernel;
mod landing;
mod notice;
mod redirect;
mod scope;

pub use self::{
    filter::is_for_this_machine,
    keeper::keep,
    landing::Landing,
    notice::{Around, Handover, Tally, Unavailable, Watcher, possible},
    scope::Scope,
};
