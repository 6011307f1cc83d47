//! Key-refs: key material sealed under the KEK. The format is in the crate's documentation.

use keygate_plugin_rsa::PRIMES;
use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result, SecretBytes};

use crate::aad;
use crate::kek::Kek;
use crate::spec::{Algorithm, Purpose, Spec};
use crate::xaes::{self, NONCE, TAG};

const FORMAT: u8 = 0xA1;
const PURPOSE: &str = "keygate/aes-gcm/key-ref/1";

/// Format, KEK version, kind, algorithm.
const HEADER: usize = 7;

/// A key that was taken out of its key-ref.
pub(crate) struct OpenKey {
    /// What for.
    pub(crate) purpose: Purpose,
    /// Of what.
    pub(crate) algorithm: Algorithm,
    /// Its bytes.
    pub(crate) material: SecretBytes,
    /// The version of the KEK that it was sealed under.
    pub(crate) kek: u32,
}

/// Seals material for one key version.
pub(crate) fn seal(
    kek: &Kek,
    nonce: &[u8; NONCE],
    identity: &KeyIdentity,
    spec: Spec,
    material: &[u8],
) -> Result<Vec<u8>> {
    let header = header(kek.number(), spec.purpose, spec.algorithm);
    let mut reference = Vec::with_capacity(HEADER + NONCE + material.len() + TAG);
    reference.extend_from_slice(&header);
    reference.extend_from_slice(nonce);
    reference.extend_from_slice(material);
    let aad = bound_to(&header, material.len(), identity);
    xaes::seal(kek.bytes(), nonce, &aad, &mut reference, HEADER + NONCE)
        .map_err(|_| Error::Internal("the material could not be sealed".to_owned()))?;
    Ok(reference)
}

/// Opens a key-ref. `kek` fetches the version of the KEK that it names.
pub(crate) fn open(reference: &[u8], identity: &KeyIdentity, kek: impl FnOnce(u32) -> Result<Kek>) -> Result<OpenKey> {
    let (header, rest) = reference.split_first_chunk::<HEADER>().ok_or(Error::InvalidKeyRef)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(Error::InvalidKeyRef)?;
    let (version, purpose, algorithm) = parse(header).ok_or(Error::InvalidKeyRef)?;
    let size = sealed.len().checked_sub(TAG).ok_or(Error::InvalidKeyRef)?;
    // What `Spec::check` let in; so that nobody's mistake elsewhere makes a key of another size.
    let sound = match algorithm {
        Algorithm::Aes => matches!(size, 16 | 24 | 32) && matches!(purpose, Purpose::Root | Purpose::Standard),
        Algorithm::Secret => size > 0 && purpose == Purpose::Standard,
        Algorithm::Rsa => size == PRIMES && matches!(purpose, Purpose::Import | Purpose::Transport),
    };
    if !sound {
        return Err(Error::InvalidKeyRef);
    }
    let kek = kek(version)?;
    let material =
        xaes::open(kek.bytes(), nonce, &bound_to(header, size, identity), sealed).map_err(|_| Error::InvalidKeyRef)?;
    Ok(OpenKey { purpose, algorithm, material, kek: version })
}

fn header(version: u32, purpose: Purpose, algorithm: Algorithm) -> [u8; HEADER] {
    let [a, b, c, d] = version.to_be_bytes();
    let purpose = match purpose {
        Purpose::Root => 1,
        Purpose::Standard => 2,
        Purpose::Import => 3,
        Purpose::Transport => 4,
    };
    let algorithm = match algorithm {
        Algorithm::Aes => 1,
        Algorithm::Secret => 2,
        Algorithm::Rsa => 3,
    };
    [FORMAT, a, b, c, d, purpose, algorithm]
}

fn parse(header: &[u8; HEADER]) -> Option<(u32, Purpose, Algorithm)> {
    let &[FORMAT, a, b, c, d, purpose, algorithm] = header else { return None };
    let purpose = match purpose {
        1 => Purpose::Root,
        2 => Purpose::Standard,
        3 => Purpose::Import,
        4 => Purpose::Transport,
        _ => return None,
    };
    let algorithm = match algorithm {
        1 => Algorithm::Aes,
        2 => Algorithm::Secret,
        3 => Algorithm::Rsa,
        _ => return None,
    };
    Some((u32::from_be_bytes([a, b, c, d]), purpose, algorithm))
}

/// The additional data: `size` is the material's, in bytes.
fn bound_to(header: &[u8; HEADER], size: usize, identity: &KeyIdentity) -> Vec<u8> {
    // At most 8 * 16,384: a key-ref's bound.
    let bits = (size as u32).saturating_mul(8).to_be_bytes();
    let [instance, key, version] = aad::identity(identity);
    aad::join(PURPOSE, [header.as_slice(), &bits, instance, key, version])
}
