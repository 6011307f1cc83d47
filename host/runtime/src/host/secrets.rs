//! `keygate:host/secrets`: secrets by name and version, to whom they were granted.

use keygate_core::secret::SecretBytes;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::secrets::keygate::host::secrets as wit;
use crate::sandbox::State;

/// The longest value, in bytes.
const MAX_VALUE: usize = 4_096;

/// Where secrets come from.
pub trait SecretSource: Send + Sync {
    /// The newest version.
    ///
    /// # Errors
    /// When there is no such secret, or it cannot be read now.
    fn current(&self, name: &str) -> Result<Secret, SecretError>;

    /// A certain version.
    ///
    /// # Errors
    /// When there is no such secret or version, or it cannot be read now.
    fn version(&self, name: &str, version: u32) -> Result<Secret, SecretError>;

    /// Whether there is a secret of this name. Asked when plugins are loaded.
    fn exists(&self, name: &str) -> bool;
}

/// One version of a secret.
#[derive(Debug)]
pub struct Secret {
    /// Which, from 1 up.
    pub version: u32,
    /// 1 to 4,096 bytes.
    pub value: SecretBytes,
}

/// Why there is no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// None of this name.
    #[error("no such secret")]
    NotFound,
    /// None of this version.
    #[error("no such version of the secret")]
    NoSuchVersion,
    /// It cannot be read now. Says why, for the operator.
    #[error("the secret cannot be read: {0}")]
    Unavailable(String),
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl wit::Host for State {
    fn current(&mut self, name: String) -> wasmtime::Result<Result<wit::Secret, wit::Error>> {
        super::only_at_work(self, "secrets.current")?;
        Ok(granted(self, &name).and_then(|source| answer(source.current(&name))))
    }

    fn version(&mut self, name: String, version: u32) -> wasmtime::Result<Result<wit::Secret, wit::Error>> {
        super::only_at_work(self, "secrets.version")?;
        Ok(granted(self, &name).and_then(|source| answer(source.version(&name, version))))
    }
}

fn granted<'a>(state: &'a State, name: &str) -> Result<&'a dyn SecretSource, wit::Error> {
    if state.facts.grants.secrets.iter().any(|granted| granted == name) {
        Ok(&*state.facts.services.secrets)
    } else {
        Err(wit::Error::NotGranted)
    }
}

fn answer(secret: Result<Secret, SecretError>) -> Result<wit::Secret, wit::Error> {
    match secret {
        Ok(secret) if (1..=MAX_VALUE).contains(&secret.value.len()) => {
            Ok(wit::Secret { version: secret.version, value: secret.value.expose().to_vec() })
        }
        Ok(_) => Err(wit::Error::Unavailable(format!("its value is not 1 to {MAX_VALUE} bytes long"))),
        Err(SecretError::NotFound) => Err(wit::Error::NotGranted),
        Err(SecretError::NoSuchVersion) => Err(wit::Error::NoSuchVersion),
        Err(SecretError::Unavailable(detail)) => Err(wit::Error::Unavailable(detail)),
    }
}
