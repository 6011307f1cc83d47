//! `[policy] chain`.

use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_runtime::manifest::{ActionPattern, ChainEntry, Scope};

use super::{GOOD, good, load_text, wrong};

const INSTANCE: &str = "fadedbee-0000-4000-8000-000000000001";

fn with_chain(chain: &str) -> String {
    GOOD.replacen("chain = [\"access\"]", &format!("chain = {chain}"), 1)
}

#[test]
fn entries_are_names_or_tables_in_the_order_that_they_are_asked_in() {
    let chain = good(
        &with_chain(&format!(
            r#"["access", {{ rule = "access", instances = ["{INSTANCE}"], actions = ["kms.secrets.unwrap", "kms.policies.*"], rings = ["prod", "default"] }}]"#
        )),
        &[],
    )
    .plugins
    .chain;
    let scope = Scope {
        instances: vec![INSTANCE.parse::<InstanceId>().unwrap()],
        actions: ["kms.secrets.unwrap", "kms.policies.*"].map(|action| ActionPattern::parse(action).unwrap()).to_vec(),
        rings: ["prod", "default"].map(|ring| KeyRingId::parse(ring).unwrap()).to_vec(),
    };
    assert_eq!(chain, [ChainEntry::everywhere("access"), ChainEntry { rule: "access".to_owned(), scope }]);

    let tables = GOOD.replacen("[policy]\nchain = [\"access\"]", "[[policy.chain]]\nrule = \"access\"", 1);
    assert_ne!(tables, GOOD);
    assert_eq!(good(&tables, &[]).plugins.chain, [ChainEntry::everywhere("access")]);
}

#[test]
fn what_is_wrong_with_an_entry_is_told_with_its_place_and_its_mend() {
    for (entry, at, problem, mend) in [
        (
            r#"{ rule = "access", ring = ["prod"] }"#,
            "policy.chain[0].ring",
            "there is no key `ring` here",
            "did you mean `rings`? (known here: actions, instances, rings, rule)",
        ),
        (r#"{ rings = ["prod"] }"#, "policy.chain[0].rule", "this key is missing", "set `rule` in `policy.chain[0]`"),
        (r#"{ rule = "acess" }"#, "policy.chain[0]", "there is no plugin `acess`", "did you mean `access`?"),
        (
            "3",
            "policy.chain[0]",
            "this is not the name of a rule, or a table such as { rule = \"NAME\", rings = [\"RING\"] }",
            "correct `policy.chain[0]`",
        ),
        (
            r#"{ rule = "access", instances = ["fadedbee-0000-4000-8000-000000000002"] }"#,
            "policy.chain[0].instances[0]",
            "there is no instance fadedbee-0000-4000-8000-000000000002",
            "did you mean `fadedbee-0000-4000-8000-000000000001`?",
        ),
        (
            r#"{ rule = "access", instances = ["one"] }"#,
            "policy.chain[0].instances[0]",
            "this is not a UUID",
            "give the `id` of an [[instances]] entry",
        ),
        (
            r#"{ rule = "access", actions = ["kms.secrets.wrap", "kms.secrets.unwarp"] }"#,
            "policy.chain[0].actions[1]",
            "there is no action `kms.secrets.unwarp`",
            "did you mean `kms.secrets.unwrap`?",
        ),
        (
            r#"{ rule = "access", actions = ["kms.polices.*"] }"#,
            "policy.chain[0].actions[0]",
            "there is no action that begins with `kms.polices.`",
            "did you mean `kms.policies.*`?",
        ),
        (
            r#"{ rule = "access", rings = ["pr od"] }"#,
            "policy.chain[0].rings[0]",
            "this is not the id of a key ring",
            "a key ring id consists of letters, digits and '-'",
        ),
        (
            r#"{ rule = "access", rings = [] }"#,
            "policy.chain[0].rings",
            "with an empty list the rule would be asked about nothing",
            "remove `rings`, or name what the rule is to be asked about",
        ),
        (
            r#"{ rule = "access", actions = [] }"#,
            "policy.chain[0].actions",
            "with an empty list the rule would be asked about nothing",
            "remove `actions`, or name what the rule is to be asked about",
        ),
        (
            r#"{ rule = "access", instances = [] }"#,
            "policy.chain[0].instances",
            "with an empty list the rule would be asked about nothing",
            "remove `instances`, or name what the rule is to be asked about",
        ),
    ] {
        let (found, why, how) = wrong(&with_chain(&format!("[{entry}]")), &[]);
        assert_eq!((found.as_str(), why.as_str(), how.as_str()), (at, problem, mend), "{entry}");
    }
}

#[test]
fn a_damaged_scope_never_becomes_one_that_is_smaller_or_none() {
    for entry in [
        r#"{ rule = "access", rings = "prod" }"#,
        r#"{ rule = "access", rings = [3] }"#,
        r#"{ rule = "access", actions = { a = 1 } }"#,
        r#"["access"]"#,
    ] {
        let loaded = load_text(&with_chain(&format!("[\"access\", {entry}]")), &[]);
        assert!(!loaded.problems.is_empty(), "{entry}");
        assert!(loaded.problems[0].at.as_deref().unwrap().starts_with("policy.chain[1]"), "{:?}", loaded.problems);
    }
    let (at, _, mend) = wrong(&GOOD.replacen("chain =", "chian = 1\nchain =", 1), &[]);
    assert_eq!((at.as_str(), mend.as_str()), ("policy.chian", "did you mean `chain`? (known here: chain)"));
    assert!(!load_text(&with_chain("\"access\""), &[]).problems.is_empty());
    let (at, ..) = wrong(&with_chain("[]"), &[]);
    assert_eq!(at, "policy.chain");
}

#[test]
fn an_instance_whose_entry_is_damaged_is_known_all_the_same() {
    let text = with_chain(&format!("[{{ rule = \"access\", instances = [\"{INSTANCE}\"] }}]"));
    let (at, ..) = wrong(&text.replace("region = \"us-south\"", ""), &[]);
    assert_eq!(at, "instances[0].region");
}
