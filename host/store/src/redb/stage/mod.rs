//! What a batch would change, worked out before anything is: a batch that is refused leaves no trace, because nothing
//! of it was written.

mod adopters;
mod instances;
mod keys;
mod migrations;
mod tenants;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keygate_core::ids::{InstanceId, KeyId};
use keygate_core::policy::InstancePolicies;
use keygate_core::store::{Batch, Change, StoreError};
use redb::{ReadableTable, WriteTransaction};

use super::error::Trouble;
use super::open::table;
use crate::codec;
use crate::index::Entry;
use crate::schema::{self, Table};

type OpenTable<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The tables, as a write transaction sees them: with what earlier batches of the group have written. Each stands at its
/// position in [`Table::ALL`].
pub(super) struct Tables<'t>(Vec<OpenTable<'t>>);

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Trouble> {
        let open = |name| Ok(transaction.open_table(table(name))?);
        Ok(Self(Table::ALL.into_iter().map(open).collect::<Result<_, Trouble>>()?))
    }

    fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self.0[table as usize].get(row)?.map(|value| value.value().to_vec()))
    }

    fn rows_of(&self, table: Table, prefix: &[u8]) -> Result<BTreeSet<Vec<u8>>, Trouble> {
        let (first, last) = schema::rows_of(prefix);
        let last = last.as_ref().map(Vec::as_slice);
        let range = self.0[table as usize].range::<&[u8]>((first, last))?;
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

/// What a batch changes of what is kept in memory.
pub(super) enum Effect {
    /// A key, as it is now; `None` is gone.
    Key(InstanceId, KeyId, Option<Entry>),
    /// The policies of an instance.
    Policies(InstanceId, Arc<InstancePolicies>),
}

/// A batch in the making: the tables, and over them what the batch has changed so far.
pub(super) struct Stage<'s, 't> {
    tables: &'s Tables<'t>,
    changes: Changes,
    effects: Vec<Effect>,
}

impl<'s, 't> Stage<'s, 't> {
    /// Works out what a batch changes, one change after the other, each on top of those before it: on the disk, and in
    /// memory once that is done.
    pub(super) fn work_out(tables: &'s Tables<'t>, batch: &Batch) -> Result<(Changes, Vec<Effect>), Trouble> {
        let mut stage = Self { tables, changes: Changes::new(), effects: Vec::new() };
        for change in batch {
            match change {
                Change::InsertKey { key, version } => stage.insert_key(key, version)?,
                Change::UpdateKey { key } => stage.update_key(key)?,
                Change::InsertVersion { instance, key, version } => stage.insert_version(*instance, *key, version)?,
                Change::UpdateVersion { instance, key, before, after } => {
                    stage.update_version(*instance, *key, before, after)?;
                }
                Change::PutMigration { migration } => stage.put_migration(migration)?,
                Change::PutStay { instance, stay } => stage.put_stay(*instance, stay)?,
                Change::RemoveKey { instance, key, revision } => stage.remove_key(*instance, *key, *revision)?,
                Change::InsertRing { ring, at_most } => stage.insert_ring(ring, *at_most)?,
                Change::RemoveRing { instance, ring } => stage.remove_ring(*instance, ring)?,
                Change::PutPolicies { instance, policies } => stage.put_policies(*instance, policies)?,
                Change::PutImportToken { token } => stage.put_import_token(token)?,
                Change::PutRegistration { registration } => stage.put_registration(registration)?,
                Change::RemoveRegistration { instance, key, crn, revision } => {
                    stage.remove_registration(*instance, *key, crn, *revision)?;
                }
                Change::InsertEvent { event } => stage.insert_event(event)?,
                Change::RemoveEvent { instance, event } => stage.remove_event(*instance, *event)?,
                Change::PutInstance { instance } => stage.put_instance(instance)?,
                Change::RequireInstance { instance } => stage.require_instance(*instance)?,
                Change::RemoveInstance { instance, revision } => stage.remove_instance(*instance, *revision)?,
                Change::InsertAuthorization { authorization } => stage.insert_authorization(authorization)?,
                Change::RemoveAuthorization { source, target } => stage.remove_authorization(*source, *target)?,
            }
        }
        Ok((stage.changes, stage.effects))
    }

    fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        match self.changes.get(&(table, row.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.tables.get(table, row),
        }
    }

    fn has(&self, table: Table, row: &[u8]) -> Result<bool, Trouble> {
        Ok(self.get(table, row)?.is_some())
    }

    fn put(&mut self, table: Table, row: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.changes.insert((table, row.into()), Some(value));
    }

    fn remove(&mut self, table: Table, row: impl Into<Vec<u8>>) {
        self.changes.insert((table, row.into()), None);
    }

    /// The rows that begin with a prefix, as they are by now.
    fn rows_of(&self, table: Table, prefix: &[u8]) -> Result<BTreeSet<Vec<u8>>, Trouble> {
        let mut rows = self.tables.rows_of(table, prefix)?;
        let changed = self.changes.range((table, prefix.to_vec())..);
        for ((_, row), value) in changed.take_while(|((of, row), _)| *of == table && row.starts_with(prefix)) {
            match value {
                Some(_) => rows.insert(row.clone()),
                None => rows.remove(row),
            };
        }
        Ok(rows)
    }

    fn remove_rows_of(&mut self, table: Table, prefix: &[u8]) -> Result<(), Trouble> {
        for row in self.rows_of(table, prefix)? {
            self.remove(table, row);
        }
        Ok(())
    }
}

/// Fails unless what the change builds on is so.
fn require(is_so: bool) -> Result<(), StoreError> {
    if is_so { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Names the key whose record cannot be read, or that of something it has.
pub(super) fn decoded<T>(
    instance: InstanceId,
    key: KeyId,
    result: Result<T, codec::DecodeError>,
) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::Corrupt(format!("a record of key {key} of instance {instance}: {error}")))
}

/// Names the instance of which a record cannot be read, and what it is of.
pub(super) fn decoded_of<T>(
    instance: InstanceId,
    what: &str,
    result: Result<T, codec::DecodeError>,
) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::Corrupt(format!("{what} of instance {instance}: {error}")))
}

fn encoded(result: codec::Encoded) -> Result<Vec<u8>, StoreError> {
    result.map_err(|error| StoreError::Unavailable(format!("a record cannot be written: {error}")))
}
