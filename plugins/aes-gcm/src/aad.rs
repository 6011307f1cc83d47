//! Additional data: what a ciphertext is bound to.

use keygate_plugin_sdk::backend::KeyIdentity;

/// Joins a purpose and parts, each with its length in 4 bytes (big-endian) in front. With a fixed number of parts for
/// each purpose, two different lists never give the same bytes.
pub(crate) fn join<const N: usize>(purpose: &str, parts: [&[u8]; N]) -> Vec<u8> {
    let size = parts.iter().fold(4 + purpose.len(), |size, part| size + 4 + part.len());
    let mut joined = Vec::with_capacity(size);
    for part in core::iter::once(purpose.as_bytes()).chain(parts) {
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
    use super::join;

    #[test]
    fn lengths_keep_the_parts_apart() {
        assert_eq!(join("ab", [b"c", b""]), b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\0");
        assert_ne!(join("p", [b"ab", b"c"]), join("p", [b"a", b"bc"]));
        assert_ne!(join("pa", [b"b"]), join("p", [b"ab"]));
    }
}
