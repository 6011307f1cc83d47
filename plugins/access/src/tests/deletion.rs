//! Keys that take two people to delete.

use keygate_plugin_sdk::rule::DeletionAuthorization;

use super::*;

const ANOTHER: &str = "IBMid-660000EFGH";

/// A manager who wants to delete a key under dual authorization.
fn deleting(first: Option<(&str, u64)>) -> Request {
    let mut request = about_key("kms.secrets.delete", assignment("Manager"));
    let key = request.target.key.as_mut().unwrap();
    key.dual_auth_delete = true;
    key.deletion_authorization =
        first.map(|(by, expires_unix_ms)| DeletionAuthorization { by: by.to_owned(), expires_unix_ms });
    request
}

/// A word of the message, or `allowed`.
fn heard(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::NeedsAnother(message) => {
            let said: Vec<_> =
                ["takes two", "lapsed", "your own"].into_iter().filter(|w| message.contains(w)).collect();
            assert_eq!(said.len(), 1, "{message}");
            said[0]
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn somebody_else_must_have_authorized_it_and_lately() {
    let always = basis() | Facts::KEY_METADATA;
    let timed = always | Facts::TIME;
    let cases = [
        (None, "takes two", always, None),
        (Some((ANOTHER, NOW + 1)), "allowed", timed, Some(NOW + 1)),
        (Some((ANOTHER, u64::MAX)), "allowed", timed, Some(u64::MAX)),
        (Some((ANOTHER, NOW)), "lapsed", timed, None),
        (Some((ANOTHER, NOW - 1)), "lapsed", timed, None),
        (Some((ANOTHER, 0)), "lapsed", timed, None),
        (Some((USER, NOW + 1)), "your own", timed, Some(NOW + 1)),
        (Some((USER, NOW)), "lapsed", timed, None),
    ];
    for (first, expected, reads, valid_until_unix_ms) in cases {
        for force in [None, Some("true"), Some("false")] {
            let mut asked = deleting(first);
            asked.attributes = force.map(|force| ("force".to_owned(), force.to_owned())).into_iter().collect();
            let (outcome, memo) = ask_all(&asked);
            assert_eq!(heard(outcome), expected, "{first:?} force {force:?}");
            assert_eq!(memo, Memo { reads, valid_until_unix_ms }, "{first:?} force {force:?}");
        }
    }
}

#[test]
fn the_promise_ends_when_the_authorization_lapses() {
    let mut asked = deleting(Some((ANOTHER, NOW + 1_000)));
    let (outcome, memo) = ask_all(&asked);
    assert_eq!(outcome, Outcome::Allowed);
    let until = memo.valid_until_unix_ms.unwrap();
    asked.now_unix_ms = until - 1;
    assert_eq!(ask(&asked), Outcome::Allowed, "as promised");
    asked.now_unix_ms = until;
    assert_eq!(heard(ask(&asked)), "lapsed");
}

#[test]
fn it_holds_in_every_state_but_destroyed() {
    for state in [KeyState::PreActivation, KeyState::Active, KeyState::Suspended, KeyState::Deactivated] {
        let mut asked = deleting(None);
        asked.target.key.as_mut().unwrap().state = state;
        assert_eq!(heard(ask(&asked)), "takes two", "{state:?}");
    }
    let mut deleted = deleting(None);
    deleted.target.key.as_mut().unwrap().state = KeyState::Destroyed;
    assert_eq!(ask(&deleted), Outcome::Allowed, "the host says that it is gone");
}

#[test]
fn a_key_without_it_or_a_missing_key_takes_one() {
    let mut alone = deleting(Some((USER, NOW - 1)));
    alone.target.key.as_mut().unwrap().dual_auth_delete = false;
    assert_eq!(ask(&alone), Outcome::Allowed);
    let mut missing = deleting(None);
    missing.target.key = None;
    assert_eq!(ask(&missing), Outcome::Allowed, "the host says that it is not there");
    // The policy of the instance is about keys to come.
    let mut older = under(deleting(None), "dualAuthDelete", &[]);
    older.target.key.as_mut().unwrap().dual_auth_delete = false;
    assert_eq!(ask(&older), Outcome::Allowed);
}

#[test]
fn nothing_else_takes_two() {
    for action in ["kms.secrets.setkeyfordeletion", "kms.secrets.unsetkeyfordeletion", "kms.secrets.disable"] {
        let mut asked = deleting(None);
        asked.action = action.into();
        assert_eq!(ask(&asked), Outcome::Allowed, "{action}");
    }
    let mut purge = deleting(None);
    purge.action = "kms.secrets.purge".into();
    purge.principal.assignments = vec![assignment("KeyPurge")];
    assert_eq!(ask(&purge), Outcome::Allowed, "only a deleted key is purged, and that took two");
}

#[test]
fn whoever_may_not_delete_learns_nothing_of_it() {
    for first in [None, Some((USER, NOW + 1)), Some((ANOTHER, NOW + 1))] {
        let mut writer = deleting(first);
        writer.principal.assignments = vec![assignment("Writer")];
        assert_eq!(ask(&writer), Outcome::Unauthorized);
        let outside = under(deleting(first), "allowedIP", &[("allowed_ip", "10.0.0.0/8")]);
        assert_eq!(ask(&outside), Outcome::Unauthorized);
    }
}
