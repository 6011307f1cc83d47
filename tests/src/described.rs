//! Answers against what `GET /openapi.json` says of them: there is nothing in an answer that the document does not tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jsonschema::Validator;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::gateway::{Gateway, Reply};

/// The document of a gateway, and what was made of it so far.
pub struct Described {
    document: Value,
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
}

impl Described {
    /// As a document says.
    pub fn new(document: Value) -> Self {
        Self { document, validators: Mutex::default() }
    }

    /// As a gateway says. It is asked once: the document is the same in all gateways of a program in dev mode.
    pub async fn by(gateway: &Gateway) -> &'static Self {
        static DOCUMENT: OnceCell<Described> = OnceCell::const_new();
        let fetch = || async {
            let answer = reqwest::get(format!("{}/openapi.json", gateway.ready.url)).await.expect("an answer");
            Self::new(answer.json().await.expect("a document"))
        };
        DOCUMENT.get_or_init(fetch).await
    }

    /// The document.
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// What is wrong with an answer, a line each. `path` can have a query. Of a path that is not described the document
    /// says nothing; nor does it of a method that the path does not take, and the answer to that must be 405.
    pub fn problems(&self, method: &str, path: &str, reply: &Reply) -> Vec<String> {
        let path = path.split('?').next().unwrap_or(path);
        let Some((template, operations)) = self.path(path) else { return Vec::new() };
        let place = format!("{method} {template}: {}", reply.status);
        let Some(operation) = operations.get(method.to_ascii_lowercase()) else {
            return if reply.status == 405 { Vec::new() } else { vec![format!("{place} of a method not described")] };
        };
        let Some(response) = operation["responses"].get(reply.status.to_string()) else {
            return vec![format!("{place} is not described; body {}", reply.body)];
        };
        let response = self.resolved(response);
        let mut problems = self.headers(response, &reply.headers);
        problems.extend(self.body(&place, response, reply));
        problems.into_iter().map(|problem| format!("{place}: {problem}")).collect()
    }

    /// The path item of a path: of several that fit, the one with the fewest parameters.
    fn path(&self, path: &str) -> Option<(&str, &Value)> {
        let fits = |template: &str| {
            let (mut given, mut wanted) = (path.split('/'), template.split('/'));
            loop {
                match (given.next(), wanted.next()) {
                    (None, None) => return true,
                    (Some(given), Some(wanted)) if given == wanted => {}
                    (Some(given), Some(wanted)) if wanted.starts_with('{') && !given.is_empty() => {}
                    _ => return false,
                }
            }
        };
        let paths = self.document["paths"].as_object().expect("paths");
        let fitting = paths.iter().filter(|(template, _)| fits(template));
        fitting
            .min_by_key(|(template, _)| template.matches('{').count())
            .map(|(template, item)| (template.as_str(), item))
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).expect("what it refers to"),
            None => value,
        }
    }

    fn headers(&self, response: &Value, given: &HeaderMap) -> Vec<String> {
        let wanted = response["headers"].as_object().into_iter().flatten();
        wanted
            .filter(|(_, header)| self.resolved(header)["required"] == true)
            .filter(|(name, _)| !given.contains_key(name.as_str()))
            .map(|(name, _)| format!("there is no {name}"))
            .collect()
    }

    fn body(&self, place: &str, response: &Value, reply: &Reply) -> Vec<String> {
        let Some(content) = response["content"].as_object() else {
            return if reply.body.is_null() { Vec::new() } else { vec![format!("a body: {}", reply.body)] };
        };
        let media = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("(none)");
        let Some(described) = content.get(media) else { return vec![format!("the content type is {media}")] };
        if !media.contains("json") {
            return Vec::new();
        }
        let validator = self.validator(&format!("{place} {media}"), &described["schema"]);
        let mut problems: Vec<String> =
            validator.iter_errors(&reply.body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        problems.extend(unknown_code(&described["schema"], &reply.body));
        problems
    }

    fn validator(&self, name: &str, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().expect("no test panicked here");
        let make = || {
            let root = json!({"allOf": [schema], "components": {"schemas": self.document["components"]["schemas"]}});
            let options = jsonschema::options().should_validate_formats(true);
            Arc::new(options.build(&root).unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        Arc::clone(validators.entry(name.to_owned()).or_insert_with(make))
    }
}

/// A first reason's code that the schema does not name. It lets rules of operators have codes of their own; there are none here.
fn unknown_code(schema: &Value, body: &Value) -> Option<String> {
    let code = body["resources"][0]["reasons"][0]["code"].as_str();
    let known = schema.to_string();
    let unknown = code.filter(|code| !known.contains(&format!("\"{code}\"")));
    unknown.map(|code| format!("the reason code {code} is not described"))
}
