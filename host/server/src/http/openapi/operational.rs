//! What is no part of an instance: access tokens, health, and the document itself.

use http::Method;
use keygate_core::error::ReasonCode as Code;
use serde_json::{Value, json};

use super::operation::Operation;
use super::requests::{MigrationRequest, TokenForm};
use super::schemas::Schemas;
use super::{answers, parameters};
use crate::http::answer::MediaType;
use crate::http::dto::Collection;
use crate::http::dto::migration::{BackendBody, MigrationBody};
use crate::http::handlers::health::ReadyBody;
use crate::http::handlers::reload::ReloadBody;
use crate::iam::TokenResponse;

const JSON: &str = "application/json";
const TAG: &str = "Operation";
const MOVING: &str = "Backends";
const MIGRATIONS: &str = "/keygate/v1/instances/{id}/migrations";
const MIGRATION: &str = "/keygate/v1/instances/{id}/migrations/{migration}";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let ready = schemas.answer::<ReadyBody<'static>>();
    let open = |path, id, summary| Operation::open(Method::GET, path, id, TAG, summary);
    let reload = schemas.answer::<ReloadBody<'static>>();
    vec![
        Operation::of_gateway(
            Method::POST,
            "/keygate/v1/reload",
            "reload",
            TAG,
            "Take plugins, backends, rules and secrets anew",
        )
        .about(
            "Keygate's own: it is no part of the Key Protect API, and about no instance. Answers when what the \
                 configuration names now is live, or refused; what was live before goes on then. A reload that takes longer than a \
                 request may is answered 504 and goes on; `/readyz` tells how it came out.",
        )
        .answers(200, "What is live now", MediaType::Reload, &reload)
        .refuses(&[Code::ReloadRefused]),
        backends(schemas),
        migration_begins(schemas),
        Operation::of_gateway(Method::GET, MIGRATIONS, "listMigrations", MOVING, "The last migration of an instance")
            .about("Keygate's own. An instance whose keys were never moved has none.")
            .answers(200, "It, or nothing", MediaType::Migration, &schemas.answer::<Collection<MigrationBody<'static>>>())
            .refuses(&[Code::InvalidPathParam, Code::InstanceNotFound]),
        Operation::of_gateway(Method::GET, MIGRATION, "getMigration", MOVING, "A migration, with what stayed behind")
            .about("Keygate's own. Only the last one of each instance is kept.")
            .query("limit", "How many resources a page has", parameters::limit(200))
            .query("offset", "How many resources to pass over", parameters::offset())
            .answers(
                200,
                "It",
                MediaType::Migration,
                &json!({"allOf": [
                    schemas.answer::<MigrationBody<'static>>(), {"required": ["stays", "staysTotal"]},
                ]}),
            )
            .refuses(&[Code::InvalidPathParam, Code::InstanceNotFound, Code::MigrationNotFound]),
        Operation::of_gateway(Method::DELETE, MIGRATION, "stopMigration", MOVING, "Stop a migration")
            .about("Keygate's own. What was moved stays moved. Begin it again, and it goes on.")
            .answers(200, "It, as it was stopped", MediaType::Migration, &schemas.answer::<MigrationBody<'static>>())
            .refuses(&[Code::InvalidPathParam, Code::InstanceNotFound, Code::MigrationNotFound, Code::Conflict]),
        token(schemas, "/identity/token", "createToken", "Buy an access token with an API key"),
        token(schemas, "/oidc/token", "createTokenOidc", "The same, where older clients look for it"),
        open("/identity/keys", "getTokenKeys", "The keys to check access tokens with (RFC 7517)").answers_with(
            200,
            "A JSON Web Key Set",
            JSON,
            &key_set(),
        ),
        open("/healthz", "isAlive", "Whether the process answers").answers_with(
            200,
            "It does",
            "text/plain; charset=utf-8",
            &json!({"type": "string", "const": "ok\n"}),
        ),
        open("/readyz", "isReady", "Whether requests can be served")
            .answers_with(200, "They can", JSON, &ready)
            .answers_with(503, "Some of it is away", JSON, &ready),
        open("/openapi.json", "getOpenApi", "This document").answers_with(200, "This document", JSON, &document()),
    ]
}

fn backends(schemas: &mut Schemas) -> Operation {
    Operation::of_gateway(Method::GET, "/keygate/v1/backends", "listBackends", MOVING, "List the backends")
        .about("Keygate's own: what the gateway can keep keys on, and what each can do.")
        .answers(200, "The backends", MediaType::Backend, &schemas.answer::<Collection<BackendBody<'static>>>())
}

fn migration_begins(schemas: &mut Schemas) -> Operation {
    Operation::of_gateway(Method::POST, MIGRATIONS, "startMigration", MOVING, "Move keys to another backend")
        .about(
            "Keygate's own. Answers when it is begun; the gateway goes on with it, also after a restart. One of the same \
             backends that was stopped goes on where it was, and one that runs is told of.",
        )
        .body(&["application/json"], &schemas.request::<MigrationRequest>())
        .answers(202, "It is begun", MediaType::Migration, &schemas.answer::<MigrationBody<'static>>())
        .refuses(&[
            Code::InvalidPathParam,
            Code::InstanceNotFound,
            Code::BackendNotFound,
            Code::InstanceNotBound,
            Code::MigrationUnderWay,
            Code::Conflict,
        ])
}

fn token(schemas: &mut Schemas, path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::open(Method::POST, path, id, TAG, summary)
        .any_body(&["application/x-www-form-urlencoded"], &schemas.request::<TokenForm>(), true)
        .answers_with(200, "An access token", JSON, &schemas.answer::<TokenResponse<'static>>())
        .answers_with(400, "The form is not complete, or nobody has the API key", JSON, &refused())
        .answers_with(
            500,
            "The request could not be recorded, or the gateway has a defect",
            MediaType::Error.as_str(),
            &answers::error_of(500, &[]),
        )
        .answers_as(503, {
            // The one is the endpoint's own, the other says that the request could not be recorded.
            let mut response = answers::with_body("No token can be issued now", JSON, &refused());
            response["content"][MediaType::Error.as_str()] = json!({"schema": answers::error_of(503, &[])});
            response
        })
}

/// The endpoint's own shape of a refusal, in which its clients look for texts.
fn refused() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["errorCode", "errorMessage", "context"],
        "properties": {
            "errorCode": {"enum": ["BXNIM0108E", "BXNIM0109E", "BXNIM0415E", "BXNIM0500E"]},
            "errorMessage": {"type": "string"},
            "context": {
                "type": "object", "additionalProperties": false, "required": ["requestId"],
                "properties": {"requestId": {"type": "string"}},
            },
        },
    })
}

fn key_set() -> Value {
    let texts = ["kty", "crv", "x", "y", "kid", "use", "alg"];
    let properties: serde_json::Map<String, Value> =
        texts.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    json!({
        "type": "object", "additionalProperties": false, "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {
            "type": "object", "additionalProperties": false, "required": texts, "properties": properties,
        }}},
    })
}

fn document() -> Value {
    json!({
        "type": "object", "required": ["openapi", "info", "paths", "components"],
        "properties": {"openapi": {"const": super::OPENAPI}},
    })
}
