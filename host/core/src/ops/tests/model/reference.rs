//! The reference model: what the documents say of keys, in the plainest way. Nothing comes due, one looks at the time.

mod around;

use std::collections::{BTreeMap, BTreeSet};

use super::reference_key::{
    ACTIVE, ALIASES, AUTHORIZATION, DEACTIVATED, DESTROYED, ENABLE_WAIT, PURGE_WAIT, PURGED_AFTER, RESTORE_WAIT,
    RESTORE_WINDOW, ROTATE_WAIT, RefKey, SUSPENDED, SYNC_WAIT,
};
use super::steps::{Kind, Overrides, Step, Target};
use super::view::{Answer, KeyView, Outcome, Updated, View};

/// A wrapped byte.
struct Ciphertext {
    key: usize,
    version: u32,
    plaintext: u8,
}

/// The model.
pub(crate) struct Reference {
    now: u64,
    /// By number; `None` once purged.
    keys: Vec<Option<RefKey>>,
    rings: BTreeSet<u8>,
    ciphertexts: Vec<Ciphertext>,
    /// The instance policies on new keys.
    dual: bool,
    rotation: Option<u8>,
}

const OK: Outcome = Ok(Answer::Done);

impl Reference {
    pub(crate) fn new(now: u64) -> Self {
        Self { now, keys: Vec::new(), rings: BTreeSet::new(), ciphertexts: Vec::new(), dual: false, rotation: None }
    }

    /// Does a step. Says which it was, where that depended on the time, and what is to be answered.
    pub(crate) fn apply(&mut self, step: &Step) -> (Step, Outcome) {
        let step = match step {
            Step::TravelTo { back, edge, after } => {
                let key = self.keys.len().checked_sub(back + 1).and_then(|number| self.keys[number].as_ref());
                let to = key.and_then(|key| key.edge(*edge)).and_then(|at| at.checked_add_signed(*after));
                Step::Travel { ms: to.unwrap_or(0).saturating_sub(self.now) }
            }
            Step::Unwrap { target, back, own: true } => {
                Step::Unwrap { target: *target, back: self.own(*target, *back), own: false }
            }
            Step::Rewrap { target, back, own: true } => {
                Step::Rewrap { target: *target, back: self.own(*target, *back), own: false }
            }
            step => step.clone(),
        };
        let outcome = self.act(&step);
        (step, outcome)
    }

    /// How far back that is among all ciphertexts which is so far back among a key's own.
    fn own(&self, target: Target, back: usize) -> usize {
        let number = self.number(target);
        let mut own = self.ciphertexts.iter().rev().enumerate().filter(|(_, found)| Some(found.key) == number);
        own.nth(back).map_or(back, |(at, _)| at)
    }

    fn act(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Create { kind, ring, aliases, expires_in, overrides } => {
                self.create(*kind, *ring, aliases, *expires_in, *overrides)
            }
            Step::Versions { target, all } => self.versions(*target, *all),
            Step::Wrap { target, plaintext } => self.wrap(*target, *plaintext),
            Step::Unwrap { target, back, .. } => self.unwrap(*target, *back, false),
            Step::Rewrap { target, back, .. } => self.unwrap(*target, *back, true),
            Step::Rotate { target, payload } => self.rotate(*target, *payload),
            Step::Disable { target } => self.disable(*target),
            Step::Enable { target } => self.enable(*target),
            Step::Authorize { target, user } => self.authorize(*target, Some(*user)),
            Step::Unauthorize { target, .. } => self.authorize(*target, None),
            Step::Delete { target, user, force } => self.delete(*target, *user, *force),
            Step::Restore { target, payload } => self.restore(*target, *payload),
            Step::Purge { target } => self.purge(*target),
            Step::Sync { target } => self.sync(*target),
            Step::Move { target, ring } => self.change_ring(*target, *ring),
            Step::WritePolicies { target, rotation, dual } => self.write_policies(*target, *rotation, *dual),
            Step::AddAlias { target, alias } => self.add_alias(*target, *alias),
            Step::DropAlias { target, alias } => self.drop_alias(*target, *alias),
            Step::MakeRing { ring } => Ok(Answer::New(*ring != 0 && self.rings.insert(*ring))),
            Step::DropRing { ring, force } => self.drop_ring(*ring, *force),
            Step::Register { target, resource, prevent } => self.register(*target, *resource, *prevent),
            Step::Unregister { target, resource } => self.unregister(*target, *resource),
            Step::Deactivate { target, resource } => self.deactivate(*target, *resource),
            Step::Acknowledge { number } => self.acknowledge(*number),
            Step::InstancePolicies { dual, rotation } => self.instance_policies(*dual, *rotation),
            Step::Travel { ms } => {
                self.now += ms;
                OK
            }
            Step::TravelTo { .. } => OK,
            Step::Tend => self.tend(),
        }
    }

    fn by_alias(&self, alias: u8) -> Option<usize> {
        self.keys.iter().position(|key| key.as_ref().is_some_and(|key| key.aliases.contains(&alias)))
    }

    fn number(&self, target: Target) -> Option<usize> {
        let number = match target.alias {
            Some(alias) => self.by_alias(alias)?,
            None => self.keys.len().checked_sub(target.back + 1)?,
        };
        let key = self.keys[number].as_ref()?;
        target.ring.is_none_or(|ring| ring == key.ring).then_some(number)
    }

    fn key(&mut self, target: Target) -> Result<(&mut RefKey, u64), &'static str> {
        let number = self.number(target).ok_or("KEY_NOT_FOUND_ERR")?;
        Ok((self.keys[number].as_mut().ok_or("KEY_NOT_FOUND_ERR")?, self.now))
    }

    fn create(
        &mut self,
        kind: Kind,
        ring: Option<u8>,
        aliases: &[u8],
        expires_in: Option<i64>,
        overrides: Option<Overrides>,
    ) -> Outcome {
        let now = self.now;
        if expires_in.is_some_and(|by| by <= 0) {
            return Err("INVALID_FIELD_ERR");
        }
        if overrides.is_some_and(|(rotation, _)| rotation.is_some()) {
            may_rotate_by_itself(kind)?;
        }
        if aliases.len() > ALIASES {
            return Err("KEY_ALIAS_QUOTA_ERR");
        }
        if ring.is_some_and(|ring| ring != 0 && !self.rings.contains(&ring)) {
            return Err("KEY_RING_NOT_FOUND_ERR");
        }
        if aliases.iter().any(|alias| self.by_alias(*alias).is_some()) {
            return Err("KEY_ALIAS_NOT_UNIQUE_ERR");
        }
        let inherited = || {
            let rotation = self.rotation.filter(|_| kind == Kind::Root).map(|months| (true, months));
            (rotation, self.dual.then_some(true))
        };
        let (rotation, dual) = overrides.unwrap_or_else(inherited);
        self.keys.push(Some(RefKey {
            kind,
            ring: ring.unwrap_or(0),
            aliases: aliases.to_vec(),
            created: now,
            updated: now,
            rotated: None,
            expires: expires_in.and_then(|by| now.checked_add_signed(by)),
            versions: vec![now],
            disabled: None,
            deleted: None,
            told: None,
            rotation: rotation.map(|(enabled, months)| (enabled, months, now)),
            dual,
            authorized: None,
            registrations: BTreeMap::new(),
            events: Vec::new(),
            may_be_noted: false,
        }));
        OK
    }

    fn versions(&mut self, target: Target, all: bool) -> Outcome {
        let (key, now) = self.key(target)?;
        if !all {
            key.must_be(&[ACTIVE], now)?;
        }
        Ok(Answer::Versions(key.versions.iter().rev().copied().collect()))
    }

    fn wrap(&mut self, target: Target, plaintext: u8) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be_root(&[ACTIVE], now)?;
        let version = key.newest();
        let key = self.number(target).unwrap();
        self.ciphertexts.push(Ciphertext { key, version, plaintext });
        Ok(Answer::Wrapped(version))
    }

    fn unwrap(&mut self, target: Target, back: usize, again: bool) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be_root(&[ACTIVE, DEACTIVATED], now)?;
        let newest = key.newest();
        let number = self.number(target).unwrap();
        let found = self.ciphertexts.len().checked_sub(back + 1).map(|at| &self.ciphertexts[at]);
        let Some(&Ciphertext { version, plaintext, .. }) = found.filter(|found| found.key == number) else {
            return Err("UNPROCESSABLE_CIPHERTEXT_ERR");
        };
        let anew = again || version != newest;
        if anew {
            self.ciphertexts.push(Ciphertext { key: number, version: newest, plaintext });
        }
        match again {
            true => Ok(Answer::Rewrapped(version, newest)),
            false => Ok(Answer::Opened(plaintext, version, anew.then_some(newest))),
        }
    }

    fn rotate(&mut self, target: Target, payload: bool) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be_root(&[ACTIVE, DEACTIVATED], now)?;
        match (key.kind, payload) {
            (Kind::Imported, false) => return Err("KEY_PAYLOAD_REQ_ERR"),
            (Kind::Root | Kind::Standard, true) => return Err("INVALID_QUERY_PARAM_ERR"),
            _ => {}
        }
        if key.rotated.is_some_and(|at| now < at + ROTATE_WAIT) {
            return Err("KEY_ROTATION_NOT_PERMITTED");
        }
        key.new_version(now);
        key.tell("rotate", now);
        OK
    }

    fn disable(&mut self, target: Target) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be_root(&[ACTIVE], now)?;
        key.disabled = Some(now);
        key.updated = now;
        key.tell("disable", now);
        OK
    }

    fn enable(&mut self, target: Target) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be_root(&[SUSPENDED], now)?;
        if key.disabled.is_some_and(|at| now < at + ENABLE_WAIT) {
            return Err("REQ_TOO_EARLY_ERR");
        }
        key.disabled = None;
        key.updated = now;
        key.tell("enable", now);
        OK
    }

    /// `None` takes the authorization back.
    fn authorize(&mut self, target: Target, user: Option<u8>) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be(&[ACTIVE], now)?;
        if key.dual != Some(true) {
            return Err("NOT_DUAL_AUTH_ERR");
        }
        let authorized = user.map(|user| (user, now + AUTHORIZATION));
        if key.authorized != authorized {
            key.updated = now;
        }
        key.authorized = authorized;
        OK
    }

    fn delete(&mut self, target: Target, user: u8, force: bool) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be(&[ACTIVE, SUSPENDED, DEACTIVATED], now)?;
        let by_another = key.authorized.is_some_and(|(by, until)| by != user && now < until);
        if key.dual == Some(true) && !by_another {
            return Err("AUTHORIZATIONS_NOT_MET");
        }
        let protecting: Vec<bool> =
            key.registrations.values().filter(|(state, _)| *state == 'A').map(|(_, prevents)| *prevents).collect();
        if protecting.contains(&true) {
            return Err("PREV_KEY_DEL_ERR");
        }
        if !protecting.is_empty() && !force {
            return Err("PROTECTED_RESOURCE_ERR");
        }
        key.deleted = Some((now, user));
        key.authorized = None;
        key.updated = now;
        key.tell("delete", now);
        OK
    }

    fn restore(&mut self, target: Target, payload: bool) -> Outcome {
        let (key, now) = self.key(target)?;
        let Some((at, _)) = key.deleted else { return Err("KEY_ACTION_INVALID_STATE_ERR") };
        if now < at + RESTORE_WAIT {
            return Err("REQ_TOO_EARLY_ERR");
        }
        if now > at + RESTORE_WINDOW {
            return Err("KEY_RESTORE_EXPIRED");
        }
        if key.expires.is_some_and(|at| at <= now) {
            return Err("KEY_EXPIRED_ERR");
        }
        if payload && key.kind != Kind::Imported {
            return Err("KEY_IMPT_REQ_ERR");
        }
        if payload {
            key.new_version(now);
        }
        key.deleted = None;
        key.updated = now;
        key.tell("restore", now);
        OK
    }

    fn purge(&mut self, target: Target) -> Outcome {
        let (key, now) = self.key(target)?;
        let Some((at, _)) = key.deleted else { return Err("KEY_ACTION_INVALID_STATE_ERR") };
        if now < at + PURGE_WAIT {
            return Err("REQ_TOO_EARLY_ERR");
        }
        let number = self.number(target).unwrap();
        self.keys[number] = None;
        OK
    }

    fn sync(&mut self, target: Target) -> Outcome {
        let (key, now) = self.key(target)?;
        key.must_be_root(&[ACTIVE, SUSPENDED, DEACTIVATED, DESTROYED], now)?;
        if key.told.is_some_and(|at| now < at + SYNC_WAIT) {
            return Err("REQ_TOO_EARLY_ERR");
        }
        key.tell("sync", now);
        OK
    }

    fn change_ring(&mut self, target: Target, ring: u8) -> Outcome {
        let is_there = ring == 0 || self.rings.contains(&ring);
        let (key, now) = self.key(target)?;
        key.must_be(&[ACTIVE, SUSPENDED, DEACTIVATED], now)?;
        if !is_there {
            return Err("KEY_RING_NOT_FOUND_ERR");
        }
        if key.ring != ring {
            key.ring = ring;
            key.updated = now;
        }
        OK
    }

    fn write_policies(
        &mut self,
        target: Target,
        rotation: Option<(Option<bool>, Option<u8>)>,
        dual: Option<bool>,
    ) -> Outcome {
        let (key, now) = self.key(target)?;
        match key.state(now) {
            ACTIVE => {}
            DESTROYED => return Err("KEY_DELETED_ERR"),
            _ => return Err("KEY_INVALID_STATE_ERR"),
        }
        if rotation.is_none() && dual.is_none() {
            return Err("BAD_BODY_ERR");
        }
        let mut wanted = None;
        if let Some((enabled, months)) = rotation {
            if key.kind == Kind::Imported {
                return Err("INVALID_FIELD_ERR");
            }
            let stored = key.rotation.map(|(_, months, _)| months);
            wanted = match (enabled, months.or(stored)) {
                (None, _) if months.is_none() => return Err("MISSING_FIELD_ERR"),
                (_, Some(months)) if !(1..=12).contains(&months) => return Err("INVALID_FIELD_ERR"),
                (_, Some(months)) => Some((enabled.unwrap_or(true), months, now)),
                (Some(false), None) => None,
                (_, None) => return Err("MISSING_FIELD_ERR"),
            };
        }
        if (rotation.is_some() && key.kind == Kind::Standard) || (dual == Some(false) && key.dual == Some(true)) {
            return Err("KEY_INVALID_STATE_ERR");
        }
        if wanted.is_some() || dual.is_some() {
            key.updated = now;
        }
        key.rotation = wanted.or(key.rotation);
        key.dual = dual.or(key.dual);
        OK
    }

    fn tend(&mut self) -> Outcome {
        let now = self.now;
        for key in &mut self.keys {
            let Some(found) = key else { continue };
            found.may_be_noted = found.expires.is_some_and(|at| at <= now);
            if found.authorized.is_some_and(|(_, until)| until <= now) {
                found.authorized = None;
                found.updated = now;
            }
            if found.state(now) == ACTIVE && found.rotation_due().is_some_and(|at| at <= now) {
                found.new_version(now);
                found.tell("rotate", now);
            }
            if found.deleted.is_some_and(|(at, _)| at + PURGED_AFTER <= now) {
                *key = None;
            }
        }
        OK
    }

    /// What is to be seen.
    pub(crate) fn view(&self, tended: bool) -> View {
        let keys: BTreeMap<usize, KeyView> = self
            .keys
            .iter()
            .enumerate()
            .filter_map(|(number, key)| Some((number, key.as_ref()?.view(self.now, tended))))
            .collect();
        let numbers = |is: &dyn Fn(&KeyView) -> bool| -> Vec<usize> {
            keys.iter().filter(|(_, key)| is(key)).map(|(number, _)| *number).collect()
        };
        View {
            now: self.now,
            aliases: keys.iter().flat_map(|(number, key)| key.aliases.iter().map(|alias| (*alias, *number))).collect(),
            rings: self.rings.iter().copied().collect(),
            by_state: [0, 1, 2, 3, 5].map(|state| (state, numbers(&|key| key.state == state))).into(),
            by_ring: [0, 1, 2, 3].map(|ring| (ring, numbers(&|key| key.ring == ring))).into(),
            by_default: numbers(&|key| key.state != DESTROYED),
            keys,
        }
    }

    /// Takes over when the gateway noted what had come by itself.
    pub(crate) fn adopt(&mut self, is: &View) {
        for (number, view) in &is.keys {
            if let (Some(key), Updated::At(at)) = (&mut self.keys[*number], view.updated) {
                key.updated = at;
            }
        }
    }
}

fn may_rotate_by_itself(kind: Kind) -> Result<(), &'static str> {
    match kind {
        Kind::Root => Ok(()),
        Kind::Imported => Err("INVALID_FIELD_ERR"),
        Kind::Standard => Err("KEY_ROOT_REQ_ERR"),
    }
}
