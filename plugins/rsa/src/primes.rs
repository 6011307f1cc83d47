//! Random primes for RSA keys of 4096 bits.
//!
//! The library that tests numbers for being prime also has a search of its own. It is not used here, for its size alone: a
//! table of 64 KiB and 4 KiB of stack, in a plugin whose every call pays for each page that it has. This search is the
//! same in kind (FIPS 186-5, A.1.3, with steps of 2 from a random start instead of a fresh number each time), with a
//! table that is made when it is needed.
//!
//! What the search leaves behind in memory (candidates near the prime it found) is gone with the sandbox, at the end of the
//! call.

use crypto_primes::{Flavor, is_prime};
use keygate_plugin_sdk::backend::{Result, SecretBytes};
use rsa::BoxedUint;
use zeroize::Zeroizing;

use crate::Random;

/// The size of a prime, in bits.
const BITS: u32 = 2_048;
/// The same in bytes.
const BYTES: usize = 256;
/// The public exponent, itself a prime.
pub(crate) const EXPONENT: u64 = 65_537;
/// Small primes below this rule candidates out.
const SMALL: usize = 1 << 16;
/// How many odd numbers are looked at from one start. One in 710 is a prime: with so many there is none in one of
/// 100,000 starts.
const WINDOW: usize = 8_192;

/// A random prime p of 2048 bits. Its two highest bits are set, so that the product of two has 4096; p - 1 is no multiple
/// of the public exponent.
pub(crate) fn random(source: &mut Random<impl FnMut(u32) -> Result<SecretBytes>>) -> Result<BoxedUint> {
    let small = small_primes();
    loop {
        let mut start = Zeroizing::new([0; BYTES]);
        source.fill(start.as_mut_slice())?;
        if let Some(first) = start.first_mut() {
            *first |= 0xC0;
        }
        if let Some(last) = start.last_mut() {
            *last |= 1;
        }
        if let Some(prime) = from(start.as_slice(), &small) {
            return Ok(prime);
        }
    }
}

/// Whether two primes differ in their first 100 bits (FIPS 186-5, A.1.3): by chance they always do.
pub(crate) fn apart(p: &BoxedUint, q: &BoxedUint) -> bool {
    let (p, q) = (Zeroizing::new(p.to_be_bytes()), Zeroizing::new(q.to_be_bytes()));
    p.get(..12) != q.get(..12)
}

/// The first prime of a window that is fit for an RSA key. `start` is odd and big-endian.
fn from(start: &[u8], small: &[u16]) -> Option<BoxedUint> {
    // Where `true`, a candidate has a small factor, or the exponent is one of its predecessor's.
    let mut out = Zeroizing::new(vec![false; WINDOW]);
    for &prime in small {
        strike(&mut out, start, u64::from(prime), 0);
    }
    strike(&mut out, start, EXPONENT, 1);

    let base = BoxedUint::from_be_slice(start, BITS).ok()?;
    for (step, _) in out.iter().enumerate().filter(|(_, out)| !**out) {
        let candidate = base.wrapping_add(BoxedUint::from(2 * step as u64));
        // Beyond the highest number of this size it starts again near zero: then there is none here.
        if candidate < base {
            return None;
        }
        if is_prime(Flavor::Any, &candidate) {
            return Some(candidate);
        }
    }
    None
}

/// Strikes the candidates `start + 2 * step` out that leave `rest` when divided by the odd number `divisor`.
fn strike(out: &mut [bool], start: &[u8], divisor: u64, rest: u64) {
    let remainder = start.chunks(4).fold(0_u64, |remainder, part| {
        part.iter().fold(remainder, |remainder, byte| (remainder << 8) | u64::from(*byte)) % divisor
    });
    // The smallest even distance to such a number, halved.
    let distance = (divisor + rest - remainder) % divisor;
    let distance = if distance.is_multiple_of(2) { distance } else { distance + divisor };
    for candidate in out.iter_mut().skip((distance / 2) as usize).step_by(divisor as usize) {
        *candidate = true;
    }
}

/// The odd primes below [`SMALL`], by the sieve of Eratosthenes.
fn small_primes() -> Vec<u16> {
    // The number 2n + 1 at n.
    let mut composite = vec![false; SMALL / 2];
    let mut primes = Vec::with_capacity(6_541);
    for n in 1..SMALL / 2 {
        if composite.get(n).is_some_and(|composite| *composite) {
            continue;
        }
        let prime = 2 * n + 1;
        // Below 65,536.
        primes.push(prime as u16);
        for multiple in composite.iter_mut().skip(prime * prime / 2).step_by(prime) {
            *multiple = true;
        }
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_primes_are_those_of_the_books() {
        let primes = small_primes();
        // There are 6,542 primes below 65,536, 2 included; the last is 65,521.
        assert_eq!(primes.len(), 6_541);
        assert_eq!(primes[..6], [3, 5, 7, 11, 13, 17]);
        assert_eq!(primes.last(), Some(&65_521));
        assert_eq!(primes.iter().map(|prime| u64::from(*prime)).sum::<u64>(), 202_288_087 - 2);
    }

    #[test]
    fn what_is_struck_out_is_what_leaves_the_rest() {
        for start in [1_u64, 3, 0xFFFF_FFFF, 0x0123_4567_89AB_CDEF] {
            for (divisor, rest) in [(3, 0), (7, 1), (65_521, 0), (65_537, 1)] {
                let mut out = vec![false; 70_000];
                strike(&mut out, &start.to_be_bytes(), divisor, rest);
                for (step, out) in out.iter().enumerate() {
                    let number = u128::from(start) + 2 * step as u128;
                    assert_eq!(*out, number % u128::from(divisor) == u128::from(rest), "{number} by {divisor}");
                }
            }
        }
    }
}
