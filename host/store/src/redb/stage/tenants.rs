//! Changes of instances themselves, and of which may use which crypto instance.

use std::sync::Arc;

use keygate_core::ids::InstanceId;
use keygate_core::instance::{Authorization, ProvisionedInstance};
use keygate_core::store::StoreError;

use super::super::error::Trouble;
use super::{Effect, Stage, decoded_of, encoded, require};
use crate::codec;
use crate::schema::{self, Table};

impl Stage<'_, '_> {
    pub(super) fn put_instance(&mut self, instance: &ProvisionedInstance) -> Result<(), Trouble> {
        let before = self.instance_revision(instance.id)?.unwrap_or(0);
        require(before.checked_add(1) == Some(instance.revision))?;
        self.put(Table::Instances, schema::instance_row(instance.id), encoded(codec::encode_instance(instance))?);
        Ok(())
    }

    pub(super) fn require_instance(&self, instance: InstanceId) -> Result<(), Trouble> {
        Ok(require(self.has(Table::Instances, &schema::instance_row(instance))?)?)
    }

    /// The count of its keys is a pass over them; the batch is refused where there are any, so that is seldom long.
    pub(super) fn remove_instance(&mut self, instance: InstanceId, revision: u64) -> Result<(), Trouble> {
        require(self.instance_revision(instance)? == Some(revision))?;
        let row = schema::instance_row(instance);
        match self.rows_of(Table::Keys, &row)?.len() {
            0 => {}
            keys => return Err(StoreError::InstanceInUse(keys).into()),
        }
        let has = [
            Table::Rings,
            Table::RingSizes,
            Table::Policies,
            Table::ImportTokens,
            Table::Authorizations,
            Table::Migrations,
            Table::MigrationStays,
        ];
        for table in has {
            self.remove_rows_of(table, &row)?;
        }
        self.remove(Table::Instances, row);
        self.effects.push(Effect::Policies(instance, Arc::default()));
        Ok(())
    }

    pub(super) fn insert_authorization(&mut self, authorization: &Authorization) -> Result<(), Trouble> {
        let row = schema::authorization_row(authorization.source, authorization.target);
        require(!self.has(Table::Authorizations, &row)?)?;
        self.put(Table::Authorizations, row, encoded(codec::encode_authorization(authorization))?);
        Ok(())
    }

    pub(super) fn remove_authorization(&mut self, source: InstanceId, target: InstanceId) -> Result<(), Trouble> {
        let row = schema::authorization_row(source, target);
        require(self.has(Table::Authorizations, &row)?)?;
        self.remove(Table::Authorizations, row);
        Ok(())
    }

    fn instance_revision(&self, instance: InstanceId) -> Result<Option<u64>, Trouble> {
        let record = self.get(Table::Instances, &schema::instance_row(instance))?;
        let record = record.map(|record| decoded_of(instance, "the record", codec::decode_instance(instance, &record)));
        Ok(record.transpose()?.map(|before| before.revision))
    }
}
