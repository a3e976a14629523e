//! `amb keyring`: what a run asks the desktop's keyring by.

use std::io::{self, Write};

use clap::Args;
use keyring_core::{Entry, Error, set_default_store};
use zbus_secret_service_keyring_store::Store;
use zeroize::Zeroizing;

use super::say;
use crate::exit::Exit;

/// `amb keyring`.
#[derive(Debug, Args)]
pub struct KeyringArgs {
    /// The entry's attribute `service`
    pub service: String,
    /// The entry's attribute `username`
    pub user: String,
}

/// Prints the secret to stdout, which is a pipe to the run that needs it.
pub fn run(args: &KeyringArgs) -> Exit {
    match secret(args) {
        Ok(secret) if io::stdout().write_all(&secret).is_ok() => Exit::Done,
        // Whoever has asked is gone.
        Ok(_) => Exit::Negative,
        Err(reason) => {
            say(&format_args!("the desktop's keyring: {reason}"));
            Exit::Negative
        }
    }
}

/// What the keyring holds.
///
/// # Errors
/// There is no keyring, it is locked, or it has no such entry, or several.
fn secret(args: &KeyringArgs) -> Result<Zeroizing<Vec<u8>>, Error> {
    set_default_store(Store::new()?);
    Entry::new(&args.service, &args.user)?.get_secret().map(Zeroizing::new)
}
