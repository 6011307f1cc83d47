//! What key-refs look like. The formats are in the crate's documentation.

use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result};
use keygate_plugin_sdk::host::pkcs11::Sealed;

use crate::aad;
use crate::identity::ID;
use crate::settings::Mechanism;
use crate::spec::{Algorithm, Purpose};

const OBJECT: u8 = 0xC1;
const SEALED: u8 = 0xC2;
const PURPOSE: &str = "keygate/softhsm/key-ref/1";

/// Format, purpose, algorithm, what is inside, version.
const HEADER: usize = 8;
/// How long an iv is (`keygate:host/pkcs11`), in bytes.
pub(crate) const IV: core::ops::RangeInclusive<usize> = 12..=16;
/// The size of a tag, in bytes.
pub(crate) const TAG: usize = 16;

/// What is sealed in a key-ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// The material itself.
    Payload,
    /// A key that the token's wrapping key of the same version wrapped so.
    Wrapped(Mechanism),
    /// The same, of a root key that another backend sent.
    Arrived(Mechanism),
}

/// What a sealed key-ref says in clear. All of it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What for.
    pub(crate) purpose: Purpose,
    /// Of what.
    pub(crate) algorithm: Algorithm,
    /// What is sealed.
    pub(crate) inside: Inside,
    /// The version of the keys in the token that it takes to open it.
    pub(crate) version: u32,
}

impl Header {
    /// Whether it is of a root key that another backend sent.
    pub(crate) const fn arrived(self) -> bool {
        matches!(self.inside, Inside::Arrived(_))
    }
}

/// A key-ref, taken apart and not believed yet.
#[derive(Debug)]
pub(crate) enum Reference<'a> {
    /// The CKA_ID of an object in the token.
    Object(&'a [u8]),
    /// Something that the token's sealing key sealed.
    Sealed(Header, Sealed),
}

/// Takes one apart.
pub(crate) fn parse(reference: &[u8]) -> Result<Reference<'_>> {
    match reference.split_first() {
        Some((&OBJECT, id)) if id.len() == ID => Ok(Reference::Object(id)),
        Some((&SEALED, _)) => sealed(reference).ok_or(Error::InvalidKeyRef),
        _ => Err(Error::InvalidKeyRef),
    }
}

fn sealed(reference: &[u8]) -> Option<Reference<'_>> {
    let (&[_, purpose, algorithm, inside, a, b, c, d], rest) = reference.split_first_chunk::<HEADER>()?;
    let header = Header {
        purpose: Purpose::of(purpose)?,
        algorithm: Algorithm::of(algorithm)?,
        inside: match inside {
            0 => Inside::Payload,
            1 => Inside::Wrapped(Mechanism::Kw),
            2 => Inside::Wrapped(Mechanism::KwPad),
            3 => Inside::Wrapped(Mechanism::Kwp),
            5 => Inside::Arrived(Mechanism::Kw),
            6 => Inside::Arrived(Mechanism::KwPad),
            7 => Inside::Arrived(Mechanism::Kwp),
            _ => return None,
        },
        version: u32::from_be_bytes([a, b, c, d]),
    };
    let sound = match header.purpose {
        Purpose::Root => header.algorithm == Algorithm::Aes && header.inside != Inside::Payload,
        Purpose::Standard => header.algorithm != Algorithm::Rsa && header.inside == Inside::Payload,
        Purpose::Import => header.algorithm == Algorithm::Rsa && !header.arrived(),
        Purpose::Transport => header.algorithm == Algorithm::Rsa && matches!(header.inside, Inside::Wrapped(_)),
    };
    if !sound || header.version == 0 {
        return None;
    }
    Some(Reference::Sealed(header, split(rest)?))
}

/// An iv, with its size in a byte in front, and a ciphertext with its tag.
pub(crate) fn split(bytes: &[u8]) -> Option<Sealed> {
    let (&size, rest) = bytes.split_first()?;
    let (iv, ciphertext) = rest.split_at_checked(size.into()).filter(|(iv, _)| IV.contains(&iv.len()))?;
    if ciphertext.len() <= TAG {
        return None;
    }
    Some(Sealed { iv: iv.to_vec(), ciphertext: ciphertext.to_vec() })
}

/// Puts them together again, behind what is in `out`.
pub(crate) fn append(out: &mut Vec<u8>, sealed: &Sealed) -> Result<()> {
    if !IV.contains(&sealed.iv.len()) || sealed.ciphertext.len() <= TAG {
        return Err(Error::Internal("the host gave a ciphertext that is out of its bounds".to_owned()));
    }
    // At most 16.
    out.push(sealed.iv.len() as u8);
    out.extend_from_slice(&sealed.iv);
    out.extend_from_slice(&sealed.ciphertext);
    Ok(())
}

/// The key-ref of an object.
pub(crate) fn of_object(id: &[u8; ID]) -> Vec<u8> {
    [&[OBJECT], id.as_slice()].concat()
}

/// The key-ref of what was sealed with [`bound_to`].
pub(crate) fn of_sealed(header: Header, sealed: &Sealed) -> Result<Vec<u8>> {
    let mut reference = Vec::with_capacity(HEADER + 1 + sealed.iv.len() + sealed.ciphertext.len());
    reference.extend_from_slice(&bytes(header));
    append(&mut reference, sealed)?;
    Ok(reference)
}

/// The additional data of a sealed key-ref.
pub(crate) fn bound_to(header: Header, identity: &KeyIdentity) -> Vec<u8> {
    let [instance, key, version] = aad::identity(identity);
    aad::join(PURPOSE, [&bytes(header), instance, key, version])
}

fn bytes(header: Header) -> [u8; HEADER] {
    let [a, b, c, d] = header.version.to_be_bytes();
    let inside = match header.inside {
        Inside::Payload => 0,
        Inside::Wrapped(Mechanism::Kw) => 1,
        Inside::Wrapped(Mechanism::KwPad) => 2,
        Inside::Wrapped(Mechanism::Kwp) => 3,
        Inside::Arrived(Mechanism::Kw) => 5,
        Inside::Arrived(Mechanism::KwPad) => 6,
        Inside::Arrived(Mechanism::Kwp) => 7,
    };
    [SEALED, header.purpose.byte(), header.algorithm.byte(), inside, a, b, c, d]
}
