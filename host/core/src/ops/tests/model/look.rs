//! What is to be seen of the use cases' doing.

use std::collections::BTreeMap;

use super::names::{alias_name, by, resource_number, ring_id, ring_number, service, trailing_number};
use super::real::{ALL, INSTANCE, Real};
use super::steps::{ALIASES, Kind};
use super::view::{KeyView, Updated, View};
use crate::clock::Timestamp;
use crate::ids::{Alias, EventId, KeyId, KeySelector};
use crate::key::{Key, KeyKind, KeyState};
use crate::ops::list::ListKeys;
use crate::ops::registrations::ListRegistrations;
use crate::ops::versions::ListVersions;
use crate::ops::{list, read, registrations, rings, versions};
use crate::pipeline::RequestContext;
use crate::registration::{LifecycleEvent, RegistrationState};
use crate::store::{KeyFilter, Sort};

impl Real {
    pub(super) async fn events_of(&self, key: KeyId) -> Vec<(u8, &'static str, EventId)> {
        let page = self.gateway.store.events(INSTANCE, Some(key), ALL).await.unwrap();
        let told = |event: &LifecycleEvent| (resource_number(&event.crn), event.kind.as_str(), event.id);
        let mut events: Vec<_> = page.items.iter().map(told).collect();
        // Equal ones in the order of time, as their ids count up.
        events.sort_unstable();
        events
    }

    pub(super) async fn nth_event(&self, number: usize) -> Option<EventId> {
        let mut all = Vec::new();
        for key in &self.keys {
            all.extend(self.events_of(*key).await);
        }
        all.get(number).map(|(_, _, id)| *id)
    }

    async fn listed(&self, states: Option<&[KeyState]>, ring: Option<u8>) -> Vec<usize> {
        let mut filter = KeyFilter::default();
        if let Some(states) = states {
            filter.states = states.to_vec();
        }
        let cx = RequestContext { ring: ring.map(ring_id), ..by(0) };
        let count = list::count(&self.gateway, &cx, Ok(filter.clone())).await.unwrap();
        let query = ListKeys { filter, sort: Sort::default(), page: ALL, count: true };
        let listing = list::list(&self.gateway, &cx, Ok(query)).await.unwrap();
        assert_eq!((listing.total, listing.keys.len()), (Some(count), count), "a list and its count");
        let mut numbers: Vec<usize> = listing.keys.iter().map(|key| self.number(key.id)).collect();
        numbers.sort_unstable();
        numbers
    }

    fn number(&self, id: KeyId) -> usize {
        self.keys.iter().position(|key| *key == id).expect("a key that was made here")
    }

    async fn key_view(&self, id: KeyId) -> Option<KeyView> {
        let key = match read::metadata(&self.gateway, &by(0), &KeySelector::Id(id)).await {
            Ok(key) => key,
            Err(error) => {
                assert_eq!(error.reason_code().map(|code| code.as_str()), Some("KEY_NOT_FOUND_ERR"));
                return None;
            }
        };
        let input = ListVersions { page: ALL, all_key_states: true };
        let (_, page) = versions::versions(&self.gateway, &by(0), &KeySelector::Id(id), Ok(input)).await.unwrap();
        let versions: Vec<u64> = page.items.iter().map(|version| version.created_at.unix_ms()).collect();
        assert_eq!((page.items.len(), page.items[0].id), (key.version_count as usize, key.current_version));
        assert_eq!(versions[0], key.current_version_created_at.unix_ms());
        let registrations = self.registrations(id).await;
        let events = self.events_of(id).await.into_iter().map(|(resource, kind, _)| (resource, kind)).collect();
        Some(KeyView { versions, registrations, events, ..facts(&key, self.gateway.clock.now()) })
    }

    async fn registrations(&self, id: KeyId) -> BTreeMap<u8, (char, bool)> {
        let query = ListRegistrations { resources: None, prevent_key_deletion: None, page: ALL };
        let selector = KeySelector::Id(id);
        let page = registrations::list(&self.gateway, &service(), Some(&selector), Ok(query)).await.unwrap();
        let told = page.items.iter().map(|view| {
            let state = match view.registration.state {
                RegistrationState::Active => 'A',
                RegistrationState::Suspended => 'S',
                RegistrationState::Deactivated => 'D',
            };
            (resource_number(&view.registration.crn), (state, view.registration.prevent_key_deletion))
        });
        told.collect()
    }

    /// What is to be seen.
    pub(crate) async fn view(&self) -> View {
        let mut keys = BTreeMap::new();
        for (number, id) in self.keys.iter().enumerate() {
            if let Some(view) = self.key_view(*id).await {
                keys.insert(number, view);
            }
        }
        let mut aliases = BTreeMap::new();
        for alias in 0..ALIASES {
            let selector = KeySelector::Alias(Alias::parse(&alias_name(alias)).unwrap());
            if let Ok(key) = read::metadata(&self.gateway, &by(0), &selector).await {
                aliases.insert(alias, self.number(key.id));
            }
        }
        let page = rings::list(&self.gateway, &by(0), Ok(ALL)).await.unwrap();
        let rings: Vec<u8> = page.items.iter().map(|ring| ring_number(&ring.id)).filter(|ring| *ring != 0).collect();
        let mut by_state = BTreeMap::new();
        for state in KeyState::ALL {
            by_state.insert(state.number(), self.listed(Some(&[state]), None).await);
        }
        let mut by_ring = BTreeMap::new();
        for ring in 0..4 {
            by_ring.insert(ring, self.listed(Some(&KeyState::ALL), Some(ring)).await);
        }
        View { now: self.now(), keys, aliases, rings, by_state, by_ring, by_default: self.listed(None, None).await }
    }
}

/// What a key itself tells.
fn facts(key: &Key, now: Timestamp) -> KeyView {
    KeyView {
        kind: match (key.kind, key.imported) {
            (KeyKind::Standard, _) => Kind::Standard,
            (KeyKind::Root, true) => Kind::Imported,
            (KeyKind::Root, false) => Kind::Root,
        },
        state: key.state.number(),
        ring: ring_number(&key.ring),
        aliases: key.alias_names().map(|alias| trailing_number(alias.as_str())).collect(),
        created: key.created_at.unix_ms(),
        updated: Updated::At(key.updated_at.unix_ms()),
        rotated: key.rotated_at.map(Timestamp::unix_ms),
        expires: key.expires_at.map(Timestamp::unix_ms),
        versions: Vec::new(),
        deleted: key.deletion.as_ref().map(|deletion| (deletion.at.unix_ms(), trailing_number(&deletion.by))),
        rotation: key.rotation.as_ref().map(|policy| (policy.enabled, policy.interval_months)),
        dual: key.dual_auth.as_ref().map(|policy| policy.enabled),
        authorized: key
            .authorization_at(now)
            .map(|first| (trailing_number(&first.given.by), first.lapses_at.unix_ms())),
        registrations: BTreeMap::new(),
        events: Vec::new(),
    }
}
