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
//! `As` names a dev identity, `Instance: second` the other instance (`none` leaves the header out), and `By: private`
//! takes the private endpoint. In an answer, `{{uuid}}`, `{{date}}`, `{{base64}}`, `{{jwt}}`, `{{text}}` and
//! `{{number}}` stand for any of that kind; with a name behind a colon the value is kept, and `{{name}}` puts it into
//! later requests and answers. What is kept under two names must be two values, dates apart. `{{deleted+4h}}` is the
//! date so long after the one that was kept as `deleted`, and `{{now+4h}}` so long from the gateway's own time; what
//! else can be made is in `golden/made.rs`. `{{instance}}`, `{{instance2}}` and `{{api_key:NAME}}` are known from the
//! start. A body must be the same to the last field, unless it has a field `"..."`; of the headers, those that are
//! named.
//!
//! Where an error is expected and no body is written, it is the API's error body with the reasons that stand behind the
//! status, each with its target: `400 MISSING_FIELD_ERR field:name, BAD_BODY_ERR`. Without reasons it is the 401 body.
//!
//! A first line `TRAVEL 4h` moves the gateway's clock forward before the request, and everybody gets new access tokens. The
//! gateway serves the cases of its folder one after another: those that come later find the time that this one made.
//!
//! What holds of every answer is not written either: see `everywhere`, and [`crate::described`].

mod made;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::described::Described;
use crate::gateway::{Client, Gateway, Reply, reply};

/// Runs a case; returns what is wrong, a line each.
pub async fn run(gateway: &Gateway, case: &Path) -> Vec<String> {
    let mut runner = Runner::new(gateway);
    let mut files: Vec<_> =
        fs::read_dir(case).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
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
    http: reqwest::Client,
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
    let headers =
        lines.map(|line| line.split_once(':').expect("a header")).map(|(n, v)| (n.trim(), v.trim())).collect();
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
        Self { gateway, http: reqwest::Client::new(), clients: BTreeMap::new(), kept }
    }

    async fn exchange(&mut self, text: &str) -> Vec<String> {
        let text = match text.trim_start().strip_prefix("TRAVEL ") {
            None => text,
            Some(journey) => {
                let (by, rest) = journey.split_once('\n').expect("a request after the journey");
                self.gateway.travel(by.trim()).await;
                // Their access tokens may have lapsed on the way.
                self.clients.clear();
                rest
            }
        };
        let (request, answer) = text.split_once("\n---\n").expect("a request, a line `---`, and an answer");
        if text.contains("{{now") {
            self.kept.insert("now".to_owned(), self.gateway.travel("0s").await);
        }
        let request = self.fill(request);
        let request = message(&request);
        let mut reply = self.send(&request).await;
        // As the SDKs do it: a gateway that has too much to do for the moment says when to come again.
        for _ in 0..6 {
            let Some(wait) = reply.headers.get("retry-after").filter(|_| reply.status == 503) else { break };
            let seconds = wait.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            reply = self.send(&request).await;
        }
        let mut problems = self.compare(&message(answer), &reply);
        let (method, path) = request.first.split_once(' ').expect("a method and a path");
        problems.extend(Described::by(self.gateway).await.problems(method, path, &reply));
        problems
    }

    async fn send(&mut self, request: &Message<'_>) -> Reply {
        let (method, path) = request.first.split_once(' ').expect("a method and a path");
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let by_private = request.headers.contains(&("By", "private"));
        let private = self.gateway.ready.private_url.as_ref().filter(|_| by_private);
        let url = private.unwrap_or(&self.gateway.ready.url);
        let mut builder = self.http.request(method, format!("{url}{path}"));
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
                "By" => {}
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
        let put = |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{{{name}}}}}"), value);
        made::fill(&self.kept.iter().fold(text.to_owned(), put), &self.kept)
    }

    fn compare(&mut self, expected: &Message<'_>, reply: &Reply) -> Vec<String> {
        let mut problems = Vec::new();
        let (status, reasons) = expected.first.split_once(' ').unwrap_or((expected.first, ""));
        if status != reply.status.to_string() {
            problems.push(format!("status {} instead of {status}; body {}", reply.status, reply.body));
            return problems;
        }
        everywhere(reply, &mut problems);
        let body = match expected.body {
            "" if reply.status >= 400 && !reply.body.is_null() => error_body(reply.status, reasons),
            "" if reasons.is_empty() => Value::Null,
            "" => return vec![format!("no body instead of {reasons}")],
            text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}")),
        };
        // Once to keep values, which may stand behind what is compared with them, and once in earnest.
        self.value("body", &body, &reply.body, &mut Vec::new());
        for (name, value) in &expected.headers {
            let found = reply.headers.get(*name).and_then(|found| found.to_str().ok()).unwrap_or("(absent)");
            let value = Value::String((*value).to_owned());
            self.value(&format!("header {name}"), &value, &Value::String(found.to_owned()), &mut problems);
        }
        self.value("body", &body, &reply.body, &mut problems);
        problems
    }

    fn value(&mut self, at: &str, expected: &Value, found: &Value, problems: &mut Vec<String>) {
        match (expected, found) {
            (Value::Object(wanted), Value::Object(there)) => {
                for (name, value) in wanted.iter().filter(|(name, _)| *name != MORE) {
                    match there.get(name) {
                        Some(found) => self.value(&format!("{at}.{name}"), value, found, problems),
                        None => problems.push(format!("{at}.{name} is not there")),
                    }
                }
                let is_complete = !wanted.contains_key(MORE);
                for name in there.keys().filter(|name| is_complete && !wanted.contains_key(*name)) {
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
            Some((kind, name)) if KINDS.contains(&kind) => (kind, name),
            _ => {
                let expected = self.fill(pattern);
                return if expected == text { Ok(()) } else { Err(format!("{text} instead of {expected}")) };
            }
        };
        if !fits(kind, found, &text) {
            return Err(format!("{text} is no {kind}"));
        }
        match self.kept.get(name) {
            _ if name.is_empty() => Ok(()),
            Some(before) if *before != text => Err(format!("{text}, and {name} was {before}")),
            Some(_) => Ok(()),
            None => match self.kept.iter().find(|(_, value)| **value == text) {
                Some((other, _)) if kind != "date" => Err(format!("{text} is {other} already")),
                _ => {
                    self.kept.insert(name.to_owned(), text);
                    Ok(())
                }
            },
        }
    }
}

/// A field of this name says that there may be others.
const MORE: &str = "...";

const KINDS: [&str; 6] = ["uuid", "date", "base64", "jwt", "text", "number"];

fn fits(kind: &str, found: &Value, text: &str) -> bool {
    let base64 = |part: &str, more: &[char]| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    match kind {
        "uuid" => {
            text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-'))
        }
        "date" => text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T',
        "base64" => text.len().is_multiple_of(4) && base64(text.trim_end_matches('='), &['+', '/']),
        "jwt" => text.split('.').count() == 3 && text.split('.').all(|part| base64(part, &['-', '_'])),
        "number" => found.is_number(),
        _ => found.is_string() && !text.is_empty(),
    }
}

/// The error body with these reasons (`CODE` or `CODE kind:name`, with commas between).
fn error_body(status: u16, reasons: &str) -> Value {
    let phrase = reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("");
    let reasons: Vec<Value> = reasons
        .split(", ")
        .filter(|reason| !reason.is_empty())
        .map(|reason| {
            let (code, target) = reason.split_once(' ').unwrap_or((reason, ""));
            let mut body = json!({
                "code": code, "message": "{{text}}", "status": status,
                "moreInfo": "https://cloud.ibm.com/apidocs/key-protect",
            });
            if let Some((kind, name)) = target.split_once(':') {
                body["target"] = json!({"type": kind, "name": name});
            }
            body
        })
        .collect();
    let resource = match reasons.is_empty() {
        true => json!({"errorMsg": format!("{phrase}: The user does not have access to the specified resource")}),
        false => json!({"errorMsg": "{{text}}", "reasons": reasons}),
    };
    json!({
        "metadata": {"collectionType": "application/vnd.ibm.kms.error+json", "collectionTotal": 1},
        "resources": [resource],
    })
}

/// What holds of every answer: it has a correlation id, and none of the API's bodies is plain `application/json`. The
/// text of an error begins with the status in words, and the body of a list counts its resources.
fn everywhere(reply: &Reply, problems: &mut Vec<String>) {
    let header = |name| reply.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let id = header("correlation-id");
    if !fits("uuid", &Value::Null, &id.to_ascii_lowercase()) {
        problems.push(format!("the correlation id is {id:?}"));
    }
    let Some(resources) = reply.body["resources"].as_array() else { return };
    let (content_type, metadata) = (header("content-type"), &reply.body["metadata"]);
    let own = ["application/vnd.ibm.kms.", "application/vnd.keygate."];
    if !own.iter().any(|start| content_type.starts_with(start)) || !content_type.ends_with("+json") {
        problems.push(format!("the content type is {content_type:?}"));
    }
    if metadata["collectionTotal"] != resources.len() {
        problems.push(format!("metadata are {metadata} and there are {} resources", resources.len()));
    }
    let Some(text) = resources.first().and_then(|resource| resource["errorMsg"].as_str()) else { return };
    let phrase = reqwest::StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason());
    if phrase.is_none_or(|phrase| !text.starts_with(&format!("{phrase}: "))) {
        problems.push(format!("the error's text is {text:?}"));
    }
}
