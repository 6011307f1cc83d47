//! The schemas of all bodies, by their names.

use keygate_core::error::ReasonCode;
use keygate_core::limits::Limits;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, transform};
use serde_json::{Map, Value, json};

/// Where they are in the document.
const PLACE: &str = "/components/schemas";

/// Gathers schemas. What a type looks like when it is written, and when it is read, is not the same.
pub(super) struct Schemas {
    pub(super) answers: SchemaGenerator,
    requests: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = PLACE.into());
        Self {
            answers: settings().for_serialize().with_transform(close).into_generator(),
            requests: settings().for_deserialize().with_transform(loosen).into_generator(),
        }
    }

    /// The schema of what is answered.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// The schema of what is asked.
    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// All that were asked for, with the bounds that the operator has set.
    pub(super) fn finish(mut self, limits: &Limits) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all.insert("ReasonCode".to_owned(), json!({"type": "string", "enum": reason_codes()}));
        let mut all = Value::Object(all);
        for (place, bound) in bounds(limits) {
            if let Some((object, name)) = place.rsplit_once('/')
                && let Some(Value::Object(object)) = all.pointer_mut(object)
            {
                object.insert(name.to_owned(), json!(bound));
            }
        }
        match all {
            Value::Object(all) => all,
            _ => Map::new(),
        }
    }
}

/// All that can be told. The code that goes with 401 is left out of its body.
fn reason_codes() -> Vec<&'static str> {
    ReasonCode::ALL.iter().filter(|code| **code != ReasonCode::Unauthorized).map(|code| code.as_str()).collect()
}

/// The bounds that the configuration sets, and where they belong. A test sees to it that each of the places is there.
pub(super) fn bounds(limits: &Limits) -> [(&'static str, usize); 6] {
    let base64 = |bytes: usize| bytes.div_ceil(3).saturating_mul(4);
    [
        ("/WrapRequest/properties/plaintext/maxLength", base64(limits.max_plaintext)),
        ("/WrapRequest/properties/aad/maxItems", limits.aad_entries),
        ("/CiphertextRequest/properties/aad/maxItems", limits.aad_entries),
        ("/NewRootKey/properties/aliases/maxItems", limits.aliases_per_key),
        ("/NewRootKeyUnderToken/properties/aliases/maxItems", limits.aliases_per_key),
        ("/NewStandardKey/properties/aliases/maxItems", limits.aliases_per_key),
    ]
}

/// What a request can say `null` for it can leave out: the readers make no difference. The derive knows that of a field's
/// type, and not of a schema that is given in its place.
fn loosen(schema: &mut Schema) {
    transform::transform_subschemas(&mut loosen, schema);
    let Some(object) = schema.as_object_mut() else { return };
    let Some(Value::Array(mut required)) = object.remove("required") else { return };
    if let Some(Value::Object(fields)) = object.get("properties") {
        required.retain(|name| name.as_str().and_then(|name| fields.get(name)).is_none_or(|field| !takes_null(field)));
    }
    if !required.is_empty() {
        object.insert("required".to_owned(), Value::Array(required));
    }
}

/// Whether a field may be `null`, as far as its own schema tells.
fn takes_null(field: &Value) -> bool {
    let Value::Object(field) = field else { return *field == Value::Bool(true) };
    match (field.get("type"), field.get("enum")) {
        (Some(Value::Array(types)), _) => types.iter().any(|name| name == "null"),
        (None, Some(Value::Array(values))) => values.contains(&Value::Null),
        // Nothing but words: whatever the reader passes over.
        _ => field.keys().all(|name| name == "description"),
    }
}

/// An answer holds what is described and nothing else, and what is not there is left out of it, never `null`.
fn close(schema: &mut Schema) {
    transform::transform_subschemas(&mut close, schema);
    let Some(object) = schema.as_object_mut() else { return };
    if object.contains_key("properties") {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_mut_slice() {
            let one = one.take();
            object.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(one)] = choices.as_mut_slice() {
            let one = std::mem::take(one);
            object.remove("anyOf");
            object.extend(one);
        }
    }
}
