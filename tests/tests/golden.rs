//! Every folder under `tests/golden` on a gateway of its own group, for each backend: what clients see is the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keygate_tests::{Gateway, Keeping, golden};
use tokio::sync::Semaphore;

/// How many gateways run at the same time: each of them compiles its plugins first.
const AT_ONCE: usize = 4;

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("a folder");
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// What the gateway of a group is started with.
fn environment(group: &Path) -> &'static [(&'static str, &'static str)] {
    match group.file_name().and_then(|name| name.to_str()) {
        Some("import-token") => &[("KEYGATE__LIMITS__IMPORT_KEYS_READY", "1")],
        // Quotas that can be used up.
        Some("limits") => &[
            ("KEYGATE__LIMITS__RINGS_PER_INSTANCE", "2"),
            ("KEYGATE__LIMITS__SEARCHABLE_KEYS", "3"),
            ("KEYGATE__LIMITS__VERSIONS_PER_KEY", "2"),
            ("KEYGATE__LIMITS__MAX_PLAINTEXT", "16"),
            ("KEYGATE__LIMITS__MAX_BODY", "1024"),
        ],
        // One request, and the next after a second: the time in between is travelled, so one is as good as many.
        Some("rate-limit") => &[("KEYGATE__LIMITS__RATE_LIMIT", "1")],
        _ => &[],
    }
}

/// The cases of a group share a gateway, so none may leave an instance policy behind: others would be judged by it.
async fn left_behind(gateway: &Gateway, case: &Path) -> Option<String> {
    let manager = gateway.client("manager", 0).await;
    let reply = manager.send("GET", "/instance/policies", None).await;
    let policies = reply.body["resources"].as_array().filter(|_| reply.status == 200);
    let is_on = |policy: &serde_json::Value| policy["policy_data"]["enabled"] == true;
    match policies {
        Some(policies) if !policies.iter().any(is_on) => None,
        _ => Some(format!("{}: it leaves an instance policy switched on: {}", case.display(), reply.body)),
    }
}

/// What tells of the configuration, and so of a backend by its name: written for the default.
const CONFIGURATION: [&str; 2] = ["shapes/health", "reload/over-http"];

async fn every_exchange_comes_out_as_written(keeping: Keeping) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let only = std::env::var("KEYGATE_GOLDEN").unwrap_or_default();
    let mut groups = tokio::task::JoinSet::new();
    let turn = Arc::new(Semaphore::new(AT_ONCE));
    let mut cases = 0;
    // What was compiled for one gateway serves all of them.
    let compiled = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let is_run = |case: &Path| keeping == Keeping::Software || !CONFIGURATION.iter().any(|of| case.ends_with(of));
    for group in folders(&root) {
        let selected: Vec<_> =
            folders(&group).into_iter().filter(|case| case.to_string_lossy().contains(&only) && is_run(case)).collect();
        if selected.is_empty() {
            continue;
        }
        cases += selected.len();
        let (turn, compiled) = (Arc::clone(&turn), Arc::clone(&compiled));
        groups.spawn(async move {
            let _turn = turn.acquire_owned().await.expect("the semaphore is open");
            let cache = [("KEYGATE__RUNTIME__CACHE_DIR", compiled.path().to_str().expect("a text"))];
            let gateway = Gateway::start_on(keeping, &[environment(&group), &cache].concat()).await;
            let mut problems = Vec::new();
            for case in selected {
                problems.extend(golden::run(&gateway, &case).await);
                // One more request would be one too many there.
                if !group.ends_with("rate-limit") {
                    problems.extend(left_behind(&gateway, &case).await);
                }
            }
            problems
        });
    }
    let problems: Vec<_> = groups.join_all().await.into_iter().flatten().collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(cases >= 190 || !only.is_empty(), "only {cases} cases were found in {}", root.display());
}

#[tokio::test]
async fn every_exchange_comes_out_as_written_on_the_software_backend() {
    every_exchange_comes_out_as_written(Keeping::Software).await;
}

#[tokio::test]
async fn every_exchange_comes_out_as_written_with_keys_in_a_token() {
    every_exchange_comes_out_as_written(Keeping::Token).await;
}

#[tokio::test]
async fn every_exchange_comes_out_as_written_with_keys_wrapped_by_a_token() {
    every_exchange_comes_out_as_written(Keeping::Wrapped).await;
}

#[tokio::test]
async fn every_exchange_comes_out_as_written_on_another_module() {
    every_exchange_comes_out_as_written(Keeping::OtherModule).await;
}
