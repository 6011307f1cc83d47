//! New keys and new material, under `keyCreateImportAccess`.

use super::*;

const CREATES: [&str; 2] = ["kms.secrets.create", "kms.secrets-with-policy-overrides.create"];
const BRINGS_MATERIAL: [&str; 2] = ["kms.secrets.rotate", "kms.secrets.restore"];
const FLAGS: [&str; 5] =
    ["create_root_key", "create_standard_key", "import_root_key", "import_standard_key", "enforce_token"];

/// A manager of an instance with this policy, the flags in the order of `FLAGS`.
fn manager(action: &str, flags: [bool; 5], facts: &[(&str, &str)]) -> Request {
    let value = |on: bool| if on { "true" } else { "false" };
    let attributes: Vec<_> = FLAGS.into_iter().zip(flags.map(value)).collect();
    let mut asked = about_key(action, assignment("Manager"));
    if CREATES.contains(&action) {
        asked.target.key = None;
        asked.target.key_name = None;
    }
    with(under(asked, "keyCreateImportAccess", &attributes), facts)
}

/// The flag that the outcome names; `None`: it is allowed.
fn blamed(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Allowed => None,
        Outcome::NotPermitted(message) => {
            let named: Vec<_> = FLAGS.into_iter().filter(|flag| message.contains(flag)).collect();
            assert_eq!(named.len(), 1, "{message}");
            named.first().copied()
        }
        other => panic!("{other:?}"),
    }
}

/// Every setting of the five flags.
fn settings() -> impl Iterator<Item = [bool; 5]> {
    (0..32_u8).map(|bits| [0, 1, 2, 3, 4].map(|flag| bits >> flag & 1 == 1))
}

#[test]
fn each_kind_of_new_key_has_its_flag() {
    for flags in settings() {
        let enforced = flags[4];
        // kind, imported, under a token, its flag
        let cases = [
            ("root", "false", "false", 0),
            ("standard", "false", "false", 1),
            ("root", "true", "false", 2),
            ("root", "true", "true", 2),
            ("standard", "true", "false", 3),
            ("standard", "true", "true", 3),
        ];
        for (kind, imported, token, flag) in cases {
            let facts = [("new-key.kind", kind), ("new-key.imported", imported), ("import-token", token)];
            let expected = if enforced && imported == "true" && token == "false" {
                Some("enforce_token")
            } else {
                (!flags[flag]).then_some(FLAGS[flag])
            };
            for action in CREATES {
                let (outcome, memo) = ask_all(&manager(action, flags, &facts));
                assert_eq!(blamed(outcome), expected, "{action} {facts:?} {flags:?}");
                assert_eq!(memo, Memo { reads: basis() | Facts::ATTRIBUTES, valid_until_unix_ms: None });
            }
        }
    }
}

#[test]
fn keys_that_are_there_only_need_the_token() {
    for flags in settings() {
        for kind in ["root", "standard"] {
            for (imported, token) in [("false", "false"), ("true", "false"), ("true", "true")] {
                let facts = [("new-key.kind", kind), ("new-key.imported", imported), ("import-token", token)];
                let expected = (flags[4] && imported == "true" && token == "false").then_some("enforce_token");
                for action in BRINGS_MATERIAL {
                    assert_eq!(blamed(ask(&manager(action, flags, &facts))), expected, "{action} {facts:?} {flags:?}");
                }
            }
        }
    }
}

#[test]
fn a_body_that_could_not_be_read_is_the_hosts_to_refuse() {
    let closed = [false, false, false, false, true];
    for action in CREATES.into_iter().chain(BRINGS_MATERIAL) {
        assert_eq!(ask(&manager(action, closed, &[])), Outcome::Allowed, "{action}");
        let kind_alone = [("new-key.kind", "root"), ("import-token", "false")];
        assert_eq!(ask(&manager(action, closed, &kind_alone)), Outcome::Allowed, "{action}");
        let unsaid = [("new-key.kind", "root"), ("new-key.imported", "true")];
        assert_eq!(
            blamed(ask(&manager(action, closed, &unsaid))),
            Some("enforce_token"),
            "no word of a token is no token"
        );
    }
}

#[test]
fn strange_facts_are_faults() {
    let open = [true, true, true, true, false];
    for action in CREATES {
        for facts in [
            [("new-key.kind", "Root"), ("new-key.imported", "false")],
            [("new-key.kind", ""), ("new-key.imported", "false")],
            [("new-key.kind", "root"), ("new-key.imported", "no")],
            [("new-key.kind", "root"), ("new-key.imported", "")],
        ] {
            assert!(Access.evaluate(&manager(action, open, &facts)).is_err(), "{facts:?}");
        }
    }
    let facts = [("new-key.kind", "root"), ("new-key.imported", "yes")];
    assert!(Access.evaluate(&manager("kms.secrets.rotate", open, &facts)).is_err());
}

#[test]
fn a_flag_permits_by_its_own_word_only() {
    let generated = [("new-key.kind", "root"), ("new-key.imported", "false"), ("import-token", "false")];
    let imported = [("new-key.kind", "root"), ("new-key.imported", "true"), ("import-token", "false")];
    let asked = |facts: &[(&str, &str)], attributes: &[(&str, &str)]| {
        let create = request("kms.secrets.create", PrincipalKind::User, vec![assignment("Writer")]);
        blamed(ask(&with(under(create, "keyCreateImportAccess", attributes), facts)))
    };
    for odd in ["", "TRUE", "1", "yes", " true"] {
        assert_eq!(asked(&generated, &[("create_root_key", odd)]), Some("create_root_key"), "{odd:?}");
        let attributes = [("import_root_key", "true"), ("enforce_token", odd)];
        assert_eq!(asked(&imported, &attributes), Some("enforce_token"), "{odd:?}");
    }
    assert_eq!(asked(&generated, &[]), Some("create_root_key"));
    assert_eq!(asked(&imported, &[("import_root_key", "true")]), Some("enforce_token"));
    let twice = [("create_root_key", "true"), ("create_root_key", "false")];
    assert_eq!(asked(&generated, &twice), Some("create_root_key"));
    assert_eq!(asked(&generated, &[("create_root_key", "true")]), None);
}

#[test]
fn without_the_policy_or_for_other_actions_nothing_is_asked() {
    let facts = [("new-key.kind", "root"), ("new-key.imported", "true"), ("import-token", "false")];
    for action in CREATES.into_iter().chain(BRINGS_MATERIAL) {
        let mut open = manager(action, [false; 5], &facts);
        open.target.instance_policies.clear();
        assert_eq!(ask_all(&open), (Outcome::Allowed, Memo { reads: basis(), valid_until_unix_ms: None }), "{action}");
    }
    let closed = [false, false, false, false, true];
    for action in ["kms.secrets.wrap", "kms.secrets.enable", "kms.secrets.delete", "kms.importtoken.create"] {
        assert_eq!(ask(&manager(action, closed, &facts)), Outcome::Allowed, "{action}");
    }
}

#[test]
fn the_policy_is_told_to_none_but_those_with_a_role_and_from_inside() {
    let facts = [("new-key.kind", "root"), ("new-key.imported", "true"), ("import-token", "false")];
    for action in CREATES.into_iter().chain(BRINGS_MATERIAL) {
        let mut asked = manager(action, [false; 5], &facts);
        let outside = under(asked.clone(), "allowedIP", &[("allowed_ip", "10.0.0.0/8")]);
        assert_eq!(ask(&outside), Outcome::Unauthorized, "{action}");
        asked.principal.assignments = vec![assignment("Reader")];
        assert_eq!(ask(&asked), Outcome::Unauthorized, "{action}");
    }
}
