//! Which action a key's state allows, and from when on. Pure functions of the table and the timers in `api-contract`, e.

use std::time::Duration;

use crate::clock::Timestamp;
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
    /// Give it one more alias.
    AddAlias,
    /// Change its ring.
    ChangeRing,
    /// Tell the adopters of its state. Of a deleted key, too: those that missed the deletion are to hear of it
    /// (`api-v2: POST /keys/{id}/actions/sync` knows no 410, and names deletions among what it waits for).
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
            Self::Read | Self::ListVersionsOfAnyState | Self::Sync => true,
            Self::Delete | Self::ChangeRing | Self::AddAlias => {
                matches!(state, PreActivation | Active | Suspended | Deactivated)
            }
            Self::ListVersions | Self::Wrap | Self::Disable | Self::AuthorizeDeletion | Self::WritePolicy => {
                matches!(state, Active)
            }
            Self::Unwrap | Self::Rewrap | Self::Rotate => matches!(state, Active | Deactivated),
            Self::Enable => matches!(state, Suspended),
            Self::Restore | Self::Purge => matches!(state, Destroyed),
        }
    }
}

/// Checks that a key is of the kind and in the state for an action. For timers see [`check_wait`].
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

/// Checks that `wait` has passed since `since`. `why` says what takes its time.
///
/// # Errors
/// `REQ_TOO_EARLY_ERR`, with the seconds that are left, rounded up, and the instant from which on it may be.
pub fn check_wait(now: Timestamp, since: Timestamp, wait: Duration, why: &str) -> Result<(), Error> {
    let from = since.plus(wait);
    if now >= from {
        return Ok(());
    }
    let seconds = from.since(now).as_millis().div_ceil(1000);
    Err(Error::refused(
        ReasonCode::TooEarly,
        format!("{why}; wait {seconds} more seconds, until {}", from.to_rfc3339_millis()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// The table of `api-contract`, e, a row an action: Pre-activation, which nobody ever saw, Active, Suspended,
    /// Deactivated, Destroyed.
    const TABLE: &[(KeyAction, [&str; 5])] = &[
        (KeyAction::Read, ["ok", "ok", "ok", "ok", "ok"]),
        (KeyAction::ListVersions, ["state", "ok", "state", "state", "deleted"]),
        (KeyAction::ListVersionsOfAnyState, ["ok", "ok", "ok", "ok", "ok"]),
        (KeyAction::Wrap, ["state", "ok", "state", "state", "deleted"]),
        (KeyAction::Unwrap, ["state", "ok", "state", "ok", "deleted"]),
        (KeyAction::Rewrap, ["state", "ok", "state", "ok", "deleted"]),
        (KeyAction::Rotate, ["state", "ok", "state", "ok", "deleted"]),
        (KeyAction::Disable, ["state", "ok", "state", "state", "deleted"]),
        (KeyAction::Enable, ["state", "state", "ok", "state", "deleted"]),
        (KeyAction::AuthorizeDeletion, ["state", "ok", "state", "state", "deleted"]),
        (KeyAction::Delete, ["ok", "ok", "ok", "ok", "deleted"]),
        (KeyAction::Restore, ["state", "state", "state", "state", "ok"]),
        (KeyAction::Purge, ["state", "state", "state", "state", "ok"]),
        (KeyAction::WritePolicy, ["invalid", "ok", "invalid", "invalid", "deleted"]),
        (KeyAction::ChangeRing, ["ok", "ok", "ok", "ok", "deleted"]),
        (KeyAction::AddAlias, ["ok", "ok", "ok", "ok", "deleted"]),
        (KeyAction::Sync, ["ok", "ok", "ok", "ok", "ok"]),
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
        for (action, row) in TABLE {
            for (state, expected) in KeyState::ALL.into_iter().zip(row) {
                let key = Key { state, ..Key::sample(KeyKind::Root) };
                assert_eq!(word(&check(*action, &key)), *expected, "{action:?} of a key that is {state:?}");
            }
        }
    }

    #[test]
    fn a_standard_key_is_refused_for_what_it_is_before_its_state_is_looked_at() {
        const ROOT_ONLY: [KeyAction; 7] = [
            KeyAction::Wrap,
            KeyAction::Unwrap,
            KeyAction::Rewrap,
            KeyAction::Rotate,
            KeyAction::Disable,
            KeyAction::Enable,
            KeyAction::Sync,
        ];
        for (action, row) in TABLE {
            for (state, expected) in KeyState::ALL.into_iter().zip(row) {
                let key = Key { state, ..Key::sample(KeyKind::Standard) };
                let expected = if ROOT_ONLY.contains(action) { "root" } else { expected };
                assert_eq!(word(&check(*action, &key)), expected, "{action:?} of a standard key that is {state:?}");
            }
        }
    }

    #[test]
    fn who_comes_too_early_learns_how_long_to_wait() {
        let since = Timestamp::from_unix_ms(1_790_000_000_000);
        let wait = Duration::from_secs(30);
        let at = |ms: u64| check_wait(since.plus(Duration::from_millis(ms)), since, wait, "Patience");
        assert!(at(30_000).is_ok() && at(30_001).is_ok());
        for (ms, seconds) in [(29_999, 1), (29_000, 1), (28_999, 2), (0, 30)] {
            let error = at(ms).unwrap_err();
            assert_eq!(error.reason_code(), Some(ReasonCode::TooEarly));
            let text = format!("refused: Patience; wait {seconds} more seconds, until {}", since.plus(wait));
            assert_eq!(error.to_string(), text);
        }
        assert!(check_wait(Timestamp::from_unix_ms(0), since, wait, "a clock that went back").is_err());
    }
}
