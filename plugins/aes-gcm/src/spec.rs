//! Which keys this backend makes and takes.

use keygate_plugin_sdk::backend::{Error, KeyKind, KeySpec, Result};

/// The longest material, in bytes: what the API takes as the payload of a standard key.
pub(crate) const MAX_MATERIAL: u32 = 7_500;

/// What material is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// An AES key of 128, 192 or 256 bits.
    Aes,
    /// Any bytes; standard keys only.
    Secret,
    /// The two primes of an RSA key of 4096 bits; import and transport keys only.
    Rsa,
}

/// What material may be used for. A key-ref is of one of these, and never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To wrap.
    Root,
    /// To be given back.
    Standard,
    /// To open imports.
    Import,
    /// To open what comes from other backends.
    Transport,
}

impl From<KeyKind> for Purpose {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Root => Self::Root,
            KeyKind::Standard => Self::Standard,
        }
    }
}

impl Algorithm {
    /// The names of those that keys can be made of, as the contract spells them.
    pub(crate) const NAMES: [&str; 2] = ["AES", "SECRET"];
}

/// A specification that this backend takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Of what.
    pub(crate) algorithm: Algorithm,
    /// What for.
    pub(crate) purpose: Purpose,
    /// How many bytes.
    pub(crate) bytes: u32,
}

impl Spec {
    /// Checks one.
    pub(crate) fn check(spec: &KeySpec) -> Result<Self> {
        let algorithm = match spec.algorithm.as_str() {
            "AES" => Algorithm::Aes,
            "SECRET" => Algorithm::Secret,
            other => {
                return Err(Error::Unsupported(format!("algorithm `{other}`: this backend takes AES and SECRET")));
            }
        };
        if spec.bits == 0 || !spec.bits.is_multiple_of(8) {
            return Err(Error::InvalidInput(format!("a key of {} bits: use a multiple of 8, 8 or more", spec.bits)));
        }
        let bytes = spec.bits / 8;
        match algorithm {
            Algorithm::Aes if !matches!(bytes, 16 | 24 | 32) => {
                Err(Error::InvalidInput(format!("an AES key of {} bits: use 128, 192 or 256", spec.bits)))
            }
            Algorithm::Secret if spec.kind == KeyKind::Root => {
                Err(Error::InvalidInput("a root key made of a SECRET: use algorithm AES".to_owned()))
            }
            Algorithm::Secret if bytes > MAX_MATERIAL => {
                Err(Error::InvalidInput(format!("a secret of {bytes} bytes: use at most {MAX_MATERIAL}")))
            }
            _ => Ok(Self { algorithm, purpose: spec.kind.into(), bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(algorithm: &str, bits: u32, kind: KeyKind) -> Result<Spec> {
        Spec::check(&KeySpec { algorithm: algorithm.to_owned(), bits, kind })
    }

    #[test]
    fn aes_keys_have_the_three_sizes() {
        for kind in [KeyKind::Root, KeyKind::Standard] {
            for bits in 0..600 {
                let good = matches!(bits, 128 | 192 | 256);
                assert_eq!(check("AES", bits, kind).is_ok(), good, "{bits}");
            }
        }
    }

    #[test]
    fn secrets_are_standard_and_bounded() {
        assert!(check("SECRET", 8, KeyKind::Standard).is_ok());
        assert!(check("SECRET", MAX_MATERIAL * 8, KeyKind::Standard).is_ok());
        for bits in [0, 7, 9, MAX_MATERIAL * 8 + 8, u32::MAX] {
            assert!(matches!(check("SECRET", bits, KeyKind::Standard), Err(Error::InvalidInput(_))), "{bits}");
        }
        assert!(matches!(check("SECRET", 256, KeyKind::Root), Err(Error::InvalidInput(_))));
    }

    #[test]
    fn unknown_algorithms_are_unsupported() {
        for name in ["", "aes", "RSA"] {
            assert!(matches!(check(name, 256, KeyKind::Root), Err(Error::Unsupported(_))), "{name}");
        }
    }
}
