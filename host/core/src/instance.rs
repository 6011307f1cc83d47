//! Service instances: the tenants, kept strictly apart; and the crypto instances that stand behind some of them.
//!
//! A Key Protect instance makes its keys on a backend. It is bound to that either directly, or by way of a crypto instance:
//! what an HPCS instance is to Key Protect. A crypto instance is the operator's to configure, and serves only those instances
//! that were given an [`Authorization`] for it.
//!
//! Instances come from two sources: the configuration, and the store, where those are that were provisioned on a running
//! gateway. Where both have one of an id, the configuration's counts.

mod binding;
mod live;

use crate::ids::{InstanceId, KeyId, PolicyId};
use crate::key::Stamp;

pub use binding::makes_keys;
pub use live::{Instances, Records, Ticket};

/// A Key Protect service instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id, which clients send as `Bluemix-Instance`.
    pub id: InstanceId,
    /// What people call it.
    pub name: String,
    /// The region in its CRNs, such as `us-south`.
    pub region: String,
    /// The account that owns it, in its CRNs after `a/`.
    pub account: String,
    /// The name of the backend that new keys are made on. Empty while it is bound to a crypto instance that is not
    /// configured.
    pub backend: String,
    /// The crypto instance that `backend` is of, where it is bound to one.
    pub crypto_instance: Option<InstanceId>,
}

impl Instance {
    /// The instance's own CRN.
    pub fn crn(&self) -> String {
        format!("crn:v1:bluemix:public:kms:{}:a/{}:{}::", self.region, self.account, self.id)
    }

    /// The CRN of a key policy in it (`api-v2: PUT /keys/{id}/policies`).
    pub fn policy_crn(&self, policy: PolicyId) -> String {
        format!("crn:v1:bluemix:public:kms:{}:a/{}:{}:policy:{}", self.region, self.account, self.id, policy)
    }

    /// The CRN of a key in it (`api-v2: POST /keys`).
    pub fn key_crn(&self, key: KeyId) -> String {
        format!("crn:v1:bluemix:public:kms:{}:a/{}:{}:key:{}", self.region, self.account, self.id, key)
    }
}

/// A crypto instance: an HSM, or what is in its place, as a service of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoInstance {
    /// Its id. No Key Protect instance has the same.
    pub id: InstanceId,
    /// What people call it.
    pub name: String,
    /// The region in its CRN.
    pub region: String,
    /// The account that owns it, in its CRN after `a/`.
    pub account: String,
    /// The name of the backend that stands for it.
    pub backend: String,
    /// The name of that backend's plugin.
    pub plugin: String,
    /// The labels of the tokens that the plugin was granted. Nothing else of them is told.
    pub token_labels: Vec<String>,
}

impl CryptoInstance {
    /// Its CRN.
    pub fn crn(&self) -> String {
        format!("crn:v1:bluemix:public:hs-crypto:{}:a/{}:{}::", self.region, self.account, self.id)
    }
}

/// What a provisioned instance makes its keys on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The backend of this name.
    Backend(String),
    /// The backend of this crypto instance.
    Crypto(InstanceId),
}

/// An instance that was provisioned on a running gateway, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionedInstance {
    /// Its id.
    pub id: InstanceId,
    /// What people call it.
    pub name: String,
    /// The region in its CRNs.
    pub region: String,
    /// The account that owns it.
    pub account: String,
    /// What it makes its keys on.
    pub binding: Binding,
    /// When it was made, and by whom.
    pub created: Stamp,
    /// When it was last changed, and by whom.
    pub updated: Stamp,
    /// Counts its changes: 1 is a new one.
    pub revision: u64,
}

/// That a Key Protect instance may use a crypto instance: what IAM calls an authorization between services, with the role
/// Reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The Key Protect instance.
    pub source: InstanceId,
    /// The crypto instance.
    pub target: InstanceId,
    /// When it was given, and by whom.
    pub created: Stamp,
}

#[cfg(test)]
mod tests;
