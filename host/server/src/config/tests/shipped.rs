//! The configuration that is shipped, which is the operator's manual.

use super::*;

/// Where it is.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins.toml")
}

#[test]
fn the_shipped_configuration_is_without_a_problem_and_its_defaults_are_the_defaults() {
    let read = |file: PathBuf| {
        let loaded = load(&Source::File(file), &Environment::new(), &Flags::default());
        assert_eq!(loaded.problems, []);
        loaded.config.unwrap()
    };
    let config = read(shipped());
    // What is commented out with a value is what holds without it.
    let mut text = String::new();
    let mut section = String::new();
    for line in std::fs::read_to_string(shipped()).unwrap().lines() {
        // The example of a trusted key is no default of the section before it.
        if line.starts_with('[') || line == "#[[trusted_keys]]" {
            section = line.to_owned();
        }
        let scalar = ["[server]", "[store]", "[audit]", "[iam]", "[limits]", "[runtime]"].contains(&section.as_str());
        match line.strip_prefix('#') {
            Some(default) if scalar && default.starts_with(|c: char| c.is_ascii_lowercase()) => text.push_str(default),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    let text = text.replace("#[[iam.identities]]", "");
    // The examples of identities are no defaults.
    let (before, after) = text.split_once("\nid = \"IBMid-1\"").unwrap();
    let (_, after) = after.split_once("key_ring = \"default\" }]").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plugins.toml");
    std::fs::write(&file, format!("{before}{after}")).unwrap();
    let spelled = read(file);
    assert_eq!(spelled.server, config.server);
    assert_eq!(spelled.limits, config.limits);
    assert_eq!(spelled.iam.issuer, config.iam.issuer);
    assert_eq!(spelled.iam.token_lifetime, config.iam.token_lifetime);
    assert_eq!(spelled.iam.signing_key_file.file_name(), config.iam.signing_key_file.file_name());
    let runtime = keygate_runtime::RuntimeConfig::default();
    assert_eq!(spelled.runtime.max_sandboxes, Some(runtime.max_sandboxes));
    assert_eq!(spelled.runtime.max_memory, Some(runtime.max_memory));
    assert_eq!(spelled.runtime.admission_wait, Some(runtime.admission_wait));
}

#[test]
fn the_shipped_configuration_explains_every_key_there_is() {
    let text = std::fs::read_to_string(shipped()).unwrap();
    // An unknown key is answered with all known ones.
    for (good, section) in [
        ("[server]", "server"),
        ("[limits]", "limits"),
        ("[iam]", "iam"),
        ("[[iam.identities]]", "identity"),
        ("[[instances]]", "instance"),
        ("[[secrets]]", "secret"),
        ("[[secrets.versions]]", "version"),
        ("[[backends]]", "backend"),
        ("[policy]", "policy"),
    ] {
        let (_, _, mend) = wrong(&GOOD.replacen(good, &format!("{good}\nqqq = 1"), 1), &[]);
        let known = mend.split_once("(known here: ").unwrap().1.trim_end_matches(')');
        assert!(!known.is_empty());
        for key in known.split(", ") {
            let explained = text.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '=']))
            });
            assert!(explained || key == "identities" || key == "versions", "{section}: `{key}` is not in plugins.toml");
        }
    }
}
