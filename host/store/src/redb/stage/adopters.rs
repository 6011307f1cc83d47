//! Changes of registrations and events.

use keygate_core::crn::ResourceCrn;
use keygate_core::ids::{EventId, InstanceId, KeyId};
use keygate_core::registration::{LifecycleEvent, Registration};
use keygate_core::store::StoreError;

use super::super::error::Trouble;
use super::{Stage, decoded, decoded_of, encoded, require};
use crate::codec;
use crate::schema::{self, Table};

impl Stage<'_, '_> {
    pub(super) fn put_registration(&mut self, registration: &Registration) -> Result<(), Trouble> {
        let Registration { instance, key, crn, revision, .. } = registration;
        let before = self.revision_of_registration(*instance, *key, crn)?.unwrap_or(0);
        require(self.has_key(*instance, *key)? && before.checked_add(1) == Some(*revision))?;
        let record = encoded(codec::encode_registration(registration))?;
        self.put(Table::Registrations, schema::registration_row(*instance, *key, crn), record);
        self.put(Table::Resources, schema::resource_row(*instance, crn, *key), codec::encode_mark());
        Ok(())
    }

    pub(super) fn remove_registration(
        &mut self,
        instance: InstanceId,
        key: KeyId,
        crn: &ResourceCrn,
        revision: u64,
    ) -> Result<(), Trouble> {
        require(self.revision_of_registration(instance, key, crn)? == Some(revision))?;
        self.remove(Table::Registrations, schema::registration_row(instance, key, crn));
        self.remove(Table::Resources, schema::resource_row(instance, crn, key));
        Ok(())
    }

    fn revision_of_registration(
        &self,
        instance: InstanceId,
        key: KeyId,
        crn: &ResourceCrn,
    ) -> Result<Option<u64>, Trouble> {
        let Some(record) = self.get(Table::Registrations, &schema::registration_row(instance, key, crn))? else {
            return Ok(None);
        };
        let before = codec::decode_registration(instance, key, crn.clone(), &record);
        Ok(Some(decoded(instance, key, before)?.revision))
    }

    pub(super) fn insert_event(&mut self, event: &LifecycleEvent) -> Result<(), Trouble> {
        let LifecycleEvent { instance, id, key, at, .. } = event;
        let row = schema::event_row(*instance, *id);
        require(self.has_key(*instance, *key)? && !self.has(Table::Events, &row)?)?;
        self.put(Table::Events, row, encoded(codec::encode_event(event))?);
        self.put(Table::EventTimes, schema::event_time_row(*instance, *at, *id), codec::encode_key_id(*key));
        self.put(Table::KeyEvents, schema::key_event_row(*instance, *key, *at, *id), codec::encode_mark());
        Ok(())
    }

    pub(super) fn remove_event(&mut self, instance: InstanceId, event: EventId) -> Result<(), Trouble> {
        let row = schema::event_row(instance, event);
        let record = self.get(Table::Events, &row)?.ok_or(StoreError::Conflict)?;
        let before = decoded_of(instance, "an event", codec::decode_event(instance, event, &record))?;
        self.remove(Table::Events, row);
        self.remove(Table::EventTimes, schema::event_time_row(instance, before.at, event));
        self.remove(Table::KeyEvents, schema::key_event_row(instance, before.key, before.at, event));
        Ok(())
    }

    /// Removes the registrations and the events of a key.
    pub(super) fn remove_adopters(&mut self, instance: InstanceId, key: KeyId) -> Result<(), Trouble> {
        let damaged =
            |what: &str| StoreError::Corrupt(format!("{what} of key {key} of instance {instance} names none"));
        let prefix = schema::key_row(instance, key);
        for row in self.rows_of(Table::Registrations, &prefix)? {
            let (_, crn) = schema::registration_of_row(&row).ok_or_else(|| damaged("a row of a registration"))?;
            self.remove(Table::Resources, schema::resource_row(instance, &crn, key));
            self.remove(Table::Registrations, row);
        }
        for row in self.rows_of(Table::KeyEvents, &prefix)? {
            let (at, event) = schema::key_event_of_row(&row).ok_or_else(|| damaged("a row of an event"))?;
            self.remove(Table::Events, schema::event_row(instance, event));
            self.remove(Table::EventTimes, schema::event_time_row(instance, at, event));
            self.remove(Table::KeyEvents, row);
        }
        Ok(())
    }
}
