//! What is answered: the parts that are the same for all operations.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use crate::http::answer::MediaType;
use crate::http::error;

/// Headers, by the names that responses refer to.
pub(super) fn headers() -> Value {
    json!({
        "CorrelationId": {
            "description": "The request's `Correlation-Id`, or a fresh one.", "required": true,
            "schema": {"type": "string", "format": "uuid"},
        },
        "RetryAfter": {
            "description": "When to try again, in seconds.", "required": true,
            "schema": {"type": "integer", "minimum": 1},
        },
        "KeyTotal": {
            "description": "How many keys there are.", "required": true,
            "schema": {"type": "integer", "minimum": 0},
        },
        "Allow": {"description": "What the path takes.", "required": true, "schema": {"type": "string"}},
    })
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// An answer with a body.
pub(super) fn with_body(description: &str, media: &str, schema: &Value) -> Value {
    json!({
        "description": description,
        "headers": {"Correlation-Id": header("CorrelationId")},
        "content": {media: {"schema": schema}},
    })
}

/// An answer without one.
pub(super) fn without_body(description: &str) -> Value {
    json!({"description": description, "headers": {"Correlation-Id": header("CorrelationId")}})
}

/// The answer to HEAD.
pub(super) fn total(description: &str) -> Value {
    let mut response = without_body(description);
    response["headers"]["Key-Total"] = header("KeyTotal");
    response
}

/// Refusals, each kind once: many operations are refused for the same reasons.
pub(super) struct Refusals {
    names: BTreeMap<(u16, Vec<&'static str>), String>,
    responses: Map<String, Value>,
}

impl Refusals {
    pub(super) fn new(schemas: &mut Schemas) -> Self {
        // The schema that all of them refer to.
        schemas.answer::<error::Body<'static>>();
        Self { names: BTreeMap::new(), responses: Map::new() }
    }

    /// A response that says that, with these codes as its reasons. `has_body` is false of HEAD.
    pub(super) fn refer(&mut self, status: u16, codes: Vec<&'static str>, has_body: bool) -> Value {
        if !has_body {
            return refusal(status, &codes, false);
        }
        let others = self.names.keys().filter(|(other, _)| *other == status).count();
        let (responses, response) = (&mut self.responses, refusal(status, &codes, true));
        let name = self.names.entry((status, codes)).or_insert_with(|| {
            let phrase: String = phrase(status).split_whitespace().collect();
            let name = if others == 0 { phrase } else { format!("{phrase}{}", others + 1) };
            responses.insert(name.clone(), response);
            name
        });
        json!({"$ref": format!("#/components/responses/{name}")})
    }

    /// All that were referred to.
    pub(super) fn finish(self) -> Value {
        Value::Object(self.responses)
    }
}

fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or_default()
}

/// Statuses without a reason, and what they mean.
const WITHOUT_REASON: [(u16, &str); 5] = [
    (401, "There is no valid access token, or its owner may not do this"),
    (429, "More requests than the instance, or the caller, may make. Nothing was done"),
    (500, "A plugin failed, or the gateway has a defect; or what was done could not be recorded"),
    (503, "Too much to do, or something that is needed is away. Look before you repeat a change"),
    (504, "The answer was not ready in time, and the work goes on. Look what came of it"),
];

/// The same, without those meanings.
pub(super) fn without_reason() -> [u16; 5] {
    WITHOUT_REASON.map(|(status, _)| status)
}

/// What was refused, with these codes as its reasons.
fn refusal(status: u16, codes: &[&str], has_body: bool) -> Value {
    let meaning = WITHOUT_REASON.iter().find(|(known, _)| *known == status);
    let description = match (meaning, codes) {
        (Some((_, meaning)), _) => (*meaning).to_owned(),
        (None, []) => format!("{}: a rule of the operator's says no", phrase(status)),
        (None, codes) => format!("{}: {}", phrase(status), codes.join(", ")),
    };
    let mut response = without_body(&description);
    if matches!(status, 429 | 503) {
        response["headers"]["Retry-After"] = header("RetryAfter");
    }
    if status == 405 {
        response["headers"]["Allow"] = header("Allow");
    }
    if has_body {
        response["content"] = json!({MediaType::Error.as_str(): {"schema": error_of(status, codes)}});
    }
    response
}

/// The body of a refusal with this status. The first reason decides the status; what else is wrong with the request stands
/// behind it, whatever its own status would be.
pub(super) fn error_of(status: u16, codes: &[&str]) -> Value {
    let any = json!({"type": "string", "description": "Also the code of a rule of the operator's own"});
    let others = json!({"$ref": "#/components/schemas/ReasonCode"});
    let resource = match (status, codes) {
        (401 | 429 | 503 | 504, _) => json!({"properties": {"reasons": false}}),
        // A fault has no reason that a client could do anything about; lost material has one.
        (500, _) => reasons(status, json!({"enum": ["KEY_MATERIAL_UNAVAILABLE_ERR"]}), others),
        // Rules have codes of their own.
        (403 | 409, []) => with_reasons(status, any.clone(), any),
        (403 | 409, codes) => with_reasons(status, json!({"anyOf": [{"enum": codes}, any.clone()]}), any),
        (_, codes) => with_reasons(status, json!({"enum": codes}), others),
    };
    json!({"allOf": [
        {"$ref": "#/components/schemas/Error"},
        {"properties": {"resources": {"items": resource}}},
    ]})
}

fn with_reasons(status: u16, first: Value, others: Value) -> Value {
    let mut resource = reasons(status, first, others);
    resource["required"] = json!(["reasons"]);
    resource
}

/// Any of the reasons has a code of `others`, among which `first` are. That it is the first of them that has one of `first`
/// is more than this says: clients that rewrite `prefixItems` beside `items` for older dialects get it wrong.
fn reasons(status: u16, first: Value, others: Value) -> Value {
    let reason = |code: Value| json!({"properties": {"code": code, "status": {"const": status}}});
    json!({"properties": {"reasons": {"contains": reason(first), "items": reason(others)}}})
}
