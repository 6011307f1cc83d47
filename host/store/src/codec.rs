//! How records are written. The first byte of every record is its format number; the rest is postcard of a structure in
//! here that never changes once a release has written it. The domain's own types are never written, so that they can
//! change: a new field means a new structure and a new number, and the old ones stay readable.

use keygate_core::clock::Timestamp;
use keygate_core::ids::{Alias, InstanceId, KeyId, KeyRingId, VersionId};
use keygate_core::key::{Deletion, Key, KeyKind, KeyRef, KeyState, KeyVersion};
use keygate_core::store::KeyFilter;
use serde::{Deserialize, Serialize};

const FORMAT_1: u8 = 1;
const NEWEST: u8 = FORMAT_1;

/// Why a record cannot be read. Says what to do, where something can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// From the future.
    #[error(
        "its format is {0}, and this Keygate reads formats up to {NEWEST}: a newer Keygate wrote it; run that version or \
         a later one"
    )]
    Newer(u8),
    /// No bytes, or a number that no version ever wrote.
    #[error("it does not begin with a format number; restore the store from a backup")]
    NoFormat,
    /// Not what its format says.
    #[error("{0}; restore the store from a backup")]
    Malformed(&'static str),
}

/// A key, format 1. Which key and whose is in the row's key. Frozen.
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
    deletion: Option<DeletionV1<'a>>,
    revision: u64,
}

/// That a key was deleted, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct DeletionV1<'a> {
    at_ms: u64,
    by: &'a str,
}

/// A key version, format 1. Whose it is and its sequence are in the row's key. Frozen.
#[derive(Serialize, Deserialize)]
struct VersionRecordV1<'a> {
    id: [u8; 16],
    created_at_ms: u64,
    backend: &'a str,
    reference: &'a [u8],
}

/// What stands in a summary for the instant at which a key expires when it never does. No timestamp goes so far.
const NEVER_MS: u64 = u64::MAX;

/// What lists filter by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary<'a> {
    state: KeyState,
    kind: KeyKind,
    expires_at: Option<Timestamp>,
    ring: &'a str,
}

impl<'a> Summary<'a> {
    /// Format 1: the format number, the state's number, the kind's number, the instant at which it expires in
    /// milliseconds since the epoch (8 bytes, highest first; [`NEVER_MS`] when it does not), the ring's text.
    pub(crate) fn encode(key: &Key) -> Vec<u8> {
        let mut record = vec![FORMAT_1, key.state.number(), kind_number(key.kind)];
        record.extend_from_slice(&key.expires_at.map_or(NEVER_MS, Timestamp::unix_ms).to_be_bytes());
        record.extend_from_slice(key.ring.as_str().as_bytes());
        record
    }

    /// Reads it.
    pub(crate) fn decode(record: &'a [u8]) -> Result<Self, DecodeError> {
        let Some(([state, kind, expires_at @ ..], ring)) = body(record)?.split_first_chunk::<10>() else {
            return Err(DecodeError::Malformed("it ends too early"));
        };
        let expires_at = match u64::from_be_bytes(*expires_at) {
            NEVER_MS => None,
            ms => Some(Timestamp::from_unix_ms(ms)),
        };
        let ring = std::str::from_utf8(ring).map_err(|_| DecodeError::Malformed("its key ring is not UTF-8"))?;
        Ok(Self { state: state_of(*state)?, kind: kind_of(*kind)?, expires_at, ring })
    }

    /// What [`KeyFilter::matches`] says of the key.
    pub(crate) fn matches(&self, filter: &KeyFilter) -> bool {
        // Taken apart, so that a new field of the filter cannot be overlooked here.
        let KeyFilter { states, kind, ring, at } = filter;
        states.contains(&self.state_at(*at))
            && kind.is_none_or(|kind| kind == self.kind)
            && ring.as_ref().is_none_or(|ring| ring.as_str() == self.ring)
    }

    /// What [`Key::state_at`] says of the key.
    fn state_at(&self, now: Timestamp) -> KeyState {
        match self.expires_at {
            Some(at) if self.state == KeyState::Active && at <= now => KeyState::Deactivated,
            _ => self.state,
        }
    }
}

/// Writes a key.
pub(crate) fn encode_key(key: &Key) -> Result<Vec<u8>, postcard::Error> {
    let record = KeyRecordV1 {
        name: &key.name,
        description: key.description.as_deref(),
        aliases: key.aliases.iter().map(Alias::as_str).collect(),
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
        deletion: key.deletion.as_ref().map(|deletion| DeletionV1 { at_ms: deletion.at.unix_ms(), by: &deletion.by }),
        revision: key.revision,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads a key.
pub(crate) fn decode_key(instance: InstanceId, id: KeyId, record: &[u8]) -> Result<Key, DecodeError> {
    let record: KeyRecordV1<'_> = whole(body(record)?)?;
    let aliases: Result<Vec<Alias>, _> = record.aliases.into_iter().map(Alias::parse).collect();
    Ok(Key {
        instance,
        id,
        name: record.name.to_owned(),
        description: record.description.map(str::to_owned),
        aliases: aliases.map_err(|_| DecodeError::Malformed("one of its aliases is not an alias"))?,
        tags: record.tags.into_iter().map(str::to_owned).collect(),
        kind: kind_of(record.kind)?,
        imported: record.imported,
        bits: record.bits,
        state: state_of(record.state)?,
        ring: KeyRingId::parse(record.ring).map_err(|_| DecodeError::Malformed("its key ring is not a key ring"))?,
        created_at: Timestamp::from_unix_ms(record.created_at_ms),
        created_by: record.created_by.to_owned(),
        updated_at: Timestamp::from_unix_ms(record.updated_at_ms),
        rotated_at: record.rotated_at_ms.map(Timestamp::from_unix_ms),
        expires_at: record.expires_at_ms.map(Timestamp::from_unix_ms),
        current_version: VersionId::from_bytes(record.current_version),
        current_version_created_at: Timestamp::from_unix_ms(record.current_version_created_at_ms),
        version_count: record.version_count,
        deletion: record
            .deletion
            .map(|deletion| Deletion { at: Timestamp::from_unix_ms(deletion.at_ms), by: deletion.by.to_owned() }),
        revision: record.revision,
    })
}

/// Writes a key version.
pub(crate) fn encode_version(version: &KeyVersion) -> Result<Vec<u8>, postcard::Error> {
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
    let record: VersionRecordV1<'_> = whole(body(record)?)?;
    Ok(KeyVersion {
        id: VersionId::from_bytes(record.id),
        sequence,
        created_at: Timestamp::from_unix_ms(record.created_at_ms),
        key_ref: KeyRef { backend: record.backend.to_owned(), reference: record.reference.to_vec() },
    })
}

/// Writes the key that an alias names: the format number and the id.
pub(crate) fn encode_alias(key: KeyId) -> Vec<u8> {
    [&[FORMAT_1], key.as_bytes().as_slice()].concat()
}

/// Reads the key that an alias names.
pub(crate) fn decode_alias(record: &[u8]) -> Result<KeyId, DecodeError> {
    let id = body(record)?.try_into().map_err(|_| DecodeError::Malformed("it is not a key id"))?;
    Ok(KeyId::from_bytes(id))
}

/// Writes the sequence that a version id stands for: the format number and 4 bytes, highest first.
pub(crate) fn encode_sequence(sequence: u32) -> Vec<u8> {
    [&[FORMAT_1], sequence.to_be_bytes().as_slice()].concat()
}

/// Reads the sequence that a version id stands for.
pub(crate) fn decode_sequence(record: &[u8]) -> Result<u32, DecodeError> {
    let sequence = body(record)?.try_into().map_err(|_| DecodeError::Malformed("it is not a sequence"))?;
    Ok(u32::from_be_bytes(sequence))
}

/// The record behind its format number.
fn body(record: &[u8]) -> Result<&[u8], DecodeError> {
    match record {
        [FORMAT_1, body @ ..] => Ok(body),
        [newer, ..] if *newer > NEWEST => Err(DecodeError::Newer(*newer)),
        _ => Err(DecodeError::NoFormat),
    }
}

/// Reads a structure from exactly these bytes. Postcard alone would leave bytes over without a word.
fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err(DecodeError::Malformed("it has bytes left over")),
        Err(_) => Err(DecodeError::Malformed("it is not what its format says")),
    }
}

const fn kind_number(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Root => 0,
        KeyKind::Standard => 1,
    }
}

fn kind_of(number: u8) -> Result<KeyKind, DecodeError> {
    match number {
        0 => Ok(KeyKind::Root),
        1 => Ok(KeyKind::Standard),
        _ => Err(DecodeError::Malformed("it has an unknown kind of key")),
    }
}

fn state_of(number: u8) -> Result<KeyState, DecodeError> {
    KeyState::from_number(number).ok_or(DecodeError::Malformed("it has an unknown key state"))
}

#[cfg(test)]
mod tests;
