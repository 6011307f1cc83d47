//! Additional data: what a ciphertext is bound to.

use keygate_plugin_sdk::backend::KeyIdentity;
use sha2::{Digest as _, Sha256};

/// The longest additional data that is given to a token as it is, in bytes. Modules differ in how much they take.
const LONGEST: usize = 1_024;

/// Joins a purpose and parts, each with its length in 4 bytes (big-endian) in front. With a fixed number of parts for
/// each purpose, two different lists never give the same bytes. What comes out longer than 1,024 bytes is replaced by
/// the purpose with `/sha-256` behind it and the SHA-256 of it, joined likewise.
pub(crate) fn join<const N: usize>(purpose: &str, parts: [&[u8]; N]) -> Vec<u8> {
    let joined = plain(purpose, &parts);
    if joined.len() <= LONGEST {
        return joined;
    }
    plain(&format!("{purpose}/sha-256"), &[Sha256::digest(&joined).as_slice()])
}

/// The same, however long it comes out.
pub(crate) fn plain(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let size = parts.iter().fold(4 + purpose.len(), |size, part| size + 4 + part.len());
    let mut joined = Vec::with_capacity(size);
    for part in core::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
        // The contract's bounds keep every part far below 4 GiB.
        joined.extend_from_slice(&(part.len() as u32).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

/// The three parts of an identity, in the order of the formats.
pub(crate) fn identity(identity: &KeyIdentity) -> [&[u8]; 3] {
    [identity.instance_id.as_bytes(), identity.key_id.as_bytes(), identity.version_id.as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_keep_the_parts_apart() {
        assert_eq!(join("ab", [b"c", b""]), b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\0");
        assert_ne!(join("p", [b"ab", b"c"]), join("p", [b"a", b"bc"]));
        assert_ne!(join("pa", [b"b"]), join("p", [b"ab"]));
    }

    #[test]
    fn what_is_long_is_hashed() {
        // 4 + 1 bytes of purpose, 4 of length.
        assert_eq!(join("p", [&[0; LONGEST - 9]]).len(), LONGEST);
        let long = join("p", [&[0; LONGEST - 8]]);
        assert_eq!(long.len(), 4 + "p/sha-256".len() + 4 + 32);
        assert!(long.starts_with(b"\0\0\0\x09p/sha-256\0\0\0\x20"));
        assert_ne!(long, join("p", [&[1; LONGEST - 8]]));
        assert_ne!(long, join("p", [&[0; LONGEST - 7]]));
    }
}
