//! What authors of plugins work with: `keygate plugin`, on new projects and on the examples.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use keygate_tests::clients::toolchains;
use keygate_tests::configured::component;
use keygate_tests::gateway::program;
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// `keygate plugin`, which keeps compiled code from one run to the next: a component with a whole language in it takes half
/// a minute to compile.
fn keygate(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("plugin").args(arguments);
    // Not the tests' own settings.
    command.env_remove("KEYGATE_LOG").env("XDG_CACHE_HOME", "/nonexistent");
    command
}

fn output(command: &mut Command) -> (Output, String, String) {
    let output = command.output().expect("the program can be started");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stdout, stderr)
}

/// Runs a command that must go well, and returns what it printed.
fn well(command: &mut Command) -> String {
    let (output, stdout, stderr) = output(command);
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Runs a command that must fail, and returns what it said.
fn badly(command: &mut Command) -> String {
    let (output, stdout, stderr) = output(command);
    assert!(!output.status.success(), "{command:?} went well\n{stdout}");
    stdout + &stderr
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Runs the cases of a plugin, which must pass. Returns how many there were.
fn passes(arguments: &[&str]) -> usize {
    let cache = toolchains().join("code");
    let printed = well(keygate(&["test", "--json", "--cache", text(&cache)]).args(arguments));
    let told: Value = serde_json::from_str(&printed).expect("one JSON object");
    assert_eq!(told["ok"], true, "{printed}");
    told["cases"].as_array().expect("cases").len()
}

/// All files of a project by their paths in it, but for what building leaves there.
fn contents(project: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![project.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "__pycache__" {
                directories.push(path);
            } else if path.is_file() && name != "Cargo.lock" && !name.contains(".wasm") {
                let inside = path.strip_prefix(project).expect("a path in it").to_owned();
                found.insert(inside, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Makes a project below the toolchains, so that it finds its packages. One that is what it was the last time is left there
/// with its component.
fn new_project(kind: &str, lang: &str) -> PathBuf {
    let name = format!("my-{kind}-{lang}");
    let dir = toolchains().join("projects").join(&name);
    let fresh = dir.with_extension("new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).expect("what a run left that did not end goes");
    }
    well(&mut keygate(&["new", "--kind", kind, "--lang", lang, &name, "--dir", text(&fresh)]));
    if dir.exists() {
        let old = if contents(&dir) == contents(&fresh) { &fresh } else { &dir };
        fs::remove_dir_all(old).expect("one of the two goes");
    }
    if fresh.exists() {
        fs::rename(&fresh, &dir).expect("the new one takes its place");
    }
    dir
}

/// A new project builds and passes its tests as it is.
///
/// One that is what it was when it was built last, by a program that builds as this one does, is not built again where that
/// takes long: its component would have other bytes (a Python in it is never twice the same), and to compile these takes
/// longer still.
fn a_new_project_works(kind: &str, lang: &str) {
    let dir = new_project(kind, lang);
    let toolchains = toolchains();
    // What the projects in Rust share is compiled once.
    let target = toolchains.join("rust");
    let component = dir.join(dir.file_name().expect("a name")).with_extension("wasm");
    let built_by = component.with_extension("wasm.built-by");
    let builder = fs::read_to_string(format!("{ROOT}/host/server/src/cli/plugin/build.rs")).expect("a source");
    if lang == "rust" || !component.exists() || fs::read_to_string(&built_by).ok() != Some(builder.clone()) {
        let mut build = keygate(&["build", "--json", text(&dir)]);
        build.env("CARGO_TARGET_DIR", &target).env("VIRTUAL_ENV", toolchains.join("python"));
        let built: Value = serde_json::from_str(&well(&mut build)).expect("one JSON object");
        assert_eq!(built["file"], text(&component));
        let digest = fs::read_to_string(component.with_extension("wasm.sha256")).expect("a digest beside it");
        assert!(digest.starts_with(built["sha256"].as_str().expect("a digest")), "{digest}");
        fs::write(built_by, builder).expect("a note");
    }
    let cases = passes(&[text(&dir)]);
    assert!(cases >= 3, "{cases} cases");
    if lang == "rust" {
        let mut tests = Command::new("cargo");
        tests.args(["test", "--quiet", "--lib"]).current_dir(&dir).env("CARGO_TARGET_DIR", &target);
        well(&mut tests);
    }
}

#[test]
fn a_new_rule_in_rust_works() {
    a_new_project_works("policy", "rust");
}

#[test]
fn a_new_rule_in_python_works() {
    a_new_project_works("policy", "python");
}

#[test]
fn a_new_rule_in_javascript_works() {
    a_new_project_works("policy", "javascript");
}

#[test]
fn a_new_backend_in_rust_works() {
    a_new_project_works("backend", "rust");
}

#[test]
fn a_new_backend_in_python_works() {
    a_new_project_works("backend", "python");
}

#[test]
fn a_new_backend_in_javascript_works() {
    a_new_project_works("backend", "javascript");
}

/// An example and its component, which `cargo xtask plugins` left.
fn example(name: &str) -> (String, String) {
    let component = component(&format!("examples/{name}.wasm"));
    (format!("{ROOT}/examples/{name}"), text(&component).to_owned())
}

#[test]
fn the_example_in_rust_passes_its_cases() {
    let (project, component) = example("office-hours");
    assert_eq!(passes(&[&project, "--component", &component]), 6);
}

#[test]
fn the_rules_without_code_pass_their_cases() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policy-rules");
    let component = keygate_tests::configured::component("policy-rules.wasm");
    assert_eq!(passes(&[text(&project), "--component", text(&component)]), 31);
}

#[test]
fn the_example_in_python_passes_its_cases() {
    let (project, component) = example("two-managers");
    assert_eq!(passes(&[&project, "--component", &component]), 13);
}

#[test]
fn the_example_in_javascript_passes_its_cases() {
    let (project, component) = example("pci-network");
    assert_eq!(passes(&[&project, "--component", &component]), 12);
}

#[test]
fn a_case_that_fails_says_what_was_expected_and_what_came() {
    let (project, component) = example("office-hours");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let cases = directory.path().join("cases.toml");
    let with = |case: &str| {
        fs::write(&cases, format!("[request]\naction = \"kms.secrets.unwrap\"\n{case}")).expect("cases");
        badly(keygate(&["test", &project, "--component", &component, "--cases"]).arg(&cases))
    };
    let night = "now = \"2026-11-23T22:30:00Z\"\n[[case]]\nname = \"at night\"\n";
    let told = with(&format!("{night}expect = {{ decision = \"allow\" }}"));
    assert!(told.contains("FAIL  at night") && told.contains("expected allow, got deny OFFICE_HOURS_ERR"), "{told}");
    assert!(told.contains("1 of 1 cases failed"), "{told}");
    let told = with(&format!("{night}expect = {{ decision = \"deny\", code = \"OTHER_ERR\" }}"));
    assert!(told.contains("expected the code `OTHER_ERR`, got `OFFICE_HOURS_ERR`"), "{told}");
    let told =
        with("[[case]]\nname = \"n\"\nrequest = { action = \"kms.secrets.unwarp\" }\nexpect = { decision = \"deny\" }");
    assert!(told.contains("did you mean `kms.secrets.unwrap`?"), "{told}");
    // Settings are the rule's to check, in the cases too.
    let told = with("[settings]\nhour = \"8\"\n[[case]]\nname = \"n\"\nexpect = { decision = \"deny\" }");
    assert!(told.contains("it does not take `settings`") && told.contains("unknown field `hour`"), "{told}");
}

#[test]
fn a_component_alone_is_tested_with_what_flags_grant_it() {
    let (project, component) = example("two-managers");
    let (alone, cases) = (tempfile::tempdir().expect("a temporary directory"), format!("{project}/cases.toml"));
    let copy = alone.path().join("rule.wasm");
    fs::copy(&component, &copy).expect("a copy");
    let cache = toolchains().join("code");
    let arguments = [text(&copy), "--cases", &cases, "--limit", "memory=128MiB"];
    let told = badly(keygate(&["test", "--cache", text(&cache)]).args(arguments));
    assert!(told.contains("wasi-minimal"), "{told}");
    let granted = ["--grant", "log", "--grant", "wasi-minimal", "--limit", "deadline=5s"];
    assert_eq!(passes(&[&arguments[..], &granted].concat()), 13);
}

#[test]
fn inspecting_tells_what_a_component_is_and_wants() {
    let (_, component) = example("two-managers");
    let printed = well(&mut keygate(&["inspect", "--json", &component]));
    let found: Value = serde_json::from_str(&printed).expect("one JSON object");
    assert_eq!(found["world"], "policy-rule");
    assert!(found["entry"].as_str().is_some_and(|entry| entry.contains("wasi-minimal = true")), "{printed}");
    let printed = well(&mut keygate(&["inspect", &example("pci-network").1]));
    assert!(printed.contains("world     policy-rule") && !printed.contains("wasi:"), "{printed}");
    assert!(printed.contains("keygate:host/log@0.1.0"), "{printed}");
    let told = badly(&mut keygate(&["inspect", &format!("{ROOT}/Cargo.toml")]));
    assert!(told.contains("the file is not a WebAssembly component"), "{told}");
}

#[test]
fn a_measurement_stands_beside_its_limits() {
    let (project, component) = example("office-hours");
    let arguments = ["bench", "--json", "--runs", "100", &project, "--component", &component];
    let printed = well(&mut keygate(&arguments));
    let told: Value = serde_json::from_str(&printed).expect("one JSON object");
    let call = &told["calls"][0];
    assert_eq!((call["function"].as_str(), call["runs"].as_u64()), (Some("evaluate"), Some(100)), "{printed}");
    let number = |name: &str| call[name].as_f64().unwrap_or_else(|| panic!("{name} in {printed}"));
    assert!(number("instructions") > 100.0, "{printed}");
    assert!((65_536.0..=number("memory_limit_bytes")).contains(&number("memory_bytes")), "{printed}");
    let p50 = call["micros"]["p50"].as_f64().expect("a time");
    assert!(p50 > 0.0 && p50 < number("deadline_micros"), "{printed}");
    let told = badly(keygate(&arguments).args(["--case", "no such"]));
    assert!(told.contains("there is no case \"no such\""), "{told}");
}

#[test]
fn a_signature_holds_for_the_component_that_was_signed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (key, file) = (directory.path().join("me.pem"), directory.path().join("rule.wasm"));
    fs::copy(example("office-hours").1, &file).expect("a copy");
    let told = well(&mut keygate(&["keygen", text(&key)]));
    assert!(told.contains("[[trusted_keys]]"), "{told}");
    well(&mut keygate(&["sign", text(&file), "--key", text(&key)]));
    let public = directory.path().join("me.pub.pem");
    well(&mut keygate(&["verify", text(&file), "--key", text(&public)]));
    let signature = fs::read_to_string(directory.path().join("rule.wasm.sig")).expect("the signature beside it");
    assert_eq!((signature.lines().count(), signature.trim_end().len()), (1, 88));
    let mut changed = fs::read(&file).expect("the copy");
    *changed.last_mut().expect("bytes") ^= 1;
    fs::write(&file, changed).expect("a change");
    let told = badly(&mut keygate(&["verify", text(&file), "--key", text(&public)]));
    assert!(told.contains("another key's, or the file was changed"), "{told}");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let dir = text(directory.path());
    let new = |name: &str, dir: &str| keygate(&["new", "--kind", "policy", "--lang", "python", name, "--dir", dir]);
    let told = badly(&mut new("No", &format!("{dir}/no")));
    assert!(told.contains("use 1 to 64 lower-case letters"), "{told}");
    well(&mut new("mine", &format!("{dir}/mine")));
    let told = badly(&mut new("mine", &format!("{dir}/mine")));
    assert!(told.contains("is not empty"), "{told}");
    let told = badly(&mut keygate(&["test", &format!("{dir}/mine")]));
    assert!(told.contains("make it with `keygate plugin build"), "{told}");
    let told = badly(&mut keygate(&["build", dir]));
    assert!(told.contains("is no plugin project") && told.contains("keygate plugin new"), "{told}");
    let told = badly(keygate(&["build", &format!("{dir}/mine")]).env_remove("VIRTUAL_ENV").env("PATH", dir));
    assert!(told.contains("there is no componentize-py") && told.contains("pip install -r requirements.txt"), "{told}");
}

#[test]
fn new_projects_and_examples_name_the_versions_that_are_tested() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let made = |lang: &str, file: &str| {
        let place = dir.path().join(lang);
        well(&mut keygate(&["new", "--kind", "backend", "--lang", lang, "mine", "--dir", text(&place)]));
        read(&place.join(file))
    };
    let examples = Path::new(ROOT).join("examples");
    let tested = read(&Path::new(ROOT).join("tests/authors/requirements.txt"));
    for requirements in [made("python", "requirements.txt"), read(&examples.join("two-managers/requirements.txt"))] {
        for line in requirements.lines() {
            assert!(tested.lines().any(|known| known == line), "{line}");
        }
    }
    let tested: Value = serde_json::from_str(&read(&Path::new(ROOT).join("tests/authors/package.json"))).expect("JSON");
    for package in [made("javascript", "package.json"), read(&examples.join("pci-network/package.json"))] {
        let package: Value = serde_json::from_str(&package).expect("JSON");
        for group in ["dependencies", "devDependencies"] {
            for (name, version) in package[group].as_object().into_iter().flatten() {
                assert_eq!(&tested["dependencies"][name], version, "{name}");
            }
        }
    }
    let (made, example) = (dir.path().join("javascript/build.mjs"), examples.join("pci-network/build.mjs"));
    assert_eq!(read(&made), read(&example));
}
