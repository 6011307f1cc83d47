//! What an instance has beside keys.

use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_core::import_token::ImportToken;
use keygate_core::policy::InstancePolicies;
use keygate_core::ring::KeyRing;
use keygate_core::store::StoreError;

use super::super::error::Trouble;
use super::super::stage::decoded_of;
use super::View;
use crate::codec;
use crate::schema::{self, Table};

impl View {
    pub(in super::super) fn ring(&self, instance: InstanceId, ring: &KeyRingId) -> Result<Option<KeyRing>, Trouble> {
        let record = self.record(Table::Rings, &schema::ring_row(instance, ring))?;
        let ring = record.map(|record| codec::decode_ring(instance, ring.clone(), &record));
        Ok(ring.map(|ring| decoded_of(instance, "a key ring", ring)).transpose()?)
    }

    pub(in super::super) fn rings(&self, instance: InstanceId) -> Result<Vec<KeyRing>, Trouble> {
        let mut rings = Vec::new();
        self.for_each_row(Table::Rings, &schema::instance_row(instance), |row, record| {
            let nameless = || StoreError::Corrupt(format!("a key ring of instance {instance} has no name"));
            let id = schema::ring_of_row(row).ok_or_else(nameless)?;
            rings.push(decoded_of(instance, "a key ring", codec::decode_ring(instance, id, record))?);
            Ok(())
        })?;
        Ok(rings)
    }

    pub(in super::super) fn import_token(&self, instance: InstanceId) -> Result<Option<ImportToken>, Trouble> {
        let record = self.record(Table::ImportTokens, &schema::instance_row(instance))?;
        let token = record.map(|record| codec::decode_import_token(instance, &record));
        Ok(token.map(|token| decoded_of(instance, "the import token", token)).transpose()?)
    }

    /// Shows the policies of every instance that has some, or why they cannot be read.
    pub(in super::super) fn for_each_policies(
        &self,
        mut show: impl FnMut(InstanceId, Result<InstancePolicies, StoreError>),
    ) -> Result<(), Trouble> {
        self.for_each_row(Table::Policies, &[], |row, record| {
            let nameless = || StoreError::Corrupt("a row of the policies is of no instance".to_owned());
            let instance = schema::instance_of_row(row).ok_or_else(nameless)?;
            show(instance, decoded_of(instance, "the policies", codec::decode_policies(record)));
            Ok(())
        })
    }
}
