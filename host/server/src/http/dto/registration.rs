//! Registrations, and what adopters are told.

use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::{EventId, VersionId};
use keygate_core::ops::events::{self, Acknowledgement};
use keygate_core::ops::input::Problems;
use keygate_core::ops::registrations::{RegistrationInput, RegistrationView};
use keygate_core::registration::LifecycleEvent;
use schemars::JsonSchema;
use serde::Serialize;

use super::key::VersionBody;
use crate::http::body::Object;
use crate::http::openapi::shape;

/// Reads the body of a registration. A truth value may come as a text (`api-contract`, j).
///
/// # Errors
/// `NO_BODY_ERR`, `BAD_BODY_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn input(body: &[u8]) -> Result<RegistrationInput, Error> {
    let object = Object::parse(body)?;
    if object.is_empty() {
        return Err(Error::refused(ReasonCode::NoBody, "A body with one registration in `resources` is required"));
    }
    let resource = object.only_resource()?;
    let mut problems = Problems::default();
    let input = RegistrationInput {
        description: resource.text("description", &mut problems),
        prevent_key_deletion: truth(&resource, "preventKeyDeletion", &mut problems),
        note: resource.text("registrationMetadata", &mut problems),
        version: uuid(&resource, "keyVersionId", &mut problems),
    };
    problems.finish()?;
    Ok(input)
}

fn truth(resource: &Object<'_>, name: &str, problems: &mut Problems) -> Option<bool> {
    if !resource.has(name) {
        return None;
    }
    let as_text: Option<String> = resource.get(name, "true or false", &mut Problems::default());
    match as_text.as_deref() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => resource.get(name, "true or false", problems),
    }
}

fn uuid<T: std::str::FromStr>(resource: &Object<'_>, name: &str, problems: &mut Problems) -> Option<T> {
    let text = resource.text(name, problems)?;
    let id = text.parse().ok();
    if id.is_none() {
        problems.field(name, format!("The field '{name}' must be a UUID"));
    }
    id
}

/// Reads the body of `POST /keys/{id}/registrations?action=deactivate`.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn resource_crn(body: &[u8]) -> Result<String, Error> {
    let resource = Object::parse(body)?.only_resource()?;
    let mut problems = Problems::default();
    if !resource.has("resourceCrn") {
        problems.missing("resourceCrn");
    }
    let crn = resource.text("resourceCrn", &mut problems).unwrap_or_default();
    problems.finish()?;
    Ok(crn)
}

/// A registration as clients see it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Registration")]
pub(crate) struct RegistrationBody {
    #[schemars(schema_with = "shape::uuid")]
    key_id: String,
    key_name: String,
    #[schemars(schema_with = "shape::crn")]
    resource_crn: String,
    created_by: String,
    #[schemars(schema_with = "shape::date")]
    creation_date: String,
    updated_by: String,
    #[schemars(schema_with = "shape::date")]
    last_updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    prevent_key_deletion: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_metadata: Option<String>,
    key_version: VersionBody,
}

impl RegistrationBody {
    /// A registration; the service's own note is for services only.
    pub(crate) fn new(view: &RegistrationView, for_service: bool) -> Self {
        let registration = &view.registration;
        Self {
            key_id: registration.key.to_string(),
            key_name: view.key_name.clone(),
            resource_crn: registration.crn.as_str().to_owned(),
            created_by: registration.created.by.clone(),
            creation_date: registration.created.at.to_rfc3339(),
            updated_by: registration.updated.by.clone(),
            last_updated: registration.updated.at.to_rfc3339(),
            description: registration.description.clone(),
            prevent_key_deletion: registration.prevent_key_deletion,
            registration_metadata: registration.note.clone().filter(|_| for_service),
            key_version: VersionBody::new(registration.version, registration.version_created_at),
        }
    }
}

/// What is left of a registration that was deactivated.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ResourceCrn")]
pub(crate) struct ResourceCrnBody {
    #[schemars(schema_with = "shape::crn")]
    resource_crn: String,
}

impl From<&RegistrationView> for ResourceCrnBody {
    fn from(view: &RegistrationView) -> Self {
        Self { resource_crn: view.registration.crn.as_str().to_owned() }
    }
}

/// Reads the body of `POST /event_ack`.
///
/// # Errors
/// `NO_BODY_ERR`, `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn acknowledgements(body: &[u8]) -> Result<Vec<Acknowledgement>, Error> {
    let object = Object::parse(body)?;
    if object.is_empty() {
        return Err(Error::refused(ReasonCode::NoBody, "A body with the acknowledged events is required"));
    }
    let resources = object.resources()?;
    if resources.len() > events::MOST {
        // Before any of them is read.
        let text = format!("A request acknowledges at most {} events; send the others in another", events::MOST);
        return Err(Reason::new(ReasonCode::BadBody, text).field("resources").into());
    }
    let mut problems = Problems::default();
    let mut read = Vec::new();
    for resource in resources {
        for name in ["eventId", "adopterKeyState", "timestamp"] {
            if !resource.has(name) {
                problems.missing(name);
            }
        }
        let data: Object<'_> = resource.get("keyStateData", "an object", &mut problems).unwrap_or_default();
        let rewrapped: Option<VersionId> = uuid(&data, "rewrappedKeyVersion", &mut problems);
        let event: Option<EventId> = uuid(&resource, "eventId", &mut problems);
        let state = resource.text("adopterKeyState", &mut problems);
        let at = resource.date("timestamp", &mut problems);
        let version = rewrapped.or_else(|| uuid(&data, "keyVersion", &mut problems));
        if let (Some(event), Some(adopter_key_state), Some(at)) = (event, state, at) {
            read.push(Acknowledgement { event, adopter_key_state, at, version });
        }
    }
    problems.finish()?;
    Ok(read)
}

/// Something that an adopter has not acknowledged yet, as the operator sees it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LifecycleEvent")]
pub(crate) struct LifecycleEventBody {
    #[schemars(schema_with = "shape::uuid")]
    event_id: String,
    event: &'static str,
    #[schemars(schema_with = "shape::uuid")]
    key_id: String,
    #[schemars(schema_with = "shape::uuid")]
    key_version_id: String,
    #[schemars(schema_with = "shape::crn")]
    resource_crn: String,
    #[schemars(schema_with = "shape::date")]
    creation_date: String,
}

impl From<&LifecycleEvent> for LifecycleEventBody {
    fn from(event: &LifecycleEvent) -> Self {
        Self {
            event_id: event.id.to_string(),
            event: event.kind.as_str(),
            key_id: event.key.to_string(),
            key_version_id: event.version.to_string(),
            resource_crn: event.crn.as_str().to_owned(),
            creation_date: event.at.to_rfc3339(),
        }
    }
}
