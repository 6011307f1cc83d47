//! `/keys/{id}/actions/...`, and the deprecated form of the same.

use http::Method;
use keygate_core::error::ReasonCode as Code;
use serde_json::{Value, json};

use super::keys::{MATERIAL, RESTORE};
use super::operation::Operation;
use super::requests::{CiphertextRequest, RestoreRequest, RotateRequest, WrapRequest};
use super::schemas::Schemas;
use crate::http::answer::MediaType;
use crate::http::dto::Collection;
use crate::http::dto::action::ActionBody;
use crate::http::dto::key::{KeyBody, MinimalKeyBody};

/// What any action can be refused for.
const ACTION: [Code; 4] = [Code::KeyActionInvalidState, Code::KeyDeleted, Code::KeyRootRequired, Code::Conflict];

/// What an action that has work for the backend can be refused for.
const CRYPTO: [Code; 3] = [Code::InvalidField, Code::NotSupported, Code::KeyMaterialMissing];

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let nullable = |schema: Value| json!({"anyOf": [schema, {"type": "null"}]});
    let wrap = nullable(schemas.request::<WrapRequest>());
    let ciphertext = schemas.request::<CiphertextRequest>();
    let rotate = schemas.request::<RotateRequest>();
    let mut operations = vec![
        action("/api/v2/keys/{id}/actions/wrap", "wrapKey", "Wrap a data key, or make and wrap one")
            .optional_body(&types("application/vnd.ibm.kms.key_action_wrap+json"), &wrap)
            .answers(
                200,
                "The ciphertext, and a plaintext that was made",
                MediaType::KeyAction,
                &gives(schemas, &["ciphertext"]),
            )
            .refuses(&CRYPTO)
            .refuses(&[Code::DataTooLarge]),
        action("/api/v2/keys/{id}/actions/unwrap", "unwrapKey", "Unwrap a data key")
            .about("Wrapped under an older version of the key, it also comes back wrapped under the newest.")
            .body(&types("application/vnd.ibm.kms.key_action_unwrap+json"), &ciphertext)
            .answers(200, "The plaintext", MediaType::KeyAction, &gives(schemas, &["plaintext"]))
            .refuses(&CRYPTO)
            .refuses(&[Code::NoBody, Code::UnprocessableCiphertext]),
        action("/api/v2/keys/{id}/actions/rewrap", "rewrapKey", "Wrap a data key under the newest version of its key")
            .body(&types("application/vnd.ibm.kms.key_action_rewrap+json"), &ciphertext)
            .answers(
                200,
                "The new ciphertext",
                MediaType::KeyAction,
                &gives(schemas, &["ciphertext", "rewrappedKeyVersion"]),
            )
            .refuses(&CRYPTO)
            .refuses(&[Code::NoBody, Code::UnprocessableCiphertext]),
        action("/api/v2/keys/{id}/actions/rotate", "rotateKey", "Make a new version of a root key")
            .prefer()
            .optional_body(&types("application/vnd.ibm.kms.key_action_rotate+json"), &rotate)
            .answers_empty(204, "Rotated")
            .refuses(&ROTATE)
            .refuses(&MATERIAL)
            .refuses(&[Code::DataTooLarge])
            .denied(409, "KEY_CREATE_IMPORT_ACCESS_ERR"),
    ];
    operations.extend([
        silent("setKeyForDeletion", "/api/v2/keys/{id}/actions/setKeyForDeletion", "Authorize the deletion of a key")
            .refuses(&[Code::NotDualAuth]),
        silent("unsetKeyForDeletion", "/api/v2/keys/{id}/actions/unsetKeyForDeletion", "Take that back")
            .refuses(&[Code::NotDualAuth]),
        silent("enableKey", "/api/v2/keys/{id}/actions/enable", "Enable a root key").refuses(&[Code::TooEarly]),
        silent("disableKey", "/api/v2/keys/{id}/actions/disable", "Disable a root key"),
        silent("syncAssociatedResources", "/api/v2/keys/{id}/actions/sync", "Tell the adopters of a root key again")
            .refuses(&[Code::TooEarly]),
        legacy(schemas),
    ]);
    operations
}

/// What rotating can be refused for, beside its material.
const ROTATE: [Code; 4] =
    [Code::KeyPayloadRequired, Code::InvalidQueryParam, Code::RotationNotPermitted, Code::VersionQuota];

fn types(named: &str) -> [&str; 3] {
    [named, "application/vnd.ibm.kms.key_action+json", "application/json"]
}

fn action(path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::new(Method::POST, path, id, "Key actions", summary).of_key().refuses(&ACTION)
}

/// An action without a body and without an answer.
fn silent(id: &str, path: &'static str, summary: &str) -> Operation {
    action(path, id, summary).about("A body is passed over.").answers_empty(204, "Done")
}

fn gives(schemas: &mut Schemas, fields: &[&str]) -> Value {
    json!({"allOf": [schemas.answer::<ActionBody>(), {"required": fields}]})
}

/// `POST /keys/{id}?action=`: bodies and answers are those of the action.
fn legacy(schemas: &mut Schemas) -> Operation {
    const ACTIONS: [&str; 9] = [
        "disable",
        "enable",
        "restore",
        "rewrap",
        "rotate",
        "setKeyForDeletion",
        "unsetKeyForDeletion",
        "unwrap",
        "wrap",
    ];
    let body = json!({"anyOf": [
        schemas.request::<WrapRequest>(),
        schemas.request::<CiphertextRequest>(),
        schemas.request::<RotateRequest>(),
        schemas.request::<RestoreRequest>(),
    ]});
    let restored = json!({"anyOf": [
        schemas.answer::<Collection<KeyBody>>(),
        schemas.answer::<Collection<MinimalKeyBody>>(),
    ]});
    let action = json!({"type": "string", "enum": ACTIONS});
    Operation::new(Method::POST, "/api/v2/keys/{id}", "actionOnKey", "Key actions", "Act on a key")
        .deprecated()
        .about("The older form of the paths under `actions` and of `restore`: bodies and answers are theirs.")
        .of_key()
        .prefer()
        .required_query("action", "What to do, in upper or lower case", action)
        .optional_body(&["application/vnd.ibm.kms.key_action+json", "application/json"], &body)
        .answers(200, "Wrapped, unwrapped or rewrapped", MediaType::KeyAction, &schemas.answer::<ActionBody>())
        .answers(201, "Restored", MediaType::Key, &restored)
        .answers_empty(204, "Done")
        .refuses(&ACTION)
        .refuses(&CRYPTO)
        .refuses(&ROTATE)
        .refuses(&RESTORE)
        .refuses(&MATERIAL)
        .refuses(&[Code::NoBody, Code::UnprocessableCiphertext, Code::NotDualAuth, Code::DataTooLarge])
        .denied(409, "KEY_CREATE_IMPORT_ACCESS_ERR")
        .beside_another_path()
}
