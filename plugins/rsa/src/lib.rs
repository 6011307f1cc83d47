//! RSA key pairs of 4096 bits in a sandbox: made, kept as two primes, and used to open what was encrypted to them.
//!
//! For backends: what opens imports in software does it with this, whatever it keeps keys in. Nothing here is a plugin.

mod pair;
mod primes;
mod random;

pub use pair::{Hash, PRIMES, RsaPair, encrypt};
pub use random::Random;
