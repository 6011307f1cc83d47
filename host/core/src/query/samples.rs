//! A key as lists see it, for tests.

use crate::clock::Timestamp;
use crate::ids::KeyId;
use crate::key::{KeyKind, KeyState};

use super::Listed;

/// An Active root key in the ring `blue` that was neither rotated nor deleted and never expires.
pub(super) fn listed() -> Listed<'static> {
    let at = Timestamp::from_unix_ms(1_700_000_000_000);
    Listed {
        id: KeyId::from_bytes([7; 16]),
        state: KeyState::Active,
        kind: KeyKind::Root,
        imported: false,
        ring: "blue",
        created: at,
        updated: at,
        rotated: None,
        deleted: None,
        expires: None,
        names: "sample key\nalias-one\nalias-two",
    }
}
