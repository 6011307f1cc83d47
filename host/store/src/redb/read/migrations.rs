//! Migrations, and what stayed behind in them.

use keygate_core::ids::{InstanceId, KeyId};
use keygate_core::migration::{Migration, Stay};
use keygate_core::store::{Page, PageRequest, StoreError};

use super::super::error::Trouble;
use super::super::stage::decoded_of;
use super::View;
use crate::codec;
use crate::schema::{self, Table};

impl View {
    pub(in super::super) fn migration(&self, instance: InstanceId) -> Result<Option<Migration>, Trouble> {
        let record = self.record(Table::Migrations, &schema::instance_row(instance))?;
        let migration = record.map(|record| codec::decode_migration(instance, &record));
        Ok(migration.map(|migration| decoded_of(instance, "the migration", migration)).transpose()?)
    }

    pub(in super::super) fn stay(&self, instance: InstanceId, key: KeyId) -> Result<Option<Stay>, Trouble> {
        let record = self.record(Table::MigrationStays, &schema::key_row(instance, key))?;
        let stay = record.map(|record| codec::decode_stay(key, &record));
        Ok(stay.map(|stay| decoded_of(instance, "what stayed behind", stay)).transpose()?)
    }

    pub(in super::super) fn stays(&self, instance: InstanceId, page: PageRequest) -> Result<Page<Stay>, Trouble> {
        let (mut items, mut total) = (Vec::new(), 0);
        self.for_each_row(Table::MigrationStays, &schema::instance_row(instance), |row, record| {
            if total >= page.offset && items.len() < page.limit {
                let nameless = || StoreError::Corrupt("what stayed behind is of no key".to_owned());
                let (_, key) = schema::key_of_row(row).ok_or_else(nameless)?;
                items.push(decoded_of(instance, "what stayed behind", codec::decode_stay(key, record))?);
            }
            total += 1;
            Ok(())
        })?;
        Ok(Page { items, total })
    }
}
