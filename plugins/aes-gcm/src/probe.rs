//! Shows that the backend works: known answers first, then the granted KEK.

use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result};

use crate::backend::AesGcm;
use crate::kek::Kek;
use crate::keyref;
use crate::spec::{Algorithm, Purpose, Spec};
use crate::wrapping;
use crate::xaes;

/// A known answer of XAES-256-GCM.
pub(crate) struct KnownAnswer {
    /// Every byte of the key.
    pub(crate) key_byte: u8,
    /// The additional data.
    pub(crate) aad: &'static [u8],
    /// The ciphertext, with the tag.
    pub(crate) sealed: &'static [u8],
}

/// The nonce of both known answers.
pub(crate) const NONCE: &[u8; xaes::NONCE] = b"ABCDEFGHIJKLMNOPQRSTUVWX";
/// The plaintext of both.
pub(crate) const PLAINTEXT: &[u8] = b"XAES-256-GCM";

/// The published test vectors: <https://c2sp.org/XAES-256-GCM>.
pub(crate) const KNOWN_ANSWERS: [KnownAnswer; 2] = [
    KnownAnswer {
        key_byte: 0x01,
        aad: b"",
        sealed: b"\xce\x54\x6e\xf6\x3c\x9c\xc6\x07\x65\x92\x36\x09\xb3\x3a\x9a\x19\x74\xe9\x6e\x52\xda\xf2\xfc\xf7\
            \x07\x5e\x22\x71",
    },
    KnownAnswer {
        key_byte: 0x03,
        aad: b"c2sp.org/XAES-256-GCM",
        sealed: b"\x98\x6e\xc1\x83\x25\x93\xdf\x54\x43\xa1\x79\x43\x7f\xd0\x83\xbf\x3f\xdb\x41\xab\xd7\x40\xa2\x1f\
            \x71\xeb\x76\x9d",
    },
];

/// Runs everything. Leaves nothing behind, and takes no randomness: what is sealed here is thrown away.
pub(crate) fn run(backend: &AesGcm) -> Result<()> {
    for answer in &KNOWN_ANSWERS {
        let key = [answer.key_byte; 32];
        let mut sealed = PLAINTEXT.to_vec();
        let same = xaes::seal(&key, NONCE, answer.aad, &mut sealed, 0).is_ok_and(|()| sealed == answer.sealed);
        let opened = xaes::open(&key, NONCE, answer.aad, answer.sealed).is_ok_and(|opened| *opened == PLAINTEXT);
        if !same || !opened {
            return Err(broken("XAES-256-GCM does not give its known answer"));
        }
    }

    let kek = Kek::current(backend.kek())?;
    let identity =
        KeyIdentity { instance_id: "probe".to_owned(), key_id: "probe".to_owned(), version_id: "probe".to_owned() };
    let spec = Spec { algorithm: Algorithm::Aes, purpose: Purpose::Root, bytes: 32 };
    let material = [0x2a; 32];
    let reference = keyref::seal(&kek, NONCE, &identity, spec, &material)?;
    let opened = keyref::open(&reference, &identity, |version| Kek::version(backend.kek(), version))?;
    if *opened.material != material || opened.purpose != Purpose::Root {
        return Err(broken("a key-ref does not open to what was sealed in it"));
    }
    let wrapped = wrapping::wrap(&material, NONCE, &identity, PLAINTEXT, b"aad")?;
    if *wrapping::unwrap(&material, &identity, &wrapped, b"aad")? != PLAINTEXT {
        return Err(broken("a ciphertext does not open to its plaintext"));
    }
    if wrapping::unwrap(&material, &identity, &wrapped, b"other").is_ok() {
        return Err(broken("a ciphertext opens with another AAD"));
    }
    Ok(())
}

fn broken(what: &str) -> Error {
    Error::Internal(what.to_owned())
}
