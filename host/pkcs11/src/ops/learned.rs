//! What is learned of a token by trying, with keys that nobody uses: how it says that a ciphertext is wrong, and whether it
//! fills in an iv. Tried when it is first needed, once a token.
//!
//! A token should answer a wrong tag with CKR_ENCRYPTED_DATA_INVALID or, since 3.2, CKR_AEAD_DECRYPT_FAILED. Some answer
//! CKR_GENERAL_ERROR or CKR_FUNCTION_FAILED, which would otherwise speak against the token's health: then a caller with a
//! wrong ciphertext could open the circuit breaker.

use std::sync::OnceLock;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use keygate_core::secret::SecretBytes;

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::key::{Algorithm, KeyTemplate, Usage, Wrapping};
use crate::link::Handle;
use crate::ops::cipher::{gcm_open, gcm_seal};
use crate::ops::{template, wrapping};
use crate::rv::{self, Means};

#[derive(Debug, Default)]
pub(crate) struct Learned {
    open: OnceLock<u64>,
    unwrap: OnceLock<u64>,
    fills_iv: OnceLock<bool>,
    pair_tells: OnceLock<bool>,
}

/// A session key for one trial, destroyed with it.
pub(crate) struct Trial<'a, 'b>(&'a Conn<'b>, pub(crate) Handle);

impl<'a, 'b> Trial<'a, 'b> {
    pub(crate) fn generate(conn: &'a Conn<'b>, exportable: bool) -> Result<Self, Failure> {
        let mut attributes = Self::template(exportable);
        attributes.push(Attribute::ValueLen(32.into()));
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

/// What a failure of this function may mean, when it may mean that the input is wrong.
enum Suspect {
    /// The token says so.
    Told,
    /// It may be a refusal in disguise.
    Vague(u64),
}

fn suspect(failure: &Failure, function: &str) -> Option<Suspect> {
    match failure {
        Failure::Rv { rv, function: of } if of == function => match rv::row_of(*rv).means {
            Means::Auth => Some(Suspect::Told),
            Means::Rejected => Some(Suspect::Vague(*rv)),
            _ => None,
        },
        _ => None,
    }
}

/// That an input is wrong is believed only while we are logged in: a key that a token cannot read may fail in the same way.
fn believed(conn: &Conn<'_>) -> Failure {
    conn.is_logged_in().err().unwrap_or(Failure::Is(Error::AuthenticationFailed))
}

/// A failure of C_Decrypt with GCM, as what it means. A vague one is believed to be about the ciphertext only if the token
/// opens what it sealed a moment ago, and then, asked `again`, answers the same: a moment's trouble looks alike, and who is
/// told that a ciphertext is damaged may throw it away.
pub(crate) fn opening(
    conn: &Conn<'_>,
    failure: Failure,
    again: impl FnOnce() -> Result<SecretBytes, Failure>,
) -> Result<SecretBytes, Failure> {
    match suspect(&failure, "C_Decrypt") {
        Some(Suspect::Told) => Err(believed(conn)),
        Some(Suspect::Vague(rv)) if known(&conn.inner.learned.open, || try_open(conn)) == Some(rv) => {
            if opens(conn).is_err() {
                return Err(failure);
            }
            again().map_err(|failure| match suspect(&failure, "C_Decrypt") {
                Some(Suspect::Vague(same)) if same == rv => believed(conn),
                _ => failure,
            })
        }
        _ => Err(failure),
    }
}

/// A failure of C_Decrypt with a padding: an invalid one is often told as a vague failure, and telling it apart from others
/// would make an oracle.
pub(crate) fn decrypting(conn: &Conn<'_>, failure: Failure) -> Failure {
    let input = matches!(&failure, Failure::Rv { rv, .. } if rv::row_of(*rv).means == Means::Input);
    match suspect(&failure, "C_Decrypt") {
        Some(_) => believed(conn),
        None if input && matches!(&failure, Failure::Rv { function, .. } if function == "C_Decrypt") => believed(conn),
        None => failure,
    }
}

/// A failure of C_UnwrapKey, as what it means.
pub(crate) fn unwrapping(conn: &Conn<'_>, failure: Failure) -> Failure {
    // What came out is as long as no key is; the unwrapping key's size has a value of its own.
    if matches!(&failure, Failure::Rv { rv: rv::KEY_SIZE_RANGE, function } if function == "C_UnwrapKey") {
        return believed(conn);
    }
    match suspect(&failure, "C_UnwrapKey") {
        Some(Suspect::Told) => believed(conn),
        Some(Suspect::Vague(rv)) if known(&conn.inner.learned.unwrap, || try_unwrap(conn)) == Some(rv) => {
            believed(conn)
        }
        _ => failure,
    }
}

/// How the token refuses, learned once. A trial that failed in another way says nothing, and is made again.
fn known(learned: &OnceLock<u64>, tried: impl FnOnce() -> Result<(), Failure>) -> Option<u64> {
    if let Some(rv) = learned.get() {
        return Some(*rv);
    }
    match tried() {
        Err(Failure::Rv { rv, function }) if function == "C_Decrypt" || function == "C_UnwrapKey" => {
            tracing::debug!("a wrong ciphertext is answered by {function} with {}", rv::row_of(rv).name);
            Some(*learned.get_or_init(|| rv))
        }
        _ => None,
    }
}

/// What a ciphertext that is not whole is answered, by a token that opens one that is: before it and after it.
fn try_open(conn: &Conn<'_>) -> Result<(), Failure> {
    let key = Trial::generate(conn, false)?;
    let sealed = gcm_seal(conn, key.1, &mut [7; 12], b"a trial", b"of this")?;
    let open = |aad: &[u8]| gcm_open(conn, key.1, &[7; 12], &sealed, aad).map(drop);
    let whole = |failure: Failure| match failure {
        // Of another function's, so that nobody learns from it.
        Failure::Rv { rv, .. } => Failure::Rv { function: "a trial".into(), rv },
        other => other,
    };
    open(b"of this").map_err(whole)?;
    let refused = open(b"of that");
    open(b"of this").map_err(whole)?;
    refused
}

/// Whether the token opens what it sealed.
fn opens(conn: &Conn<'_>) -> Result<(), Failure> {
    let key = Trial::generate(conn, false)?;
    let sealed = gcm_seal(conn, key.1, &mut [7; 12], b"a trial", b"of this")?;
    gcm_open(conn, key.1, &[7; 12], &sealed, b"of this").map(drop)
}

fn try_unwrap(conn: &Conn<'_>) -> Result<(), Failure> {
    let key = Trial::generate(conn, false)?;
    let (mechanism, number) = wrapping(Wrapping::AesKeyWrap);
    let (raw, session) = conn.raw()?;
    let handle = raw.unwrap(session, (&mechanism, number), key.1, &[9; 40], &Trial::template(false))?;
    drop(Trial::adopt(conn, handle));
    Ok(())
}

/// Whether the token fills in the iv of GCM: one of zeros comes back as another, twice not the same.
pub(crate) fn fills_iv(conn: &Conn<'_>) -> Result<bool, Failure> {
    if let Some(known) = conn.inner.learned.fills_iv.get() {
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
    Ok(*conn.inner.learned.fills_iv.get_or_init(|| fills))
}

/// Whether, on this token, CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE together tell that a key was made in it, and
/// CKA_LOCAL does not. NSS softokn says CKA_LOCAL of no key. By the standard the two are never true of a key that was
/// imported or unwrapped; that is not believed but tried, with one of each kind.
pub(crate) fn pair_tells(conn: &Conn<'_>) -> Result<bool, Failure> {
    if let Some(known) = conn.inner.learned.pair_tells.get() {
        return Ok(*known);
    }
    let made = Trial::generate(conn, false)?;
    let (local, safe) = origin_of(conn, made.1)?;
    let tells = !local && safe && !brought(conn, &made)?;
    Ok(*conn.inner.learned.pair_tells.get_or_init(|| tells))
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
