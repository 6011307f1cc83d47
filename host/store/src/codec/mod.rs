//! How records are written. The first byte of every record is its format number; the rest is postcard of a structure in
//! here that never changes once a release has written it. The domain's own types are never written, so that they can
//! change: a new field means a new structure and a new number, and the old ones stay readable.
//!
//! What stands in a row's key is not repeated in its record.

mod adopters;
mod instances;
mod keys;
mod migrations;
mod tenants;

use keygate_core::clock::Timestamp;
use keygate_core::ids::KeyId;
use keygate_core::key::Stamp;
use serde::{Deserialize, Serialize};

pub(crate) use adopters::{decode_event, decode_registration, encode_event, encode_registration};
pub(crate) use instances::{
    decode_import_token, decode_policies, decode_ring, encode_import_token, encode_policies, encode_ring,
};
pub(crate) use keys::{decode_key, decode_version, encode_key, encode_version};
pub(crate) use migrations::{decode_migration, decode_stay, encode_migration, encode_stay};
pub(crate) use tenants::{decode_authorization, decode_instance, encode_authorization, encode_instance};

const FORMAT_1: u8 = 1;
const FORMAT_2: u8 = 2;

/// Why a record cannot be read. Says what to do, where something can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// From the future.
    #[error(
        "its format is {found}, and this Keygate reads its formats up to {known}: a newer Keygate wrote it; run that \
         version or a later one"
    )]
    Newer {
        /// Its format.
        found: u8,
        /// The newest that this program reads of such records.
        known: u8,
    },
    /// No bytes, or a number that no version ever wrote.
    #[error("it does not begin with a format number; restore the store from a backup")]
    NoFormat,
    /// Not what its format says.
    #[error("{0}; restore the store from a backup")]
    Malformed(&'static str),
}

/// What came of writing a record. It fails when there is no memory, or a number is too large for it.
pub(crate) type Encoded = Result<Vec<u8>, postcard::Error>;

/// When something was done and by whom. Frozen.
#[derive(Serialize, Deserialize)]
struct StampV1<'a> {
    at_ms: u64,
    by: &'a str,
}

impl<'a> From<&'a Stamp> for StampV1<'a> {
    fn from(stamp: &'a Stamp) -> Self {
        Self { at_ms: stamp.at.unix_ms(), by: &stamp.by }
    }
}

impl From<StampV1<'_>> for Stamp {
    fn from(record: StampV1<'_>) -> Self {
        Self { at: Timestamp::from_unix_ms(record.at_ms), by: record.by.to_owned() }
    }
}

/// Writes the key that something belongs to: the format number and the id.
pub(crate) fn encode_key_id(key: KeyId) -> Vec<u8> {
    [&[FORMAT_1], key.as_bytes().as_slice()].concat()
}

/// Reads the key that something belongs to.
pub(crate) fn decode_key_id(record: &[u8]) -> Result<KeyId, DecodeError> {
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

/// Writes how many keys a ring has: the format number and 8 bytes, highest first.
pub(crate) fn encode_ring_size(size: u64) -> Vec<u8> {
    [&[FORMAT_1], size.to_be_bytes().as_slice()].concat()
}

/// Reads how many keys a ring has.
pub(crate) fn decode_ring_size(record: &[u8]) -> Result<u64, DecodeError> {
    let size = body(record)?.try_into().map_err(|_| DecodeError::Malformed("it is not a number of keys"))?;
    Ok(u64::from_be_bytes(size))
}

/// The record of a row whose key says everything.
pub(crate) fn encode_mark() -> Vec<u8> {
    vec![FORMAT_1]
}

/// The format number of a record and what is behind it, where it is one of those known.
fn format(record: &[u8], known: u8) -> Result<(u8, &[u8]), DecodeError> {
    match record {
        [0, ..] | [] => Err(DecodeError::NoFormat),
        [found, ..] if *found > known => Err(DecodeError::Newer { found: *found, known }),
        [format, body @ ..] => Ok((*format, body)),
    }
}

/// What is behind the format number of a record that has had one format only.
fn body(record: &[u8]) -> Result<&[u8], DecodeError> {
    Ok(format(record, FORMAT_1)?.1)
}

/// Reads a structure from exactly these bytes. Postcard alone would leave bytes over without a word.
fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        Ok(_) => Err(DecodeError::Malformed("it has bytes left over")),
        Err(_) => Err(DecodeError::Malformed("it is not what its format says")),
    }
}

#[cfg(test)]
pub(crate) mod tests;
