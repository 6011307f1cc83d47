//! The built-in rule behind the gate: what the host tells a rule is what the rule goes by.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::IpAddr;

use keygate_core::access::question::Question;
use keygate_core::access::{
    AccessRequest, Action, Answer, Decision, Denial, DenialKind, Endpoint, Network, Principal, PrincipalKind,
    RoleAssignment, Verdict,
};
use keygate_core::clock::Timestamp;
use keygate_core::ids::{InstanceId, KeyRingId, PolicyId};
use keygate_core::key::{DeletionAuthorization, DualAuthPolicy, Key, KeyKind, PolicyRecord, Stamp};
use keygate_core::policy::{
    CreateImportAccess, InstancePolicies, InstancePolicy, InstancePolicyKind, PolicyAttributes,
};
use keygate_runtime::Runtime;
use serde_json::json;
use support::{built, load, runtime};

const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);
const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

fn assigned(role: &str, instance: Option<InstanceId>, ring: Option<&str>) -> RoleAssignment {
    RoleAssignment {
        roles: vec![role.to_owned()],
        instance,
        key_ring: ring.map(|ring| KeyRingId::parse(ring).unwrap()),
        ..RoleAssignment::default()
    }
}

/// A question, with what most of the tests take for granted.
struct Ask<'a> {
    action: Action,
    kind: PrincipalKind,
    assignments: Vec<RoleAssignment>,
    ring: Option<&'a str>,
    key: Option<&'a Key>,
    policies: &'a [InstancePolicy],
    network: Network,
    attributes: &'a [(&'static str, &'a str)],
}

impl Ask<'_> {
    /// A user who may do everything asks from the private network.
    fn new(action: Action) -> Self {
        Self {
            action,
            kind: PrincipalKind::User,
            assignments: ["Manager", "KeyPurge", "Administrator"].map(|role| assigned(role, None, None)).to_vec(),
            ring: Some("prod"),
            key: None,
            policies: &[],
            network: Network { address: Some(IpAddr::from([10, 0, 0, 1])), endpoint: Endpoint::Private },
            attributes: &[],
        }
    }

    async fn decide(&self, runtime: &Runtime) -> Decision {
        let principal = Principal {
            id: "IBMid-test".to_owned(),
            name: Some("Test".to_owned()),
            kind: self.kind.clone(),
            account: "0".repeat(32),
            assignments: self.assignments.clone(),
            attributes: vec![("team".to_owned(), "payments".to_owned())],
        };
        let ring = self.ring.map(|ring| KeyRingId::parse(ring).unwrap());
        let attributes: Vec<_> = self.attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut policies = InstancePolicies::default();
        self.policies.iter().cloned().for_each(|policy| policies.put(policy));
        let request = AccessRequest {
            request_id: "test",
            action: self.action,
            principal: &principal,
            instance: INSTANCE,
            key_ring: ring.as_ref(),
            key: self.key,
            policies: &policies,
            key_name: Some("my-key"),
            network: &self.network,
            now: NOW,
            attributes: &attributes,
        };
        runtime.gate().decide(&Question::from(&request), None).await
    }

    /// The kind and the code of the denial; `None`: it is allowed.
    async fn denial(&self, runtime: &Runtime) -> Option<(DenialKind, String)> {
        match self.decide(runtime).await.verdict {
            Verdict::Allow(obligations) => {
                assert!(obligations.is_empty());
                None
            }
            Verdict::Deny(denial) => Some((denial.kind, denial.code)),
            Verdict::Busy => panic!("nobody else asks"),
        }
    }
}

/// The rule, ready to be asked.
async fn with_rule() -> Runtime {
    let runtime = runtime();
    let entry = json!({
        "name": "access", "file": built("access"), "world": "policy-rule", "grants": { "log": true },
    });
    load(&runtime, &[entry]).await;
    runtime
}

/// An Active root key in ring `prod`.
fn sample() -> Key {
    Key { instance: INSTANCE, ring: KeyRingId::parse("prod").unwrap(), ..Key::sample(KeyKind::Root) }
}

fn stamp(by: &str) -> Stamp {
    Stamp { at: NOW, by: by.to_owned() }
}

fn policy(kind: InstancePolicyKind, attributes: PolicyAttributes) -> InstancePolicy {
    InstancePolicy { kind, enabled: true, attributes, created: stamp("IBMid-admin"), updated: stamp("IBMid-admin") }
}

fn denied(kind: DenialKind, code: &str) -> Option<(DenialKind, String)> {
    Some((kind, code.to_owned()))
}

#[tokio::test]
async fn roles_and_their_scopes_reach_the_rule() {
    let runtime = with_rule().await;
    let elsewhere = InstanceId::from_bytes([2; 16]);
    let cases = [
        (vec![], false),
        (vec![assigned("Writer", None, None)], true),
        (vec![assigned("Writer", Some(INSTANCE), None)], true),
        (vec![assigned("Writer", Some(elsewhere), None)], false),
        (vec![assigned("Writer", Some(INSTANCE), Some("prod"))], true),
        (vec![assigned("Writer", Some(INSTANCE), Some("test"))], false),
        (vec![assigned("Writer", Some(elsewhere), None), assigned("Writer", None, Some("prod"))], true),
    ];
    for (assignments, allowed) in cases {
        let decision = Ask { assignments: assignments.clone(), ..Ask::new(Action::Wrap) }.decide(&runtime).await;
        if allowed {
            assert_eq!(decision.verdict, Verdict::Allow(Vec::new()), "{assignments:?}");
            assert_eq!(decision.trail[0].answer, Answer::Allow);
        } else {
            let Verdict::Deny(Denial { kind, code, .. }) = &decision.verdict else { panic!("{assignments:?}") };
            assert_eq!((*kind, code.as_str()), (DenialKind::Unauthorized, "UNAUTHORIZED_ERR"), "{assignments:?}");
        }
        assert_eq!(decision.trail.len(), 1);
        assert_eq!(decision.trail[0].digest, runtime.describe()[0].digest);
    }
    let reader = Ask { assignments: vec![assigned("Reader", None, None)], ..Ask::new(Action::Delete) };
    assert_eq!(reader.denial(&runtime).await, denied(DenialKind::Unauthorized, "UNAUTHORIZED_ERR"));
}

#[tokio::test]
async fn the_rule_knows_every_action_that_somebody_can_ask_for() {
    let runtime = with_rule().await;
    let key = sample();
    let kind = PrincipalKind::Service { name: "cloud-object-storage".to_owned() };
    for action in Action::ALL {
        let asked = Ask { kind: kind.clone(), key: Some(&key), ..Ask::new(*action) };
        // What the gateway does by itself, nobody has a role for.
        let nobody = !action.is_asked_for();
        assert_eq!(asked.denial(&runtime).await.is_some(), nobody, "{action:?}");
    }
}

#[tokio::test]
async fn network_policies_reach_the_rule_while_they_are_on() {
    let runtime = with_rule().await;
    let ranges = ["10.0.0.0/8", "2001:db8::/32"].map(str::to_owned).to_vec();
    let ranges = policy(InstancePolicyKind::AllowedIp, PolicyAttributes::AllowedIp(ranges));
    let private = PolicyAttributes::AllowedNetwork { private_only: true };
    let private = policy(InstancePolicyKind::AllowedNetwork, private);
    let open = PolicyAttributes::AllowedNetwork { private_only: false };
    let open = policy(InstancePolicyKind::AllowedNetwork, open);
    let off = |policy: &InstancePolicy| InstancePolicy { enabled: false, ..policy.clone() };
    let cases: [(Vec<InstancePolicy>, &str, Endpoint, bool); 12] = [
        (vec![], "192.0.2.1", Endpoint::Public, true),
        (vec![ranges.clone()], "192.0.2.1", Endpoint::Private, false),
        (vec![ranges.clone()], "10.9.8.7", Endpoint::Public, true),
        (vec![ranges.clone()], "::ffff:10.9.8.7", Endpoint::Public, true),
        (vec![ranges.clone()], "2001:db8::1", Endpoint::Public, true),
        (vec![ranges.clone()], "2001:db9::1", Endpoint::Public, false),
        (vec![off(&ranges)], "192.0.2.1", Endpoint::Public, true),
        (vec![private.clone()], "10.9.8.7", Endpoint::Public, false),
        (vec![private.clone()], "10.9.8.7", Endpoint::Private, true),
        (vec![off(&private)], "10.9.8.7", Endpoint::Public, true),
        (vec![open], "10.9.8.7", Endpoint::Public, true),
        (vec![private, ranges], "192.0.2.1", Endpoint::Private, false),
    ];
    for (policies, address, endpoint, allowed) in cases {
        let network = Network { address: Some(address.parse().unwrap()), endpoint };
        for action in [Action::Wrap, Action::WriteInstancePolicies, Action::CreateRegistration] {
            let kind = PrincipalKind::Service { name: "cloud-object-storage".to_owned() };
            let asked = Ask { kind, policies: &policies, network: network.clone(), ..Ask::new(action) };
            let expected = if allowed { None } else { denied(DenialKind::Unauthorized, "UNAUTHORIZED_ERR") };
            assert_eq!(asked.denial(&runtime).await, expected, "{action:?} from {address} {policies:?}");
        }
    }
}

#[tokio::test]
async fn the_service_and_the_owner_of_a_resource_reach_the_rule() {
    let runtime = with_rule().await;
    let key = sample();
    let attributes = [("resource.service", "cloud-object-storage")];
    let service = |name: &str| PrincipalKind::Service { name: name.to_owned() };
    let cases = [
        (PrincipalKind::User, denied(DenialKind::Forbidden, "SERVICE_ONLY_ERR")),
        (service("databases-for-redis"), denied(DenialKind::Forbidden, "RESOURCE_OWNER_ERR")),
        (service("cloud-object-storage"), None),
    ];
    for (kind, expected) in cases {
        let asked = Ask { kind, key: Some(&key), attributes: &attributes, ..Ask::new(Action::CreateRegistration) };
        assert_eq!(asked.denial(&runtime).await, expected, "{:?}", asked.kind);
    }
}

#[tokio::test]
async fn the_policy_on_new_keys_reaches_the_rule() {
    let runtime = with_rule().await;
    let access =
        CreateImportAccess { create_standard_key: false, enforce_token: true, ..CreateImportAccess::default() };
    let policies = [policy(InstancePolicyKind::KeyCreateImportAccess, PolicyAttributes::KeyCreateImportAccess(access))];
    let key = sample();
    // action, kind, imported, under a token, allowed
    let cases = [
        (Action::Create, "root", "false", "false", true),
        (Action::CreateWithOverrides, "standard", "false", "false", false),
        (Action::Create, "root", "true", "false", false),
        (Action::Create, "root", "true", "true", true),
        (Action::Rotate, "root", "false", "false", true),
        (Action::Rotate, "root", "true", "false", false),
        (Action::Restore, "root", "true", "false", false),
        (Action::Restore, "root", "true", "true", true),
    ];
    for (action, kind, imported, token, allowed) in cases {
        let attributes = [("new-key.kind", kind), ("new-key.imported", imported), ("import-token", token)];
        let asked = Ask { key: Some(&key), policies: &policies, attributes: &attributes, ..Ask::new(action) };
        let expected = if allowed { None } else { denied(DenialKind::Conflict, "KEY_CREATE_IMPORT_ACCESS_ERR") };
        assert_eq!(asked.denial(&runtime).await, expected, "{action:?} {attributes:?}");
    }
}

#[tokio::test]
async fn authorizations_to_delete_reach_the_rule() {
    let runtime = with_rule().await;
    let record =
        PolicyRecord { id: PolicyId::from_bytes([3; 16]), created: stamp("IBMid-test"), updated: stamp("IBMid-test") };
    let mut key = Key { dual_auth: Some(DualAuthPolicy { enabled: true, record }), ..sample() };
    let later = Timestamp::from_unix_ms(NOW.unix_ms() + 1);
    let not_met = denied(DenialKind::Conflict, "AUTHORIZATIONS_NOT_MET");
    let cases = [
        (None, not_met.clone()),
        (Some(("IBMid-test", later)), not_met.clone()),
        (Some(("IBMid-other", NOW)), not_met),
        (Some(("IBMid-other", later)), None),
    ];
    for (authorization, expected) in cases {
        key.authorization = authorization.map(|(by, lapses_at)| DeletionAuthorization { given: stamp(by), lapses_at });
        for force in ["true", "false"] {
            let attributes = [("force", force)];
            let asked = Ask { key: Some(&key), attributes: &attributes, ..Ask::new(Action::Delete) };
            assert_eq!(asked.denial(&runtime).await, expected, "{:?}", key.authorization);
        }
    }
    key.dual_auth = None;
    assert_eq!(Ask { key: Some(&key), ..Ask::new(Action::Delete) }.denial(&runtime).await, None);
}

#[tokio::test]
async fn the_ring_that_a_key_is_to_move_to_reaches_the_rule() {
    let runtime = with_rule().await;
    let key = sample();
    let one = vec![assigned("Manager", None, Some("prod"))];
    let both = vec![assigned("Manager", None, Some("prod")), assigned("Manager", None, Some("test"))];
    for (assignments, expected) in [(one, denied(DenialKind::Unauthorized, "UNAUTHORIZED_ERR")), (both, None)] {
        let attributes = [("new-ring", "test")];
        let asked = Ask { assignments, key: Some(&key), attributes: &attributes, ..Ask::new(Action::Patch) };
        assert_eq!(asked.denial(&runtime).await, expected, "{:?}", asked.assignments);
    }
}
