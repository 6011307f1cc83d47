//! Checks that several use cases share. They collect the reasons, so that a caller can mend all at once.

use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{Alias, InstanceId, KeyRingId};
use crate::limits::Limits;
use crate::pipeline::Gateway;
use crate::store::StoreError;

/// The longest AAD entry, in characters (`api-contract`, f).
const MAX_AAD_ENTRY: usize = 255;

/// The longest material of a standard key, in bytes (`api-contract`, f).
pub const MAX_SECRET_BYTES: usize = 7_500;

/// How many reasons are told at once. A body of a megabyte can be wrong in so many places that the answer would be larger
/// than it.
const MOST_REASONS: usize = 20;

/// Gathers what is wrong, of which the first 20 reasons are kept.
#[derive(Default)]
pub struct Problems(Vec<Reason>);

impl Problems {
    /// One more.
    pub fn add(&mut self, reason: Reason) {
        if self.0.len() < MOST_REASONS {
            self.0.push(reason);
        }
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
    /// With the reasons.
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

/// Checks that a ring is there.
///
/// # Errors
/// `KEY_RING_NOT_FOUND_ERR`.
pub async fn check_ring(gateway: &Gateway, instance: InstanceId, ring: &KeyRingId) -> Result<(), Error> {
    if !ring.is_default() && gateway.store.ring(instance, ring).await?.is_none() {
        return Err(StoreError::RingMissing(ring.clone()).into());
    }
    Ok(())
}

/// Checks aliases given with a new key. When there are too many, no one of them is looked at.
pub fn check_aliases(texts: &[String], limits: &Limits, problems: &mut Problems) -> Vec<Alias> {
    if texts.len() > limits.aliases_per_key {
        problems.add(
            Reason::new(ReasonCode::AliasQuota, format!("A key has at most {} aliases", limits.aliases_per_key))
                .field("aliases"),
        );
        return Vec::new();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(problems: Problems) -> Vec<Reason> {
        match problems.finish() {
            Err(Error::Refused(reasons)) => reasons,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn of_what_is_wrong_the_first_twenty_reasons_are_told() {
        let mut problems = Problems::default();
        for n in 0..10_000 {
            problems.field(&n.to_string(), "wrong");
        }
        let told = reasons(problems);
        assert_eq!(told.len(), 20);
        assert_eq!(told[19], Reason::new(ReasonCode::InvalidField, "wrong").field("19"));
    }

    #[test]
    fn of_too_many_aliases_none_is_looked_at() {
        let mut problems = Problems::default();
        let limits = Limits { aliases_per_key: 2, ..Limits::default() };
        let texts = ["good", "not good", "not good"].map(str::to_owned);
        assert_eq!(check_aliases(&texts, &limits, &mut problems), []);
        let codes: Vec<_> = reasons(problems).iter().map(|reason| reason.code).collect();
        assert_eq!(codes, [ReasonCode::AliasQuota]);
    }
}
