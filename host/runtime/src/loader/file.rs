//! Reads a component and compares its digest.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::trust::Trust;
use crate::files;
use crate::load_error::{LoadError, LoadStep};
use crate::manifest::{DigestSource, PluginManifest};

/// The biggest component, in bytes. Interpreted languages bring their interpreter: 20 MB and more.
const MAX_COMPONENT: u64 = 256 << 20;

/// The longest list of digests, in bytes.
const MAX_LIST: u64 = 1 << 20;

/// A component's bytes, and the digest of these very bytes.
pub(super) struct ComponentFile {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: [u8; 32],
}

impl ComponentFile {
    /// The digest in hexadecimal.
    pub(super) fn hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads a plugin's file, compares its digest, verifies its signature, and looks whether it is a component at all.
pub(super) fn read(manifest: &PluginManifest, trust: &Trust) -> Result<ComponentFile, LoadError> {
    let error = |step, problem: String, mend: &str| LoadError::new(&manifest.name, step, problem, mend);
    let path = &manifest.file;
    let bytes = read_bytes(path).map_err(|e| {
        error(LoadStep::Read, format!("{}: {e}", path.display()), "check `file`, and that the gateway may read it")
    })?;
    let file = ComponentFile { digest: Sha256::digest(&bytes).into(), bytes };
    let found = file.hex();
    let expected = match &manifest.digest {
        DigestSource::Sha256(digest) => Some(digest.clone()),
        DigestSource::File(list) => Some(listed(list, path).map_err(|problem| {
            error(LoadStep::Digest, problem, "write it with `sha256sum`, with the component's file name in it")
        })?),
        DigestSource::Absent if trust.require_digest && manifest.signed_by.is_empty() => {
            return Err(error(
                LoadStep::Digest,
                "neither `sha256` nor `sha256_file` nor `signed_by` is given".to_owned(),
                &format!("once you trust the file, add `sha256 = \"{found}\"`"),
            ));
        }
        DigestSource::Absent => None,
    };
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(error(
            LoadStep::Digest,
            format!("the file's SHA-256 is {found}, and {expected} was expected"),
            "find out who changed the file; if that was you, correct the digest",
        ));
    }
    trust.check(manifest, &file.bytes)?;
    kind(&file.bytes).map_err(|(problem, mend)| error(LoadStep::Compile, problem.to_owned(), mend))?;
    Ok(file)
}

pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    files::read(path, MAX_COMPONENT).map_err(|e| e.to_string())
}

/// The digest of a file in a list as `sha256sum` writes it: the digest, a blank, a blank or `*`, the name.
fn listed(list: &Path, component: &Path) -> Result<String, String> {
    let text = files::read_text(list, MAX_LIST).map_err(|e| format!("{}: {e}", list.display()))?;
    let name = component.file_name();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, rest)| Path::new(rest.trim_start_matches([' ', '*']).trim_end()).file_name() == name)
        .map(|(digest, _)| digest.to_ascii_lowercase())
        .filter(|digest| digest.len() == 64)
        .ok_or_else(|| format!("{} has no SHA-256 of {}", list.display(), component.display()))
}

/// Whether these bytes are a component, by how they begin.
pub(crate) fn kind(bytes: &[u8]) -> Result<(), (&'static str, &'static str)> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err((
            "the file is a core WebAssembly module and not a component",
            "make a component of it: `cargo xtask plugins` for plugins of this repository, `wasm-tools component new` else",
        )),
        [b'(', ..] => Err(("the file is WebAssembly text", "give the binary, as `wasm-tools parse` makes it")),
        [] => Err(("the file is empty", "build the plugin again")),
        _ => Err(("the file is not a WebAssembly component", "check that `file` names the built plugin")),
    }
}
