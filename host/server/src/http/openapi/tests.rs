//! The document against the router, against the readers of bodies, and against itself.

use std::collections::{BTreeMap, BTreeSet};

use keygate_core::error::ReasonCode;

use super::schemas::bounds;
use super::*;
use crate::http::body::asked;
use crate::http::dto::{action, import_token, key, policy, registration};
use crate::http::router::ROUTES;
use crate::status;

fn described() -> Value {
    document(&Limits::default())
}

/// Every operation, by method and path.
fn each(document: &Value) -> BTreeMap<(String, String), &Value> {
    let paths = document["paths"].as_object().unwrap();
    let mut all = BTreeMap::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            all.insert((method.to_ascii_uppercase(), path.clone()), operation);
        }
    }
    all
}

#[test]
fn what_is_described_is_what_is_served() {
    let document = described();
    let described: BTreeSet<_> = each(&document).into_keys().collect();
    let served: BTreeSet<_> =
        ROUTES.iter().map(|route| (route.method.as_str().to_owned(), route.path.to_owned())).collect();
    assert_eq!(ROUTES.len(), served.len(), "a route stands twice");
    assert_eq!(described, served);
    let operations = operations(&mut Schemas::new());
    assert_eq!(operations.len(), served.len(), "an operation is described twice");
}

/// All objects in a document, with where they are.
fn walk<'a>(value: &'a Value, place: &str, visit: &mut dyn FnMut(&str, &'a Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(place, object);
            for (name, value) in object {
                walk(value, &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), visit);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                walk(value, &format!("{place}/{at}"), visit);
            }
        }
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_referred_to() {
    let document = described();
    let mut referred = BTreeSet::new();
    walk(&document, "", &mut |place, object| {
        if let Some(Value::String(reference)) = object.get("$ref") {
            let target = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(target).is_some(), "{place} refers to {reference}");
            referred.insert(target.to_owned());
        }
    });
    for kind in ["parameters", "headers", "responses", "schemas"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(referred.contains(&format!("/components/{kind}/{name}")), "nothing refers to the {kind} {name}");
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_all_the_parameters_of_their_paths() {
    let document = described();
    let mut names = BTreeSet::new();
    for ((method, path), operation) in each(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} stands twice");
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(TAGS.iter().any(|(known, _)| *known == tag), "{method} {path}: {tag}");
        let parameters = operation["parameters"].as_array().unwrap();
        let of_path: BTreeSet<_> =
            parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
        let in_path: BTreeSet<_> = path.split('{').skip(1).map(|rest| rest.split_once('}').unwrap().0).collect();
        assert_eq!(of_path, in_path, "{method} {path}");
        let mut seen = BTreeSet::new();
        for parameter in parameters {
            assert!(seen.insert(parameter.to_string()), "{method} {path}: {parameter} stands twice");
        }
    }
}

#[test]
fn every_method_of_the_api_tells_what_any_of_them_can_answer() {
    let document = described();
    for ((method, path), operation) in each(&document) {
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
        if !path.starts_with("/api/v2/") {
            continue;
        }
        for status in ["400", "401", "403", "404", "409", "413", "415", "429", "500", "503", "504"] {
            assert!(responses.contains_key(status), "{method} {path} has no {status}");
        }
        assert_eq!(responses.contains_key("406"), method != "HEAD", "{method} {path}");
        assert!(method != "HEAD" || !operation.to_string().contains("\"content\""), "{method} {path} has no bodies");
    }
}

#[test]
fn every_reason_code_is_some_operations() {
    // Those that no operation has: the one is never told, the other is of paths that are not there.
    let never = [ReasonCode::Unauthorized, ReasonCode::NoSuchPath];
    let document = described();
    let mut codes = BTreeSet::new();
    walk(&document["components"]["responses"], "", &mut |_, object| {
        if let Some(Value::Array(values)) = object.get("enum") {
            codes.extend(values.iter().filter_map(Value::as_str));
        }
    });
    for code in ReasonCode::ALL {
        assert_eq!(codes.contains(code.as_str()), !never.contains(code), "{}", code.as_str());
        assert!((400..=500).contains(&status::of_reason(*code)));
    }
}

#[test]
fn every_bound_of_the_operator_has_its_place() {
    let limits = Limits { aliases_per_key: 7, aad_entries: 9, max_plaintext: 10, ..Limits::default() };
    let document = document(&limits);
    for (place, bound) in bounds(&limits) {
        let (schema, _) = place.rsplit_once('/').unwrap();
        assert!(document["components"]["schemas"].pointer(schema).unwrap()["type"].is_array(), "{place}");
        assert_eq!(document["components"]["schemas"].pointer(place), Some(&json!(bound)), "{place}");
    }
    assert_eq!(document["components"]["schemas"]["WrapRequest"]["properties"]["plaintext"]["maxLength"], 16);
}

#[test]
fn answers_are_described_to_the_last_field_and_have_no_null() {
    let mut schemas = Schemas::new();
    operations(&mut schemas);
    Refusals::new(&mut schemas);
    let answers = Value::Object(schemas.answers.take_definitions(true));
    assert!(answers.as_object().unwrap().len() > 25);
    walk(&answers, "", &mut |place, object| {
        // A field can be called so, too.
        if object.get("properties").is_some_and(|fields| fields.as_object().is_some_and(|f| f.contains_key("id"))) {
            assert_eq!(object.get("additionalProperties"), Some(&Value::Bool(false)), "{place}");
        }
    });
    assert!(!answers.to_string().contains("\"null\""));
}

/// What the readers of bodies make of a schema: they look at each field of it, and at no other.
#[test]
fn bodies_are_described_as_they_are_read() {
    let sealed = json!({"payload": "AAAA", "encryptedNonce": "AAAA", "iv": "AAAA", "encryptionAlgorithm": "x"});
    let one = |resource: Value| json!({"metadata": {"collectionTotal": 1}, "resources": [resource]});
    let key = json!({
        "payload": "AAAA", "encryptedNonce": "AAAA", "iv": "AAAA", "rotation": {"interval_month": 1},
        "dualAuthDelete": {"enabled": true},
    });
    let policies = json!({"metadata": {"collectionTotal": 1}, "resources": [
        {"rotation": {"interval_month": 1}}, {"dualAuthDelete": {"enabled": true}},
    ]});
    let attributes = |kind: &str| {
        json!({"policy_type": kind, "policy_data": {"enabled": true, "attributes": {
            "allowed_network": "private-only", "allowed_ip": ["192.0.2.0/24"], "interval_month": 1,
        }}})
    };
    let kinds = ["allowedNetwork", "allowedIP", "keyCreateImportAccess", "rotation"].map(attributes);
    let mut instance = json!({"metadata": {"collectionTotal": 5}, "resources": kinds});
    instance["resources"].as_array_mut().unwrap().push(json!({"dualAuthDelete": {"enabled": true}}));
    let event = json!({"keyStateData": {"keyVersion": "x"}});
    let cases: Vec<(&str, Reader, Value)> = vec![
        ("POST /api/v2/keys_with_policy_overrides", |body| drop(key::create(body, false, true)), one(key)),
        ("POST /api/v2/keys/{id}/restore", |body| drop(key::restore(body)), one(sealed.clone())),
        ("PATCH /api/v2/keys/{id}", |body| drop(key::patch(body)), json!({"x": 1})),
        ("POST /api/v2/keys/{id}/actions/wrap", |body| drop(action::wrap(body)), json!({"x": 1})),
        ("POST /api/v2/keys/{id}/actions/unwrap", |body| drop(action::ciphertext(body)), json!({"x": 1})),
        ("POST /api/v2/keys/{id}/actions/rewrap", |body| drop(action::ciphertext(body)), json!({"x": 1})),
        ("POST /api/v2/keys/{id}/actions/rotate", |body| drop(action::rotate(body)), sealed),
        ("PUT /api/v2/keys/{id}/policies", |body| drop(policy::write_policies(body, None)), policies),
        ("PUT /api/v2/instance/policies", |body| drop(policy::write_instance_policies(body, None)), instance),
        ("POST /api/v2/import_token", |body| drop(import_token::create(body)), json!({"x": 1})),
        ("PUT /api/v2/keys/{id}/registrations/{crn}", |body| drop(registration::input(body)), one(json!({"x": 1}))),
        ("POST /api/v2/keys/{id}/registrations", |body| drop(registration::resource_crn(body)), one(json!({"x": 1}))),
        ("POST /api/v2/event_ack", |body| drop(registration::acknowledgements(body)), one(event)),
    ];
    let document = described();
    for (operation, read, body) in cases {
        let (method, path) = operation.split_once(' ').unwrap();
        let all = each(&document);
        let content = &all[&(method.to_owned(), path.to_owned())]["requestBody"]["content"];
        let mut described = BTreeSet::new();
        fields(&document, &content["application/json"]["schema"], &mut described);
        asked::take();
        read(body.to_string().as_bytes());
        let mut read = asked::take();
        for unread in ["collectionType", "collectionTotal", "type"] {
            described.remove(unread);
            read.remove(unread);
        }
        assert_eq!(described, read, "{operation}");
    }
}

type Reader = fn(&[u8]);

/// The names of all fields in a schema.
fn fields(document: &Value, schema: &Value, names: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        fields(document, document.pointer(reference.trim_start_matches('#')).unwrap(), names);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        names.insert(name.clone());
        fields(document, field, names);
    }
    for choice in ["anyOf", "allOf"].iter().filter_map(|name| schema[name].as_array()).flatten() {
        fields(document, choice, names);
    }
    if schema["items"].is_object() {
        fields(document, &schema["items"], names);
    }
}

/// Reviewers see what a change does to the API in `docs/openapi.json`.
#[test]
fn the_document_in_the_repository_is_the_one_that_is_served() {
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let current = format!("{:#}\n", described());
    if std::env::var_os("KEYGATE_WRITE_OPENAPI").is_some() {
        std::fs::write(&place, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(
        committed == current,
        "docs/openapi.json is not what is served; write it anew with \
         `KEYGATE_WRITE_OPENAPI=1 cargo test -p keygate --lib openapi`, and look at the difference"
    );
}
