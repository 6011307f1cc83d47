//! What a client holds as ciphertext: a header in clear, which says which key version and backend opens it, and the
//! backend's own bytes behind.
//!
//! Format 1, all lengths in bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 3 | `KGW` |
//! | 1 | format: 1 |
//! | 16 | key version id |
//! | 1 | length of the backend's name, 1 to 64 |
//! | n | the backend's name, UTF-8 |
//! | rest | what the backend's `wrap` gave |
//!
//! Whoever changes a bit of the header changes the AAD, so the backend refuses it. Formats once written stay readable
//! for ever; golden files in the tests hold them.

use crate::backend::KeyIdentity;
use crate::ids::VersionId;

const MAGIC: &[u8; 3] = b"KGW";
const FORMAT: u8 = 1;
const FIXED: usize = 3 + 1 + 16 + 1;
const MAX_BACKEND_NAME: usize = 64;

/// A ciphertext, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The key version it was wrapped under.
    pub version: VersionId,
    /// The backend that wrapped it.
    pub backend: String,
    /// What that backend gave.
    pub wrapped: Vec<u8>,
}

/// The bytes are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a ciphertext of this gateway")]
pub struct NotAnEnvelope;

/// What a backend gave cannot be handed out: nobody could read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ciphertext needs a backend with a name of 1 to 64 bytes, and something that it wrapped")]
pub struct Unencodable;

impl Envelope {
    /// Puts the header before the backend's bytes.
    ///
    /// # Errors
    /// When it could not be taken apart again: the backend's name has not 1 to 64 bytes, or it gave nothing.
    pub fn encode(&self) -> Result<Vec<u8>, Unencodable> {
        let name = self.backend.as_bytes();
        if name.is_empty() || name.len() > MAX_BACKEND_NAME || self.wrapped.is_empty() {
            return Err(Unencodable);
        }
        let mut bytes = Vec::with_capacity(FIXED + name.len() + self.wrapped.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.version.as_bytes());
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&self.wrapped);
        Ok(bytes)
    }

    /// Takes bytes apart.
    ///
    /// # Errors
    /// When they are not an envelope of a known format.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAnEnvelope> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(NotAnEnvelope)?;
        let (&format, rest) = rest.split_first().ok_or(NotAnEnvelope)?;
        if format != FORMAT {
            return Err(NotAnEnvelope);
        }
        let (version, rest) = rest.split_first_chunk::<16>().ok_or(NotAnEnvelope)?;
        let (&len, rest) = rest.split_first().ok_or(NotAnEnvelope)?;
        let (name, wrapped) = rest.split_at_checked(usize::from(len)).ok_or(NotAnEnvelope)?;
        let backend = std::str::from_utf8(name).map_err(|_| NotAnEnvelope)?;
        if backend.is_empty() || backend.len() > MAX_BACKEND_NAME || wrapped.is_empty() {
            return Err(NotAnEnvelope);
        }
        Ok(Self { version: VersionId::from_bytes(*version), backend: backend.to_owned(), wrapped: wrapped.to_owned() })
    }
}

/// The AAD that a backend gets: everything that a ciphertext must be bound to, in one unambiguous encoding.
///
/// `keygate/aad/1`, then instance, key and version (16 bytes each), the backend's name and the caller's entries, each
/// text with its length before it (4 bytes, big-endian), and the number of entries before those. Their order counts.
pub fn canonical_aad(identity: &KeyIdentity, backend: &str, caller: &[String]) -> Vec<u8> {
    const DOMAIN: &[u8] = b"keygate/aad/1";
    let size = DOMAIN.len() + 48 + 8 + backend.len() + caller.iter().map(|entry| entry.len() + 4).sum::<usize>();
    let mut aad = Vec::with_capacity(size);
    aad.extend_from_slice(DOMAIN);
    aad.extend_from_slice(identity.instance.as_bytes());
    aad.extend_from_slice(identity.key.as_bytes());
    aad.extend_from_slice(identity.version.as_bytes());
    push_text(&mut aad, backend);
    push_length(&mut aad, caller.len());
    for entry in caller {
        push_text(&mut aad, entry);
    }
    aad
}

fn push_text(to: &mut Vec<u8>, text: &str) {
    push_length(to, text.len());
    to.extend_from_slice(text.as_bytes());
}

fn push_length(to: &mut Vec<u8>, len: usize) {
    // Bodies are bounded at far less than 4 GiB, so no length is ever cut.
    to.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{InstanceId, KeyId};

    fn identity() -> KeyIdentity {
        KeyIdentity {
            instance: InstanceId::from_bytes([1; 16]),
            key: KeyId::from_bytes([2; 16]),
            version: VersionId::from_bytes([3; 16]),
        }
    }

    #[test]
    fn format_1_is_what_it_always_was() {
        let envelope = Envelope {
            version: VersionId::from_bytes([0xAB; 16]),
            backend: "aes-gcm".to_owned(),
            wrapped: vec![1, 2, 3],
        };
        let golden: Vec<u8> = [&b"KGW\x01"[..], &[0xAB; 16], &[7], b"aes-gcm", &[1, 2, 3]].concat();
        assert_eq!(envelope.encode().unwrap(), golden);
        assert_eq!(Envelope::decode(&golden).unwrap(), envelope);
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let version = VersionId::from_bytes([1; 16]);
        for (backend, wrapped) in [("b".repeat(65), vec![1]), (String::new(), vec![1]), ("b".to_owned(), Vec::new())] {
            assert_eq!(Envelope { version, backend, wrapped }.encode(), Err(Unencodable));
        }
    }

    #[test]
    fn the_canonical_aad_is_what_it_always_was() {
        let aad = canonical_aad(&identity(), "b", &["x".to_owned(), String::new()]);
        let golden: Vec<u8> = [
            &b"keygate/aad/1"[..],
            &[1; 16],
            &[2; 16],
            &[3; 16],
            &[0, 0, 0, 1, b'b'],
            &[0, 0, 0, 2],
            &[0, 0, 0, 1, b'x'],
            &[0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(aad, golden);
    }

    #[test]
    fn aad_entries_do_not_run_into_each_other() {
        let of = |entries: &[&str]| {
            canonical_aad(&identity(), "b", &entries.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let all = [of(&["ab"]), of(&["a", "b"]), of(&["b", "a"]), of(&["ab", ""]), of(&[]), of(&[""])];
        for (i, one) in all.iter().enumerate() {
            for other in &all[i + 1..] {
                assert_ne!(one, other);
            }
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_undoes_encoding(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(envelope) = Envelope::decode(&bytes) {
                prop_assert_eq!(envelope.encode().unwrap(), bytes);
            }
        }

        #[test]
        fn encoding_round_trips(version in any::<[u8; 16]>(), backend in "[a-z0-9-]{1,64}",
                                wrapped in prop::collection::vec(any::<u8>(), 1..100)) {
            let envelope = Envelope { version: VersionId::from_bytes(version), backend, wrapped };
            prop_assert_eq!(Envelope::decode(&envelope.encode().unwrap()).unwrap(), envelope);
        }
    }
}
