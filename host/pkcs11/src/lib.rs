//! PKCS#11 tokens behind one door: what `keygate:host/pkcs11` promises to a backend, carried out.
//!
//! A [`Token`] is found by label or serial number, never by slot, and has a pool of sessions, each on a thread of its own.
//! Each call has a deadline and comes back by it with an answer or a typed [`Error`]: a queue that is full says "busy", a
//! module that hangs costs a worker and not the caller, a token that fails again and again is given a rest by a circuit
//! breaker ([`breaker`]) and comes back by itself. After C_Finalize by somebody, removal of the token, a lost login or a
//! restart of the module, sessions and handles are made anew and the call is tried again.
//!
//! No async runtime inside: a [`Pending`] answer is waited for by a thread, or polled as a future of any runtime.
//!
//! # What is never done
//! CKA_VALUE is never read. A PIN is in a wiping type from its file to C_Login, never in `Debug`, a log or an error, and a PIN
//! that was refused is not tried again. A handle of a lost link is never used in the next. A key that did not come out
//! sensitive and as told is destroyed. A making that may have succeeded is looked for before it is tried again.
//!
//! # Quirks, found by trying and not by name
//! - SoftHSM 2.6.1: OAEP with SHA-1 only (CKR_ARGUMENTS_BAD to others, told as unsupported); CKM_AES_KEY_WRAP_PAD is RFC 5649 for
//!   AES keys; shows no private object, and no error, to who was logged out, so "not found" is believed only while logged in;
//!   fails the making of token objects where another thread searches meanwhile, and leaves one without a name (turns are taken
//!   on it; on another token from when a making went well at the second attempt only).
//! - NSS softokn 3.87: C_Encrypt's length without GCM's tag (never asked); CKA_LOCAL of no key: there, and only where a trial
//!   shows that keys from outside are told apart by them, CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE stand in its place.
//! - Tokens that answer a wrong tag with CKR_GENERAL_ERROR or the like: told as a wrong ciphertext when, at that moment, a
//!   right one is opened and a wrong one of the gateway's own is refused with the same code. Costs two calls, and one more.
//! - Tokens that leave GCM's iv alone when asked to fill it in: learned before the first use; an iv of theirs is refused.
//!
//! # Bounds
//! | what | bound |
//! |---|---|
//! | sessions of a token | `sessions`: 1 to 256, default 4 |
//! | calls that wait | `queue`: 0 to 65,536, default 256; more are [`Error::Busy`] |
//! | a call inside the module | its deadline for the caller; `hang` (default 10 s, `hang_generating` 2 min for RSA pairs) for its worker |
//! | written-off workers that are replaced | `written_off`: default 4; beyond it the pool shrinks |
//! | attempts of a call | 3 |
//! | handles of token objects that are kept | `handles`: default 4,096, the one used longest ago goes |
//! | unwrapped keys that are kept as session objects | `unwrapped`: default 1,024, likewise; as many that were generated or imported |
//! | CKA_ID | 1 to 64 bytes |
//! | plaintext, AAD | 65,536 bytes each |
//! | OAEP ciphertext | 512 bytes |
//! | wrapped key, recipient | 4,096 bytes |
//! | random bytes | 4,096 |
//! | PIN | 1 to 256 bytes |
//! | breaker | opens after 5 failures in a row for 1 s, doubling to 30 s |
//! | deadlines of futures | told within 20 ms |
//! | stopping | 5 s for calls inside the module |
//!
//! A key seals at most 2^32 plaintexts with random iv of 96 bits (NIST SP 800-38D, 8.3). Nothing
//! here counts them: who uses a key rotates it in time.

mod bounds;
pub mod breaker;
mod config;
mod conn;
mod der;
mod error;
mod handles;
mod health;
mod key;
mod link;
mod lru;
mod module;
mod ops;
mod pending;
mod pool;
mod probe;
mod provision;
mod raw;
mod rv;
mod serve;
mod token;
mod turns;
mod uses;
mod warden;

pub use breaker::BreakerState;
pub use config::{
    BreakerConfig, Environment, Find, MAX_NAME, MAX_PIN, MAX_QUEUE, MAX_SESSIONS, PinSource, Surroundings, TokenConfig,
};
pub use error::{Error, Rejection, StartError};
pub use health::{Counts, Health, LastError};
pub use key::{Algorithm, Digest, IvSource, Key, KeyTemplate, Sealed, Usage, Wrapping};
pub use module::Modules;
pub use pending::Pending;
pub use probe::{Outcome, Padding, Probe};
pub use provision::{NewToken, provision};
pub use token::{MAX_DATA, MAX_ID, MAX_MAC, MAX_OAEP, MAX_RANDOM, MAX_WRAPPED, Token, TokenInfo};
