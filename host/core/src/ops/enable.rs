//! `POST /keys/{id}/actions/enable`: make a Suspended root key Active again.

use super::adopters;
use crate::access::Action;
use crate::error::Error;
use crate::ids::KeySelector;
use crate::key::{Key, KeyState};
use crate::pipeline::{self, Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::LifecycleKind;
use crate::state::{self, KeyAction};

/// Makes a Suspended root key Active again; returns it as it is now. One whose expiration date has come meanwhile is
/// Deactivated at once.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_ERR`, `KEY_ACTION_INVALID_STATE_ERR`, `KEY_DELETED_ERR`, `REQ_TOO_EARLY_ERR` within
/// [`crate::limits::Limits::enable_wait`] of the disabling, and what chain, store and audit log fail with.
pub async fn enable(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<Key, Error> {
    gateway
        .run(cx, Ask::key(Action::Enable, selector), async |admitted: Admitted| {
            let (key, now) = (admitted.key()?, admitted.now);
            state::check(KeyAction::Enable, key)?;
            if let Some(since) = key.disabled_at {
                let why = "That the key was disabled must reach everybody before it is enabled again";
                state::check_wait(now, since, gateway.limits.enable_wait, why)?;
            }
            let enabled = Key {
                state: KeyState::Active,
                disabled_at: None,
                updated_at: now,
                revision: key.revision + 1,
                ..key.clone()
            };
            let enabled = adopters::commit(gateway, enabled, LifecycleKind::Enabled, now, Vec::new()).await?;
            let enabled = pipeline::settle(enabled, now);
            Ok(Done::new(()).about(&enabled).map(|()| enabled))
        })
        .await
}
