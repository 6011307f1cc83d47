//! The built-in software backend: key material sealed under a KEK, data sealed under key material, both with
//! XAES-256-GCM.
//!
//! # The construction
//!
//! [XAES-256-GCM](https://c2sp.org/XAES-256-GCM) (C2SP): the first 12 bytes of a random 24-byte nonce choose a key for
//! this one message, by the counter-mode KDF of NIST SP 800-108r1 with AES-CMAC as its pseudorandom function; the other
//! 12 are the nonce of AES-256-GCM under that key. So nonces may be random without counting: after 2^80 messages under
//! one key the chance that two of them ever shared a nonce is 2^-32. Plain AES-256-GCM with random nonces reaches that
//! chance after 2^32 messages.
//!
//! Root keys may have 128, 192 or 256 bits. With 256 it is XAES-256-GCM to the letter. With 128 or 192 the pseudorandom
//! function is CMAC with AES-128 or AES-192, and all else is the same, AES-256-GCM included: the caller's key is as
//! strong as its size says, no block cipher is ever keyed with a padded or truncated key, and no second KDF (with a hash
//! function) is needed. Keys of different sizes are never the same key, and material is used for nothing but this, so
//! the 256-bit case needs no separation of its own.
//!
//! # A key-ref, format 1
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format, `0xA1` |
//! | 4 | the version of the KEK, big-endian |
//! | 1 | what for: 1 root key, 2 standard key, 3 import key, 4 transport key |
//! | 1 | the algorithm: 1 `AES`, 2 `SECRET`, 3 `RSA` |
//! | 24 | the nonce |
//! | n | the material, encrypted under the KEK |
//! | 16 | the tag |
//!
//! Additional data: `keygate/aes-gcm/key-ref/1`, the first 7 bytes of the key-ref, the material's size in bits (4 bytes,
//! big-endian), the instance id, the key id, the version id; each with its length in 4 bytes, big-endian, in front. So a
//! key-ref opens for the key version, purpose, algorithm and size that it was made for, or not at all. The material of an
//! import or transport key is the two primes of its RSA-4096 pair, 256 bytes each; the public exponent is 65,537.
//!
//! # A ciphertext, format 1
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format, `0xB1` |
//! | 24 | the nonce |
//! | n | the plaintext, encrypted under the root key |
//! | 16 | the tag |
//!
//! Additional data: `keygate/aes-gcm/wrap/1`, the instance id, the key id, the version id, the caller's AAD; each with
//! its length likewise. Material imported twice makes two keys that do not read each other's ciphertexts.
//!
//! # What else is opened
//!
//! Ciphertexts of the HSM backend (`softhsm`, `0xD1`): a key that moves from there has wrapped some (`docs/adr/0014-moving-keys.md`).
//! They are AES-GCM under the root key itself, and none are made here.
//!
//! # Keys that move
//!
//! With `transport` on, root keys and AES standard keys leave sealed to another backend's RSA key, in the format of
//! `seal-for-transport` in `wit/crypto/backend.wit`, and come likewise. The hash of OAEP that is set is that of what leaves, so
//! it must be one that the other backend's token has; what comes is opened with either.
//!
//! Both formats stay readable for ever; a new one gets a new first byte.

mod aad;
mod backend;
mod foreign;
mod gcm;
mod import;
mod kek;
mod keyref;
mod probe;
mod settings;
mod spec;
mod transport;
mod wrapping;
mod xaes;

pub use backend::AesGcm;

keygate_plugin_sdk::export_backend!(AesGcm);
