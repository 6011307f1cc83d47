//! Which action a key's state allows. A pure function of the table in `api-contract`, e.

use crate::error::{Error, ReasonCode};
use crate::key::{Key, KeyKind, KeyState};

/// What somebody wants to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAction {
    /// See its metadata, or a standard key's payload. Allowed until it is purged.
    Read,
    /// See its versions.
    ListVersions,
    /// See its versions whatever its state (`allKeyStates=true`).
    ListVersionsOfAnyState,
    /// Wrap under it.
    Wrap,
    /// Unwrap what it wrapped.
    Unwrap,
    /// Rewrap what it wrapped.
    Rewrap,
    /// Make a new version.
    Rotate,
    /// Suspend it.
    Disable,
    /// Make a suspended key Active again.
    Enable,
    /// Give or take back the first of two authorizations to delete.
    AuthorizeDeletion,
    /// Delete it.
    Delete,
    /// Bring a deleted key back.
    Restore,
    /// Destroy a deleted key for good.
    Purge,
    /// Write one of its policies.
    WritePolicy,
    /// Change its ring.
    ChangeRing,
    /// Tell the adopters of its state.
    Sync,
}

impl KeyAction {
    /// Whether standard keys have no part in it.
    const fn needs_root_key(self) -> bool {
        matches!(
            self,
            Self::Wrap | Self::Unwrap | Self::Rewrap | Self::Rotate | Self::Disable | Self::Enable | Self::Sync
        )
    }

    /// Whether a key in this state can have it done to it.
    const fn allowed_in(self, state: KeyState) -> bool {
        use KeyState::{Active, Deactivated, Destroyed, PreActivation, Suspended};
        match self {
            Self::Read | Self::ListVersionsOfAnyState => true,
            Self::Sync | Self::ChangeRing => !matches!(state, Destroyed),
            Self::Delete => matches!(state, PreActivation | Active | Suspended | Deactivated),
            Self::ListVersions | Self::Wrap | Self::Disable | Self::AuthorizeDeletion | Self::WritePolicy => {
                matches!(state, Active)
            }
            Self::Unwrap | Self::Rewrap | Self::Rotate => matches!(state, Active | Deactivated),
            Self::Enable => matches!(state, Suspended),
            Self::Restore | Self::Purge => matches!(state, Destroyed),
        }
    }
}

/// Checks that a key is of the kind and in the state for an action. Timers are the action's own business.
///
/// # Errors
/// `KEY_ROOT_REQ_ERR` for a standard key where a root key is needed, before any look at its state;
/// `KEY_DELETED_ERR` for a deleted key; `KEY_INVALID_STATE_ERR` for policies, and
/// `KEY_ACTION_INVALID_STATE_ERR` for the rest.
pub fn check(action: KeyAction, key: &Key) -> Result<(), Error> {
    if action.needs_root_key() && key.kind == KeyKind::Standard {
        return Err(Error::refused(
            ReasonCode::KeyRootRequired,
            "The requested action can only be done with a root key, and this is a standard key",
        ));
    }
    if action.allowed_in(key.state) {
        return Ok(());
    }
    if key.state == KeyState::Destroyed {
        return Err(Error::refused(
            ReasonCode::KeyDeleted,
            "The key has been deleted; restore it first, while that is possible",
        ));
    }
    let code = match action {
        KeyAction::WritePolicy => ReasonCode::KeyInvalidState,
        _ => ReasonCode::KeyActionInvalidState,
    };
    Err(Error::refused(code, "Key is not in a valid state"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// The table of `api-contract`, e, a row an action: Active, Suspended, Deactivated, Destroyed.
    const TABLE: &[(KeyAction, [&str; 4])] = &[
        (KeyAction::Read, ["ok", "ok", "ok", "ok"]),
        (KeyAction::ListVersions, ["ok", "state", "state", "deleted"]),
        (KeyAction::ListVersionsOfAnyState, ["ok", "ok", "ok", "ok"]),
        (KeyAction::Wrap, ["ok", "state", "state", "deleted"]),
        (KeyAction::Unwrap, ["ok", "state", "ok", "deleted"]),
        (KeyAction::Rewrap, ["ok", "state", "ok", "deleted"]),
        (KeyAction::Rotate, ["ok", "state", "ok", "deleted"]),
        (KeyAction::Disable, ["ok", "state", "state", "deleted"]),
        (KeyAction::Enable, ["state", "ok", "state", "deleted"]),
        (KeyAction::AuthorizeDeletion, ["ok", "state", "state", "deleted"]),
        (KeyAction::Delete, ["ok", "ok", "ok", "deleted"]),
        (KeyAction::Restore, ["state", "state", "state", "ok"]),
        (KeyAction::Purge, ["state", "state", "state", "ok"]),
        (KeyAction::WritePolicy, ["ok", "invalid", "invalid", "deleted"]),
        (KeyAction::ChangeRing, ["ok", "ok", "ok", "deleted"]),
    ];

    fn word(result: &Result<(), Error>) -> &'static str {
        match result {
            Ok(()) => "ok",
            Err(error) => match error.reason_code() {
                Some(ReasonCode::KeyActionInvalidState) => "state",
                Some(ReasonCode::KeyInvalidState) => "invalid",
                Some(ReasonCode::KeyDeleted) => "deleted",
                Some(ReasonCode::KeyRootRequired) => "root",
                _ => "?",
            },
        }
    }

    #[test]
    fn every_cell_of_the_table_holds() {
        let states = [KeyState::Active, KeyState::Suspended, KeyState::Deactivated, KeyState::Destroyed];
        for (action, row) in TABLE {
            for (state, expected) in states.into_iter().zip(row) {
                let key = Key { state, ..Key::sample(KeyKind::Root) };
                assert_eq!(word(&check(*action, &key)), *expected, "{action:?} of a key that is {state:?}");
            }
        }
    }

    #[test]
    fn a_standard_key_is_refused_for_what_it_is_before_its_state_is_looked_at() {
        for state in KeyState::ALL {
            let key = Key { state, ..Key::sample(KeyKind::Standard) };
            assert_eq!(word(&check(KeyAction::Wrap, &key)), "root");
            assert_eq!(word(&check(KeyAction::Read, &key)), "ok");
        }
    }
}
