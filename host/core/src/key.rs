//! A key and its versions, as the domain and the store know them. Metadata, and references that only a backend
//! understands; never material.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Alias, InstanceId, KeyId, KeyRingId, VersionId};

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
}

/// That and when and by whom a key was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// The IAM id of who did it.
    pub by: String,
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
    /// Unique in the instance.
    pub aliases: Vec<Alias>,
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
    /// 1 when made, one more with each change: the store's compare-and-set is on it.
    pub revision: u64,
}

impl Key {
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
            revision: 1,
        }
    }
}
