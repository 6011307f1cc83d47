//! Wrap, unwrap, rewrap and rotate.

use keygate_core::encoding;
use keygate_core::error::{Error, ReasonCode};
use keygate_core::ids::VersionId;
use keygate_core::ops::input::Problems;
use keygate_core::ops::rewrap::RewrapOutcome;
use keygate_core::ops::rotate::Rotate;
use keygate_core::ops::unwrap::{Ciphertext, Unwrapped};
use keygate_core::ops::wrap::{Wrap, Wrapped};
use keygate_core::secret::SecretText;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::key::material;
use crate::http::body::Object;
use crate::http::openapi::shape;

/// Reads the body of wrap.
///
/// # Errors
/// `BAD_BODY_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn wrap(body: &[u8]) -> Result<Wrap, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    let wrap = Wrap { plaintext: object.secret("plaintext", &mut problems), aad: object.texts("aad", &mut problems) };
    problems.finish()?;
    Ok(wrap)
}

/// Reads the body of unwrap and rewrap.
///
/// # Errors
/// `NO_BODY_ERR`, `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn ciphertext(body: &[u8]) -> Result<Ciphertext, Error> {
    let object = Object::parse(body)?;
    if object.is_empty() {
        return Err(Error::refused(ReasonCode::NoBody, "A body with the field `ciphertext` is required"));
    }
    let mut problems = Problems::default();
    if !object.has("ciphertext") {
        problems.missing("ciphertext");
    }
    let ciphertext = object.text("ciphertext", &mut problems).unwrap_or_default();
    let aad = object.texts("aad", &mut problems);
    problems.finish()?;
    Ok(Ciphertext { ciphertext, aad })
}

/// Reads the body of rotate.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn rotate(body: &[u8]) -> Result<Rotate, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    let rotate = Rotate { payload: material(&object, &mut problems) };
    problems.finish()?;
    Ok(rotate)
}

struct Secret(SecretText);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

#[derive(Serialize, JsonSchema)]
struct VersionName {
    #[schemars(schema_with = "shape::uuid")]
    id: String,
}

impl From<VersionId> for VersionName {
    fn from(id: VersionId) -> Self {
        Self { id: id.to_string() }
    }
}

/// What an action gave.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "KeyActionResult")]
pub(crate) struct ActionBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::base64")]
    plaintext: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::base64")]
    ciphertext: Option<String>,
    key_version: VersionName,
    #[serde(skip_serializing_if = "Option::is_none")]
    rewrapped_key_version: Option<VersionName>,
}

impl ActionBody {
    /// A bound on the length of the JSON.
    pub(crate) fn size(&self) -> usize {
        let plaintext = self.plaintext.as_ref().map_or(0, |secret| secret.0.expose().len());
        plaintext + self.ciphertext.as_ref().map_or(0, String::len) + 256
    }
}

impl From<Wrapped> for ActionBody {
    fn from(wrapped: Wrapped) -> Self {
        Self {
            plaintext: wrapped.plaintext.as_ref().map(|bytes| Secret(encoding::encode_secret(bytes))),
            ciphertext: Some(wrapped.ciphertext),
            key_version: wrapped.version.into(),
            rewrapped_key_version: None,
        }
    }
}

impl From<Unwrapped> for ActionBody {
    fn from(unwrapped: Unwrapped) -> Self {
        let (ciphertext, newest) = match unwrapped.rewrapped {
            Some(rewrapped) => (Some(rewrapped.ciphertext), Some(rewrapped.version.into())),
            None => (None, None),
        };
        Self {
            plaintext: Some(Secret(encoding::encode_secret(&unwrapped.plaintext))),
            ciphertext,
            key_version: unwrapped.version.into(),
            rewrapped_key_version: newest,
        }
    }
}

impl From<RewrapOutcome> for ActionBody {
    fn from((version, rewrapped): RewrapOutcome) -> Self {
        Self {
            plaintext: None,
            ciphertext: Some(rewrapped.ciphertext),
            key_version: version.into(),
            rewrapped_key_version: Some(rewrapped.version.into()),
        }
    }
}
