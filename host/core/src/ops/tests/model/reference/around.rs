//! What is around keys: aliases, rings, registrations and what they acknowledge, policies of the instance.

use super::super::reference_key::{ACTIVE, ALIASES, DEACTIVATED, RefKey, SUSPENDED, sorted};
use super::super::steps::Target;
use super::super::view::{Answer, Outcome};
use super::{OK, Reference};

impl Reference {
    pub(super) fn add_alias(&mut self, target: Target, alias: u8) -> Outcome {
        let taken = self.by_alias(alias).is_some();
        let (key, now) = self.key(target)?;
        key.must_be(&[ACTIVE, SUSPENDED, DEACTIVATED], now)?;
        if key.aliases.contains(&alias) {
            return Ok(Answer::New(false));
        }
        if key.aliases.len() >= ALIASES {
            return Err("KEY_ALIAS_QUOTA_ERR");
        }
        if taken {
            return Err("KEY_ALIAS_NOT_UNIQUE_ERR");
        }
        key.aliases.push(alias);
        key.updated = now;
        Ok(Answer::New(true))
    }

    pub(super) fn drop_alias(&mut self, target: Target, alias: u8) -> Outcome {
        let (key, now) = self.key(target).map_err(|_| "ALIAS_NOT_FOUND_ERR")?;
        if !key.aliases.contains(&alias) {
            return Err("ALIAS_NOT_FOUND_ERR");
        }
        key.aliases.retain(|given| *given != alias);
        key.updated = now;
        OK
    }

    pub(super) fn drop_ring(&mut self, ring: u8, force: bool) -> Outcome {
        let now = self.now;
        if ring == 0 {
            return Err("INVALID_PATH_PARAM_ERR");
        }
        if !self.rings.contains(&ring) {
            return Err("KEY_RING_NOT_FOUND_ERR");
        }
        let mut inside: Vec<&mut RefKey> = self.keys.iter_mut().flatten().filter(|key| key.ring == ring).collect();
        if !force && !inside.is_empty() {
            return Err("KEY_RING_NOT_EMPTY_ERR");
        }
        if inside.iter().any(|key| key.deleted.is_none()) {
            return Err("KEY_RING_KEYS_NOT_DELETED_ERR");
        }
        for key in &mut inside {
            key.ring = 0;
            key.updated = now;
        }
        self.rings.remove(&ring);
        OK
    }

    pub(super) fn register(&mut self, target: Target, resource: u8, prevent: bool) -> Outcome {
        let (key, now) = self.key(target)?;
        if !key.is_root() {
            return Err("KEY_ROOT_REQ_REG_ERR");
        }
        if key.state(now) != ACTIVE {
            return Err("KEY_INVALID_STATE_ERR");
        }
        match key.registrations.get(&resource) {
            Some(('A', prevents)) if *prevents == prevent => return Ok(Answer::New(false)),
            Some(('A', _)) => return Err("REGISTRATION_DUP_ERR"),
            _ => {}
        }
        key.registrations.insert(resource, ('A', prevent));
        Ok(Answer::New(true))
    }

    pub(super) fn unregister(&mut self, target: Target, resource: u8) -> Outcome {
        let (key, _) = self.key(target)?;
        key.registrations.remove(&resource).ok_or("REGISTRATION_NOT_FOUND_ERR")?;
        key.events.retain(|(of, _)| *of != resource);
        OK
    }

    pub(super) fn deactivate(&mut self, target: Target, resource: u8) -> Outcome {
        let (key, _) = self.key(target)?;
        match key.registrations.get_mut(&resource).ok_or("REGISTRATION_NOT_FOUND_ERR")? {
            (state @ 'S', _) => *state = 'D',
            _ => return Err("REG_INVALID_STATE_ERR"),
        }
        key.events.retain(|event| *event != (resource, "delete"));
        OK
    }

    /// The event of this number, by key and then as views have them.
    pub(super) fn acknowledge(&mut self, number: usize) -> Outcome {
        let mut left = number;
        for key in self.keys.iter_mut().flatten() {
            let events = sorted(&key.events);
            if let Some(event) = events.get(left) {
                let at = key.events.iter().position(|found| found == event).unwrap();
                key.events.remove(at);
                if event.1 == "delete" && key.registrations.get(&event.0).is_some_and(|(state, _)| *state == 'S') {
                    key.registrations.get_mut(&event.0).unwrap().0 = 'D';
                }
                return OK;
            }
            left -= events.len();
        }
        Err("EVENT_NOT_FOUND")
    }

    pub(super) fn instance_policies(&mut self, dual: Option<bool>, rotation: Option<u8>) -> Outcome {
        if dual.is_none() && rotation.is_none() {
            return Err("BAD_BODY_ERR");
        }
        self.dual = dual.unwrap_or(self.dual);
        if let Some(months) = rotation {
            self.rotation = Some(months).filter(|months| *months > 0);
        }
        OK
    }
}
