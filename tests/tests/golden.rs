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
    let mut problems = Vec::new();
    let mut cases = 0;
    for group in folders(&root) {
        let gateway = Gateway::start().await;
        for case in folders(&group) {
            cases += 1;
            problems.extend(golden::run(&gateway, &case).await);
        }
    }
    assert!(cases >= 20, "only {cases} cases were found in {}", root.display());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
