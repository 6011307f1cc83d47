//! `PATCH /keys/{id}`: move a key to another ring. Nothing else about a key is patched.

use crate::access::Action;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{KeyRingId, KeySelector};
use crate::key::Key;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};
use crate::store::{Change, StoreError};

/// What to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The ring that the key is to be in.
    pub ring: KeyRingId,
}

/// Moves a key to another ring; returns it as it is now. The rules are asked about both rings: the one it is in, and as the
/// fact `new-ring` the other.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_DELETED_ERR`, `KEY_RING_NOT_FOUND_ERR`, and what chain, store and audit log fail with.
pub async fn patch(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<Patch, Error>,
) -> Result<Key, Error> {
    let mut ask = Ask::key(Action::Patch, selector);
    if let Ok(Patch { ring }) = &input {
        ask = ask.with("new-ring", ring);
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let Patch { ring } = input?;
            let key = admitted.key()?;
            state::check(KeyAction::ChangeRing, key)?;
            let moved = Key { ring, updated_at: admitted.now, revision: key.revision + 1, ..key.clone() };
            // Where it is there already, nothing is changed.
            let moved = if moved.ring == key.ring { key.clone() } else { commit(gateway, &admitted, moved).await? };
            let done = Done::new(()).about(&moved).asked("initialValue.keyRingId", &key.ring);
            Ok(done.asked("newValue.keyRingId", &moved.ring).map(|()| moved))
        })
        .await
}

async fn commit(gateway: &Gateway, admitted: &Admitted, moved: Key) -> Result<Key, Error> {
    match gateway.store.commit(vec![Change::UpdateKey { key: admitted.as_stored(moved.clone()) }]).await {
        Ok(()) => Ok(moved),
        Err(StoreError::RingMissing(ring)) => Err(Reason::new(
            ReasonCode::KeyRingNotFound,
            format!("There is no key ring '{ring}' in this instance; make it first (POST /api/v2/key_rings/{ring})"),
        )
        .field("keyRingID")
        .into()),
        Err(error) => Err(error.into()),
    }
}
