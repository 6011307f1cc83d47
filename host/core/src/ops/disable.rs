//! `POST /keys/{id}/actions/disable`: suspend a root key.

use super::adopters;
use crate::access::Action;
use crate::error::Error;
use crate::ids::KeySelector;
use crate::key::{Key, KeyState};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::LifecycleKind;
use crate::state::{self, KeyAction};

/// Suspends an Active root key; returns it as it is now. What it wrapped can be read again once it is enabled.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_ERR`, `KEY_ACTION_INVALID_STATE_ERR`, `KEY_DELETED_ERR`, and what chain, store and
/// audit log fail with.
pub async fn disable(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<Key, Error> {
    gateway
        .run(cx, Ask::key(Action::Disable, selector), async |admitted: Admitted| {
            let (key, now) = (admitted.key()?, admitted.now);
            state::check(KeyAction::Disable, key)?;
            let disabled = Key {
                state: KeyState::Suspended,
                disabled_at: Some(now),
                updated_at: now,
                revision: key.revision + 1,
                ..key.clone()
            };
            let disabled = adopters::commit(gateway, disabled, LifecycleKind::Disabled, now, Vec::new()).await?;
            Ok(Done::new(()).about(&disabled).map(|()| disabled))
        })
        .await
}
