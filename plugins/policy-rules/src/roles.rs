//! The caller's roles for what the request is about. The same reading of assignments as the rule `access` has.

use keygate_plugin_sdk::rule::{Request, RoleAssignment, Target};

use crate::actions::{ACTIONS, About};

/// The roles that the caller was given for what the request is about; some may come twice.
pub(crate) fn here(request: &Request) -> impl Iterator<Item = &str> {
    let about = about(request);
    let assignments = request.principal.assignments.iter();
    assignments.filter(move |one| covers(one, about, &request.target)).flat_map(names)
}

/// All roles that the caller was given on anything.
pub(crate) fn anywhere(request: &Request) -> impl Iterator<Item = &str> {
    request.principal.assignments.iter().flat_map(names)
}

fn names(assignment: &RoleAssignment) -> impl Iterator<Item = &str> {
    assignment.roles.iter().map(String::as_str)
}

/// What an assignment can be about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// One key.
    Key,
    /// Keys, none in particular.
    Keys,
    /// The instance.
    Instance,
}

fn about(request: &Request) -> Reach {
    let row = ACTIONS.iter().find(|row| row.0 == request.action);
    match row.map(|row| row.1) {
        Some(About::Key | About::Either) => Reach::Key,
        // Lists and new keys: the resource type `key` covers them, and no key's id does.
        _ if request.action.starts_with("kms.secrets") => Reach::Keys,
        _ => Reach::Instance,
    }
}

fn covers(assignment: &RoleAssignment, about: Reach, target: &Target) -> bool {
    let instance = assignment.instance_id.as_ref().is_none_or(|id| *id == target.instance_id);
    let ring = assignment.key_ring.as_ref().is_none_or(|ring| target.key_ring.as_ref() == Some(ring));
    let kind = assignment.resource_type.as_ref().is_none_or(|kind| kind == "key" && about != Reach::Instance);
    let key = assignment.resource_id.as_ref().is_none_or(|id| about == Reach::Key && is_named(target, id));
    instance && ring && kind && key
}

fn is_named(target: &Target, id: &str) -> bool {
    match &target.key {
        Some(key) => key.id == id,
        None => target.key_name.as_deref() == Some(id),
    }
}
