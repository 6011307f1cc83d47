//! Reading. Each call has a read transaction of its own, which it gives back before it answers: an open one keeps the
//! engine from using freed pages again.

use keygate_core::ids::{Alias, InstanceId, KeyId, VersionId};
use keygate_core::key::{Key, KeyVersion};
use keygate_core::store::{KeyFilter, Page, PageRequest, StoreError};
use redb::{ReadOnlyTable, ReadTransaction};

use super::error::Trouble;
use super::open::{META_TABLE, table};
use super::stage::decoded;
use crate::codec::{self, Summary};
use crate::schema::{self, META_FORMAT, Table};

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The store at one moment.
pub(super) struct View(pub(super) ReadTransaction);

impl View {
    pub(super) fn key(&self, instance: InstanceId, key: KeyId) -> Result<Option<Key>, Trouble> {
        read_key(&self.open(Table::Keys)?, instance, key)
    }

    pub(super) fn key_by_alias(&self, instance: InstanceId, alias: &Alias) -> Result<Option<Key>, Trouble> {
        let aliases = self.open(Table::Aliases)?;
        let Some(record) = aliases.get(schema::alias_row(instance, alias).as_slice())? else { return Ok(None) };
        let id = codec::decode_alias(record.value())
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
        let (first, last) = schema::rows_of(&schema::key_row(instance, key));
        let (first, last) = (first.as_slice(), last.as_slice());
        // Counted where the records are small.
        let mut total = 0;
        for row in self.open(Table::VersionIds)?.range::<&[u8]>(first..=last)? {
            row?;
            total += 1;
        }
        let mut items = Vec::new();
        let newest_first = self.open(Table::Versions)?.range::<&[u8]>(first..=last)?.rev();
        for row in newest_first.skip(page.offset).take(page.limit) {
            let (row, record) = row?;
            let sequence = row.value().last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            items.push(decoded(instance, key, codec::decode_version(sequence, record.value()))?);
        }
        Ok(Page { items, total })
    }

    pub(super) fn keys(
        &self,
        instance: InstanceId,
        filter: &KeyFilter,
        page: PageRequest,
    ) -> Result<Page<Key>, Trouble> {
        let mut ids = Vec::new();
        let total = self.scan(instance, filter, |position, id| {
            if position >= page.offset && ids.len() < page.limit {
                ids.push(id);
            }
        })?;
        let keys = self.open(Table::Keys)?;
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            let key = read_key(&keys, instance, id)?;
            items.push(key.ok_or_else(|| {
                StoreError::Corrupt(format!("key {id} of instance {instance} has a summary and no record"))
            })?);
        }
        Ok(Page { items, total })
    }

    pub(super) fn count(&self, instance: InstanceId, filter: &KeyFilter) -> Result<usize, Trouble> {
        self.scan(instance, filter, |_, _| {})
    }

    /// Shows that the store can be read.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        match self.0.open_table(META_TABLE)?.get(META_FORMAT)? {
            Some(_) => Ok(()),
            None => Err(StoreError::Corrupt("the store has lost its format number".to_owned()).into()),
        }
    }

    /// Shows the keys that a filter lets through, each with its position among them, and counts them.
    fn scan(
        &self,
        instance: InstanceId,
        filter: &KeyFilter,
        mut found: impl FnMut(usize, KeyId),
    ) -> Result<usize, Trouble> {
        let (first, last) = schema::rows_of(instance.as_bytes());
        let mut total = 0;
        for row in self.open(Table::Summaries)?.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
            let (row, record) = row?;
            let Some(key) = schema::key_of_row(row.value()) else {
                return Err(StoreError::Corrupt(format!("a summary of instance {instance} is of no key")).into());
            };
            if decoded(instance, key, Summary::decode(record.value()))?.matches(filter) {
                found(total, key);
                total += 1;
            }
        }
        Ok(total)
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
