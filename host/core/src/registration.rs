//! Adopters: services that protect a resource of theirs with somebody's root key, and what they are told of that key.

use crate::clock::Timestamp;
use crate::crn::ResourceCrn;
use crate::ids::{EventId, InstanceId, KeyId, VersionId};
use crate::key::Stamp;

/// Where a registration is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegistrationState {
    /// The key protects the resource.
    Active,
    /// The key was deleted, and the service has not said yet that it knows.
    Suspended,
    /// The key was deleted, and the service knows.
    Deactivated,
}

/// That a key protects a resource of another service (`api-v2: POST /keys/{id}/registrations/{crn}`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whose instance.
    pub instance: InstanceId,
    /// Which key.
    pub key: KeyId,
    /// Which resource.
    pub crn: ResourceCrn,
    /// Made when and by whom.
    pub created: Stamp,
    /// Changed last when and by whom.
    pub updated: Stamp,
    /// At most 240 characters.
    pub description: Option<String>,
    /// Whether the key must not be deleted, even by force: the resource is under a retention policy.
    pub prevent_key_deletion: bool,
    /// The service's own note, at most 4,096 bytes; shown to services only.
    pub note: Option<String>,
    /// The key version that the resource's data keys are wrapped under, as the service last said.
    pub version: VersionId,
    /// When that version was made.
    pub version_created_at: Timestamp,
    /// Where it is in its life.
    pub state: RegistrationState,
    /// 1 when made, one more with each change: the store's compare-and-set is on it.
    pub revision: u64,
}

impl Registration {
    /// Whether it keeps its key from being deleted without force.
    pub fn protects(&self) -> bool {
        self.state == RegistrationState::Active
    }
}

/// What happened to a key that adopters must know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifecycleKind {
    /// It has a new version.
    Rotated,
    /// It is Suspended.
    Disabled,
    /// It is Active again.
    Enabled,
    /// It is Destroyed.
    Deleted,
    /// It is back.
    Restored,
    /// Somebody asked for the adopters to look at it again.
    Synced,
}

impl LifecycleKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Rotated, Self::Disabled, Self::Enabled, Self::Deleted, Self::Restored, Self::Synced];

    /// The word for it in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotate",
            Self::Disabled => "disable",
            Self::Enabled => "enable",
            Self::Deleted => "delete",
            Self::Restored => "restore",
            Self::Synced => "sync",
        }
    }
}

/// One thing that one adopter is to acknowledge (`api-v2: POST /event_ack`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// Whose instance.
    pub instance: InstanceId,
    /// Its id.
    pub id: EventId,
    /// Which key.
    pub key: KeyId,
    /// The resource whose service is to acknowledge it.
    pub crn: ResourceCrn,
    /// What happened.
    pub kind: LifecycleKind,
    /// When.
    pub at: Timestamp,
    /// The key's newest version then.
    pub version: VersionId,
}
