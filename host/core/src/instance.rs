//! Service instances: the tenants, kept strictly apart.

use std::collections::BTreeMap;

use crate::ids::{InstanceId, KeyId, PolicyId};

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
    /// The name of the backend that new keys are made on.
    pub backend: String,
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

/// The instances of this gateway.
#[derive(Clone, Debug, Default)]
pub struct Instances(BTreeMap<InstanceId, Instance>);

impl Instances {
    /// The instance with this id.
    pub fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.0.get(&id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.0.values()
    }
}

impl FromIterator<Instance> for Instances {
    fn from_iter<T: IntoIterator<Item = Instance>>(instances: T) -> Self {
        Self(instances.into_iter().map(|i| (i.id, i)).collect())
    }
}
