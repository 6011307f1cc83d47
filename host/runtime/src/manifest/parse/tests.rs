//! Entries, whole, with little in them, and wrong.

use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<PluginManifest, Vec<LoadError>> {
    PluginManifest::parse(&value, Path::new("/etc/keygate"))
}

fn problems(value: Value) -> Vec<String> {
    parse(value).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_entry_is_read() {
    let manifest = parse(json!({
        "name": "aes-gcm", "file": "plugins/aes-gcm.wasm", "sha256": "AB".repeat(32), "world": "software-backend",
        "grants": { "log": true, "random": true, "secrets": ["kek"] },
        "limits": { "deadline": "500ms", "slow_deadline": "2m", "memory": "4MiB", "output": "64KiB", "concurrency": 3 },
        "settings": { "kek": "kek" },
    }))
    .unwrap();
    assert_eq!(manifest.file, Path::new("/etc/keygate/plugins/aes-gcm.wasm"));
    assert_eq!(manifest.digest, DigestSource::Sha256("ab".repeat(32)));
    assert_eq!(manifest.grants, Grants { log: true, random: true, secrets: vec!["kek".into()], ..Grants::default() });
    assert_eq!(
        manifest.limits,
        PluginLimits {
            deadline: Duration::from_millis(500),
            slow_deadline: Duration::from_secs(120),
            memory: 4 << 20,
            output: 64 << 10,
            concurrency: Some(3)
        }
    );
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let manifest = parse(json!({ "name": "rule", "file": "/r.wasm", "world": "policy-rule" })).unwrap();
    assert_eq!(manifest.file, Path::new("/r.wasm"));
    assert_eq!(manifest.digest, DigestSource::Absent);
    assert_eq!(manifest.limits, PluginLimits::default());
    assert_eq!(manifest.mode, Mode::Enforce);
    assert_eq!(manifest.grants, Grants::default());
    assert_eq!(manifest.settings, json!({}));
    assert_eq!(manifest.described_as, None);
}

#[test]
fn everything_wrong_is_found_at_once_and_names_what_was_probably_meant() {
    let found = problems(json!({
        "name": "x", "fil": "x.wasm", "world": "software-backed",
        "grants": { "randon": true, "log": 1 }, "limits": { "memory": 4, "deadlin": "1s" }, "mode": "monitr",
    }));
    for expected in [
        "`fil` is not a known key; did you mean `file`?",
        "`file` is missing",
        "`software-backed` is not a known world; did you mean `software-backend`?",
        "`randon` is not a known grant; did you mean `random`?",
        "the grant `log` is neither true nor false",
        "`limits.memory`: `4` has no unit",
        "`limits.deadlin` is not a known key; did you mean `deadline`?",
        "`monitr` is not a known mode; did you mean `monitor`?",
    ] {
        assert!(found.iter().any(|p| p.contains(expected)), "{expected:?} is not in {found:#?}");
    }
    assert!(found.iter().all(|p| p.starts_with("plugin `x`: manifest: ")), "{found:#?}");
    assert_eq!(found.len(), 8, "{found:#?}");
}

#[test]
fn only_what_is_slow_has_the_longer_deadline() {
    let limits = |limits: Value| {
        parse(json!({ "name": "x", "file": "x", "world": "software-backend", "limits": limits })).unwrap().limits
    };
    let seconds = |limits: &PluginLimits, function| limits.deadline_of(function).as_secs();
    let default = limits(json!({}));
    for (function, expected) in [("create-import-key", 60), ("create-transport-key", 60), ("open-import", 1)] {
        assert_eq!(seconds(&default, function), expected, "{function}");
    }
    let patient = limits(json!({ "deadline": "2m", "slow_deadline": "3s" }));
    assert_eq!(seconds(&patient, "create-import-key"), 120, "slow is never faster than the rest");
}

#[test]
fn grants_fit_the_world() {
    let entry = |world: &str, grants: Value| json!({ "name": "x", "file": "x", "world": world, "grants": grants });
    assert!(parse(entry("policy-rule", json!({ "log": true }))).is_ok());
    for world in ["policy-rule", "software-backend", "hsm-backend"] {
        assert!(parse(entry(world, json!({ "wasi-minimal": true }))).unwrap().grants.wasi_minimal);
    }
    for (grants, name) in [
        (json!({ "random": true }), "random"),
        (json!({ "secrets": ["kek"] }), "secrets"),
        (json!({ "clock": true }), "clock"),
    ] {
        let found = problems(entry("policy-rule", grants));
        assert!(found[0].contains(&format!("`policy-rule` cannot be granted `{name}`")), "{found:?}");
    }
    assert!(problems(entry("hsm-backend", json!({ "secrets": ["kek"] })))[0].contains("cannot be granted"));
    for grants in [json!({ "pkcs11": ["prod"] }), json!({ "pkcs11": ["a", "b"], "pkcs11-transport": true })] {
        assert!(parse(entry("hsm-backend", grants.clone())).is_ok());
        for world in ["software-backend", "policy-rule"] {
            assert!(problems(entry(world, grants.clone()))[0].contains("cannot be granted `pkcs11`"));
        }
    }
    let alone = problems(entry("hsm-backend", json!({ "pkcs11-transport": true })));
    assert!(alone[0].contains("without `pkcs11`"), "{alone:?}");
    for grants in [json!({ "pkcs11": true }), json!({ "pkcs11": ["x".repeat(65)] })] {
        assert!(problems(entry("hsm-backend", grants))[0].contains("not a list of names"));
    }
}

#[test]
fn bounds_hold() {
    let entry = |key: &str, value: Value| {
        let mut entry = json!({ "name": "x", "file": "x", "world": "software-backend" });
        entry[key] = value;
        entry
    };
    for (key, value) in [
        ("name", json!("../x")),
        ("sha256", json!("abc")),
        ("limits", json!({ "deadline": "0s" })),
        ("limits", json!({ "deadline": "1h" })),
        ("limits", json!({ "slow_deadline": "0s" })),
        ("limits", json!({ "slow_deadline": "11m" })),
        ("limits", json!({ "memory": "1KiB" })),
        ("limits", json!({ "output": "1B" })),
        ("limits", json!({ "concurrency": 0 })),
        ("limits", json!({ "concurrency": "2" })),
        ("settings", json!([])),
        ("settings", json!({ "long": "x".repeat(70_000) })),
        ("mode", json!("monitor")),
        ("grants", json!({ "secrets": [""] })),
        ("signed_by", json!([])),
        ("signed_by", json!("release")),
        ("signature_file", json!("x.sig")),
        ("settings_files", json!({ "rules": "a.txt" })),
        ("settings_files", json!({ "rules": [""] })),
        ("settings_files", json!(["a.txt"])),
        ("described_as", json!(["x"])),
        ("described_as", json!("")),
    ] {
        assert_eq!(problems(entry(key, value.clone())).len(), 1, "{key} = {value}");
    }
    let mut both = entry("sha256", json!("ab".repeat(32)));
    both["sha256_file"] = json!("x.sha256");
    assert_eq!(problems(both).len(), 1);
    let mut twice = entry("settings", json!({ "rules": [] }));
    twice["settings_files"] = json!({ "rules": ["a.txt"] });
    assert!(problems(twice)[0].contains("`rules` is in `settings` and in `settings_files`"));
}

#[test]
fn signers_and_files_of_settings_are_read() {
    let manifest = parse(json!({
        "name": "x", "file": "x.wasm", "world": "policy-rule", "signed_by": ["a", "b"], "signature_file": "s/x.sig",
        "settings_files": { "rules": ["rules/*.txt", "last.txt"] }, "described_as": "office-hours",
    }))
    .unwrap();
    assert_eq!(manifest.described_as.as_deref(), Some("office-hours"));
    assert_eq!(manifest.signed_by, ["a", "b"]);
    assert_eq!(manifest.signature_file.as_deref(), Some(Path::new("/etc/keygate/s/x.sig")));
    assert_eq!(manifest.settings_files.base, Path::new("/etc/keygate"));
    assert_eq!(manifest.settings_files.lists["rules"], ["rules/*.txt", "last.txt"]);
}
