//! Where randomness comes from: the host, or a token.

use core::convert::Infallible;

use keygate_plugin_sdk::backend::{Error, Result, SecretBytes};
use rsa::rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The most bytes that are drawn at once: what a host and a token give in one call.
const MOST: usize = 4_096;

/// A cryptographically secure generator: something that gives as many bytes (at most 4,096) as it is asked for.
pub struct Random<F>(F);

impl<F: FnMut(u32) -> Result<SecretBytes>> Random<F> {
    /// One that draws its bytes so.
    pub const fn new(draw: F) -> Self {
        Self(draw)
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// What the generator failed with.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        for part in bytes.chunks_mut(MOST) {
            // At most 4,096.
            let drawn = (self.0)(part.len() as u32)?;
            if drawn.len() != part.len() {
                return Err(Error::Internal("the generator gave another number of bytes than asked for".to_owned()));
            }
            part.copy_from_slice(&drawn);
        }
        Ok(())
    }
}

/// What blinds one private operation, or is the seed of one encryption: 256 bits of a generator, made longer with SHA-256. The crate that computes wants a
/// generator that cannot fail, and one behind a door can.
pub(crate) struct Blinding {
    seed: Zeroizing<[u8; 32]>,
    counter: u64,
}

impl Blinding {
    /// Draws the seed.
    ///
    /// # Errors
    /// What the generator failed with.
    pub(crate) fn draw(random: &mut Random<impl FnMut(u32) -> Result<SecretBytes>>) -> Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut_slice())?;
        Ok(Self { seed, counter: 0 })
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(32) {
            self.counter += 1;
            let hash = Sha256::new().chain_update(*self.seed).chain_update(self.counter.to_be_bytes());
            let block = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
            for (byte, random) in part.iter_mut().zip(block.iter()) {
                *byte = *random;
            }
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

impl TryRng for Blinding {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> core::result::Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.array()))
    }

    fn try_next_u64(&mut self) -> core::result::Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.array()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> core::result::Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Blinding {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_in_parts_and_says_why_it_failed() {
        let mut drawn = Vec::new();
        let mut random = Random::new(|len| {
            drawn.push(len);
            Ok(SecretBytes::new(vec![7; len as usize]))
        });
        let mut bytes = [0; 5_000];
        random.fill(&mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        assert!(Blinding::draw(&mut random).is_ok());
        assert_eq!(drawn, [4_096, 904, 32]);

        let mut away = Random::new(|_| Err(Error::Unavailable("gone".to_owned())));
        assert!(Blinding::draw(&mut away).is_err_and(|error| error == Error::Unavailable("gone".to_owned())));
        let mut short = Random::new(|_| Ok(SecretBytes::new(vec![1])));
        assert!(matches!(short.fill(&mut [0; 2]), Err(Error::Internal(_))));
    }

    #[test]
    fn blinding_never_repeats_and_follows_from_its_seed() {
        let draw = |seed: u8| Blinding::draw(&mut Random::new(|len| Ok(SecretBytes::new(vec![seed; len as usize]))));
        let (mut one, mut same, mut other) = (draw(1).unwrap(), draw(1).unwrap(), draw(2).unwrap());
        let first: [u8; 80] = one.array();
        assert_eq!(first, same.array());
        assert_ne!(first, other.array());
        assert_ne!(first, one.array());
        assert_ne!(first[..32], first[32..64]);
    }
}
