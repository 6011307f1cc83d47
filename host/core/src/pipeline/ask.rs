//! What a request wants, in the words that the chain is asked in.

use crate::access::Action;
use crate::ids::{KeyRingId, KeySelector};
use crate::ops::material::Material;

/// What a request wants, as far as the chain is asked about it.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub(super) action: Action,
    pub(super) key: Option<&'a KeySelector>,
    pub(super) ring: Option<&'a KeyRingId>,
    pub(super) beyond_rings: bool,
    pub(super) data_bytes: Option<u64>,
    pub(super) attributes: Vec<(&'static str, String)>,
}

impl<'a> Ask<'a> {
    /// Something about the instance as a whole, or about that part of it that the request names as its ring.
    pub fn instance(action: Action) -> Self {
        Self { action, key: None, ring: None, beyond_rings: false, data_bytes: None, attributes: Vec::new() }
    }

    /// Something about the instance that no ring has a part in. The rules are told of no ring, whichever the request
    /// names: or a role on one ring would do for all of them.
    pub fn beyond_rings(action: Action) -> Self {
        Self { beyond_rings: true, ..Self::instance(action) }
    }

    /// Something about one key.
    pub fn key(action: Action, key: &'a KeySelector) -> Self {
        Self { key: Some(key), ..Self::instance(action) }
    }

    /// Something about a key ring itself.
    pub fn ring(action: Action, ring: Option<&'a KeyRingId>) -> Self {
        Self { ring, ..Self::instance(action) }
    }

    /// Something that makes a key in this ring: the one that the request names, or `default`.
    #[must_use]
    pub fn making_in(self, ring: &'a KeyRingId) -> Self {
        Self { ring: Some(ring), ..self }
    }

    /// Adds what the rules must know of new material: whether it comes from outside, and whether under an import token.
    #[must_use]
    pub fn material(self, material: Option<&Material>) -> Self {
        let ask = self.with("new-key.imported", material.is_some());
        match material {
            Some(material) => ask.with("import-token", material.under_token()).carrying(material.bytes()),
            None => ask,
        }
    }

    /// The request brings so many bytes of data, which rules can set a bound to ([`Duty::MaxDataBytes`]). Whoever works for an
    /// action that has that bound says this.
    ///
    /// [`Duty::MaxDataBytes`]: crate::access::obligations::Duty::MaxDataBytes
    #[must_use]
    pub fn carrying(self, bytes: usize) -> Self {
        Self { data_bytes: Some(u64::try_from(bytes).unwrap_or(u64::MAX)), ..self }
    }

    /// Adds a fact for the rules.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }
}
