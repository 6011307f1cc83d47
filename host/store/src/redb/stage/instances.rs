//! Changes of what an instance has beside keys: key rings, policies, an import token.

use std::sync::Arc;

use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_core::import_token::ImportToken;
use keygate_core::policy::InstancePolicies;
use keygate_core::ring::KeyRing;
use keygate_core::store::StoreError;

use super::super::error::Trouble;
use super::{Effect, Stage, decoded_of, encoded, require};
use crate::codec;
use crate::schema::{self, Table};

impl Stage<'_, '_> {
    pub(super) fn insert_ring(&mut self, ring: &KeyRing, at_most: usize) -> Result<(), Trouble> {
        let row = schema::ring_row(ring.instance, &ring.id);
        require(!ring.id.is_default() && !self.has(Table::Rings, &row)?)?;
        let there = self.rows_of(Table::Rings, &schema::instance_row(ring.instance))?.len();
        if there >= at_most {
            return Err(StoreError::RingQuota(at_most).into());
        }
        self.put(Table::Rings, row, encoded(codec::encode_ring(ring))?);
        Ok(())
    }

    pub(super) fn remove_ring(&mut self, instance: InstanceId, ring: &KeyRingId) -> Result<(), Trouble> {
        let row = schema::ring_row(instance, ring);
        require(self.has(Table::Rings, &row)?)?;
        if self.ring_size(instance, ring)? > 0 {
            return Err(StoreError::RingInUse(ring.clone()).into());
        }
        self.remove(Table::Rings, row);
        Ok(())
    }

    pub(super) fn require_ring(&self, instance: InstanceId, ring: &KeyRingId) -> Result<(), Trouble> {
        if ring.is_default() || self.has(Table::Rings, &schema::ring_row(instance, ring))? {
            return Ok(());
        }
        Err(StoreError::RingMissing(ring.clone()).into())
    }

    /// Counts one key more in a ring, or one less. The count is in the batch, so that a ring is never removed under a
    /// key that comes into it with the same commit. `default` is never removed and not counted.
    pub(super) fn count_in_ring(&mut self, instance: InstanceId, ring: &KeyRingId, comes: bool) -> Result<(), Trouble> {
        if ring.is_default() {
            return Ok(());
        }
        let before = self.ring_size(instance, ring)?;
        let size = if comes { before.checked_add(1) } else { before.checked_sub(1) };
        let row = schema::ring_row(instance, ring);
        match size {
            Some(0) => self.remove(Table::RingSizes, row),
            Some(size) => self.put(Table::RingSizes, row, codec::encode_ring_size(size)),
            None => {
                let detail = format!("the size of key ring {ring} of instance {instance} is {before} and cannot be");
                return Err(StoreError::Corrupt(detail).into());
            }
        }
        Ok(())
    }

    fn ring_size(&self, instance: InstanceId, ring: &KeyRingId) -> Result<u64, Trouble> {
        let record = self.get(Table::RingSizes, &schema::ring_row(instance, ring))?;
        let size = record.map(|record| decoded_of(instance, "the size of a ring", codec::decode_ring_size(&record)));
        Ok(size.transpose()?.unwrap_or(0))
    }

    pub(super) fn put_policies(&mut self, instance: InstanceId, policies: &InstancePolicies) -> Result<(), Trouble> {
        let row = schema::instance_row(instance);
        let before = match self.get(Table::Policies, &row)? {
            Some(record) => decoded_of(instance, "the policies", codec::decode_policies(&record))?.revision,
            None => 0,
        };
        require(before.checked_add(1) == Some(policies.revision))?;
        self.put(Table::Policies, row, encoded(codec::encode_policies(policies))?);
        self.effects.push(Effect::Policies(instance, Arc::new(policies.clone())));
        Ok(())
    }

    pub(super) fn put_import_token(&mut self, token: &ImportToken) -> Result<(), Trouble> {
        let row = schema::instance_row(token.instance);
        let before = match self.get(Table::ImportTokens, &row)? {
            Some(record) => {
                let before = codec::decode_import_token(token.instance, &record);
                decoded_of(token.instance, "the import token", before)?.revision
            }
            None => 0,
        };
        require(before.checked_add(1) == Some(token.revision))?;
        self.put(Table::ImportTokens, row, encoded(codec::encode_import_token(token))?);
        Ok(())
    }
}
