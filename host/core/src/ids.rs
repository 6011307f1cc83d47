//! Identifiers: of instances, keys, key versions, aliases and key rings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entropy::{Entropy, EntropyError};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID of any version.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The identifier with these bytes, in network order.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, in network order.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// A fresh version 4 UUID.
            ///
            /// # Errors
            /// When there is no entropy to be had.
            pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
                Ok(Self(random_uuid(entropy)?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            /// Reads the hyphenated form (36 bytes, either case) and no other.
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                parse_hyphenated(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A Key Protect service instance, the tenant of this API.
    InstanceId
);
uuid_id!(
    /// A key. Unique in its instance; also the id of its first version (`api-contract`, b).
    KeyId
);
uuid_id!(
    /// One version of a key.
    VersionId
);
uuid_id!(
    /// A key policy.
    PolicyId
);
uuid_id!(
    /// The moving of an instance's keys from one backend to another.
    MigrationId
);
uuid_id!(
    /// Something that happened to a registered key, for its adopter to acknowledge.
    EventId
);

impl InstanceId {
    /// The nil UUID: no instance, but the gateway itself, in questions to the rules about that. No instance can be
    /// configured with it.
    pub const GATEWAY: Self = Self(Uuid::nil());
}

impl KeyId {
    /// The id of the key's first version, which is the key's own.
    pub const fn first_version(&self) -> VersionId {
        VersionId(self.0)
    }
}

/// A fresh version 4 UUID.
///
/// # Errors
/// When there is no entropy to be had.
pub fn random_uuid(entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn parse_hyphenated(text: &str) -> Result<Uuid, uuid::Error> {
    let uuid = Uuid::try_parse(text)?;
    // `try_parse` also takes the simple, braced and URN forms, which are no identifiers of this API.
    if text.len() == 36 { Ok(uuid) } else { Uuid::try_parse("") }
}

/// A name for a key that is unique in its instance. `[A-Za-z0-9_-]{2,90}`, case-sensitive, neither a UUID nor a reserved
/// word (`api-contract`, j).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alias(String);

/// Words that are parts of the API's paths and so cannot name a key.
pub const RESERVED_ALIASES: [&str; 16] = [
    "allowed_ip",
    "key",
    "keys",
    "metadata",
    "policy",
    "policies",
    "registration",
    "registrations",
    "ring",
    "rings",
    "rotate",
    "wrap",
    "unwrap",
    "rewrap",
    "version",
    "versions",
];

impl Alias {
    /// Checks a text against the rules for aliases.
    ///
    /// # Errors
    /// With the rule that it breaks, in words for the caller.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(2..=90).contains(&text.len()) {
            return Err("an alias has 2 to 90 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("an alias consists of letters, digits, '-' and '_'");
        }
        if parse_hyphenated(text).is_ok() {
            return Err("an alias is not a UUID");
        }
        if RESERVED_ALIASES.contains(&text) {
            return Err("this alias is reserved, because it is a part of the API's paths");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key ring: a part of an instance that roles can be given on. `[A-Za-z0-9-]{2,100}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyRingId(String);

impl KeyRingId {
    /// The ring that every instance has.
    pub const DEFAULT: &'static str = "default";

    /// Checks a text against the rules for key ring ids.
    ///
    /// # Errors
    /// With the rule that it breaks, in words for the caller.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(2..=100).contains(&text.len()) {
            return Err("a key ring id has 2 to 100 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err("a key ring id consists of letters, digits and '-'");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the ring that every instance has.
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl Default for KeyRingId {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for KeyRingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a request names a key: by id or by alias (`api-v2: every path with {id}`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySelector {
    /// A UUID.
    Id(KeyId),
    /// An alias.
    Alias(Alias),
    /// Neither: no key can have this name.
    Impossible(String),
}

impl KeySelector {
    /// Reads a path segment. Never fails, so that authorization can come before the answer that there is no such key.
    pub fn parse(text: &str) -> Self {
        if let Ok(id) = text.parse() {
            return Self::Id(id);
        }
        match Alias::parse(text) {
            Ok(alias) => Self::Alias(alias),
            Err(_) => Self::Impossible(text.to_owned()),
        }
    }
}

impl fmt::Display for KeySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Alias(alias) => alias.fmt(f),
            Self::Impossible(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_its_hyphenated_id_only() {
        let id = "fadedbee-0000-0000-0000-1234567890ab";
        assert!(matches!(KeySelector::parse(id), KeySelector::Id(_)));
        assert!(matches!(KeySelector::parse("FADEDBEE-0000-0000-0000-1234567890AB"), KeySelector::Id(_)));
        assert!(matches!(KeySelector::parse("fadedbee0000000000001234567890ab"), KeySelector::Alias(_)));
        assert!(matches!(
            KeySelector::parse("urn:uuid:fadedbee-0000-0000-0000-1234567890ab"),
            KeySelector::Impossible(_)
        ));
    }

    #[test]
    fn aliases_keep_their_rules() {
        assert!(Alias::parse("my_key-1").is_ok());
        assert!(Alias::parse(&"a".repeat(90)).is_ok());
        for bad in ["a", &"a".repeat(91), "a b", "kéy", "keys", "rewrap", "fadedbee-0000-0000-0000-1234567890ab", ""] {
            assert!(Alias::parse(bad).is_err(), "{bad:?} was taken for an alias");
        }
    }

    #[test]
    fn key_rings_keep_their_rules() {
        assert!(KeyRingId::parse("prod-eu").is_ok());
        for bad in ["a", "under_score", &"r".repeat(101), "sp ace"] {
            assert!(KeyRingId::parse(bad).is_err(), "{bad:?} was taken for a key ring");
        }
    }
}
