//! Key rings: parts of an instance that roles can be given on.

use crate::ids::{InstanceId, KeyRingId};
use crate::key::Stamp;

/// A key ring that somebody made. `default` is none: every instance has it from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    /// Whose.
    pub instance: InstanceId,
    /// Its id.
    pub id: KeyRingId,
    /// Made when and by whom.
    pub created: Stamp,
}
