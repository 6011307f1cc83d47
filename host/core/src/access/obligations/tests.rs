use proptest::prelude::*;

use super::*;

fn asked(rule: &str, name: &str, value: &str) -> Obligation {
    Obligation { rule: rule.to_owned(), name: name.to_owned(), value: value.to_owned() }
}

fn understood(action: Action, obligations: &[(&str, &str, &str)]) -> Result<Obligations, Denial> {
    let obligations: Vec<_> = obligations.iter().map(|(rule, name, value)| asked(rule, name, value)).collect();
    Obligations::understand(action, &obligations)
}

/// A value that is understood, of each.
fn sound(duty: Duty) -> &'static str {
    match duty {
        Duty::RequireDualAuthorization => "",
        Duty::MaxDataBytes => "4096",
        Duty::NewKeyRing => "prod",
        Duty::NewKeyTags => r#"["pci"]"#,
        Duty::AuditNote => "looked at twice",
    }
}

fn refusal(result: Result<Obligations, Denial>) -> String {
    let denial = result.expect_err("should have been refused");
    assert_eq!((denial.kind, denial.code.as_str()), (DenialKind::Forbidden, "UNKNOWN_OBLIGATION_ERR"));
    denial.message
}

#[test]
fn each_can_be_kept_in_its_own_actions_and_is_a_denial_in_all_others() {
    for &action in Action::ALL {
        for &duty in Duty::ALL {
            let result = understood(action, &[("r", duty.name(), sound(duty))]);
            let expected = match duty {
                Duty::AuditNote => true,
                Duty::NewKeyRing | Duty::NewKeyTags => action.iam().ends_with(".create") && is_about_new_keys(action),
                Duty::MaxDataBytes => {
                    is_about_new_keys(action) || matches!(action.iam(), "kms.secrets.rotate" | "kms.secrets.wrap")
                }
                Duty::RequireDualAuthorization => matches!(
                    action.iam(),
                    "kms.secrets.delete" | "kms.secrets.setkeyfordeletion" | "kms.secrets.unsetkeyfordeletion"
                ),
            };
            assert_eq!(result.is_ok(), expected, "{} in {}", duty.name(), action.iam());
            if !expected {
                let message = refusal(result);
                assert!(message.contains(duty.name()) && message.contains(action.iam()), "{message}");
            }
        }
    }
}

fn is_about_new_keys(action: Action) -> bool {
    matches!(action.iam(), "kms.secrets.create" | "kms.secrets-with-policy-overrides.create")
}

#[test]
fn what_is_not_known_is_told_with_the_rule_that_asks_for_it() {
    for name in ["sing-a-song", "", "Audit-Note", "audit-note ", "AUDIT-NOTE", "max_data_bytes"] {
        let message = refusal(understood(Action::Wrap, &[("ok", "audit-note", "n"), ("karaoke", name, "")]));
        assert!(message.contains("`karaoke`") && message.contains(&format!("`{name}`")), "{message}");
    }
}

#[test]
fn values_that_are_not_understood_are_refused_and_not_repeated() {
    let long = "9".repeat(1_024);
    let many_tags = serde_json::to_string(&vec!["t"; 31]).unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("require-dual-authorization", &["true", " ", "\0", "no"]),
        (
            "max-data-bytes",
            &[
                "",
                "-1",
                "+1",
                "1.5",
                "1e3",
                "0x10",
                " 1",
                "1 ",
                "007",
                "00",
                "1_000",
                "١٢",
                &long,
                "18446744073709551616",
            ],
        ),
        ("new-key-ring", &["", "a", "under_score", "a b", "prod\n", "../prod", &long]),
        (
            "new-key-tags",
            &[
                "",
                "pci",
                "[",
                "null",
                "{}",
                "\"pci\"",
                "[1]",
                "[null]",
                "[[\"a\"]]",
                "[\"a,b\"]",
                "[\"<\"]",
                "[\"a\"] x",
                "[\"a\\u0000b\"]",
                "[\"a\\u202eb\"]",
                "[\"a\\nb\"]",
                "[\"1234567890123456789012345678901\"]",
                &many_tags,
            ],
        ),
        ("audit-note", &["", "two\nlines", "bell\u{7}", "turned \u{202e}round", "line\u{2028}end", &long]),
    ];
    for (name, values) in cases {
        for value in *values {
            let action = if *name == "require-dual-authorization" { Action::Delete } else { Action::Create };
            let message = refusal(understood(action, &[("strange", name, value)]));
            assert!(message.contains("`strange`") && message.contains(name), "{message}");
            assert!(!message.chars().any(is_disturbing), "{message:?}");
            assert!(message.len() < 512, "{message}");
        }
    }
}

#[test]
fn of_several_bounds_the_smallest_holds_and_is_told_with_its_rule() {
    for order in [[("a", "100"), ("b", "50"), ("c", "70")], [("b", "50"), ("a", "100"), ("c", "70")]] {
        let all = understood(Action::Wrap, &order.map(|(rule, bytes)| (rule, "max-data-bytes", bytes))).unwrap();
        assert_eq!(all.check_data(50), Ok(()));
        let denial = all.check_data(51).unwrap_err();
        assert_eq!((denial.kind, denial.code.as_str()), (DenialKind::Forbidden, "DATA_TOO_LARGE_ERR"));
        assert!(denial.message.contains("`b`") && denial.message.contains("at most 50 bytes"), "{}", denial.message);
    }
    let none = understood(Action::Wrap, &[("r", "max-data-bytes", "0")]).unwrap();
    assert!(none.check_data(0).is_ok() && none.check_data(1).is_err());
    let most = understood(Action::Wrap, &[("r", "max-data-bytes", "18446744073709551615")]).unwrap();
    assert!(most.check_data(u64::MAX).is_ok());
    assert!(Obligations::default().check_data(u64::MAX).is_ok());
}

#[test]
fn two_rules_that_want_different_rings_are_both_named() {
    let same = [("a", "new-key-ring", "prod"), ("b", "new-key-ring", "prod")];
    assert_eq!(understood(Action::Create, &same).unwrap().new_key_ring().unwrap().as_str(), "prod");
    let message = refusal(understood(Action::Create, &[("a", "new-key-ring", "prod"), ("b", "new-key-ring", "dev")]));
    assert!(message.contains("`a`") && message.contains("`b`"), "{message}");
    // Rings are told apart as they are elsewhere: by each letter.
    refusal(understood(Action::Create, &[("a", "new-key-ring", "prod"), ("b", "new-key-ring", "Prod")]));
}

#[test]
fn tags_are_put_together_and_none_stands_twice_by_a_rules_doing() {
    let all = understood(
        Action::Create,
        &[
            ("a", "new-key-tags", r#"["pci","eu"]"#),
            ("b", "new-key-tags", r#"["eu","x"]"#),
            ("c", "new-key-tags", "[]"),
        ],
    )
    .unwrap();
    let mut tags = vec!["eu".to_owned(), "mine".to_owned(), "mine".to_owned()];
    all.add_new_key_tags(&mut tags);
    assert_eq!(tags, ["eu", "mine", "mine", "pci", "x"]);
}

#[test]
fn every_note_is_kept_with_its_rule_sixteen_of_each_of_many() {
    let rules: Vec<_> = (0..8).map(|rule| format!("rule-{rule}")).collect();
    let mut obligations = Vec::new();
    for rule in &rules {
        obligations.extend((0..16).map(|n| asked(rule, "audit-note", &format!("note {n}"))));
    }
    let all = Obligations::understand(Action::Unwrap, &obligations).unwrap();
    assert_eq!(all.notes().len(), 128);
    assert_eq!(all.notes()[17], Note { rule: "rule-1".to_owned(), text: "note 1".to_owned() });
    let longest = "ü".repeat(128);
    assert!(understood(Action::Read, &[("r", "audit-note", &longest)]).is_ok(), "256 bytes");
    refusal(understood(Action::Read, &[("r", "audit-note", &format!("{longest}x"))]));
}

#[test]
fn one_that_cannot_be_kept_spoils_all() {
    refusal(understood(
        Action::Create,
        &[("a", "audit-note", "n"), ("b", "new-key-ring", "prod"), ("c", "require-dual-authorization", "")],
    ));
}

proptest! {
    #[test]
    fn whatever_a_rule_writes_is_understood_exactly_or_refused(
        name in proptest::sample::select(vec!["max-data-bytes", "new-key-ring", "new-key-tags", "audit-note"]),
        value in "(?s).{0,40}|[0-9]{0,22}|\\[(\"[a-z<,]{0,32}\",){0,3}\"x\"\\]",
        bytes in any::<u64>(),
    ) {
        if let Ok(all) = understood(Action::Create, &[("r", name, &value)]) {
            match name {
                "max-data-bytes" => prop_assert_eq!(all.check_data(bytes).is_ok(), bytes <= value.parse().unwrap()),
                "new-key-ring" => prop_assert_eq!(all.new_key_ring().unwrap().as_str(), value),
                "new-key-tags" => {
                    let mut tags = Vec::new();
                    all.add_new_key_tags(&mut tags);
                    prop_assert!(tags.iter().all(|tag| value.contains(tag.as_str()) && tag.chars().count() <= 30));
                }
                _ => prop_assert_eq!(&all.notes()[0].text, &value),
            }
        }
    }
}
