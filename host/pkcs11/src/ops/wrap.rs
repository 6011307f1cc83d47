//! Wrapping and unwrapping keys, and public keys.

use std::cell::Cell;

use cryptoki::object::{Attribute, AttributeType};

use crate::conn::Conn;
use crate::der;
use crate::error::{Error, Failure};
use crate::handles::{Identity, Known, Life, resolve};
use crate::key::{Digest, Key, KeyTemplate, Recipe, Wrapping};
use crate::link::Handle;
use crate::ops::create::{self, New};
use crate::ops::learned::{self, Doing, Trial, refused};
use crate::ops::template::{self, Origin};
use crate::ops::{oaep, wrapping};
use crate::pending::lock;

/// The longest wrapped key: an RSA-4096 private key in PKCS#8, with room to spare.
const ROOM: usize = 4_096;

pub(crate) fn wrap(conn: &Conn<'_>, key: &Key, how: Wrapping, target: &Key) -> Result<Vec<u8>, Failure> {
    let by = resolve(conn, key)?;
    if !by.local {
        return Err(
            Error::invalid("the wrapping key was not made in the token (CKA_LOCAL): somebody may know it").into()
        );
    }
    if by.extractable {
        return Err(Error::invalid("the wrapping key may leave the token itself (CKA_EXTRACTABLE)").into());
    }
    let what = resolve(conn, target)?;
    let handle = match how {
        Wrapping::RsaOaep(_) => public_of(conn, &by)?,
        _ => by.handle,
    };
    wrap_by(conn, handle, how, what.handle)
}

fn wrap_by(conn: &Conn<'_>, by: Handle, how: Wrapping, what: Handle) -> Result<Vec<u8>, Failure> {
    let (mechanism, number) = wrapping(how);
    let (raw, session) = conn.raw()?;
    let wrapped = raw.wrap(session, (&mechanism, number), by, what, ROOM);
    wrapped.map_err(|failure| unsupported_hash(how, failure))
}

fn unsupported_hash(how: Wrapping, failure: Failure) -> Failure {
    match (how, &failure) {
        (Wrapping::RsaOaep(digest), Failure::Rv { rv: 0x7, function }) => Error::Unsupported(format!(
            "{function} refused CKM_RSA_PKCS_OAEP with {digest:?} (CKR_ARGUMENTS_BAD); choose another hash in the plugin's \
             settings"
        ))
        .into(),
        _ => failure,
    }
}

/// The public half, which is the private one's.
fn public_of(conn: &Conn<'_>, known: &Known) -> Result<Handle, Failure> {
    let lacks = || Error::Unsupported("the key has no public half in the token".to_owned());
    let public = known.public.ok_or_else(lacks)?;
    let (modulus, exponent) = numbers_of(conn, known)?;
    if numbers(conn, public)? == (Some(modulus), Some(exponent)) {
        return Ok(public);
    }
    Err(Error::unavailable("the public key of this CKA_ID is not of the private key: remove it").into())
}

/// Unwraps a key that stays in the token.
pub(crate) fn unwrap_persistent(conn: &Conn<'_>, begun: &Cell<bool>, recipe: &Recipe) -> Result<New, Failure> {
    let by = resolve(conn, &recipe.unwrapping)?;
    create::make(conn, begun, &recipe.template, Origin::Unwrapped, &|conn| Ok((unwrap_by(conn, &by, recipe)?, None)))
}

/// Unwraps a key into a session object that ends with its handle.
pub(crate) fn unwrap_passing(conn: &Conn<'_>, recipe: &Recipe) -> Result<New, Failure> {
    let by = resolve(conn, &recipe.unwrapping)?;
    let make = |conn: &Conn<'_>| Ok((unwrap_by(conn, &by, recipe)?, None));
    create::make_session(conn, &recipe.template, Origin::Unwrapped, &make)
}

/// Unwraps a key into a session object, which is kept for the next who unwraps the same.
pub(crate) fn unwrap_session(conn: &Conn<'_>, recipe: &Recipe, identity: &Identity) -> Result<Known, Failure> {
    let by = resolve(conn, &recipe.unwrapping)?;
    let handle = unwrap_by(conn, &by, recipe)?;
    let mut known = create::checked(conn, &recipe.template, Origin::Unwrapped, handle, None)?;
    known.life = Life::of(vec![handle], conn.link.grave.clone());
    // What it drives out dies when the last that uses it is done.
    let out = lock(&conn.link.unwrapped).put(identity.clone(), known.clone());
    drop(out);
    Ok(known)
}

fn unwrap_by(conn: &Conn<'_>, by: &Known, recipe: &Recipe) -> Result<Handle, Failure> {
    let (mechanism, number) = wrapping(recipe.how);
    let attributes = template::key(&recipe.template, &conn.inner.config.label_prefix);
    let (raw, session) = conn.raw()?;
    let unwrapped = raw.unwrap(session, (&mechanism, number), by.handle, &recipe.wrapped, &attributes);
    unwrapped.map_err(|failure| {
        refused(conn, Doing::Unwrap(recipe.how, by, recipe.wrapped.len()), unsupported_hash(recipe.how, failure))
    })
}

/// What a recipe makes, beyond all links: the same for the same wrapping key, bytes, way and template.
pub(crate) fn identity_of(recipe: &Recipe) -> Identity {
    let mut hasher = blake3::Hasher::new_derive_key("keygate pkcs11 2026-11-22 unwrapped session key");
    let KeyTemplate { algorithm, usage, exportable, .. } = &recipe.template;
    let how = format!("{:?} {algorithm:?} {usage:?} {exportable:?} {:?}", recipe.how, recipe.unwrapping.identity);
    hasher.update(&(how.len() as u64).to_le_bytes());
    hasher.update(how.as_bytes());
    hasher.update(&recipe.wrapped);
    Identity::Unwrapped(*hasher.finalize().as_bytes())
}

/// Wraps a key to a public key from outside, as CKM_RSA_AES_KEY_WRAP does, in its two steps: not every token has the
/// mechanism, and those that have differ in its parameters.
pub(crate) fn wrap_to(conn: &Conn<'_>, key: &Key, digest: Digest, recipient: &[u8]) -> Result<Vec<u8>, Failure> {
    let (modulus, exponent) = der::parse_rsa(recipient).ok_or_else(|| {
        Error::invalid("`recipient` must be the SubjectPublicKeyInfo (DER) of an RSA key of 4,096 bits")
    })?;
    if modulus.len() != 512 {
        return Err(Error::invalid("`recipient` must be an RSA key of 4,096 bits").into());
    }
    let what = resolve(conn, key)?;
    let public = conn.session()?.create_object(&learned::rsa_public(modulus, exponent))?;
    let public = Trial::adopt(conn, public);
    let fresh = Trial::generate(conn, true)?;
    let (raw, session) = conn.raw()?;
    let sealed = raw.wrap(session, (&oaep(digest), None), public.1, fresh.1, ROOM);
    let mut out = sealed.map_err(|failure| unsupported_hash(Wrapping::RsaOaep(digest), failure))?;
    if out.len() != 512 {
        return Err(Error::Unsupported("CKM_RSA_PKCS_OAEP did not give 512 bytes".to_owned()).into());
    }
    out.extend(match wrap_by(conn, fresh.1, Wrapping::AesKeyWrapKwp, what.handle) {
        Err(Failure::Rv { rv: 0x70 | 0x54, .. }) if crate::probe::pad_is_kwp(conn)? => {
            wrap_by(conn, fresh.1, Wrapping::AesKeyWrapPad, what.handle)?
        }
        wrapped => wrapped?,
    });
    Ok(out)
}

/// The public half of a pair as SubjectPublicKeyInfo.
pub(crate) fn public_key(conn: &Conn<'_>, key: &Key) -> Result<Vec<u8>, Failure> {
    let known = resolve(conn, key)?;
    if known.secret || !known.rsa {
        return Err(Error::Unsupported("a secret key has no public half".to_owned()).into());
    }
    let (modulus, exponent) = numbers_of(conn, &known)?;
    Ok(der::rsa(&modulus, &exponent))
}

/// Modulus and public exponent of a pair. Read of the private key, which most tokens let one; public objects can be made by
/// whoever reaches the module, on some without a PIN, so a public half is asked only where the private one says nothing, and
/// must agree with what it says.
pub(crate) fn numbers_of(conn: &Conn<'_>, known: &Known) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let own = numbers(conn, known.handle);
    let (modulus, exponent) = match own {
        Ok(found) => found,
        // An attribute that a token does not show.
        Err(Failure::Rv { rv: 0x11 | 0x12, .. }) => (None, None),
        Err(failure) => return Err(failure),
    };
    if let (Some(modulus), Some(exponent)) = (&modulus, &exponent) {
        return Ok((modulus.clone(), exponent.clone()));
    }
    let unshown = || Error::Unsupported("the token does not show the public half of the pair".to_owned());
    let public = numbers(conn, known.public.ok_or_else(unshown)?)?;
    let (Some(n), Some(e)) = public else { return Err(unshown().into()) };
    if modulus.is_some_and(|own| own != n) || exponent.is_some_and(|own| own != e) {
        return Err(Error::unavailable("the public key of this CKA_ID is not of the private key: remove it").into());
    }
    Ok((n, e))
}

type Numbers = (Option<Vec<u8>>, Option<Vec<u8>>);

fn numbers(conn: &Conn<'_>, from: Handle) -> Result<Numbers, Failure> {
    let (mut modulus, mut exponent) = (None, None);
    for attribute in conn.session()?.get_attributes(from, &[AttributeType::Modulus, AttributeType::PublicExponent])? {
        match attribute {
            Attribute::Modulus(bytes) if !bytes.is_empty() => modulus = Some(bytes),
            Attribute::PublicExponent(bytes) if !bytes.is_empty() => exponent = Some(bytes),
            _ => {}
        }
    }
    Ok((modulus, exponent))
}
