//! The contract's functions.

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::backend::{
    Backend, Call, DataKey, Description, Error, ImportEnvelope, Imported, Key, KeyIdentity, KeyPair, KeyRef, KeySpec,
    Result, SecretBytes,
};
use keygate_plugin_sdk::host::pkcs11;

use crate::hsm::{Hsm, Opened};
use crate::import;
use crate::keyref::{self, Inside, Reference};
use crate::settings::{ImportKeys, Settings};
use crate::spec::{Algorithm, MAX_MATERIAL, Purpose, Spec};
use crate::transport;
use crate::wrapping;

/// The longest AAD, in bytes (`keygate:crypto/backend`).
const MAX_AAD: usize = 65_536;
/// The only kind of import key (`keygate:crypto/backend`).
const IMPORT_KEY: &str = "RSA-4096";
/// How many bytes a data key may have.
const DATA_KEY_BYTES: core::ops::RangeInclusive<u32> = 16..=64;

/// The backend.
pub struct SoftHsm {
    settings: Settings,
}

impl SoftHsm {
    pub(crate) fn hsm(&self) -> Result<Hsm<'_>> {
        Hsm::open(&self.settings)
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    fn transport(&self) -> Result<Hsm<'_>> {
        if self.settings.transport.hash().is_some() {
            return self.hsm();
        }
        Err(Error::Unsupported("this backend neither sends keys to others nor takes any from them".to_owned()))
    }

    fn check(&self, plaintext: usize, aad: &[u8]) -> Result<()> {
        let most = self.settings.max_plaintext;
        if plaintext > most as usize {
            return Err(Error::InvalidInput(format!("a plaintext of {plaintext} bytes: use at most {most}")));
        }
        if aad.len() > MAX_AAD {
            return Err(Error::InvalidInput(format!("AAD of {} bytes: use at most {MAX_AAD}", aad.len())));
        }
        Ok(())
    }
}

impl Backend for SoftHsm {
    fn configure(settings: &str) -> core::result::Result<Self, SettingsError> {
        Ok(Self { settings: Settings::parse(settings)? })
    }

    fn describe(&self) -> Description {
        let features = [
            ("import-token", self.settings.import_keys != ImportKeys::Off),
            ("transport", self.settings.transport.hash().is_some()),
        ];
        Description {
            name: "softhsm".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            algorithms: Algorithm::NAMES.map(str::to_owned).to_vec(),
            max_plaintext: self.settings.max_plaintext,
            max_material: MAX_MATERIAL,
            features: features.iter().filter(|(_, has)| *has).map(|(name, _)| (*name).to_owned()).collect(),
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
        let hsm = self.hsm()?;
        if spec.purpose == Purpose::Root {
            return hsm.make_root(identity, spec.bytes);
        }
        let material = hsm.random(spec.bytes)?;
        hsm.seal(identity, spec.purpose, spec.algorithm, Inside::Payload, &material)
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
        let hsm = self.hsm()?;
        match spec.purpose {
            Purpose::Root => hsm.take_root(identity, material),
            _ => hsm.seal(identity, spec.purpose, spec.algorithm, Inside::Payload, material),
        }
    }

    fn export_key(&self, _call: &Call, key: &Key) -> Result<SecretBytes> {
        let opened = self.hsm()?.open_ref(key)?;
        match (opened.purpose(), opened) {
            (Purpose::Standard, Opened::Payload(_, material)) => Ok(material),
            (Purpose::Root, _) => Err(Error::Unsupported("the material of a root key never leaves".to_owned())),
            _ => Err(Error::InvalidKeyRef),
        }
    }

    fn wrap(&self, _call: &Call, key: &Key, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
        self.check(plaintext.len(), aad)?;
        let hsm = self.hsm()?;
        let root = hsm.root(key)?;
        wrapping::wrap(&hsm, &root, &key.identity, plaintext, aad)
    }

    fn generate_data_key(&self, _call: &Call, key: &Key, len: u32, aad: &[u8]) -> Result<DataKey> {
        if !DATA_KEY_BYTES.contains(&len) {
            return Err(Error::InvalidInput(format!("a data key of {len} bytes: use 16 to 64")));
        }
        self.check(len as usize, aad)?;
        let hsm = self.hsm()?;
        let root = hsm.root(key)?;
        let plaintext = hsm.random(len)?;
        let wrapped = wrapping::wrap(&hsm, &root, &key.identity, &plaintext, aad)?;
        Ok(DataKey { plaintext, wrapped })
    }

    fn unwrap(&self, _call: &Call, key: &Key, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes> {
        let hsm = self.hsm()?;
        let root = hsm.root(key)?;
        wrapping::unwrap(&hsm, &root, &key.identity, wrapped, aad)
    }

    fn rewrap(
        &self,
        _call: &Call,
        source: &Key,
        target: &Key,
        wrapped: &[u8],
        source_aad: &[u8],
        target_aad: &[u8],
    ) -> Result<Vec<u8>> {
        self.check(0, target_aad)?;
        let hsm = self.hsm()?;
        let (from, to) = (hsm.root(source)?, hsm.root(target)?);
        let plaintext = wrapping::unwrap(&hsm, &from, &source.identity, wrapped, source_aad)?;
        wrapping::wrap(&hsm, &to, &target.identity, &plaintext, target_aad)
    }

    fn destroy_key(&self, _call: &Call, key: &Key) -> Result<()> {
        match keyref::parse(&key.reference)? {
            Reference::Object(id) => {
                crate::identity::shape(id, &key.identity)?;
                self.hsm()?.destroy(id)
            }
            // The key-ref is all there is: whoever deletes it has destroyed the key, also while the token is away, when
            // nothing lives on in it.
            Reference::Sealed(header, _) => {
                if header.purpose == Purpose::Root
                    && let Ok(hsm) = self.hsm()
                {
                    hsm.forget(key);
                }
                Ok(())
            }
        }
    }

    fn reseal_key(&self, _call: &Call, key: &Key) -> Result<Option<KeyRef>> {
        self.hsm()?.reseal(key)
    }

    fn random(&self, _call: &Call, len: u32) -> Result<SecretBytes> {
        if len > pkcs11::MAX_RANDOM {
            return Err(Error::InvalidInput(format!("{len} random bytes: use at most {}", pkcs11::MAX_RANDOM)));
        }
        self.hsm()?.random(len)
    }

    fn create_import_key(&self, _call: &Call, identity: &KeyIdentity, algorithm: &str) -> Result<KeyPair> {
        if self.settings.import_keys == ImportKeys::Off {
            return Err(Error::Unsupported("this backend has no import tokens: import without one".to_owned()));
        }
        if algorithm != IMPORT_KEY {
            return Err(Error::Unsupported(format!("an import key of `{algorithm}`: this backend makes {IMPORT_KEY}")));
        }
        import::make_pair(&self.hsm()?, identity, Purpose::Import, self.settings.import_keys)
    }

    fn open_import(
        &self,
        _call: &Call,
        import_key: &Key,
        identity: &KeyIdentity,
        spec: &KeySpec,
        envelope: &ImportEnvelope,
    ) -> Result<Imported> {
        import::open(&self.hsm()?, import_key, identity, spec, envelope)
    }

    fn create_transport_key(&self, _call: &Call, identity: &KeyIdentity) -> Result<KeyPair> {
        let place = match self.settings.import_keys {
            ImportKeys::Wrapped => ImportKeys::Wrapped,
            // Root keys come through it, so it is not made in a sandbox.
            _ => ImportKeys::Token,
        };
        import::make_pair(&self.transport()?, identity, Purpose::Transport, place)
    }

    fn seal_for_transport(&self, _call: &Call, key: &Key, recipient: &[u8]) -> Result<Vec<u8>> {
        transport::seal(&self.transport()?, key, recipient)
    }

    fn open_transport(
        &self,
        _call: &Call,
        transport_key: &Key,
        identity: &KeyIdentity,
        spec: &KeySpec,
        sealed: &[u8],
    ) -> Result<KeyRef> {
        transport::open(&self.transport()?, transport_key, identity, spec, sealed)
    }
}
