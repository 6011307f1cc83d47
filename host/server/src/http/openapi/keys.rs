//! `/keys`, their policies and their aliases.

use http::Method;
use keygate_core::error::ReasonCode as Code;
use keygate_core::ops::policies::KeyPolicyKind;
use serde_json::{Value, json};

use super::operation::Operation;
use super::requests::{KeyPoliciesRequest, NewKey, NewKeyWithPolicies, One, PatchRequest, RestoreRequest};
use super::schemas::Schemas;
use super::{answers, parameters};
use crate::http::answer::MediaType;
use crate::http::dto::Collection;
use crate::http::dto::key::{KeyBody, MinimalKeyBody, VersionBody};
use crate::http::dto::policy::KeyPolicyBody;
use crate::http::handlers::aliases::AliasBody;

/// The type that clients send keys as, and the plain one.
const KEY: [&str; 2] = ["application/vnd.ibm.kms.key+json", "application/json"];

/// What making material, or bringing it, can be refused for.
pub(super) const MATERIAL: [Code; 7] = [
    Code::ImportTokenNotFound,
    Code::ImportTokenExpired,
    Code::IncorrectNonce,
    Code::IncorrectNonceIv,
    Code::NotSupported,
    Code::KeyMaterialMissing,
    Code::Conflict,
];

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = vec![
        create(schemas, "/api/v2/keys", "createKey", "Make or import a key")
            .body(&KEY, &schemas.request::<One<NewKey>>()),
        create(
            schemas,
            "/api/v2/keys_with_policy_overrides",
            "createKeyWithPolicyOverrides",
            "Make or import a key with policies of its own, whatever the instance's are",
        )
        .body(&KEY, &schemas.request::<One<NewKeyWithPolicies>>())
        .refuses(&[Code::KeyRootRequired]),
        list(schemas),
        head(),
    ];
    operations.extend(one_key(schemas));
    operations.extend(life(schemas));
    operations.extend(policies(schemas));
    operations.extend(aliases(schemas));
    operations
}

fn create(schemas: &mut Schemas, path: &'static str, id: &str, summary: &str) -> Operation {
    let made = json!({"anyOf": [
        schemas.answer::<Collection<KeyBody>>(),
        schemas.answer::<Collection<MinimalKeyBody>>(),
    ]});
    Operation::new(Method::POST, path, id, "Keys", summary)
        .about(
            "With `Prefer: return=representation` the answer holds a standard key's material, too; with \
             `return=minimal` only the id.",
        )
        .ring()
        .prefer()
        .answers(201, "The key", MediaType::Key, &made)
        .refuses(&MATERIAL)
        .refuses(&[Code::KeyRingNotFound, Code::AliasQuota, Code::AliasNotUnique, Code::DataTooLarge])
        .denied(409, "KEY_CREATE_IMPORT_ACCESS_ERR")
}

fn narrowed(operation: Operation) -> Operation {
    operation
        .ring()
        .query("state", "Keys in one of these states", parameters::states())
        .query("extractable", "True: standard keys. False: root keys", json!({"type": "boolean"}))
        .query(
            "filter",
            "Keys with these properties: `name=[operator:]value`, with blanks between",
            parameters::filter(),
        )
}

fn list(schemas: &mut Schemas) -> Operation {
    narrowed(Operation::new(Method::GET, "/api/v2/keys", "listKeys", "Keys", "List keys"))
        .paged(200)
        .query(
            "search",
            "Keys by a part of their name or alias: `[not:][exact:][name:][alias:][escape:]term`",
            parameters::search(),
        )
        .query("sort", "Properties to sort by, with commas between; `-` before one turns it round", parameters::sort())
        .answers(200, "The keys", MediaType::Key, &schemas.answer::<Collection<KeyBody>>())
        .refuses(&[Code::SearchTooBroad])
}

fn head() -> Operation {
    narrowed(Operation::new(Method::HEAD, "/api/v2/keys", "countKeys", "Keys", "Count keys"))
        .answers_as(200, answers::total("Counted; the number stands in `Key-Total`"))
}

fn one_key(schemas: &mut Schemas) -> Vec<Operation> {
    let key = schemas.answer::<Collection<KeyBody>>();
    let states = [Code::KeyActionInvalidState, Code::KeyDeleted];
    vec![
        Operation::new(
            Method::GET,
            "/api/v2/keys/{id}",
            "getKey",
            "Keys",
            "Read a key, with a standard key's material",
        )
        .of_key()
        .answers(200, "The key", MediaType::Key, &key)
        .refuses(&[Code::KeyMaterialMissing, Code::NotSupported]),
        Operation::new(Method::GET, "/api/v2/keys/{id}/metadata", "getKeyMetadata", "Keys", "Read a key's metadata")
            .of_key()
            .answers(200, "The key", MediaType::Key, &key),
        Operation::new(Method::PATCH, "/api/v2/keys/{id}", "patchKey", "Keys", "Move a key to another key ring")
            .of_key()
            .body(&KEY, &schemas.request::<PatchRequest>())
            .answers(200, "The key", MediaType::Key, &key)
            .refuses(&states)
            .refuses(&[Code::KeyRingNotFound, Code::Conflict])
            .beside_another_path(),
        Operation::new(Method::GET, "/api/v2/keys/{id}/versions", "getKeyVersions", "Keys", "List a key's versions")
            .of_key()
            .paged(200)
            .flag("allKeyStates", "Also of a key that is not Active")
            .answers(
                200,
                "The versions, newest first",
                MediaType::KeyVersion,
                &schemas.answer::<Collection<VersionBody>>(),
            )
            .refuses(&states),
    ]
}

fn life(schemas: &mut Schemas) -> Vec<Operation> {
    let key = schemas.answer::<Collection<KeyBody>>();
    let restored = json!({"anyOf": [key, schemas.answer::<Collection<MinimalKeyBody>>()]});
    vec![
        Operation::new(Method::DELETE, "/api/v2/keys/{id}", "deleteKey", "Keys", "Delete a key")
            .of_key()
            .prefer()
            .flag("force", "Also a key that protects resources")
            .answers(200, "The key, with `Prefer: return=representation`", MediaType::Key, &key)
            .answers_empty(204, "Deleted")
            .refuses(&[
                Code::KeyDeleted,
                Code::KeyActionInvalidState,
                Code::AuthorizationsNotMet,
                Code::ProtectedResource,
                Code::DeletionPrevented,
                Code::Conflict,
            ])
            .beside_another_path(),
        Operation::new(Method::POST, "/api/v2/keys/{id}/restore", "restoreKey", "Keys", "Bring back a deleted key")
            .of_key()
            .prefer()
            .optional_body(
                &[KEY[0], "application/vnd.ibm.kms.key_action_restore+json", KEY[1]],
                &schemas.request::<RestoreRequest>(),
            )
            .answers(201, "The key", MediaType::Key, &restored)
            .refuses(&RESTORE)
            .refuses(&MATERIAL)
            .denied(409, "KEY_CREATE_IMPORT_ACCESS_ERR"),
        Operation::new(Method::DELETE, "/api/v2/keys/{id}/purge", "purgeKey", "Keys", "Remove a deleted key for good")
            .of_key()
            .prefer()
            .answers(200, "The key as it was, with `Prefer: return=representation`", MediaType::Key, &key)
            .answers_empty(204, "Purged")
            .refuses(&[Code::KeyActionInvalidState, Code::TooEarly, Code::Conflict, Code::NotSupported]),
    ]
}

/// What restoring can be refused for, beside its material.
pub(super) const RESTORE: [Code; 8] = [
    Code::KeyActionInvalidState,
    Code::TooEarly,
    Code::RestoreExpired,
    Code::KeyExpired,
    Code::KeyImportRequired,
    Code::KeyPayloadRequired,
    Code::VersionQuota,
    Code::KeyRingQuota,
];

fn policies(schemas: &mut Schemas) -> Vec<Operation> {
    const PATH: &str = "/api/v2/keys/{id}/policies";
    let found = schemas.answer::<Collection<KeyPolicyBody>>();
    let kinds = json!({"type": "string", "enum": KeyPolicyKind::ALL.map(KeyPolicyKind::as_str)});
    vec![
        Operation::new(Method::GET, PATH, "getPolicy", "Key policies", "List a key's policies")
            .of_key()
            .query("policy", "Only this policy", kinds.clone())
            .answers(200, "The policies", MediaType::Policy, &found),
        Operation::new(Method::PUT, PATH, "putPolicy", "Key policies", "Write policies of a key")
            .of_key()
            .prefer()
            .query("policy", "The policy in the body, which is then the only one", kinds)
            .body(
                &["application/vnd.ibm.kms.policy+json", "application/json"],
                &schemas.request::<KeyPoliciesRequest>(),
            )
            .answers(200, "The policies", MediaType::Policy, &found)
            .answers_empty(204, "Written; with `Prefer: return=minimal`")
            .refuses(&[
                Code::CollectionSize,
                Code::BodyQueryParamMismatch,
                Code::KeyInvalidState,
                Code::KeyActionInvalidState,
                Code::KeyDeleted,
                Code::Conflict,
            ]),
    ]
}

fn aliases(schemas: &mut Schemas) -> Vec<Operation> {
    const PATH: &str = "/api/v2/keys/{id}/aliases/{alias}";
    let alias: Value = schemas.answer::<Collection<AliasBody>>();
    vec![
        Operation::new(Method::POST, PATH, "createKeyAlias", "Aliases", "Give a key an alias")
            .of_key()
            .answers(201, "The alias", MediaType::Alias, &alias)
            .answers(200, "The alias, which the key had already", MediaType::Alias, &alias)
            .refuses(&[
                Code::KeyDeleted,
                Code::KeyActionInvalidState,
                Code::AliasQuota,
                Code::AliasNotUnique,
                Code::Conflict,
            ]),
        Operation::new(Method::DELETE, PATH, "deleteKeyAlias", "Aliases", "Take an alias from a key")
            .of_key()
            .answers_empty(204, "Taken")
            .refuses(&[Code::AliasNotFound, Code::KeyDeleted, Code::KeyActionInvalidState, Code::Conflict]),
    ]
}
