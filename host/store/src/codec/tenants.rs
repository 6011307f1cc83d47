//! Instances themselves, those that were provisioned, and which may use which crypto instance.

use keygate_core::ids::InstanceId;
use keygate_core::instance::{Authorization, Binding, ProvisionedInstance};
use serde::{Deserialize, Serialize};

use super::{DecodeError, Encoded, FORMAT_1, StampV1, body, whole};

/// A provisioned instance, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct InstanceRecordV1<'a> {
    name: &'a str,
    region: &'a str,
    account: &'a str,
    #[serde(borrow)]
    binding: BindingV1<'a>,
    #[serde(borrow)]
    created: StampV1<'a>,
    #[serde(borrow)]
    updated: StampV1<'a>,
    revision: u64,
}

/// What it makes keys on. Frozen, and so is the order.
#[derive(Serialize, Deserialize)]
enum BindingV1<'a> {
    Backend(&'a str),
    Crypto([u8; 16]),
}

/// An authorization, format 1. Frozen.
#[derive(Serialize, Deserialize)]
struct AuthorizationRecordV1<'a> {
    #[serde(borrow)]
    created: StampV1<'a>,
}

/// Writes a provisioned instance.
pub(crate) fn encode_instance(instance: &ProvisionedInstance) -> Encoded {
    // Taken apart, so that a new field cannot be forgotten here.
    let ProvisionedInstance { id: _, name, region, account, binding, created, updated, revision } = instance;
    let record = InstanceRecordV1 {
        name,
        region,
        account,
        binding: match binding {
            Binding::Backend(backend) => BindingV1::Backend(backend),
            Binding::Crypto(id) => BindingV1::Crypto(*id.as_bytes()),
        },
        created: created.into(),
        updated: updated.into(),
        revision: *revision,
    };
    postcard::to_extend(&record, vec![FORMAT_1])
}

/// Reads a provisioned instance.
pub(crate) fn decode_instance(id: InstanceId, record: &[u8]) -> Result<ProvisionedInstance, DecodeError> {
    let record: InstanceRecordV1<'_> = whole(body(record)?)?;
    Ok(ProvisionedInstance {
        id,
        name: record.name.to_owned(),
        region: record.region.to_owned(),
        account: record.account.to_owned(),
        binding: match record.binding {
            BindingV1::Backend(backend) => Binding::Backend(backend.to_owned()),
            BindingV1::Crypto(id) => Binding::Crypto(InstanceId::from_bytes(id)),
        },
        created: record.created.into(),
        updated: record.updated.into(),
        revision: record.revision,
    })
}

/// Writes an authorization.
pub(crate) fn encode_authorization(authorization: &Authorization) -> Encoded {
    let Authorization { source: _, target: _, created } = authorization;
    postcard::to_extend(&AuthorizationRecordV1 { created: created.into() }, vec![FORMAT_1])
}

/// Reads an authorization.
pub(crate) fn decode_authorization(
    source: InstanceId,
    target: InstanceId,
    record: &[u8],
) -> Result<Authorization, DecodeError> {
    let record: AuthorizationRecordV1<'_> = whole(body(record)?)?;
    Ok(Authorization { source, target, created: record.created.into() })
}
