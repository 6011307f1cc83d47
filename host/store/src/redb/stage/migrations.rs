//! Changes of migrations.

use keygate_core::ids::InstanceId;
use keygate_core::migration::{Migration, Stay};

use super::super::error::Trouble;
use super::{Stage, decoded_of, encoded, require};
use crate::codec;
use crate::schema::{self, Table};

impl Stage<'_, '_> {
    pub(super) fn put_migration(&mut self, migration: &Migration) -> Result<(), Trouble> {
        let row = schema::instance_row(migration.instance);
        let before = match self.get(Table::Migrations, &row)? {
            Some(record) => {
                let before = codec::decode_migration(migration.instance, &record);
                Some(decoded_of(migration.instance, "the migration", before)?)
            }
            None => None,
        };
        let revision = before.as_ref().map_or(0, |before| before.revision);
        require(revision.checked_add(1) == Some(migration.revision))?;
        if before.is_some_and(|before| before.id != migration.id) {
            self.remove_rows_of(Table::MigrationStays, &row)?;
        }
        self.put(Table::Migrations, row, encoded(codec::encode_migration(migration))?);
        Ok(())
    }

    pub(super) fn put_stay(&mut self, instance: InstanceId, stay: &Stay) -> Result<(), Trouble> {
        let row = schema::key_row(instance, stay.key);
        self.put(Table::MigrationStays, row, encoded(codec::encode_stay(stay))?);
        Ok(())
    }
}
