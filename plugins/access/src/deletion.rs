//! Dual authorization: a key under it is deleted by two people, the first of whom says so beforehand.

use keygate_plugin_sdk::rule::{KeyState, Verdict};

use crate::question::Question;

/// The denial of a deletion by one person alone. `force` is about registrations and changes nothing here.
pub(crate) fn refuse(question: &mut Question<'_>) -> Option<Verdict> {
    let key = question.key()?;
    // A deleted key has the host's answer that it is deleted already.
    if !key.dual_auth_delete || key.state == KeyState::Destroyed {
        return None;
    }
    let message = match &key.deletion_authorization {
        None => {
            "Deleting this key takes two users: let another one authorize it first (POST \
             /api/v2/keys/{id}/actions/setKeyForDeletion)"
        }
        Some(first) if question.is_past(first.expires_unix_ms) => {
            "The authorization to delete this key has lapsed: let another user authorize it again (POST \
             /api/v2/keys/{id}/actions/setKeyForDeletion)"
        }
        Some(first) if first.by == question.principal().id => {
            "The authorization to delete this key is your own: another user must delete it"
        }
        Some(_) => return None,
    };
    Some(Verdict::deny_conflict("AUTHORIZATIONS_NOT_MET", message))
}
