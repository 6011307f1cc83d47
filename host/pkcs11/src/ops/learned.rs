//! What is learned of a token by trying, with keys that nobody uses: whether it fills in an iv (tried when it is first needed,
//! once a link), and whether a refusal speaks of the input or of the token (tried each time).
//!
//! A token should answer a wrong tag with CKR_ENCRYPTED_DATA_INVALID or, since 3.2, CKR_AEAD_DECRYPT_FAILED. Some answer
//! CKR_GENERAL_ERROR or CKR_FUNCTION_FAILED, which would otherwise speak against the token's health: then a caller with a
//! wrong ciphertext could open the circuit breaker. Nor must a broken token be told as a wrong ciphertext.

use std::sync::{Mutex, OnceLock};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::handles::Known;
use crate::key::{Algorithm, Digest, KeyTemplate, Usage, Wrapping};
use crate::link::Handle;
use crate::ops::cipher::{gcm_open, gcm_seal};
use crate::ops::{oaep, template, wrapping};
use crate::pending::lock;
use crate::rv::{self, Means, Rebuild};

#[derive(Debug, Default)]
pub(crate) struct Learned {
    fills_iv: OnceLock<bool>,
    pair_tells: OnceLock<bool>,
    /// What right and wrong ciphertexts are tried with. The object lives as long as the link: in it no session is closed.
    sample: Mutex<Option<Sample>>,
}

/// A key that nobody uses, and what it sealed.
#[derive(Clone, Debug)]
struct Sample {
    key: Handle,
    iv: [u8; 12],
    sealed: Vec<u8>,
}

/// A session key for one trial, destroyed with it.
pub(crate) struct Trial<'a, 'b>(&'a Conn<'b>, pub(crate) Handle);

impl<'a, 'b> Trial<'a, 'b> {
    pub(crate) fn generate(conn: &'a Conn<'b>, exportable: bool) -> Result<Self, Failure> {
        Self::generate_of(conn, exportable, 32)
    }

    fn generate_of(conn: &'a Conn<'b>, exportable: bool, bytes: u64) -> Result<Self, Failure> {
        let mut attributes = Self::template(exportable);
        attributes.push(Attribute::ValueLen(bytes.into()));
        Ok(Self(conn, conn.session()?.generate_key(&Mechanism::AesKeyGen, &attributes)?))
    }

    pub(crate) fn import(conn: &'a Conn<'b>, value: &[u8]) -> Result<Self, Failure> {
        Self::import_as(conn, value, true)
    }

    /// For CMACs and nothing else: of this value, or of the token's making.
    pub(crate) fn macs(conn: &'a Conn<'b>, value: Option<&[u8]>) -> Result<Self, Failure> {
        let usage = Usage { mac: true, ..Usage::default() };
        let template = KeyTemplate { algorithm: Algorithm::Aes, id: None, usage, persistent: false, exportable: false };
        let mut attributes = template::key(&template, "");
        match value {
            Some(value) => {
                attributes.push(Attribute::Value(value.to_vec()));
                Ok(Self(conn, conn.session()?.create_object(&attributes)?))
            }
            None => {
                attributes.push(Attribute::ValueLen(32.into()));
                Ok(Self(conn, conn.session()?.generate_key(&Mechanism::AesKeyGen, &attributes)?))
            }
        }
    }

    fn import_as(conn: &'a Conn<'b>, value: &[u8], exportable: bool) -> Result<Self, Failure> {
        let mut attributes = Self::template(exportable);
        attributes.push(Attribute::Value(value.to_vec()));
        Ok(Self(conn, conn.session()?.create_object(&attributes)?))
    }

    /// It stays, as long as its session.
    fn keep(self) {
        std::mem::forget(self);
    }

    pub(crate) fn adopt(conn: &'a Conn<'b>, handle: Handle) -> Self {
        Self(conn, handle)
    }

    pub(crate) fn template(exportable: bool) -> Vec<Attribute> {
        let usage = Usage { encrypt: true, decrypt: true, wrap: true, unwrap: true, mac: false };
        let template = KeyTemplate { algorithm: Algorithm::Aes, id: None, usage, persistent: false, exportable };
        template::key(&template, "")
    }
}

impl Drop for Trial<'_, '_> {
    fn drop(&mut self) {
        if let Ok(session) = self.0.session() {
            let _ = session.destroy_object(self.1);
        }
    }
}

/// What was done when a failure came that may mean that the input is wrong.
#[derive(Clone, Copy)]
pub(crate) enum Doing<'a> {
    /// C_Decrypt with GCM.
    Open,
    /// C_Decrypt with CBC and its padding.
    Cbc,
    /// C_Decrypt with this hash for OAEP, by this key.
    Oaep(Digest, &'a Known),
    /// C_UnwrapKey by this key, of so many wrapped bytes.
    Unwrap(Wrapping, &'a Known, usize),
}

/// What a trial says of a function of the token.
enum Control {
    /// What is right goes through, and what is wrong is answered with this.
    Tells(u64),
    /// What is right goes through. More is not known.
    Works,
    /// What is right fails as well: it is the token.
    Fails,
    /// The trial cannot be made on this token.
    Unknown,
}

/// Whether a return value has meant a wrong input on some token. Those that name a device, a session, memory or an
/// operation never do.
pub(crate) fn is_vague(rv: u64) -> bool {
    matches!(rv, rv::GENERAL_ERROR | rv::FUNCTION_FAILED | rv::ARGUMENTS_BAD) || rv >= rv::VENDOR_DEFINED
}

/// A failure of C_Decrypt or C_UnwrapKey, as what it means. Who sends ciphertexts chooses whether they fail, so a failure
/// counts against the token only when a right one fails as well, tried now, in the same session, with the same mechanism.
/// A vague one is believed to mean a wrong input only when a right one goes through and a wrong one is answered in the
/// same way. Nothing of this is remembered: a token that answered so yesterday may be broken today.
///
/// With a padding there is one answer for all that lies in the input, also where the token tells more: that would make an
/// oracle.
pub(crate) fn refused(conn: &Conn<'_>, doing: Doing<'_>, failure: Failure) -> Failure {
    let Failure::Rv { function, rv } = &failure else { return failure };
    let (name, padded) = match doing {
        Doing::Open => ("C_Decrypt", false),
        Doing::Cbc | Doing::Oaep(..) => ("C_Decrypt", true),
        Doing::Unwrap(..) => ("C_UnwrapKey", false),
    };
    let row = rv::row_of(*rv);
    if function != name || row.rebuild > Rebuild::Doubt {
        return failure;
    }
    if row.means == Means::Auth || (padded && row.means == Means::Input) {
        return believed(conn);
    }
    // What came out is as long as no key is, where a right one comes out; the unwrapping key's size has a value of its own.
    let no_key = matches!(doing, Doing::Unwrap(..)) && *rv == rv::KEY_SIZE_RANGE;
    if row.means != Means::Rejected && !no_key {
        return failure;
    }
    // Such a key is of a wrong size, or one that this token, or its policy, does not take: then the key is whole.
    if no_key && !takes_all_sizes(conn, doing) {
        return Failure::Is(rv::error_of(function, *rv));
    }
    match control(conn, doing) {
        Control::Tells(wrong) if wrong == *rv && is_vague(*rv) => believed(conn),
        Control::Tells(_) | Control::Works if no_key => believed(conn),
        Control::Fails => failure,
        Control::Tells(_) | Control::Works | Control::Unknown => Failure::Is(rv::error_of(function, *rv)),
    }
}

/// How many bytes of an AES key may be in so many wrapped bytes: those that are eight more.
fn within(wrapped: usize) -> u64 {
    match wrapped {
        ..=24 => 16,
        25..=32 => 24,
        _ => 32,
    }
}

/// Whether fresh keys of the sizes that there may be in what was to be unwrapped go through.
fn takes_all_sizes(conn: &Conn<'_>, doing: Doing<'_>) -> bool {
    let works = |tried: Tried| tried.is_ok();
    match doing {
        Doing::Unwrap(how @ Wrapping::RsaOaep(_), key, _) => {
            [16, 24, 32].into_iter().all(|bytes| works(control_unwrap_rsa(conn, how, key, bytes)))
        }
        Doing::Unwrap(how, _, wrapped) => works(control_unwrap(conn, how, within(wrapped))),
        _ => true,
    }
}

/// That an input is wrong is believed only while we are logged in: a key that a token cannot read may fail in the same way.
fn believed(conn: &Conn<'_>) -> Failure {
    conn.is_logged_in().err().unwrap_or(Failure::Is(Error::AuthenticationFailed))
}

fn control(conn: &Conn<'_>, doing: Doing<'_>) -> Control {
    let tried = match doing {
        Doing::Open => control_open(conn),
        Doing::Cbc => control_cbc(conn),
        Doing::Oaep(digest, key) => control_oaep(conn, digest, key),
        Doing::Unwrap(how @ Wrapping::RsaOaep(_), key, _) => control_unwrap_rsa(conn, how, key, 32),
        Doing::Unwrap(how, _, wrapped) => control_unwrap(conn, how, within(wrapped)),
    };
    match tried {
        Ok(Some(Failure::Rv { rv, .. })) => Control::Tells(rv),
        Ok(_) => Control::Works,
        Err(Failure::Rv { rv, .. }) => {
            let row = rv::row_of(rv);
            if row.counts || row.rebuild > Rebuild::Nothing || row.means == Means::Unavailable {
                Control::Fails
            } else {
                Control::Unknown
            }
        }
        Err(Failure::Is(_)) => Control::Unknown,
        Err(_) => Control::Fails,
    }
}

/// How a wrong input failed after a right one went through. None where the wrong one went through as well.
type Tried = Result<Option<Failure>, Failure>;

/// Anybody who may send ciphertexts makes trials, so key and ciphertext are made once a link: a trial is two calls. Whether they
/// open is asked each time.
fn control_open(conn: &Conn<'_>) -> Tried {
    let kept = lock(&conn.link.learned.sample).clone();
    if let Some(sample) = kept {
        match tried(conn, &sample) {
            // The token forgot the object: another is made.
            Err(Failure::Rv { rv, .. }) if rv::row_of(rv).means == Means::NotFound => {}
            tried => return tried,
        }
    }
    let key = Trial::generate(conn, false)?;
    // A token may fill the iv in.
    let mut iv = [7; 12];
    let sealed = gcm_seal(conn, key.1, &mut iv, b"a trial", b"of this")?;
    let sample = Sample { key: key.1, iv, sealed };
    let tried = tried(conn, &sample)?;
    *lock(&conn.link.learned.sample) = Some(sample);
    key.keep();
    Ok(tried)
}

fn tried(conn: &Conn<'_>, sample: &Sample) -> Tried {
    drop(gcm_open(conn, sample.key, &sample.iv, &sample.sealed, b"of this")?);
    Ok(gcm_open(conn, sample.key, &sample.iv, &sample.sealed, b"of that").err())
}

fn control_cbc(conn: &Conn<'_>) -> Tried {
    let key = Trial::generate(conn, false)?;
    let mechanism = Mechanism::AesCbcPad([7; 16]);
    let (raw, session) = conn.raw()?;
    let sealed = raw.encrypt(session, &mechanism, key.1, &[0; 16], 16)?;
    raw.decrypt(session, &mechanism, key.1, &sealed)?;
    // The padding is in the second block: without it, zeros stand where it should be.
    Ok(raw.decrypt(session, &mechanism, key.1, sealed.get(..16).unwrap_or_default()).err())
}

/// Nobody's ciphertext under an RSA key with a modulus of so many bytes.
fn nonsense(len: usize) -> Vec<u8> {
    vec![1; len]
}

/// The public half of an RSA pair as a session object, to encrypt and wrap with.
fn public_of<'a, 'b>(conn: &'a Conn<'b>, key: &Known) -> Result<(Trial<'a, 'b>, usize), Failure> {
    let (modulus, exponent) = super::wrap::numbers_of(conn, key)?;
    let len = modulus.len();
    let public = conn.session()?.create_object(&rsa_public(modulus, exponent))?;
    Ok((Trial::adopt(conn, public), len))
}

fn control_oaep(conn: &Conn<'_>, digest: Digest, key: &Known) -> Tried {
    let (public, len) = public_of(conn, key)?;
    let (raw, session) = conn.raw()?;
    let sealed = raw.encrypt(session, &oaep(digest), public.1, b"a trial", 512)?;
    raw.decrypt(session, &oaep(digest), key.handle, &sealed)?;
    Ok(raw.decrypt(session, &oaep(digest), key.handle, &nonsense(len)).err())
}

fn control_unwrap_rsa(conn: &Conn<'_>, how: Wrapping, key: &Known, bytes: u64) -> Tried {
    let (public, len) = public_of(conn, key)?;
    let what = Trial::generate_of(conn, true, bytes)?;
    let (mechanism, number) = wrapping(how);
    let (raw, session) = conn.raw()?;
    let wrapped = raw.wrap(session, (&mechanism, number), public.1, what.1, 512)?;
    unwrap_both(conn, how, key.handle, &wrapped, &nonsense(len))
}

fn control_unwrap(conn: &Conn<'_>, how: Wrapping, bytes: u64) -> Tried {
    let (by, what) = (Trial::generate(conn, false)?, Trial::generate_of(conn, true, bytes)?);
    let (mechanism, number) = wrapping(how);
    let (raw, session) = conn.raw()?;
    let wrapped = raw.wrap(session, (&mechanism, number), by.1, what.1, 512)?;
    let mut wrong = wrapped.clone();
    if let Some(last) = wrong.last_mut() {
        *last ^= 1;
    }
    unwrap_both(conn, how, by.1, &wrapped, &wrong)
}

fn unwrap_both(conn: &Conn<'_>, how: Wrapping, by: Handle, right: &[u8], wrong: &[u8]) -> Tried {
    let (mechanism, number) = wrapping(how);
    let (raw, session) = conn.raw()?;
    let unwrap = |wrapped| {
        let handle = raw.unwrap(session, (&mechanism, number), by, wrapped, &Trial::template(false));
        handle.map(|handle| drop(Trial::adopt(conn, handle)))
    };
    unwrap(right)?;
    Ok(unwrap(wrong).err())
}

/// Whether the token fills in the iv of GCM: one of zeros comes back as another, twice not the same.
pub(crate) fn fills_iv(conn: &Conn<'_>) -> Result<bool, Failure> {
    if let Some(known) = conn.link.learned.fills_iv.get() {
        return Ok(*known);
    }
    let key = Trial::generate(conn, false)?;
    let (mut first, mut second) = ([0; 12], [0; 12]);
    for iv in [&mut first, &mut second] {
        match gcm_seal(conn, key.1, iv, b"a trial", b"") {
            Ok(_) => {}
            // The token takes no iv of zeros, and no other either as far as is known here.
            Err(Failure::Rv { rv, .. }) if rv::row_of(rv).means == Means::Unsupported => {}
            Err(failure) => return Err(failure),
        }
    }
    let fills = first != [0; 12] && second != [0; 12] && first != second;
    Ok(*conn.link.learned.fills_iv.get_or_init(|| fills))
}

/// Whether, on this token, CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE together tell that a key was made in it, and
/// CKA_LOCAL does not. NSS softokn says CKA_LOCAL of no key. By the standard the two are never true of a key that was
/// imported or unwrapped; that is not believed but tried, with one of each kind.
pub(crate) fn pair_tells(conn: &Conn<'_>) -> Result<bool, Failure> {
    if let Some(known) = conn.link.learned.pair_tells.get() {
        return Ok(*known);
    }
    let made = Trial::generate(conn, false)?;
    let (local, safe) = origin_of(conn, made.1)?;
    let tells = !local && safe && !brought(conn, &made)?;
    Ok(*conn.link.learned.pair_tells.get_or_init(|| tells))
}

/// CKA_LOCAL, and the other two together.
fn origin_of(conn: &Conn<'_>, key: Handle) -> Result<(bool, bool), Failure> {
    let types = [AttributeType::Local, AttributeType::AlwaysSensitive, AttributeType::NeverExtractable];
    let found = conn.session()?.get_attributes(key, &types)?;
    let says = |attribute| found.contains(&attribute);
    let safe = says(Attribute::AlwaysSensitive(true)) && says(Attribute::NeverExtractable(true));
    Ok((says(Attribute::Local(true)), safe))
}

/// Whether the token says of a key from outside that it was always safe, or it cannot be tried.
fn brought(conn: &Conn<'_>, by: &Trial<'_, '_>) -> Result<bool, Failure> {
    let Ok(imported) = Trial::import_as(conn, &[1; 32], false) else { return Ok(true) };
    let other = Trial::generate(conn, true)?;
    let (mechanism, number) = wrapping(Wrapping::AesKeyWrap);
    let (raw, session) = conn.raw()?;
    let Ok(wrapped) = raw.wrap(session, (&mechanism, number), by.1, other.1, 64) else { return Ok(true) };
    let unwrapped = raw.unwrap(session, (&mechanism, number), by.1, &wrapped, &Trial::template(false))?;
    let unwrapped = Trial::adopt(conn, unwrapped);
    Ok(origin_of(conn, imported.1)?.1 || origin_of(conn, unwrapped.1)?.1)
}

/// A key of a certain kind as the attributes of an object in the session.
pub(crate) fn rsa_public(modulus: Vec<u8>, exponent: Vec<u8>) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Wrap(true),
        Attribute::Encrypt(true),
        Attribute::Modulus(modulus),
        Attribute::PublicExponent(exponent),
    ]
}
