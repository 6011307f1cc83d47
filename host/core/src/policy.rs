//! Instance policies: what holds for all keys and requests of an instance (`api-v2: PUT /instance/policies`). They are
//! kept and stated here; what they mean for a request is for the rules to say.

use crate::key::Stamp;

/// Which of the six.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstancePolicyKind {
    /// By which endpoint requests may come.
    AllowedNetwork,
    /// New keys are deleted by two people.
    DualAuthDelete,
    /// From which addresses requests may come.
    AllowedIp,
    /// What keys may be made and imported.
    KeyCreateImportAccess,
    /// Whether operational metrics are kept of the instance.
    Metrics,
    /// New generated root keys are rotated by the gateway.
    Rotation,
}

impl InstancePolicyKind {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::AllowedNetwork,
        Self::DualAuthDelete,
        Self::AllowedIp,
        Self::KeyCreateImportAccess,
        Self::Metrics,
        Self::Rotation,
    ];

    /// The API's `policy_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllowedNetwork => "allowedNetwork",
            Self::DualAuthDelete => "dualAuthDelete",
            Self::AllowedIp => "allowedIP",
            Self::KeyCreateImportAccess => "keyCreateImportAccess",
            Self::Metrics => "metrics",
            Self::Rotation => "rotation",
        }
    }

    /// The kind with this `policy_type`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What keys may be made and imported. Each is true unless said otherwise, but `enforce_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateImportAccess {
    /// Root keys may be generated.
    pub create_root_key: bool,
    /// Standard keys may be generated.
    pub create_standard_key: bool,
    /// Root keys may be imported.
    pub import_root_key: bool,
    /// Standard keys may be imported.
    pub import_standard_key: bool,
    /// Imports must come under an import token.
    pub enforce_token: bool,
}

impl Default for CreateImportAccess {
    fn default() -> Self {
        Self {
            create_root_key: true,
            create_standard_key: true,
            import_root_key: true,
            import_standard_key: true,
            enforce_token: false,
        }
    }
}

/// What a policy says beside that it is on or off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAttributes {
    /// Nothing.
    None,
    /// allowedNetwork: whether the private endpoint is the only one.
    AllowedNetwork {
        /// `private-only`, not `public-and-private`.
        private_only: bool,
    },
    /// allowedIP: CIDRs in their canonical text, at least one while the policy is on.
    AllowedIp(Vec<String>),
    /// keyCreateImportAccess.
    KeyCreateImportAccess(CreateImportAccess),
    /// rotation: every so many months of 30 days, 1 to 12.
    Rotation {
        /// How many.
        interval_months: u8,
    },
}

impl PolicyAttributes {
    /// As the API and the rules have them: pairs of a name and a value, lists as several pairs of one name.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::None => Vec::new(),
            Self::AllowedNetwork { private_only } => {
                vec![("allowed_network", if *private_only { "private-only" } else { "public-and-private" }.to_owned())]
            }
            Self::AllowedIp(ranges) => ranges.iter().map(|range| ("allowed_ip", range.clone())).collect(),
            Self::KeyCreateImportAccess(access) => {
                // Taken apart, so that a new field cannot be forgotten here.
                let CreateImportAccess {
                    create_root_key,
                    create_standard_key,
                    import_root_key,
                    import_standard_key,
                    enforce_token,
                } = *access;
                vec![
                    ("create_root_key", create_root_key.to_string()),
                    ("create_standard_key", create_standard_key.to_string()),
                    ("import_root_key", import_root_key.to_string()),
                    ("import_standard_key", import_standard_key.to_string()),
                    ("enforce_token", enforce_token.to_string()),
                ]
            }
            Self::Rotation { interval_months } => vec![("interval_month", interval_months.to_string())],
        }
    }
}

/// An instance policy. At most one of a kind in an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstancePolicy {
    /// Which.
    pub kind: InstancePolicyKind,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What more it says.
    pub attributes: PolicyAttributes,
    /// Written first when and by whom.
    pub created: Stamp,
    /// Written last when and by whom.
    pub updated: Stamp,
}

/// The policies of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancePolicies {
    /// At most one of a kind, in the order of [`InstancePolicyKind::ALL`].
    pub policies: Vec<InstancePolicy>,
    /// 0 before anything was written, one more with each change: the store's compare-and-set is on it.
    pub revision: u64,
}

impl InstancePolicies {
    /// The policy of this kind, on or off.
    pub fn get(&self, kind: InstancePolicyKind) -> Option<&InstancePolicy> {
        self.policies.iter().find(|policy| policy.kind == kind)
    }

    /// Those that are switched on.
    pub fn enabled(&self) -> impl Iterator<Item = &InstancePolicy> {
        self.policies.iter().filter(|policy| policy.enabled)
    }

    /// Whether new keys are deleted by two people.
    pub fn dual_auth_delete(&self) -> bool {
        self.get(InstancePolicyKind::DualAuthDelete).is_some_and(|policy| policy.enabled)
    }

    /// How often new generated root keys are to be rotated, in months of 30 days.
    pub fn rotation_interval(&self) -> Option<u8> {
        let policy = self.get(InstancePolicyKind::Rotation).filter(|policy| policy.enabled)?;
        match policy.attributes {
            PolicyAttributes::Rotation { interval_months } => Some(interval_months),
            _ => None,
        }
    }

    /// Puts a policy into its place.
    pub fn put(&mut self, policy: InstancePolicy) {
        self.policies.retain(|other| other.kind != policy.kind);
        self.policies.push(policy);
        self.policies.sort_by_key(|policy| policy.kind);
    }
}
