//! Keys and key versions.

use keygate_core::clock::Timestamp;
use keygate_core::encoding;
use keygate_core::error::Error;
use keygate_core::ids::{KeyRingId, VersionId};
use keygate_core::instance::Instance;
use keygate_core::key::{Key, KeyKind, KeyVersion};
use keygate_core::limits::Limits;
use keygate_core::ops::create::{CreateKey, Overrides};
use keygate_core::ops::input::Problems;
use keygate_core::ops::material::{Material, SealedMaterial};
use keygate_core::ops::patch::Patch;
use keygate_core::ops::restore::Restore;
use keygate_core::secret::{SecretBytes, SecretText};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::policy::{self, RotationBody};
use crate::http::answer::MediaType;
use crate::http::body::Object;
use crate::http::openapi::shape;

/// Reads the body of `POST /keys`, and with `overriding` that of `POST /keys_with_policy_overrides`.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn create(body: &[u8], return_payload: bool, overriding: bool) -> Result<CreateKey, Error> {
    let resource = Object::parse(body)?.only_resource()?;
    let mut problems = Problems::default();
    if !resource.has("name") {
        problems.missing("name");
    }
    let name = resource.text("name", &mut problems).unwrap_or_default();
    let extractable: Option<bool> = resource.get("extractable", "true or false", &mut problems);
    let create = CreateKey {
        name,
        description: resource.text("description", &mut problems),
        aliases: resource.texts("aliases", &mut problems),
        tags: resource.texts("tags", &mut problems),
        // As Go's decoder reads an absent `extractable`, and the side to err on: the material stays.
        kind: if extractable.unwrap_or(false) { KeyKind::Standard } else { KeyKind::Root },
        expires_at: resource.date("expirationDate", &mut problems),
        payload: material(&resource, &mut problems),
        return_payload,
        overrides: overriding.then(|| overrides(&resource, &mut problems)),
    };
    problems.finish()?;
    Ok(create)
}

/// The policies that a new key is to have whatever its instance says.
fn overrides(resource: &Object<'_>, problems: &mut Problems) -> Overrides {
    let rotation: Option<Object<'_>> = resource.get("rotation", "an object", problems);
    let dual_auth: Option<Object<'_>> = resource.get("dualAuthDelete", "an object", problems);
    Overrides {
        rotation: rotation.and_then(|rotation| {
            // Go's client leaves `enabled` out (`api-contract`, h).
            let enabled: Option<bool> = rotation.get("enabled", "true or false", problems);
            let interval = policy::interval(&rotation, problems);
            if !rotation.has("interval_month") {
                problems.missing("interval_month");
            }
            Some((enabled.unwrap_or(true), interval?))
        }),
        dual_auth_delete: dual_auth.and_then(|policy| {
            if !policy.has("enabled") {
                problems.missing("enabled");
            }
            policy.get("enabled", "true or false", problems)
        }),
    }
}

/// The material that a body brings, in clear or under an import token (`api-contract`, g-5). Any field of a token makes it
/// one: material that was encrypted must never be taken for material in clear.
pub(super) fn material(resource: &Object<'_>, problems: &mut Problems) -> Option<Material> {
    if !["encryptedNonce", "iv", "encryptionAlgorithm"].iter().any(|name| resource.has(name)) {
        return resource.secret("payload", problems).map(Material::Plain);
    }
    for name in ["payload", "encryptedNonce", "iv"] {
        if !resource.has(name) {
            problems.missing(name);
        }
    }
    let algorithm = resource.text("encryptionAlgorithm", problems);
    let encrypted_key = resource.bytes("payload", problems);
    let encrypted_nonce = resource.bytes("encryptedNonce", problems);
    let iv = resource.bytes("iv", problems);
    Some(Material::UnderToken(SealedMaterial {
        algorithm: algorithm.unwrap_or_else(|| "RSAES_OAEP_SHA_256".to_owned()),
        encrypted_key: encrypted_key?,
        encrypted_nonce: encrypted_nonce?,
        iv: iv?,
    }))
}

/// Reads the body of restore. No body is as good as an empty one.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn restore(body: &[u8]) -> Result<Restore, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    // Old clients send a collection with one resource, the deprecated action its fields alone.
    let resource = if object.has("resources") { object.only_resource()? } else { object };
    let restore = Restore { payload: material(&resource, &mut problems) };
    problems.finish()?;
    Ok(restore)
}

/// Reads the body of `PATCH /keys/{id}`.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn patch(body: &[u8]) -> Result<Patch, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    if !object.has("keyRingID") {
        problems.missing("keyRingID");
    }
    let ring = object
        .text("keyRingID", &mut problems)
        .and_then(|text| KeyRingId::parse(&text).map_err(|rule| problems.field("keyRingID", rule)).ok());
    problems.finish()?;
    ring.map(|ring| Patch { ring }).ok_or_else(|| Error::Internal("a ring was neither read nor refused".to_owned()))
}

/// A key as clients see it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Key")]
pub(crate) struct KeyBody {
    #[serde(rename = "type")]
    media_type: &'static str,
    #[schemars(schema_with = "shape::uuid")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[schemars(schema_with = "shape::state")]
    state: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    expiration_date: Option<String>,
    extractable: bool,
    #[serde(rename = "keyRingID")]
    key_ring_id: String,
    #[schemars(schema_with = "shape::crn")]
    crn: String,
    imported: bool,
    #[schemars(schema_with = "shape::date")]
    creation_date: String,
    created_by: String,
    algorithm_type: &'static str,
    algorithm_metadata: AlgorithmMetadata,
    algorithm_bit_size: u32,
    algorithm_mode: &'static str,
    #[schemars(schema_with = "shape::date")]
    last_update_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    last_rotate_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_version: Option<VersionBody>,
    dual_auth_delete: DualAuthDelete,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationBody>,
    deleted: bool,
    #[serde(flatten)]
    deletion: Option<DeletionBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::base64")]
    payload: Option<Payload>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AlgorithmMetadata {
    bit_length: String,
    mode: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DualAuthDelete {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_set_for_deletion: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    auth_expiration: Option<String>,
}

impl DualAuthDelete {
    fn new(key: &Key, now: Timestamp) -> Self {
        let enabled = key.needs_dual_auth();
        let authorization = key.authorization_at(now);
        Self {
            enabled,
            key_set_for_deletion: (enabled || authorization.is_some()).then_some(authorization.is_some()),
            auth_expiration: authorization.map(|authorization| authorization.lapses_at.to_rfc3339()),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Deletion")]
struct DeletionBody {
    #[schemars(schema_with = "shape::date")]
    deletion_date: String,
    deleted_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_allowed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    restore_expiration_date: Option<String>,
    purge_allowed: bool,
    #[schemars(schema_with = "shape::date")]
    purge_allowed_from: String,
    #[schemars(schema_with = "shape::date")]
    purge_scheduled_on: String,
}

/// A key version as clients see it. The date is left out of a deleted key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "KeyVersion")]
pub(crate) struct VersionBody {
    #[schemars(schema_with = "shape::uuid")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    creation_date: Option<String>,
}

impl VersionBody {
    /// A version with its date.
    pub(super) fn new(id: VersionId, created_at: Timestamp) -> Self {
        Self { id: id.to_string(), creation_date: Some(created_at.to_rfc3339()) }
    }
}

impl From<&KeyVersion> for VersionBody {
    fn from(version: &KeyVersion) -> Self {
        Self { id: version.id.to_string(), creation_date: Some(version.created_at.to_rfc3339()) }
    }
}

struct Payload(SecretText);

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl KeyBody {
    /// A key at an instant: what may be done to a deleted one depends on the time.
    pub(crate) fn new(key: &Key, instance: &Instance, limits: &Limits, now: Timestamp) -> Self {
        let version = VersionBody {
            id: key.current_version.to_string(),
            creation_date: key.deletion.is_none().then(|| key.current_version_created_at.to_rfc3339()),
        };
        Self {
            media_type: MediaType::Key.as_str(),
            id: key.id.to_string(),
            name: key.name.clone(),
            aliases: key.alias_names().map(ToString::to_string).collect(),
            description: key.description.clone(),
            tags: key.tags.clone(),
            state: key.state.number(),
            expiration_date: key.expires_at.map(Timestamp::to_rfc3339),
            extractable: key.kind.is_extractable(),
            key_ring_id: key.ring.to_string(),
            crn: instance.key_crn(key.id),
            imported: key.imported,
            creation_date: key.created_at.to_rfc3339(),
            created_by: key.created_by.clone(),
            algorithm_type: "Deprecated",
            algorithm_metadata: AlgorithmMetadata { bit_length: key.bits.to_string(), mode: "Deprecated" },
            algorithm_bit_size: key.bits,
            algorithm_mode: "Deprecated",
            last_update_date: key.updated_at.to_rfc3339(),
            last_rotate_date: key.rotated_at.map(Timestamp::to_rfc3339),
            key_version: (key.kind == KeyKind::Root).then_some(version),
            dual_auth_delete: DualAuthDelete::new(key, now),
            rotation: key.rotation.as_ref().map(RotationBody::from),
            deleted: key.deletion.is_some(),
            deletion: key.deletion.as_ref().map(|deletion| DeletionBody {
                deletion_date: deletion.at.to_rfc3339(),
                deleted_by: deletion.by.clone(),
                restore_allowed: Some(
                    !key.purging
                        && now <= deletion.at.plus(limits.restore_window)
                        && key.expires_at.is_none_or(|at| now < at),
                ),
                restore_expiration_date: Some(deletion.at.plus(limits.restore_window).to_rfc3339()),
                purge_allowed: now >= deletion.at.plus(limits.purge_wait),
                purge_allowed_from: deletion.at.plus(limits.purge_wait).to_rfc3339(),
                purge_scheduled_on: deletion.at.plus(limits.purge_after).to_rfc3339(),
            }),
            payload: None,
        }
    }

    /// As it is told of a key that is no more: there is nothing to restore (`api-v2: DELETE /keys/{id}/purge`).
    #[must_use]
    pub(crate) fn purged(mut self) -> Self {
        if let Some(deletion) = &mut self.deletion {
            deletion.restore_allowed = None;
            deletion.restore_expiration_date = None;
        }
        self
    }

    /// With a standard key's material.
    #[must_use]
    pub(crate) fn with_payload(mut self, payload: Option<&SecretBytes>) -> Self {
        self.payload = payload.map(|bytes| Payload(encoding::encode_secret(bytes)));
        self
    }
}

/// What `Prefer: return=minimal` leaves of a new key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MinimalKey")]
pub(crate) struct MinimalKeyBody {
    #[serde(rename = "type")]
    media_type: &'static str,
    #[schemars(schema_with = "shape::uuid")]
    id: String,
}

impl From<&Key> for MinimalKeyBody {
    fn from(key: &Key) -> Self {
        Self { media_type: MediaType::Key.as_str(), id: key.id.to_string() }
    }
}
