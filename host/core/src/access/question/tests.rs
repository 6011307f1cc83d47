use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::access::{Action, Network};
use crate::ids::{Alias, InstanceId, KeyRingId};
use crate::key::{DeletionAuthorization, DualAuthPolicy, KeyAlias, PolicyRecord, Stamp};
use crate::policy::{InstancePolicies, InstancePolicyKind, PolicyAttributes};

const AT: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn stamp(by: &str) -> Stamp {
    Stamp { at: AT, by: by.to_owned() }
}

fn key() -> Key {
    let record =
        PolicyRecord { id: crate::ids::PolicyId::from_bytes([3; 16]), created: stamp("a"), updated: stamp("a") };
    Key {
        aliases: vec![KeyAlias { alias: Alias::parse("payments").unwrap(), given: stamp("a") }],
        tags: vec!["pci".to_owned()],
        state: KeyState::PreActivation,
        ring: KeyRingId::parse("prod").unwrap(),
        rotated_at: Some(Timestamp::from_unix_ms(1_700_000_000_001)),
        expires_at: Some(Timestamp::from_unix_ms(1_900_000_000_120)),
        dual_auth: Some(DualAuthPolicy { enabled: true, record }),
        authorization: Some(DeletionAuthorization { given: stamp("IBMid-2"), lapses_at: AT }),
        ..Key::sample(KeyKind::Standard)
    }
}

/// A question in which everything is said that can be said.
fn full() -> Question {
    let principal = Principal {
        id: "iam-ServiceId-1".to_owned(),
        name: Some("not for rules".to_owned()),
        kind: PrincipalKind::Service { name: "cloud-object-storage".to_owned() },
        account: "a".repeat(32),
        assignments: vec![RoleAssignment {
            roles: vec!["Reader".to_owned(), "Writer".to_owned()],
            instance: Some(InstanceId::from_bytes([1; 16])),
            key_ring: Some(KeyRingId::parse("prod").unwrap()),
            resource_type: Some("key".to_owned()),
            resource_id: Some("k".to_owned()),
        }],
        attributes: vec![("team".to_owned(), "payments".to_owned())],
    };
    let mut policies = InstancePolicies::default();
    let policy = |kind, enabled, attributes| InstancePolicy {
        kind,
        enabled,
        attributes,
        created: stamp("a"),
        updated: stamp("a"),
    };
    let ranges = ["10.0.0.0/8", "192.0.2.0/24"].map(str::to_owned).to_vec();
    policies.put(policy(InstancePolicyKind::AllowedIp, true, PolicyAttributes::AllowedIp(ranges)));
    policies.put(policy(InstancePolicyKind::Metrics, false, PolicyAttributes::None));
    let key = key();
    Question::from(&AccessRequest {
        request_id: "c0ffee",
        action: Action::Unwrap,
        principal: &principal,
        instance: InstanceId::from_bytes([1; 16]),
        key_ring: Some(&key.ring),
        key: Some(&key),
        policies: &policies,
        key_name: Some("payments"),
        network: &Network { address: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), endpoint: Endpoint::Private },
        now: Timestamp::from_unix_ms(1_800_000_000_500),
        attributes: &[("plaintext-bytes", "32".to_owned()), ("force", "true".to_owned())],
    })
}

#[test]
fn a_full_question_is_written_like_this_for_ever() {
    let golden = json!({
        "request_id": "c0ffee",
        "action": "kms.secrets.unwrap",
        "principal": {
            "id": "iam-ServiceId-1",
            "kind": "service",
            "service_name": "cloud-object-storage",
            "account": "a".repeat(32),
            "assignments": [{
                "roles": ["Reader", "Writer"],
                "instance_id": "01010101-0101-0101-0101-010101010101",
                "key_ring": "prod",
                "resource_type": "key",
                "resource_id": "k",
            }],
            "attributes": {"team": "payments"},
        },
        "target": {
            "instance_id": "01010101-0101-0101-0101-010101010101",
            "key_ring": "prod",
            "key": {
                "id": "07070707-0707-0707-0707-070707070707",
                "name": "sample",
                "aliases": ["payments"],
                "tags": ["pci"],
                "kind": "standard",
                "state": "pre-activation",
                "imported": false,
                "created": "2023-11-14T22:13:20.000Z",
                "created_by": "IBMid-sample",
                "last_rotated": "2023-11-14T22:13:20.001Z",
                "expires": "2030-03-17T17:46:40.120Z",
                "dual_auth_delete": true,
                "deletion_authorization": {"by": "IBMid-2", "expires": "2023-11-14T22:13:20.000Z"},
            },
            "key_name": "payments",
            "instance_policies": [
                {"kind": "allowedIP", "attributes": [["allowed_ip", "10.0.0.0/8"], ["allowed_ip", "192.0.2.0/24"]]},
            ],
        },
        "network": {"address": "::1", "endpoint": "private"},
        "now": "2027-01-15T08:00:00.500Z",
        "attributes": {"force": "true", "plaintext-bytes": "32"},
    });
    assert_eq!(serde_json::to_value(full()).unwrap(), golden);
    assert_eq!(serde_json::from_value::<Question>(golden).unwrap(), full());
}

#[test]
fn what_is_absent_is_left_out_and_what_is_left_out_is_absent() {
    let text = serde_json::to_string(&Question {
        target: TargetFacts { key: Some(KeyFacts::default()), ..Default::default() },
        ..Default::default()
    })
    .unwrap();
    for absent in ["null", "service_name", "key_ring", "key_name", "address", "last_rotated", "deletion_authorization"]
    {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    assert_eq!(serde_json::from_str::<Question>("{}").unwrap(), Question::default());
    let key = serde_json::from_str::<KeyFacts>("{}").unwrap();
    assert_eq!((key.kind, key.state), (KeyKind::Root, KeyState::Active));
    let none: KeyFacts = serde_json::from_value(json!({"last_rotated": null, "expires": null})).unwrap();
    assert_eq!(none, KeyFacts::default());
}

#[test]
fn a_case_file_names_what_matters_and_a_slip_in_it_is_told() {
    let text = r#"
        action = "kms.secrets.unwrap"
        now = "2026-11-22T23:00:00Z"
        [principal]
        assignments = [{ roles = ["Reader"] }]
        [target.key]
        tags = ["pci"]
        state = "suspended"
        created = "2026-11-22T09:00:00.5+01:00"
        [target]
        instance_policies = [{ kind = "allowedIP", attributes = [["allowed_ip", "10.0.0.0/8"]] }]
    "#;
    let question: Question = toml::from_str(text).unwrap();
    assert_eq!(question.now, Timestamp::parse_rfc3339("2026-11-22T23:00:00Z").unwrap());
    let key = question.target.key.unwrap();
    assert_eq!((key.state, key.tags), (KeyState::Suspended, vec!["pci".to_owned()]));
    assert_eq!(key.created, Timestamp::parse_rfc3339("2026-11-22T08:00:00.5Z").unwrap());
    for (slip, told) in [
        ("actoin = \"x\"", "unknown field `actoin`"),
        ("[target.key]\nstate = \"Active\"", "unknown variant `Active`"),
        ("[principal]\nkind = \"robot\"", "unknown variant `robot`"),
        ("now = \"yesterday\"", "`yesterday` is not a date in RFC 3339 form; write it like 2026-11-22T10:00:00.000Z"),
        ("[target.key]\nexpires = \"1969-12-31T23:59:59Z\"", "a date before 1970"),
        ("[network]\nendpoint = \"Public\"", "unknown variant `Public`"),
    ] {
        let error = toml::from_str::<Question>(slip).unwrap_err().to_string();
        assert!(error.contains(told), "{slip}: {error}");
    }
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("(?s).{0,12}").unwrap()
}

fn facts() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..3)
}

fn instants() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(|ms| Timestamp::from_unix_ms(ms % 253_402_300_800_000))
}

fn keys() -> impl Strategy<Value = KeyFacts> {
    let texts = || proptest::collection::vec(text(), 0..3);
    let maybe = || proptest::option::of(instants());
    let state = proptest::sample::select(KeyState::ALL.to_vec());
    let first = proptest::option::of((text(), instants()).prop_map(|(by, expires)| AuthorizationFacts { by, expires }));
    let words = (text(), text(), texts(), texts(), text());
    (words, any::<[bool; 3]>(), state, instants(), maybe(), maybe(), first).prop_map(
        |(
            (id, name, aliases, tags, created_by),
            [root, imported, dual],
            state,
            created,
            last_rotated,
            expires,
            first,
        )| {
            KeyFacts {
                id,
                name,
                aliases,
                tags,
                kind: if root { KeyKind::Root } else { KeyKind::Standard },
                state,
                imported,
                created,
                created_by,
                last_rotated,
                expires,
                dual_auth_delete: dual,
                deletion_authorization: first,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_was_asked_can_be_read_back(
        (request_id, action, id, account, ring) in (text(), text(), text(), text(), proptest::option::of(text())),
        (attributes, claims, now, key) in (facts(), facts(), instants(), proptest::option::of(keys())),
        (service_name, pairs) in (proptest::option::of(text()), proptest::collection::vec((text(), text()), 0..3)),
    ) {
        let kind = if service_name.is_some() { CallerKind::Service } else { CallerKind::User };
        let question = Question {
            request_id,
            action,
            principal: PrincipalFacts { id, kind, service_name, account, assignments: Vec::new(), attributes: claims },
            target: TargetFacts {
                key_ring: ring,
                key,
                instance_policies: vec![PolicyFacts { kind: "rotation".to_owned(), attributes: pairs }],
                ..TargetFacts::default()
            },
            network: NetworkFacts::default(),
            now,
            attributes,
        };
        let written = serde_json::to_string(&question).unwrap();
        prop_assert_eq!(serde_json::from_str::<Question>(&written).unwrap(), question);
    }
}
