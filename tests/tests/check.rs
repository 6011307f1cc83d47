//! `keygate check`: everything that is wrong, in one run, with the plugin, the step and the mend.

use std::fs;
use std::process::Command;

use keygate_tests::configured::{Place, builtin, component, entry};
use serde_json::Value;

#[test]
fn a_sound_configuration_has_no_problem() {
    let place = Place::new();
    place.write(&[builtin("aes-gcm"), builtin("access")].concat(), r#"["access"]"#);
    let output = place.check(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("no problem"), "{text}");
    assert!(!place.path().join("keygate.redb").exists(), "a check makes no file");
}

#[test]
fn five_faults_of_plugins_come_out_in_one_run() {
    let place = Place::new();
    let rubbish = place.path().join("rubbish.wasm");
    fs::write(&rubbish, b"this is no component").unwrap();
    let access = component("access.wasm");
    let plugins = [
        builtin("aes-gcm"),
        builtin("access"),
        entry("wrong-digest", &access, "policy-rule", "{ log = true }")
            .replace("sha256_file", "# sha256_file")
            .replace("world =", &format!("sha256 = \"{}\"\nworld =", "ab".repeat(32))),
        // It imports `random` and `secrets`, and is granted neither.
        entry("not-granted", &component("aes-gcm.wasm"), "software-backend", "{ log = true }"),
        entry("not-there", &place.path().join("missing.wasm"), "policy-rule", "{ log = true }"),
        entry("typo-in-grant", &access, "policy-rule", "{ lgo = true }"),
        // Its digest is right: that must not be what stops it.
        entry("no-component", &rubbish, "policy-rule", "{ log = true }"),
    ];
    let sums = Command::new("sha256sum").arg("rubbish.wasm").current_dir(place.path()).output().unwrap();
    fs::write(place.path().join("rubbish.wasm.sha256"), sums.stdout).unwrap();
    place.write(&plugins.concat(), r#"["access"]"#);
    let output = place.check(&["--json"]);
    assert!(!output.status.success());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [
        ("wrong-digest", "digest", "SHA-256"),
        ("not-granted", "imports", "random"),
        ("not-there", "read", "missing.wasm"),
        ("typo-in-grant", "manifest", "`log`"),
        ("no-component", "compile", "component"),
    ];
    let problems = told["problems"].as_array().unwrap();
    for (plugin, step, word) in expected {
        let found = problems.iter().find(|problem| problem["plugin"] == plugin && problem["step"] == step);
        let problem = found.unwrap_or_else(|| panic!("nothing of {plugin} at step {step} in {told:#}"));
        let words = format!("{} {}", problem["problem"], problem["mend"]);
        assert!(words.contains(word), "{word} is not in {words}");
        assert!(!problem["mend"].as_str().unwrap().is_empty());
    }
    for sound in ["aes-gcm", "access"] {
        assert!(problems.iter().all(|problem| problem["plugin"] != sound), "{sound} is sound: {told:#}");
    }
    // People are told the same.
    let output = place.check(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    for (plugin, step, _) in expected {
        assert!(text.contains(&format!("plugin `{plugin}`, step {step}: ")), "{plugin}, {step} in {text}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let place = Place::new();
    let plugins = [builtin("aes-gcm"), builtin("access"), "[limits]\nrotate_intervall = \"1h\"\n".to_owned()];
    place.write(&plugins.concat(), r#"["access"]"#);
    let output = place.check(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(text.contains("limits.rotate_intervall") && text.contains("`rotate_interval`"), "{text}");
}

#[test]
fn a_kek_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let kek = place.path().join("kek-1");
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o640)).unwrap();
    place.write(&[builtin("aes-gcm"), builtin("access")].concat(), r#"["access"]"#);
    let output = place.check(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(text.contains("kek-1") && text.contains("chmod 600"), "{text}");
}
