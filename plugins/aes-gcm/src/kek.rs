//! The key-encryption key: a secret that the operator grants.

use keygate_plugin_sdk::backend::{Error, Result};
use keygate_plugin_sdk::host::secrets;
use zeroize::Zeroizing;

/// The size of a KEK, in bytes.
const BYTES: usize = 32;

/// One version of the KEK. Wiped when dropped.
pub(crate) struct Kek {
    version: u32,
    key: Zeroizing<Vec<u8>>,
}

impl Kek {
    /// The one to seal new key-refs under.
    pub(crate) fn current(name: &str) -> Result<Self> {
        Self::check(name, secrets::current(name).map_err(|error| explain(name, None, error))?)
    }

    /// The one that a key-ref was sealed under.
    pub(crate) fn version(name: &str, version: u32) -> Result<Self> {
        Self::check(name, secrets::version(name, version).map_err(|error| explain(name, Some(version), error))?)
    }

    /// Which version it is.
    pub(crate) const fn number(&self) -> u32 {
        self.version
    }

    /// Its 32 bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.key
    }

    fn check(name: &str, secret: secrets::Secret) -> Result<Self> {
        let secrets::Secret { version, value } = secret;
        if value.len() == BYTES {
            return Ok(Self { version, key: value });
        }
        Err(Error::Unavailable(format!(
            "version {version} of secret `{name}` has {} bytes and a KEK has exactly {BYTES}: check its source",
            value.len()
        )))
    }
}

/// A secret that is away is the operator's to bring back: never a statement about the key-ref.
fn explain(name: &str, version: Option<u32>, error: secrets::Error) -> Error {
    Error::Unavailable(match (error, version) {
        (secrets::Error::NotGranted, _) => {
            format!("secret `{name}` is not granted or does not exist: define it and list it in this plugin's grants")
        }
        (secrets::Error::NoSuchVersion, Some(version)) => format!(
            "the key-ref names version {version} of secret `{name}`, which is not there: bring that version back, \
             or the key-ref is damaged"
        ),
        (secrets::Error::NoSuchVersion, None) => format!("secret `{name}` has no version: give it one"),
        (secrets::Error::Unavailable(why), _) => format!("secret `{name}` cannot be read: {why}"),
    })
}
