//! Imports under an import token: its key pair, and opening what was encrypted to it.

use keygate_plugin_rsa::{Hash as SandboxHash, Random, RsaPair};
use keygate_plugin_sdk::backend::{
    Error, ImportEnvelope, ImportRejection, Imported, Key, KeyIdentity, KeyKind, KeyPair, KeySpec, Result, SecretBytes,
};
use keygate_plugin_sdk::host::pkcs11::{self, Sealed, Usage, Wrapping};
use subtle::ConstantTimeEq;

use crate::errors::{is_missing, is_of_the_input};
use crate::hsm::{Hsm, Opened, lasting, session, usage};
use crate::identity::{self, Origin, Shape};
use crate::keyref::{self, Inside, TAG};
use crate::settings::{Hash, ImportKeys, Keep, Settings};
use crate::spec::{Algorithm, Purpose};

/// The size of the key pairs, in bits.
const BITS: u32 = 4_096;
/// The size of what is encrypted to one, in bytes.
const MODULUS: usize = 512;
/// The longest nonce of an import token, in bytes (`keygate:crypto/types`).
const MAX_NONCE: usize = 64;

fn rejected(why: ImportRejection) -> Error {
    Error::ImportRejected(why)
}

/// Makes a key pair. `place` is not [`ImportKeys::Off`].
pub(crate) fn make_pair(hsm: &Hsm<'_>, identity: &KeyIdentity, purpose: Purpose, place: ImportKeys) -> Result<KeyPair> {
    let making = |error| hsm.explain("to make an RSA key pair", error);
    if place == ImportKeys::Sandbox {
        let pair = RsaPair::generate(&mut random(hsm))?;
        let private = hsm.seal(identity, purpose, Algorithm::Rsa, Inside::Payload, &pair.primes())?;
        return Ok(KeyPair { private, public: pair.public() });
    }
    if place == ImportKeys::Wrapped {
        let pair = hsm.token().generate_key_pair(&session("RSA", usage(purpose), true), BITS).map_err(making)?;
        check_oaep(hsm, &pair, purpose)?;
        let private = hsm.keep_wrapped(identity, purpose, Algorithm::Rsa, &pair)?;
        return Ok(KeyPair { private, public: pair.public_key().map_err(making)? });
    }
    let shape = Shape { purpose, algorithm: Algorithm::Rsa, origin: Origin::Made, bytes: 0 };
    let id = identity::object_id(identity, shape)?;
    hsm.mark()?;
    let pair = match hsm.token().generate_key_pair(&lasting("RSA", usage(purpose), &id), BITS) {
        Ok(pair) => pair,
        // It was made before, and the answer was lost.
        Err(pkcs11::Error::AlreadyExists) => hsm.there(&id)?,
        Err(error) => return Err(making(error)),
    };
    if let Err(unfit) = check_oaep(hsm, &pair, purpose) {
        // Nobody has its key-ref. If it cannot be destroyed, its name still says whose it is.
        let _ = hsm.token().destroy_key(&id);
        return Err(unfit);
    }
    Ok(KeyPair { private: keyref::of_object(&id), public: pair.public_key().map_err(making)? })
}

/// Whether the token has the hashes that the settings promise: told by what it says to bytes that are nobody's.
pub(crate) fn check_oaep(hsm: &Hsm<'_>, pair: &pkcs11::Key, purpose: Purpose) -> Result<()> {
    let nonsense = [1; MODULUS];
    let missing = |answer: pkcs11::Result<()>| answer.is_err_and(|error| is_missing(&error));
    let settings = hsm.settings();
    if purpose == Purpose::Transport {
        let Some(hash) = settings.transport.hash() else { return Ok(()) };
        let template = session("AES", Usage::UNWRAP, false);
        let answer = pair.unwrap_key(&Wrapping::RsaOaep(hash.digest()), &nonsense, &template);
        if missing(answer.map(|_| ())) {
            return Err(Error::Unavailable(format!(
                "token `{}` does not do CKM_RSA_PKCS_OAEP with {}: set `transport` to the other hash, or to `off`",
                settings.token,
                hash.name()
            )));
        }
        return Ok(());
    }
    for hash in settings.oaep.iter().copied() {
        if missing(pair.decrypt_oaep(hash.digest(), &nonsense).map(|_| ())) {
            return Err(Error::Unavailable(format!(
                "token `{}` does not do CKM_RSA_PKCS_OAEP with {name}: set `import_keys` to `sandbox` (RSA is then done \
                 in the sandbox, and its private keys are sealed by the token), or take `{name}` out of `oaep`, or \
                 set `import_keys` to `off`",
                settings.token,
                name = hash.name()
            )));
        }
    }
    Ok(())
}

/// The token's generator, for RSA in the sandbox.
fn random(hsm: &Hsm<'_>) -> Random<impl FnMut(u32) -> Result<SecretBytes>> {
    Random::new(|len| hsm.random(len))
}

/// How an import was made: the algorithm says how the material is encrypted, and with it how the nonce is.
struct Scheme<'a> {
    hash: Hash,
    envelope: &'a ImportEnvelope,
}

impl<'a> Scheme<'a> {
    /// What an envelope says it is. Looks at nothing secret, so that nobody pays for RSA to learn of a wrong iv.
    fn of(envelope: &'a ImportEnvelope, settings: &Settings) -> Result<Self> {
        if !(1..=MAX_NONCE).contains(&envelope.expected_nonce.len()) {
            return Err(Error::Internal("the host expects a nonce that is not 1 to 64 bytes long".to_owned()));
        }
        let (hash, iv) = match envelope.algorithm.as_str() {
            "RSAES_OAEP_SHA_256" if settings.takes(Hash::Sha256) => (Hash::Sha256, 12),
            "RSAES_OAEP_SHA_1" if settings.takes(Hash::Sha1) => (Hash::Sha1, 16),
            _ => return Err(Error::Unsupported(unknown(settings))),
        };
        if envelope.iv.len() != iv {
            return Err(rejected(ImportRejection::NonceIv));
        }
        if envelope.encrypted_key.len() != MODULUS {
            return Err(rejected(ImportRejection::Material));
        }
        Ok(Self { hash, envelope })
    }

    /// Whether the encrypted nonce is the expected one, encrypted under the material. With CBC there is one answer for all
    /// that differs: to tell wrong padding from a wrong nonce would be an oracle.
    fn check_nonce(&self, hsm: &Hsm<'_>, material: &pkcs11::Key) -> Result<()> {
        let (iv, sealed) = (&self.envelope.iv, &self.envelope.encrypted_nonce);
        let (opened, wrong) = match self.hash {
            Hash::Sha256 if sealed.len() <= TAG => return Err(rejected(ImportRejection::NonceIv)),
            Hash::Sha256 => {
                let sealed = Sealed { iv: iv.clone(), ciphertext: sealed.clone() };
                (material.open(&sealed, b""), ImportRejection::Nonce)
            }
            Hash::Sha1 if sealed.is_empty() || !sealed.len().is_multiple_of(16) => {
                return Err(rejected(ImportRejection::NonceIv));
            }
            Hash::Sha1 => (material.decrypt_cbc(iv, sealed), ImportRejection::NonceIv),
        };
        match opened {
            Ok(nonce) if bool::from(nonce.ct_eq(&self.envelope.expected_nonce)) => Ok(()),
            Ok(_) => Err(rejected(wrong)),
            Err(error) if is_of_the_input(&error) => Err(rejected(ImportRejection::NonceIv)),
            Err(error) => Err(hsm.explain("to open an import's nonce", error)),
        }
    }
}

/// For the caller: what is served.
fn unknown(settings: &Settings) -> String {
    let served = match (settings.takes(Hash::Sha256), settings.takes(Hash::Sha1)) {
        (true, true) => "use RSAES_OAEP_SHA_256 (or RSAES_OAEP_SHA_1 with an iv of 16 bytes)",
        (true, false) => "use RSAES_OAEP_SHA_256",
        (false, true) => "use RSAES_OAEP_SHA_1 with an iv of 16 bytes",
        (false, false) => "import without an import token",
    };
    format!("this encryption algorithm: {served}")
}

/// Opens an import.
pub(crate) fn open(
    hsm: &Hsm<'_>,
    import_key: &Key,
    identity: &KeyIdentity,
    spec: &KeySpec,
    envelope: &ImportEnvelope,
) -> Result<Imported> {
    if spec.algorithm != "AES" {
        return Err(Error::Unsupported(format!("a {} under an import token: import an AES key", spec.algorithm)));
    }
    let scheme = Scheme::of(envelope, hsm.settings())?;
    let pair = hsm.open_ref(import_key)?;
    if pair.purpose() != Purpose::Import {
        return Err(Error::InvalidKeyRef);
    }
    if let Opened::Payload(_, primes) = &pair {
        let hash = match scheme.hash {
            Hash::Sha1 => SandboxHash::Sha1,
            Hash::Sha256 => SandboxHash::Sha256,
        };
        let material = RsaPair::from_primes(primes)?.decrypt(&mut random(hsm), hash, &envelope.encrypted_key)?;
        return keep_material(hsm, identity, spec, &scheme, material);
    }
    let pair = hsm.handle(&pair, false)?;
    if spec.kind == KeyKind::Standard {
        // Its owner gets it back, so it does not stay in the token.
        let material = match pair.decrypt_oaep(scheme.hash.digest(), &envelope.encrypted_key) {
            Ok(material) => Some(material),
            Err(error) => of_the_input(hsm, error)?,
        };
        return keep_material(hsm, identity, spec, &scheme, material);
    }
    keep_in_token(hsm, &pair, identity, spec, &scheme)
}

/// A failure of a private-key operation: `None` where it lies in the envelope.
fn of_the_input<T>(hsm: &Hsm<'_>, error: pkcs11::Error) -> Result<Option<T>> {
    if is_of_the_input(&error) { Ok(None) } else { Err(hsm.explain("to open an import", error)) }
}

/// Keeps material that was opened in the sandbox.
fn keep_material(
    hsm: &Hsm<'_>,
    identity: &KeyIdentity,
    spec: &KeySpec,
    scheme: &Scheme<'_>,
    material: Option<SecretBytes>,
) -> Result<Imported> {
    let material = material.filter(|material| right_size(material.len(), spec)).ok_or(MATERIAL)?;
    let template = session("AES", usage(Purpose::Root), false);
    let passing = hsm.token().import_key(&template, &material);
    scheme.check_nonce(hsm, &passing.map_err(|error| hsm.explain("to bring an import into the token", error))?)?;
    let key_ref = match spec.kind {
        KeyKind::Root => hsm.take_root(identity, &material)?,
        KeyKind::Standard => hsm.seal(identity, Purpose::Standard, Algorithm::Aes, Inside::Payload, &material)?,
    };
    Ok(Imported { key_ref, bits: material.len() as u32 * 8 })
}

/// Keeps a root key without its bytes ever leaving the token.
fn keep_in_token(
    hsm: &Hsm<'_>,
    pair: &pkcs11::Key,
    identity: &KeyIdentity,
    spec: &KeySpec,
    scheme: &Scheme<'_>,
) -> Result<Imported> {
    let how = Wrapping::RsaOaep(scheme.hash.digest());
    let encrypted = &scheme.envelope.encrypted_key;
    let template = session("AES", usage(Purpose::Root), true);
    let passing = match pair.unwrap_key(&how, encrypted, &template) {
        Ok(key) => key,
        Err(error) => of_the_input(hsm, error)?.ok_or(MATERIAL)?,
    };
    let bytes = measure(hsm, &passing)?.filter(|bytes| right_size(*bytes, spec)).ok_or(MATERIAL)?;
    // Modules there are that unwrap 15 bytes as an AES key, and say that they have no such mechanism when it is used
    // (SoftHSM): the probe has seen that they have.
    match passing.seal(hsm.iv(), b"fit?", b"") {
        Ok(_) => {}
        Err(error) if is_missing(&error) => return Err(MATERIAL),
        Err(error) => of_the_input(hsm, error)?.ok_or(MATERIAL)?,
    }
    scheme.check_nonce(hsm, &passing)?;
    let key_ref = match hsm.settings().keep {
        Keep::Wrapped => hsm.keep_wrapped(identity, Purpose::Root, Algorithm::Aes, &passing)?,
        Keep::Token => hsm.give_object(
            identity,
            (Origin::Given, bytes as u32),
            |template| pair.unwrap_key(&how, encrypted, template),
            || Ok(passing),
        )?,
    };
    Ok(Imported { key_ref, bits: bytes as u32 * 8 })
}

const MATERIAL: Error = Error::ImportRejected(ImportRejection::Material);

/// One of the sizes of AES keys, and the one that was said.
pub(crate) fn right_size(bytes: usize, spec: &KeySpec) -> bool {
    // Nothing here is longer than 512 bytes.
    matches!(bytes, 16 | 24 | 32) && (spec.bits == 0 || spec.bits == bytes as u32 * 8)
}

/// The size of an exportable AES key in bytes, told by how long it is when wrapped, beside one of which the size is known:
/// a token says nothing else about it. The key that wraps them ends with the call. `None` if it has no size of an AES key.
pub(crate) fn measure(hsm: &Hsm<'_>, key: &pkcs11::Key) -> Result<Option<usize>> {
    let failed = |error| hsm.explain("to measure a key", error);
    let make = |usage, exportable| hsm.token().generate_key(&session("AES", usage, exportable), 128).map_err(failed);
    let (wrapper, known) = (make(Usage::WRAP, false)?, make(Usage::ENCRYPT, true)?);
    let how = hsm.settings().wrap.wrapping();
    let more = wrapper.wrap_key(&how, &known).map_err(failed)?.len().checked_sub(16);
    let size = match wrapper.wrap_key(&how, key) {
        Ok(wrapped) => wrapped.len(),
        // The other was wrapped in the same way.
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return of_the_input(hsm, error),
    };
    Ok(more.and_then(|more| size.checked_sub(more)))
}
