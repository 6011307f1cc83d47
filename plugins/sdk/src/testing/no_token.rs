//! What stands behind [`crate::host::pkcs11`] natively where the feature `token` is off: nothing, so nothing is granted.

use crate::host::pkcs11::{Digest, Error, IvSource, KeyTemplate, Result, Sealed, TokenInfo, Wrapping};

/// A token that nobody has.
pub(crate) enum Token {}

/// A key of one.
pub(crate) enum Key {}

impl Token {
    pub(crate) fn open(_: &str) -> Result<Self> {
        Err(Error::NotGranted)
    }

    pub(crate) fn info(&self) -> Result<TokenInfo> {
        match *self {}
    }

    pub(crate) fn find_key(&self, _: &[u8]) -> Result<Key> {
        match *self {}
    }

    pub(crate) fn generate_key(&self, _: &KeyTemplate, _: u32) -> Result<Key> {
        match *self {}
    }

    pub(crate) fn generate_key_pair(&self, _: &KeyTemplate, _: u32) -> Result<Key> {
        match *self {}
    }

    pub(crate) fn import_key(&self, _: &KeyTemplate, _: &[u8]) -> Result<Key> {
        match *self {}
    }

    pub(crate) fn destroy_key(&self, _: &[u8]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn random(&self, _: u32) -> Result<Vec<u8>> {
        match *self {}
    }
}

impl Key {
    pub(crate) fn seal(&self, _: IvSource, _: &[u8], _: &[u8]) -> Result<Sealed> {
        match *self {}
    }

    pub(crate) fn open(&self, _: &Sealed, _: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn open_public(&self, _: &Sealed, _: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn mac(&self, _: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn decrypt_cbc(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn decrypt_oaep(&self, _: Digest, _: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn wrap_key(&self, _: &Wrapping, _: &Self) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn unwrap_key(&self, _: &Wrapping, _: &[u8], _: &KeyTemplate) -> Result<Self> {
        match *self {}
    }

    pub(crate) fn forget_unwrapped(&self, _: &Wrapping, _: &[u8], _: &KeyTemplate) -> Result<()> {
        match *self {}
    }

    pub(crate) fn wrap_to(&self, _: Digest, _: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn public_key(&self) -> Result<Vec<u8>> {
        match *self {}
    }
}
