//! `GET /keys/{id}/versions`.

use crate::access::Action;
use crate::error::Error;
use crate::ids::KeySelector;
use crate::key::{Key, KeyVersion};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};
use crate::store::{Page, PageRequest};

/// What to list.
#[derive(Clone, Copy, Debug)]
pub struct ListVersions {
    /// Which part.
    pub page: PageRequest,
    /// Of keys in any state, not of Active ones only.
    pub all_key_states: bool,
}

/// Lists a key's versions, newest first.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`; `KEY_DELETED_ERR` and `KEY_ACTION_INVALID_STATE_ERR` unless all states are asked for; and what
/// chain, store and audit log fail with.
pub async fn versions(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    query: Result<ListVersions, Error>,
) -> Result<(Key, Page<KeyVersion>), Error> {
    gateway
        .run(cx, Ask::key(Action::ListVersions, selector), async |admitted: Admitted| {
            let query = query?;
            let key = admitted.key()?;
            let action = if query.all_key_states { KeyAction::ListVersionsOfAnyState } else { KeyAction::ListVersions };
            state::check(action, key)?;
            let page = gateway.store.versions(cx.instance, key.id, query.page).await?;
            let count = page.items.len();
            Ok(Done::new((key.clone(), page)).about(key).tell("totalResources", count))
        })
        .await
}
