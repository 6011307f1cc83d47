//! `DELETE /keys/{id}`. A deleted key is Destroyed at once; its material stays until it is purged, so that it can be
//! restored for a while.

use crate::access::Action;
use crate::error::Error;
use crate::ids::KeySelector;
use crate::key::{Deletion, Key, KeyState};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};
use crate::store::Change;

/// Deletes a key; returns it as it is now.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_DELETED_ERR`, and what chain, store and audit log fail with.
pub async fn delete(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    force: Result<bool, Error>,
) -> Result<Key, Error> {
    let forced = force.as_ref().is_ok_and(|force| *force);
    gateway
        .run(cx, Ask::key(Action::Delete, selector).with("force", forced), async |admitted: Admitted| {
            force?;
            let key = admitted.key()?;
            state::check(KeyAction::Delete, key)?;
            let deleted = Key {
                state: KeyState::Destroyed,
                deletion: Some(Deletion { at: admitted.now, by: cx.principal.id.clone() }),
                updated_at: admitted.now,
                revision: key.revision + 1,
                ..key.clone()
            };
            gateway.store.commit(vec![Change::UpdateKey { key: deleted.clone() }]).await?;
            Ok(Done::new(()).about(&deleted).map(|()| deleted))
        })
        .await
}
