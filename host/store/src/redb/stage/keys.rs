//! Changes of keys, their versions and their aliases.

use keygate_core::ids::{Alias, InstanceId, KeyId};
use keygate_core::key::{Key, KeyVersion};
use keygate_core::store::StoreError;

use super::super::error::Trouble;
use super::{Effect, Stage, decoded, encoded, require};
use crate::codec;
use crate::index::Entry;
use crate::schema::{self, Table};

impl Stage<'_, '_> {
    pub(super) fn insert_key(&mut self, key: &Key, version: &KeyVersion) -> Result<(), Trouble> {
        require(key.revision == 1 && !self.has_key(key.instance, key.id)?)?;
        self.require_ring(key.instance, &key.ring)?;
        self.take_aliases(key)?;
        self.count_in_ring(key.instance, &key.ring, true)?;
        self.put_key(key)?;
        self.put_version(key.instance, key.id, version)
    }

    pub(super) fn update_key(&mut self, key: &Key) -> Result<(), Trouble> {
        let before = self.key(key.instance, key.id)?.ok_or(StoreError::Conflict)?;
        require(before.revision.checked_add(1) == Some(key.revision))?;
        self.require_ring(key.instance, &key.ring)?;
        self.take_aliases(key)?;
        let freed = before.alias_names().filter(|alias| key.alias_names().all(|kept| kept != *alias));
        self.free_aliases(key.instance, freed);
        if before.ring != key.ring {
            self.count_in_ring(key.instance, &before.ring, false)?;
            self.count_in_ring(key.instance, &key.ring, true)?;
        }
        self.put_key(key)
    }

    pub(super) fn insert_version(
        &mut self,
        instance: InstanceId,
        key: KeyId,
        version: &KeyVersion,
    ) -> Result<(), Trouble> {
        let by_id = schema::version_id_row(instance, key, version.id);
        let by_sequence = schema::version_row(instance, key, version.sequence);
        let there = self.has(Table::VersionIds, &by_id)? || self.has(Table::Versions, &by_sequence)?;
        require(self.has_key(instance, key)? && !there)?;
        self.put_version(instance, key, version)
    }

    pub(super) fn update_version(
        &mut self,
        instance: InstanceId,
        key: KeyId,
        before: &KeyVersion,
        after: &KeyVersion,
    ) -> Result<(), Trouble> {
        let owner = self.key(instance, key)?.ok_or(StoreError::Conflict)?;
        require(!owner.purging && before.id == after.id && before.sequence == after.sequence)?;
        let row = schema::version_row(instance, key, before.sequence);
        let record = self.get(Table::Versions, &row)?.ok_or(StoreError::Conflict)?;
        let stored = decoded(instance, key, codec::decode_version(before.sequence, &record))?;
        require(stored == *before)?;
        self.put_version(instance, key, after)
    }

    pub(super) fn remove_key(&mut self, instance: InstanceId, key: KeyId, revision: u64) -> Result<(), Trouble> {
        let before = self.key(instance, key)?.ok_or(StoreError::Conflict)?;
        require(before.revision == revision)?;
        self.free_aliases(instance, before.alias_names());
        self.count_in_ring(instance, &before.ring, false)?;
        let row = schema::key_row(instance, key);
        self.remove(Table::Keys, row);
        self.remove_rows_of(Table::Versions, &row)?;
        self.remove_rows_of(Table::VersionIds, &row)?;
        self.remove_adopters(instance, key)?;
        self.effects.push(Effect::Key(instance, key, None));
        Ok(())
    }

    /// Whether there is such a key, whether or not its record can be read.
    pub(super) fn has_key(&self, instance: InstanceId, key: KeyId) -> Result<bool, Trouble> {
        self.has(Table::Keys, &schema::key_row(instance, key))
    }

    fn key(&self, instance: InstanceId, key: KeyId) -> Result<Option<Key>, Trouble> {
        let record = self.get(Table::Keys, &schema::key_row(instance, key))?;
        Ok(record.map(|record| decoded(instance, key, codec::decode_key(instance, key, &record))).transpose()?)
    }

    fn put_key(&mut self, key: &Key) -> Result<(), Trouble> {
        self.put(Table::Keys, schema::key_row(key.instance, key.id), encoded(codec::encode_key(key))?);
        self.effects.push(Effect::Key(key.instance, key.id, Some(Entry::of(key))));
        Ok(())
    }

    fn put_version(&mut self, instance: InstanceId, key: KeyId, version: &KeyVersion) -> Result<(), Trouble> {
        let by_sequence = schema::version_row(instance, key, version.sequence);
        let by_id = schema::version_id_row(instance, key, version.id);
        self.put(Table::Versions, by_sequence, encoded(codec::encode_version(version))?);
        self.put(Table::VersionIds, by_id, codec::encode_sequence(version.sequence));
        Ok(())
    }

    fn take_aliases(&mut self, key: &Key) -> Result<(), Trouble> {
        for alias in key.alias_names() {
            let row = schema::alias_row(key.instance, alias);
            match self.get(Table::Aliases, &row)? {
                Some(record) if decoded(key.instance, key.id, codec::decode_key_id(&record))? != key.id => {
                    return Err(StoreError::AliasTaken(alias.clone()).into());
                }
                Some(_) => {}
                None => self.put(Table::Aliases, row, codec::encode_key_id(key.id)),
            }
        }
        Ok(())
    }

    fn free_aliases<'a>(&mut self, instance: InstanceId, aliases: impl Iterator<Item = &'a Alias>) {
        for alias in aliases {
            self.remove(Table::Aliases, schema::alias_row(instance, alias));
        }
    }
}
