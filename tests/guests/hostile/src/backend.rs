//! The guest as a backend. Needs the grants `log` and `random`.

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::backend::{
    Backend, Call, DataKey, Description, Error, Key, KeyIdentity, KeyKind, KeyRef, KeySpec, Result, SecretBytes,
};
use keygate_plugin_sdk::host::random;

use crate::deeds::{Deed, HUGE, Settings, count};
use crate::toy;

/// The longest plaintext and material, in bytes.
const MAX: u32 = 65_536;

/// The backend.
pub struct Hostile {
    settings: Settings,
}

impl Hostile {
    /// Misbehaves, if this is the place for it, and the time: who tries the plugin out while loading it finds nothing,
    /// unless the settings say so.
    fn enter_in(&self, call: &Call, function: &str) -> Option<Deed> {
        if call.request_id == "load" && !self.settings.loading { None } else { self.enter(function) }
    }

    /// Misbehaves, if this is the place for it.
    fn enter(&self, function: &str) -> Option<Deed> {
        let deed = self.settings.enter(function)?;
        ask(deed);
        Some(deed)
    }

    fn open<'a>(&self, key: &'a Key) -> Result<(u8, &'a [u8])> {
        toy::open_key_ref(&key.reference, &key.identity).ok_or(Error::InvalidKeyRef)
    }
}

/// The deeds that ask the host for randomness.
fn ask(deed: Deed) {
    match deed {
        Deed::Random => drop(random::bytes(16)),
        Deed::RandomHuge => drop(random::bytes(1 << 30)),
        Deed::RandomFlood => (0..17).for_each(|_| drop(random::bytes(4_096))),
        _ => {}
    }
}

fn number(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Root => 1,
        KeyKind::Standard => 2,
    }
}

/// The answer to a deed that every function with bytes in its answer knows.
fn bytes(deed: Option<Deed>, bad: usize, echo: &[u8]) -> Option<Vec<u8>> {
    match deed? {
        Deed::Output => Some(vec![0x55; HUGE]),
        Deed::BadOutput => Some(vec![0x55; bad]),
        Deed::Echo => Some(echo.to_vec()),
        Deed::Remember => Some(count().to_be_bytes().to_vec()),
        _ => None,
    }
}

impl Backend for Hostile {
    fn configure(settings: &str) -> core::result::Result<Self, SettingsError> {
        let settings = Settings::parse(settings)?;
        let deed = settings.enter("configure");
        deed.into_iter().for_each(ask);
        match deed {
            Some(Deed::Output) => Err(SettingsError { path: String::new(), message: "x".repeat(HUGE) }),
            Some(Deed::BadOutput) => Err(SettingsError { path: String::new(), message: "x".repeat(1_025) }),
            _ => Ok(Self { settings }),
        }
    }

    fn describe(&self) -> Description {
        let name = match self.enter("describe") {
            Some(Deed::Output) => "x".repeat(HUGE),
            Some(Deed::BadOutput) => "x".repeat(65),
            _ => "hostile-backend".to_owned(),
        };
        Description {
            name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            algorithms: vec!["AES".to_owned(), "SECRET".to_owned()],
            max_plaintext: MAX,
            max_material: 7_500,
            features: Vec::new(),
        }
    }

    fn probe(&self, _call: &Call) -> Result<()> {
        self.enter("probe");
        Ok(())
    }

    fn generate_key(&self, call: &Call, identity: &KeyIdentity, spec: &KeySpec) -> Result<KeyRef> {
        // Out of bounds: no key-ref is empty.
        if let Some(answer) = bytes(self.enter_in(call, "generate-key"), 0, identity.key_id.as_bytes()) {
            return Ok(answer);
        }
        Ok(toy::key_ref(number(spec.kind), identity, &random::bytes(spec.bits / 8)))
    }

    fn import_key(&self, call: &Call, identity: &KeyIdentity, spec: &KeySpec, material: &[u8]) -> Result<KeyRef> {
        // Out of bounds: a key-ref has at most 16,384 bytes.
        if let Some(answer) = bytes(self.enter_in(call, "import-key"), 16_385, material) {
            return Ok(answer);
        }
        Ok(toy::key_ref(number(spec.kind), identity, material))
    }

    fn export_key(&self, call: &Call, key: &Key) -> Result<SecretBytes> {
        // Out of bounds: more than `max-material`.
        if let Some(answer) = bytes(self.enter_in(call, "export-key"), 7_501, &key.reference) {
            return Ok(answer.into());
        }
        match self.open(key)? {
            (2, material) => Ok(material.to_vec().into()),
            _ => Err(Error::Unsupported("the material of a root key never leaves".to_owned())),
        }
    }

    fn wrap(&self, call: &Call, key: &Key, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
        // Out of bounds: at most 1,024 bytes longer than the plaintext.
        if let Some(answer) = bytes(self.enter_in(call, "wrap"), plaintext.len() + 1_025, plaintext) {
            return Ok(answer);
        }
        let (_, material) = self.open(key)?;
        Ok(toy::wrap(material, &key.identity, &random::bytes(toy::NONCE as u32), plaintext, aad))
    }

    fn generate_data_key(&self, call: &Call, key: &Key, len: u32, aad: &[u8]) -> Result<DataKey> {
        // Out of bounds: not the length that was asked for.
        if let Some(plaintext) = bytes(self.enter_in(call, "generate-data-key"), len as usize + 1, aad) {
            return Ok(DataKey { plaintext: plaintext.into(), wrapped: vec![0x55; 64] });
        }
        let (_, material) = self.open(key)?;
        let plaintext = random::bytes(len);
        let wrapped = toy::wrap(material, &key.identity, &random::bytes(toy::NONCE as u32), &plaintext, aad);
        Ok(DataKey { plaintext, wrapped })
    }

    fn unwrap(&self, call: &Call, key: &Key, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes> {
        // Out of bounds: more than `max-plaintext`.
        if let Some(answer) = bytes(self.enter_in(call, "unwrap"), MAX as usize + 1, wrapped) {
            return Ok(answer.into());
        }
        let (_, material) = self.open(key)?;
        let plaintext = toy::unwrap(material, &key.identity, wrapped, aad).ok_or(Error::AuthenticationFailed)?;
        Ok(plaintext.into())
    }

    fn rewrap(
        &self,
        call: &Call,
        source: &Key,
        target: &Key,
        wrapped: &[u8],
        source_aad: &[u8],
        target_aad: &[u8],
    ) -> Result<Vec<u8>> {
        // Out of bounds: more than 1,024 bytes longer than any plaintext that was in it.
        if let Some(answer) = bytes(self.enter_in(call, "rewrap"), wrapped.len() + 1_025, wrapped) {
            return Ok(answer);
        }
        let (_, from) = self.open(source)?;
        let (_, to) = self.open(target)?;
        let plaintext = toy::unwrap(from, &source.identity, wrapped, source_aad).ok_or(Error::AuthenticationFailed)?;
        Ok(toy::wrap(to, &target.identity, &random::bytes(toy::NONCE as u32), &plaintext, target_aad))
    }

    fn destroy_key(&self, call: &Call, _key: &Key) -> Result<()> {
        self.enter_in(call, "destroy-key");
        Ok(())
    }

    fn reseal_key(&self, call: &Call, _key: &Key) -> Result<Option<KeyRef>> {
        self.enter_in(call, "reseal-key");
        Ok(None)
    }

    fn random(&self, call: &Call, len: u32) -> Result<SecretBytes> {
        // Out of bounds: not the length that was asked for.
        if let Some(answer) = bytes(self.enter_in(call, "random"), len as usize + 1, &[]) {
            return Ok(answer.into());
        }
        Ok(random::bytes(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call { request_id: "r".into(), deadline_ms: 1_000 }
    }

    fn identity(key: &str) -> KeyIdentity {
        KeyIdentity { instance_id: "i".into(), key_id: key.into(), version_id: "v".into() }
    }

    fn spec(kind: KeyKind) -> KeySpec {
        KeySpec { algorithm: "AES".into(), bits: 256, kind }
    }

    #[test]
    fn works_when_it_is_not_asked_to_misbehave() {
        let toy = Hostile::configure("{}").unwrap();
        toy.probe(&call()).unwrap();
        let reference = toy.generate_key(&call(), &identity("k"), &spec(KeyKind::Root)).unwrap();
        let key = Key { identity: identity("k"), reference };
        let one = toy.wrap(&call(), &key, b"text", b"aad").unwrap();
        let two = toy.wrap(&call(), &key, b"text", b"aad").unwrap();
        assert_ne!(one, two);
        assert_eq!(*toy.unwrap(&call(), &key, &one, b"aad").unwrap(), b"text");
        assert_eq!(toy.unwrap(&call(), &key, &one, b"other"), Err(Error::AuthenticationFailed));
        assert!(matches!(toy.export_key(&call(), &key), Err(Error::Unsupported(_))));

        let moved = Key { identity: identity("other"), reference: key.reference.clone() };
        assert_eq!(toy.unwrap(&call(), &moved, &one, b"aad"), Err(Error::InvalidKeyRef));

        let reference = toy.import_key(&call(), &identity("s"), &spec(KeyKind::Standard), &[9; 32]).unwrap();
        let standard = Key { identity: identity("s"), reference };
        assert_eq!(*toy.export_key(&call(), &standard).unwrap(), [9; 32]);

        let rewrapped = toy.rewrap(&call(), &key, &standard, &one, b"aad", b"new").unwrap();
        assert_eq!(*toy.unwrap(&call(), &standard, &rewrapped, b"new").unwrap(), b"text");
        let data = toy.generate_data_key(&call(), &key, 32, b"").unwrap();
        assert_eq!(toy.unwrap(&call(), &key, &data.wrapped, b"").unwrap(), data.plaintext);
    }

    #[test]
    fn answers_out_of_bounds_on_request() {
        let settings = |text: &str| Hostile::configure(text).unwrap();
        let key = Key { identity: identity("k"), reference: vec![1] };
        let wrap = |plugin: Hostile| plugin.wrap(&call(), &key, b"text", b"").unwrap();
        assert_eq!(wrap(settings(r#"{"in":"wrap","do":"output"}"#)).len(), HUGE);
        assert_eq!(wrap(settings(r#"{"in":"wrap","do":"bad-output"}"#)).len(), 4 + 1_025);
        assert_eq!(wrap(settings(r#"{"in":"wrap","do":"echo"}"#)), b"text");
        let remembers = settings(r#"{"in":"random","do":"remember"}"#);
        assert_eq!(*remembers.random(&call(), 8).unwrap(), 1_u32.to_be_bytes());
        assert_eq!(*remembers.random(&call(), 8).unwrap(), 2_u32.to_be_bytes(), "one sandbox, two calls");
    }
}
