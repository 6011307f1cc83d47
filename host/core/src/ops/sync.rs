//! `POST /keys/{id}/actions/sync`: ask the adopters of a root key to look at it again.

use super::adopters;
use crate::access::Action;
use crate::error::Error;
use crate::ids::KeySelector;
use crate::key::Key;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::LifecycleKind;
use crate::state::{self, KeyAction};

/// Leaves an event for each adopter of a root key. Those of a deleted key that have not said that they know of the
/// deletion are asked, too.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_ERR`, `REQ_TOO_EARLY_ERR` within [`crate::limits::Limits::sync_interval`] of the last
/// sync, or of a change that the adopters were told of, and what chain, store and audit log fail with.
pub async fn sync(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<(), Error> {
    gateway
        .run(cx, Ask::key(Action::Sync, selector), async |admitted: Admitted| {
            let (key, now) = (admitted.key()?, admitted.now);
            state::check(KeyAction::Sync, key)?;
            if let Some(since) = key.told_at {
                let why = "The key was changed or synced recently, and its adopters were told then";
                state::check_wait(now, since, gateway.limits.sync_interval, why)?;
            }
            // Asking changes nothing about the key, so its date of change stays.
            let told = admitted.as_stored(Key { revision: key.revision + 1, ..key.clone() });
            adopters::commit(gateway, told, LifecycleKind::Synced, now, Vec::new()).await?;
            Ok(Done::new(()).about(key))
        })
        .await
}
