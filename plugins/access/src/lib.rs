//! Built-in policy rule: what the access policies of the Key Protect API decide.
//!
//! A request is allowed if it passes all of these. They are asked in this order, so that who has no role, or comes from
//! where nobody may come from, gets the same bare 401 whatever there is:
//!
//! | | question | otherwise |
//! |---|---|---|
//! | `scope` | has one of the caller's role assignments this action on what the request is about? | 401 `UNAUTHORIZED_ERR` |
//! | `network` | do the instance policies `allowedNetwork` and `allowedIP` let it in? | 401 `UNAUTHORIZED_ERR` |
//! | `callers` | is the action for this kind of caller? | 403 `SERVICE_ONLY_ERR` |
//! | | is the resource of a registration the calling service's own? | 403 `RESOURCE_OWNER_ERR` |
//! | `creation` | does the instance policy `keyCreateImportAccess` permit this key? | 409 `KEY_CREATE_IMPORT_ACCESS_ERR` |
//! | `deletion` | has somebody else authorized the deletion, where it takes two? | 409 `AUTHORIZATIONS_NOT_MET` |
//!
//! Unknown actions are denied too. A denial is final, so a rule that gives a meaning to roles of the operator's own takes
//! this rule's place in the chain; beside it, it can only deny more.
//!
//! # Roles
//! The table is in `roles.rs`. An assignment covers what each of its parts covers; an absent part covers all:
//! - `instance-id`: requests to that instance;
//! - `key-ring`: requests about a key in that ring, or that name the ring (a list without a ring does not);
//! - `resource-type`: `key` covers requests about keys, and nothing else is known;
//! - `resource-id`: requests that name that key, by its id or by an alias of it. Lists name no key.
//!
//! Moving a key takes the role twice: on the key where it is, and on the ring that it goes to (the fact `new-ring`). An
//! assignment for a single key counts on that ring only if it names the ring too. The forced deletion of a ring (`force`)
//! moves what is left in it, and takes the right to that as well.
//!
//! Actions that begin with `keygate.` are about the gateway itself, whose `instance-id` is the nil UUID. They take the role
//! `Administrator` by an assignment on no part of anything, and those that only look take `Viewer` as well; these roles give
//! nothing else. But `keygate.crypto-instances.read` is about a crypto instance, whose id the rule is told as that of an
//! instance: it takes a role there, `Reader` or a higher one.
//!
//! # Facts of the host
//! A fact that is absent from `request.attributes`, because the host could not read the body or the path, leads to no
//! denial: the host refuses the request itself, with a better reason. A request without an address is kept
//! out by the network policies: the gateway's own background work, which comes in by no door, never asks a rule.

mod callers;
mod creation;
mod deletion;
mod network;
mod question;
mod roles;
mod scope;

use keygate_plugin_sdk::rule::{Description, Request, Rule, Verdict};
use keygate_plugin_sdk::{SettingsError, export_rule, settings};

use crate::question::Question;
use crate::roles::Also;

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
        let mut question = Question::new(request);
        let verdict = decide(&mut question)?;
        Ok(question.remember(verdict))
    }
}

/// Asks what there is to ask, in the order of the crate's documentation.
fn decide(question: &mut Question<'_>) -> Result<Verdict, String> {
    let Some(row) = roles::find(question.action()) else { return Ok(unauthorized()) };
    if !scope::granted(row, question) || network::keeps_out(question) {
        return Ok(unauthorized());
    }
    if let Some(denial) = callers::refuse(row, question) {
        return Ok(denial);
    }
    let denial = match row.also {
        Also::Creation => creation::refuse_key(question)?,
        Also::Material => creation::refuse_material(question)?,
        Also::SecondPerson => deletion::refuse(question),
        Also::Nothing | Also::NewRing | Also::ForcedRing | Also::Owner => None,
    };
    Ok(denial.unwrap_or_else(Verdict::allow))
}

fn unauthorized() -> Verdict {
    Verdict::deny_unauthorized("UNAUTHORIZED_ERR", "The user does not have access to the specified resource")
}

export_rule!(Access);

#[cfg(test)]
mod tests;
