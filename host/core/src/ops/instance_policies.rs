//! `PUT` and `GET /instance/policies`, and `GET /instance/allowed_ip_port`. What the policies mean for a request is for the
//! rules to say; here they are checked and kept.

use std::collections::BTreeSet;

use super::cidr;
use super::input::Problems;
use crate::access::Action;
use crate::error::{Error, Reason, ReasonCode};
use crate::key::Stamp;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::policy::{CreateImportAccess, InstancePolicies, InstancePolicy, InstancePolicyKind, PolicyAttributes};
use crate::store::{Change, StoreError};

/// The most ranges of an `allowedIP` policy. Rules read them on every request, in a memory that is bounded.
pub const MAX_RANGES: usize = 1_000;

/// How often a change is tried while others change the policies of the same instance.
const ATTEMPTS: usize = 8;

/// A policy to write, in the place of the one of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteInstancePolicy {
    /// Which.
    pub kind: InstancePolicyKind,
    /// Whether it is to be switched on.
    pub enabled: bool,
    /// What more it says. What a policy says that is switched off is not kept, `allowedNetwork` apart.
    pub attributes: PolicyAttributes,
}

/// Reads the policies of an instance, all or those of one kind, on or off, in the order of [`InstancePolicyKind::ALL`].
///
/// # Errors
/// What chain, store and audit log fail with.
pub async fn read(
    gateway: &Gateway,
    cx: &RequestContext,
    which: Result<Option<InstancePolicyKind>, Error>,
) -> Result<Vec<InstancePolicy>, Error> {
    gateway
        .run(cx, Ask::beyond_rings(Action::ReadInstancePolicies), async |admitted: Admitted| {
            let which = which?;
            let wanted = |policy: &&InstancePolicy| which.is_none_or(|kind| kind == policy.kind);
            let found: Vec<_> = admitted.policies.policies.iter().filter(wanted).cloned().collect();
            let count = found.len();
            Ok(Done::new(found).tell("totalResources", count))
        })
        .await
}

/// Writes policies of an instance, each of another kind, all of them or none. `has_private_endpoint` says whether there is
/// a door left when the public one is shut.
///
/// # Errors
/// `BAD_BODY_ERR` when there is none, or two of a kind; `INVALID_FIELD_ERR` and `MISSING_FIELD_ERR` for what they say;
/// `CONFIG_RULE_CONFLICT_ERR` for one that would shut everybody out; and what chain, store and audit log fail with.
pub async fn write(
    gateway: &Gateway,
    cx: &RequestContext,
    has_private_endpoint: bool,
    input: Result<Vec<WriteInstancePolicy>, Error>,
) -> Result<(), Error> {
    gateway
        .run(cx, Ask::beyond_rings(Action::WriteInstancePolicies), async |admitted: Admitted| {
            let written = check(input?, has_private_endpoint)?;
            let stamp = Stamp { at: admitted.now, by: cx.principal.id.clone() };
            let before = commit(gateway, cx, &admitted, &written, &stamp).await?;
            Ok(told(&before, &written))
        })
        .await
}

/// The private endpoint's port, while an `allowedIP` policy is on: its clients find their way by it (`api-v2: GET
/// /instance/allowed_ip_port`).
///
/// # Errors
/// What chain, store and audit log fail with.
pub async fn allowed_ip_port(gateway: &Gateway, cx: &RequestContext, port: u16) -> Result<Option<u16>, Error> {
    gateway
        .run(cx, Ask::beyond_rings(Action::ReadAllowedIpPort), async |admitted: Admitted| {
            let policy = admitted.policies.get(InstancePolicyKind::AllowedIp);
            let found = policy.filter(|policy| policy.enabled).map(|_| port);
            Ok(Done::new(found).tell("totalResources", usize::from(found.is_some())))
        })
        .await
}

fn check(input: Vec<WriteInstancePolicy>, has_private: bool) -> Result<Vec<WriteInstancePolicy>, Error> {
    let mut problems = Problems::default();
    let mut conflict = false;
    let mut written: Vec<WriteInstancePolicy> = Vec::with_capacity(input.len());
    for WriteInstancePolicy { kind, enabled, attributes } in input {
        if written.iter().any(|other| other.kind == kind) {
            let text = format!("the policy `{}` stands twice; write each once", kind.as_str());
            problems.add(Reason::new(ReasonCode::BadBody, text).field("resources"));
        }
        conflict |= enabled && !has_private && attributes == PolicyAttributes::AllowedNetwork { private_only: true };
        let attributes = check_attributes(kind, enabled, attributes, &mut problems);
        written.push(WriteInstancePolicy { kind, enabled, attributes });
    }
    if written.is_empty() {
        problems.add(Reason::new(ReasonCode::BadBody, "at least one policy is required").field("resources"));
    }
    problems.finish()?;
    if conflict {
        return Err(Reason::new(
            ReasonCode::ConfigRuleConflict,
            "This gateway has no private endpoint, so `private-only` would shut everybody out; have its operator set \
             `server.private_listen` first",
        )
        .field("allowed_network")
        .into());
    }
    Ok(written)
}

/// Checks what a policy says, and gives it the form in which it is kept.
fn check_attributes(
    kind: InstancePolicyKind,
    enabled: bool,
    attributes: PolicyAttributes,
    problems: &mut Problems,
) -> PolicyAttributes {
    use InstancePolicyKind as Kind;
    use PolicyAttributes as Says;
    match (kind, attributes) {
        (Kind::DualAuthDelete | Kind::Metrics, Says::None) => Says::None,
        (Kind::AllowedNetwork, said @ Says::AllowedNetwork { .. }) => said,
        // Asked for even when the policy is switched off (`api-contract`, h).
        (Kind::AllowedNetwork, Says::None) => missing("allowed_network", problems),
        (Kind::AllowedIp, Says::AllowedIp(ranges)) => allowed_ip(&ranges, enabled, problems),
        (Kind::AllowedIp, Says::None) if enabled => missing("allowed_ip", problems),
        (Kind::KeyCreateImportAccess, said @ Says::KeyCreateImportAccess(_)) if enabled => said,
        (Kind::KeyCreateImportAccess, Says::None) if enabled => {
            Says::KeyCreateImportAccess(CreateImportAccess::default())
        }
        (Kind::Rotation, Says::Rotation { interval_months }) => {
            if !(1..=12).contains(&interval_months) {
                problems.field("interval_month", "`interval_month` is 1 to 12");
            }
            if enabled { Says::Rotation { interval_months } } else { Says::None }
        }
        (Kind::Rotation, Says::None) if enabled => missing("interval_month", problems),
        (Kind::KeyCreateImportAccess, Says::KeyCreateImportAccess(_) | Says::None) => Says::None,
        (Kind::AllowedIp | Kind::Rotation, Says::None) => Says::None,
        (kind, _) => {
            problems.field("attributes", format!("these are not the attributes of the policy `{}`", kind.as_str()));
            Says::None
        }
    }
}

fn missing(name: &str, problems: &mut Problems) -> PolicyAttributes {
    problems.missing(name);
    PolicyAttributes::None
}

fn allowed_ip(ranges: &[String], enabled: bool, problems: &mut Problems) -> PolicyAttributes {
    if ranges.len() > MAX_RANGES {
        problems.field("allowed_ip", format!("`allowed_ip` has at most {MAX_RANGES} ranges"));
        return PolicyAttributes::None;
    }
    let mut kept: Vec<String> = Vec::with_capacity(ranges.len());
    let mut seen = BTreeSet::new();
    for range in ranges {
        match cidr::canonical(range) {
            Ok(range) if seen.insert(range.clone()) => kept.push(range),
            Ok(_) => {}
            Err(rule) => {
                problems.field("allowed_ip", format!("'{range}' is no range of addresses: write {rule}"));
                break;
            }
        }
    }
    if !enabled {
        return PolicyAttributes::None;
    }
    if ranges.is_empty() {
        problems.field("allowed_ip", "`allowed_ip` has at least one range; without any nobody could come in");
    }
    PolicyAttributes::AllowedIp(kept)
}

/// Commits policies on top of whatever else there is; returns what there was before. Somebody else who writes at the same
/// time is no reason to fail: each kind is written whole, so the later one of two has the last word.
async fn commit(
    gateway: &Gateway,
    cx: &RequestContext,
    admitted: &Admitted,
    written: &[WriteInstancePolicy],
    stamp: &Stamp,
) -> Result<InstancePolicies, Error> {
    let mut before = admitted.policies.clone();
    for _ in 0..ATTEMPTS {
        let policies = put(&before, written, stamp);
        let change = Change::PutPolicies { instance: cx.instance, policies };
        match gateway.store.commit(gateway.in_instance(cx.instance, change)).await {
            Ok(()) => return Ok(InstancePolicies::clone(&before)),
            Err(StoreError::Conflict) => before = gateway.store.policies(cx.instance).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::refused(
        ReasonCode::Conflict,
        "Others write the policies of this instance at the same time; look at them again and repeat what is still wanted",
    ))
}

fn put(before: &InstancePolicies, written: &[WriteInstancePolicy], stamp: &Stamp) -> InstancePolicies {
    let mut policies = before.clone();
    policies.revision += 1;
    for WriteInstancePolicy { kind, enabled, attributes } in written {
        let created = before.get(*kind).map_or_else(|| stamp.clone(), |policy| policy.created.clone());
        policies.put(InstancePolicy {
            kind: *kind,
            enabled: *enabled,
            attributes: attributes.clone(),
            created,
            updated: stamp.clone(),
        });
    }
    policies
}

/// What the audit log is told: what was on, and what is (`api-contract`, a).
fn told(before: &InstancePolicies, written: &[WriteInstancePolicy]) -> Done<()> {
    written.iter().fold(Done::new(()), |done, policy| {
        let (initial, new) = facts(policy.kind);
        let was = before.get(policy.kind).is_some_and(|policy| policy.enabled);
        done.asked(initial, was).asked(new, policy.enabled)
    })
}

/// What the audit log calls a policy's being on, before and after.
const fn facts(kind: InstancePolicyKind) -> (&'static str, &'static str) {
    match kind {
        InstancePolicyKind::AllowedNetwork => {
            ("initialValue.policyAllowedNetworkEnabled", "newValue.policyAllowedNetworkEnabled")
        }
        InstancePolicyKind::DualAuthDelete => {
            ("initialValue.policyDualAuthDeleteEnabled", "newValue.policyDualAuthDeleteEnabled")
        }
        InstancePolicyKind::AllowedIp => ("initialValue.policyAllowedIPEnabled", "newValue.policyAllowedIPEnabled"),
        InstancePolicyKind::KeyCreateImportAccess => {
            ("initialValue.policyKeyCreateImportAccessEnabled", "newValue.policyKeyCreateImportAccessEnabled")
        }
        InstancePolicyKind::Metrics => ("initialValue.policyMetricsEnabled", "newValue.policyMetricsEnabled"),
        InstancePolicyKind::Rotation => ("initialValue.policyRotationEnabled", "newValue.policyRotationEnabled"),
    }
}
