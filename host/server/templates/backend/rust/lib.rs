//! A backend for Keygate that keeps keys in software.
//!
//! Key material is sealed under the KEK (key-encryption key) that the operator grants; plaintexts are sealed under key
//! material. Both with XChaCha20-Poly1305, whose 24-byte nonces may be random without counting. Everything that is sealed
//! is bound to what it is and which key version it belongs to.
//!
//! A key-ref: format (1 byte, `0x01`), version of the KEK (4, big-endian), kind (1), algorithm (1), nonce (24), the sealed
//! material. A ciphertext: format (1 byte, `0x01`), nonce (24), the sealed plaintext. Whatever you change, keep reading
//! what earlier versions wrote: give a new format a new first byte.

mod seal;

use keygate_plugin_sdk::backend::{
    Backend, Call, DataKey, Description, Error, Key, KeyIdentity, KeyKind, KeyRef, KeySpec, Result, SecretBytes,
};
use keygate_plugin_sdk::host::{random, secrets};
use keygate_plugin_sdk::{SettingsError, export_backend, settings};
use serde::Deserialize;

const FORMAT: u8 = 1;
/// Format, KEK version, kind, algorithm.
const HEAD: usize = 7;
const MAX_MATERIAL: u32 = 7_680;

/// What the operator can set: `settings = { kek = "kek" }`, the name of the granted secret.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Software {
    kek: String,
}

impl Default for Software {
    fn default() -> Self {
        Self { kek: "kek".to_owned() }
    }
}

/// A key-ref, opened.
struct Opened {
    kek_version: u32,
    kind: u8,
    algorithm: u8,
    material: SecretBytes,
}

impl Software {
    fn current_kek(&self) -> Result<secrets::Secret> {
        secrets::current(&self.kek).map_err(unavailable)
    }

    /// Seals material under the newest KEK.
    fn seal(&self, identity: &KeyIdentity, kind: u8, algorithm: u8, material: &[u8]) -> Result<KeyRef> {
        let kek = self.current_kek()?;
        let mut reference = vec![FORMAT];
        reference.extend_from_slice(&kek.version.to_be_bytes());
        reference.extend_from_slice(&[kind, algorithm]);
        let aad = bound("key-ref", &reference, identity);
        reference.extend(seal::seal(&kek.value, material, &aad)?);
        Ok(reference)
    }

    fn open(&self, key: &Key) -> Result<Opened> {
        let (head, sealed) = key.reference.split_at_checked(HEAD).ok_or(Error::InvalidKeyRef)?;
        let &[FORMAT, a, b, c, d, kind, algorithm] = head else { return Err(Error::InvalidKeyRef) };
        let kek_version = u32::from_be_bytes([a, b, c, d]);
        let kek = secrets::version(&self.kek, kek_version).map_err(|error| match error {
            secrets::Error::NoSuchVersion => Error::InvalidKeyRef,
            other => unavailable(other),
        })?;
        let material = seal::open(&kek.value, sealed, &bound("key-ref", head, &key.identity));
        Ok(Opened { kek_version, kind, algorithm, material: material.ok_or(Error::InvalidKeyRef)? })
    }

    /// What a root key seals with. The material may have 16, 24 or 32 bytes: a cipher's key is derived from it.
    fn data_key(&self, key: &Key) -> Result<SecretBytes> {
        let opened = self.open(key)?;
        if opened.kind != kind_byte(KeyKind::Root) {
            return Err(Error::InvalidInput("a standard key does not wrap".to_owned()));
        }
        Ok(seal::derive(&opened.material))
    }
}

impl Backend for Software {
    fn configure(text: &str) -> core::result::Result<Self, SettingsError> {
        settings::from_json(text)
    }

    fn describe(&self) -> Description {
        Description {
            name: "{{name}}".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            algorithms: vec!["AES".to_owned(), "SECRET".to_owned()],
            max_plaintext: 7_168,
            max_material: MAX_MATERIAL,
            features: Vec::new(),
        }
    }

    fn probe(&self, _: &Call) -> Result<()> {
        seal::known_answer()?;
        match self.current_kek()?.value.len() {
            32 => Ok(()),
            n => Err(Error::Unavailable(format!("the secret `{}` has {n} bytes; a KEK has 32", self.kek))),
        }
    }

    fn generate_key(&self, _: &Call, identity: &KeyIdentity, spec: &KeySpec) -> Result<KeyRef> {
        let algorithm = algorithm_byte(spec)?;
        // The host gives at most 4,096 bytes at a time.
        let mut material = SecretBytes::new(Vec::with_capacity((spec.bits / 8) as usize));
        while material.len() < (spec.bits / 8) as usize {
            let left = spec.bits / 8 - material.len() as u32;
            material.extend_from_slice(&random::bytes(left.min(random::MAX_BYTES)));
        }
        self.seal(identity, kind_byte(spec.kind), algorithm, &material)
    }

    fn import_key(&self, _: &Call, identity: &KeyIdentity, spec: &KeySpec, material: &[u8]) -> Result<KeyRef> {
        let algorithm = algorithm_byte(spec)?;
        if material.len() != (spec.bits / 8) as usize {
            return Err(Error::InvalidInput("the material has not the size that it should have".to_owned()));
        }
        self.seal(identity, kind_byte(spec.kind), algorithm, material)
    }

    fn export_key(&self, _: &Call, key: &Key) -> Result<SecretBytes> {
        let opened = self.open(key)?;
        if opened.kind != kind_byte(KeyKind::Standard) {
            return Err(Error::Unsupported("the material of a root key never leaves".to_owned()));
        }
        Ok(opened.material)
    }

    fn wrap(&self, _: &Call, key: &Key, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
        let mut wrapped = vec![FORMAT];
        wrapped.extend(seal::seal(&self.data_key(key)?, plaintext, &bound("wrap", aad, &key.identity))?);
        Ok(wrapped)
    }

    fn generate_data_key(&self, call: &Call, key: &Key, len: u32, aad: &[u8]) -> Result<DataKey> {
        let plaintext = random::bytes(len);
        let wrapped = self.wrap(call, key, &plaintext, aad)?;
        Ok(DataKey { plaintext, wrapped })
    }

    fn unwrap(&self, _: &Call, key: &Key, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes> {
        let data_key = self.data_key(key)?;
        let Some((&FORMAT, sealed)) = wrapped.split_first() else { return Err(Error::AuthenticationFailed) };
        seal::open(&data_key, sealed, &bound("wrap", aad, &key.identity)).ok_or(Error::AuthenticationFailed)
    }

    fn destroy_key(&self, _: &Call, _: &Key) -> Result<()> {
        // The key-ref is all there is, and the host forgets it.
        Ok(())
    }

    fn reseal_key(&self, _: &Call, key: &Key) -> Result<Option<KeyRef>> {
        let opened = self.open(key)?;
        if opened.kek_version == self.current_kek()?.version {
            return Ok(None);
        }
        self.seal(&key.identity, opened.kind, opened.algorithm, &opened.material).map(Some)
    }

    fn random(&self, _: &Call, len: u32) -> Result<SecretBytes> {
        Ok(random::bytes(len))
    }
}

/// What is bound into everything that is sealed: what it is, whose it is, and `more`. Each part has its length in front,
/// so that no two different lists of parts are the same bytes.
fn bound(purpose: &str, more: &[u8], identity: &KeyIdentity) -> Vec<u8> {
    let KeyIdentity { instance_id, key_id, version_id } = identity;
    let mut aad = Vec::new();
    for part in [b"{{name}}", purpose.as_bytes(), instance_id.as_bytes(), key_id.as_bytes(), version_id.as_bytes(), more] {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

fn kind_byte(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Root => 1,
        KeyKind::Standard => 2,
    }
}

fn algorithm_byte(spec: &KeySpec) -> Result<u8> {
    match (spec.algorithm.as_str(), spec.bits) {
        ("AES", 128 | 192 | 256) => Ok(1),
        ("SECRET", bits) if spec.kind == KeyKind::Standard && (8..=8 * MAX_MATERIAL).contains(&bits) && bits % 8 == 0 => {
            Ok(2)
        }
        (algorithm, bits) => Err(Error::Unsupported(format!("there are no such keys: {algorithm} with {bits} bits"))),
    }
}

fn unavailable(error: secrets::Error) -> Error {
    Error::Unavailable(match error {
        secrets::Error::NotGranted => "the secret of the setting `kek` is not granted".to_owned(),
        secrets::Error::NoSuchVersion => "that version of the KEK is gone".to_owned(),
        secrets::Error::Unavailable(why) => why,
    })
}

export_backend!(Software);

#[cfg(test)]
mod tests;
