//! `DELETE /keys/{id}`. A deleted key is Destroyed at once; its material stays until it is purged, so that it can be
//! restored for a while.

use super::adopters;
use crate::access::Action;
use crate::clock::Timestamp;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::KeySelector;
use crate::key::{Deletion, Key, KeyState};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::{LifecycleKind, Registration};
use crate::state::{self, KeyAction};

/// Deletes a key; returns it as it is now. Its registrations, where `force` lets them not stand in the way, become
/// Suspended until their services say that they know.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_DELETED_ERR`, `AUTHORIZATIONS_NOT_MET` where deleting takes two people, `PREV_KEY_DEL_ERR` and
/// `PROTECTED_RESOURCE_ERR` for a key that protects resources, and what chain, store and audit log fail with.
pub async fn delete(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    force: Result<bool, Error>,
) -> Result<Key, Error> {
    let mut ask = Ask::key(Action::Delete, selector);
    if let Ok(force) = &force {
        ask = ask.with("force", force);
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let force = force?;
            let (key, now) = (admitted.key()?, admitted.now);
            state::check(KeyAction::Delete, key)?;
            let two_people = key.needs_dual_auth() || admitted.obligations().dual_authorization();
            check_authorized(key, two_people, &cx.principal.id, now)?;
            check_registrations(&adopters::registrations(gateway, key).await?, force)?;
            let deleted = Key {
                state: KeyState::Destroyed,
                deletion: Some(Deletion { at: now, by: cx.principal.id.clone() }),
                // Used up: a key that is restored takes two people again.
                authorization: None,
                updated_at: now,
                revision: key.revision + 1,
                ..key.clone()
            };
            let deleted = adopters::commit(gateway, deleted, LifecycleKind::Deleted, now, Vec::new()).await?;
            Ok(Done::new(()).about(&deleted).map(|()| deleted))
        })
        .await
}

/// That deleting takes two people is the built-in rule's to say of a key under that policy. It holds without that rule, too:
/// a chain that was put together without it must not make dual authorization into a word. For other keys a rule can oblige
/// to it, and then it is said here alone.
fn check_authorized(key: &Key, two_people: bool, caller: &str, now: Timestamp) -> Result<(), Error> {
    if !two_people || key.authorization_at(now).is_some_and(|first| first.given.by != caller) {
        return Ok(());
    }
    Err(Error::refused(
        ReasonCode::AuthorizationsNotMet,
        "Deleting this key takes two users: one authorizes it (POST /api/v2/keys/{id}/actions/setKeyForDeletion), and \
         another one deletes it before the authorization lapses",
    ))
}

/// A retention policy first, forced or not: to advise `force` where that does not help would lead astray.
fn check_registrations(registrations: &[Registration], force: bool) -> Result<(), Error> {
    let mut protecting = registrations.iter().filter(|registration| registration.protects()).peekable();
    if protecting.peek().is_none() {
        return Ok(());
    }
    if protecting.any(|registration| registration.prevent_key_deletion) {
        return Err(Error::refused(
            ReasonCode::DeletionPrevented,
            "The key protects a cloud resource that has a retention policy; have that policy removed from each such \
             resource first (GET /api/v2/keys/{id}/registrations?preventKeyDeletion=true lists them)",
        ));
    }
    if force {
        return Ok(());
    }
    let text =
        "The key protects one or more cloud resources; delete its registrations first, or delete it with force=true";
    Err(Reason::new(ReasonCode::ProtectedResource, text).query("force").into())
}
