//! `GET /openapi.json`: what is served, as an OpenAPI 3.1 document (`docs/adr/0009-openapi.md`).
//!
//! It is put together when the gateway starts. Answers are described by the types that are written to the wire
//! ([`super::dto`]); what requests hold by the types in [`requests`], which a test holds against the readers; the statuses
//! of refusals by [`crate::status`]; bounds that an operator sets by the configuration. What remains to be told of each
//! operation stands in [`keys`], [`registrations`], [`instance`] and [`operational`], and tests hold it against the router
//! and against real answers.

mod actions;
mod answers;
mod instance;
mod instances;
mod keys;
mod operation;
mod operational;
mod parameters;
mod registrations;
mod requests;
mod schemas;
pub(super) mod shape;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use keygate_core::error::Error;
use keygate_core::limits::Limits;
use serde_json::{Map, Value, json};

use self::answers::Refusals;
use self::operation::Operation;
use self::schemas::Schemas;
use super::error::respond;
use crate::app::App;

/// What the document is written in. 3.1 has the whole of JSON Schema 2020-12, which the schemas use.
const OPENAPI: &str = "3.1.0";

/// Answers `GET /openapi.json`. It needs no access token: what the API looks like is no secret.
pub(super) fn served(app: &Arc<App>) -> MethodRouter<Arc<App>> {
    let written = serde_json::to_vec(&document(&app.gateway.limits)).map(Bytes::from);
    let written = written.map_err(|error| format!("the OpenAPI document could not be written: {error}"));
    get(move || {
        let response = match written {
            Ok(document) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], document).into_response(),
            Err(defect) => respond(&Error::Internal(defect), None),
        };
        std::future::ready(response)
    })
}

/// The document, for a gateway with these limits.
fn document(limits: &Limits) -> Value {
    let mut schemas = Schemas::new();
    let mut refusals = Refusals::new(&mut schemas);
    let operations = operations(&mut schemas);
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path().to_owned()).or_insert_with(|| json!({}));
        let method = operation.method().as_str().to_ascii_lowercase();
        path[method] = operation.describe(&mut refusals);
    }
    json!({
        "openapi": OPENAPI,
        "info": {
            "title": "Keygate",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
            "description": DESCRIPTION,
        },
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "An access token of `POST /identity/token`, or of the IAM that the operator trusts.",
            }},
            "parameters": parameters::shared(),
            "headers": answers::headers(),
            "responses": refusals.finish(),
            "schemas": schemas.finish(limits),
        },
    })
}

const DESCRIPTION: &str = "Key management with the IBM Key Protect v2 REST API. \
    Names of fields in requests are read in any case, and fields that are not known are passed over; a field that is \
    `null` is one that is absent, and so is a query parameter that is empty. The content type of requests is not looked \
    at. A body may be packed by gzip. Where dates are written, they are in UTC and whole seconds.";

/// The parts of the API.
const TAGS: [(&str, &str); 10] = [
    ("Keys", "Root keys, which wrap; standard keys, which hold a secret"),
    ("Key actions", "What is done with a key"),
    ("Key policies", "Rotation and dual authorization of one key"),
    ("Aliases", "Other names of a key"),
    ("Key rings", "Parts of an instance that roles can be given on"),
    ("Registrations", "Resources of other services that a key protects"),
    ("Instance", "What holds for all keys of an instance"),
    ("Import tokens", "How material comes in that nobody on the way can read"),
    ("Backends", "Where keys are kept, and how they move from one backend to another"),
    ("Operation", "The gateway itself: instances and crypto instances, access tokens, health, and this document"),
];

/// Everything that is described.
fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = keys::operations(schemas);
    operations.extend(actions::operations(schemas));
    operations.extend(registrations::operations(schemas));
    operations.extend(instance::operations(schemas));
    operations.extend(instances::operations(schemas));
    operations.extend(operational::operations(schemas));
    operations
}
