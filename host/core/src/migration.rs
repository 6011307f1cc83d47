//! The moving of an instance's keys from one backend to another, as the store keeps it: how far it has come, so that a
//! gateway that dies goes on where it was, and what stayed behind.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{InstanceId, KeyId, MigrationId};
use crate::key::Stamp;

/// How a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationState {
    /// The gateway works at it.
    Running,
    /// Somebody stopped it. It goes on when it is asked for again.
    Stopped,
    /// It has come to its end. What stayed behind stayed for a reason.
    Done,
}

impl MigrationState {
    /// The name that clients read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Done => "done",
        }
    }
}

/// How material travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Nobody has asked the backends yet.
    Unasked,
    /// Sealed to this key pair of the backend that it goes to.
    Key {
        /// What the pair is bound to, in place of a key's id.
        key: KeyId,
        /// The private half, as that backend keeps it. Safe in clear.
        reference: Vec<u8>,
        /// The public half: SubjectPublicKeyInfo, DER.
        public: Vec<u8>,
    },
    /// Not at all: the backend that it would go to says why. Standard keys travel without.
    None(String),
}

/// How much of what was done. Each number belongs to the pass and the cursor of the same record. None counts anything twice.
/// `renewed` leaves out what a gateway did that died before it could write it down, and `moved` a key that was purged before
/// that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that there were when the pass began.
    pub keys: u64,
    /// Those that this pass has come past.
    pub seen: u64,
    /// Key versions that were moved.
    pub moved: u64,
    /// Keys that got a new version, because theirs could not be moved.
    pub renewed: u64,
    /// Key versions that are to stay where they were.
    pub stayed: u64,
    /// Key versions whose material was destroyed where it had been, each counted in the commit in which its record forgets the
    /// place.
    pub destroyed: u64,
    /// Key versions that this pass leaves for the next one to finish.
    pub pending: u64,
}

/// A migration. There is one of each instance, the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its id.
    pub id: MigrationId,
    /// Whose keys.
    pub instance: InstanceId,
    /// The backend that they leave.
    pub from: String,
    /// The backend that they go to.
    pub to: String,
    /// How it stands.
    pub state: MigrationState,
    /// Begun when and by whom.
    pub started: Stamp,
    /// When it came to its end, or was stopped.
    pub ended_at: Option<Timestamp>,
    /// How root keys travel.
    pub transport: Transport,
    /// Which pass over the keys it is: 1 is the first. The first moves them; a later one destroys what is left where they
    /// were, and moves what came in between.
    pub pass: u32,
    /// When this pass began, or is to begin.
    pub pass_at: Timestamp,
    /// The last key that this pass has come past.
    pub cursor: Option<KeyId>,
    /// How much.
    pub counts: Counts,
    /// Why it does not go on at the moment, for the operator. It tries again by itself.
    pub waiting: Option<String>,
    /// When this record was written.
    pub updated_at: Timestamp,
    /// 1 for the first record of the instance, one more with each change: the store's compare-and-set is on it.
    pub revision: u64,
}

/// Why something stayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StayReason {
    /// A backend does not let it out, or does not take it in.
    NotTransportable,
    /// The backend that it went to does not open what the other one had wrapped.
    SampleNotOpened,
    /// The backend that has it does not show it, and no other one does. Nothing was changed.
    MaterialMissing,
    /// A backend failed over it again and again, while it did well otherwise.
    BackendFailed,
    /// Its record cannot be read.
    Damaged,
    /// It was moved, and cannot be destroyed where it was.
    NotDestroyed,
    /// It was moved, and the backend that it went to does not show it any more. It is where it was before again.
    CameBack,
}

impl StayReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NotTransportable,
        Self::SampleNotOpened,
        Self::MaterialMissing,
        Self::BackendFailed,
        Self::Damaged,
        Self::NotDestroyed,
        Self::CameBack,
    ];

    /// The name that clients read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotTransportable => "not-transportable",
            Self::SampleNotOpened => "sample-not-opened",
            Self::MaterialMissing => "material-missing",
            Self::BackendFailed => "backend-failed",
            Self::Damaged => "damaged",
            Self::NotDestroyed => "not-destroyed",
            Self::CameBack => "came-back",
        }
    }
}

/// What stayed behind of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Which key.
    pub key: KeyId,
    /// How many of its versions need the backend still that they were to leave.
    pub versions: u32,
    /// Whether its newest version is on the other backend all the same: only old ciphertexts need the one that was left.
    pub renewed: bool,
    /// Why.
    pub reason: StayReason,
    /// For the operator.
    pub detail: String,
}
