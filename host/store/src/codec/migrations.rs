//! Migrations of instances, and what stayed behind in them.

use keygate_core::clock::Timestamp;
use keygate_core::ids::{InstanceId, KeyId, MigrationId};
use keygate_core::migration::{Counts, Migration, MigrationState, Stay, StayReason, Transport};
use serde::{Deserialize, Serialize};

use super::{DecodeError, Encoded, FORMAT_1, StampV1, body, whole};

/// A migration, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct MigrationRecordV1<'a> {
    id: [u8; 16],
    from: &'a str,
    to: &'a str,
    state: u8,
    #[serde(borrow)]
    started: StampV1<'a>,
    ended_at_ms: Option<u64>,
    #[serde(borrow)]
    transport: TransportV1<'a>,
    pass: u32,
    pass_at_ms: u64,
    cursor: Option<[u8; 16]>,
    counts: [u64; 7],
    #[serde(borrow)]
    waiting: Option<&'a str>,
    updated_at_ms: u64,
    revision: u64,
}

/// How material travels. Frozen.
#[derive(Serialize, Deserialize)]
enum TransportV1<'a> {
    Unasked,
    Key { key: [u8; 16], reference: &'a [u8], public: &'a [u8] },
    None(&'a str),
}

/// What stayed behind of a key, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct StayRecordV1<'a> {
    versions: u32,
    renewed: bool,
    reason: u8,
    detail: &'a str,
}

/// Writes a migration.
pub(crate) fn encode_migration(migration: &Migration) -> Encoded {
    let Counts { keys, seen, moved, renewed, stayed, destroyed, pending } = migration.counts;
    let record = MigrationRecordV1 {
        id: *migration.id.as_bytes(),
        from: &migration.from,
        to: &migration.to,
        state: match migration.state {
            MigrationState::Running => 0,
            MigrationState::Stopped => 1,
            MigrationState::Done => 2,
        },
        started: (&migration.started).into(),
        ended_at_ms: migration.ended_at.map(Timestamp::unix_ms),
        transport: match &migration.transport {
            Transport::Unasked => TransportV1::Unasked,
            Transport::Key { key, reference, public } => TransportV1::Key { key: *key.as_bytes(), reference, public },
            Transport::None(why) => TransportV1::None(why),
        },
        pass: migration.pass,
        pass_at_ms: migration.pass_at.unix_ms(),
        cursor: migration.cursor.map(|key| *key.as_bytes()),
        counts: [keys, seen, moved, renewed, stayed, destroyed, pending],
        waiting: migration.waiting.as_deref(),
        updated_at_ms: migration.updated_at.unix_ms(),
        revision: migration.revision,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads a migration.
pub(crate) fn decode_migration(instance: InstanceId, record: &[u8]) -> Result<Migration, DecodeError> {
    let record: MigrationRecordV1<'_> = whole(body(record)?)?;
    let instant = Timestamp::from_unix_ms;
    let [keys, seen, moved, renewed, stayed, destroyed, pending] = record.counts;
    Ok(Migration {
        id: MigrationId::from_bytes(record.id),
        instance,
        from: record.from.to_owned(),
        to: record.to.to_owned(),
        state: match record.state {
            0 => MigrationState::Running,
            1 => MigrationState::Stopped,
            2 => MigrationState::Done,
            _ => return Err(DecodeError::Malformed("it has an unknown state of a migration")),
        },
        started: record.started.into(),
        ended_at: record.ended_at_ms.map(instant),
        transport: match record.transport {
            TransportV1::Unasked => Transport::Unasked,
            TransportV1::Key { key, reference, public } => {
                Transport::Key { key: KeyId::from_bytes(key), reference: reference.to_vec(), public: public.to_vec() }
            }
            TransportV1::None(why) => Transport::None(why.to_owned()),
        },
        pass: record.pass,
        pass_at: instant(record.pass_at_ms),
        cursor: record.cursor.map(KeyId::from_bytes),
        counts: Counts { keys, seen, moved, renewed, stayed, destroyed, pending },
        waiting: record.waiting.map(str::to_owned),
        updated_at: instant(record.updated_at_ms),
        revision: record.revision,
    })
}

/// Writes what stayed behind of a key.
pub(crate) fn encode_stay(stay: &Stay) -> Encoded {
    let record = StayRecordV1 {
        versions: stay.versions,
        renewed: stay.renewed,
        reason: reason_number(stay.reason),
        detail: &stay.detail,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads what stayed behind of a key.
pub(crate) fn decode_stay(key: KeyId, record: &[u8]) -> Result<Stay, DecodeError> {
    let record: StayRecordV1<'_> = whole(body(record)?)?;
    let reason = StayReason::ALL.into_iter().find(|reason| reason_number(*reason) == record.reason);
    Ok(Stay {
        key,
        versions: record.versions,
        renewed: record.renewed,
        reason: reason.ok_or(DecodeError::Malformed("it has an unknown reason to stay"))?,
        detail: record.detail.to_owned(),
    })
}

const fn reason_number(reason: StayReason) -> u8 {
    match reason {
        StayReason::NotTransportable => 0,
        StayReason::SampleNotOpened => 1,
        StayReason::MaterialMissing => 2,
        StayReason::BackendFailed => 3,
        StayReason::Damaged => 4,
        StayReason::NotDestroyed => 5,
        StayReason::CameBack => 6,
    }
}
