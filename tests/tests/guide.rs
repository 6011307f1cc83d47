//! The plugin author's guide is carried out as it stands: what a newcomer types works, and prints what is written there.

use std::path::{Path, PathBuf};

use keygate_tests::gateway;
use keygate_tests::transcript;

#[test]
fn the_guide_for_plugin_authors_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let guide = std::fs::read_to_string(root.join("docs/plugin-authors.md")).unwrap();
    assert!(transcript::steps(&guide).len() > 20, "the guide has lost its transcript");
    let program = gateway::program();
    let target = program.ancestors().nth(2).unwrap().to_owned();
    let plugins = std::env::var_os("KEYGATE_PLUGIN_DIR").map_or_else(|| target.join("plugins"), PathBuf::from);
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    // What the SDK needs is compiled once, for all projects that the tests make.
    let cargo = target.join("authors").join("cargo");
    let directory = tempfile::tempdir().unwrap();
    let environment = [
        ("PATH", path.as_str()),
        ("PLUGINS", plugins.to_str().unwrap()),
        ("CARGO_TARGET_DIR", cargo.to_str().unwrap()),
    ];
    transcript::carry_out(&guide, directory.path(), &environment);
}
