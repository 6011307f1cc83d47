//! What requests say outside of their bodies.

use keygate_core::query::Property;
use serde_json::{Value, json};

use super::{instances, shape};

/// The largest number of keys that a page can begin behind: that of the machine's own words.
const MOST: u64 = u64::MAX;

/// The headers that many operations take.
pub(super) fn shared() -> Value {
    let header = |name: &str, required: bool, description: &str, schema: Value| json!({"name": name, "in": "header", "required": required, "description": description, "schema": schema});
    json!({
        "Instance": header(
            "Bluemix-Instance", true, "The id of the instance.", json!({"type": "string", "format": "uuid"}),
        ),
        "KeyRing": header(
            "X-Kms-Key-Ring", false,
            "A key ring: where a new key goes; the ring in which alone a key is looked for, or listed. An empty one is as \
             good as none.",
            json!({"type": "string", "pattern": "^([A-Za-z0-9-]{2,100})?$"}),
        ),
        "CorrelationId": header(
            "Correlation-Id", false,
            "A UUID by which the request can be found again, in the answer and in the gateway's log. One is made where \
             there is none.",
            json!({"type": "string"}),
        ),
        "Prefer": header(
            "Prefer", false,
            "`return=representation` asks for a body, `return=minimal` for as little as possible.",
            json!({"type": "string", "examples": ["return=representation", "return=minimal"]}),
        ),
    })
}

/// A part of a path.
pub(super) fn of_path(path: &str, name: &str) -> Value {
    let (schema, description) = match name {
        "target" => (instances::id(), "The id of a crypto instance"),
        _ if path.starts_with("/crypto_v1/") => (instances::id(), "The id of a crypto instance"),
        _ if path.starts_with("/keygate/v1/") => (instances::id(), "The id of an instance"),
        "crn" => (shape::resource_crn(), "The CRN of a resource, in URL encoding"),
        "alias" => (shape::alias(), "An alias"),
        "migration" => (shape::uuid_text(), "The id of a migration"),
        _ if path.starts_with("/keygate/v1/instances/") => (shape::uuid_text(), "The id of an instance"),
        _ if path.starts_with("/api/v2/key_rings/") => (shape::ring(), "The id of a key ring"),
        _ => (shape::key_name(), "The id of a key, or one of its aliases"),
    };
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
}

/// A query parameter. Lists are written with commas; a parameter that is empty is one that is absent.
pub(super) fn of_query(name: &str, description: &str, required: bool, schema: Value) -> Value {
    let is_list = schema["type"] == "array";
    let mut parameter = json!({
        "name": name, "in": "query", "required": required, "description": description, "schema": schema,
    });
    if !required {
        parameter["allowEmptyValue"] = json!(true);
    }
    if is_list {
        parameter["style"] = json!("form");
        parameter["explode"] = json!(false);
    }
    parameter
}

/// The length of a page.
pub(super) fn limit(default: u32) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 5000, "default": default})
}

/// Where a page begins.
pub(super) fn offset() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": MOST, "default": 0})
}

/// States of keys.
pub(super) fn states() -> Value {
    json!({"type": "array", "items": {"type": "integer", "enum": [0, 1, 2, 3, 5]}, "default": [0, 1, 2, 3]})
}

/// An order of keys.
pub(super) fn sort() -> Value {
    let property = format!("-?({})", Property::ALL.map(Property::as_str).join("|"));
    json!({
        "type": "string", "maxLength": 256, "default": "id", "pattern": format!("^({property}(,{property})*)?$"),
        "examples": ["-creationDate,id"],
    })
}

/// A filter of keys.
pub(super) fn filter() -> Value {
    const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    const DAY: &str = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    const NONE: &str = "[Nn][Oo][Nn][Ee]";
    let dates: Vec<&str> = Property::ALL
        .into_iter()
        .filter(|property| matches!(property, Property::Date(_)))
        .map(Property::as_str)
        .collect();
    let date = format!("({})=({NONE}|((lt|lte|gt|gte):)?\"[0-9]{{4}}-{DAY}T{TIME}\")", dates.join("|"));
    let expression = format!("({date}|state=[01235](,[01235])*|extractable=([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]))");
    const BLANK: &str = "[ \\t\\n\\f\\r]";
    json!({
        "type": "string", "maxLength": 512,
        "pattern": format!("^{BLANK}*({expression}({BLANK}+{expression})*)?{BLANK}*$"),
        "examples": ["creationDate=gt:\"2026-11-22T09:15:00Z\" deletionDate=none", "expirationDate=none"],
    })
}

/// A search of keys. One comma at the end is passed over.
pub(super) fn search() -> Value {
    json!({"type": "string", "pattern": "^[\\s\\S]{0,256},?$", "examples": ["backup", "exact:alias:my-key"]})
}
