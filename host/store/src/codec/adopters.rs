//! What adopters have: registrations and events.

use keygate_core::clock::Timestamp;
use keygate_core::crn::ResourceCrn;
use keygate_core::ids::{EventId, InstanceId, KeyId, VersionId};
use keygate_core::registration::{LifecycleEvent, LifecycleKind, Registration, RegistrationState};
use serde::{Deserialize, Serialize};

use super::{DecodeError, Encoded, FORMAT_1, StampV1, body, whole};

/// A registration, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct RegistrationRecordV1<'a> {
    #[serde(borrow)]
    created: StampV1<'a>,
    #[serde(borrow)]
    updated: StampV1<'a>,
    #[serde(borrow)]
    description: Option<&'a str>,
    prevent_key_deletion: bool,
    #[serde(borrow)]
    note: Option<&'a str>,
    version: [u8; 16],
    version_created_at_ms: u64,
    state: u8,
    revision: u64,
}

/// An event, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct EventRecordV1<'a> {
    key: [u8; 16],
    crn: &'a str,
    kind: u8,
    at_ms: u64,
    version: [u8; 16],
}

/// Writes a registration.
pub(crate) fn encode_registration(registration: &Registration) -> Encoded {
    let record = RegistrationRecordV1 {
        created: (&registration.created).into(),
        updated: (&registration.updated).into(),
        description: registration.description.as_deref(),
        prevent_key_deletion: registration.prevent_key_deletion,
        note: registration.note.as_deref(),
        version: *registration.version.as_bytes(),
        version_created_at_ms: registration.version_created_at.unix_ms(),
        state: registration_state_number(registration.state),
        revision: registration.revision,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads a registration.
pub(crate) fn decode_registration(
    instance: InstanceId,
    key: KeyId,
    crn: ResourceCrn,
    record: &[u8],
) -> Result<Registration, DecodeError> {
    let record: RegistrationRecordV1<'_> = whole(body(record)?)?;
    Ok(Registration {
        instance,
        key,
        crn,
        created: record.created.into(),
        updated: record.updated.into(),
        description: record.description.map(str::to_owned),
        prevent_key_deletion: record.prevent_key_deletion,
        note: record.note.map(str::to_owned),
        version: VersionId::from_bytes(record.version),
        version_created_at: Timestamp::from_unix_ms(record.version_created_at_ms),
        state: registration_state_of(record.state)?,
        revision: record.revision,
    })
}

/// Writes an event.
pub(crate) fn encode_event(event: &LifecycleEvent) -> Encoded {
    let record = EventRecordV1 {
        key: *event.key.as_bytes(),
        crn: event.crn.as_str(),
        kind: lifecycle_number(event.kind),
        at_ms: event.at.unix_ms(),
        version: *event.version.as_bytes(),
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads an event.
pub(crate) fn decode_event(instance: InstanceId, id: EventId, record: &[u8]) -> Result<LifecycleEvent, DecodeError> {
    let record: EventRecordV1<'_> = whole(body(record)?)?;
    Ok(LifecycleEvent {
        instance,
        id,
        key: KeyId::from_bytes(record.key),
        crn: ResourceCrn::parse(record.crn).map_err(|_| DecodeError::Malformed("its resource is not a CRN"))?,
        kind: lifecycle_of(record.kind)?,
        at: Timestamp::from_unix_ms(record.at_ms),
        version: VersionId::from_bytes(record.version),
    })
}

pub(super) const fn registration_state_number(state: RegistrationState) -> u8 {
    match state {
        RegistrationState::Active => 0,
        RegistrationState::Suspended => 1,
        RegistrationState::Deactivated => 2,
    }
}

pub(super) fn registration_state_of(number: u8) -> Result<RegistrationState, DecodeError> {
    match number {
        0 => Ok(RegistrationState::Active),
        1 => Ok(RegistrationState::Suspended),
        2 => Ok(RegistrationState::Deactivated),
        _ => Err(DecodeError::Malformed("it has an unknown state of a registration")),
    }
}

pub(super) const fn lifecycle_number(kind: LifecycleKind) -> u8 {
    match kind {
        LifecycleKind::Rotated => 0,
        LifecycleKind::Disabled => 1,
        LifecycleKind::Enabled => 2,
        LifecycleKind::Deleted => 3,
        LifecycleKind::Restored => 4,
        LifecycleKind::Synced => 5,
    }
}

pub(super) fn lifecycle_of(number: u8) -> Result<LifecycleKind, DecodeError> {
    let kind = LifecycleKind::ALL.into_iter().find(|kind| lifecycle_number(*kind) == number);
    kind.ok_or(DecodeError::Malformed("it has an unknown kind of event"))
}
