//! Instances, crypto instances and authorizations.

use http::Method;
use keygate_core::error::ReasonCode as Code;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::Operation;
use super::schemas::Schemas;
use super::shape;
use crate::http::answer::MediaType;
use crate::http::dto::Collection;
use crate::http::dto::instance::{AuthorizationBody, CryptoInstanceBody, InstanceBody};

const TAG: &str = "Operation";
const TYPES: [&str; 1] = ["application/json"];

fn of(method: Method, path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::of_gateway(method, path, id, TAG, summary)
}

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let all = schemas.answer::<Collection<InstanceBody>>();
    let mut operations = instances(schemas, &all);
    operations.extend(authorizations(schemas));
    let crypto = schemas.answer::<Collection<CryptoInstanceBody>>();
    operations.push(
        of(Method::GET, "/keygate/v1/crypto-instances", "getCryptoInstances", "The crypto instances of this gateway")
            .about("They are made in the configuration.")
            .answers(200, "All of them, by id", MediaType::CryptoInstance, &crypto),
    );
    operations.push(
        of(
            Method::GET,
            "/crypto_v1/instances/{id}",
            "getCryptoInstance",
            "The connection information of a crypto instance",
        )
        .about(
            "Takes a role on the crypto instance itself, `Reader` or a higher one. What is told can be given as \
             `crypto_instance` to make a Key Protect instance that uses it.",
        )
        .answers(200, "The crypto instance", MediaType::CryptoInstance, &crypto)
        .refuses(&[Code::InvalidPathParam, Code::CryptoInstanceNotFound]),
    );
    operations
}

fn instances(schemas: &mut Schemas, all: &Value) -> Vec<Operation> {
    let one = |operation: Operation| operation.refuses(&[Code::InvalidPathParam, Code::InstanceNotFound]);
    let mine = |operation: Operation| one(operation).refuses(&[Code::InstanceConfigured, Code::Conflict]);
    vec![
        of(Method::GET, "/keygate/v1/instances", "getInstances", "The instances of this gateway")
            .about("Keygate's own: those of the configuration, and those that were made here.")
            .answers(200, "All of them, by id", MediaType::Instance, all),
        of(Method::POST, "/keygate/v1/instances", "createInstance", "Make an instance")
            .about(
                "It can be used at once. One that is bound to a crypto instance makes and uses keys only as long as there is \
                 an authorization for that.",
            )
            .body(&TYPES, &schemas.request::<NewInstance>())
            .answers(201, "The instance", MediaType::Instance, all)
            .refuses(&[Code::InstanceQuota, Code::Conflict]),
        one(of(Method::GET, "/keygate/v1/instances/{id}", "getInstance", "An instance"))
            .answers(200, "The instance", MediaType::Instance, all),
        mine(of(
            Method::PATCH,
            "/keygate/v1/instances/{id}",
            "bindInstance",
            "Change an instance's name, or what it makes new keys on",
        ))
        .about("Keys that are there stay on their backend, until they are migrated.")
        .body(&TYPES, &schemas.request::<InstanceChange>())
        .answers(200, "The instance", MediaType::Instance, all)
        .refuses(&[Code::NoBody]),
        mine(of(Method::DELETE, "/keygate/v1/instances/{id}", "deleteInstance", "Delete an instance without keys"))
            .about("Only one that has no keys, deleted ones included, and that is not the configuration's.")
            .answers_empty(204, "It is gone")
            .refuses(&[Code::InstanceNotEmpty]),
    ]
}

fn authorizations(schemas: &mut Schemas) -> Vec<Operation> {
    let all = schemas.answer::<Collection<AuthorizationBody>>();
    let path = "/keygate/v1/authorizations/{source}/{target}";
    vec![
        of(
            Method::GET,
            "/keygate/v1/authorizations",
            "getAuthorizations",
            "Which instances may use which crypto instances",
        )
        .answers(200, "All of them", MediaType::Authorization, &all),
        of(Method::PUT, path, "createAuthorization", "Let an instance use a crypto instance")
            .answers(200, "It could already", MediaType::Authorization, &all)
            .answers(201, "Now it can", MediaType::Authorization, &all)
            .refuses(&[Code::InvalidPathParam, Code::InstanceNotFound, Code::CryptoInstanceNotFound, Code::Conflict]),
        of(Method::DELETE, path, "deleteAuthorization", "Let an instance use a crypto instance no longer")
            .about("It makes and uses no keys from then on, those that are there included.")
            .answers_empty(204, "It cannot any more")
            .refuses(&[Code::InvalidPathParam, Code::AuthorizationNotFound, Code::Conflict]),
    ]
}

/// The id of an instance, in a path.
pub(super) fn id() -> Value {
    json!({"type": "string", "format": "uuid"})
}

/// An instance to make. Fields that are not here are refused.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "they describe bodies, and nobody makes one of them")]
#[schemars(deny_unknown_fields)]
struct NewInstance {
    /// 1 to 240 bytes.
    #[schemars(length(min = 1, max = 240))]
    name: String,
    /// In its CRNs.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    region: String,
    /// In its CRNs.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    account: String,
    /// What it makes keys on: this backend, or the crypto instance's.
    backend: Option<String>,
    crypto_instance: Option<CryptoInstanceGiven>,
}

/// What to change of an instance. Fields that are not here are refused.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "they describe bodies, and nobody makes one of them")]
#[schemars(deny_unknown_fields)]
struct InstanceChange {
    /// 1 to 240 bytes.
    #[schemars(length(min = 1, max = 240))]
    name: Option<String>,
    /// What it makes new keys on: this backend, or the crypto instance's.
    backend: Option<String>,
    crypto_instance: Option<CryptoInstanceGiven>,
}

/// A crypto instance: its id, or its connection information as `GET /crypto_v1/instances/{id}` gives it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "they describe bodies, and nobody makes one of them")]
#[schemars(untagged)]
enum CryptoInstanceGiven {
    #[schemars(schema_with = "shape::uuid")]
    Id(String),
    Told(Value),
}
