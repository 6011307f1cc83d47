//! Broken plugins, each in another way: each has a message of its own that says what is wrong and what to do.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use keygate_core::access::question::Question;
use keygate_core::access::{Answer, Verdict};
use keygate_runtime::Runtime;
use keygate_runtime::manifest::{KeySource, Manifest, TrustedKey};
use keygate_runtime::signature;
use serde_json::{Value, json};
use support::log::Log;
use support::{Counting, built, component, load, manifest, refused, rule_for, runtime};

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn rule(file: &Path) -> Value {
    json!({ "name": "broken", "file": file, "world": "policy-rule", "grants": { "log": true } })
}

/// A rule that does this when it is asked.
fn doing(deed: &str) -> Value {
    let mut entry = rule(&built("test/hostile-rule"));
    entry["settings"] = json!({ "in": "evaluate", "do": deed });
    // Long enough for a busy machine, but for the one that is to run out of it.
    let deadline = if deed == "loop" { "100ms" } else { "10s" };
    entry["limits"] = json!({ "deadline": deadline, "memory": "16MiB", "output": "1MiB" });
    entry
}

async fn refusal(entry: Value) -> String {
    refused(&runtime(), &manifest(&[entry])).await.trim_end().to_owned()
}

/// What a rule's fault is, and what was logged meanwhile.
async fn fault(runtime: &Runtime) -> (String, Vec<String>) {
    let log = Log::default();
    let listening = tracing::subscriber::set_default(log.clone());
    let question = Question { request_id: "r-1".to_owned(), ..Question::default() };
    let decision = runtime.gate().decide(&question, None).await;
    drop(listening);
    assert!(matches!(&decision.verdict, Verdict::Deny(denial) if denial.code == "POLICY_FAULT_ERR"), "{decision:?}");
    match &decision.trail[0].answer {
        Answer::Fault(message) => (message.clone(), log.lines()),
        other => panic!("no fault: {other:?}"),
    }
}

#[tokio::test]
async fn rules_that_break_when_they_are_asked_say_how() {
    let broken = "plugin `broken` failed in `evaluate` ";
    let cases = [
        ("trap", "(trap): wasm trap: wasm `unreachable` instruction executed; its last words: hostile panic", ""),
        ("memory", "(memory): it wanted ", " bytes of memory; `limits.memory` is 16777216"),
        ("recursion", "(stack): it used up its stack of 512 KiB", ""),
        (
            "stack",
            "(trap): wasm trap: out of bounds memory access (a plugin that uses up a stack of its own ends so, too)",
            "",
        ),
        ("output", "(output): its answer was out of bounds: ", ""),
        ("bad-output", "(output): the reason code is not made of capitals, digits and `_`", ""),
    ];
    let mut messages = Vec::new();
    for (deed, start, then) in cases {
        let runtime = runtime();
        load(&runtime, &[doing(deed)]).await;
        let (told, log) = fault(&runtime).await;
        assert!(told.starts_with(&format!("{broken}{start}")) && told.contains(then), "{deed}: {told}");
        if deed == "trap" {
            // The log has the panic with the plugin's name and the call's id.
            assert_eq!(log, ["ERROR broken r-1 hostile panic"]);
        }
        messages.push(told);
    }
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), cases.len(), "two break in the same words: {messages:#?}");
}

#[tokio::test]
async fn an_endless_loop_says_how_long_it_took_of_how_much() {
    let runtime = runtime();
    load(&runtime, &[doing("loop")]).await;
    let (told, _) = fault(&runtime).await;
    let told =
        told.strip_prefix("plugin `broken` failed in `evaluate` (deadline): it did not finish in time: ").unwrap();
    let (took, rest) = told.split_once(" s of ").unwrap();
    assert!((0.1..10.0).contains(&took.parse::<f64>().unwrap()), "{told}");
    assert_eq!(rest, "0.1 s (`limits.deadline`)");
    // Whose limit it was is said, where it was the request's.
    let short = runtime.gate().decide(&Question::default(), Some(std::time::Duration::from_millis(30))).await;
    let Answer::Fault(told) = &short.trail[0].answer else { panic!("{short:?}") };
    assert!(told.contains(" that its request gives a call (`limits.deadline` is 0.1 s)"), "{told}");
}

#[tokio::test]
async fn files_that_are_no_plugins_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let said = async |bytes: &[u8]| refusal(rule(&write(dir.path(), "x.wasm", bytes))).await;
    assert_eq!(
        said(b"\0asm\x01\0\0\0").await,
        "plugin `broken`: compile: the file is a core WebAssembly module and not a component; make a component of it: \
         `cargo xtask plugins` for plugins of this repository, `wasm-tools component new` else"
    );
    assert_eq!(
        said(b"(component)").await,
        "plugin `broken`: compile: the file is WebAssembly text; give the binary, as `wasm-tools parse` makes it"
    );
    assert_eq!(
        said(b"MZ\x90").await,
        "plugin `broken`: compile: the file is not a WebAssembly component; check that `file` names the built plugin"
    );
}

#[tokio::test]
async fn imports_and_exports_that_do_not_fit_are_named_with_what_would() {
    let dir = tempfile::tempdir().unwrap();
    let said = async |text: &str| refusal(rule(&component(dir.path(), text))).await;
    assert_eq!(
        said("package t:t; world guest { import keygate:host/clock@0.1.0; export keygate:policy/rule@0.1.0; }").await,
        "plugin `broken`: imports: it imports `keygate:host/clock@0.1.0`, which its entry does not grant; take the import \
         out of the plugin; a plugin of world `policy-rule` cannot be granted it"
    );
    assert_eq!(
        said(
            "package t:t; package keygate:host@0.7.0 { interface log { emit: func(line: string); } }
             world guest { import keygate:host/log@0.7.0; export keygate:policy/rule@0.1.0; }"
        )
        .await,
        "plugin `broken`: version: it imports `keygate:host/log` in version 0.7.0; this gateway has version 0.1.0; build \
         the plugin again from the WIT files of this gateway's version"
    );
    assert_eq!(
        said(
            "package t:t; package wasi:clocks@0.3.0 { interface wall { now: func() -> u64; } }
             world guest { import wasi:clocks/wall@0.3.0; export keygate:policy/rule@0.1.0; }"
        )
        .await,
        "plugin `broken`: version: it imports `wasi:clocks/wall@0.3.0`; of WASI, this gateway has the versions 0.2.x; \
         build it for WASI 0.2, or without WASI"
    );
    assert_eq!(
        said(
            "package t:t; interface spy { tell: func(); } world guest { import spy; export keygate:policy/rule@0.1.0; }"
        )
        .await,
        "plugin `broken`: imports: it imports `t:t/spy`, which this gateway does not offer; offered are \
         `keygate:host/log@0.1.0`, `keygate:host/random@0.1.0`, `keygate:host/secrets@0.1.0`, \
         `keygate:host/clock@0.1.0`, `keygate:host/pkcs11@0.1.0`; take the import out of the plugin"
    );
    assert_eq!(
        said("package t:t; interface other { f: func(); } world guest { export other; }").await,
        "plugin `broken`: version: it does not export `keygate:policy/rule@0.1.0`, as a plugin of world `policy-rule` \
         must; it exports `t:t/other`; build it for the world `policy-rule`"
    );
}

#[tokio::test]
async fn settings_that_are_refused_and_a_digest_that_is_another_are_told() {
    let mut entry = rule(&built("test/hostile-rule"));
    entry["settings"] = json!({ "do": "nothing" });
    let told = refusal(entry).await;
    assert!(told.starts_with("plugin `broken`: configure: it does not take `settings`"), "{told}");
    assert!(told.contains("unknown variant `nothing`") && told.ends_with("; mend the settings"), "{told}");

    let mut entry = rule(&built("test/hostile-rule"));
    entry["sha256"] = json!("0".repeat(64));
    let told = refusal(entry).await;
    assert!(told.starts_with("plugin `broken`: digest: the file's SHA-256 is "), "{told}");
    assert!(told.ends_with("find out who changed the file; if that was you, correct the digest"), "{told}");
}

#[tokio::test]
async fn a_rule_that_describes_actions_that_there_are_not_is_refused_with_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let told = refusal(rule(&rule_for(dir.path(), &["kms.secrets.wrap", "kms.secrets.unwarp"]))).await;
    assert_eq!(
        told,
        "plugin `broken`: describe: it describes actions that it would never be asked about: there is no action \
         `kms.secrets.unwarp`; did you mean `kms.secrets.unwrap`? If that is a mistake in the rule, get a version without \
         it; if a newer gateway has such actions, use that one, or a version of the rule for this one"
    );
    let expires = refusal(rule(&rule_for(dir.path(), &["kms.secrets.expire"]))).await;
    assert!(
        expires.contains("`kms.secrets.expire` is what the gateway does by itself, and no rule is asked"),
        "{expires}"
    );
    load(&runtime(), &[rule(&rule_for(dir.path(), &["kms.secrets.*", "kms.kmip-management.list"]))]).await;
}

#[tokio::test]
async fn a_component_that_is_another_than_its_entry_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut entry = rule(&rule_for(dir.path(), &[]));
    entry["described_as"] = json!("told");
    load(&runtime(), &[entry.clone()]).await;
    entry["described_as"] = json!("office-hours");
    assert_eq!(
        refusal(entry).await,
        "plugin `broken`: describe: it says that it is `told`, and its entry takes `office-hours` (`described_as`); find \
         out how another plugin's component came to be in this place; if it is right, correct `described_as`"
    );
    let mut backend = support::aes_gcm();
    backend["described_as"] = json!("aes");
    let told = refusal(backend).await;
    assert!(told.contains("describe: it says that it is `aes-gcm`, and its entry takes `aes`"), "{told}");
}

#[tokio::test]
async fn files_that_never_end_are_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let told = refusal(rule(Path::new("/dev/zero"))).await;
    assert!(
        told.starts_with("plugin `broken`: read: /dev/zero: it is a pipe or a device, and a regular file"),
        "{told}"
    );
    for key in ["file", "sha256_file", "signature_file", "settings_files"] {
        let mut entry = rule(&built("test/hostile-rule"));
        entry[key] = json!(pipe);
        match key {
            "signature_file" => entry["signed_by"] = json!(["release"]),
            "settings_files" => entry[key] = json!({ "rules": [pipe] }),
            _ => {}
        }
        let mut manifest = manifest(&[entry]);
        let key_file = TrustedKey { name: "release".to_owned(), source: KeySource::File(pipe.clone()) };
        manifest.trusted_keys.push(key_file);
        let told = refused(&runtime(), &manifest).await;
        assert!(told.contains("the trusted key `release`: "), "{told}");
        let refusals = told.matches("pipe: it is a pipe or a device, and a regular file is needed").count();
        // A signature cannot be looked at where its key cannot be read: the pipe is met all the same.
        assert_eq!(refusals, 2, "{key}: {told}");
    }
}

/// A signed component, a manifest of it, and two keys: `release`, which signed it, and `other`.
fn signed(dir: &Path) -> (PathBuf, Manifest) {
    let entropy = Counting::default();
    let (release, other) = (signature::generate(&entropy).unwrap(), signature::generate(&entropy).unwrap());
    let bytes = std::fs::read(built("test/hostile-rule")).unwrap();
    let file = write(dir, "rule.wasm", &bytes);
    write(dir, "rule.wasm.sig", signature::sign(&bytes, &release.private).unwrap().as_bytes());
    let mut entry = rule(&file);
    entry["signed_by"] = json!(["release"]);
    let mut manifest = manifest(&[entry]);
    manifest.require_digest = true;
    manifest.require_signatures = true;
    let public = write(dir, "release.pub.pem", release.public.as_bytes());
    manifest.trusted_keys = vec![
        TrustedKey { name: "release".to_owned(), source: KeySource::File(public) },
        TrustedKey { name: "other".to_owned(), source: KeySource::Pem(other.public) },
    ];
    (file, manifest)
}

#[tokio::test]
async fn a_signature_stands_for_a_digest_and_a_bad_one_says_what_is_bad() {
    let dir = tempfile::tempdir().unwrap();
    let (file, sound) = signed(dir.path());
    let runtime = runtime();
    assert!(runtime.load(&sound).await.is_ok(), "a signature stands in place of a digest");
    let told = async |manifest: &Manifest| refused(&runtime, manifest).await.trim_end().to_owned();
    let with = |change: fn(&mut Manifest)| {
        let mut manifest = sound.clone();
        change(&mut manifest);
        manifest
    };
    let sig = signature::default_path(&file);
    assert_eq!(
        told(&with(|manifest| manifest.plugins[0].signed_by.clear())).await,
        "plugin `broken`: digest: neither `sha256` nor `sha256_file` nor `signed_by` is given; once you trust the file, \
         add `sha256 = \"".to_owned()
            + &sha256(&file)
            + "\"`"
    );
    let unsigned = with(|manifest| {
        manifest.plugins[0].signed_by.clear();
        manifest.require_digest = false;
    });
    assert_eq!(
        told(&unsigned).await,
        "plugin `broken`: signature: it does not say who signed it, and `require_signatures` is on; sign it with \
         `keygate plugin sign`, and add `signed_by = [\"NAME\"]`"
    );
    assert_eq!(
        told(&with(|manifest| manifest.plugins[0].signed_by = vec!["relase".to_owned()])).await,
        "plugin `broken`: signature: `signed_by` names `relase`, which is not a trusted key; did you mean `release`?"
    );
    assert_eq!(
        told(&with(|manifest| manifest.plugins[0].signed_by = vec!["other".to_owned()])).await,
        "plugin `broken`: signature: it is signed by `release`, and its entry takes `other`; add `release` to \
         `signed_by`, if you trust it with this plugin"
    );
    let broken_key = with(|manifest| manifest.trusted_keys[1].source = KeySource::Pem("key".to_owned()));
    assert!(told(&broken_key).await.contains("the trusted key `other`: this is not an Ed25519 public key in PEM"));

    let good = std::fs::read(&file).unwrap();
    let mut changed = good.clone();
    changed.extend_from_slice(b"\0\x02\x01x");
    std::fs::write(&file, &changed).unwrap();
    assert_eq!(
        told(&sound).await,
        format!(
            "plugin `broken`: signature: its signature in {} is not one of `release` for this file: another key made it, \
             or the file was changed after it was signed; get file and signature anew from who signed it; if that was \
             you, sign it again",
            sig.display()
        )
    );
    std::fs::write(&file, &good).unwrap();
    std::fs::write(&sig, b"what?").unwrap();
    assert!(
        told(&sound).await.contains("rule.wasm.sig: this is not a signature: it is not one line of base64; make one")
    );
    std::fs::remove_file(&sig).unwrap();
    let absent = told(&sound).await;
    assert!(absent.starts_with("plugin `broken`: signature: its signature cannot be read: "), "{absent}");
    assert!(absent.contains("; sign the component with `keygate plugin sign`, or get "), "{absent}");
}

fn sha256(file: &Path) -> String {
    keygate_runtime::inspect::inspect(file).unwrap().sha256
}

#[tokio::test]
async fn files_of_settings_are_given_as_texts_and_bad_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "b.txt", b"evaluate");
    write(dir.path(), "latin.txt", b"caf\xe9");
    let entry = |files: Value| {
        let mut entry = rule(&built("test/hostile-rule"));
        entry["settings_files"] = files;
        let mut manifest = manifest(&[entry]);
        manifest.plugins[0].settings_files.base = dir.path().to_owned();
        manifest
    };
    let runtime = runtime();
    // The plugin gets a list of files where it wants a text, and says so: they have come to it.
    let told = refused(&runtime, &entry(json!({ "in": ["*.txt"] }))).await;
    assert!(told.contains("latin.txt: it is not UTF-8 from byte 3 on"), "{told}");
    let told = refused(&runtime, &entry(json!({ "in": ["b.txt"] }))).await;
    assert!(told.contains("configure: it does not take `settings`") && told.contains("expected a string"), "{told}");
    let told = refused(&runtime, &entry(json!({ "in": ["absent.txt"], "do": ["*.none"] }))).await;
    assert!(told.contains("manifest: `settings_files.in`: absent.txt: No such file"), "{told}");
    assert!(told.contains("manifest: `settings_files.do`: no file fits `*.none`"), "{told}");
    write(dir.path(), "big.txt", &vec![b'x'; 1_048_577]);
    let told = refused(&runtime, &entry(json!({ "in": ["big.txt"] }))).await;
    assert!(told.contains("big.txt: it has more than 1048576 bytes"), "{told}");
}
