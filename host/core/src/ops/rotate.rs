//! `POST /keys/{id}/actions/rotate`: make a new version. What the old ones wrapped stays readable.

use super::input::{Problems, check_root_material};
use super::material;
use crate::access::Action;
use crate::backend::KeyIdentity;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{KeySelector, VersionId};
use crate::key::{Key, KeyVersion};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::secret::SecretBytes;
use crate::state::{self, KeyAction};
use crate::store::Change;

/// What to rotate to.
#[derive(Debug, Default)]
pub struct Rotate {
    /// New material: required for an imported key, refused for a generated one.
    pub payload: Option<SecretBytes>,
}

/// Rotates a key; returns it as it is now.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_ERR`, `KEY_ACTION_INVALID_STATE_ERR`, `KEY_DELETED_ERR`, `KEY_PAYLOAD_REQ_ERR`,
/// `INVALID_QUERY_PARAM_ERR` for a payload that is too much, `INVALID_FIELD_ERR`, `KEY_ROTATION_NOT_PERMITTED` within
/// [`crate::limits::Limits::rotate_interval`] of the last rotation, and what backend, chain, store and audit log fail
/// with.
pub async fn rotate(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<Rotate, Error>,
) -> Result<Key, Error> {
    let imported = input.as_ref().is_ok_and(|input| input.payload.is_some());
    gateway
        .run(cx, Ask::key(Action::Rotate, selector).with("new-key.imported", imported), async |admitted: Admitted| {
            let input = input?;
            let key = admitted.key()?;
            state::check(KeyAction::Rotate, key)?;
            validate(gateway, key, &input, &admitted)?;
            let key = make(gateway, cx, &admitted, key, &input).await?;
            let done = Done::new(()).about(&key).tell("keyVersionId", key.current_version);
            Ok(done.tell("keyVersionCreationDate", key.current_version_created_at.to_rfc3339()).map(|()| key))
        })
        .await
}

fn validate(gateway: &Gateway, key: &Key, input: &Rotate, admitted: &Admitted) -> Result<(), Error> {
    let mut problems = Problems::default();
    match (&input.payload, key.imported) {
        (Some(payload), true) => check_root_material(payload, &mut problems),
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
    problems.finish()?;
    let interval = gateway.limits.rotate_interval;
    if key.rotated_at.is_some_and(|at| admitted.now < at.plus(interval)) {
        return Err(Error::refused(
            ReasonCode::RotationNotPermitted,
            format!("The key was rotated less than {} seconds ago; wait until then", interval.as_secs()),
        ));
    }
    if key.version_count >= gateway.limits.versions_per_key {
        return Err(Error::refused(
            ReasonCode::VersionQuota,
            format!("A key has at most {} versions; use a new key", gateway.limits.versions_per_key),
        ));
    }
    Ok(())
}

async fn make(
    gateway: &Gateway,
    cx: &RequestContext,
    admitted: &Admitted,
    key: &Key,
    input: &Rotate,
) -> Result<Key, Error> {
    let now = admitted.now;
    let backend = gateway.backend(&admitted.instance.backend)?;
    let id = VersionId::generate(gateway.entropy.as_ref())?;
    let identity = KeyIdentity { instance: key.instance, key: key.id, version: id };
    let (key_ref, bits) = material::make(cx, backend.as_ref(), identity, key.kind, input.payload.as_ref()).await?;
    let version = KeyVersion { id, sequence: key.version_count + 1, created_at: now, key_ref: key_ref.clone() };
    let rotated = Key {
        bits,
        current_version: id,
        current_version_created_at: now,
        version_count: version.sequence,
        rotated_at: Some(now),
        updated_at: now,
        revision: key.revision + 1,
        ..key.clone()
    };
    let changes = vec![
        Change::UpdateKey { key: rotated.clone() },
        Change::InsertVersion { instance: key.instance, key: key.id, version },
    ];
    if let Err(error) = gateway.store.commit(changes).await {
        material::discard(cx, backend.as_ref(), identity, &key_ref, &error).await;
        return Err(error.into());
    }
    Ok(rotated)
}
