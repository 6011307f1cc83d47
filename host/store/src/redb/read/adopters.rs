//! Registrations and events.

use keygate_core::crn::ResourceCrn;
use keygate_core::ids::{EventId, InstanceId, KeyId};
use keygate_core::registration::{LifecycleEvent, Registration};
use keygate_core::store::{Page, PageRequest, RegistrationFilter, StoreError};

use super::super::error::Trouble;
use super::super::stage::{decoded, decoded_of};
use super::View;
use crate::codec;
use crate::schema::{self, Table};

impl View {
    pub(in super::super) fn registration(
        &self,
        instance: InstanceId,
        key: KeyId,
        crn: &ResourceCrn,
    ) -> Result<Option<Registration>, Trouble> {
        let record = self.record(Table::Registrations, &schema::registration_row(instance, key, crn))?;
        let registration = record.map(|record| codec::decode_registration(instance, key, crn.clone(), &record));
        Ok(registration.map(|registration| decoded(instance, key, registration)).transpose()?)
    }

    /// Whose registrations there are of what, by key and resource: as far as rows tell, which leaves
    /// `prevent_key_deletion` and `ring` of the filter to others.
    pub(in super::super) fn registered(
        &self,
        instance: InstanceId,
        filter: &RegistrationFilter,
    ) -> Result<Vec<(KeyId, ResourceCrn)>, Trouble> {
        let mut found = Vec::new();
        let mut take = |registration: Option<(KeyId, ResourceCrn)>| {
            let nameless = || StoreError::Corrupt(format!("a row of a registration of instance {instance} names none"));
            let (key, crn) = registration.ok_or_else(nameless)?;
            if filter.resources.as_ref().is_none_or(|query| query.matches(&crn)) {
                found.push((key, crn));
            }
            Ok(())
        };
        match (filter.key, &filter.resources) {
            (Some(key), _) => {
                let prefix = schema::key_row(instance, key);
                self.for_each_row(Table::Registrations, &prefix, |row, _| take(schema::registration_of_row(row)))?;
            }
            (None, Some(query)) => {
                let prefix = [&schema::instance_row(instance), query.literal_prefix().as_bytes()].concat();
                self.for_each_row(Table::Resources, &prefix, |row, _| take(schema::resource_of_row(row)))?;
                found.sort_unstable();
            }
            (None, None) => {
                let prefix = schema::instance_row(instance);
                self.for_each_row(Table::Registrations, &prefix, |row, _| take(schema::registration_of_row(row)))?;
            }
        }
        Ok(found)
    }

    /// A part of these registrations, all of which are there; of those alone that prevent the deletion of their key, or
    /// do not, where that is asked.
    pub(in super::super) fn registrations(
        &self,
        instance: InstanceId,
        registered: Vec<(KeyId, ResourceCrn)>,
        prevent_key_deletion: Option<bool>,
        page: PageRequest,
    ) -> Result<Page<Registration>, Trouble> {
        let read = |(key, crn): (KeyId, ResourceCrn)| {
            let lost =
                || StoreError::Corrupt(format!("a registration of key {key} of instance {instance} has no record"));
            Ok::<_, Trouble>(self.registration(instance, key, &crn)?.ok_or_else(lost)?)
        };
        let Some(wanted) = prevent_key_deletion else {
            let total = registered.len();
            let part = registered.into_iter().skip(page.offset).take(page.limit);
            return Ok(Page { items: part.map(read).collect::<Result<_, _>>()?, total });
        };
        let (mut items, mut total) = (Vec::new(), 0);
        for registration in registered.into_iter().map(read) {
            let registration = registration?;
            if registration.prevent_key_deletion == wanted {
                if total >= page.offset && items.len() < page.limit {
                    items.push(registration);
                }
                total += 1;
            }
        }
        Ok(Page { items, total })
    }

    pub(in super::super) fn event(
        &self,
        instance: InstanceId,
        event: EventId,
    ) -> Result<Option<LifecycleEvent>, Trouble> {
        let record = self.record(Table::Events, &schema::event_row(instance, event))?;
        let event = record.map(|record| codec::decode_event(instance, event, &record));
        Ok(event.map(|event| decoded_of(instance, "an event", event)).transpose()?)
    }

    pub(in super::super) fn events(
        &self,
        instance: InstanceId,
        key: Option<KeyId>,
        page: PageRequest,
    ) -> Result<Page<LifecycleEvent>, Trouble> {
        let (mut ids, mut total) = (Vec::new(), 0);
        let mut take = |event: Option<_>| {
            let nameless = || StoreError::Corrupt(format!("a row of an event of instance {instance} names none"));
            let (_, id) = event.ok_or_else(nameless)?;
            if total >= page.offset && ids.len() < page.limit {
                ids.push(id);
            }
            total += 1;
            Ok(())
        };
        match key {
            Some(key) => {
                let prefix = schema::key_row(instance, key);
                self.for_each_row(Table::KeyEvents, &prefix, |row, _| take(schema::key_event_of_row(row)))?;
            }
            None => {
                let prefix = schema::instance_row(instance);
                self.for_each_row(Table::EventTimes, &prefix, |row, _| take(schema::event_time_of_row(row)))?;
            }
        }
        let lost = |id| StoreError::Corrupt(format!("event {id} of instance {instance} has no record"));
        let read = |id: EventId| Ok(self.event(instance, id)?.ok_or_else(|| lost(id))?);
        Ok(Page { items: ids.into_iter().map(read).collect::<Result<_, Trouble>>()?, total })
    }
}
