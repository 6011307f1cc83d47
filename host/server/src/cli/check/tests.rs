use std::fs;

use super::*;
use crate::files::write_private_new;

const KEK: &[u8] = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// A component with nothing in it.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

const REST: &str = r#"
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
file = "kek"

[[backends]]
name = "software"
plugin = "one"

[policy]
chain = ["two"]
"#;

async fn problems_of(dir: &Path, text: &str) -> Vec<Problem> {
    let file = dir.join("plugins.toml");
    fs::write(&file, text).unwrap();
    problems(&file, &Environment::new()).await
}

#[tokio::test]
async fn every_kind_of_bad_plugin_is_named_with_step_and_mend_in_one_run() {
    let dir = tempfile::tempdir().unwrap();
    write_private_new(&dir.path().join("kek"), KEK).unwrap();
    fs::write(dir.path().join("digest.wasm"), EMPTY_COMPONENT).unwrap();
    fs::write(dir.path().join("text.wasm"), "no component").unwrap();
    let zeros = "0".repeat(64);
    let text = format!(
        r#"
[[plugins]]
name = "one"
file = "digest.wasm"
sha256 = "{zeros}"
world = "software-backend"

[[plugins]]
name = "two"
file = "missing.wasm"
sha256 = "{zeros}"
world = "policy-rule"

[[plugins]]
name = "three"
file = "text.wasm"
sha256 = "{}"
world = "policy-rule"

[[plugins]]
name = "four"
file = "digest.wasm"
sha256 = "{zeros}"
world = "policy-rule"
grants = {{ lgo = true }}
{REST}"#,
        hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"no component").as_ref()),
    );
    let problems = problems_of(dir.path(), &text).await;
    let found: Vec<_> = problems.iter().map(|p| (p.plugin.as_deref().unwrap_or(""), p.step.as_str())).collect();
    assert!(found.contains(&("one", "digest")), "{problems:#?}");
    assert!(found.contains(&("two", "read")), "{problems:#?}");
    assert!(found.contains(&("three", "compile")), "{problems:#?}");
    assert!(found.contains(&("four", "manifest")), "{problems:#?}");
    assert!(problems.iter().all(|p| !p.mend.is_empty()));
}

#[tokio::test]
async fn what_is_wrong_around_the_plugins_is_found_in_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        r#"
[runtime]
cache_dir = "compiled"
[server]
listn = "127.0.0.1:0"
[store]
path = "nowhere/keygate.redb"
[audit]
file = "nowhere/audit.jsonl"
[iam]
signing_key_file = "nowhere/key.pem"
[[plugins]]
name = "two"
file = "missing.wasm"
world = "policy-rule"
{REST}"#
    );
    let problems = problems_of(dir.path(), &text).await;
    let steps: Vec<_> = problems.iter().map(|p| (p.step.as_str(), p.at.as_deref().unwrap_or(""))).collect();
    for expected in [
        ("config", "server.listn"),
        ("config", "backends[0].plugin"),
        ("store", "store.path"),
        ("audit", "audit.file"),
        ("iam", "iam.signing_key_file"),
        ("secrets", ""),
    ] {
        assert!(steps.contains(&expected), "{expected:?} is not in {problems:#?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "checking made a file");
}

#[tokio::test]
async fn who_is_there_and_what_they_may_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let of_step = async |text: &str| {
        let problems = problems_of(dir.path(), &format!("{text}\n{REST}")).await;
        problems.into_iter().filter(|p| p.at.as_deref() == Some("iam.identities")).collect::<Vec<_>>()
    };
    let nobody = of_step("").await;
    assert!(nobody.len() == 1 && nobody[0].mend.contains("new-key"), "{nobody:?}");
    let with = |roles: &str| {
        format!("[iam]\naccount = \"a\"\n[[iam.identities]]\nid = \"x\"\nroles = [{{ roles = [{roles}] }}]")
    };
    let slips = of_step(&with("\"manager\", \"ReaderPlsu\", \"Writer\", \"Auditor\"")).await;
    let mends: Vec<_> = slips.iter().map(|p| p.mend.as_str()).collect();
    assert_eq!(mends, ["did you mean `Manager`?", "did you mean `ReaderPlus`?"], "{slips:?}");
}

#[tokio::test]
async fn a_cache_that_others_can_write_and_an_audit_file_that_is_none_are_found() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let text = format!("[runtime]\ncache_dir = \"compiled\"\n[audit]\nfile = \"/dev/full\"\n{REST}");
    let problems = problems_of(dir.path(), &text).await;
    let of =
        |at: &str| problems.iter().find(|p| p.at.as_deref() == Some(at)).unwrap_or_else(|| panic!("{problems:#?}"));
    assert_eq!(of("runtime.cache_dir").mend, format!("chmod 700 {}", cache.display()));
    assert!(of("audit.file").problem.contains("not a regular file") && of("audit.file").mend.contains("name a file"));
    assert_eq!((of("audit.file").step.as_str(), of("runtime.cache_dir").step.as_str()), ("audit", "cache"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
