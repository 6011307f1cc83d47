//! Mistakes, with the place and what was expected.

use keygate_plugin_sdk::rule::Rule as _;
use serde_json::json;

use super::{configured, try_configure};
use crate::PolicyRules;

#[track_caller]
fn refused(policies: &str, place: &str, parts: &[&str]) {
    let error = try_configure(policies).map(|_| ()).unwrap_err();
    assert_eq!(error.path, place, "{}", error.message);
    for part in parts {
        assert!(error.message.contains(part), "{part:?} is not in: {}", error.message);
    }
    assert!(error.message.len() <= 1_024);
}

#[test]
fn what_cannot_be_parsed_is_told_with_its_place() {
    refused("forbid (principal, action, resource)\nwhen { true }\n", "a.cedar:2:14", &["expected", "`;`"]);
    refused("\n  allow (principal, action, resource);", "a.cedar:2:3", &["allow", "permit"]);
    refused("permit (principal, action);", "a.cedar:1:26", &["resource"]);
    refused("permit (principal, action, resource) when { principal.id = \"a\" };", "a.cedar:1:45", &["=="]);
}

#[test]
fn what_does_not_fit_the_schema_is_told_with_its_place() {
    let when = |condition: &str| {
        format!("forbid (principal, action == Action::\"kms.secrets.read\", resource)\nwhen {{ {condition} }};")
    };
    refused(&when("resource.knd == \"root\""), "a.cedar:2:8", &["knd", "kind"]);
    refused(&when("resource.kind == 7"), "a.cedar:2:8", &["String", "Long"]);
    refused(&when("resource.tags == \"pci\""), "a.cedar:2:8", &["Set<String>"]);
    refused(&when("context.plaintextBytes > 7"), "a.cedar:2:8", &["plaintextBytes", "has"]);
    refused(&when("principal.service == \"cos\""), "a.cedar:2:8", &["service"]);
    refused(&when("User::\"ann\".account == \"x\""), "a.cedar:2:8", &["entity"]);
    refused(&when("context.address.isInRange(ip(\"10.0.0.0/33\"))"), "a.cedar:2:34", &["10.0.0.0/33"]);
    refused(
        "forbid (principal, action == Action::\"kms.secrets.reed\", resource);",
        "a.cedar:1:30",
        &["kms.secrets.reed", "kms.secrets.read"],
    );
    let inapplicable = "forbid (principal, action == Action::\"kms.secrets.read\", resource == Ring::\"prod\");";
    refused(inapplicable, "a.cedar:1:1", &["resource in Ring"]);
    refused("forbid (principal in Rol::\"x\", action, resource);", "a.cedar:1:22", &["Rol", "Role"]);
    refused("forbid (principal, action, resource == ?resource);", "a.cedar:1:1", &["template"]);
}

#[test]
fn a_word_that_an_attribute_never_has_is_a_mistake() {
    let when = |condition: &str| {
        format!("forbid (principal, action == Action::\"kms.secrets.read\", resource)\nwhen {{ {condition} }};")
    };
    refused(&when("resource.kind == \"Standard\""), "a.cedar:2:25", &["did you mean \"standard\"?"]);
    refused(&when("\"activ\" == resource.state"), "a.cedar:2:8", &["did you mean \"active\"?"]);
    refused(&when("context.endpoint != \"privat\""), "a.cedar:2:28", &["did you mean \"private\"?"]);
    refused(&when("[\"active\", \"disabled\"].contains(resource.state)"), "a.cedar:2:19", &["suspended"]);
}

#[test]
fn annotations_are_checked() {
    let with = |annotation: &str, effect: &str| format!("{annotation}\n{effect} (principal, action, resource);");
    refused(&with("@reasn(\"X\")", "forbid"), "a.cedar:1:1", &["did you mean @reason?"]);
    refused(&with("@reason(\"x-y\")", "forbid"), "a.cedar:1:1", &["capitals"]);
    refused(&with("@reason(\"X\")", "permit"), "a.cedar:1:1", &["denial"]);
    refused(&with("@kind(\"forbiden\")", "forbid"), "a.cedar:1:1", &["did you mean \"forbidden\"?"]);
    refused(&with("@message(\"\")", "forbid"), "a.cedar:1:1", &["512"]);
    refused(&with("@obligation(\"max-data-bytes=4k\")", "permit"), "a.cedar:1:1", &["number of bytes"]);
    refused(&with("@obligation(\"max-data-bytes=04\")", "permit"), "a.cedar:1:1", &["zeros"]);
    refused(&with("@obligation(\"new-key-ring=a b\")", "permit"), "a.cedar:1:1", &["a ring"]);
    refused(&with("@obligation(\"new-key-tags=[\\\"a<b\\\"]\")", "permit"), "a.cedar:1:1", &["list of 1 to 30"]);
    refused(&with("@obligation(\"audit-note=a\\nb\")", "permit"), "a.cedar:1:1", &["a line"]);
    refused(&with("@obligation(\"max-data-byte=4\")", "permit"), "a.cedar:1:1", &["did you mean `max-data-bytes`?"]);
    refused(&with("@obligation(\"audit-note=x\")", "forbid"), "a.cedar:1:1", &["forbids"]);
    refused(&with("@obligation(\"new-key-tags=pci\")", "permit"), "a.cedar:1:1", &["list of 1 to 30 texts"]);
    refused(&with("@id(\"\")", "permit"), "a.cedar:1:1", &["64"]);
    let twice = format!("{}\n{}", with("@id(\"a\")", "permit"), with("@id(\"a\")", "permit"));
    refused(&twice, "a.cedar:3:1", &["a.cedar:1:1"]);
    configured(
        "@obligation_1(\"audit-note=a=b\") @obligation_2(\"new-key-tags=[\\\"pci\\\"]\") \
         permit (principal, action == Action::\"kms.secrets.create\", resource);",
    );
}

#[test]
fn an_obligation_is_only_for_what_it_can_be_kept_in() {
    let with = |obligation: &str, actions: &str| {
        format!("@obligation(\"{obligation}\")\npermit (principal, action{actions}, resource);")
    };
    refused(&with("max-data-bytes=1", ""), "a.cedar:1:1", &["keygate.authorizations.create", "kms.secrets.wrap"]);
    let used = " in Action::\"use\"";
    refused(&with("max-data-bytes=1", used), "a.cedar:1:1", &["kms.secrets.rewrap", "[Action::\"kms.secrets.create\""]);
    refused(&with("new-key-ring=prod", " == Action::\"kms.secrets.rotate\""), "a.cedar:1:1", &["kms.secrets.rotate"]);
    configured(&with("max-data-bytes=1", " == Action::\"kms.secrets.wrap\""));
    configured(&with("audit-note=seen", ""));
}

#[test]
fn several_mistakes_are_told_at_once_each_with_its_file() {
    let settings = json!({ "policies": [
        { "file": "rules/a.cedar", "text": "@kid(\"x\") permit (principal, action, resource);\n\nforbid (principal, action, resource) when { contxt.x };" },
        { "file": "rules/b.cedar", "text": "forbid (principal, action, resource) when { context.tim.hour > 3 };" },
    ] });
    let error = PolicyRules::configure(&settings.to_string()).unwrap_err();
    assert_eq!(error.path, "rules/a.cedar:3:45", "{}", error.message);
    assert!(error.message.contains("\nrules/b.cedar:1:45: "), "{}", error.message);
    let many = "forbid (principal, action, resource) when { context.tim.hour > 3 };\n".repeat(50);
    let error = try_configure(&many).unwrap_err();
    assert!(error.message.len() <= 1_024 && error.message.ends_with(" more"), "{}", error.message);
    assert!(error.message.contains("\na.cedar:2:45: "));
}

#[test]
fn places_count_characters() {
    refused("// ä\nforbid (principal, action, resource) when { \"ää\" == context.x };", "a.cedar:2:53", &[]);
}

#[test]
fn settings_are_checked() {
    let refused = |settings: &str, path: &str, part: &str| {
        let error = PolicyRules::configure(settings).map(|_| ()).unwrap_err();
        assert_eq!(error.path, path, "{}", error.message);
        assert!(error.message.contains(part), "{}", error.message);
    };
    refused("{}", "policies", "settings_files");
    refused("[]", "", "table");
    refused("{", "1:1", "JSON");
    refused(r#"{"polices": ""}"#, "polices", "did you mean `policies`?");
    refused(r#"{"policies": 7}"#, "policies", "text");
    refused(r#"{"policies": []}"#, "policies", "1 to 256");
    refused(r#"{"policies": "// nothing"}"#, "policies", "at least one");
    refused(r#"{"policies": [{"file": "a"}]}"#, "policies[0].text", "text");
    refused(r#"{"policies": [{"file": "a\nb", "text": ""}]}"#, "policies[0].file", "name");
    refused(r#"{"policies": [{"file": "a", "text": ""}, {"file": "a", "text": ""}]}"#, "policies[1].file", "already");
    refused(r#"{"policies": [{"file": "a", "txt": ""}]}"#, "policies[0].txt", "did you mean `text`?");
    refused(
        r#"{"policies": "permit (principal, action, resource);", "zone": "Europe/Berln"}"#,
        "zone",
        "Europe/Berlin",
    );
    refused(r#"{"policies": "permit (principal, action, resource);", "zone": 1}"#, "zone", "text");
    PolicyRules::configure(r#"{"policies": "permit (principal, action, resource);", "zone": "+05:30"}"#).unwrap();
    let error = PolicyRules::configure(r#"{"policies": "permit (principal"}"#).unwrap_err();
    assert!(error.path.starts_with("policies:1:"), "{}", error.path);
}
