//! What the gateway of a test keeps its keys in. What a client sees is the same, so the same tests run on each.

use std::fs;
use std::path::{Path, PathBuf};

use crate::configured::{component, entry};
use crate::softokn::{self, Softokn};

/// A backend for dev mode, with what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// The software backend.
    Software,
    /// SoftHSM, each key an object of the token.
    Token,
    /// SoftHSM, keys wrapped by one of the token's.
    Wrapped,
    /// NSS softokn, by the same plugin with other settings.
    OtherModule,
}

impl Keeping {
    /// The arguments of `keygate serve --dev`. What they need is made in this directory.
    pub fn arguments(self, directory: &Path) -> Vec<String> {
        let arguments: &[&str] = match self {
            Self::Software => &[],
            Self::Token => &["--backend", "softhsm", "--keep", "token"],
            Self::Wrapped => &["--backend", "softhsm", "--keep", "wrapped"],
            Self::OtherModule => return vec!["--backend".to_owned(), other_module(directory).display().to_string()],
        };
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }
}

/// A file for `--backend`, as an operator would write it to try a module in dev mode.
fn other_module(directory: &Path) -> PathBuf {
    let softokn = Softokn::new(directory);
    let grants = "{ log = true, pkcs11 = [\"nss\"] }";
    let plugin = entry("softhsm", &component("softhsm.wasm"), "hsm-backend", grants);
    let settings = format!(
        "settings = {{ token = \"nss\", {} }}\nlimits = {{ deadline = \"10s\" }}\n[[backends]]\nname = \"nss\"\nplugin = \
         \"softhsm\"\n",
        softokn::SETTINGS
    );
    let file = directory.join("nss.toml");
    fs::write(&file, [softokn.entry(), plugin, settings].concat()).expect("the file can be written");
    file
}
