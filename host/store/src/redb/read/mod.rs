//! Reading records. A view is the store at one moment, the same for all that read from it.

mod adopters;
mod instances;
mod migrations;
mod tenants;

use keygate_core::ids::{Alias, InstanceId, KeyId, VersionId};
use keygate_core::key::{Key, KeyVersion};
use keygate_core::store::{Page, PageRequest, StoreError};
use redb::{ReadOnlyTable, ReadTransaction};

use super::error::Trouble;
use super::open::{META_TABLE, table};
use super::stage::decoded;
use crate::codec;
use crate::schema::{self, META_FORMAT, Table};

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The store at one moment.
pub(super) struct View(pub(super) ReadTransaction);

impl View {
    pub(super) fn key(&self, instance: InstanceId, key: KeyId) -> Result<Option<Key>, Trouble> {
        read_key(&self.open(Table::Keys)?, instance, key)
    }

    /// The keys with these ids, all of which are there.
    pub(super) fn keys(&self, instance: InstanceId, ids: &[KeyId]) -> Result<Vec<Key>, Trouble> {
        let keys = self.open(Table::Keys)?;
        let read = |id: &KeyId| {
            let lost = || StoreError::Corrupt(format!("key {id} of instance {instance} is listed and has no record"));
            Ok(read_key(&keys, instance, *id)?.ok_or_else(lost)?)
        };
        ids.iter().map(read).collect()
    }

    /// Shows the record of every key there is, or why it cannot be read.
    pub(super) fn for_each_key(
        &self,
        mut show: impl FnMut(InstanceId, KeyId, Result<Key, codec::DecodeError>),
    ) -> Result<(), Trouble> {
        for row in self.open(Table::Keys)?.range::<&[u8]>(..)? {
            let (row, record) = row?;
            let Some((instance, key)) = schema::key_of_row(row.value()) else {
                return Err(StoreError::Corrupt("a row of the keys is of no key".to_owned()).into());
            };
            show(instance, key, codec::decode_key(instance, key, record.value()));
        }
        Ok(())
    }

    pub(super) fn key_by_alias(&self, instance: InstanceId, alias: &Alias) -> Result<Option<Key>, Trouble> {
        let aliases = self.open(Table::Aliases)?;
        let Some(record) = aliases.get(schema::alias_row(instance, alias).as_slice())? else { return Ok(None) };
        let id = codec::decode_key_id(record.value())
            .map_err(|error| StoreError::Corrupt(format!("alias {alias} of instance {instance}: {error}")))?;
        match self.key(instance, id)? {
            Some(key) => Ok(Some(key)),
            None => {
                Err(StoreError::Corrupt(format!("alias {alias} of instance {instance} names a key that is not there"))
                    .into())
            }
        }
    }

    pub(super) fn version(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> Result<Option<KeyVersion>, Trouble> {
        let ids = self.open(Table::VersionIds)?;
        let Some(record) = ids.get(schema::version_id_row(instance, key, version).as_slice())? else { return Ok(None) };
        let sequence = decoded(instance, key, codec::decode_sequence(record.value()))?;
        let versions = self.open(Table::Versions)?;
        match versions.get(schema::version_row(instance, key, sequence).as_slice())? {
            Some(record) => Ok(Some(decoded(instance, key, codec::decode_version(sequence, record.value()))?)),
            None => {
                Err(StoreError::Corrupt(format!("version {version} of key {key} of instance {instance} is not there"))
                    .into())
            }
        }
    }

    pub(super) fn versions(
        &self,
        instance: InstanceId,
        key: KeyId,
        page: PageRequest,
    ) -> Result<Page<KeyVersion>, Trouble> {
        let prefix = schema::key_row(instance, key);
        // Counted where the records are small.
        let total = self.count_rows(Table::VersionIds, &prefix)?;
        let mut items = Vec::new();
        let versions = self.open(Table::Versions)?;
        let (first, last) = schema::rows_of(&prefix);
        let newest_first = versions.range::<&[u8]>((first, last.as_ref().map(Vec::as_slice)))?.rev();
        for row in newest_first.skip(page.offset).take(page.limit) {
            let (row, record) = row?;
            let sequence = row.value().last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            items.push(decoded(instance, key, codec::decode_version(sequence, record.value()))?);
        }
        Ok(Page { items, total })
    }

    /// Shows that the store can be read.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        match self.0.open_table(META_TABLE)?.get(META_FORMAT)? {
            Some(_) => Ok(()),
            None => Err(StoreError::Corrupt("the store has lost its format number".to_owned()).into()),
        }
    }

    /// Shows the rows that begin with a prefix, in their order.
    fn for_each_row(
        &self,
        table: Table,
        prefix: &[u8],
        mut show: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), Trouble> {
        let (first, last) = schema::rows_of(prefix);
        for row in self.open(table)?.range::<&[u8]>((first, last.as_ref().map(Vec::as_slice)))? {
            let (row, record) = row?;
            show(row.value(), record.value())?;
        }
        Ok(())
    }

    fn count_rows(&self, table: Table, prefix: &[u8]) -> Result<usize, Trouble> {
        let mut count = 0;
        self.for_each_row(table, prefix, |_, _| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    fn record(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self.open(table)?.get(row)?.map(|record| record.value().to_vec()))
    }

    fn open(&self, name: Table) -> Result<OpenTable, Trouble> {
        Ok(self.0.open_table(table(name))?)
    }
}

fn read_key(keys: &OpenTable, instance: InstanceId, key: KeyId) -> Result<Option<Key>, Trouble> {
    match keys.get(schema::key_row(instance, key).as_slice())? {
        Some(record) => Ok(Some(decoded(instance, key, codec::decode_key(instance, key, record.value()))?)),
        None => Ok(None),
    }
}
