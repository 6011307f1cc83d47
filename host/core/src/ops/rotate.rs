//! `POST /keys/{id}/actions/rotate`: make a new version. What the old ones wrapped stays readable.

use super::adopters;
use super::input::Problems;
use super::material::{self, Material};
use crate::access::Action;
use crate::backend::{Call, KeyIdentity};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{KeySelector, VersionId};
use crate::key::{Key, KeyKind, KeyVersion};
use crate::pipeline::{self, Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::LifecycleKind;
use crate::state::{self, KeyAction};
use crate::store::Change;

/// What to rotate to.
#[derive(Debug, Default)]
pub struct Rotate {
    /// New material: required for an imported key, refused for a generated one.
    pub payload: Option<Material>,
}

/// Rotates a key; returns it as it is now.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_ERR`, `KEY_ACTION_INVALID_STATE_ERR`, `KEY_DELETED_ERR`, `KEY_PAYLOAD_REQ_ERR`,
/// `INVALID_QUERY_PARAM_ERR` for a payload that is too much, `INVALID_FIELD_ERR`, those of an import token,
/// `KEY_ROTATION_NOT_PERMITTED` within [`crate::limits::Limits::rotate_interval`] of the last rotation, and what backend,
/// chain, store and audit log fail with.
pub async fn rotate(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<Rotate, Error>,
) -> Result<Key, Error> {
    let mut ask = Ask::key(Action::Rotate, selector);
    if let Ok(Rotate { payload }) = &input {
        ask = ask.material(payload.as_ref());
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let input = input?;
            let key = admitted.key()?;
            state::check(KeyAction::Rotate, key)?;
            check_payload(key, input.payload.as_ref())?;
            check_time(gateway, key, admitted.now)?;
            let backend = &admitted.instance.backend;
            let (payload, now) = (input.payload.as_ref(), admitted.now);
            let stored = |key: Key| admitted.as_stored(key);
            let rotated = new_version(gateway, cx.call(), backend, key, payload, now, stored).await?;
            let rotated = pipeline::settle(rotated, now);
            Ok(told(&rotated).map(|()| rotated))
        })
        .await
}

/// What the audit log is told of a rotation.
pub(super) fn told(rotated: &Key) -> Done<()> {
    let done = Done::new(()).about(rotated).tell("keyVersionId", rotated.current_version);
    done.tell("keyVersionCreationDate", rotated.current_version_created_at.to_rfc3339())
}

fn check_payload(key: &Key, payload: Option<&Material>) -> Result<(), Error> {
    let mut problems = Problems::default();
    match (payload, key.imported) {
        (Some(payload), true) => payload.check(KeyKind::Root, &mut problems),
        (Some(_), false) => problems.add(
            Reason::new(
                ReasonCode::InvalidQueryParam,
                "The key was generated, so it is rotated without a payload; leave `payload` out",
            )
            .query("payload"),
        ),
        (None, true) => problems.add(
            Reason::new(ReasonCode::KeyPayloadRequired, "The key was imported, so rotating it takes a new `payload`")
                .field("payload"),
        ),
        (None, false) => {}
    }
    problems.finish()
}

/// Whether a key may be rotated yet.
pub(super) fn check_time(gateway: &Gateway, key: &Key, now: Timestamp) -> Result<(), Error> {
    let interval = gateway.limits.rotate_interval;
    if key.rotated_at.is_some_and(|at| now < at.plus(interval)) {
        return Err(Error::refused(
            ReasonCode::RotationNotPermitted,
            format!("The key was rotated less than {} seconds ago; wait until then", interval.as_secs()),
        ));
    }
    Ok(())
}

/// Gives a key a new version and tells its adopters: that it was rotated, or restored where it was deleted. `change` has
/// the last word on what else becomes of the key in the same commit.
pub(super) async fn new_version(
    gateway: &Gateway,
    call: Call<'_>,
    backend: &str,
    key: &Key,
    payload: Option<&Material>,
    now: Timestamp,
    change: impl FnOnce(Key) -> Key,
) -> Result<Key, Error> {
    if key.version_count >= gateway.limits.versions_per_key {
        return Err(Error::refused(
            ReasonCode::VersionQuota,
            format!("A key has at most {} versions; use a new key", gateway.limits.versions_per_key),
        ));
    }
    let backend = gateway.backend(backend)?;
    let id = VersionId::generate(gateway.entropy.as_ref())?;
    let identity = KeyIdentity { instance: key.instance, key: key.id, version: id };
    let (key_ref, bits) = material::make(gateway, call, backend.as_ref(), identity, key.kind, payload, now).await?;
    let version =
        KeyVersion { id, sequence: key.version_count + 1, created_at: now, key_ref: key_ref.clone(), former: None };
    let rotated = change(Key {
        bits,
        current_version: id,
        current_version_created_at: now,
        version_count: version.sequence,
        rotated_at: Some(now),
        updated_at: now,
        revision: key.revision + 1,
        ..key.clone()
    });
    let insert = Change::InsertVersion { instance: key.instance, key: key.id, version };
    let kind = if key.deletion.is_some() { LifecycleKind::Restored } else { LifecycleKind::Rotated };
    match adopters::commit(gateway, rotated, kind, now, vec![insert]).await {
        Ok(rotated) => Ok(rotated),
        Err(failed) => {
            if failed.is_undone() {
                material::discard(call, backend.as_ref(), identity, &key_ref).await;
            }
            Err(failed.into())
        }
    }
}
