//! What the facts of a request are to policies.

use keygate_plugin_sdk::rule::{
    Decision, DeletionAuthorization, Denial, DenialKind, Endpoint, InstancePolicy, KeyKind, KeyState, Obligation,
    PrincipalKind, Rule as _,
};

use super::{DAY, NOW, assignment, configured, decided, forbidden_when, request, verdict};

const UNWRAP: &str = "kms.secrets.unwrap";

fn is_key(condition: &str) -> String {
    format!("resource is Key && {condition}")
}

#[test]
fn forbid_beats_permit_and_silence_is_an_abstention() {
    let permit = "permit (principal, action, resource);";
    let forbid = "@reason(\"NO\") @message(\"Not now.\") @kind(\"conflict\") forbid (principal, action, resource);";
    assert_eq!(decided(permit, &request(UNWRAP)), "allow");
    let Decision::Deny(denial) = verdict(&format!("{permit} {forbid}"), &request(UNWRAP)).decision else {
        panic!("no denial")
    };
    let expected = Denial { kind: DenialKind::Conflict, code: "NO".to_owned(), message: "Not now.".to_owned() };
    assert_eq!(denial, expected);
    assert_eq!(decided("permit (principal == User::\"bob\", action, resource);", &request(UNWRAP)), "abstain");
    let plain = verdict("@id(\"my rule\") forbid (principal, action, resource);", &request(UNWRAP)).decision;
    let Decision::Deny(denial) = plain else { panic!("no denial") };
    assert_eq!(
        (denial.code.as_str(), denial.message.as_str()),
        ("POLICY_RULE_ERR", "The policy 'my rule' forbids this")
    );
}

#[test]
fn the_first_forbid_in_the_text_speaks() {
    let policies = "permit (principal, action, resource);
        @reason(\"B\") forbid (principal, action, resource in Ring::\"prod\");
        @reason(\"A\") forbid (principal, action, resource);";
    assert_eq!(decided(policies, &request(UNWRAP)), "B");
}

#[test]
fn a_policy_that_cannot_be_evaluated_is_a_fault_and_never_skipped() {
    // 2^62 * 4 is too much; nothing but evaluating it shows.
    let broken = "forbid (principal, action, resource) when { 4611686018427387904 * context.time.hour > 3 };";
    let fault =
        configured(&format!("permit (principal, action, resource); @id(\"sum\") {broken}")).evaluate(&request(UNWRAP));
    let fault = fault.unwrap_err();
    assert!(fault.starts_with("policy sum (a.cedar:1:39) could not be evaluated"), "{fault}");
}

#[test]
fn policies_know_the_caller() {
    let mut ann = request(UNWRAP);
    ann.principal.assignments = vec![assignment(&["Writer", "oncall"]), assignment(&["Reader"])];
    ann.principal.assignments[1].key_ring = Some("other".to_owned());
    for holds in [
        "principal.id == \"ann\" && principal.account == \"acme\"",
        "principal is User",
        "principal.roles == [\"oncall\", \"Writer\"]",
        "principal.rolesAnywhere.containsAll([\"Reader\", \"Writer\"])",
        "principal in Role::\"oncall\" && !(principal in Role::\"Reader\")",
        "principal in [Role::\"x\", Role::\"Writer\"]",
        "principal.hasTag(\"department\") && principal.getTag(\"department\") == \"payments\"",
        "!principal.hasTag(\"x\")",
        "principal == User::\"ann\"",
    ] {
        assert!(forbidden_when(holds, &ann), "{holds}");
    }
    ann.principal.kind = PrincipalKind::Service;
    ann.principal.service_name = Some("cos".to_owned());
    let service = "principal is Service && principal has service && principal.service == \"cos\"";
    assert!(forbidden_when(service, &ann));
    ann.principal.service_name = None;
    assert!(!forbidden_when(service, &ann));
}

#[test]
fn policies_know_the_key() {
    let mut about = request(UNWRAP);
    about.target.instance_policies = vec![InstancePolicy { kind: "allowedIP".to_owned(), attributes: Vec::new() }];
    let key = about.target.key.as_mut().unwrap();
    key.last_rotated_unix_ms = Some(NOW - 3 * DAY);
    key.expires_unix_ms = Some(NOW + 2 * DAY + 5);
    key.kind = KeyKind::Standard;
    key.state = KeyState::PreActivation;
    key.deletion_authorization = Some(DeletionAuthorization { by: "bob".to_owned(), expires_unix_ms: NOW + 1 });
    for holds in [
        "resource.instance == \"i1\" && resource.ring == \"prod\" && resource.id == \"k1\"",
        "resource.name == \"master\" && resource.aliases == [\"m\"] && resource.tags.contains(\"pci\")",
        "resource.kind == \"standard\" && resource.state == \"pre-activation\" && !resource.imported",
        "resource.createdBy == \"ann\" && resource.createdAt > 0",
        "resource.ageDays == 400 && resource.materialAgeDays == 3",
        "resource has lastRotatedDaysAgo && resource.lastRotatedDaysAgo == 3",
        "resource has expiresInDays && resource.expiresInDays == 2",
        "!resource.dualAuthDelete && resource has deletionAuthorizedBy && resource.deletionAuthorizedBy == \"bob\"",
        "resource.policies.contains(\"allowedIP\")",
        "resource in Ring::\"prod\" && resource in Instance::\"i1\" && resource == Key::\"k1\"",
        "!(resource in Ring::\"other\") && !(resource in Instance::\"i2\")",
    ] {
        assert!(forbidden_when(&is_key(holds), &about), "{holds}");
    }
    about.now_unix_ms = NOW + 1;
    assert!(!forbidden_when(&is_key("resource has deletionAuthorizedBy"), &about), "it has lapsed");
}

#[test]
fn policies_know_the_circumstances() {
    let mut about = request("kms.secrets.create");
    let facts = [
        ("force", "true"),
        ("new-key.kind", "root"),
        ("new-key.imported", "false"),
        ("import-token", "true"),
        ("plaintext-bytes", "4097"),
        ("new-ring", "prod"),
        ("resource.service", "cos"),
        ("brand-new", "1"),
    ];
    about.attributes = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for holds in [
        "context.address == ip(\"10.1.2.3\") && context.address.isInRange(ip(\"10.0.0.0/8\"))",
        "context.endpoint == \"private\"",
        "context.time.hour == 11 && context.time.minute == 0 && context.time.clock == 1100",
        "context.time.weekday == 1 && context.time.date == \"2026-11-23\" && context.time.day == 20261123",
        "context.time.unixMs == 1795431600000",
        "context has keyName && context.keyName == \"k1\"",
        "context has force && context.force",
        "context has newKey.kind && context.newKey.kind == \"root\"",
        "context has newKey && context.newKey has imported && !context.newKey.imported",
        "context has newRing && context.newRing == \"prod\"",
        "context has importToken && context.importToken",
        "context has plaintextBytes && context.plaintextBytes > 4096",
        "context has resourceService && context.resourceService == \"cos\"",
        "context.request.hasTag(\"brand-new\") && context.request.getTag(\"brand-new\") == \"1\"",
        "(if context.time.hour > 3 then context.time else context.time).day == 20261123",
        "resource is Ring && resource.ring == \"prod\" && resource in Instance::\"i1\"",
        "action in Action::\"create\" && action in Action::\"kms.secrets.*\" && action == Action::\"kms.secrets.create\"",
    ] {
        assert!(forbidden_when(holds, &about), "{holds}");
    }
    about.attributes.clear();
    for fails in
        ["context has force", "context has newKey", "context has plaintextBytes", "context.request.hasTag(\"force\")"]
    {
        assert!(!forbidden_when(fails, &about), "{fails}");
    }
}

#[test]
fn without_an_address_a_policy_that_asks_for_it_fails() {
    let mut nowhere = request(UNWRAP);
    let rule = configured("forbid (principal, action, resource) when { context.address.isLoopback() };");
    for (address, part) in
        [(None, "none"), (Some("10.0.0.0/8"), "none"), (Some(""), "none"), (Some("1.2.3.4\n"), "none")]
    {
        nowhere.network.address = address.map(str::to_owned);
        assert!(rule.evaluate(&nowhere).unwrap_err().contains(part), "{address:?}");
    }
    for (address, loopback) in
        [("::1", "POLICY_RULE_ERR"), ("::ffff:127.0.0.1", "POLICY_RULE_ERR"), ("fe80::1", "abstain")]
    {
        nowhere.network.address = Some(address.to_owned());
        assert_eq!(super::said(&rule.evaluate(&nowhere).unwrap().decision), loopback, "{address}");
    }
    nowhere.network.address = None;
    nowhere.network.endpoint = Endpoint::Public;
    assert!(forbidden_when("context.endpoint == \"public\"", &nowhere), "what does not ask for it goes on");
}

#[test]
fn a_fact_that_cannot_be_read_is_a_fault() {
    let mut odd = request("kms.secrets.wrap");
    for (fact, attribute) in [("force", "force"), ("plaintext-bytes", "plaintextBytes"), ("new-key.imported", "newKey")]
    {
        odd.attributes = vec![(fact.to_owned(), "maybe".to_owned())];
        let policy = format!("forbid (principal, action, resource) when {{ context has {attribute} }};");
        assert!(configured(&policy).evaluate(&odd).unwrap_err().contains(fact));
    }
}

#[test]
fn of_a_key_that_does_not_exist_only_what_is_not_about_it_applies() {
    let mut missing = request("kms.secrets.read");
    missing.target.key = None;
    missing.target.key_ring = None;
    assert_eq!(decided("permit (principal in Role::\"Writer\", action, resource);", &missing), "allow");
    assert_eq!(decided("permit (principal, action, resource == Key::\"k1\");", &missing), "allow");
    assert_eq!(decided("permit (principal, action, resource in Ring::\"prod\");", &missing), "abstain");
    let about_it = "(principal, action == Action::\"kms.secrets.read\", resource) when { resource.kind == \"root\" };";
    assert_eq!(decided(&format!("forbid {about_it}"), &missing), "abstain");
    assert_eq!(decided(&format!("permit {about_it}"), &missing), "abstain");
}

#[test]
fn obligations_come_with_what_is_allowed() {
    let policies =
        "@obligation(\"max-data-bytes=100\") @obligation_note(\"audit-note=a\") permit (principal, action == Action::\"kms.secrets.wrap\", resource);
        @obligation(\"max-data-bytes=50\") permit (principal, action == Action::\"kms.secrets.wrap\", resource);
        @obligation(\"audit-note=a\") permit (principal, action, resource);";
    let wrap = request("kms.secrets.wrap");
    let Decision::Allow(obligations) = verdict(policies, &wrap).decision else { panic!("not allowed") };
    let expected = [("audit-note", "a"), ("max-data-bytes", "50")]
        .map(|(name, value)| Obligation { name: name.to_owned(), value: value.to_owned() });
    assert_eq!(obligations, expected);
    let rings =
        "@obligation(\"new-key-ring=aa\") permit (principal, action == Action::\"kms.secrets.create\", resource);
        @obligation(\"new-key-ring=bb\") permit (principal, action == Action::\"kms.secrets.create\", resource);";
    assert!(configured(rings).evaluate(&request("kms.secrets.create")).unwrap_err().contains("two different rings"));
}

#[test]
fn the_host_asks_only_about_actions_that_a_policy_is_for() {
    let actions = |policies: &str| configured(policies).describe().actions;
    assert_eq!(actions("permit (principal, action in Action::\"use\", resource);").len(), 3);
    assert_eq!(actions("permit (principal, action == Action::\"kms.secrets.wrap\", resource);"), ["kms.secrets.wrap"]);
    assert!(actions("permit (principal, action in Action::\"kms.secrets.*\", resource);").len() > 15);
    let everything = "forbid (principal, action, resource) when { context.time.hour > 30 };";
    assert_eq!(actions(everything), Vec::<String>::new(), "of those, too, that are not known yet");
    assert!(configured(everything).evaluate(&request("kms.new.action")).unwrap_err().contains("newer"));
    assert_eq!(
        decided("permit (principal, action in Action::\"use\", resource);", &request("kms.new.action")),
        "abstain"
    );
}

#[test]
fn every_action_of_the_rule_access_is_known() {
    // The table of the other built-in rule is the list of what the gateway asks about.
    let table = include_str!("../../../access/src/roles.rs");
    let named: Vec<String> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix("row(\"").or_else(|| line.trim().strip_prefix("services(\"")))
        .filter_map(|rest| {
            rest.split_once('"')
                .map(|(name, _)| if name.starts_with("keygate.") { name.to_owned() } else { format!("kms.{name}") })
        })
        .chain(["kms.secrets.patch".to_owned(), "keygate.plugins.reload".to_owned()])
        .collect();
    assert!(named.len() > 40);
    for action in named {
        assert!(crate::actions::ACTIONS.iter().any(|row| row.0 == action), "{action}");
    }
    assert!(crate::actions::ACTIONS.is_sorted_by_key(|row| row.0));
}

#[test]
fn what_a_ring_forbids_holds_for_lists_across_all_rings() {
    let forbid = "@reason(\"NO\") forbid (principal, action in Action::\"view\", resource in Ring::\"prod\");";
    let permit = "permit (principal, action in Action::\"view\", resource in Ring::\"prod\");";
    for (action, across) in [
        ("kms.secrets.list", true),
        ("kms.secrets.head", true),
        ("kms.registrations.list", true),
        ("kms.events.list", true),
        // Nothing of a ring comes out.
        ("kms.keyrings.list", false),
        ("kms.instancepolicies.read", false),
    ] {
        let mut list = request(action);
        (list.target.key, list.target.key_name, list.target.key_ring) = (None, None, None);
        assert_eq!(decided(forbid, &list), if across { "NO" } else { "abstain" }, "{action}");
        assert_eq!(decided(permit, &list), "abstain", "{action}");
        list.target.key_ring = Some("test".to_owned());
        assert_eq!(decided(forbid, &list), "abstain", "{action} of another ring");
        list.target.key_ring = Some("prod".to_owned());
        assert_eq!(decided(forbid, &list), "NO", "{action} of the ring itself");
    }
}
