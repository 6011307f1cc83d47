//! A decision: which policies can apply, what they say, and how long that is good for.

use std::collections::HashMap;

use cedar_policy_core::ast::{Literal, Value, ValueKind};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use keygate_plugin_sdk::rule::{Decision, Denial, Facts, Obligation, PrincipalKind, Request, Verdict};
use smol_str::SmolStr;

use crate::actions::{self, About};
use crate::mentions::Mentions;
use crate::program::{Policy, Program, Shelf, Side};
use crate::roles;
use crate::world::{Resource, Types, World};
use crate::zone::{DAY, Zone};

/// Most obligations of one answer.
const MAX_OBLIGATIONS: usize = 16;

/// Decides.
///
/// # Errors
/// What the operator has to know: a policy that could not be evaluated, or a question that this plugin does not know.
pub(crate) fn decide(program: &Program, types: &Types, zone: &Zone, request: &Request) -> Result<Verdict, String> {
    let Some((about, shelf)) = program.shelf(&request.action) else {
        if program.actions.is_empty() {
            return Err(format!(
                "no action `{}` is known here: the host is newer than this plugin",
                request.action.escape_debug()
            ));
        }
        return Ok(Verdict::abstain().remembered_by(Facts::ACTION));
    };
    let resource = resource(request, about)?;
    let candidates = candidates(program, shelf, request, resource);
    let mentions = candidates.iter().fold(Mentions::NONE, |all, policy| all.or(policy.mentions));
    let world = World::new(request, resource, types, zone, mentions);
    let decision = evaluate(program, &candidates, &world)?;
    Ok(remember(Verdict { decision, memo: None }, mentions, &world))
}

/// What the request is about.
pub(crate) fn resource(request: &Request, about: About) -> Result<Resource<'_>, String> {
    let target = &request.target;
    if about != About::Place {
        match (&target.key, &target.key_name) {
            (Some(key), _) => return Ok(Resource::Key(key)),
            (None, Some(name)) => return Ok(Resource::MissingKey(name)),
            (None, None) if about == About::Key => {
                return Err(format!(
                    "a request for `{}` must name a key: the host is newer than this plugin",
                    request.action.escape_debug()
                ));
            }
            (None, None) => {}
        }
    }
    Ok(target.key_ring.as_deref().map_or(Resource::Instance, Resource::Ring))
}

/// The policies whose scope the request is in, forbids first, each kind in the order of the texts.
pub(crate) fn candidates<'p>(
    program: &'p Program,
    shelf: &Shelf,
    request: &Request,
    resource: Resource<'_>,
) -> Vec<&'p Policy> {
    let mut numbers: Vec<u16> = shelf.others.clone();
    let find = |numbers: &mut Vec<u16>, list: &[((SmolStr, SmolStr), Vec<u16>)], kind: &str, id: &str| {
        let found = list.binary_search_by(|((k, i), _)| k.as_str().cmp(kind).then_with(|| i.as_str().cmp(id)));
        if let Some((_, found)) = found.ok().and_then(|at| list.get(at)) {
            numbers.extend_from_slice(found);
        }
    };
    if !shelf.by_resource.is_empty() {
        let target = &request.target;
        if is_across_rings(request, resource) {
            shelf.rings().for_each(|found| numbers.extend_from_slice(found));
        }
        find(&mut numbers, &shelf.by_resource, "Instance", &target.instance_id);
        if let Some(ring) = &target.key_ring {
            find(&mut numbers, &shelf.by_resource, "Ring", ring);
        }
        match resource {
            Resource::Key(key) => find(&mut numbers, &shelf.by_resource, "Key", &key.id),
            Resource::MissingKey(name) => find(&mut numbers, &shelf.by_resource, "Key", name),
            Resource::Ring(_) | Resource::Instance => {}
        }
    }
    if !shelf.by_principal.is_empty() {
        find(&mut numbers, &shelf.by_principal, principal_type(request), &request.principal.id);
        if shelf.roles {
            roles::here(request).for_each(|role| find(&mut numbers, &shelf.by_principal, "Role", role));
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let missing = matches!(resource, Resource::MissingKey(_));
    let applies = |policy: &&Policy| {
        // Nothing can be said of a key that does not exist, and nothing has to be protected.
        !(missing && policy.mentions.any(Mentions::OF_KEY))
            && is_principal(&policy.principal, request)
            && (is_resource(&policy.resource, request, resource) || may_be_in_it(policy, request, resource))
    };
    let mut found: Vec<&Policy> =
        numbers.iter().filter_map(|number| program.policies.get(usize::from(*number))).filter(applies).collect();
    found.sort_by_key(|policy| !policy.forbids);
    found
}

fn principal_type(request: &Request) -> &'static str {
    match request.principal.kind {
        PrincipalKind::User => "User",
        PrincipalKind::Service => "Service",
    }
}

fn is_principal(side: &Side, request: &Request) -> bool {
    let kind = principal_type(request);
    if side.is.as_ref().is_some_and(|is| is != kind) {
        return false;
    }
    match &side.entity {
        None => true,
        Some((of, id)) if of == kind => *id == request.principal.id,
        Some((of, id)) => side.within && of == "Role" && roles::here(request).any(|role| role == id),
    }
}

fn is_resource(side: &Side, request: &Request, resource: Resource<'_>) -> bool {
    let (kind, own): (&str, &str) = match resource {
        Resource::Key(key) => ("Key", &key.id),
        Resource::MissingKey(name) => ("Key", name),
        Resource::Ring(ring) => ("Ring", ring),
        Resource::Instance => ("Instance", &request.target.instance_id),
    };
    if side.is.as_ref().is_some_and(|is| is != kind) {
        return false;
    }
    match &side.entity {
        None => true,
        Some((of, id)) if of == kind => id == own,
        Some(_) if !side.within => false,
        Some((of, id)) if of == "Instance" => *id == request.target.instance_id,
        Some((of, id)) if of == "Ring" && kind == "Key" => request.target.key_ring.as_deref() == Some(id),
        Some(_) => false,
    }
}

/// Whether a request across all rings is caught by a policy that forbids something in one: what is in that ring would come
/// out, too. One that permits something in a ring permits nothing in all.
fn may_be_in_it(policy: &Policy, request: &Request, resource: Resource<'_>) -> bool {
    let side = &policy.resource;
    policy.forbids
        && side.entity.as_ref().is_some_and(|(kind, _)| kind == "Ring")
        && side.is.as_ref().is_none_or(|kind| kind == "Key" || kind == "Ring")
        && is_across_rings(request, resource)
}

fn is_across_rings(request: &Request, resource: Resource<'_>) -> bool {
    resource == Resource::Instance && actions::is_across_rings(&request.action)
}

/// What the policies say. Everything that can be evaluated is, but for what comes after the first forbid that applies.
fn evaluate(program: &Program, candidates: &[&Policy], world: &World<'_>) -> Result<Decision, String> {
    if candidates.is_empty() {
        return Ok(Decision::Abstain);
    }
    let mut numbers: Vec<u16> = candidates.iter().flat_map(|policy| policy.constants.iter().copied()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let constants = numbers.iter().filter_map(|number| program.constants.get(usize::from(*number)).cloned());
    let request = world.request(constants)?;
    let entities = world.entities()?;
    let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
    let slots = HashMap::new();
    let applies = |policy: &Policy| match &policy.condition {
        None => Ok(true),
        Some(condition) => match evaluator.interpret(condition, &slots) {
            Ok(Value { value: ValueKind::Lit(Literal::Bool(holds)), .. }) => Ok(holds),
            Ok(_) => {
                Err(format!("policy {} could not be evaluated: its condition is neither true nor false", policy.name))
            }
            Err(error) => Err(format!("policy {} could not be evaluated: {error}", policy.name)),
        },
    };
    let mut permits: Option<Vec<Obligation>> = None;
    for policy in candidates {
        if !applies(policy)? {
            continue;
        }
        match &policy.refusal {
            Some(refusal) => {
                let (code, message) = (refusal.code.clone(), refusal.message.clone());
                return Ok(Decision::Deny(Denial { kind: refusal.kind, code, message }));
            }
            None => permits.get_or_insert_default().extend(policy.obligations.iter().cloned()),
        }
    }
    permits.map_or(Ok(Decision::Abstain), |obligations| merge(obligations).map(Decision::Allow))
}

/// All obligations of the permits that apply, the same one once, of several caps the least.
fn merge(mut all: Vec<Obligation>) -> Result<Vec<Obligation>, String> {
    let cap = |one: &Obligation| (one.name == "max-data-bytes").then(|| one.value.parse::<u64>().ok()).flatten();
    let least = all.iter().filter_map(cap).min();
    all.retain(|one| cap(one) == least || cap(one).is_none());
    let mut merged: Vec<Obligation> = Vec::new();
    for one in all {
        if merged.contains(&one) || (one.name == "max-data-bytes" && merged.iter().any(|other| other.name == one.name))
        {
            continue;
        }
        if one.name == "new-key-ring" && merged.iter().any(|other| other.name == one.name) {
            return Err("two policies that apply put the new key into two different rings".to_owned());
        }
        merged.push(one);
    }
    if merged.len() > MAX_OBLIGATIONS {
        return Err(format!(
            "the policies that apply have {} obligations, and {MAX_OBLIGATIONS} is the most",
            merged.len()
        ));
    }
    Ok(merged)
}

/// Which candidates there are depends on caller, action, and where the resource is. The rest is what they mention.
fn remember(verdict: Verdict, mentions: Mentions, world: &World<'_>) -> Verdict {
    const METADATA: Mentions = Mentions::NAME
        .or(Mentions::ALIASES)
        .or(Mentions::TAGS)
        .or(Mentions::STATE)
        .or(Mentions::CREATED_BY)
        .or(Mentions::ROTATED)
        .or(Mentions::MATERIAL_AGE)
        .or(Mentions::EXPIRES)
        .or(Mentions::DUAL_AUTH)
        .or(Mentions::DELETION);
    const FACTS: Mentions = Mentions::FORCE
        .or(Mentions::NEW_KEY)
        .or(Mentions::NEW_RING)
        .or(Mentions::IMPORT_TOKEN)
        .or(Mentions::PLAINTEXT_BYTES)
        .or(Mentions::RESOURCE_SERVICE);
    // An instant that no other request has; the request's own id.
    if mentions.any(Mentions::UNIX_MS) || mentions.any(Mentions::REQUEST) {
        return verdict;
    }
    let mut reads = Facts::PRINCIPAL | Facts::ACTION | Facts::INSTANCE | Facts::KEY_RING | Facts::KEY_IDENTITY;
    if mentions.any(METADATA) {
        reads = reads | Facts::KEY_METADATA;
    }
    if mentions.any(Mentions::ADDRESS.or(Mentions::ENDPOINT)) {
        reads = reads | Facts::NETWORK;
    }
    if mentions.any(FACTS) {
        reads = reads | Facts::ATTRIBUTES;
    }
    match until(mentions, world) {
        None => verdict.remembered_by(reads),
        Some(unix_ms) => verdict.remembered_by(reads | Facts::TIME).until(unix_ms),
    }
}

/// When one of the mentioned times may change; none, if none is mentioned.
fn until(mentions: Mentions, world: &World<'_>) -> Option<u64> {
    let now = i64::try_from(world.request.now_unix_ms).unwrap_or(i64::MAX);
    let mut until: Option<i64> = None;
    let mut not_after = |at: i64| until = Some(until.map_or(at, |before| before.min(at)));
    if mentions.any(Mentions::TIME) {
        let local = world.local();
        if mentions.any(Mentions::MINUTE.or(Mentions::CLOCK)) {
            not_after(local.next_minute);
        }
        if mentions.any(Mentions::HOUR) {
            not_after(local.next_hour);
        }
        not_after(local.next_day);
    }
    if let Resource::Key(key) = world.resource {
        let signed = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
        // Days are counted from these; the next begins when a whole number of days has passed.
        let mut ticks = |since: i64| not_after(now.saturating_add(DAY - now.saturating_sub(since).rem_euclid(DAY)));
        if mentions.any(Mentions::AGE.or(Mentions::MATERIAL_AGE)) {
            ticks(signed(key.created_unix_ms));
        }
        if let (true, Some(rotated)) =
            (mentions.any(Mentions::ROTATED.or(Mentions::MATERIAL_AGE)), key.last_rotated_unix_ms)
        {
            ticks(signed(rotated));
        }
        if let (true, Some(expires)) = (mentions.any(Mentions::EXPIRES), key.expires_unix_ms) {
            // The number falls right after each whole day before it.
            let left = signed(expires).saturating_sub(now);
            not_after(now.saturating_add(left.rem_euclid(DAY) + 1));
        }
        if let (true, Some(given)) = (mentions.any(Mentions::DELETION), &key.deletion_authorization)
            && signed(given.expires_unix_ms) > now
        {
            not_after(signed(given.expires_unix_ms));
        }
    }
    until.map(|at| u64::try_from(at).unwrap_or(0))
}
