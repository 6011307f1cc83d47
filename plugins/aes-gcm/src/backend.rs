//! The contract's functions.

use keygate_plugin_rsa::{Hash, PRIMES, Random, RsaPair};
use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::backend::{
    Backend, Call, DataKey, Description, Error, ImportEnvelope, ImportRejection, Imported, Key, KeyIdentity, KeyPair,
    KeyRef, KeySpec, Result, SecretBytes,
};
use keygate_plugin_sdk::host::random;

use crate::import;
use crate::kek::Kek;
use crate::keyref::{self, OpenKey};
use crate::settings::Settings;
use crate::spec::{Algorithm, MAX_MATERIAL, Purpose, Spec};
use crate::transport;
use crate::wrapping;
use crate::xaes::NONCE;

/// The longest plaintext, in bytes.
pub(crate) const MAX_PLAINTEXT: u32 = 65_536;
/// The longest AAD, in bytes (`keygate:crypto/backend`).
const MAX_AAD: usize = 65_536;
/// The only kind of import key (`keygate:crypto/backend`).
const IMPORT_KEY: &str = "RSA-4096";
/// How many bytes a data key may have.
const DATA_KEY_BYTES: core::ops::RangeInclusive<u32> = 16..=64;

/// The backend.
pub struct AesGcm {
    settings: Settings,
}

impl AesGcm {
    /// Takes a key out of its key-ref.
    pub(crate) fn open(&self, key: &Key) -> Result<OpenKey> {
        keyref::open(&key.reference, &key.identity, |version| Kek::version(&self.settings.kek, version))
    }

    /// The material of a root key.
    fn open_root(&self, key: &Key) -> Result<SecretBytes> {
        let opened = self.open(key)?;
        match opened.purpose {
            Purpose::Root => Ok(opened.material),
            Purpose::Standard => Err(Error::Unsupported("a standard key wraps nothing: use a root key".to_owned())),
            // It is no key version's: the store mixed something up.
            Purpose::Import | Purpose::Transport => Err(Error::InvalidKeyRef),
        }
    }

    /// The private half of an import or transport key.
    fn open_pair(&self, key: &Key, purpose: Purpose) -> Result<RsaPair> {
        let opened = self.open(key)?;
        if opened.purpose != purpose || opened.algorithm != Algorithm::Rsa {
            return Err(Error::InvalidKeyRef);
        }
        RsaPair::from_primes(&opened.material)
    }

    /// Makes a pair and keeps it for this.
    fn make_pair(&self, identity: &KeyIdentity, purpose: Purpose) -> Result<KeyPair> {
        // Seconds are lost if the KEK is away: look first.
        Kek::current(&self.settings.kek)?;
        let pair = RsaPair::generate(&mut host_random())?;
        let spec = Spec { algorithm: Algorithm::Rsa, purpose, bytes: PRIMES as u32 };
        Ok(KeyPair { private: self.seal(identity, spec, &pair.primes())?, public: pair.public() })
    }

    /// The hash of what leaves, if anything may.
    fn transport(&self) -> Result<Hash> {
        self.settings.transport.hash().ok_or_else(|| {
            Error::Unsupported("this backend neither sends keys to others nor takes any from them".to_owned())
        })
    }

    /// Seals material under the newest version of the KEK.
    pub(crate) fn seal(&self, identity: &KeyIdentity, spec: Spec, material: &[u8]) -> Result<KeyRef> {
        let kek = Kek::current(&self.settings.kek)?;
        let (nonce, _) = nonce_and(0)?;
        keyref::seal(&kek, &nonce, identity, spec, material)
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

/// The host's generator, for RSA. It gives what it is asked for, or ends the sandbox.
pub(crate) fn host_random() -> Random<impl FnMut(u32) -> Result<SecretBytes>> {
    Random::new(|len| Ok(random::bytes(len)))
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
            features: core::iter::once("import-token")
                .chain(self.settings.transport.hash().map(|_| "transport"))
                .map(str::to_owned)
                .collect(),
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
        self.seal(identity, spec, material)
    }

    fn export_key(&self, _call: &Call, key: &Key) -> Result<SecretBytes> {
        let opened = self.open(key)?;
        match opened.purpose {
            Purpose::Standard => Ok(opened.material),
            Purpose::Root => Err(Error::Unsupported("the material of a root key never leaves".to_owned())),
            Purpose::Import | Purpose::Transport => Err(Error::InvalidKeyRef),
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
        let spec = Spec { algorithm: opened.algorithm, purpose: opened.purpose, bytes };
        let (nonce, _) = nonce_and(0)?;
        keyref::seal(&kek, &nonce, &key.identity, spec, &opened.material).map(Some)
    }

    fn random(&self, _call: &Call, len: u32) -> Result<SecretBytes> {
        if len > random::MAX_BYTES {
            return Err(Error::InvalidInput(format!("{len} random bytes: use at most {}", random::MAX_BYTES)));
        }
        Ok(random::bytes(len))
    }

    fn create_import_key(&self, _call: &Call, identity: &KeyIdentity, algorithm: &str) -> Result<KeyPair> {
        if algorithm != IMPORT_KEY {
            return Err(Error::Unsupported(format!("an import key of `{algorithm}`: this backend makes {IMPORT_KEY}")));
        }
        self.make_pair(identity, Purpose::Import)
    }

    fn open_import(
        &self,
        _call: &Call,
        import_key: &Key,
        identity: &KeyIdentity,
        spec: &KeySpec,
        envelope: &ImportEnvelope,
    ) -> Result<Imported> {
        let rejected = || Error::ImportRejected(ImportRejection::Material);
        if spec.algorithm != "AES" {
            return Err(Error::Unsupported(format!("a {} under an import token: import an AES key", spec.algorithm)));
        }
        let scheme = import::Scheme::of(envelope)?;
        let pair = self.open_pair(import_key, Purpose::Import)?;
        let material =
            pair.decrypt(&mut host_random(), scheme.hash(), &envelope.encrypted_key)?.ok_or_else(rejected)?;
        // OAEP carries up to 470 bytes: only then does the product fit, and only then is it one of the three.
        let bits = material.len() as u32 * 8;
        if !matches!(bits, 128 | 192 | 256) || (spec.bits != 0 && spec.bits != bits) {
            return Err(rejected());
        }
        scheme.check_nonce(&material, envelope)?;
        let spec = Spec::check(&KeySpec { bits, ..spec.clone() })?;
        Ok(Imported { key_ref: self.seal(identity, spec, &material)?, bits })
    }

    fn create_transport_key(&self, _call: &Call, identity: &KeyIdentity) -> Result<KeyPair> {
        self.transport()?;
        self.make_pair(identity, Purpose::Transport)
    }

    fn seal_for_transport(&self, _call: &Call, key: &Key, recipient: &[u8]) -> Result<Vec<u8>> {
        let hash = self.transport()?;
        transport::seal(hash, &self.open(key)?, recipient)
    }

    fn open_transport(
        &self,
        _call: &Call,
        transport_key: &Key,
        identity: &KeyIdentity,
        spec: &KeySpec,
        sealed: &[u8],
    ) -> Result<KeyRef> {
        self.transport()?;
        let spec = Spec::check(spec)?;
        if spec.algorithm != Algorithm::Aes {
            return Err(Error::Unsupported("a standard key that is no AES key: export and import it".to_owned()));
        }
        let material = transport::open(&self.open_pair(transport_key, Purpose::Transport)?, sealed)?;
        if material.len() != spec.bytes as usize {
            return Err(Error::InvalidInput(format!("the sealed key is none of {} bits", spec.bytes * 8)));
        }
        self.seal(identity, spec, &material)
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
