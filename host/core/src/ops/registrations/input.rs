//! What a service says of a registration.

use super::super::input::Problems;
use crate::error::Error;
use crate::ids::VersionId;
use crate::registration::Registration;

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 240;

/// The longest note, in bytes; the API publishes no bound.
const MAX_NOTE: usize = 4096;

/// What a service says of a registration. What is not given is left as it is by a merge, and empty otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationInput {
    /// At most 240 characters.
    pub description: Option<String>,
    /// Whether the key must not be deleted, even by force.
    pub prevent_key_deletion: Option<bool>,
    /// The service's own note (`registrationMetadata`), at most 4,096 bytes.
    pub note: Option<String>,
    /// The key version that the resource is protected by (`keyVersionId`).
    pub version: Option<VersionId>,
}

impl RegistrationInput {
    pub(super) fn check(&self) -> Result<(), Error> {
        let mut problems = Problems::default();
        if self.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            problems.field("description", format!("`description` has at most {MAX_DESCRIPTION} characters"));
        }
        if self.note.as_ref().is_some_and(|note| note.len() > MAX_NOTE) {
            problems.field("registrationMetadata", format!("`registrationMetadata` has at most {MAX_NOTE} bytes"));
        }
        problems.finish()
    }

    /// Whether a registration has the same properties.
    pub(super) fn says(&self, registration: &Registration) -> bool {
        self.description == registration.description
            && self.prevent_key_deletion.unwrap_or(false) == registration.prevent_key_deletion
            && self.note == registration.note
    }
}
