//! Roles: whether the caller was given what the action takes, on what the request is about.

use keygate_plugin_sdk::rule::{RoleAssignment, Target};

use crate::question::Question;
use crate::roles::{About, Also, PATCH, Row};

/// Whether the caller's assignments allow the action here, and in the ring that keys would move to or from.
pub(crate) fn granted(row: &Row, question: &mut Question<'_>) -> bool {
    let target = question.target();
    if !held(row, question, |assignment| covers(assignment, row, target)) {
        return false;
    }
    match row.also {
        Also::NewRing => question.fact("new-ring").is_none_or(|ring| may_move(question, Some(ring))),
        Also::ForcedRing => {
            question.fact("force").is_none_or(|force| force == "false")
                || may_move(question, target.key_ring.as_deref())
        }
        _ => true,
    }
}

/// Whether the caller may move keys to this ring and from it; `None` is a ring whose name could not be read.
pub(crate) fn may_move(question: &Question<'_>, ring: Option<&str>) -> bool {
    held(&PATCH, question, |assignment| covers_ring(assignment, question.target(), ring))
}

/// Whether one of the assignments that cover has a role that has the action.
fn held(row: &Row, question: &Question<'_>, covers: impl Fn(&RoleAssignment) -> bool) -> bool {
    let mut assignments = question.principal().assignments.iter();
    assignments.any(|assignment| covers(assignment) && assignment.roles.iter().any(|role| row.roles.has(role)))
}

/// Whether an assignment is about what the request is about. The gateway itself is no part of anything: only an assignment
/// on no part of it is about that.
fn covers(assignment: &RoleAssignment, row: &Row, target: &Target) -> bool {
    if row.about == About::Gateway {
        let RoleAssignment { instance_id, key_ring, resource_type, resource_id, .. } = assignment;
        return [instance_id, key_ring, resource_type, resource_id].iter().all(|part| part.is_none());
    }
    let instance = assignment.instance_id.as_ref().is_none_or(|id| *id == target.instance_id);
    let ring = assignment.key_ring.as_ref().is_none_or(|ring| target.key_ring.as_ref() == Some(ring));
    let kind = assignment
        .resource_type
        .as_ref()
        .is_none_or(|kind| kind == "key" && !matches!(row.about, About::Instance | About::CryptoInstance));
    let key = assignment.resource_id.as_ref().is_none_or(|id| row.about == About::Key && names(target, id));
    instance && ring && kind && key
}

/// Whether an assignment is about the keys of this ring. One for a single key is not, or whoever was given a key could
/// put it under anybody's hands; unless it is for that key in this ring.
fn covers_ring(assignment: &RoleAssignment, target: &Target, ring: Option<&str>) -> bool {
    let instance = assignment.instance_id.as_ref().is_none_or(|id| *id == target.instance_id);
    let here = assignment.key_ring.as_deref().is_none_or(|own| ring == Some(own));
    let kind = assignment.resource_type.as_ref().is_none_or(|kind| kind == "key");
    let key = assignment.resource_id.as_ref().is_none_or(|id| assignment.key_ring.is_some() && names(target, id));
    instance && here && kind && key
}

/// Whether the request names the key with this id. Where the key does not exist, the caller who was given a key by this
/// id may learn that; its name counts then.
fn names(target: &Target, id: &str) -> bool {
    match &target.key {
        Some(key) => key.id == id,
        None => target.key_name.as_deref() == Some(id),
    }
}
