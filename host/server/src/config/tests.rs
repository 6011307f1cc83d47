use std::time::Duration;

use keygate_core::access::PrincipalKind;
use keygate_runtime::manifest::KeySource;

use super::*;

mod chain;
mod doors;
mod shipped;
mod tokens;

const GOOD: &str = r#"
[server]
listen = "127.0.0.1:9000"

[iam]
account = "acct"

[[iam.identities]]
id = "IBMid-1"
name = "Ann"
api_key_hashes = ["0000000000000000000000000000000000000000000000000000000000000000"]
roles = [
    { roles = ["Reader"], instance = "fadedbee-0000-4000-8000-000000000001", key_ring = "prod", key = "fadedbee-0000-4000-8000-00000000000a" },
]

[[iam.identities]]
id = "iam-ServiceId-1"
kind = "service"
service = "cloud-object-storage"

[[instances]]
id = "fadedbee-0000-4000-8000-000000000001"
name = "one"
region = "us-south"
account = "acct"
backend = "software"

[[secrets]]
name = "kek"
[[secrets.versions]]
version = 1
file = "kek-1"
[[secrets.versions]]
version = 2
env = "KEK_2"
[[secrets.versions]]
version = 3
passphrase_file = "/etc/phrase"
salt = "AAAAAAAAAAAAAAAAAAAAAA=="

[limits]
rotate_interval = "30m"

[[plugins]]
name = "aes-gcm"
file = "aes-gcm.wasm"
limits = { memory = "4MiB" }
settings = { n = 3, on = true, list = [1.5, "x"] }

[[plugins]]
name = "access"

[[backends]]
name = "software"
plugin = "aes-gcm"

[policy]
chain = ["access"]
"#;

fn load_text(text: &str, environment: &[(&str, &str)]) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plugins.toml");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    load(&Source::File(file), &environment, &Flags::default())
}

fn good(text: &str, environment: &[(&str, &str)]) -> Config {
    let loaded = load_text(text, environment);
    assert_eq!(loaded.problems, []);
    loaded.config.unwrap()
}

/// The one problem with a configuration, as (path, problem, mend).
fn wrong(text: &str, environment: &[(&str, &str)]) -> (String, String, String) {
    let mut problems = load_text(text, environment).problems;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let problem = problems.remove(0);
    (problem.at.unwrap_or_default().into(), problem.problem, problem.mend)
}

#[test]
fn what_the_rules_were_asked_is_recorded_unless_the_operator_says_otherwise() {
    assert!(good(GOOD, &[]).audit.record_input);
    assert!(!good(&format!("{GOOD}\n[audit]\nrecord_input = false\n"), &[]).audit.record_input);
    let (at, ..) = wrong(&format!("{GOOD}\n[audit]\nrecord_inputs = false\n"), &[]);
    assert_eq!(at, "audit.record_inputs");
}

#[test]
fn a_whole_configuration_comes_out_typed() {
    let config = good(GOOD, &[("KEK_2", "value"), ("HOME", "/root")]);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.limits.rotate_interval, Duration::from_secs(1800));
    assert_eq!(config.limits.purge_wait, Limits::default().purge_wait);
    assert_eq!(config.iam.token_lifetime, Duration::from_secs(3600));
    let ann = &config.iam.identities[0];
    assert_eq!(ann.account, "acct");
    assert_eq!(ann.assignments[0].roles, ["Reader"]);
    assert_eq!(ann.assignments[0].resource_type.as_deref(), Some("key"));
    assert_eq!(ann.assignments[0].resource_id.as_deref(), Some("fadedbee-0000-4000-8000-00000000000a"));
    assert_eq!(ann.assignments[0].key_ring.as_ref().unwrap().as_str(), "prod");
    let service = &config.iam.identities[1];
    assert_eq!(service.kind, PrincipalKind::Service { name: "cloud-object-storage".to_owned() });
    let versions = &config.secrets[0].versions;
    assert_eq!(versions[0].origin, SecretOrigin::File(config.base.join("kek-1")));
    assert_eq!(versions[1].origin, SecretOrigin::Env("KEK_2".to_owned()));
    assert!(matches!(&versions[2].origin, SecretOrigin::Passphrase { file, salt }
        if file == Path::new("/etc/phrase") && salt.len() == 16));
    assert_eq!(config.environment.get("KEK_2"), Some("value"));
    assert_eq!(config.environment.get("HOME"), None);
    assert!(!format!("{config:?}").contains("value"), "a secret is in Debug");
    assert_eq!(config.plugins.chain, [keygate_runtime::manifest::ChainEntry::everywhere("access")]);
    assert_eq!(config.plugins.backends, [("software".to_owned(), "aes-gcm".to_owned())]);
    assert_eq!(config.plugins.plugins[0]["settings"], serde_json::json!({"n": 3, "on": true, "list": [1.5, "x"]}));
    assert_eq!(config.store.path, config.base.join("keygate.redb"));
}

#[test]
fn an_unknown_key_is_refused_by_its_full_path_with_the_nearest_known_one() {
    let (at, _, mend) = wrong(&GOOD.replace("rotate_interval", "rotat_interval"), &[]);
    assert_eq!(at, "limits.rotat_interval");
    assert!(mend.contains("`rotate_interval`"), "{mend}");

    let (at, _, mend) = wrong(&GOOD.replace("key_ring =", "keyring ="), &[]);
    assert_eq!(at, "iam.identities[0].roles[0].keyring");
    assert!(mend.contains("`key_ring`"), "{mend}");

    let (at, _, mend) = wrong(&GOOD.replace("[limits]", "[limit]"), &[]);
    assert_eq!(at, "limit");
    assert!(mend.contains("`limits`"), "{mend}");
}

#[test]
fn everything_that_is_wrong_is_found_in_one_run() {
    let text = GOOD
        .replace("rotate_interval = \"30m\"", "rotate_interval = 30\npurge_wat = \"1h\"\nmax_body = \"many\"")
        .replace("listen = \"127.0.0.1:9000\"", "listen = \"nowhere\"\nheader_timeot = \"1s\"")
        .replace("backend = \"software\"", "backend = \"sofware\"")
        .replace("plugin = \"aes-gcm\"", "plugin = \"aes-gmc\"")
        .replace("chain = [\"access\"]", "chain = [\"acess\"]")
        .replace("name = \"Ann\"", "nam = \"Ann\"")
        .replace("region = \"us-south\"", "");
    let loaded = load_text(&text, &[("KEYGATE__STORE__PAHT", "x")]);
    let mut places: Vec<_> = loaded.problems.iter().map(|p| String::from(p.at.clone().unwrap())).collect();
    places.sort();
    assert_eq!(
        places,
        [
            "backends[0].plugin",
            "iam.identities[0].nam",
            "instances[0].region",
            "limits.max_body",
            "limits.purge_wat",
            "limits.rotate_interval",
            "policy.chain[0]",
            "server.header_timeot",
            "server.listen",
            "store.paht",
        ]
    );
}

#[test]
fn durations_carry_units() {
    for bare in ["30", "1.5"] {
        let (at, problem, _) = wrong(&GOOD.replace("\"30m\"", bare), &[]);
        assert_eq!(at, "limits.rotate_interval");
        assert!(problem.contains("no unit"), "{problem}");
    }
    let (_, problem, _) = wrong(&GOOD.replace("30m", "30"), &[]);
    assert!(problem.contains("no unit"), "{problem}");
    let (_, problem, _) = wrong(&GOOD.replace("30m", "soon"), &[]);
    assert!(problem.contains("no duration"), "{problem}");
    assert_eq!(good(&GOOD.replace("30m", "7d"), &[]).limits.rotate_interval, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(good(&GOOD.replace("30m", "0s"), &[]).limits.rotate_interval, Duration::ZERO);
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_both() {
    let environment = [
        ("KEYGATE__LIMITS__ROTATE_INTERVAL", "1s"),
        ("KEYGATE__LIMITS__ALIASES_PER_KEY", "7"),
        ("KEYGATE__IAM__ACCOUNT", "0123"),
        ("KEYGATE__SERVER__LISTEN", "127.0.0.1:1"),
        ("KEYGATE_PLUGIN_DIR", "/x"),
    ];
    let config = good(GOOD, &environment);
    assert_eq!(config.limits.rotate_interval, Duration::from_secs(1));
    assert_eq!(config.limits.aliases_per_key, 7);
    assert_eq!(config.iam.identities[0].account, "0123");
    assert_eq!(config.server.listen.port(), 1);

    let made = Source::Made { tree: serde_json::json!({"server": {"listen": "127.0.0.1:2"}}), base: "/b".into() };
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let flags = Flags { listen: Some("127.0.0.1:3".parse().unwrap()) };
    let config = load(&made, &environment, &flags).config.unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.limits.rotate_interval, Duration::from_secs(1));
    assert_eq!(config.store.path, Path::new("/b/keygate.redb"));
}

#[test]
fn a_slip_in_a_variable_does_not_pass_in_silence() {
    let (at, problem, mend) = wrong(GOOD, &[("KEYGATE__LIMITS__ROTAT_INTERVAL", "1s")]);
    assert_eq!(at, "limits.rotat_interval");
    assert!(problem.contains("KEYGATE__LIMITS__ROTAT_INTERVAL"), "{problem}");
    assert!(mend.contains("`rotate_interval`"), "{mend}");

    let (at, problem, _) = wrong(GOOD, &[("KEYGATE__LIMIT__ROTATE_INTERVAL", "1s")]);
    assert_eq!(at, "limit.rotate_interval");
    assert!(problem.contains("no section `limit`"), "{problem}");

    let (_, problem, _) = wrong(GOOD, &[("KEYGATE__LIMITS__ROTATE_INTERVAL", "3600")]);
    assert!(problem.contains("no unit") && problem.contains("KEYGATE__LIMITS__ROTATE_INTERVAL"), "{problem}");

    for name in ["KEYGATE__LIMITS", "KEYGATE__", "Keygate__Limits__Rotate_Interval", "KEYGATE__LIMITS__A-B"] {
        let (_, problem, _) = wrong(GOOD, &[(name, "1s")]);
        assert!(problem.contains(name), "{problem}");
    }
    for name in [
        "KEYGATE__PLUGINS__0__FILE",
        "KEYGATE__POLICY__CHAIN",
        "KEYGATE__IAM__IDENTITIES__0__ID",
        "KEYGATE__TRUSTED_KEYS__0__NAME",
    ] {
        let (_, problem, _) = wrong(GOOD, &[(name, "x")]);
        assert!(problem.contains("list"), "{problem}");
    }
}

#[test]
fn an_assignment_with_a_damaged_scope_never_becomes_one_without_a_scope() {
    for (good, bad) in [
        ("instance = \"fadedbee", "instance = \"fade"),
        ("key_ring = \"prod\"", "key_ring = \"a b\""),
        ("key = \"fadedbee-0000-4000-8000-00000000000a\"", "key = \"an-alias\""),
        ("instance = \"fadedbee-0000-4000-8000-000000000001\"", "instanc = \"x\""),
    ] {
        let loaded = load_text(&GOOD.replace(good, bad), &[]);
        assert!(!loaded.problems.is_empty(), "{bad}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let cases = [
        ("kind = \"service\"", "kind = \"robot\"", "iam.identities[1].kind"),
        ("kind = \"service\"", "kind = \"user\"", "iam.identities[1].service"),
        ("service = \"cloud-object-storage\"", "", "iam.identities[1].service"),
        ("id = \"iam-ServiceId-1\"", "id = \"IBMid-1\"", "iam.identities[1].id"),
        ("roles = [\"Reader\"]", "roles = []", "iam.identities[0].roles[0].roles"),
        ("account = \"acct\"\n\n", "token_lifetime = \"1m\"\naccount = \"acct\"\n\n", "iam.token_lifetime"),
        ("env = \"KEK_2\"", "env = \"KEK_2\"\nfile = \"x\"", "secrets[0].versions[1]"),
        ("salt = \"AAAAAAAAAAAAAAAAAAAAAA==\"", "salt = \"AAAA\"", "secrets[0].versions[2].salt"),
        ("version = 2", "version = 1", "secrets[0].versions[1].version"),
        ("id = \"fadedbee", "id = \"fade", "instances[0].id"),
        ("region = \"us-south\"", "region = \"us:south\"", "instances[0].region"),
        ("chain = [\"access\"]", "", "policy.chain"),
        ("[[backends]]", "[[backends]]\nname = \"a b\"\nplugin = \"access\"\n[[backends]]", "backends[0].name"),
        ("[server]", "[server]\nidle_timeout = \"0s\"", "server.idle_timeout"),
        ("[limits]", "[limits]\nmax_plaintext = 9000000", "limits.max_plaintext"),
        ("[server]", "[server]\nmax_in_flight = 0", "server.max_in_flight"),
    ];
    for (good, bad, place) in cases {
        let (at, ..) = wrong(&GOOD.replacen(good, bad, 1), &[]);
        assert_eq!(at, place);
    }
}

#[test]
fn limits_have_bounds_and_say_which() {
    for (key, out, within, words) in [
        ("tend_interval", &["\"999ms\"", "\"3601s\""][..], &["\"1s\"", "\"1h\""][..], "\"1s\" to \"1h\""),
        ("max_body", &["67108865"], &["40000", "67108864"], "1024 to 67108864"),
        ("import_keys_ready", &["17"], &["0", "16"], "0 to 16"),
        ("rings_per_instance", &["0"], &["1", "10000"], "1 to 1000000"),
        ("registrations_per_key", &["0", "100001"], &["1", "100000"], "1 to 100000"),
        ("searchable_keys", &["0", "100001"], &["1", "100000"], "1 to 100000"),
        ("aliases_per_key", &["0", "101"], &["1", "100"], "1 to 100"),
        ("aad_entries", &["1001"], &["0", "1000"], "0 to 1000"),
        ("purge_after", &["\"3h\""], &["\"4h\""], "`limits.purge_wait`"),
        ("restore_window", &["\"29s\""], &["\"30s\""], "`limits.restore_wait`"),
    ] {
        let text = |value: &str| GOOD.replacen("[limits]", &format!("[limits]\n{key} = {value}"), 1);
        for value in out {
            let (at, _, mend) = wrong(&text(value), &[]);
            assert_eq!(at, format!("limits.{key}"), "{value}");
            assert!(mend.contains(words), "{mend}");
        }
        for value in within {
            assert_eq!(load_text(&text(value), &[]).problems, [], "{key} = {value}");
        }
    }
    let (at, ..) = wrong(&GOOD.replacen("[limits]", "[limits]\nmax_plaintext = 10\nmax_body = 1023", 1), &[]);
    assert_eq!(at, "limits.max_body");
}

#[test]
fn an_api_key_in_the_place_of_its_hash_is_refused_and_not_repeated() {
    let key = crate::iam::ApiKey::from_bytes([5; 32]).text();
    let (at, problem, mend) = wrong(&GOOD.replace(&"0".repeat(64), key.expose()), &[]);
    assert_eq!(at, "iam.identities[0].api_key_hashes[0]");
    assert!(!problem.contains(key.expose()) && !mend.contains(key.expose()));
}

#[test]
fn a_value_in_the_wrong_place_is_not_repeated() {
    let key = crate::iam::ApiKey::from_bytes([5; 32]).text();
    let key = key.expose();
    assert!(key.starts_with("kg_"));
    let quoted = format!("\"{key}\"");
    for (good, bad) in [
        ("\"30m\"", quoted.clone()),
        ("[limits]", format!("[limits]\nmax_body = {quoted}")),
        ("\"127.0.0.1:9000\"", quoted.clone()),
        ("instance = \"fadedbee-0000-4000-8000-000000000001\"", format!("instance = {quoted}")),
        ("key = \"fadedbee-0000-4000-8000-00000000000a\"", format!("key = {quoted}")),
        ("id = \"fadedbee-0000-4000-8000-000000000001\"", format!("id = {quoted}")),
        ("kind = \"service\"", format!("kind = {quoted}")),
        ("version = 1", format!("version = {quoted}")),
        ("[\"Reader\"]", quoted.clone()),
        ("[[plugins]]", format!("[runtime]\nmax_sandboxes = {quoted}\n[[plugins]]")),
        ("[limits]", format!("[limits]\nmax_body = {key}")),
        ("[limits]", format!("[limits]\n{key}")),
        ("\"30m\"", format!("\"{key}")),
    ] {
        let text = GOOD.replacen(good, &bad, 1);
        assert_ne!(text, GOOD, "{good}");
        let problems = load_text(&text, &[]).problems;
        assert!(!problems.is_empty(), "{bad}");
        assert!(!format!("{problems:?}").contains(key), "{problems:#?}");
    }
    let long = "b".repeat(65);
    let (at, ..) = wrong(&GOOD.replace("\"software\"", &format!("\"{long}\"")), &[]);
    assert_eq!(at, "backends[0].name");
}

#[test]
fn a_missing_or_broken_file_is_one_problem() {
    let loaded = load(&Source::File("/nowhere/plugins.toml".into()), &Environment::new(), &Flags::default());
    assert!(loaded.config.is_none());
    assert!(loaded.problems[0].problem.contains("/nowhere/plugins.toml"));
    let loaded = load_text("\n[server\n", &[]);
    assert!(loaded.config.is_none());
    assert_eq!(loaded.problems.len(), 1);
    assert!(loaded.problems[0].problem.contains("line 2, column "), "{:?}", loaded.problems);
}

#[test]
fn trusted_keys_are_named_once_and_are_in_one_place() {
    let text = format!(
        "{GOOD}\n[[trusted_keys]]\nname = \"a\"\npublic_key_file = \"a.pem\"\n\n[[trusted_keys]]\nname = \"b\"\npublic_key = \"PEM\"\n"
    );
    let config = good(&text, &[("KEYGATE__RUNTIME__REQUIRE_SIGNATURES", "true")]);
    assert!(config.runtime.require_signatures);
    let keys: Vec<_> = config.trusted_keys.iter().map(|key| (key.name.as_str(), &key.source)).collect();
    let (file, pem) = (KeySource::File(config.base.join("a.pem")), KeySource::Pem("PEM".to_owned()));
    assert_eq!(keys, [("a", &file), ("b", &pem)]);
    for (entry, at, expected) in [
        ("name = \"a\"", "trusted_keys[0]", "the key itself is missing"),
        ("name = \"a\"\npublic_key = \"x\"\npublic_key_file = \"y\"", "trusted_keys[0]", "both given"),
        ("name = \"\"\npublic_key = \"x\"", "trusted_keys[0].name", "is empty"),
        (
            "name = \"a\"\npublic_key = \"x\"\n[[trusted_keys]]\nname = \"a\"\npublic_key = \"x\"",
            "trusted_keys[1].name",
            "another",
        ),
    ] {
        let (path, problem, _) = wrong(&format!("{GOOD}\n[[trusted_keys]]\n{entry}\n"), &[]);
        assert_eq!(path, at, "{entry}");
        assert!(problem.contains(expected), "{problem}");
    }
}
