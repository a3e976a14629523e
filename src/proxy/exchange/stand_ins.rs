//! The names of secrets that an application has written in their place (`amb-secret:NAME`), and the secrets in their stead.

use std::{collections::BTreeMap, sync::Arc};

use zeroize::Zeroizing;

use super::{super::error::ExchangeError, Exchange};
use crate::{
    policy::auth::{Destination, Guard, Withheld, write},
    secret::Secret,
    veil,
};

impl Exchange<'_> {
    /// Whether the secret of this name may be put in this request, where somebody has asked for that.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_stand_in(&self, name: &str) -> Result<(), Withheld> {
        match &self.rules.guard {
            // Whoever answers TRACE sends it back.
            Some(guard) if self.request.head.method() != "TRACE" => self.may_go_along(guard, name),
            _ => Err(Withheld::OtherHost),
        }
    }

    /// Whether the secret of this name may go to every host that the request names.
    fn may_go_along(&self, guard: &Guard, name: &str) -> Result<(), Withheld> {
        let further = self.further_hosts();
        let place = self.destination();
        let elsewhere = further.iter().map(|host| Destination { host, ..place });
        std::iter::once(place)
            .chain(elsewhere)
            .try_for_each(|place| guard.may_stand_in(name, place))
    }

    /// Replaces the names of secrets in fields and query by the secrets, where these may go.
    pub(super) async fn fill_in(&mut self, guard: &Guard) -> Result<(), ExchangeError> {
        let fields = &self.request.head.fields;
        let basic = |value: &[u8]| write::decoded_basic(value).filter(|both| write::may_hold_placeholder(both));
        let touched: Vec<(Vec<u8>, Zeroizing<Vec<u8>>, bool)> = fields
            .iter()
            .filter_map(|(name, value)| {
                if write::may_hold_placeholder(value) {
                    return Some((name.to_vec(), Zeroizing::new(value.to_vec()), false));
                }
                basic(value).map(|both| (name.to_vec(), both, true))
            })
            .collect();
        let query = memchr::memchr(b'?', &self.request.path);
        let query = query.filter(|at| write::may_hold_placeholder(&self.request.path[*at..]));
        let in_fields = touched.iter().flat_map(|(_, value, _)| write::placeholders(value));
        let in_query = query
            .map(|at| write::placeholders(&self.request.path[at..]))
            .unwrap_or_default();
        let names: Vec<String> = in_fields.chain(in_query).map(ToOwned::to_owned).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut secrets: BTreeMap<String, Arc<Secret>> = BTreeMap::new();
        for name in &names {
            match self.may_go_along(guard, name) {
                Ok(()) if secrets.contains_key(name) => {}
                Ok(()) => {
                    let secret = self.worker.credentials.secret(name).await?;
                    secrets.insert(name.clone(), secret);
                }
                Err(why) => self.withhold(why),
            }
        }
        let replaced = names.iter().filter(|name| secrets.contains_key(*name)).count();
        self.open.record.signed_in.stand_ins += u32::try_from(replaced).unwrap_or(u32::MAX);
        let secret = |name: &str| secrets.get(name).map(|secret| secret.expose());
        for (name, value, is_basic) in touched {
            let Ok(name) = str::from_utf8(&name) else { continue };
            let mut filled = write::replaced(&value, false, secret);
            if is_basic {
                filled = write::encoded_basic(&filled);
                veil::learn_derived(&filled["Basic ".len()..]);
            }
            if *filled != *value || is_basic {
                self.put(name, &filled)?;
            }
        }
        if let Some(at) = query {
            let filled = write::replaced(&self.request.path[at..], true, secret);
            self.request.path.truncate(at);
            self.request.path.extend_from_slice(&filled);
        }
        Ok(())
    }
}
