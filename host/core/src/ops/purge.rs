//! `DELETE /keys/{id}/purge`: destroy a deleted key for good.
//!
//! In three steps, each of which can be done again when the one after it fails. First the record says that the purge has
//! begun: from then on nothing restores the key, so no key comes back with a part of its material gone. Then every version's
//! material is destroyed in its backend. The record goes last: while there is material, something knows where it is. What
//! stops in between is finished by the next purge, or by the gateway itself, which finds such keys due at once.

use crate::access::Action;
use crate::backend::{BackendError, BackendKey, Call, KeyIdentity};
use crate::error::Error;
use crate::ids::KeySelector;
use crate::key::Key;
use crate::limits::Limits;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};
use crate::store::{Change, PageRequest, StoreError};

/// How many versions are read at once.
const PAGE: usize = 500;

/// How often the record is tried to be removed while others change it: an alias, a registration of it.
const ATTEMPTS: usize = 8;

/// Purges a deleted key; returns it as it was.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ACTION_INVALID_STATE_ERR` unless it is Destroyed, `REQ_TOO_EARLY_ERR` within
/// [`Limits::purge_wait`] of the deletion, and what backend, chain, store and audit log fail with. When a backend fails the
/// key stays, purged in part and not to be restored; purging it again goes on.
pub async fn purge(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<Key, Error> {
    gateway
        .run(cx, Ask::key(Action::Purge, selector), async |admitted: Admitted| {
            let key = admitted.key()?;
            state::check(KeyAction::Purge, key)?;
            if let Some(deletion) = &key.deletion {
                let why = "A deleted key is not purged at once";
                state::check_wait(admitted.now, deletion.at, gateway.limits.purge_wait, why)?;
            }
            shred(gateway, cx.call(), key).await?;
            Ok(told(&gateway.limits, key).map(|()| key.clone()))
        })
        .await
}

/// What the audit log is told of a purge (`api-contract`, a).
pub(super) fn told(limits: &Limits, key: &Key) -> Done<()> {
    let done = Done::new(()).about(key);
    match &key.deletion {
        None => done,
        Some(deletion) => done
            .tell("deletionDate", deletion.at.to_rfc3339())
            .tell("purgeAllowedFrom", deletion.at.plus(limits.purge_wait).to_rfc3339())
            .tell("purgeEligibleOn", deletion.at.plus(limits.purge_after).to_rfc3339()),
    }
}

/// Does the three steps with a deleted key.
pub(super) async fn shred(gateway: &Gateway, call: Call<'_>, key: &Key) -> Result<(), Error> {
    let mut revision = key.revision;
    if !key.purging {
        revision += 1;
        let begun = Key { purging: true, revision, ..key.clone() };
        gateway.store.commit(vec![Change::UpdateKey { key: begun }]).await?;
    }
    destroy(gateway, call, key).await?;
    remove(gateway, key, revision).await
}

async fn destroy(gateway: &Gateway, call: Call<'_>, key: &Key) -> Result<(), Error> {
    let mut offset = 0;
    loop {
        let page = PageRequest { offset, limit: PAGE };
        let versions = gateway.store.versions(key.instance, key.id, page).await?.items;
        for version in &versions {
            let identity = KeyIdentity { instance: key.instance, key: key.id, version: version.id };
            // A version that was moved may be in two places.
            let former = version.former.iter().map(|former| &former.key_ref);
            for place in former.chain([&version.key_ref]) {
                let backend = gateway.backend(&place.backend)?;
                match backend.destroy_key(call, BackendKey { identity, reference: &place.reference }).await {
                    // Gone already is as good.
                    Ok(()) | Err(BackendError::KeyNotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        offset += versions.len();
        if versions.len() < PAGE {
            return Ok(());
        }
    }
}

/// Removes the record. A key that is being purged can still lose an alias or a registration, which raises its revision; and
/// somebody else may finish the same purge.
pub(super) async fn remove(gateway: &Gateway, key: &Key, mut revision: u64) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        let change = Change::RemoveKey { instance: key.instance, key: key.id, revision };
        match gateway.store.commit(vec![change]).await {
            Err(StoreError::Conflict) => match gateway.store.key(key.instance, key.id).await? {
                None => return Ok(()),
                Some(found) if !found.purging => {
                    // Nothing takes that back. To remove a key that somebody may use would be worse than to leave it.
                    return Err(Error::Internal(format!("key {} is not being purged any more", key.id)));
                }
                Some(found) => revision = found.revision,
            },
            other => return Ok(other?),
        }
    }
    Err(StoreError::Conflict.into())
}
