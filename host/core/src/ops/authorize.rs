//! `POST /keys/{id}/actions/setKeyForDeletion` and `unsetKeyForDeletion`: give, and take back, the first of the two
//! authorizations that deleting a key can take.

use crate::access::Action;
use crate::clock::Timestamp;
use crate::error::{Error, ReasonCode};
use crate::ids::KeySelector;
use crate::key::{DeletionAuthorization, Key, Stamp};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};
use crate::store::Change;

/// Authorizes the deletion of a key by somebody else; returns the key as it is now. It holds for
/// [`crate::limits::Limits::dual_auth_window`], in which the key stays Active and in use. One that was given before, by
/// whomever, is replaced: the window begins anew, and it is this caller who cannot delete the key then.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ACTION_INVALID_STATE_ERR`, `KEY_DELETED_ERR`, `NOT_DUAL_AUTH_ERR` for a key that is deleted by
/// one, unless a rule obliges to two, and what chain, store and audit log fail with.
pub async fn set(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<Key, Error> {
    let window = gateway.limits.dual_auth_window;
    let authorization = |now: Timestamp| DeletionAuthorization {
        given: Stamp { at: now, by: cx.principal.id.clone() },
        lapses_at: now.plus(window),
    };
    write(gateway, cx, selector, Action::SetKeyForDeletion, |now| Some(authorization(now))).await
}

/// Takes back the authorization to delete a key, whoever gave it; returns the key as it is now. That there was none is no
/// error.
///
/// # Errors
/// As [`set`].
pub async fn unset(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<Key, Error> {
    write(gateway, cx, selector, Action::UnsetKeyForDeletion, |_| None).await
}

async fn write(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    action: Action,
    next: impl FnOnce(Timestamp) -> Option<DeletionAuthorization>,
) -> Result<Key, Error> {
    gateway
        .run(cx, Ask::key(action, selector), async |admitted: Admitted| {
            let (key, now) = (admitted.key()?, admitted.now);
            state::check(KeyAction::AuthorizeDeletion, key)?;
            if !key.needs_dual_auth() && !admitted.obligations().dual_authorization() {
                return Err(Error::refused(
                    ReasonCode::NotDualAuth,
                    "The key has no dual authorization policy, so deleting it takes no authorization (a policy is made \
                     with PUT /api/v2/keys/{id}/policies?policy=dualAuthDelete)",
                ));
            }
            let changed = put(gateway, key, next(now), now).await?;
            Ok(told(key, &changed, now).map(|()| changed))
        })
        .await
}

/// Commits what is now to be the authorization of a key. Nothing to do is nothing done.
pub(super) async fn put(
    gateway: &Gateway,
    key: &Key,
    authorization: Option<DeletionAuthorization>,
    now: Timestamp,
) -> Result<Key, Error> {
    if key.authorization == authorization {
        return Ok(key.clone());
    }
    let changed = Key { authorization, updated_at: now, revision: key.revision + 1, ..key.clone() };
    gateway.store.commit(vec![Change::UpdateKey { key: changed.clone() }]).await?;
    Ok(changed)
}

/// What the audit log is told: whose authorization there was, lapsed or not, and whose there is (`api-contract`, a).
pub(super) fn told(before: &Key, after: &Key, now: Timestamp) -> Done<()> {
    let mut done = Done::new(()).about(after);
    if let Some(was) = &before.authorization {
        done = done.tell("initialValue.authID", &was.given.by);
        done = done.tell("initialValue.authExpiration", was.lapses_at.to_rfc3339());
    }
    if let Some(is) = after.authorization_at(now) {
        done = done.tell("newValue.authID", &is.given.by);
        done = done.tell("newValue.authExpiration", is.lapses_at.to_rfc3339());
    }
    done
}
