//! The built-in rule behind the gate: what the host tells a rule is what the rule goes by.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::IpAddr;

use keygate_core::access::{
    AccessRequest, Action, Answer, Decision, Denial, DenialKind, Endpoint, Network, Principal, PrincipalKind,
    RoleAssignment, Verdict,
};
use keygate_core::clock::Timestamp;
use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_runtime::Runtime;
use serde_json::json;
use support::{built, load, runtime};

const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);

fn assigned(role: &str, instance: Option<InstanceId>, ring: Option<&str>) -> RoleAssignment {
    RoleAssignment {
        roles: vec![role.to_owned()],
        instance,
        key_ring: ring.map(|ring| KeyRingId::parse(ring).unwrap()),
        ..RoleAssignment::default()
    }
}

async fn decide(runtime: &Runtime, action: Action, ring: Option<&str>, assignments: Vec<RoleAssignment>) -> Decision {
    let principal = Principal {
        id: "IBMid-test".to_owned(),
        name: Some("Test".to_owned()),
        kind: PrincipalKind::User,
        account: "0".repeat(32),
        assignments,
        attributes: vec![("team".to_owned(), "payments".to_owned())],
    };
    let network = Network { address: Some(IpAddr::from([10, 0, 0, 1])), endpoint: Endpoint::Private };
    let ring = ring.map(|ring| KeyRingId::parse(ring).unwrap());
    let request = AccessRequest {
        request_id: "test",
        action,
        principal: &principal,
        instance: INSTANCE,
        key_ring: ring.as_ref(),
        key: None,
        key_name: Some("my-key"),
        network: &network,
        timeout: None,
        now: Timestamp::from_unix_ms(1_800_000_000_000),
        attributes: &[("force", "true".to_owned())],
    };
    runtime.gate().decide(&request).await
}

#[tokio::test]
async fn roles_and_their_scopes_reach_the_rule() {
    let runtime = runtime();
    let entry = json!({
        "name": "access", "file": built("access"), "world": "policy-rule", "grants": { "log": true },
    });
    load(&runtime, &[entry]).await;
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
        let decision = decide(&runtime, Action::Wrap, Some("prod"), assignments.clone()).await;
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
    let reader = decide(&runtime, Action::Delete, Some("prod"), vec![assigned("Reader", None, None)]).await;
    assert!(matches!(reader.verdict, Verdict::Deny(_)));
}
