//! Built-in policy rule: the IAM roles of the Key Protect API.
//!
//! A request is allowed if one of the caller's role assignments covers what it is about and holds a role that has the
//! action; the table is in `roles.rs`. Everything else is denied, unknown actions too. A denial is final, so a rule that
//! gives a meaning to roles of the operator's own takes this rule's place in the chain; beside it, it can only deny more.
//!
//! An assignment covers what each of its parts covers; an absent part covers all:
//! - `instance-id`: requests to that instance;
//! - `key-ring`: requests about a key in that ring, or that name the ring (a list without a ring does not);
//! - `resource-type`: `key` covers requests about keys, and nothing else is known;
//! - `resource-id`: requests that name that key, by its id or by an alias of it. Lists name no key.
//!
//! Some actions are for services. A user whose roles would have one is told so (403, `SERVICE_ONLY_ERR`); without the
//! role the answer is the same 401 as ever, so that it says nothing about what is there.

mod roles;

use keygate_plugin_sdk::rule::{Description, Facts, PrincipalKind, Request, RoleAssignment, Rule, Target, Verdict};
use keygate_plugin_sdk::{SettingsError, export_rule, settings};

use crate::roles::{About, Callers, Row};

/// The rule. It has no settings.
pub struct Access;

impl Rule for Access {
    fn configure(text: &str) -> Result<Self, SettingsError> {
        settings::none(text).map(|()| Self)
    }

    fn describe(&self) -> Description {
        Description {
            name: "access".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // All of them: what no role has is denied in here, in so many words, and not left to the chain's silence.
            actions: Vec::new(),
        }
    }

    fn evaluate(&self, request: &Request) -> Result<Verdict, String> {
        let verdict = match roles::find(&request.action) {
            Some(row) if granted(row, request) => match (row.callers, request.principal.kind) {
                (Callers::Services, PrincipalKind::User) => Verdict::deny_forbidden(
                    "SERVICE_ONLY_ERR",
                    "Only services may do this: call it with the access token of a service id",
                ),
                _ => Verdict::allow(),
            },
            _ => Verdict::deny_unauthorized(
                "UNAUTHORIZED_ERR",
                "The user does not have access to the specified resource",
            ),
        };
        let read = Facts::PRINCIPAL | Facts::ACTION | Facts::INSTANCE | Facts::KEY_RING | Facts::KEY_IDENTITY;
        Ok(verdict.remembered_by(read))
    }
}

/// Whether some assignment covers the request and has a role that has the action.
fn granted(row: &Row, request: &Request) -> bool {
    request.principal.assignments.iter().any(|assignment| {
        covers(assignment, row, &request.target) && assignment.roles.iter().any(|role| row.roles.has(role))
    })
}

/// Whether an assignment is about what the request is about.
fn covers(assignment: &RoleAssignment, row: &Row, target: &Target) -> bool {
    let instance = assignment.instance_id.as_ref().is_none_or(|id| *id == target.instance_id);
    let ring = assignment.key_ring.as_ref().is_none_or(|ring| target.key_ring.as_ref() == Some(ring));
    let kind = assignment.resource_type.as_ref().is_none_or(|kind| kind == "key" && row.about != About::Instance);
    let key = assignment.resource_id.as_ref().is_none_or(|id| row.about == About::Key && names(target, id));
    instance && ring && kind && key
}

/// Whether the request names the key with this id. Where the key does not exist, the caller who was given a key by this
/// id may learn that; its name counts then.
fn names(target: &Target, id: &str) -> bool {
    match &target.key {
        Some(key) => key.id == id,
        None => target.key_name.as_deref() == Some(id),
    }
}

export_rule!(Access);

#[cfg(test)]
mod tests;
