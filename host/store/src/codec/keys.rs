//! Keys and their versions.

use keygate_core::clock::Timestamp;
use keygate_core::ids::{Alias, InstanceId, KeyId, KeyRingId, PolicyId, VersionId};
use keygate_core::key::{
    DeletionAuthorization, DualAuthPolicy, Former, Key, KeyAlias, KeyKind, KeyRef, KeyState, KeyVersion, PolicyRecord,
    RotationPolicy, Stamp,
};
use serde::{Deserialize, Serialize};

use super::{DecodeError, Encoded, FORMAT_1, FORMAT_2, StampV1, format, whole};

/// A key, format 1. Read only. Frozen.
#[derive(Serialize, Deserialize)]
struct KeyRecordV1<'a> {
    name: &'a str,
    #[serde(borrow)]
    description: Option<&'a str>,
    #[serde(borrow)]
    aliases: Vec<&'a str>,
    #[serde(borrow)]
    tags: Vec<&'a str>,
    kind: u8,
    imported: bool,
    bits: u32,
    state: u8,
    ring: &'a str,
    created_at_ms: u64,
    created_by: &'a str,
    updated_at_ms: u64,
    rotated_at_ms: Option<u64>,
    expires_at_ms: Option<u64>,
    current_version: [u8; 16],
    current_version_created_at_ms: u64,
    version_count: u32,
    #[serde(borrow)]
    deletion: Option<StampV1<'a>>,
    revision: u64,
}

/// A key, format 2. Frozen.
#[derive(Serialize, Deserialize)]
struct KeyRecordV2<'a> {
    name: &'a str,
    #[serde(borrow)]
    description: Option<&'a str>,
    #[serde(borrow)]
    aliases: Vec<AliasV2<'a>>,
    #[serde(borrow)]
    tags: Vec<&'a str>,
    kind: u8,
    imported: bool,
    bits: u32,
    state: u8,
    ring: &'a str,
    created_at_ms: u64,
    created_by: &'a str,
    updated_at_ms: u64,
    rotated_at_ms: Option<u64>,
    expires_at_ms: Option<u64>,
    current_version: [u8; 16],
    current_version_created_at_ms: u64,
    version_count: u32,
    #[serde(borrow)]
    deletion: Option<StampV1<'a>>,
    #[serde(borrow)]
    rotation: Option<RotationV2<'a>>,
    #[serde(borrow)]
    dual_auth: Option<DualAuthV2<'a>>,
    #[serde(borrow)]
    authorization: Option<AuthorizationV2<'a>>,
    disabled_at_ms: Option<u64>,
    told_at_ms: Option<u64>,
    purging: bool,
    revision: u64,
}

/// An alias of a key. Frozen.
#[derive(Serialize, Deserialize)]
struct AliasV2<'a> {
    alias: &'a str,
    #[serde(borrow)]
    given: StampV1<'a>,
}

/// What every key policy has. Frozen.
#[derive(Serialize, Deserialize)]
struct PolicyV2<'a> {
    id: [u8; 16],
    #[serde(borrow)]
    created: StampV1<'a>,
    #[serde(borrow)]
    updated: StampV1<'a>,
}

/// A key's rotation policy. Frozen.
#[derive(Serialize, Deserialize)]
struct RotationV2<'a> {
    enabled: bool,
    interval_months: u8,
    #[serde(borrow)]
    policy: PolicyV2<'a>,
}

/// A key's policy of deletion by two. Frozen.
#[derive(Serialize, Deserialize)]
struct DualAuthV2<'a> {
    enabled: bool,
    #[serde(borrow)]
    policy: PolicyV2<'a>,
}

/// The first of two authorizations. Frozen.
#[derive(Serialize, Deserialize)]
struct AuthorizationV2<'a> {
    #[serde(borrow)]
    given: StampV1<'a>,
    lapses_at_ms: u64,
}

/// A key version, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct VersionRecordV1<'a> {
    id: [u8; 16],
    created_at_ms: u64,
    backend: &'a str,
    reference: &'a [u8],
}

/// A key version that was moved, format 2: format 1, and where its material was before. Frozen.
#[derive(Serialize, Deserialize)]
struct VersionRecordV2<'a> {
    id: [u8; 16],
    created_at_ms: u64,
    backend: &'a str,
    reference: &'a [u8],
    former_backend: &'a str,
    former_reference: &'a [u8],
    left_at_ms: u64,
}

impl<'a> From<KeyRecordV1<'a>> for KeyRecordV2<'a> {
    /// What format 1 did not know is not there. Who gave an alias and when was not kept: its key's maker stands in.
    fn from(old: KeyRecordV1<'a>) -> Self {
        let given = |alias| AliasV2 { alias, given: StampV1 { at_ms: old.created_at_ms, by: old.created_by } };
        Self {
            name: old.name,
            description: old.description,
            aliases: old.aliases.into_iter().map(given).collect(),
            tags: old.tags,
            kind: old.kind,
            imported: old.imported,
            bits: old.bits,
            state: old.state,
            ring: old.ring,
            created_at_ms: old.created_at_ms,
            created_by: old.created_by,
            updated_at_ms: old.updated_at_ms,
            rotated_at_ms: old.rotated_at_ms,
            expires_at_ms: old.expires_at_ms,
            current_version: old.current_version,
            current_version_created_at_ms: old.current_version_created_at_ms,
            version_count: old.version_count,
            deletion: old.deletion,
            rotation: None,
            dual_auth: None,
            authorization: None,
            disabled_at_ms: None,
            told_at_ms: None,
            purging: false,
            revision: old.revision,
        }
    }
}

impl<'a> From<&'a PolicyRecord> for PolicyV2<'a> {
    fn from(policy: &'a PolicyRecord) -> Self {
        Self {
            id: *policy.id.as_bytes(),
            created: StampV1::from(&policy.created),
            updated: StampV1::from(&policy.updated),
        }
    }
}

impl From<PolicyV2<'_>> for PolicyRecord {
    fn from(record: PolicyV2<'_>) -> Self {
        Self { id: PolicyId::from_bytes(record.id), created: record.created.into(), updated: record.updated.into() }
    }
}

/// Writes a key.
pub(crate) fn encode_key(key: &Key) -> Encoded {
    let record = KeyRecordV2 {
        name: &key.name,
        description: key.description.as_deref(),
        aliases: key
            .aliases
            .iter()
            .map(|KeyAlias { alias, given }| AliasV2 { alias: alias.as_str(), given: given.into() })
            .collect(),
        tags: key.tags.iter().map(String::as_str).collect(),
        kind: kind_number(key.kind),
        imported: key.imported,
        bits: key.bits,
        state: key.state.number(),
        ring: key.ring.as_str(),
        created_at_ms: key.created_at.unix_ms(),
        created_by: &key.created_by,
        updated_at_ms: key.updated_at.unix_ms(),
        rotated_at_ms: key.rotated_at.map(Timestamp::unix_ms),
        expires_at_ms: key.expires_at.map(Timestamp::unix_ms),
        current_version: *key.current_version.as_bytes(),
        current_version_created_at_ms: key.current_version_created_at.unix_ms(),
        version_count: key.version_count,
        deletion: key.deletion.as_ref().map(StampV1::from),
        rotation: key.rotation.as_ref().map(|policy| RotationV2 {
            enabled: policy.enabled,
            interval_months: policy.interval_months,
            policy: PolicyV2::from(&policy.record),
        }),
        dual_auth: key
            .dual_auth
            .as_ref()
            .map(|policy| DualAuthV2 { enabled: policy.enabled, policy: PolicyV2::from(&policy.record) }),
        authorization: key.authorization.as_ref().map(|authorization| AuthorizationV2 {
            given: StampV1::from(&authorization.given),
            lapses_at_ms: authorization.lapses_at.unix_ms(),
        }),
        disabled_at_ms: key.disabled_at.map(Timestamp::unix_ms),
        told_at_ms: key.told_at.map(Timestamp::unix_ms),
        purging: key.purging,
        revision: key.revision,
    };
    postcard::to_extend(&record, vec![FORMAT_2])
}

/// Reads a key.
pub(crate) fn decode_key(instance: InstanceId, id: KeyId, record: &[u8]) -> Result<Key, DecodeError> {
    let record = match format(record, FORMAT_2)? {
        (FORMAT_1, body) => KeyRecordV2::from(whole::<KeyRecordV1<'_>>(body)?),
        (_, body) => whole(body)?,
    };
    let instant = Timestamp::from_unix_ms;
    Ok(Key {
        instance,
        id,
        name: record.name.to_owned(),
        description: record.description.map(str::to_owned),
        aliases: record.aliases.into_iter().map(alias_of).collect::<Result<_, _>>()?,
        tags: record.tags.into_iter().map(str::to_owned).collect(),
        kind: kind_of(record.kind)?,
        imported: record.imported,
        bits: record.bits,
        state: state_of(record.state)?,
        ring: KeyRingId::parse(record.ring).map_err(|_| DecodeError::Malformed("its key ring is not a key ring"))?,
        created_at: instant(record.created_at_ms),
        created_by: record.created_by.to_owned(),
        updated_at: instant(record.updated_at_ms),
        rotated_at: record.rotated_at_ms.map(instant),
        expires_at: record.expires_at_ms.map(instant),
        current_version: VersionId::from_bytes(record.current_version),
        current_version_created_at: instant(record.current_version_created_at_ms),
        version_count: record.version_count,
        deletion: record.deletion.map(Stamp::from),
        rotation: record.rotation.map(|RotationV2 { enabled, interval_months, policy }| RotationPolicy {
            enabled,
            interval_months,
            record: policy.into(),
        }),
        dual_auth: record
            .dual_auth
            .map(|DualAuthV2 { enabled, policy }| DualAuthPolicy { enabled, record: policy.into() }),
        authorization: record.authorization.map(|AuthorizationV2 { given, lapses_at_ms }| DeletionAuthorization {
            given: given.into(),
            lapses_at: instant(lapses_at_ms),
        }),
        disabled_at: record.disabled_at_ms.map(instant),
        told_at: record.told_at_ms.map(instant),
        purging: record.purging,
        revision: record.revision,
    })
}

fn alias_of(AliasV2 { alias, given }: AliasV2<'_>) -> Result<KeyAlias, DecodeError> {
    let alias = Alias::parse(alias).map_err(|_| DecodeError::Malformed("one of its aliases is not an alias"))?;
    Ok(KeyAlias { alias, given: given.into() })
}

/// Writes a key version: in format 1 where that will do, so that an older Keygate reads what no migration is at.
pub(crate) fn encode_version(version: &KeyVersion) -> Encoded {
    if let Some(former) = &version.former {
        let record = VersionRecordV2 {
            id: *version.id.as_bytes(),
            created_at_ms: version.created_at.unix_ms(),
            backend: &version.key_ref.backend,
            reference: &version.key_ref.reference,
            former_backend: &former.key_ref.backend,
            former_reference: &former.key_ref.reference,
            left_at_ms: former.left_at.unix_ms(),
        };
        return postcard::to_extend(&record, vec![FORMAT_2]);
    }
    let record = VersionRecordV1 {
        id: *version.id.as_bytes(),
        created_at_ms: version.created_at.unix_ms(),
        backend: &version.key_ref.backend,
        reference: &version.key_ref.reference,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads a key version.
pub(crate) fn decode_version(sequence: u32, record: &[u8]) -> Result<KeyVersion, DecodeError> {
    let place = |backend: &str, reference: &[u8]| KeyRef { backend: backend.to_owned(), reference: reference.to_vec() };
    let version = |id, created_at_ms, key_ref, former| KeyVersion {
        id: VersionId::from_bytes(id),
        sequence,
        created_at: Timestamp::from_unix_ms(created_at_ms),
        key_ref,
        former,
    };
    Ok(match format(record, FORMAT_2)? {
        (FORMAT_1, body) => {
            let record: VersionRecordV1<'_> = whole(body)?;
            version(record.id, record.created_at_ms, place(record.backend, record.reference), None)
        }
        (_, body) => {
            let record: VersionRecordV2<'_> = whole(body)?;
            let former = Former {
                key_ref: place(record.former_backend, record.former_reference),
                left_at: Timestamp::from_unix_ms(record.left_at_ms),
            };
            version(record.id, record.created_at_ms, place(record.backend, record.reference), Some(former))
        }
    })
}

pub(super) const fn kind_number(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Root => 0,
        KeyKind::Standard => 1,
    }
}

pub(super) fn kind_of(number: u8) -> Result<KeyKind, DecodeError> {
    match number {
        0 => Ok(KeyKind::Root),
        1 => Ok(KeyKind::Standard),
        _ => Err(DecodeError::Malformed("it has an unknown kind of key")),
    }
}

pub(super) fn state_of(number: u8) -> Result<KeyState, DecodeError> {
    KeyState::from_number(number).ok_or(DecodeError::Malformed("it has an unknown key state"))
}
