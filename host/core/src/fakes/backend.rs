//! A backend in the process, for tests of what is built on backends. It hides nothing: never outside tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::backend::{
    BackendDescription, BackendError, BackendKey, BackendResult, Call, CryptoBackend, DataKey, ImportEnvelope,
    ImportRejection, Imported, KeyIdentity, KeyPair, KeySpec,
};
use crate::ids::KeyId;
use crate::key::KeyKind;
use crate::ports::BoxFuture;
use crate::secret::SecretBytes;

/// Keeps the contract of `wit/crypto` without any cryptography: a key-ref holds its material in clear, and a ciphertext
/// is the plaintext with what it is bound to written before it, and a checksum behind.
///
/// Imports work likewise: a public key is some bytes, and what is encrypted to it is those bytes and the material behind
/// ([`FakeBackend::encrypt_key`]); an encrypted nonce is a checksum of material and iv and the nonce behind
/// ([`FakeBackend::encrypt_nonce`]). Algorithms, sizes and refusals are the contract's.
pub struct FakeBackend {
    name: String,
    description: BackendDescription,
    counter: AtomicU64,
    failure: Mutex<Option<BackendError>>,
    destroyed: AtomicU64,
    keeps_everything: AtomicBool,
    transports: AtomicBool,
    /// The key-refs whose keys were destroyed.
    gone: Mutex<BTreeSet<Vec<u8>>>,
    /// What comes of using each of these keys.
    fails_over: Mutex<BTreeMap<KeyId, BackendError>>,
    /// The call, counted from now, that fails by itself; 0 is none.
    fails_at: AtomicU64,
}

impl FakeBackend {
    /// A backend of this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: BackendDescription {
                name: "fake".to_owned(),
                version: "0.1.0".to_owned(),
                algorithms: vec!["AES".to_owned(), "SECRET".to_owned()],
                max_plaintext: 65_536,
                max_material: 7_500,
                features: vec!["import-token".to_owned(), "transport".to_owned()],
            },
            counter: AtomicU64::new(1),
            failure: Mutex::new(None),
            destroyed: AtomicU64::new(0),
            keeps_everything: AtomicBool::new(false),
            transports: AtomicBool::new(true),
            gone: Mutex::default(),
            fails_over: Mutex::default(),
            fails_at: AtomicU64::new(0),
        }
    }

    /// From now on every call fails with this; `None` mends it.
    pub fn fail_with(&self, error: Option<BackendError>) {
        if let Ok(mut failure) = self.failure.lock() {
            *failure = error;
        }
    }

    /// The `nth` call from now fails, as if the backend were away for a moment; 1 is the next one.
    pub fn fail_call(&self, nth: u64) {
        self.fails_at.store(nth, Ordering::Relaxed);
    }

    /// From now on every use of this key fails with this; `None` mends it.
    pub fn fail_over(&self, key: KeyId, error: Option<BackendError>) {
        if let Ok(mut fails) = self.fails_over.lock() {
            match error {
                Some(error) => fails.insert(key, error),
                None => fails.remove(&key),
            };
        }
    }

    /// Loses the key of a key-ref, as a token does that is restored from before.
    pub fn lose(&self, reference: &[u8]) {
        if let Ok(mut gone) = self.gone.lock() {
            gone.insert(reference.to_vec());
        }
    }

    /// Whether what this key-ref names was destroyed, or lost.
    pub fn is_gone(&self, reference: &[u8]) -> bool {
        self.gone.lock().is_ok_and(|gone| gone.contains(reference))
    }

    /// Whether a call that was to fail has not come yet.
    pub fn will_fail(&self) -> bool {
        self.fails_at.load(Ordering::Relaxed) > 0
    }

    /// Whether it has the key of a key-ref.
    pub fn has(&self, key: BackendKey<'_>) -> bool {
        self.open(&key).is_ok()
    }

    /// From now on no material is exported.
    pub fn refuse_exports(&self) {
        self.keeps_everything.store(true, Ordering::Relaxed);
    }

    /// From now on no key leaves for another backend, and none is taken from one.
    pub fn refuse_transports(&self) {
        self.transports.store(false, Ordering::Relaxed);
    }

    fn transports(&self) -> BackendResult<()> {
        if self.transports.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(BackendError::Unsupported("keys stay where they are".to_owned()))
    }

    /// How many keys were destroyed.
    pub fn destroyed(&self) -> u64 {
        self.destroyed.load(Ordering::Relaxed)
    }

    /// What a client of the API would send as the encrypted material: `public` is that of the import token.
    pub fn encrypt_key(public: &[u8], material: &[u8]) -> Vec<u8> {
        [public, material].concat()
    }

    /// What a client of the API would send as the encrypted nonce.
    pub fn encrypt_nonce(material: &[u8], iv: &[u8], nonce: &[u8]) -> Vec<u8> {
        [sum(&[material, iv].concat()).as_slice(), nonce].concat()
    }

    fn opened(
        &self,
        import_key: &BackendKey<'_>,
        identity: &KeyIdentity,
        spec: KeySpec,
        envelope: &ImportEnvelope,
    ) -> BackendResult<Imported> {
        let (iv, authenticated) = match envelope.algorithm.as_str() {
            "RSAES_OAEP_SHA_256" => (12, true),
            "RSAES_OAEP_SHA_1" => (16, false),
            other => return Err(BackendError::Unsupported(format!("the encryption algorithm {other}"))),
        };
        let refused = |why| Err(BackendError::ImportRejected(why));
        if envelope.iv.len() != iv {
            return refused(ImportRejection::NonceIv);
        }
        let public = import_key.reference.strip_prefix(bound(&import_key.identity).as_slice());
        let Some((&IMPORT, public)) = public.and_then(<[u8]>::split_first) else {
            return Err(BackendError::InvalidKeyRef { backend: self.name.clone() });
        };
        let material = envelope.encrypted_key.strip_prefix(public).filter(|it| matches!(it.len(), 16 | 24 | 32));
        let Some(material) = material else { return refused(ImportRejection::Material) };
        let bits = material.iter().map(|_| u8::BITS).sum();
        if spec.bits != 0 && spec.bits != bits {
            return refused(ImportRejection::Material);
        }
        let check = sum(&[material, envelope.iv.as_slice()].concat());
        match envelope.encrypted_nonce.strip_prefix(check.as_slice()) {
            None => refused(ImportRejection::NonceIv),
            Some(nonce) if nonce == envelope.expected_nonce.as_slice() => {
                Ok(Imported { reference: self.reference(identity, spec.kind, material), bits })
            }
            Some(_) if authenticated => refused(ImportRejection::Nonce),
            Some(_) => refused(ImportRejection::NonceIv),
        }
    }

    fn healthy(&self) -> BackendResult<()> {
        if self.fails_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |nth| nth.checked_sub(1)) == Ok(1) {
            return Err(BackendError::Unavailable {
                backend: self.name.clone(),
                detail: "away".to_owned(),
                retry_after: None,
            });
        }
        match self.failure.lock() {
            Ok(failure) => failure.clone().map_or(Ok(()), Err),
            Err(_) => Ok(()),
        }
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        let seed = self.counter.fetch_add(1, Ordering::Relaxed);
        seed.to_be_bytes().into_iter().cycle().take(len).collect()
    }

    fn reference(&self, identity: &KeyIdentity, kind: KeyKind, material: &[u8]) -> Vec<u8> {
        let kind = [u8::from(kind.is_extractable())];
        let reference = [bound(identity).as_slice(), self.name.as_bytes(), &kind, material].concat();
        if let Ok(mut gone) = self.gone.lock() {
            gone.remove(&reference);
        }
        reference
    }

    fn open(&self, key: &BackendKey<'_>) -> BackendResult<(KeyKind, Vec<u8>)> {
        let failure = self.fails_over.lock().ok().and_then(|fails| fails.get(&key.identity.key).cloned());
        if let Some(error) = failure {
            return Err(error);
        }
        if self.is_gone(key.reference) {
            return Err(BackendError::KeyNotFound);
        }
        let rest =
            key.reference.strip_prefix([bound(&key.identity).as_slice(), self.name.as_bytes()].concat().as_slice());
        match rest.and_then(<[u8]>::split_first) {
            Some((0, material)) => Ok((KeyKind::Root, material.to_owned())),
            Some((1, material)) => Ok((KeyKind::Standard, material.to_owned())),
            _ => Err(BackendError::InvalidKeyRef { backend: self.name.clone() }),
        }
    }

    fn seal(&self, key: &BackendKey<'_>, plaintext: &[u8], aad: &[u8]) -> BackendResult<Vec<u8>> {
        let (_, material) = self.open(key)?;
        let mut wrapped = prefix(key, &material, aad);
        let fresh = self.bytes(8);
        wrapped.splice(0..0, fresh);
        wrapped.extend_from_slice(plaintext);
        wrapped.extend_from_slice(&sum(&wrapped));
        Ok(wrapped)
    }

    fn unseal(&self, key: &BackendKey<'_>, wrapped: &[u8], aad: &[u8]) -> BackendResult<Vec<u8>> {
        let (_, material) = self.open(key)?;
        let expected = prefix(key, &material, aad);
        let sound = wrapped.split_last_chunk::<8>().filter(|(body, check)| sum(body) == **check);
        let rest = sound.and_then(|(body, _)| body.get(8..)?.strip_prefix(expected.as_slice()));
        rest.map(<[u8]>::to_vec).ok_or(BackendError::AuthenticationFailed)
    }
}

/// Where a key-ref says whether it is a root key's (0) or a standard key's (1): it is an import key's.
const IMPORT: u8 = 2;

/// The same, of a transport key.
const TRANSPORT: u8 = 3;

fn bound(identity: &KeyIdentity) -> Vec<u8> {
    let parts: [&[u8]; 3] = [identity.instance.as_bytes(), identity.key.as_bytes(), identity.version.as_bytes()];
    parts.concat()
}

/// FNV-1a: catches accidents, not attackers.
fn sum(bytes: &[u8]) -> [u8; 8] {
    let mix = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix).to_be_bytes()
}

fn prefix(key: &BackendKey<'_>, material: &[u8], aad: &[u8]) -> Vec<u8> {
    let mut prefix = bound(&key.identity);
    for part in [material, aad] {
        prefix.extend_from_slice(&(part.len() as u64).to_be_bytes());
        prefix.extend_from_slice(part);
    }
    prefix
}

fn ready<'a, T: Send + 'a>(result: BackendResult<T>) -> BoxFuture<'a, BackendResult<T>> {
    Box::pin(std::future::ready(result))
}

impl CryptoBackend for FakeBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &BackendDescription {
        &self.description
    }

    fn probe<'a>(&'a self, _: Call<'a>) -> BoxFuture<'a, BackendResult<()>> {
        ready(self.healthy())
    }

    fn generate_key<'a>(
        &'a self,
        _: Call<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        let material = self.bytes(spec.bits as usize / 8);
        ready(self.healthy().map(|()| self.reference(&identity, spec.kind, &material)))
    }

    fn import_key<'a>(
        &'a self,
        _: Call<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        material: &'a SecretBytes,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        ready(self.healthy().and_then(|()| {
            if material.len() * 8 == spec.bits as usize {
                Ok(self.reference(&identity, spec.kind, material.expose()))
            } else {
                Err(BackendError::InvalidInput("the material has another size".to_owned()))
            }
        }))
    }

    fn export_key<'a>(&'a self, _: Call<'a>, key: BackendKey<'a>) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        let keeps = self.keeps_everything.load(Ordering::Relaxed);
        ready(self.healthy().and_then(|()| match self.open(&key)? {
            (KeyKind::Standard, _) if keeps => Err(BackendError::Busy(None)),
            (KeyKind::Standard, material) => Ok(SecretBytes::new(material)),
            (KeyKind::Root, _) => Err(BackendError::Unsupported("root keys stay".to_owned())),
        }))
    }

    fn wrap<'a>(
        &'a self,
        _: Call<'a>,
        key: BackendKey<'a>,
        plaintext: &'a SecretBytes,
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        ready(self.healthy().and_then(|()| self.seal(&key, plaintext.expose(), aad)))
    }

    fn generate_data_key<'a>(
        &'a self,
        _: Call<'a>,
        key: BackendKey<'a>,
        len: u32,
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<DataKey>> {
        let plaintext = self.bytes(len as usize);
        ready(self.healthy().and_then(|()| {
            let wrapped = self.seal(&key, &plaintext, aad)?;
            Ok(DataKey { plaintext: SecretBytes::new(plaintext), wrapped })
        }))
    }

    fn unwrap<'a>(
        &'a self,
        _: Call<'a>,
        key: BackendKey<'a>,
        wrapped: &'a [u8],
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        ready(self.healthy().and_then(|()| self.unseal(&key, wrapped, aad)).map(SecretBytes::new))
    }

    fn rewrap<'a>(
        &'a self,
        _: Call<'a>,
        source: BackendKey<'a>,
        target: BackendKey<'a>,
        wrapped: &'a [u8],
        source_aad: &'a [u8],
        target_aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        ready(self.healthy().and_then(|()| {
            let plaintext = self.unseal(&source, wrapped, source_aad)?;
            self.seal(&target, &plaintext, target_aad)
        }))
    }

    fn destroy_key<'a>(&'a self, _: Call<'a>, key: BackendKey<'a>) -> BoxFuture<'a, BackendResult<()>> {
        self.destroyed.fetch_add(1, Ordering::Relaxed);
        ready(self.healthy().map(|()| {
            if let Ok(mut gone) = self.gone.lock() {
                gone.insert(key.reference.to_vec());
            }
        }))
    }

    fn random<'a>(&'a self, _: Call<'a>, len: u32) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        let bytes = self.bytes(len as usize);
        ready(self.healthy().map(|()| SecretBytes::new(bytes)))
    }

    fn create_import_key<'a>(
        &'a self,
        _: Call<'a>,
        identity: KeyIdentity,
        algorithm: &'a str,
    ) -> BoxFuture<'a, BackendResult<KeyPair>> {
        let public = [b"a public key".as_slice(), &self.bytes(20)].concat();
        ready(self.healthy().and_then(|()| {
            if algorithm != "RSA-4096" {
                return Err(BackendError::Unsupported(format!("an import key of {algorithm}")));
            }
            Ok(KeyPair { private: [bound(&identity).as_slice(), &[IMPORT], &public].concat(), public })
        }))
    }

    fn open_import<'a>(
        &'a self,
        _: Call<'a>,
        import_key: BackendKey<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        envelope: &'a ImportEnvelope,
    ) -> BoxFuture<'a, BackendResult<Imported>> {
        ready(self.healthy().and_then(|()| self.opened(&import_key, &identity, spec, envelope)))
    }

    fn create_transport_key<'a>(&'a self, _: Call<'a>, identity: KeyIdentity) -> BoxFuture<'a, BackendResult<KeyPair>> {
        let public = [b"a transport key of ", self.name.as_bytes(), &self.bytes(20)].concat();
        ready(
            self.healthy()
                .and_then(|()| self.transports())
                .map(|()| KeyPair { private: [bound(&identity).as_slice(), &[TRANSPORT], &public].concat(), public }),
        )
    }

    fn seal_for_transport<'a>(
        &'a self,
        _: Call<'a>,
        key: BackendKey<'a>,
        recipient: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        ready(self.healthy().and_then(|()| {
            self.transports()?;
            let (_, material) = self.open(&key)?;
            Ok([recipient, &material].concat())
        }))
    }

    fn open_transport<'a>(
        &'a self,
        _: Call<'a>,
        transport_key: BackendKey<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        ready(self.healthy().and_then(|()| {
            self.transports()?;
            if self.is_gone(transport_key.reference) {
                return Err(BackendError::KeyNotFound);
            }
            let public = transport_key.reference.strip_prefix(bound(&transport_key.identity).as_slice());
            let Some((&TRANSPORT, public)) = public.and_then(<[u8]>::split_first) else {
                return Err(BackendError::InvalidKeyRef { backend: self.name.clone() });
            };
            let material = sealed.strip_prefix(public).ok_or(BackendError::AuthenticationFailed)?;
            if material.len() * 8 != spec.bits as usize {
                return Err(BackendError::InvalidInput("the material has another size".to_owned()));
            }
            Ok(self.reference(&identity, spec.kind, material))
        }))
    }
}
