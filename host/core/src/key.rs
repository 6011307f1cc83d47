//! A key and its versions, as the domain and the store know them. Metadata, and references that only a backend
//! understands; never material.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Alias, InstanceId, KeyId, KeyRingId, PolicyId, VersionId};

/// What a key is for (`api-v2: extractable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// Wraps data keys; its material never leaves the backend. `extractable: false`.
    Root,
    /// A secret kept for its owner. `extractable: true`.
    Standard,
}

impl KeyKind {
    /// The API's `extractable`.
    pub const fn is_extractable(self) -> bool {
        matches!(self, Self::Standard)
    }
}

/// NIST SP 800-57 key states, with the API's numbers. There is no 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyState {
    /// 0. Made and not yet usable.
    PreActivation,
    /// 1. In use.
    Active,
    /// 2. Disabled; can be enabled again.
    Suspended,
    /// 3. Expired: what it wrapped can still be unwrapped.
    Deactivated,
    /// 5. Deleted; can be restored for a while.
    Destroyed,
}

impl KeyState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::PreActivation, Self::Active, Self::Suspended, Self::Deactivated, Self::Destroyed];

    /// The API's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::PreActivation => 0,
            Self::Active => 1,
            Self::Suspended => 2,
            Self::Deactivated => 3,
            Self::Destroyed => 5,
        }
    }

    /// The state with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

/// The most tags of a key.
pub const MAX_TAGS: usize = 30;

/// The longest tag, in characters.
pub const MAX_TAG_CHARS: usize = 30;

/// What no tag has in it.
pub const NOT_IN_TAGS: [char; 6] = ['<', '>', ',', ':', '&', '|'];

/// Where one key version's material is: which backend has it, and what that backend calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// The backend's name.
    pub backend: String,
    /// Opaque, at most 16,384 bytes, safe in clear.
    pub reference: Vec<u8>,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersion {
    /// Its id; the first version's is the key's.
    pub id: VersionId,
    /// 1 for the first, then one more each.
    pub sequence: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its material.
    pub key_ref: KeyRef,
    /// Where the material was before, and still is: it was moved to another backend, and calls that had begun may still
    /// need it there. A migration destroys it there later ([`crate::ops::migrate`]).
    pub former: Option<Former>,
}

/// Where a key version's material was before it was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// There.
    pub key_ref: KeyRef,
    /// Since when `KeyVersion::key_ref` is the one to use.
    pub left_at: Timestamp,
}

/// When something was done, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// The IAM id of who did it.
    pub by: String,
}

/// That and when and by whom a key was deleted.
pub type Deletion = Stamp;

/// A name of a key, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAlias {
    /// The name.
    pub alias: Alias,
    /// Given when and by whom.
    pub given: Stamp,
}

/// What the API tells of each key policy beside what it says (`api-v2: GET /keys/{id}/policies`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The policy's own id.
    pub id: PolicyId,
    /// Written first when and by whom.
    pub created: Stamp,
    /// Written last when and by whom.
    pub updated: Stamp,
}

/// That a key is rotated by the gateway itself (`api-v2: rotation`). Generated root keys only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationPolicy {
    /// Whether it is switched on.
    pub enabled: bool,
    /// How often: 1 to 12 months of 30 days.
    pub interval_months: u8,
    /// Who wrote it when.
    pub record: PolicyRecord,
}

impl RotationPolicy {
    /// The time from one rotation to the next.
    pub const fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_months as u64 * 30 * 24 * 3600)
    }
}

/// That deleting a key takes two people (`api-v2: dualAuthDelete`). Once switched on it stays on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DualAuthPolicy {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Who wrote it when.
    pub record: PolicyRecord,
}

/// The first of two authorizations to delete a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionAuthorization {
    /// Given when and by whom.
    pub given: Stamp,
    /// From this instant on it is void.
    pub lapses_at: Timestamp,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Whose it is.
    pub instance: InstanceId,
    /// Its id.
    pub id: KeyId,
    /// Its name, 1 to 240 bytes.
    pub name: String,
    /// At most 240 characters.
    pub description: Option<String>,
    /// Unique in the instance; those of a deleted key stay taken until it is purged, so that it can be restored whole.
    pub aliases: Vec<KeyAlias>,
    /// At most 30 of at most 30 characters.
    pub tags: Vec<String>,
    /// What for.
    pub kind: KeyKind,
    /// Whether the material came from outside.
    pub imported: bool,
    /// Its size in bits: 128, 192 or 256 for root keys.
    pub bits: u32,
    /// Where it is in its life.
    pub state: KeyState,
    /// The ring it is in.
    pub ring: KeyRingId,
    /// When it was made.
    pub created_at: Timestamp,
    /// The IAM id of who made it.
    pub created_by: String,
    /// When anything about it was changed last.
    pub updated_at: Timestamp,
    /// When it was rotated last, if ever.
    pub rotated_at: Option<Timestamp>,
    /// When it is to become Deactivated, if ever.
    pub expires_at: Option<Timestamp>,
    /// The newest version's id.
    pub current_version: VersionId,
    /// When the newest version was made.
    pub current_version_created_at: Timestamp,
    /// How many versions there are; the newest one's sequence.
    pub version_count: u32,
    /// Set while the state is Destroyed.
    pub deletion: Option<Deletion>,
    /// How it is rotated by itself, where that was ever said.
    pub rotation: Option<RotationPolicy>,
    /// Whether two people must delete it, where that was ever said.
    pub dual_auth: Option<DualAuthPolicy>,
    /// The first authorization to delete it, where given and not taken back. It may have lapsed: see
    /// [`Key::authorization_at`].
    pub authorization: Option<DeletionAuthorization>,
    /// Since when it is disabled, where it was and was not enabled again. It outlives a deletion: a key that was Suspended
    /// when it was deleted is Suspended again when it is restored.
    pub disabled_at: Option<Timestamp>,
    /// When its adopters were told of it last: when it was rotated, disabled, enabled, deleted, restored or synced.
    /// Making it and writing its policies do not count (`api-v2: POST /keys/{id}/actions/sync`).
    pub told_at: Option<Timestamp>,
    /// Whether its purge has begun: material of it may be gone already, so it is not restored any more.
    pub purging: bool,
    /// 1 when made, one more with each change: the store's compare-and-set is on it.
    pub revision: u64,
}

/// What comes to a key by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DueKind {
    /// An Active key becomes Deactivated, at its expiration date.
    Expiry,
    /// A first authorization to delete is void, at the end of its window.
    Lapse,
    /// A new version, by the key's rotation policy.
    Rotation,
    /// A deleted key is purged. Counted from its deletion: how long after is the operator's to say.
    Purge,
}

impl DueKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Expiry, Self::Lapse, Self::Rotation, Self::Purge];
}

impl Key {
    /// Whether two people must delete it.
    pub fn needs_dual_auth(&self) -> bool {
        self.dual_auth.as_ref().is_some_and(|policy| policy.enabled)
    }

    /// The first authorization to delete it, if it holds at this instant.
    pub fn authorization_at(&self, now: Timestamp) -> Option<&DeletionAuthorization> {
        self.authorization.as_ref().filter(|authorization| now < authorization.lapses_at)
    }

    /// What will come to it by itself as things stand, and when. The store keeps an index of this.
    ///
    /// [`DueKind::Purge`] is told with the instant of the deletion; add [`crate::limits::Limits::purge_after`]. That of a
    /// purge that has begun is told with the beginning of time: it is to be finished at once.
    pub fn due(&self) -> Vec<(DueKind, Timestamp)> {
        let mut due = Vec::new();
        if let (KeyState::Active, Some(at)) = (self.state, self.expires_at) {
            due.push((DueKind::Expiry, at));
        }
        if let Some(authorization) = &self.authorization {
            due.push((DueKind::Lapse, authorization.lapses_at));
        }
        if let (KeyState::Active, Some(policy)) = (self.state, self.rotation.as_ref().filter(|policy| policy.enabled)) {
            // From the newest version, and from the policy where that came later: writing a policy for an old key must
            // not rotate it at once.
            let from = self.current_version_created_at.max(policy.record.updated.at);
            due.push((DueKind::Rotation, from.plus(policy.interval())));
        }
        if let Some(deletion) = &self.deletion {
            due.push((DueKind::Purge, if self.purging { Timestamp::default() } else { deletion.at }));
        }
        due
    }

    /// The names of it, without who gave them.
    pub fn alias_names(&self) -> impl Iterator<Item = &Alias> {
        self.aliases.iter().map(|alias| &alias.alias)
    }

    /// The state at an instant: a key whose time has come is Deactivated, whether or not the store was told already.
    pub fn state_at(&self, now: Timestamp) -> KeyState {
        match self.expires_at {
            Some(at) if self.state == KeyState::Active && at <= now => KeyState::Deactivated,
            _ => self.state,
        }
    }
}

#[cfg(any(test, feature = "fakes"))]
impl Key {
    /// An Active key for tests, all fields filled with the same few values.
    pub fn sample(kind: KeyKind) -> Self {
        let id = KeyId::from_bytes([7; 16]);
        let at = Timestamp::from_unix_ms(1_700_000_000_000);
        Self {
            instance: InstanceId::from_bytes([1; 16]),
            id,
            name: "sample".to_owned(),
            description: None,
            aliases: Vec::new(),
            tags: Vec::new(),
            kind,
            imported: false,
            bits: 256,
            state: KeyState::Active,
            ring: KeyRingId::default(),
            created_at: at,
            created_by: "IBMid-sample".to_owned(),
            updated_at: at,
            rotated_at: None,
            expires_at: None,
            current_version: id.first_version(),
            current_version_created_at: at,
            version_count: 1,
            deletion: None,
            rotation: None,
            dual_auth: None,
            authorization: None,
            disabled_at: None,
            told_at: None,
            purging: false,
            revision: 1,
        }
    }
}
