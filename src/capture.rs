//! Transparent capture on Linux: connections of programs that know of no proxy are led to amb all the same.
//!
//! A seccomp filter has the kernel ask amb about every connect(2) of the command and of all that it starts. amb duplicates the
//! program's own socket, connects that to a listener of its own, and remembers where it was to lead; the program goes on as
//! after any connect. What else is done with the socket is not looked at, so that nothing but connecting takes longer.
//!
//! Where HTTPS is decrypted and it is wanted, the kernel asks about opening files to read them, too: a program that knows its
//! roots by their path gets, in the place of such a bundle, a copy with amb's authority in it, and need be told by no variable.
//! This is to persuade programs and holds nobody to anything: what a program has in its memory may change while amb looks at it.
//!
//! The mechanism alone, on one thread: [`possible()`] before anything else, [`Landing::open`] for the listener, [`Handover`]
//! between fork and exec, [`Watcher::begin`] for the rest of the run. What becomes of a captured connection is the proxy's
//! business (`proxy/captured.rs`).

mod bundles;
mod connecting;
mod filter;
mod keeper;
mod kernel;
mod landing;
mod notice;
mod opening;
mod possible;
mod redirect;
mod scope;
mod tally;
mod wanted;

pub use self::{
    filter::{Asks, is_for_this_machine},
    keeper::keep,
    landing::Landing,
    notice::{Handover, Watcher},
    opening::Roots,
    possible::{Unavailable, possible},
    scope::Scope,
    tally::{Around, Tally},
};
