//! Checked policies, made ready: conditions without what only people need, and an index by action, resource and caller.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{
    ActionConstraint, Effect, EntityReference, EntityUID, Expr, PrincipalOrResourceConstraint, Value,
};
use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::rule::{DenialKind, Obligation};
use smol_str::SmolStr;

use crate::actions::{self, ACTIONS, About};
use crate::fold::Folder;
use crate::mentions::Mentions;
use crate::parse::Checked;

/// Who or what a policy is for: one side of its scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// Of this type.
    pub(crate) is: Option<SmolStr>,
    /// This one, or for `within` one that is in it.
    pub(crate) entity: Option<(SmolStr, SmolStr)>,
    pub(crate) within: bool,
}

/// What a matching forbid answers.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: DenialKind,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A policy, ready.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) forbids: bool,
    pub(crate) principal: Side,
    pub(crate) resource: Side,
    /// What must hold beside the scope; nothing, if nothing must.
    pub(crate) condition: Option<Expr>,
    pub(crate) mentions: Mentions,
    /// The constants that the condition names, as numbers in [`Program::constants`].
    pub(crate) constants: Vec<u16>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) obligations: Vec<Obligation>,
    /// For the operator: id, where it has one, and place.
    pub(crate) name: String,
}

/// Policies of one action. A policy is in one of the lists, by the part of its scope that says most.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Sorted by the entity: type and id.
    pub(crate) by_resource: Vec<((SmolStr, SmolStr), Vec<u16>)>,
    pub(crate) by_principal: Vec<((SmolStr, SmolStr), Vec<u16>)>,
    pub(crate) others: Vec<u16>,
    /// Whether `by_principal` has a role in it.
    pub(crate) roles: bool,
}

impl Shelf {
    /// The policies whose scope names a ring.
    pub(crate) fn rings(&self) -> impl Iterator<Item = &[u16]> {
        self.by_resource.iter().filter(|((kind, _), _)| kind == "Ring").map(|(_, numbers)| numbers.as_slice())
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) policies: Vec<Policy>,
    /// Sorted by the action.
    pub(crate) shelves: Vec<(&'static str, About, Shelf)>,
    /// Values that conditions name, with the names.
    pub(crate) constants: Vec<(SmolStr, Value)>,
    /// What the host has to ask about; empty: everything.
    pub(crate) actions: Vec<String>,
}

impl Program {
    /// Makes policies ready.
    ///
    /// # Errors
    /// A constant that cannot be, such as a network that is none.
    pub(crate) fn new(checked: &[Checked]) -> Result<Self, SettingsError> {
        let mut folder = Folder::default();
        let policies = checked.iter().map(|one| policy(one, &mut folder)).collect::<Result<Vec<_>, _>>()?;
        let mut shelves: BTreeMap<&'static str, (About, Builder)> = BTreeMap::new();
        for (number, one) in checked.iter().enumerate() {
            let Ok(at) = u16::try_from(number) else { break };
            for row in ACTIONS.iter().filter(|row| covers(one.template.action_constraint(), row)) {
                let Some(policy) = policies.get(number) else { continue };
                shelves.entry(row.0).or_insert_with(|| (row.1, Builder::default())).1.add(policy, at);
            }
        }
        let everything = checked.iter().any(|one| matches!(one.template.action_constraint(), ActionConstraint::Any));
        // A policy for every action is for those, too, that this plugin has not heard of.
        let actions = if everything { Vec::new() } else { shelves.keys().map(|action| (*action).to_owned()).collect() };
        let shelves = shelves.into_iter().map(|(action, (about, builder))| (action, about, builder.done())).collect();
        Ok(Self { policies, shelves, constants: folder.constants(), actions })
    }

    /// The policies of an action.
    pub(crate) fn shelf(&self, action: &str) -> Option<(About, &Shelf)> {
        let at = self.shelves.binary_search_by(|(known, _, _)| (*known).cmp(action)).ok()?;
        self.shelves.get(at).map(|(_, about, shelf)| (*about, shelf))
    }
}

fn policy(checked: &Checked, folder: &mut Folder) -> Result<Policy, SettingsError> {
    let template = &checked.template;
    let forbids = template.effect() == Effect::Forbid;
    let mut mentions = Mentions::NONE;
    let mut constants = Vec::new();
    let condition = match template.non_scope_constraints() {
        None => None,
        Some(expr) => {
            mentions.add(expr);
            let folded = folder
                .fold(expr, &mut constants)
                .map_err(|message| SettingsError::new(checked.place.clone(), message))?;
            Some(folded)
        }
    };
    constants.sort_unstable();
    constants.dedup();
    let name = match &checked.notes.id {
        Some(id) => format!("{id} ({})", checked.place),
        None => checked.place.clone(),
    };
    let refusal = forbids.then(|| Refusal {
        kind: checked.notes.kind,
        code: checked.notes.code.clone(),
        message: checked.notes.message.clone().unwrap_or_else(|| match &checked.notes.id {
            Some(id) => format!("The policy '{id}' forbids this"),
            None => "A policy forbids this".to_owned(),
        }),
    });
    Ok(Policy {
        forbids,
        principal: side(template.principal_constraint().as_inner()),
        resource: side(template.resource_constraint().as_inner()),
        condition,
        mentions,
        constants,
        refusal,
        obligations: checked.notes.obligations.clone(),
        name,
    })
}

/// One side of a scope. What has slots was refused before.
fn side(constraint: &PrincipalOrResourceConstraint) -> Side {
    let entity = |reference: &EntityReference| match reference {
        EntityReference::EUID(uid) => Some(pair(uid)),
        EntityReference::Slot(_) => None,
    };
    match constraint {
        PrincipalOrResourceConstraint::Any => Side::default(),
        PrincipalOrResourceConstraint::Is(is) => Side { is: Some(name(is.as_ref())), ..Side::default() },
        PrincipalOrResourceConstraint::Eq(one) => Side { entity: entity(one), ..Side::default() },
        PrincipalOrResourceConstraint::In(one) => Side { entity: entity(one), within: true, is: None },
        PrincipalOrResourceConstraint::IsIn(is, one) => {
            Side { is: Some(name(is.as_ref())), entity: entity(one), within: true }
        }
    }
}

fn name(of: &impl std::fmt::Display) -> SmolStr {
    SmolStr::new(of.to_string())
}

/// Type and id of an entity.
pub(crate) fn pair(uid: &EntityUID) -> (SmolStr, SmolStr) {
    (name(uid.entity_type()), SmolStr::new(uid.eid()))
}

/// Whether an action is among those of a scope.
pub(crate) fn covers(constraint: &ActionConstraint, row: &(&str, About, &[&str])) -> bool {
    let is = |uid: &EntityUID| AsRef::<str>::as_ref(uid.eid()) == row.0;
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => is(one),
        ActionConstraint::In(several) => {
            let groups = actions::groups(row);
            several.iter().any(|one| is(one) || groups.iter().any(|group| group == AsRef::<str>::as_ref(one.eid())))
        }
    }
}

type Entries = BTreeMap<(SmolStr, SmolStr), Vec<u16>>;

#[derive(Default)]
struct Builder {
    by_resource: Entries,
    by_principal: Entries,
    others: Vec<u16>,
}

impl Builder {
    fn add(&mut self, policy: &Policy, number: u16) {
        match (&policy.resource.entity, &policy.principal.entity) {
            (Some(entity), _) => self.by_resource.entry(entity.clone()).or_default().push(number),
            (None, Some(entity)) => self.by_principal.entry(entity.clone()).or_default().push(number),
            (None, None) => self.others.push(number),
        }
    }

    fn done(self) -> Shelf {
        let roles = self.by_principal.keys().any(|(kind, _)| kind == "Role");
        let list = |entries: Entries| entries.into_iter().collect();
        Shelf { by_resource: list(self.by_resource), by_principal: list(self.by_principal), others: self.others, roles }
    }
}
