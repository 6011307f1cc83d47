//! Keys and key versions.

use keygate_core::clock::Timestamp;
use keygate_core::encoding;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::instance::Instance;
use keygate_core::key::{Key, KeyKind, KeyVersion};
use keygate_core::limits::Limits;
use keygate_core::ops::create::CreateKey;
use keygate_core::ops::input::Problems;
use keygate_core::secret::{SecretBytes, SecretText};
use serde::{Serialize, Serializer};

use crate::http::answer::MediaType;
use crate::http::body::Object;

/// Reads the body of `POST /keys`.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR`, `INVALID_FIELD_ERR`, and `IMPORT_TOKEN_NOT_FOUND_ERR` for an import under a
/// token, as long as there is no way to make one.
pub(crate) fn create(body: &[u8], return_payload: bool) -> Result<CreateKey, Error> {
    let resource = Object::parse(body)?.only_resource()?;
    let mut problems = Problems::default();
    if !resource.has("name") {
        problems.missing("name");
    }
    let name = resource.text("name", &mut problems).unwrap_or_default();
    let extractable: Option<bool> = resource.get("extractable", "true or false", &mut problems);
    let expires_at = resource.text("expirationDate", &mut problems).and_then(|text| {
        let parsed = Timestamp::parse_rfc3339(&text);
        if let Err(why) = parsed {
            problems
                .field("expirationDate", format!("The field 'expirationDate' must be a date in RFC 3339 form: {why}"));
        }
        parsed.ok()
    });
    let create = CreateKey {
        name,
        description: resource.text("description", &mut problems),
        aliases: resource.texts("aliases", &mut problems),
        tags: resource.texts("tags", &mut problems),
        // As Go's decoder reads an absent `extractable`, and the side to err on: the material stays.
        kind: if extractable.unwrap_or(false) { KeyKind::Standard } else { KeyKind::Root },
        expires_at,
        payload: resource.secret("payload", &mut problems),
        return_payload,
    };
    refuse_import_token(&resource, &mut problems);
    problems.finish()?;
    Ok(create)
}

/// What an import under a token brings along (`api-contract`, g).
pub(super) fn refuse_import_token(resource: &Object<'_>, problems: &mut Problems) {
    match (resource.has("encryptedNonce"), resource.has("iv")) {
        (true, true) => problems.add(Reason::new(
            ReasonCode::ImportTokenNotFound,
            "There is no import token in this instance; import the key without one",
        )),
        (true, false) => problems.missing("iv"),
        (false, true) => problems.missing("encryptedNonce"),
        (false, false) => {}
    }
}

/// A key as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyBody {
    #[serde(rename = "type")]
    media_type: &'static str,
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    state: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date: Option<String>,
    extractable: bool,
    #[serde(rename = "keyRingID")]
    key_ring_id: String,
    crn: String,
    imported: bool,
    creation_date: String,
    created_by: String,
    algorithm_type: &'static str,
    algorithm_metadata: AlgorithmMetadata,
    algorithm_bit_size: u32,
    algorithm_mode: &'static str,
    last_update_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_rotate_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_version: Option<VersionBody>,
    dual_auth_delete: DualAuthDelete,
    deleted: bool,
    #[serde(flatten)]
    deletion: Option<DeletionBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlgorithmMetadata {
    bit_length: String,
    mode: &'static str,
}

#[derive(Serialize)]
struct DualAuthDelete {
    enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletionBody {
    deletion_date: String,
    deleted_by: String,
    restore_allowed: bool,
    restore_expiration_date: String,
    purge_allowed: bool,
    purge_allowed_from: String,
    purge_scheduled_on: String,
}

/// A key version as clients see it. The date is left out of a deleted key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionBody {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_date: Option<String>,
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
            aliases: key.aliases.iter().map(ToString::to_string).collect(),
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
            dual_auth_delete: DualAuthDelete { enabled: false },
            deleted: key.deletion.is_some(),
            deletion: key.deletion.as_ref().map(|deletion| DeletionBody {
                deletion_date: deletion.at.to_rfc3339(),
                deleted_by: deletion.by.clone(),
                restore_allowed: now <= deletion.at.plus(limits.restore_window),
                restore_expiration_date: deletion.at.plus(limits.restore_window).to_rfc3339(),
                purge_allowed: now >= deletion.at.plus(limits.purge_wait),
                purge_allowed_from: deletion.at.plus(limits.purge_wait).to_rfc3339(),
                purge_scheduled_on: deletion.at.plus(limits.purge_after).to_rfc3339(),
            }),
            payload: None,
        }
    }

    /// With a standard key's material.
    #[must_use]
    pub(crate) fn with_payload(mut self, payload: Option<&SecretBytes>) -> Self {
        self.payload = payload.map(|bytes| Payload(encoding::encode_secret(bytes)));
        self
    }
}

/// What `Prefer: return=minimal` leaves of a new key.
#[derive(Serialize)]
pub(crate) struct MinimalKeyBody {
    #[serde(rename = "type")]
    media_type: &'static str,
    id: String,
}

impl From<&Key> for MinimalKeyBody {
    fn from(key: &Key) -> Self {
        Self { media_type: MediaType::Key.as_str(), id: key.id.to_string() }
    }
}
