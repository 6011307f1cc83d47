//! What keeps a plugin from being loaded, and what the operator is told.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use keygate_runtime::manifest::{BackendManifest, ChainEntry, Manifest};
use serde_json::{Value, json};
use support::{aes_gcm, built, component, component_of_its_own, manifest, refused, runtime};

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn entry(name: &str, file: &Path, world: &str, grants: &Value) -> Value {
    json!({ "name": name, "file": file, "world": world, "grants": grants })
}

async fn refusal(entry: Value) -> String {
    refused(&runtime(), &manifest(&[entry])).await
}

#[tokio::test]
async fn files_that_are_no_components_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&[u8], &str); 5] = [
        (b"\0asm\x01\0\0\0", "compile: the file is a core WebAssembly module and not a component; make a component"),
        (b"(component)", "compile: the file is WebAssembly text"),
        (b"", "compile: the file is empty"),
        (b"#!/bin/sh\n", "compile: the file is not a WebAssembly component"),
        (b"\0asm\x0d\0\x01\0garbage", "compile: "),
    ];
    for (bytes, expected) in cases {
        let file = write(dir.path(), "x.wasm", bytes);
        let told = refusal(entry("x", &file, "policy-rule", &json!({}))).await;
        assert!(told.starts_with(&format!("plugin `x`: {expected}")), "{told}");
    }
    let absent = refusal(entry("x", &dir.path().join("absent.wasm"), "policy-rule", &json!({}))).await;
    assert!(absent.contains("plugin `x`: read: ") && absent.contains("absent.wasm"), "{absent}");
}

#[tokio::test]
async fn an_import_that_is_not_granted_names_the_grant() {
    let dir = tempfile::tempdir().unwrap();
    let text = "package test:guest; world guest {
        import keygate:host/log@0.1.0; import keygate:host/random@0.1.0; import keygate:host/secrets@0.1.0;
        import keygate:host/clock@0.1.0; export keygate:crypto/backend@0.1.0;
    }";
    let file = component(dir.path(), text);
    let told = refusal(entry("x", &file, "software-backend", &json!({ "log": true }))).await;
    for expected in [
        "imports: it imports `keygate:host/random@0.1.0`, which its entry does not grant; add `random = true`",
        "imports: it imports `keygate:host/secrets@0.1.0`, which its entry does not grant; add `secrets = [\"NAME\"]`",
        "imports: it imports `keygate:host/clock@0.1.0`, which its entry does not grant; add `clock = true`",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(told.lines().count(), 3, "{told}");
}

#[tokio::test]
async fn a_rule_that_wants_more_than_to_log_is_refused_whatever_its_grants() {
    let dir = tempfile::tempdir().unwrap();
    let text = "package test:guest; world guest {
        import keygate:host/secrets@0.1.0; export keygate:policy/rule@0.1.0;
    }";
    let file = component(dir.path(), text);
    let told = refusal(entry("x", &file, "policy-rule", &json!({ "log": true }))).await;
    assert!(told.contains("a plugin of world `policy-rule` cannot be granted it"), "{told}");
}

#[tokio::test]
async fn an_unknown_import_is_named_with_what_is_offered() {
    let dir = tempfile::tempdir().unwrap();
    let text = "package test:guest; interface exfiltrate { send: func(bytes: list<u8>); }
        world guest { import exfiltrate; export keygate:policy/rule@0.1.0; }";
    let file = component(dir.path(), text);
    let told = refusal(entry("x", &file, "policy-rule", &json!({ "log": true }))).await;
    assert!(told.contains("imports: it imports `test:guest/exfiltrate`, which this gateway does not offer"), "{told}");
    assert!(told.contains("`keygate:host/log@0.1.0`"), "{told}");
}

#[tokio::test]
async fn another_version_of_an_interface_is_named_with_the_one_offered() {
    let dir = tempfile::tempdir().unwrap();
    let text = "package test:guest;
        package keygate:host@0.2.0 { interface log { emit: func(message: string); } }
        package keygate:policy@0.3.0 { interface rule { describe: func() -> string; } }
        world guest { import keygate:host/log@0.2.0; export keygate:policy/rule@0.3.0; }";
    let file = component_of_its_own(dir.path(), text);
    let told = refusal(entry("x", &file, "policy-rule", &json!({ "log": true }))).await;
    for expected in [
        "version: it imports `keygate:host/log` in version 0.2.0; this gateway has version 0.1.0",
        "version: it exports `keygate:policy/rule` in version 0.3.0; this gateway has version 0.1.0",
    ] {
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn a_changed_interface_under_the_right_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = "package test:guest;
        package keygate:policy@0.1.0 { interface rule { describe: func() -> string; } }
        world guest { export keygate:policy/rule@0.1.0; }";
    let file = component_of_its_own(dir.path(), text);
    let told = refusal(entry("x", &file, "policy-rule", &json!({}))).await;
    assert!(told.starts_with("plugin `x`: version: ") && told.contains("configure"), "{told}");
    assert!(told.contains("build the plugin again from the WIT files"), "{told}");
}

#[tokio::test]
async fn the_wrong_world_names_the_right_one() {
    let told = refusal(entry("x", &built("aes-gcm"), "policy-rule", &json!({ "log": true }))).await;
    assert!(told.contains("version: it does not export `keygate:policy/rule@0.1.0`"), "{told}");
    assert!(told.contains("set `world = \"software-backend\"`"), "{told}");
    assert!(told.contains("imports: it imports `keygate:host/random@0.1.0`"), "{told}");
}

#[tokio::test]
async fn a_plugin_that_traps_at_its_settings_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = "package test:guest; world guest { export keygate:policy/rule@0.1.0; }";
    let file = component(dir.path(), text);
    let told = refusal(entry("x", &file, "policy-rule", &json!({}))).await;
    assert!(told.starts_with("plugin `x`: configure: it failed (trap): "), "{told}");
}

#[tokio::test]
async fn settings_that_a_plugin_refuses_are_told_with_their_place() {
    let mut entry = aes_gcm();
    entry["settings"] = json!({ "keck": "kek" });
    for runtime in [runtime(), runtime().without_snapshots()] {
        let told = refused(&runtime, &manifest(&[entry.clone()])).await;
        assert!(told.starts_with("plugin `aes-gcm`: configure: it does not take `settings`"), "{told}");
        assert!(told.contains("keck"), "{told}");
    }
}

#[tokio::test]
async fn a_plugin_that_nobody_would_ask_is_named() {
    let rule = entry("access", &built("access"), "policy-rule", &json!({ "log": true }));
    let mut manifest = manifest(&[aes_gcm(), rule]);
    manifest.backends.clear();
    manifest.policy.chain.clear();
    let told = refused(&runtime(), &manifest).await;
    for expected in [
        "plugin `aes-gcm`: bind: it is loaded and never asked; add it to a `[[backends]]` entry, or remove its entry",
        "plugin `access`: bind: it is loaded and never asked; add it to `chain` in `[policy]`, or remove its entry",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[tokio::test]
async fn a_backend_that_cannot_show_that_it_works_is_refused() {
    let mut entry = aes_gcm();
    entry["settings"] = json!({ "kek": "another" });
    let told = refusal(entry).await;
    assert!(told.starts_with("plugin `aes-gcm`: probe: "), "{told}");
}

#[tokio::test]
async fn a_digest_is_compared_with_the_bytes_that_are_run() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(built("aes-gcm")).unwrap();
    let file = write(dir.path(), "aes-gcm.wasm", &bytes);
    let mut entry = aes_gcm();
    entry["file"] = json!(file);
    let mut strict = manifest(&[entry.clone()]);
    strict.require_digest = true;
    let told = refused(&runtime, &strict).await;
    assert!(
        told.contains("digest: neither `sha256` nor `sha256_file` nor `signed_by` is given; once you trust"),
        "{told}"
    );

    entry["sha256"] = json!("00".repeat(32));
    let told = refused(&runtime, &manifest(&[entry.clone()])).await;
    assert!(told.contains(&format!("and {} was expected", "00".repeat(32))), "{told}");

    // What the refusal names is right.
    let found = told.split("SHA-256 is ").nth(1).unwrap()[..64].to_owned();
    entry["sha256"] = json!(found.to_ascii_uppercase());
    assert!(runtime.load(&manifest(&[entry.clone()])).await.is_ok());

    entry.as_object_mut().unwrap().remove("sha256");
    let list = |text: String| write(dir.path(), "SHA256SUMS", text.as_bytes());
    entry["sha256_file"] = json!(list(format!("{} *other.wasm\n{found}  aes-gcm.wasm\n", "11".repeat(32))));
    let mut strict = manifest(&[entry.clone()]);
    strict.require_digest = true;
    assert!(runtime.load(&strict).await.is_ok());
    list(format!("{found}  other.wasm\n"));
    let told = refused(&runtime, &strict).await;
    assert!(told.contains("has no SHA-256 of"), "{told}");
}

#[tokio::test]
async fn everything_wrong_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = write(dir.path(), "x.wasm", b"garbage");
    let mut greedy = aes_gcm();
    greedy["grants"]["secrets"] = json!(["kek", "no-such-secret"]);
    greedy["limits"] = json!({ "memory": "1GiB" });
    let mut manifest = manifest(&[
        greedy,
        entry("garbage", &garbage, "policy-rule", &json!({})),
        entry("access", &built("access"), "policy-rule", &json!({ "log": true })),
    ]);
    manifest.policy.chain.extend(["acess", "aes-gcm", "access"].map(ChainEntry::everywhere));
    manifest.backends.push(BackendManifest { name: "soft".to_owned(), plugin: "access".to_owned() });
    manifest.backends.push(BackendManifest { name: "hard".to_owned(), plugin: "softhsm".to_owned() });
    let told = refused(&runtime(), &manifest).await;
    for expected in [
        "plugin `aes-gcm`: manifest: it is granted the secret `no-such-secret`",
        "plugin `aes-gcm`: manifest: `limits.memory` is 1073741824 bytes and a sandbox has at most 268435456",
        "plugin `garbage`: compile: ",
        "plugin `acess`: bind: a rule of the policy chain is to be the plugin `acess`, and there is none of this name; did you mean `access`?",
        "plugin `aes-gcm`: bind: a rule of the policy chain is to be the plugin `aes-gcm`, whose world is `software-backend`",
        "plugin `access`: bind: it stands twice in the policy chain, to be asked about the same; remove one, or give each a scope",
        "plugin `soft`: bind: a backend is to be the plugin `access`, whose world is `policy-rule`",
        "plugin `hard`: bind: a backend is to be the plugin `softhsm`, and there is none of this name",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in:\n{told}");
    }
    assert_eq!(told.lines().count(), 8, "{told}");
}

#[tokio::test]
async fn an_empty_manifest_loads_and_refuses_everything() {
    let runtime = runtime();
    runtime.activate(runtime.load(&Manifest::default()).await.unwrap());
    assert_eq!(runtime.generation(), 1);
    assert!(runtime.backends().names().is_empty());
    assert!(runtime.probe().await.is_empty());
}
