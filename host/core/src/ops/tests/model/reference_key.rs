//! A key, as the documents tell of it. A state is no field here but follows from what happened to the key.

use std::collections::BTreeMap;

use super::steps::{DAY, Edge, HOUR, Kind, SECOND};
use super::view::{KeyView, Updated};

pub(super) const MONTH: u64 = 30 * DAY;
/// `api-contract`, e: the timers.
pub(super) const ENABLE_WAIT: u64 = 30 * SECOND;
pub(super) const RESTORE_WAIT: u64 = 30 * SECOND;
pub(super) const ROTATE_WAIT: u64 = HOUR;
pub(super) const SYNC_WAIT: u64 = HOUR;
pub(super) const PURGE_WAIT: u64 = 4 * HOUR;
pub(super) const AUTHORIZATION: u64 = 7 * DAY;
pub(super) const RESTORE_WINDOW: u64 = 30 * DAY;
pub(super) const PURGED_AFTER: u64 = 90 * DAY;
pub(super) const ALIASES: usize = 5;

pub(super) const ACTIVE: u8 = 1;
pub(super) const SUSPENDED: u8 = 2;
pub(super) const DEACTIVATED: u8 = 3;
pub(super) const DESTROYED: u8 = 5;

pub(super) struct RefKey {
    pub(super) kind: Kind,
    pub(super) ring: u8,
    pub(super) aliases: Vec<u8>,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) rotated: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) versions: Vec<u64>,
    pub(super) disabled: Option<u64>,
    pub(super) deleted: Option<(u64, u8)>,
    pub(super) told: Option<u64>,
    /// On or off, months, and when that was said.
    pub(super) rotation: Option<(bool, u8, u64)>,
    pub(super) dual: Option<bool>,
    pub(super) authorized: Option<(u8, u64)>,
    pub(super) registrations: BTreeMap<u8, (char, bool)>,
    pub(super) events: Vec<(u8, &'static str)>,
    /// Whether the gateway may have noted just now what came to the key by itself.
    pub(super) may_be_noted: bool,
}

impl RefKey {
    pub(super) fn state(&self, now: u64) -> u8 {
        match self {
            Self { deleted: Some(_), .. } => DESTROYED,
            Self { disabled: Some(_), .. } => SUSPENDED,
            Self { expires: Some(at), .. } if *at <= now => DEACTIVATED,
            _ => ACTIVE,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        self.kind != Kind::Standard
    }

    /// Refused unless it is in one of these states.
    pub(super) fn must_be(&self, states: &[u8], now: u64) -> Result<(), &'static str> {
        match self.state(now) {
            state if states.contains(&state) => Ok(()),
            DESTROYED => Err("KEY_DELETED_ERR"),
            _ => Err("KEY_ACTION_INVALID_STATE_ERR"),
        }
    }

    /// The same of something that root keys alone have done to them.
    pub(super) fn must_be_root(&self, states: &[u8], now: u64) -> Result<(), &'static str> {
        if self.is_root() { self.must_be(states, now) } else { Err("KEY_ROOT_REQ_ERR") }
    }

    pub(super) fn newest(&self) -> u32 {
        u32::try_from(self.versions.len()).unwrap()
    }

    /// What adopters are told of.
    pub(super) fn tell(&mut self, what: &'static str, now: u64) {
        self.told = Some(now);
        for (resource, (state, _)) in &mut self.registrations {
            let concerns = match state {
                'A' => true,
                'S' => what == "restore" || what == "sync",
                _ => false,
            };
            if concerns {
                self.events.push((*resource, what));
            }
            match (*state, what) {
                ('A', "delete") => *state = 'S',
                ('S', "restore") => {
                    *state = 'A';
                    self.events.retain(|event| *event != (*resource, "delete"));
                }
                _ => {}
            }
        }
    }

    pub(super) fn new_version(&mut self, now: u64) {
        self.versions.push(now);
        self.rotated = Some(now);
        self.updated = now;
    }

    /// When it is rotated by its policy.
    pub(super) fn rotation_due(&self) -> Option<u64> {
        let (true, months, said) = self.rotation? else { return None };
        Some(said.max(*self.versions.last()?) + u64::from(months) * MONTH)
    }

    pub(super) fn edge(&self, edge: Edge) -> Option<u64> {
        let deleted = self.deleted.map(|(at, _)| at);
        match edge {
            Edge::Enable => self.disabled.map(|at| at + ENABLE_WAIT),
            Edge::Rotate => self.rotated.map(|at| at + ROTATE_WAIT),
            Edge::Sync => self.told.map(|at| at + SYNC_WAIT),
            Edge::Restore => deleted.map(|at| at + RESTORE_WAIT),
            Edge::RestoreEnd => deleted.map(|at| at + RESTORE_WINDOW),
            Edge::Purge => deleted.map(|at| at + PURGE_WAIT),
            Edge::PurgedByItself => deleted.map(|at| at + PURGED_AFTER),
            Edge::Lapse => self.authorized.map(|(_, until)| until),
            Edge::Expiry => self.expires,
            Edge::Rotation => self.rotation_due(),
        }
    }

    pub(super) fn view(&self, now: u64, tended: bool) -> KeyView {
        let may_be_noted = tended && self.may_be_noted;
        KeyView {
            kind: self.kind,
            state: self.state(now),
            ring: self.ring,
            aliases: self.aliases.clone(),
            created: self.created,
            updated: if may_be_noted { Updated::Either(self.updated, now) } else { Updated::At(self.updated) },
            rotated: self.rotated,
            expires: self.expires,
            versions: self.versions.iter().rev().copied().collect(),
            deleted: self.deleted,
            rotation: self.rotation.map(|(enabled, months, _)| (enabled, months)),
            dual: self.dual,
            authorized: self.authorized.filter(|(_, until)| now < *until),
            registrations: self.registrations.clone(),
            events: sorted(&self.events),
        }
    }
}

/// Of one resource in the order of time; several of one instant are told in no order.
pub(super) fn sorted(events: &[(u8, &'static str)]) -> Vec<(u8, &'static str)> {
    let mut events = events.to_vec();
    events.sort_unstable();
    events
}
