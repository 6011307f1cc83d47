//! The built-in HSM backend: root keys in a PKCS#11 token, or wrapped by a key of one; data sealed by the token with
//! AES-GCM. It has no cipher of its own but to read what another backend sealed. What differs between the modules of vendors is in its settings; it is named after
//! the one that it is tested on. The operator's guide to it is `docs/operators-hsm.md`.
//!
//! # Where keys are
//!
//! **Root keys**, with `keep = "token"`: objects in the token, never exportable. With `keep = "wrapped"` (the default): made in
//! the token as an exportable session object, which is wrapped by the token's wrapping key and ends with the call. To be used
//! it is unwrapped into a session object that cannot be exported, and which the host keeps for the next call: until the key is
//! destroyed, the place is needed (`unwrapped` of the token), or the link to the token is lost. Only to be sent to another
//! backend, or wrapped by another version of the wrapping key, is it unwrapped once more so that it can be wrapped, for that call.
//! The bytes of a root key are in the sandbox only when a client sends them in clear (an import without an import token) or
//! under an import token with `import_keys = "sandbox"`.
//!
//! **Standard keys** are secrets that their owners read back, so no key of a token: their bytes are sealed by the token.
//!
//! **Import keys** (RSA-4096): `import_keys` says where. Transport keys are always in the token or wrapped.
//!
//! # The plugin's own keys
//!
//! Two AES-256 keys in the token for each `wrapping_key_version` V, with these CKA_IDs (as text; N is `wrapping_key`):
//!
//! - `N/wrap/V` wraps and unwraps keys, and may do nothing else;
//! - `N/seal/V` encrypts and decrypts with AES-GCM, and may do nothing else.
//!
//! Two, because a key that may both wrap and decrypt gives away what it wraps: wrap, then decrypt (Clulow 2003). Neither
//! can be exported. New key-refs are sealed under the version that is set, old ones opened under the one that they name;
//! `reseal-key` moves them.
//!
//! # A key-ref, format 1, of an object
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format, `0xC1` |
//! | 55 | the object's CKA_ID |
//!
//! The CKA_ID is `KG1`, what for (1 root key, 3 import key, 4 transport key), the algorithm (1 `AES`, 3 `RSA`), the origin (1
//! made in the token, 2 imported, 3 sent by another backend), the size of an AES key in bytes (0 for RSA), and the instance, the key and the version, 16
//! bytes each. So it follows from the identity, and this is what binds the key-ref: the plugin computes it anew and compares
//! (`invalid-key-ref`), and one that was forged to fit names an object that is not there (`key-not-found`). No object is
//! ever one of another identity, use, origin or size.
//!
//! **A lost answer.** Whoever asks again to make the key of an identity gets the object that is there. Whoever asks again to
//! import gets it if the material is the same, which the token tells by opening with the one what the other sealed; an
//! object that is another key is an error, and is left alone. A key whose making nobody knows of is an object whose CKA_ID
//! spells instance, key and version: `docs/operators-hsm.md` says how to find those that the gateway does not know. With
//! `keep = "wrapped"` there is nothing to lose or find: session objects that were made end with the call.
//!
//! **Destroyed, or another token.** Whoever asks again to destroy an object finds none, and so does who asks an empty token, or
//! another's. So before the first object is kept, `N/seal/V` is made, and an object that is not there counts as destroyed only
//! in a token that has the sealing key, of whatever version; elsewhere it is `unavailable`.
//!
//! # A key-ref, format 2, sealed
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format, `0xC2` |
//! | 1 | what for: 1 root key, 2 standard key, 3 import key, 4 transport key |
//! | 1 | the algorithm: 1 `AES`, 2 `SECRET`, 3 `RSA` |
//! | 1 | what is sealed: 0 the material, or a key wrapped by CKM_AES_KEY_WRAP (1), _PAD (2), _KWP (3); 4 more for a root key that another backend sent |
//! | 4 | the version of the plugin's keys, big-endian |
//! | 1 | the size of the iv, 12 to 16 |
//! | n | the iv |
//! | m | AES-GCM under `N/seal/V`, with its tag of 16 bytes behind |
//!
//! Additional data: `keygate/softhsm/key-ref/1`, the first 8 bytes of the key-ref, the instance id, the key id, the version id;
//! each with its length in 4 bytes, big-endian, in front. RSA material that is sealed as it is, is its two primes.
//!
//! AES key wrapping has no additional data, so the identity is bound by sealing the wrapped key once more. What is gained
//! over a tag beside it: nobody can forget to check it, because the wrapped bytes come out of nothing else. It costs one
//! more call on the token for each use, and no way round that was found that does not let a key that an attacker imported
//! stand in for a victim's (ADR 0012). What each loss means:
//!
//! - Who has the store: nothing, no order of it can be changed, and no kind.
//! - Who has the store and could decrypt with `N/seal/V`: the standard keys, and import keys of the sandbox. Of root keys
//!   they have the wrapped bytes; they could move them between identities.
//! - Who has the store and could unwrap with `N/wrap/V`: nothing, without `N/seal/V`.
//! - The token is lost with no backup: everything is. It is replaced by an empty one: `unavailable`, which names the missing
//!   key, until something new is kept and the plugin makes new keys of the same names (`make_wrapping_keys = false` sees to it
//!   that it does not); then old key-refs are `invalid-key-ref`, until the right token is back.
//!
//! # A ciphertext, format 1
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format, `0xD1` |
//! | 1 | the size of the iv, 12 to 16 |
//! | n | the iv |
//! | m | a byte 1 and the plaintext, AES-GCM under the root key, with its tag of 16 bytes behind |
//!
//! Additional data: `keygate/softhsm/wrap/1`, the instance id, the key id, the version id, the caller's AAD; each with its length
//! likewise; if that is longer than 1,024 bytes, `keygate/softhsm/wrap/1/sha-256` and its SHA-256 instead, each with its
//! length. The byte in front is there because not every module encrypts an empty text; modules differ as much in how much
//! additional data they take.
//!
//! # Keys that move
//!
//! With `transport` on, root keys leave, sealed to another backend's RSA key in the format of `seal-for-transport` in
//! `wit/crypto/backend.wit`, and come likewise; one that is an object in the token does not leave. A root key that came has
//! CKA_SIGN beside CKA_ENCRYPT and CKA_DECRYPT, no other has. With it the token computes CMACs, and so ciphertexts of the software
//! backend (`aes-gcm`, format `0xB1`) are opened: the key of the one message is derived by the token, and AES-256-GCM under it is
//! done in the sandbox. None are made. Why, and what it means for secrecy: `docs/adr/0014-moving-keys.md`.
//!
//! # How many messages
//!
//! AES-GCM under a random iv of 96 bits: after 2^32 messages under one key version the chance that an iv came twice is 2^-33,
//! which is where NIST SP 800-38D (8.3) says to stop. That is 497 days at 100 wraps a second, and 5 days at 10,000: rotate a
//! key before, by its rotation policy. The software backend derives a key for each message from a longer nonce; PKCS#11 has
//! no derivation that modules have in common and that leaves the derived key in the token. Of a key that moved, all messages count that any
//! token sealed under it. With `iv = "token"` the bound is
//! the module's own. The sealing key seals once for each key that is made or resealed, and stays far below.
//!
//! All formats stay readable for ever; a new one gets a new first byte.

mod aad;
mod backend;
mod errors;
mod foreign;
mod hsm;
mod identity;
mod import;
mod keyref;
mod probe;
mod settings;
mod spec;
mod transport;
mod wrapping;

#[cfg(test)]
mod tests;

pub use backend::SoftHsm;

keygate_plugin_sdk::export_backend!(SoftHsm);
