//! What the tables of roles need: identities, what a row is about, and answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use keygate_tests::configured::{Place, builtin, new_api_key};
use keygate_tests::gateway::{Client, Reply, create_body, reply};
use serde_json::{Value, json};

/// A second instance.
pub const OTHER_INSTANCE: &str = "6d1f0d9c-6b0c-4f0e-9d55-2a6f3f1f7a02";

/// A resource of the service that has a column, and one of another.
const OWN: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/acme:1::";
const FOREIGN: &str = "crn:v1:bluemix:public:databases-for-redis:global:a/acme:1::";

/// A place whose gateway knows these identities; the name `service` makes one a service. With their API keys.
pub fn place_with(grants: &[(&str, String)]) -> (Place, Vec<String>) {
    let place = Place::new();
    let api_keys = give(&place, grants);
    (place, api_keys)
}

/// Writes the configuration of a place once more, with these identities beside the Manager. Returns their API keys.
pub fn give(place: &Place, grants: &[(&str, String)]) -> Vec<String> {
    // What takes four hours is for other tests; here it is whether it may be done at all.
    let mut more = format!(
        "[limits]\nimport_keys_ready = 0\npurge_wait = \"0s\"\nrestore_wait = \"0s\"\nenable_wait = \"0s\"\n\
         [runtime]\ncache_dir = \"compiled\"\n[[instances]]\nid = \"{OTHER_INSTANCE}\"\nname = \"second\"\n\
         region = \"us-south\"\naccount = \"acme\"\nbackend = \"software\"\n"
    );
    let mut api_keys = Vec::new();
    for (name, roles) in grants {
        let (api_key, hash) = new_api_key();
        let kind = if *name == "service" { "kind = \"service\"\nservice = \"cloud-object-storage\"\n" } else { "" };
        more += &format!(
            "[[iam.identities]]\nid = \"IBMid-{name}\"\n{kind}api_key_hashes = [\"{hash}\"]\nroles = [{roles}]\n"
        );
        api_keys.push(api_key);
    }
    let plugins = [builtin("aes-gcm"), builtin("access"), more].concat();
    place.write(&plugins, r#"["access"]"#);
    api_keys
}

/// What a request is about.
#[derive(Clone)]
pub struct Asked {
    /// The key's id.
    id: String,
    /// A name that nothing has.
    new: String,
    ciphertext: Value,
}

impl Asked {
    /// For requests about nothing in particular.
    pub fn nothing() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let new = format!("name-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { id: String::new(), new, ciphertext: Value::Null }
    }

    /// Makes what a row says that there is. A Manager does it, and what only services do, a service.
    pub async fn prepare(manager: &Client, service: &Client, given: &str) -> Self {
        let nothing = Self::nothing();
        match given {
            "-" => return nothing,
            "ring" => {
                must(manager, "POST", &format!("/key_rings/{}", nothing.new), None, 201).await;
                return nothing;
            }
            _ => {}
        }
        let id = Self::key_in(manager, None).await;
        let key = format!("/keys/{id}");
        let wrapped = must(manager, "POST", &format!("{key}/actions/wrap"), Some(json!({})), 200).await;
        must(manager, "POST", &format!("{key}/aliases/{}-alias", nothing.new), None, 201).await;
        match given {
            "key" => {}
            "deleted" => drop(must(manager, "DELETE", &key, None, 204).await),
            "disabled" => drop(must(manager, "POST", &format!("{key}/actions/disable"), None, 204).await),
            "dual-auth" => {
                let body = one(json!({"dualAuthDelete": {"enabled": true}}));
                must(manager, "PUT", &format!("{key}/policies"), Some(body), 200).await;
            }
            "registered" => {
                let path = format!("{key}/registrations/{}", escape(OWN));
                must(service, "POST", &path, Some(one(json!({}))), 201).await;
            }
            other => panic!("`given` is {other}, which nobody knows how to make"),
        }
        Self { id, ciphertext: wrapped.body["ciphertext"].clone(), ..nothing }
    }

    /// The same about another key.
    pub fn about(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// Makes a root key in a ring.
    pub async fn key_in(manager: &Client, ring: Option<&str>) -> String {
        let mut request = manager.request("POST", "/keys").body(create_body("of the tables", false).to_string());
        if let Some(ring) = ring {
            request = request.header("X-Kms-Key-Ring", ring);
        }
        let reply = reply(request).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.resource()["id"].as_str().expect("an id").to_owned()
    }

    /// The body of this name.
    pub fn body(&self, name: &str) -> Option<String> {
        let body = match name {
            "-" => return None,
            "new-key" => create_body("of the tables", false),
            "plaintext" => json!({"plaintext": "AAAA"}),
            "ciphertext" => json!({"ciphertext": self.ciphertext}),
            "another-ring" | "to-default" => json!({"keyRingID": "default"}),
            "to-mine" => json!({"keyRingID": "mine"}),
            "to-theirs" => json!({"keyRingID": "theirs"}),
            "to-nowhere" => json!({"keyRingID": "nowhere"}),
            "key-policy" => one(json!({"rotation": {"enabled": true, "interval_month": 3}})),
            "instance-policy" => one(json!({"policy_type": "metrics", "policy_data": {"enabled": false}})),
            "bad-import-token" => json!({"expiration": 1}),
            "registration" => one(json!({"description": "of the tables", "preventKeyDeletion": false})),
            "own-crn" => one(json!({"resourceCrn": OWN})),
            "foreign-crn" => one(json!({"resourceCrn": FOREIGN})),
            "acknowledgement" => one(json!({
                "eventId": "11111111-2222-4333-8444-555555555555",
                "adopterKeyState": "DEK_ENABLED",
                "timestamp": "2026-01-01T00:00:00Z",
            })),
            other => panic!("there is no body {other}"),
        };
        Some(body.to_string())
    }

    /// Where a path of a table leads.
    pub fn url(&self, client: &Client, path: &str) -> String {
        let path = path
            .replace("{id}", &self.id)
            .replace("{alias}", &format!("{}-alias", self.new))
            .replace("{ring}", &self.new)
            .replace("{new}", &format!("{}-new", self.new))
            .replace("{own}", &escape(OWN))
            .replace("{foreign}", &escape(FOREIGN));
        format!("{}{path}", client.url)
    }

    /// Sends a request.
    pub async fn send(
        &self,
        client: &Client,
        method: &str,
        path: &str,
        ring: Option<&str>,
        body: Option<String>,
    ) -> Reply {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = client.http.request(method, self.url(client, path)).bearer_auth(&client.token);
        let mut request = request.header("Bluemix-Instance", &client.instance);
        if let Some(ring) = ring {
            request = request.header("X-Kms-Key-Ring", ring);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        reply(request).await
    }
}

/// A collection of one.
fn one(resource: Value) -> Value {
    json!({"metadata": {"collectionTotal": 1}, "resources": [resource]})
}

fn escape(crn: &str) -> String {
    crn.replace(':', "%3A").replace('/', "%2F")
}

/// Sends a request that cannot fail.
async fn must(client: &Client, method: &str, path: &str, body: Option<Value>, status: u16) -> Reply {
    let reply = client.send(method, path, body).await;
    assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    reply
}

/// Whether an answer is the one of a table: a status, and after a blank the code of the first reason. A bare 401 says
/// nothing at all.
pub fn answers(reply: &Reply, wanted: &str) -> bool {
    match wanted.split_once(' ') {
        _ if wanted == "401" => is_the_refusal(reply),
        Some((status, code)) => status == reply.status.to_string() && code == reply.code(),
        None => wanted == reply.status.to_string(),
    }
}

/// The one answer to whoever may not: no reason, nothing about what is there.
pub fn is_the_refusal(reply: &Reply) -> bool {
    let body = json!({
        "metadata": {"collectionType": "application/vnd.ibm.kms.error+json", "collectionTotal": 1},
        "resources": [{"errorMsg": "Unauthorized: The user does not have access to the specified resource"}],
    });
    // HEAD has headers only.
    let length = reply.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    let same = reply.body == body || reply.body.is_null() && length == Some(body.to_string().len());
    reply.status == 401 && same
}

/// An answer, for a report.
pub fn told(reply: &Reply) -> String {
    format!("{} {}", reply.status, reply.body)
}
