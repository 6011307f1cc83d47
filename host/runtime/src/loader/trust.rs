//! Signatures: which keys are trusted, and whether one of those that an entry names has signed its component.

use crate::files;
use crate::load_error::{LoadError, LoadStep, list, nearest};
use crate::manifest::{KeySource, Manifest, PluginManifest};
use crate::signature::{PublicKey, SignatureError, default_path, verify};

/// The longest file of a key or of a signature, in bytes.
const MAX_FILE: u64 = 4_096;

/// What is believed of components.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Whether each must say its digest or who signed it.
    pub(crate) require_digest: bool,
    /// Whether each must say who signed it.
    pub(crate) require_signatures: bool,
    keys: Vec<(String, PublicKey)>,
    /// Names of keys that could not be read. That was said already.
    unread: Vec<String>,
}

impl Trust {
    /// Reads the keys of a manifest.
    pub(crate) fn read(manifest: &Manifest) -> (Self, Vec<LoadError>) {
        let Manifest { require_digest, require_signatures, .. } = *manifest;
        let mut trust = Self { require_digest, require_signatures, ..Self::default() };
        let mut errors = Vec::new();
        for key in &manifest.trusted_keys {
            let text = match &key.source {
                KeySource::Pem(text) => Ok(text.clone()),
                KeySource::File(path) => files::read_text(path, MAX_FILE)
                    .map_err(|e| (format!("{}: {e}", path.display()), "check `public_key_file`".to_owned())),
            };
            let read = text.and_then(|text| {
                PublicKey::from_pem(&text).map_err(|e| (e.to_string(), "give the key in PEM (SPKI)".to_owned()))
            });
            match read {
                Ok(public) => trust.keys.push((key.name.clone(), public)),
                Err((problem, mend)) => {
                    trust.unread.push(key.name.clone());
                    let problem = format!("the trusted key `{}`: {problem}", key.name);
                    errors.push(LoadError::new(&key.name, LoadStep::Signature, problem, mend));
                }
            }
        }
        (trust, errors)
    }

    /// Checks the signature of a component, where its entry names who signed it.
    pub(super) fn check(&self, manifest: &PluginManifest, component: &[u8]) -> Result<(), LoadError> {
        let error = |problem: String, mend: String| LoadError::new(&manifest.name, LoadStep::Signature, problem, mend);
        if manifest.signed_by.is_empty() {
            if self.require_signatures {
                let problem = "it does not say who signed it, and `require_signatures` is on".to_owned();
                let mend = "sign it with `keygate plugin sign`, and add `signed_by = [\"NAME\"]`".to_owned();
                return Err(error(problem, mend));
            }
            return Ok(());
        }
        for name in manifest.signed_by.iter().filter(|name| !self.unread.contains(name)) {
            if !self.keys.iter().any(|(known, _)| known == name) {
                let known: Vec<&str> = self.keys.iter().map(|(known, _)| known.as_str()).collect();
                let mend = if known.is_empty() {
                    format!("add it: [[trusted_keys]] with name = \"{name}\" and its public key")
                } else {
                    nearest(name, &known)
                };
                return Err(error(format!("`signed_by` names `{name}`, which is not a trusted key"), mend));
            }
        }
        let path = manifest.signature_file.clone().unwrap_or_else(|| default_path(&manifest.file));
        let signature = files::read(&path, MAX_FILE).map_err(|e| {
            let mend = format!("sign the component with `keygate plugin sign`, or get {} from who did", path.display());
            error(format!("its signature cannot be read: {}: {e}", path.display()), mend)
        })?;
        self.verified(manifest, component, &signature).map_err(|problem| match problem {
            Untrusted::Malformed(problem) => error(
                format!("{}: {problem}", path.display()),
                "or get the signature from who signed the component".to_owned(),
            ),
            Untrusted::Other(signer) => error(
                format!("it is signed by `{signer}`, and its entry takes {}", list(&manifest.signed_by)),
                format!("add `{signer}` to `signed_by`, if you trust it with this plugin"),
            ),
            Untrusted::Nobody => error(
                format!(
                    "its signature in {} is not one of {} for this file: another key made it, or the file was changed \
                     after it was signed",
                    path.display(),
                    list(&manifest.signed_by)
                ),
                "get file and signature anew from who signed it; if that was you, sign it again".to_owned(),
            ),
        })
    }

    fn verified(&self, manifest: &PluginManifest, component: &[u8], signature: &[u8]) -> Result<(), Untrusted> {
        let mut other = None;
        for (name, key) in &self.keys {
            match verify(component, signature, key) {
                Ok(()) if manifest.signed_by.contains(name) => return Ok(()),
                Ok(()) => other = Some(name.clone()),
                Err(SignatureError::Mismatch) => {}
                Err(malformed) => return Err(Untrusted::Malformed(malformed)),
            }
        }
        Err(other.map_or(Untrusted::Nobody, Untrusted::Other))
    }
}

/// Why a signature is not enough.
enum Untrusted {
    /// It is none.
    Malformed(SignatureError),
    /// A trusted key made it, which is not one that the entry names.
    Other(String),
    /// No trusted key made it.
    Nobody,
}
