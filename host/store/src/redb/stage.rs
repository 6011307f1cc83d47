//! What a batch would change, worked out before anything is: a batch that is refused leaves no trace, because nothing
//! of it was written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use keygate_core::ids::{Alias, InstanceId, KeyId};
use keygate_core::key::{Key, KeyVersion};
use keygate_core::store::{Batch, Change, StoreError};
use redb::{ReadableTable, WriteTransaction};

use super::error::Trouble;
use super::open::table;
use crate::codec::{self, Summary};
use crate::schema::{self, Table};

type OpenTable<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The tables, as a write transaction sees them: with what earlier batches of the group have written.
pub(super) struct Tables<'t>([OpenTable<'t>; 5]);

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Trouble> {
        let [keys, summaries, versions, version_ids, aliases] = Table::ALL;
        Ok(Self([
            transaction.open_table(table(keys))?,
            transaction.open_table(table(summaries))?,
            transaction.open_table(table(versions))?,
            transaction.open_table(table(version_ids))?,
            transaction.open_table(table(aliases))?,
        ]))
    }

    fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self.0[table as usize].get(row)?.map(|value| value.value().to_vec()))
    }

    fn rows_of(&self, table: Table, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Trouble> {
        let (first, last) = schema::rows_of(prefix);
        let range = self.0[table as usize].range::<&[u8]>(first.as_slice()..=last.as_slice())?;
        range.map(|row| Ok(row?.0.value().to_vec())).collect()
    }

    /// Writes what a batch changes.
    pub(super) fn write(&mut self, changes: Changes) -> Result<(), Trouble> {
        for ((table, row), value) in changes {
            let table = &mut self.0[table as usize];
            match value {
                Some(value) => drop(table.insert(row.as_slice(), value.as_slice())?),
                None => drop(table.remove(row.as_slice())?),
            }
        }
        Ok(())
    }
}

/// Rows and what they are to be; `None` is gone.
pub(super) type Changes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// A batch in the making: the tables, and over them what the batch has changed so far.
pub(super) struct Stage<'s, 't> {
    tables: &'s Tables<'t>,
    changes: Changes,
}

impl<'s, 't> Stage<'s, 't> {
    /// Works out what a batch changes, one change after the other, each on top of those before it.
    pub(super) fn work_out(tables: &'s Tables<'t>, batch: &Batch) -> Result<Changes, Trouble> {
        let mut stage = Self { tables, changes: Changes::new() };
        for change in batch {
            match change {
                Change::InsertKey { key, version } => stage.insert_key(key, version)?,
                Change::UpdateKey { key } => stage.update_key(key)?,
                Change::InsertVersion { instance, key, version } => stage.insert_version(*instance, *key, version)?,
                Change::RemoveKey { instance, key, revision } => stage.remove_key(*instance, *key, *revision)?,
            }
        }
        Ok(stage.changes)
    }

    fn insert_key(&mut self, key: &Key, version: &KeyVersion) -> Result<(), Trouble> {
        if key.revision != 1 || self.key(key.instance, key.id)?.is_some() {
            return Err(StoreError::Conflict.into());
        }
        self.take_aliases(key)?;
        self.put_key(key)?;
        self.put_version(key.instance, key.id, version)
    }

    fn update_key(&mut self, key: &Key) -> Result<(), Trouble> {
        let before = self.key(key.instance, key.id)?.ok_or(StoreError::Conflict)?;
        if before.revision.checked_add(1) != Some(key.revision) {
            return Err(StoreError::Conflict.into());
        }
        self.take_aliases(key)?;
        let freed: Vec<Alias> = before.aliases.into_iter().filter(|alias| !key.aliases.contains(alias)).collect();
        self.free_aliases(key.instance, &freed);
        self.put_key(key)
    }

    fn insert_version(&mut self, instance: InstanceId, key: KeyId, version: &KeyVersion) -> Result<(), Trouble> {
        let there = self.key(instance, key)?.is_some();
        let by_id = schema::version_id_row(instance, key, version.id);
        let by_sequence = schema::version_row(instance, key, version.sequence);
        if !there
            || self.get(Table::VersionIds, &by_id)?.is_some()
            || self.get(Table::Versions, &by_sequence)?.is_some()
        {
            return Err(StoreError::Conflict.into());
        }
        self.put_version(instance, key, version)
    }

    fn remove_key(&mut self, instance: InstanceId, key: KeyId, revision: u64) -> Result<(), Trouble> {
        let before = self.key(instance, key)?.ok_or(StoreError::Conflict)?;
        if before.revision != revision {
            return Err(StoreError::Conflict.into());
        }
        self.free_aliases(instance, &before.aliases);
        let row = schema::key_row(instance, key);
        self.remove(Table::Keys, row.to_vec());
        self.remove(Table::Summaries, row.to_vec());
        self.remove_rows_of(Table::Versions, &row)?;
        self.remove_rows_of(Table::VersionIds, &row)
    }

    fn key(&self, instance: InstanceId, key: KeyId) -> Result<Option<Key>, Trouble> {
        let record = self.get(Table::Keys, &schema::key_row(instance, key))?;
        Ok(record.map(|record| decoded(instance, key, codec::decode_key(instance, key, &record))).transpose()?)
    }

    fn put_key(&mut self, key: &Key) -> Result<(), Trouble> {
        let row = schema::key_row(key.instance, key.id);
        self.put(Table::Keys, row.to_vec(), encoded(codec::encode_key(key))?);
        self.put(Table::Summaries, row.to_vec(), Summary::encode(key));
        Ok(())
    }

    fn put_version(&mut self, instance: InstanceId, key: KeyId, version: &KeyVersion) -> Result<(), Trouble> {
        let by_sequence = schema::version_row(instance, key, version.sequence);
        let by_id = schema::version_id_row(instance, key, version.id);
        self.put(Table::Versions, by_sequence.to_vec(), encoded(codec::encode_version(version))?);
        self.put(Table::VersionIds, by_id.to_vec(), codec::encode_sequence(version.sequence));
        Ok(())
    }

    fn take_aliases(&mut self, key: &Key) -> Result<(), Trouble> {
        for alias in &key.aliases {
            let row = schema::alias_row(key.instance, alias);
            match self.get(Table::Aliases, &row)? {
                Some(record) if decoded(key.instance, key.id, codec::decode_alias(&record))? != key.id => {
                    return Err(StoreError::AliasTaken(alias.clone()).into());
                }
                Some(_) => {}
                None => self.put(Table::Aliases, row, codec::encode_alias(key.id)),
            }
        }
        Ok(())
    }

    fn free_aliases(&mut self, instance: InstanceId, aliases: &[Alias]) {
        for alias in aliases {
            self.remove(Table::Aliases, schema::alias_row(instance, alias));
        }
    }

    fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        match self.changes.get(&(table, row.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.tables.get(table, row),
        }
    }

    fn put(&mut self, table: Table, row: Vec<u8>, value: Vec<u8>) {
        self.changes.insert((table, row), Some(value));
    }

    fn remove(&mut self, table: Table, row: Vec<u8>) {
        self.changes.insert((table, row), None);
    }

    fn remove_rows_of(&mut self, table: Table, prefix: &[u8]) -> Result<(), Trouble> {
        let (first, last) = schema::rows_of(prefix);
        for (_, value) in self.changes.range_mut((table, first)..=(table, last)) {
            *value = None;
        }
        for row in self.tables.rows_of(table, prefix)? {
            if let Entry::Vacant(change) = self.changes.entry((table, row)) {
                change.insert(None);
            }
        }
        Ok(())
    }
}

/// Names the key whose record cannot be read.
pub(super) fn decoded<T>(
    instance: InstanceId,
    key: KeyId,
    result: Result<T, codec::DecodeError>,
) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::Corrupt(format!("a record of key {key} of instance {instance}: {error}")))
}

fn encoded(result: Result<Vec<u8>, postcard::Error>) -> Result<Vec<u8>, StoreError> {
    result.map_err(|error| StoreError::Unavailable(format!("a record cannot be written: {error}")))
}
