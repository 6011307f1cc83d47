//! The bounds of `keygate:host/pkcs11`, and what does not fit together.

use crate::error::Error;
use crate::key::{Algorithm, KeyTemplate, Sealed};
use crate::token::{MAX_DATA, MAX_ID};

pub(crate) fn all(bounds: &[(bool, &str)]) -> Result<(), Error> {
    match bounds.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, what)) => Err(Error::invalid(*what)),
    }
}

pub(crate) fn check_sealed(sealed: &Sealed, aad: &[u8]) -> Result<(), Error> {
    let text = sealed.ciphertext.len();
    all(&[
        ((12..=16).contains(&sealed.iv.len()), "`iv` must have 12 to 16 bytes"),
        ((16..=MAX_DATA + 16).contains(&text), "`ciphertext` must have 16 to 65,552 bytes"),
        (aad.len() <= MAX_DATA, "`aad` must have at most 65,536 bytes"),
    ])
}

pub(crate) fn at_most(name: &str, len: usize) -> Result<(), Error> {
    if len <= MAX_DATA { Ok(()) } else { Err(Error::invalid(format!("`{name}` must have at most 65,536 bytes"))) }
}

pub(crate) fn one_of(bits: u32, sizes: &[u32]) -> Result<(), Error> {
    if sizes.contains(&bits) { Ok(()) } else { Err(Error::invalid(format!("a key must have one of {sizes:?} bits"))) }
}

pub(crate) fn check_id(id: &[u8]) -> Result<(), Error> {
    if (1..=MAX_ID).contains(&id.len()) { Ok(()) } else { Err(Error::invalid("an id must have 1 to 64 bytes")) }
}

pub(crate) fn check_template(template: &KeyTemplate, algorithm: Algorithm) -> Result<(), Error> {
    all(&[
        (template.algorithm == algorithm, "`algorithm` does not fit the call: AES for secret keys, RSA for pairs"),
        (!template.usage.mac || algorithm == Algorithm::Aes, "`mac` is a use of AES keys only"),
        (!(template.persistent && template.exportable), "a key that stays in the token must not be exportable"),
        (template.persistent == template.id.is_some(), "a persistent key needs an id, and no other key may have one"),
    ])?;
    template.id.as_deref().map_or(Ok(()), check_id)
}
