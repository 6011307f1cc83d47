//! `PUT` and `GET /keys/{id}/policies`, and what other use cases need of key policies.

use std::sync::Arc;

use super::input::Problems;
use crate::access::Action;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{KeySelector, PolicyId};
use crate::instance::Instance;
use crate::key::{DualAuthPolicy, Key, KeyKind, PolicyRecord, RotationPolicy, Stamp};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};
use crate::store::Change;

/// The policies that a key can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyPolicyKind {
    /// It is rotated by the gateway.
    Rotation,
    /// It is deleted by two people.
    DualAuthDelete,
}

impl KeyPolicyKind {
    /// Both, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Rotation, Self::DualAuthDelete];

    /// The API's word for it, in the query parameter `policy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotation => "rotation",
            Self::DualAuthDelete => "dualAuthDelete",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How a key is to be rotated by the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteRotation {
    /// Whether at all. Not said, it is: who gives an interval wants it kept.
    pub enabled: Option<bool>,
    /// Every how many months of 30 days, 1 to 12. Not said, it stays what it is.
    pub interval_months: Option<u8>,
}

/// Which policies to write. What is not given stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WritePolicies {
    /// How it is rotated.
    pub rotation: Option<WriteRotation>,
    /// Whether it is deleted by two people.
    pub dual_auth_delete: Option<bool>,
}

impl WritePolicies {
    /// Which policies it writes.
    pub fn kinds(&self) -> Vec<KeyPolicyKind> {
        let rotation = self.rotation.as_ref().map(|_| KeyPolicyKind::Rotation);
        let dual_auth = self.dual_auth_delete.map(|_| KeyPolicyKind::DualAuthDelete);
        [rotation, dual_auth].into_iter().flatten().collect()
    }
}

/// Reads the policies of a key, whatever its state. The instance comes along for their CRNs. `which` is checked here and
/// obeyed by the caller.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, and what chain, store and audit log fail with.
pub async fn read(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    which: Result<Option<KeyPolicyKind>, Error>,
) -> Result<(Key, Arc<Instance>), Error> {
    gateway
        .run(cx, Ask::key(Action::ReadPolicies, selector), async |admitted: Admitted| {
            let which = which?;
            let key = admitted.key()?;
            state::check(KeyAction::Read, key)?;
            let wanted = |kind| which.is_none_or(|which| which == kind);
            let count = usize::from(key.rotation.is_some() && wanted(KeyPolicyKind::Rotation))
                + usize::from(key.dual_auth.is_some() && wanted(KeyPolicyKind::DualAuthDelete));
            let found = (key.clone(), admitted.instance.clone());
            Ok(Done::new(()).about(key).tell("totalResources", count).map(|()| found))
        })
        .await
}

/// Writes policies of an Active key; returns the key as it is now. A rotation policy does not rotate the key at once: its
/// first interval begins now.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`; `KEY_INVALID_STATE_ERR` for a key that is not Active, for the rotation of a standard key, and for an
/// attempt to switch dual authorization off, which nobody can; `KEY_DELETED_ERR`; `INVALID_FIELD_ERR` and
/// `MISSING_FIELD_ERR` for a rotation that cannot be; `BAD_BODY_ERR` when no policy is given; and what chain, store and
/// audit log fail with.
pub async fn write(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<WritePolicies, Error>,
) -> Result<(Key, Arc<Instance>), Error> {
    gateway
        .run(cx, Ask::key(Action::WritePolicies, selector), async |admitted: Admitted| {
            let input = input?;
            let key = admitted.key()?;
            state::check(KeyAction::WritePolicy, key)?;
            let wanted = check(key, input)?;
            let written = Stamp { at: admitted.now, by: cx.principal.id.clone() };
            let changed = commit(gateway, key, wanted, &written).await?;
            Ok(told(key, &changed).map(|()| (changed, admitted.instance.clone())))
        })
        .await
}

/// What is to be written, with all that was left out filled in.
#[derive(Clone, Copy, Default)]
struct Wanted {
    rotation: Option<(bool, u8)>,
    dual_auth: Option<bool>,
}

fn check(key: &Key, input: WritePolicies) -> Result<Wanted, Error> {
    let mut problems = Problems::default();
    let mut wanted = Wanted::default();
    if input == WritePolicies::default() {
        let text = "a policy is required: `rotation`, `dualAuthDelete`, or both";
        problems.add(Reason::new(ReasonCode::BadBody, text).field("resources"));
    }
    if let Some(rotation) = input.rotation {
        if key.kind == KeyKind::Root {
            check_rotatable(key.kind, key.imported, &mut problems);
        }
        wanted.rotation = fill_in(key, rotation, &mut problems);
    }
    wanted.dual_auth = input.dual_auth_delete;
    problems.finish()?;
    check_fitting(key, input)?;
    Ok(wanted)
}

/// Whether the key is one that such policies are written for: of another status than what is wrong with the request, so
/// asked after that.
fn check_fitting(key: &Key, input: WritePolicies) -> Result<(), Error> {
    let mut problems = Problems::default();
    if input.rotation.is_some() && key.kind == KeyKind::Standard {
        // 422 here (`api-contract`, h), unlike when a key is made.
        problems.add(Reason::new(ReasonCode::KeyInvalidState, ROOT_KEYS_ONLY).field("rotation"));
    }
    if input.dual_auth_delete == Some(false) && key.needs_dual_auth() {
        // `manage-dual-authorization`: it cannot be reverted. The status is the one that the API has for a key that a
        // policy cannot be written for.
        let text = "a key that is deleted by two people stays so; dual authorization cannot be switched off";
        problems.add(Reason::new(ReasonCode::KeyInvalidState, text).field("dualAuthDelete"));
    }
    problems.finish()
}

/// The rotation as it is to be; none where something that is off already is switched off.
fn fill_in(key: &Key, rotation: WriteRotation, problems: &mut Problems) -> Option<(bool, u8)> {
    let stored = key.rotation.as_ref().map(|policy| policy.interval_months);
    let said_nothing = rotation == WriteRotation::default();
    match rotation.interval_months.or(stored).filter(|_| !said_nothing) {
        Some(months) if (1..=12).contains(&months) => Some((rotation.enabled.unwrap_or(true), months)),
        Some(_) => {
            problems.field("interval_month", "`interval_month` is 1 to 12");
            None
        }
        None if rotation.enabled == Some(false) => None,
        None => {
            problems.missing("interval_month");
            None
        }
    }
}

/// Commits policies. Nothing to write is nothing done.
async fn commit(gateway: &Gateway, key: &Key, wanted: Wanted, written: &Stamp) -> Result<Key, Error> {
    let mut changed = key.clone();
    if let Some((enabled, interval_months)) = wanted.rotation {
        let record = rewritten(gateway, key.rotation.as_ref().map(|policy| &policy.record), written)?;
        changed.rotation = Some(RotationPolicy { enabled, interval_months, record });
    }
    if let Some(enabled) = wanted.dual_auth {
        let record = rewritten(gateway, key.dual_auth.as_ref().map(|policy| &policy.record), written)?;
        changed.dual_auth = Some(DualAuthPolicy { enabled, record });
    }
    if changed == *key {
        return Ok(changed);
    }
    let changed = Key { updated_at: written.at, revision: key.revision + 1, ..changed };
    gateway.store.commit(vec![Change::UpdateKey { key: changed.clone() }]).await?;
    Ok(changed)
}

/// The record of a policy that is written once more, or for the first time.
fn rewritten(gateway: &Gateway, before: Option<&PolicyRecord>, written: &Stamp) -> Result<PolicyRecord, Error> {
    match before {
        Some(before) => Ok(PolicyRecord { updated: written.clone(), ..before.clone() }),
        None => record(gateway, written),
    }
}

/// What the audit log is told: what was on, and what is.
fn told(before: &Key, after: &Key) -> Done<()> {
    let rotated = |key: &Key| key.rotation.as_ref().is_some_and(|policy| policy.enabled);
    let mut done = Done::new(()).about(after);
    if before.rotation != after.rotation {
        done = done.asked("initialValue.policyRotationEnabled", rotated(before));
        done = done.asked("newValue.policyRotationEnabled", rotated(after));
    }
    if before.dual_auth != after.dual_auth {
        done = done.asked("initialValue.policyDualAuthDeleteEnabled", before.needs_dual_auth());
        done = done.asked("newValue.policyDualAuthDeleteEnabled", after.needs_dual_auth());
    }
    done
}

/// A policy that is written for the first time.
pub(super) fn record(gateway: &Gateway, made: &Stamp) -> Result<PolicyRecord, Error> {
    let id = PolicyId::generate(gateway.entropy.as_ref())?;
    Ok(PolicyRecord { id, created: made.clone(), updated: made.clone() })
}

const ROOT_KEYS_ONLY: &str = "A rotation policy is for root keys, and this is a standard key";

/// Only generated root keys are rotated by the gateway: for others it has no material to rotate to.
pub(super) fn check_rotatable(kind: KeyKind, imported: bool, problems: &mut Problems) {
    if kind == KeyKind::Standard {
        problems.add(Reason::new(ReasonCode::KeyRootRequired, ROOT_KEYS_ONLY).field("rotation"));
    } else if imported {
        problems
            .field("rotation", "a rotation policy is for generated keys: an imported one is rotated with a payload");
    }
}
