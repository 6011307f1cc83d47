//! What texts look like, for the schemas. Each is used where the types themselves say no more than "a text".

use keygate_core::ids::RESERVED_ALIASES;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Standard base64 with padding (RFC 4648, section 4): the bits that the last character has too many are 0.
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// The same, of 16, 24 or 32 bytes.
const BASE64_OF_ROOT_KEY: &str = "^([A-Za-z0-9+/]{21}[AQgw]==|[A-Za-z0-9+/]{32}|[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)$";

/// The same, of 12 or 16 bytes.
const BASE64_OF_IV: &str = "^([A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{21}[AQgw]==)$";

const UUID: &str = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$";

/// A CRN of 8 to 10 segments, as [`keygate_core::crn`] reads it.
const CRN: &str = "^crn:v1(:[!-)+-9;-~]+){3}(:[!-)+-9;-~]*){2}:[!-)+-9;-~]+(:[!-)+-9;-~]*){0,2}$";

/// The same with `*` for segments, or at the end of the last.
const CRN_QUERY: &str = "^crn:(v1|[*])(:([!-)+-9;-~]+|[*])){3}(:([!-)+-9;-~]*|[*])){2}\
    (:[!-)+-9;-~]+[*]?|:[*]|:([!-)+-9;-~]+|[*])(:([!-)+-9;-~]*|[*]))?:[!-)+-9;-~]*[*]?)$";

/// The same, asked of all keys: whose resources they are must not be left open.
const CRN_QUERY_OF_ALL_KEYS: &str = "^crn:v1(:[!-)+-9;-~]+){3}(:[!-)+-9;-~]*){2}:[!-)+-9;-~]+\
    ((:([!-)+-9;-~]*|[*]))?:[!-)+-9;-~]*[*]?)?$";

pub(in crate::http) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

pub(in crate::http) fn uuid(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "uuid"})
}

pub(in crate::http) fn base64(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "contentEncoding": "base64", "pattern": BASE64})
}

pub(in crate::http) fn crn(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^crn:v1:"})
}

/// The number of a key's state.
pub(in crate::http) fn state(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer", "enum": [0, 1, 2, 3, 5],
        "description": "0 Pre-activation, 1 Active, 2 Suspended, 3 Deactivated, 5 Destroyed",
    })
}

/// What an instance policy says beside that it is on or off. Which of these there are depends on the policy.
pub(in crate::http) fn policy_attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "properties": {
        "allowed_network": {"enum": ["public-and-private", "private-only"]},
        "allowed_ip": {"type": "array", "items": {"type": "string"}},
        "interval_month": {"type": "integer", "minimum": 1, "maximum": 12},
        "create_root_key": {"type": "boolean"},
        "create_standard_key": {"type": "boolean"},
        "import_root_key": {"type": "boolean"},
        "import_standard_key": {"type": "boolean"},
        "enforce_token": {"type": "boolean"},
    }})
}

/// Of requests only from here on. Absent and `null` are the same to the readers.
fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    }
    schema
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

pub(super) fn optional_date(_: &mut SchemaGenerator) -> Schema {
    schema(or_null(json!({"type": "string", "format": "date-time", "examples": ["2096-02-29T09:15:00Z"]})))
}

pub(super) fn optional_uuid(_: &mut SchemaGenerator) -> Schema {
    schema(or_null(json!({"type": "string", "format": "uuid", "pattern": UUID})))
}

pub(super) fn required_uuid(_: &mut SchemaGenerator) -> Schema {
    schema(json!({"type": "string", "format": "uuid", "pattern": UUID}))
}

pub(super) fn optional_plaintext(_: &mut SchemaGenerator) -> Schema {
    schema(or_null(json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64, "minLength": 4})))
}

pub(super) fn required_base64(_: &mut SchemaGenerator) -> Schema {
    schema(json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64, "minLength": 4}))
}

pub(super) fn optional_root_material(_: &mut SchemaGenerator) -> Schema {
    schema(or_null(json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64_OF_ROOT_KEY})))
}

/// At most 7,500 bytes.
pub(super) fn optional_standard_material(_: &mut SchemaGenerator) -> Schema {
    let text = json!({
        "type": "string", "contentEncoding": "base64", "pattern": BASE64, "minLength": 4, "maxLength": 10_000,
    });
    schema(or_null(text))
}

pub(super) fn iv(_: &mut SchemaGenerator) -> Schema {
    schema(json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64_OF_IV}))
}

pub(super) fn algorithm(_: &mut SchemaGenerator) -> Schema {
    schema(json!({"enum": ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", null], "default": "RSAES_OAEP_SHA_256"}))
}

pub(super) fn aad(_: &mut SchemaGenerator) -> Schema {
    schema(or_null(json!({"type": "array", "items": {"type": "string", "maxLength": 255}})))
}

pub(super) fn aliases(_: &mut SchemaGenerator) -> Schema {
    schema(or_null(json!({"type": "array", "items": alias(), "uniqueItems": true})))
}

pub(super) fn tags(_: &mut SchemaGenerator) -> Schema {
    let tag = json!({"type": "string", "maxLength": 30, "pattern": "^[^<>,:&|]*$"});
    schema(or_null(json!({"type": "array", "items": tag, "maxItems": 30})))
}

pub(super) fn key_ring(_: &mut SchemaGenerator) -> Schema {
    schema(ring())
}

pub(super) fn resource(_: &mut SchemaGenerator) -> Schema {
    schema(resource_crn())
}

/// A truth value, which registrations also bring as a text.
pub(super) fn truth(_: &mut SchemaGenerator) -> Schema {
    schema(json!({"enum": [true, false, "true", "false", null]}))
}

/// Whatever the reader passes over.
pub(super) fn anything(_: &mut SchemaGenerator) -> Schema {
    Schema::default()
}

/// A UUID, of any version and in either case.
pub(super) fn uuid_text() -> Value {
    json!({"type": "string", "pattern": UUID})
}

/// An alias.
pub(super) fn alias() -> Value {
    json!({
        "type": "string", "pattern": "^[A-Za-z0-9_-]{2,90}$",
        "not": {"anyOf": [{"enum": RESERVED_ALIASES}, {"pattern": UUID}]},
    })
}

/// What names a key in a path: its id, or an alias.
pub(super) fn key_name() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{2,90}$", "not": {"enum": RESERVED_ALIASES}})
}

/// The id of a key ring.
pub(super) fn ring() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9-]{2,100}$"})
}

/// The CRN of a resource.
pub(super) fn resource_crn() -> Value {
    json!({"type": "string", "pattern": CRN, "maxLength": 2048})
}

/// A query for CRNs, of one key's registrations or of all keys'.
pub(super) fn crn_query(of_all_keys: bool) -> Value {
    json!({"type": "string", "pattern": if of_all_keys { CRN_QUERY_OF_ALL_KEYS } else { CRN_QUERY }, "maxLength": 2048})
}
