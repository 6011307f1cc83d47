//! Every folder under `tests/golden` on a gateway of its own group.

use std::fs;
use std::path::{Path, PathBuf};

use keygate_tests::{Gateway, golden};

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("a folder");
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[tokio::test]
async fn every_exchange_comes_out_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let only = std::env::var("KEYGATE_GOLDEN").unwrap_or_default();
    let mut groups = tokio::task::JoinSet::new();
    let mut cases = 0;
    for group in folders(&root) {
        let selected: Vec<_> =
            folders(&group).into_iter().filter(|case| case.to_string_lossy().contains(&only)).collect();
        cases += selected.len();
        groups.spawn(async move {
            let gateway = Gateway::start().await;
            let mut problems = Vec::new();
            for case in selected {
                problems.extend(golden::run(&gateway, &case).await);
            }
            problems
        });
    }
    let problems: Vec<_> = groups.join_all().await.into_iter().flatten().collect();
    assert!(cases >= 60 || !only.is_empty(), "only {cases} cases were found in {}", root.display());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
