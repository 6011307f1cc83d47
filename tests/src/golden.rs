//! Golden HTTP: folders of exchanges that must come out as written.
//!
//! A case is a folder; each file in it, in the order of their names, is one exchange: the request, a line `---`, and
//! the answer.
//!
//! ```text
//! POST /api/v2/keys
//! As: manager
//! Prefer: return=representation
//!
//! {"metadata": {"collectionTotal": 1}, "resources": [{"name": "k"}]}
//! ---
//! 201
//! Content-Type: application/vnd.ibm.kms.key+json
//!
//! {"metadata": {"collectionTotal": 1}, "resources": [{"id": "{{uuid:key}}"}]}
//! ```
//!
//! `As` names a dev identity, `Instance: second` the other instance (`none` leaves the header out). In an answer,
//! `{{uuid}}`, `{{date}}`, `{{base64}}`, `{{text}}` and `{{number}}` stand for any of that kind; with a name behind a
//! colon the value is kept, and `{{name}}` puts it into later requests and answers. `{{instance}}`, `{{instance2}}` and
//! `{{api_key:NAME}}` are known from the start. A body must be the same to the last field; of the headers, those that
//! are named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::gateway::{Client, Gateway, Reply, reply};

/// Runs a case; returns what is wrong, a line each.
pub async fn run(gateway: &Gateway, case: &Path) -> Vec<String> {
    let mut runner = Runner::new(gateway);
    let mut files: Vec<_> = fs::read_dir(case).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no exchanges", case.display());
    for file in files {
        let text = fs::read_to_string(&file).expect("a file");
        let problems = runner.exchange(&text).await;
        if !problems.is_empty() {
            // What follows depends on what was kept so far.
            return problems.into_iter().map(|problem| format!("{}: {problem}", file.display())).collect();
        }
    }
    Vec::new()
}

struct Runner<'a> {
    gateway: &'a Gateway,
    clients: BTreeMap<String, Client>,
    kept: BTreeMap<String, String>,
}

struct Message<'a> {
    first: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a str,
}

fn message(text: &str) -> Message<'_> {
    let (head, body) = text.trim_start().split_once("\n\n").unwrap_or((text.trim(), ""));
    let mut lines = head.lines();
    let first = lines.next().expect("a first line").trim();
    let headers = lines.map(|line| line.split_once(':').expect("a header")).map(|(n, v)| (n.trim(), v.trim())).collect();
    Message { first, headers, body: body.trim() }
}

impl<'a> Runner<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        let mut kept = BTreeMap::new();
        kept.insert("instance".to_owned(), gateway.ready.instances[0].clone());
        kept.insert("instance2".to_owned(), gateway.ready.instances[1].clone());
        for (name, key) in &gateway.ready.api_keys {
            kept.insert(format!("api_key:{name}"), key.clone());
        }
        Self { gateway, clients: BTreeMap::new(), kept }
    }

    async fn exchange(&mut self, text: &str) -> Vec<String> {
        let (request, answer) = text.split_once("\n---\n").expect("a request, a line `---`, and an answer");
        let request = self.fill(request);
        let reply = self.send(&message(&request)).await;
        self.compare(&message(answer), &reply)
    }

    async fn send(&mut self, request: &Message<'_>) -> Reply {
        let (method, path) = request.first.split_once(' ').expect("a method and a path");
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut builder = reqwest::Client::new().request(method, format!("{}{path}", self.gateway.ready.url));
        let mut instance = Some(self.kept["instance"].clone());
        for (name, value) in &request.headers {
            match *name {
                "As" => builder = builder.bearer_auth(&self.client(value).await.token),
                "Instance" => {
                    instance = match *value {
                        "none" => None,
                        "second" => Some(self.kept["instance2"].clone()),
                        other => Some(other.to_owned()),
                    }
                }
                _ => builder = builder.header(*name, *value),
            }
        }
        if let Some(instance) = instance {
            builder = builder.header("Bluemix-Instance", instance);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body.to_owned());
        }
        reply(builder).await
    }

    async fn client(&mut self, identity: &str) -> Client {
        if !self.clients.contains_key(identity) {
            let client = self.gateway.client(identity, 0).await;
            self.clients.insert(identity.to_owned(), client);
        }
        self.clients[identity].clone()
    }

    fn fill(&self, text: &str) -> String {
        self.kept.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
    }

    fn compare(&mut self, expected: &Message<'_>, reply: &Reply) -> Vec<String> {
        let mut problems = Vec::new();
        if expected.first != reply.status.to_string() {
            problems.push(format!("status {} instead of {}; body {}", reply.status, expected.first, reply.body));
            return problems;
        }
        for (name, value) in &expected.headers {
            let found = reply.headers.get(*name).and_then(|found| found.to_str().ok()).unwrap_or("(absent)");
            let value = Value::String((*value).to_owned());
            self.value(&format!("header {name}"), &value, &Value::String(found.to_owned()), &mut problems);
        }
        let body = match expected.body {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}")),
        };
        self.value("body", &body, &reply.body, &mut problems);
        problems
    }

    fn value(&mut self, at: &str, expected: &Value, found: &Value, problems: &mut Vec<String>) {
        match (expected, found) {
            (Value::Object(wanted), Value::Object(there)) => {
                for (name, value) in wanted {
                    match there.get(name) {
                        Some(found) => self.value(&format!("{at}.{name}"), value, found, problems),
                        None => problems.push(format!("{at}.{name} is not there")),
                    }
                }
                for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
                    problems.push(format!("{at}.{name} is too much: {}", there[name]));
                }
            }
            (Value::Array(wanted), Value::Array(there)) => {
                if wanted.len() != there.len() {
                    problems.push(format!("{at} has {} entries instead of {}", there.len(), wanted.len()));
                    return;
                }
                for (i, (wanted, there)) in wanted.iter().zip(there).enumerate() {
                    self.value(&format!("{at}[{i}]"), wanted, there, problems);
                }
            }
            (Value::String(text), found) if text.contains("{{") => {
                if let Err(problem) = self.pattern(text, found) {
                    problems.push(format!("{at}: {problem}"));
                }
            }
            (expected, found) if expected == found => {}
            (expected, found) => problems.push(format!("{at} is {found} instead of {expected}")),
        }
    }

    /// A whole value that is a placeholder, or a text with kept values in it.
    fn pattern(&mut self, pattern: &str, found: &Value) -> Result<(), String> {
        let text = match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let whole = pattern.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let (kind, name) = match whole.map(|inner| inner.split_once(':').unwrap_or((inner, ""))) {
            Some((kind, name)) if matches!(kind, "uuid" | "date" | "base64" | "text" | "number") => (kind, name),
            _ => {
                let expected = self.fill(pattern);
                return if expected == text { Ok(()) } else { Err(format!("{text} instead of {expected}")) };
            }
        };
        let fits = match kind {
            "uuid" => text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12]),
            "date" => text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T',
            "base64" => !text.is_empty() && text.len().is_multiple_of(4) && !text.contains(['{', ' ', '-', '_']),
            "number" => found.is_number(),
            _ => found.is_string(),
        };
        if !fits {
            return Err(format!("{text} is no {kind}"));
        }
        match self.kept.get(name) {
            _ if name.is_empty() => Ok(()),
            Some(before) if *before != text => Err(format!("{text}, and {name} was {before}")),
            Some(_) => Ok(()),
            None => {
                self.kept.insert(name.to_owned(), text);
                Ok(())
            }
        }
    }
}
