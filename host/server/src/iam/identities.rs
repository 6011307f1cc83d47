//! Who there is, as the configuration says now.

use std::collections::HashMap;
use std::sync::Arc;

use keygate_core::access::Principal;

use super::ApiKeyHash;
use crate::config::IdentityParams;

/// Somebody, or some service.
#[derive(Debug)]
pub struct Identity {
    /// As requests carry it.
    pub principal: Principal,
    hashes: Vec<ApiKeyHash>,
}

/// Everybody.
#[derive(Debug, Default)]
pub struct Identities(HashMap<String, Arc<Identity>>);

impl Identities {
    /// The identity with this IAM id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Identity>> {
        self.0.get(id)
    }

    /// The identity that has the API key with this hash. Looks at every hash there is, so that the time it takes says
    /// nothing of how near a wrong key came.
    pub fn by_hash(&self, hash: &ApiKeyHash) -> Option<&Arc<Identity>> {
        let mut found = None;
        for identity in self.0.values() {
            for known in &identity.hashes {
                if known == hash {
                    found = Some(identity);
                }
            }
        }
        found
    }
}

impl<'a> FromIterator<&'a IdentityParams> for Identities {
    fn from_iter<T: IntoIterator<Item = &'a IdentityParams>>(params: T) -> Self {
        let identity = |p: &IdentityParams| Identity {
            principal: Principal {
                id: p.id.clone(),
                name: p.name.clone(),
                kind: p.kind.clone(),
                account: p.account.clone(),
                assignments: p.assignments.clone(),
                attributes: Vec::new(),
            },
            hashes: p.api_key_hashes.clone(),
        };
        Self(params.into_iter().map(|p| (p.id.clone(), Arc::new(identity(p)))).collect())
    }
}
