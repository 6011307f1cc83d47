//! Making a store of an older format into one of the newest, in place and in one transaction: a crash leaves the old one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_core::key::{Key, Stamp};
use keygate_core::ring::KeyRing;
use keygate_core::store::StoreError;
use redb::{Database, ReadableTable, WriteTransaction};

use super::error::Trouble;
use super::open::{Bytes, META_TABLE, table};
use crate::codec;
use crate::schema::{self, META_FORMAT, STORE_FORMAT, SUMMARIES_OF_FORMAT_1, Table};

/// Makes all tables of the newest format that are not there, and sets its number.
pub(super) fn make_tables(transaction: &WriteTransaction) -> Result<(), Trouble> {
    for name in Table::ALL {
        transaction.open_table(table(name))?;
    }
    transaction.open_table(META_TABLE)?.insert(META_FORMAT, STORE_FORMAT.to_be_bytes().as_slice())?;
    Ok(())
}

/// From format 2, which had neither instances, authorizations nor migrations. Nothing of what is there changes.
pub(super) fn from_format_2(database: &Database) -> Result<(), Trouble> {
    let transaction = super::writer::begin(database)?;
    make_tables(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// From format 1, in which a key could be in a ring that nobody had made: such rings are made, by whoever made the first
/// key in them. Records of keys stay as they are until they are next changed. One that cannot be read keeps the store as it is.
pub(super) fn from_format_1(database: &Database) -> Result<(), Trouble> {
    let transaction = super::writer::begin(database)?;
    transaction.delete_table(Bytes::new(SUMMARIES_OF_FORMAT_1))?;
    make_tables(&transaction)?;
    {
        let keys = transaction.open_table(table(Table::Keys))?;
        let mut rings = transaction.open_table(table(Table::Rings))?;
        let mut sizes = transaction.open_table(table(Table::RingSizes))?;
        for ((instance, id), (size, created)) in rings_of(&keys)? {
            let row = schema::ring_row(instance, &id);
            let record = codec::encode_ring(&KeyRing { instance, id, created })
                .map_err(|error| StoreError::Unavailable(format!("a record cannot be written: {error}")))?;
            rings.insert(row.as_slice(), record.as_slice())?;
            sizes.insert(row.as_slice(), codec::encode_ring_size(size).as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Rings with how many keys are in them, and when the first of these was made by whom.
type Rings = BTreeMap<(InstanceId, KeyRingId), (u64, Stamp)>;

/// The rings but `default` that keys are in.
fn rings_of(keys: &impl ReadableTable<&'static [u8], &'static [u8]>) -> Result<Rings, Trouble> {
    let mut rings = Rings::new();
    for row in keys.range::<&[u8]>(..)? {
        let (row, record) = row?;
        let Some((instance, id)) = schema::key_of_row(row.value()) else { continue };
        // Nobody could say which ring it is in, and the store of the older format is there to mend it.
        let unreadable = |error| {
            let text = format!("the store is not upgraded: the record of key {id} of instance {instance}: {error}");
            StoreError::Corrupt(text)
        };
        let key = codec::decode_key(instance, id, record.value()).map_err(unreadable)?;
        let Key { ring, created_at, created_by, .. } = key;
        if ring.is_default() {
            continue;
        }
        let made = Stamp { at: created_at, by: created_by };
        match rings.entry((instance, ring)) {
            Entry::Vacant(ring) => drop(ring.insert((1, made))),
            Entry::Occupied(mut ring) => {
                let (size, first): &mut (u64, Stamp) = ring.get_mut();
                *size += 1;
                if made.at < first.at {
                    *first = made;
                }
            }
        }
    }
    Ok(rings)
}
