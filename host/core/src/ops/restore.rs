//! `POST /keys/{id}/restore`: bring a deleted key back, with all that it was.

use super::input::Problems;
use super::material::Material;
use super::{adopters, rotate};
use crate::access::Action;
use crate::clock::Timestamp;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::KeySelector;
use crate::key::{Key, KeyKind, KeyState};
use crate::limits::Limits;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::LifecycleKind;
use crate::state::{self, KeyAction};

/// What to restore from.
#[derive(Debug, Default)]
pub struct Restore {
    /// The material of an imported root key. None is needed: the gateway still has it. As it never sees what it has, it cannot
    /// compare the two, so this becomes a new version; what the older ones wrapped stays readable.
    pub payload: Option<Material>,
}

/// Restores a deleted key; returns it as it is now: Active, or Suspended where it was disabled before it was deleted. Its
/// registrations whose services have not acknowledged the deletion are Active again.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`; `KEY_ACTION_INVALID_STATE_ERR`; `REQ_TOO_EARLY_ERR` within [`Limits::restore_wait`] of the deletion,
/// `KEY_RESTORE_EXPIRED` after [`Limits::restore_window`], and when its purge has begun; `KEY_EXPIRED_ERR`;
/// `KEY_IMPT_REQ_ERR` for material of a generated key, `INVALID_FIELD_ERR`, also for material of a standard key, those of an import token, and what backend,
/// chain, store and audit log fail with.
pub async fn restore(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<Restore, Error>,
) -> Result<Key, Error> {
    let mut ask = Ask::key(Action::Restore, selector);
    if let Ok(Restore { payload }) = &input {
        ask = ask.material(payload.as_ref());
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let Restore { payload } = input?;
            let (key, now) = (admitted.key()?, admitted.now);
            state::check(KeyAction::Restore, key)?;
            check_time(&gateway.limits, key, now)?;
            check_payload(key, payload.as_ref())?;
            let restored = match &payload {
                None => {
                    let key = back(Key { revision: key.revision + 1, ..key.clone() }, now);
                    adopters::commit(gateway, key, LifecycleKind::Restored, now, Vec::new()).await?
                }
                Some(_) => {
                    let backend = &admitted.instance.backend;
                    let payload = payload.as_ref();
                    rotate::new_version(gateway, cx.call(), backend, key, payload, now, |key| back(key, now)).await?
                }
            };
            let version = restored.current_version;
            Ok(Done::new(()).about(&restored).tell("keyVersionId", version).map(|()| restored))
        })
        .await
}

/// A deleted key as it is when it is back. Its ring is still there: the store lets none go that has a key in it, deleted or
/// not.
fn back(key: Key, now: Timestamp) -> Key {
    Key {
        state: if key.disabled_at.is_some() { KeyState::Suspended } else { KeyState::Active },
        deletion: None,
        authorization: None,
        updated_at: now,
        ..key
    }
}

fn check_time(limits: &Limits, key: &Key, now: Timestamp) -> Result<(), Error> {
    if key.purging {
        let text = "The key is being purged and cannot be restored any more; purge it again to finish that";
        return Err(Error::refused(ReasonCode::RestoreExpired, text));
    }
    if let Some(deletion) = &key.deletion {
        let why = "That the key was deleted must reach everybody before it is restored";
        state::check_wait(now, deletion.at, limits.restore_wait, why)?;
        let until = deletion.at.plus(limits.restore_window);
        if now > until {
            let text =
                format!("The key could be restored until {} and cannot any more; use a new key", until.to_rfc3339());
            return Err(Error::refused(ReasonCode::RestoreExpired, text));
        }
    }
    match key.expires_at {
        Some(at) if at <= now => Err(Error::refused(
            ReasonCode::KeyExpired,
            format!("The key expired at {} and is not restored any more; use a new key", at.to_rfc3339()),
        )),
        _ => Ok(()),
    }
}

fn check_payload(key: &Key, payload: Option<&Material>) -> Result<(), Error> {
    let Some(payload) = payload else { return Ok(()) };
    if !key.imported {
        let text = "The key was generated, so it is restored without a payload; leave `payload` out";
        return Err(Reason::new(ReasonCode::KeyImportRequired, text).field("payload").into());
    }
    let mut problems = Problems::default();
    if key.kind == KeyKind::Standard {
        // A standard key is what was put into it: another version of it would be another secret under its name.
        let text = "a standard key is restored without a payload; its material was kept, so leave `payload` out";
        problems.field("payload", text);
        return problems.finish();
    }
    payload.check(key.kind, &mut problems);
    problems.finish()
}
