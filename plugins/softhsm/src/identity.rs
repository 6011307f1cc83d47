//! Names of objects in a token: which key version, what for, and how it came to be, in one CKA_ID.

use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result};

use crate::spec::{Algorithm, Purpose};

/// What a CKA_ID of this plugin begins with: the format.
const MAGIC: [u8; 3] = *b"KG1";
/// The size of a UUID, in bytes.
const UUID: usize = 16;
/// The size of a CKA_ID of a key version.
pub(crate) const ID: usize = MAGIC.len() + 4 + 3 * UUID;

/// Whether the token made a key or was given it. A key that was given is known to who gave it, so one is never taken for
/// the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// CKA_LOCAL.
    Made,
    /// Imported.
    Given,
    /// Sent by another backend. It may compute CMACs, which is how that backend's ciphertexts are opened.
    Arrived,
}

/// What an object is, as its CKA_ID says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// What for.
    pub(crate) purpose: Purpose,
    /// Of what.
    pub(crate) algorithm: Algorithm,
    /// From where.
    pub(crate) origin: Origin,
    /// The size of an AES key in bytes; of an RSA key 0.
    pub(crate) bytes: u8,
}

/// The CKA_ID of the object that holds this key version and nothing else. The same every time: who asks for a key again
/// whose making was never answered finds it.
///
/// # Errors
/// An identity that is not made of UUIDs: the host's defect.
pub(crate) fn object_id(identity: &KeyIdentity, shape: Shape) -> Result<[u8; ID]> {
    let bad = || Error::Internal("the host gave an identity that is not three UUIDs".to_owned());
    let origin = match shape.origin {
        Origin::Made => 1,
        Origin::Given => 2,
        Origin::Arrived => 3,
    };
    let mut id = [0; ID];
    let (head, uuids) = id.split_at_mut(MAGIC.len() + 4);
    let [a, b, c] = MAGIC;
    head.copy_from_slice(&[a, b, c, shape.purpose.byte(), shape.algorithm.byte(), origin, shape.bytes]);
    let texts = [&identity.instance_id, &identity.key_id, &identity.version_id];
    for (part, text) in uuids.chunks_exact_mut(UUID).zip(texts) {
        part.copy_from_slice(&uuid(text).ok_or_else(bad)?);
    }
    Ok(id)
}

/// Takes apart what a key-ref says is the CKA_ID of `identity`.
///
/// # Errors
/// `invalid-key-ref` for every other one.
pub(crate) fn shape(id: &[u8], identity: &KeyIdentity) -> Result<Shape> {
    let (_, rest) = id.split_at_checked(MAGIC.len()).ok_or(Error::InvalidKeyRef)?;
    let &[purpose, algorithm, origin, bytes, ..] = rest else { return Err(Error::InvalidKeyRef) };
    let shape = Shape {
        purpose: Purpose::of(purpose).ok_or(Error::InvalidKeyRef)?,
        algorithm: Algorithm::of(algorithm).ok_or(Error::InvalidKeyRef)?,
        origin: match origin {
            1 => Origin::Made,
            2 => Origin::Given,
            3 => Origin::Arrived,
            _ => return Err(Error::InvalidKeyRef),
        },
        bytes,
    };
    let sound = match shape.algorithm {
        Algorithm::Aes => shape.purpose == Purpose::Root && matches!(bytes, 16 | 24 | 32),
        Algorithm::Rsa => {
            matches!(shape.purpose, Purpose::Import | Purpose::Transport) && bytes == 0 && shape.origin == Origin::Made
        }
        Algorithm::Secret => false,
    };
    if sound && object_id(identity, shape)? == id { Ok(shape) } else { Err(Error::InvalidKeyRef) }
}

/// A UUID in lower case with hyphens, as bytes.
fn uuid(text: &str) -> Option<[u8; UUID]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; UUID];
    let mut digits = 0;
    for (at, &letter) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if letter != b'-' {
                return None;
            }
            continue;
        }
        let value = match letter {
            b'0'..=b'9' => letter - b'0',
            b'a'..=b'f' => letter - b'a' + 10,
            _ => return None,
        };
        let byte = bytes.get_mut(digits / 2)?;
        *byte = (*byte << 4) | value;
        digits += 1;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { purpose: Purpose::Root, algorithm: Algorithm::Aes, origin: Origin::Made, bytes: 32 };

    fn identity() -> KeyIdentity {
        KeyIdentity {
            instance_id: "00112233-4455-6677-8899-aabbccddeeff".into(),
            key_id: "22222222-2222-4222-8222-222222222222".into(),
            version_id: "33333333-3333-4333-8333-333333333333".into(),
        }
    }

    #[test]
    fn an_id_spells_what_it_is() {
        let id = object_id(&identity(), SHAPE).unwrap();
        assert_eq!(id[..7], *b"KG1\x01\x01\x01\x20");
        assert_eq!(
            id[7..23],
            [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]
        );
        assert_eq!(id.len(), 55);
        assert_eq!(shape(&id, &identity()), Ok(SHAPE));
    }

    #[test]
    fn every_part_makes_another_id() {
        let shapes = [
            SHAPE,
            Shape { origin: Origin::Given, ..SHAPE },
            Shape { origin: Origin::Arrived, ..SHAPE },
            Shape { bytes: 16, ..SHAPE },
            Shape { purpose: Purpose::Import, algorithm: Algorithm::Rsa, bytes: 0, ..SHAPE },
            Shape { purpose: Purpose::Transport, algorithm: Algorithm::Rsa, bytes: 0, ..SHAPE },
        ];
        let ids: std::collections::BTreeSet<_> = shapes.map(|shape| object_id(&identity(), shape).unwrap()).into();
        assert_eq!(ids.len(), shapes.len());
        let other = KeyIdentity { version_id: "33333333-3333-4333-8333-333333333334".into(), ..identity() };
        for id in &ids {
            assert_eq!(shape(id, &other), Err(Error::InvalidKeyRef));
            for bit in 0..ID * 8 {
                let mut bad = *id;
                bad[bit / 8] ^= 1 << (bit % 8);
                // A bit may make an id of another sound shape. That names another object, which is not there.
                let found = shape(&bad, &identity());
                assert_ne!(found, shape(id, &identity()), "bit {bit}");
                assert!(bit / 8 == 5 || bit / 8 == 6 || bit / 8 == 3 || found.is_err(), "bit {bit}: {found:?}");
            }
            for len in 0..ID {
                assert_eq!(shape(&id[..len], &identity()), Err(Error::InvalidKeyRef));
            }
        }
    }

    #[test]
    fn only_uuids_are_identities() {
        for bad in [
            "",
            "i",
            "33333333-3333-4333-8333-33333333333",
            "33333333-3333-4333-8333-3333333333333",
            "33333333_3333-4333-8333-333333333333",
            "33333333-3333-4333-8333-33333333333G",
            "33333333-3333-4333-8333-33333333333A",
        ] {
            let identity = KeyIdentity { version_id: bad.into(), ..identity() };
            assert!(matches!(object_id(&identity, SHAPE), Err(Error::Internal(_))), "{bad}");
        }
    }
}
