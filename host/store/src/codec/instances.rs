//! What an instance has beside keys: key rings, policies, an import token.

use keygate_core::clock::Timestamp;
use keygate_core::ids::{InstanceId, KeyId, KeyRingId};
use keygate_core::import_token::ImportToken;
use keygate_core::key::KeyRef;
use keygate_core::policy::{
    CreateImportAccess, InstancePolicies, InstancePolicy, InstancePolicyKind, PolicyAttributes,
};
use keygate_core::ring::KeyRing;
use serde::{Deserialize, Serialize};

use super::{DecodeError, Encoded, FORMAT_1, StampV1, body, whole};

/// A key ring, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct RingRecordV1<'a> {
    #[serde(borrow)]
    created: StampV1<'a>,
}

/// The policies of an instance, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct PoliciesRecordV1<'a> {
    #[serde(borrow)]
    policies: Vec<InstancePolicyV1<'a>>,
    revision: u64,
}

/// An instance policy. Frozen.
#[derive(Serialize, Deserialize)]
struct InstancePolicyV1<'a> {
    kind: u8,
    enabled: bool,
    #[serde(borrow)]
    attributes: AttributesV1<'a>,
    #[serde(borrow)]
    created: StampV1<'a>,
    #[serde(borrow)]
    updated: StampV1<'a>,
}

/// What a policy says. Frozen, and so is the order.
#[derive(Serialize, Deserialize)]
enum AttributesV1<'a> {
    None,
    AllowedNetwork {
        private_only: bool,
    },
    AllowedIp(#[serde(borrow)] Vec<&'a str>),
    KeyCreateImportAccess {
        create_root_key: bool,
        create_standard_key: bool,
        import_root_key: bool,
        import_standard_key: bool,
        enforce_token: bool,
    },
    Rotation {
        interval_months: u8,
    },
}

/// An import token, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct ImportTokenRecordV1<'a> {
    #[serde(borrow)]
    created: StampV1<'a>,
    expires_at_ms: u64,
    max_retrievals: u16,
    remaining_retrievals: u16,
    nonce: &'a [u8],
    public_key: &'a [u8],
    pair_instance: [u8; 16],
    pair_key: [u8; 16],
    backend: &'a str,
    reference: &'a [u8],
    revision: u64,
}

/// Writes a key ring.
pub(crate) fn encode_ring(ring: &KeyRing) -> Encoded {
    postcard::to_extend(&RingRecordV1 { created: (&ring.created).into() }, vec![FORMAT_1])
}

/// Reads a key ring.
pub(crate) fn decode_ring(instance: InstanceId, id: KeyRingId, record: &[u8]) -> Result<KeyRing, DecodeError> {
    let record: RingRecordV1<'_> = whole(body(record)?)?;
    Ok(KeyRing { instance, id, created: record.created.into() })
}

/// Writes the policies of an instance.
pub(crate) fn encode_policies(policies: &InstancePolicies) -> Encoded {
    let record = PoliciesRecordV1 {
        policies: policies.policies.iter().map(InstancePolicyV1::from).collect(),
        revision: policies.revision,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads the policies of an instance.
pub(crate) fn decode_policies(record: &[u8]) -> Result<InstancePolicies, DecodeError> {
    let record: PoliciesRecordV1<'_> = whole(body(record)?)?;
    let policy = |record: InstancePolicyV1<'_>| {
        Ok(InstancePolicy {
            kind: policy_of(record.kind)?,
            enabled: record.enabled,
            attributes: record.attributes.into(),
            created: record.created.into(),
            updated: record.updated.into(),
        })
    };
    let policies = record.policies.into_iter().map(policy).collect::<Result<_, _>>()?;
    Ok(InstancePolicies { policies, revision: record.revision })
}

impl<'a> From<&'a InstancePolicy> for InstancePolicyV1<'a> {
    fn from(policy: &'a InstancePolicy) -> Self {
        // Taken apart, so that a new field cannot be forgotten here.
        let InstancePolicy { kind, enabled, attributes, created, updated } = policy;
        Self {
            kind: policy_number(*kind),
            enabled: *enabled,
            attributes: attributes.into(),
            created: created.into(),
            updated: updated.into(),
        }
    }
}

impl<'a> From<&'a PolicyAttributes> for AttributesV1<'a> {
    fn from(attributes: &'a PolicyAttributes) -> Self {
        match attributes {
            PolicyAttributes::None => Self::None,
            PolicyAttributes::AllowedNetwork { private_only } => Self::AllowedNetwork { private_only: *private_only },
            PolicyAttributes::AllowedIp(ranges) => Self::AllowedIp(ranges.iter().map(String::as_str).collect()),
            PolicyAttributes::KeyCreateImportAccess(access) => {
                let CreateImportAccess {
                    create_root_key,
                    create_standard_key,
                    import_root_key,
                    import_standard_key,
                    enforce_token,
                } = *access;
                Self::KeyCreateImportAccess {
                    create_root_key,
                    create_standard_key,
                    import_root_key,
                    import_standard_key,
                    enforce_token,
                }
            }
            PolicyAttributes::Rotation { interval_months } => Self::Rotation { interval_months: *interval_months },
        }
    }
}

impl From<AttributesV1<'_>> for PolicyAttributes {
    fn from(record: AttributesV1<'_>) -> Self {
        match record {
            AttributesV1::None => Self::None,
            AttributesV1::AllowedNetwork { private_only } => Self::AllowedNetwork { private_only },
            AttributesV1::AllowedIp(ranges) => Self::AllowedIp(ranges.into_iter().map(str::to_owned).collect()),
            AttributesV1::KeyCreateImportAccess {
                create_root_key,
                create_standard_key,
                import_root_key,
                import_standard_key,
                enforce_token,
            } => Self::KeyCreateImportAccess(CreateImportAccess {
                create_root_key,
                create_standard_key,
                import_root_key,
                import_standard_key,
                enforce_token,
            }),
            AttributesV1::Rotation { interval_months } => Self::Rotation { interval_months },
        }
    }
}

/// Writes an import token.
pub(crate) fn encode_import_token(token: &ImportToken) -> Encoded {
    let (pair_instance, pair_key) = token.pair;
    let record = ImportTokenRecordV1 {
        created: (&token.created).into(),
        expires_at_ms: token.expires_at.unix_ms(),
        max_retrievals: token.max_retrievals,
        remaining_retrievals: token.remaining_retrievals,
        nonce: &token.nonce,
        public_key: &token.public_key,
        pair_instance: *pair_instance.as_bytes(),
        pair_key: *pair_key.as_bytes(),
        backend: &token.private_key.backend,
        reference: &token.private_key.reference,
        revision: token.revision,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads an import token.
pub(crate) fn decode_import_token(instance: InstanceId, record: &[u8]) -> Result<ImportToken, DecodeError> {
    let record: ImportTokenRecordV1<'_> = whole(body(record)?)?;
    Ok(ImportToken {
        instance,
        created: record.created.into(),
        expires_at: Timestamp::from_unix_ms(record.expires_at_ms),
        max_retrievals: record.max_retrievals,
        remaining_retrievals: record.remaining_retrievals,
        nonce: record.nonce.to_vec(),
        public_key: record.public_key.to_vec(),
        pair: (InstanceId::from_bytes(record.pair_instance), KeyId::from_bytes(record.pair_key)),
        private_key: KeyRef { backend: record.backend.to_owned(), reference: record.reference.to_vec() },
        revision: record.revision,
    })
}

pub(super) const fn policy_number(kind: InstancePolicyKind) -> u8 {
    match kind {
        InstancePolicyKind::AllowedNetwork => 0,
        InstancePolicyKind::DualAuthDelete => 1,
        InstancePolicyKind::AllowedIp => 2,
        InstancePolicyKind::KeyCreateImportAccess => 3,
        InstancePolicyKind::Metrics => 4,
        InstancePolicyKind::Rotation => 5,
    }
}

pub(super) fn policy_of(number: u8) -> Result<InstancePolicyKind, DecodeError> {
    let kind = InstancePolicyKind::ALL.into_iter().find(|kind| policy_number(*kind) == number);
    kind.ok_or(DecodeError::Malformed("it has an unknown kind of policy"))
}
