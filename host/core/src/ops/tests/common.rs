//! What several of these need.

use super::*;
use crate::audit::AuditEvent;
use crate::crn::ResourceCrn;
use crate::key::{KeyState, Stamp};
use crate::ops::{delete, disable, enable, restore};
use crate::ports::Clock;
use crate::registration::{LifecycleEvent, LifecycleKind, Registration, RegistrationState};
use crate::store::{Change, PageRequest};

pub(super) const ALL: PageRequest = PageRequest { offset: 0, limit: 5_000 };
pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND_LONG: Duration = Duration::from_secs(1);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A request of somebody else.
pub(super) fn by(user: &str) -> RequestContext {
    let mut cx = cx(FIRST);
    cx.principal.id = user.to_owned();
    cx
}

impl World {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The key as the store has it.
    pub(super) fn stored(&self, key: &Key) -> Option<Key> {
        block_on(self.gateway.store.key(key.instance, key.id)).unwrap()
    }

    pub(super) fn disable(&self, key: &Key) -> Result<Key, Error> {
        block_on(disable::disable(&self.gateway, &cx(FIRST), &by_id(key)))
    }

    pub(super) fn enable(&self, key: &Key) -> Result<Key, Error> {
        block_on(enable::enable(&self.gateway, &cx(FIRST), &by_id(key)))
    }

    pub(super) fn delete(&self, key: &Key) -> Result<Key, Error> {
        block_on(delete::delete(&self.gateway, &cx(FIRST), &by_id(key), Ok(false)))
    }

    pub(super) fn delete_by_force(&self, key: &Key) -> Result<Key, Error> {
        block_on(delete::delete(&self.gateway, &cx(FIRST), &by_id(key), Ok(true)))
    }

    pub(super) fn restore(&self, key: &Key, payload: Option<Material>) -> Result<Key, Error> {
        block_on(restore::restore(&self.gateway, &cx(FIRST), &by_id(key), Ok(restore::Restore { payload })))
    }

    /// A key that was imported with this material.
    pub(super) fn imported(&self, material: &[u8]) -> Key {
        self.create(CreateKey { payload: plain(material), ..root("i") }).unwrap().key
    }

    /// A key in this state.
    pub(super) fn key_in(&self, state: KeyState) -> Key {
        let key = self.root_key();
        match state {
            KeyState::PreActivation => self.put(Key { state, ..key }),
            KeyState::Active => key,
            KeyState::Suspended => self.disable(&key).unwrap(),
            KeyState::Deactivated => {
                let at = self.now();
                self.put(Key { expires_at: Some(at), ..key })
            }
            KeyState::Destroyed => self.delete(&key).unwrap(),
        }
    }

    /// Puts a key into the store past all use cases, as it is but for its revision.
    pub(super) fn put(&self, key: Key) -> Key {
        let revision = self.stored(&key).unwrap().revision + 1;
        let key = Key { revision, ..key };
        self.commit(vec![Change::UpdateKey { key: key.clone() }]);
        key
    }

    pub(super) fn commit(&self, batch: Vec<Change>) {
        block_on(self.gateway.store.commit(batch)).unwrap();
    }

    /// Registers the resource of this number.
    pub(super) fn register(&self, key: &Key, number: usize, prevent_key_deletion: bool) -> ResourceCrn {
        let crn = ResourceCrn::parse(&resource(number)).unwrap();
        let made = Stamp { at: self.now(), by: "service".to_owned() };
        let registration = Registration {
            instance: key.instance,
            key: key.id,
            crn: crn.clone(),
            created: made.clone(),
            updated: made,
            description: None,
            prevent_key_deletion,
            note: None,
            version: key.current_version,
            version_created_at: key.current_version_created_at,
            state: RegistrationState::Active,
            revision: 1,
        };
        let key = self.stored(key).unwrap();
        let key = Key { revision: key.revision + 1, ..key };
        self.commit(vec![Change::UpdateKey { key }, Change::PutRegistration { registration }]);
        crn
    }

    pub(super) fn registration(&self, key: &Key, crn: &ResourceCrn) -> Option<Registration> {
        block_on(self.gateway.store.registration(key.instance, key.id, crn)).unwrap()
    }

    pub(super) fn state_of(&self, key: &Key, crn: &ResourceCrn) -> RegistrationState {
        self.registration(key, crn).expect("a registration").state
    }

    pub(super) fn events(&self, key: &Key) -> Vec<LifecycleEvent> {
        block_on(self.gateway.store.events(key.instance, Some(key.id), ALL)).unwrap().items
    }

    /// What the adopters of a key are to acknowledge, in the order of time.
    pub(super) fn told(&self, key: &Key) -> Vec<LifecycleKind> {
        self.events(key).iter().map(|event| event.kind).collect()
    }

    /// The newest audit event.
    pub(super) fn last_event(&self) -> AuditEvent {
        self.audit.events().pop().expect("an event")
    }
}

/// The CRN of a bucket.
pub(super) fn resource(number: usize) -> String {
    format!("crn:v1:bluemix:public:cloud-object-storage:global:a/{}:{number}:bucket:b", "a".repeat(32))
}

/// A fact of an event.
pub(super) fn fact<'a, N: AsRef<str>>(facts: &'a [(N, String)], name: &str) -> Option<&'a str> {
    facts.iter().find(|(found, _)| found.as_ref() == name).map(|(_, value)| value.as_str())
}
