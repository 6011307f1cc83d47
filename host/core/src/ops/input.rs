//! Checks that several use cases share. They collect every reason, so that a caller can mend all at once.

use crate::error::{Error, Reason, ReasonCode};
use crate::ids::Alias;
use crate::limits::Limits;
use crate::secret::SecretBytes;

/// The longest AAD entry, in characters (`api-contract`, f).
const MAX_AAD_ENTRY: usize = 255;

/// The longest material of a standard key, in bytes (`api-contract`, f).
pub const MAX_SECRET_BYTES: usize = 7_500;

/// Gathers what is wrong.
#[derive(Default)]
pub struct Problems(Vec<Reason>);

impl Problems {
    /// One more.
    pub fn add(&mut self, reason: Reason) {
        self.0.push(reason);
    }

    /// A field of the body that is not as it must be.
    pub fn field(&mut self, name: &str, message: impl Into<String>) {
        self.add(Reason::new(ReasonCode::InvalidField, message).field(name));
    }

    /// A field of the body that is not there.
    pub fn missing(&mut self, name: &str) {
        self.add(Reason::new(ReasonCode::MissingField, format!("The field `{name}` is required")).field(name));
    }

    /// Fails if anything was wrong.
    ///
    /// # Errors
    /// With all the reasons.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Refused(self.0)) }
    }
}

/// Checks additional authentication data: at most 255 characters an entry, and a bounded number of entries.
pub fn check_aad(aad: &[String], limits: &Limits, problems: &mut Problems) {
    if aad.len() > limits.aad_entries {
        problems.field("aad", format!("`aad` has at most {} entries", limits.aad_entries));
    }
    if aad.iter().any(|entry| entry.chars().count() > MAX_AAD_ENTRY) {
        problems.field("aad", format!("an entry of `aad` has at most {MAX_AAD_ENTRY} characters"));
    }
}

/// Checks aliases given with a new key.
pub fn check_aliases(texts: &[String], limits: &Limits, problems: &mut Problems) -> Vec<Alias> {
    if texts.len() > limits.aliases_per_key {
        problems.add(
            Reason::new(ReasonCode::AliasQuota, format!("A key has at most {} aliases", limits.aliases_per_key))
                .field("aliases"),
        );
    }
    let mut aliases: Vec<Alias> = Vec::with_capacity(texts.len());
    for text in texts {
        match Alias::parse(text) {
            Ok(alias) if aliases.contains(&alias) => {
                problems.field("aliases", format!("the alias '{alias}' stands twice"));
            }
            Ok(alias) => aliases.push(alias),
            Err(rule) => problems.field("aliases", rule),
        }
    }
    aliases
}

/// Checks material that is to become a root key.
pub fn check_root_material(material: &SecretBytes, problems: &mut Problems) {
    if !matches!(material.len(), 16 | 24 | 32) {
        problems.field("payload", "the material of a root key has 16, 24 or 32 bytes, in base64");
    }
}

/// Checks material that is to become a standard key.
pub fn check_secret_material(material: &SecretBytes, problems: &mut Problems) {
    if material.is_empty() || material.len() > MAX_SECRET_BYTES {
        problems
            .field("payload", format!("the material of a standard key has 1 to {MAX_SECRET_BYTES} bytes, in base64"));
    }
}
