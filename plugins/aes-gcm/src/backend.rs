//! The contract's functions.

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::backend::{
    Backend, Call, DataKey, Description, Error, Key, KeyIdentity, KeyKind, KeyRef, KeySpec, Result, SecretBytes,
};
use keygate_plugin_sdk::host::random;

use crate::kek::Kek;
use crate::keyref::{self, OpenKey};
use crate::settings::Settings;
use crate::spec::{Algorithm, MAX_MATERIAL, Spec};
use crate::wrapping;
use crate::xaes::NONCE;

/// The longest plaintext, in bytes.
pub(crate) const MAX_PLAINTEXT: u32 = 65_536;
/// The longest AAD, in bytes (`keygate:crypto/backend`).
const MAX_AAD: usize = 65_536;
/// How many bytes a data key may have.
const DATA_KEY_BYTES: core::ops::RangeInclusive<u32> = 16..=64;

/// The backend.
pub struct AesGcm {
    settings: Settings,
}

impl AesGcm {
    /// Takes a key out of its key-ref.
    fn open(&self, key: &Key) -> Result<OpenKey> {
        keyref::open(&key.reference, &key.identity, |version| Kek::version(&self.settings.kek, version))
    }

    /// The material of a root key.
    fn open_root(&self, key: &Key) -> Result<SecretBytes> {
        let opened = self.open(key)?;
        match opened.kind {
            KeyKind::Root => Ok(opened.material),
            KeyKind::Standard => Err(Error::Unsupported("a standard key wraps nothing: use a root key".to_owned())),
        }
    }

    /// The name of the KEK.
    pub(crate) fn kek(&self) -> &str {
        &self.settings.kek
    }
}

/// Splits `len` bytes of the host's generator into a nonce and the rest: one call to the host instead of two.
fn nonce_and(len: u32) -> Result<([u8; NONCE], SecretBytes)> {
    let bytes = random::bytes(len + NONCE as u32);
    match bytes.split_first_chunk::<NONCE>() {
        Some((nonce, rest)) if rest.len() == len as usize => Ok((*nonce, SecretBytes::new(rest.to_vec()))),
        _ => Err(Error::Internal("the host gave another number of random bytes than asked for".to_owned())),
    }
}

fn check_aad(aad: &[u8]) -> Result<()> {
    if aad.len() > MAX_AAD {
        return Err(Error::InvalidInput(format!("AAD of {} bytes: use at most {MAX_AAD}", aad.len())));
    }
    Ok(())
}

impl Backend for AesGcm {
    fn configure(settings: &str) -> core::result::Result<Self, SettingsError> {
        Ok(Self { settings: Settings::parse(settings)? })
    }

    fn describe(&self) -> Description {
        Description {
            name: "aes-gcm".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            algorithms: Algorithm::NAMES.map(str::to_owned).to_vec(),
            max_plaintext: MAX_PLAINTEXT,
            max_material: MAX_MATERIAL,
            features: Vec::new(),
        }
    }

    fn probe(&self, _call: &Call) -> Result<()> {
        crate::probe::run(self)
    }

    fn generate_key(&self, _call: &Call, identity: &KeyIdentity, spec: &KeySpec) -> Result<KeyRef> {
        let spec = Spec::check(spec)?;
        if spec.algorithm == Algorithm::Secret {
            return Err(Error::Unsupported("a SECRET is imported, not generated: generate an AES key".to_owned()));
        }
        let kek = Kek::current(&self.settings.kek)?;
        let (nonce, material) = nonce_and(spec.bytes)?;
        keyref::seal(&kek, &nonce, identity, spec, &material)
    }

    fn import_key(&self, _call: &Call, identity: &KeyIdentity, spec: &KeySpec, material: &[u8]) -> Result<KeyRef> {
        let spec = Spec::check(spec)?;
        if material.len() != spec.bytes as usize {
            return Err(Error::InvalidInput(format!(
                "material of {} bytes for a key of {} bits: they must agree",
                material.len(),
                spec.bytes * 8
            )));
        }
        let kek = Kek::current(&self.settings.kek)?;
        let (nonce, _) = nonce_and(0)?;
        keyref::seal(&kek, &nonce, identity, spec, material)
    }

    fn export_key(&self, _call: &Call, key: &Key) -> Result<SecretBytes> {
        let opened = self.open(key)?;
        match opened.kind {
            KeyKind::Standard => Ok(opened.material),
            KeyKind::Root => Err(Error::Unsupported("the material of a root key never leaves".to_owned())),
        }
    }

    fn wrap(&self, _call: &Call, key: &Key, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
        if plaintext.len() > MAX_PLAINTEXT as usize {
            return Err(Error::InvalidInput(format!(
                "a plaintext of {} bytes: use at most {MAX_PLAINTEXT}",
                plaintext.len()
            )));
        }
        check_aad(aad)?;
        let root = self.open_root(key)?;
        let (nonce, _) = nonce_and(0)?;
        wrapping::wrap(&root, &nonce, &key.identity, plaintext, aad)
    }

    fn generate_data_key(&self, _call: &Call, key: &Key, len: u32, aad: &[u8]) -> Result<DataKey> {
        if !DATA_KEY_BYTES.contains(&len) {
            return Err(Error::InvalidInput(format!("a data key of {len} bytes: use 16 to 64")));
        }
        check_aad(aad)?;
        let root = self.open_root(key)?;
        let (nonce, plaintext) = nonce_and(len)?;
        let wrapped = wrapping::wrap(&root, &nonce, &key.identity, &plaintext, aad)?;
        Ok(DataKey { plaintext, wrapped })
    }

    fn unwrap(&self, _call: &Call, key: &Key, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes> {
        let root = self.open_root(key)?;
        wrapping::unwrap(&root, &key.identity, wrapped, aad)
    }

    fn destroy_key(&self, _call: &Call, _key: &Key) -> Result<()> {
        // The key-ref is all there is: whoever deletes it has destroyed the key.
        Ok(())
    }

    fn reseal_key(&self, _call: &Call, key: &Key) -> Result<Option<KeyRef>> {
        let opened = self.open(key)?;
        let kek = Kek::current(&self.settings.kek)?;
        if opened.kek == kek.number() {
            return Ok(None);
        }
        // At most 7,500: `Spec::check` let nothing larger in.
        let bytes = opened.material.len() as u32;
        let spec = Spec { algorithm: opened.algorithm, kind: opened.kind, bytes };
        let (nonce, _) = nonce_and(0)?;
        keyref::seal(&kek, &nonce, &key.identity, spec, &opened.material).map(Some)
    }

    fn random(&self, _call: &Call, len: u32) -> Result<SecretBytes> {
        if len > random::MAX_BYTES {
            return Err(Error::InvalidInput(format!("{len} random bytes: use at most {}", random::MAX_BYTES)));
        }
        Ok(random::bytes(len))
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
