//! Policies and questions that mean ill, or are just too large.

use keygate_plugin_sdk::rule::Rule as _;

use super::{assignment, configured, request, said, try_configure};
use crate::limits;
use crate::problems::Problems;
use crate::settings::Source;

#[test]
fn what_is_too_deep_or_too_long_is_refused_before_it_is_parsed() {
    let when = |condition: &str| format!("permit (principal, action, resource) when {{ {condition} }};");
    let deep = when(&format!("{}true{}", "(".repeat(100_000), ")".repeat(100_000)));
    let sets = when(&format!("{}1{} == 1", "[".repeat(50_000), "]".repeat(50_000)));
    for text in [deep, sets] {
        let error = try_configure(&text).unwrap_err();
        assert!(error.message.contains("deeper than 20"), "{}", error.message);
    }
    let long = when(&vec!["true"; 50_000].join(" && "));
    let chain = when(&format!("{}true", "!".repeat(100_000)));
    let dots = when(&format!("context{}", ".time".repeat(100_000)));
    let ifs = when(&format!("{}true", "if true then true else ".repeat(20_000)));
    for text in [long, chain, dots, ifs] {
        let error = try_configure(&text).unwrap_err();
        assert!(error.message.contains("more than 100 operators"), "{}", error.message);
    }
    let error = try_configure(&"// x\n".repeat(200_000)).unwrap_err();
    assert!(error.message.contains("is the most"), "{}", error.message);
}

include!("shapes.rs");

#[test]
fn what_is_as_deep_as_allowed_is_evaluated_and_no_more_is_taken() {
    // Natively, Cedar looks at how much stack is left, and code without optimisation takes a lot. What a sandbox has is for
    // the gateway's tests of the component.
    let deep = std::thread::Builder::new().stack_size(256 << 20).spawn(deep).unwrap();
    deep.join().unwrap();
}

fn deep() {
    let mut differ = Vec::new();
    for (name, deepest, shape) in SHAPES {
        let policy = |n| format!("permit (principal, action, resource) when {{ {} }};", shape(n));
        let taken = (1..512).take_while(|n| limits_let_through(&policy(*n))).last().unwrap();
        if taken != deepest {
            differ.push((name, taken));
        }
        assert!(try_configure(&policy(taken + 1)).is_err());
        let rule = configured(&policy(taken));
        let answer = rule.evaluate(&request("kms.secrets.unwrap")).unwrap().decision;
        assert!(matches!(said(&answer), "allow" | "abstain"), "{name}");
    }
    assert_eq!(differ, [], "these take another number by now");
}

fn limits_let_through(text: &str) -> bool {
    let mut problems = Problems::default();
    limits::check(0, text, &mut problems);
    problems.into_result(&[Source { file: "a.cedar".to_owned(), text: text.to_owned() }]).is_ok()
}

#[test]
fn strings_and_comments_do_not_count() {
    let text = format!(
        "// {}\npermit (principal, action, resource) when {{ context.time.date != \"{}\\\"(((\" }};",
        "(".repeat(100),
        "&&||((".repeat(200)
    );
    configured(&text);
}

#[test]
fn messages_have_no_control_characters() {
    let text =
        "forbid (principal, action, resource) when { principal.id == \"\u{1b}[31m\" && context.x == \"\u{7}\" };";
    let error = try_configure(text).unwrap_err();
    assert!(!error.message.contains(['\u{1b}', '\u{7}']), "{:?}", error.message);
    // Bidirectional controls show a policy other than the one that is there.
    let text = "forbid (principal, action, resource) when { principal.id == \"a\u{202e}b\" };";
    assert_eq!(try_configure(text).unwrap_err().path, "a.cedar:1:61");
}

#[test]
fn a_question_full_to_the_brim_is_answered() {
    let rule = configured(
        "permit (principal in Role::\"role-255-9\", action, resource) when { principal.roles.contains(\"role-0-0\") && \
         principal.hasTag(\"t31\") && context.request.hasTag(\"a63\") && resource is Key && resource.tags.contains(\"x29\") };",
    );
    let mut full = request("kms.secrets.unwrap");
    full.principal.assignments = (0..256)
        .map(|at| {
            let roles: Vec<String> = (0..10).map(|role| format!("role-{at}-{role}")).collect();
            assignment(&roles.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    full.principal.attributes = (0..32).map(|at| (format!("t{at}"), "\u{0}\"\\".repeat(60))).collect();
    full.attributes = (0..64).map(|at| (format!("a{at}"), "'\n".repeat(60))).collect();
    full.target.key.as_mut().unwrap().tags = (0..30).map(|at| format!("x{at}")).collect();
    assert_eq!(said(&rule.evaluate(&full).unwrap().decision), "allow");
}

#[test]
fn names_with_odd_characters_are_names() {
    let rule = configured("forbid (principal == User::\"a\\\"b\", action, resource);");
    let mut odd = request("kms.secrets.unwrap");
    assert_eq!(said(&rule.evaluate(&odd).unwrap().decision), "abstain");
    odd.principal.id = "a\"b".to_owned();
    assert_eq!(said(&rule.evaluate(&odd).unwrap().decision), "POLICY_RULE_ERR");
}
