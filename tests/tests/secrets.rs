//! No secret is anywhere that it should not be, and no request goes unrecorded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keygate_core::encoding::encode;
use keygate_tests::Gateway;
use keygate_tests::gateway::{Client, Reply, create_body, reply};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// Requests that each have a correlation id of their own, and how they came out.
#[derive(Default)]
struct Journal {
    statuses: BTreeMap<String, u16>,
}

impl Journal {
    async fn send(&mut self, request: RequestBuilder) -> Reply {
        let id = format!("5ec2e700-0000-4000-8000-{:012x}", self.statuses.len());
        let reply = reply(request.header("Correlation-Id", &id)).await;
        assert_eq!(reply.headers["correlation-id"], *id);
        self.statuses.insert(id, reply.status);
        reply
    }

    async fn call(&mut self, client: &Client, expected: u16, method: &str, path: &str, body: &str) -> Reply {
        let reply = self.send(client.request(method, path).body(body.to_owned())).await;
        assert_eq!(reply.status, expected, "{method} {path}: {reply:?}");
        reply
    }
}

/// What must not be found.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    /// Makes secret bytes that stand nowhere else, and returns their base64.
    fn make(&mut self, what: &str, len: usize) -> String {
        // An odd multiplier: no two bytes in a row repeat, and no two secrets are the same.
        let seed = u8::try_from(self.0.len()).unwrap();
        let bytes: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(167).wrapping_add(seed ^ 0xa5) ^ seed).collect();
        self.bytes(what, &bytes);
        encode(&bytes)
    }

    /// In each form in which somebody might have written them.
    fn bytes(&mut self, what: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{bytes:?}");
        let base64 = encode(bytes);
        let text = base64.trim_end_matches('=').as_bytes().to_vec();
        self.0.push((format!("{what}, raw"), bytes.to_vec()));
        self.0.push((format!("{what}, in base64"), text));
        self.0.push((format!("{what}, in upper-case hex"), hex.to_uppercase().into_bytes()));
        self.0.push((format!("{what}, in hex"), hex.into_bytes()));
        self.0.push((format!("{what}, as a list"), list.trim_matches(['[', ']']).as_bytes().to_vec()));
    }

    fn text(&mut self, what: &str, text: &str) {
        self.0.push((what.to_owned(), text.as_bytes().to_vec()));
    }

    fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let found = |secret: &[u8]| {
            let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == secret[0]);
            starts.into_iter().any(|(at, _)| bytes[at..].starts_with(secret))
        };
        self.0.iter().filter(|(_, secret)| found(secret)).map(|(what, _)| what.as_str()).collect()
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Every endpoint with a secret in its body, its answer or both.
async fn journey(client: &Client, journal: &mut Journal, secrets: &mut Secrets, tag: &str) {
    let plaintext = secrets.make(&format!("{tag} plaintext"), 40);
    let mut body = create_body("root", false);
    body["resources"][0]["payload"] = secrets.make(&format!("{tag} root payload"), 32).into();
    let created = journal.call(client, 201, "POST", "/keys", &body.to_string()).await;
    let id = created.resource()["id"].as_str().unwrap().to_owned();
    let action = |name: &str| format!("/keys/{id}/actions/{name}");

    let body = json!({"plaintext": plaintext, "aad": ["not a secret"]}).to_string();
    let wrapped = journal.call(client, 200, "POST", &action("wrap"), &body).await;
    let made = journal.call(client, 200, "POST", &action("wrap"), "").await;
    let made = keygate_core::encoding::decode(made.body["plaintext"].as_str().unwrap()).unwrap();
    secrets.bytes(&format!("{tag} data key"), &made);
    let payload = json!({"payload": secrets.make(&format!("{tag} rotation payload"), 32)}).to_string();
    journal.call(client, 204, "POST", &action("rotate"), &payload).await;
    journal.call(client, 409, "POST", &action("rotate"), &payload).await;
    let ciphertext = json!({"ciphertext": wrapped.body["ciphertext"], "aad": ["not a secret"]}).to_string();
    let unwrapped = journal.call(client, 200, "POST", &action("unwrap"), &ciphertext).await;
    assert_eq!(unwrapped.body["plaintext"], *plaintext);
    journal.call(client, 200, "POST", &action("rewrap"), &ciphertext).await;
    let wrong_aad = json!({"ciphertext": wrapped.body["ciphertext"]}).to_string();
    journal.call(client, 422, "POST", &action("unwrap"), &wrong_aad).await;

    for (name, payload) in [("generated", None), ("imported", Some(secrets.make(&format!("{tag} standard"), 50)))] {
        let mut body = create_body(name, true);
        body["resources"][0]["payload"] = payload.clone().into();
        let request = client.request("POST", "/keys").header("Prefer", "return=representation");
        let created = journal.send(request.body(body.to_string())).await;
        let shown = created.resource()["payload"].as_str().unwrap();
        assert_eq!(shown, payload.as_deref().unwrap_or(shown));
        let bytes = keygate_core::encoding::decode(shown).unwrap();
        secrets.bytes(&format!("{tag} {name} standard key"), &bytes);
        let path = format!("/keys/{}", created.resource()["id"].as_str().unwrap());
        journal.call(client, 200, "GET", &path, "").await;
        journal.call(client, 400, "POST", &format!("{path}/actions/wrap"), &body.to_string()).await;
        journal.call(client, 204, "DELETE", &path, "").await;
    }
    journal.call(client, 204, "DELETE", &format!("/keys/{id}"), "").await;
    journal.call(client, 410, "POST", &action("wrap"), &json!({"plaintext": plaintext}).to_string()).await;
}

/// Requests that fail while they hold secrets where none belong.
async fn failures(gateway: &Gateway, client: &Client, journal: &mut Journal, secrets: &mut Secrets) {
    let id = client.create_root_key("of failures").await;
    let wrap = format!("/keys/{id}/actions/wrap");
    let lost = secrets.make("misplaced secret", 36);
    for body in [
        format!(r#"{{"plaintext": "{lost}" oops"#),
        format!(r#"{{"plaintext": "{lost}"#),
        format!(r#"{{"plaintext": {{"inner": "{lost}"}}}}"#),
        format!(r#"{{"plaintext": ["{lost}"], "aad": "{lost}"}}"#),
        format!(r#"{{"plaintext": "!{lost}"}}"#),
        format!(r#""{lost}""#),
        lost.clone(),
    ] {
        journal.call(client, 400, "POST", &wrap, &body).await;
    }
    journal.call(client, 200, "POST", &wrap, &format!(r#"{{"Plaintext_": "{lost}", "{lost}": 1}}"#)).await;
    let unwrap = format!("/keys/{id}/actions/unwrap");
    journal.call(client, 422, "POST", &unwrap, &json!({"ciphertext": lost}).to_string()).await;
    journal.call(client, 400, "POST", &unwrap, &json!({"ciphertext": format!("?{lost}")}).to_string()).await;
    let mut body = create_body("x", false);
    body["resources"][0]["payload"] = lost.clone().into();
    journal.call(client, 400, "POST", "/keys", &body.to_string()).await;
    body["resources"][0]["expirationDate"] = lost.clone().into();
    body["resources"][0]["extractable"] = lost.clone().into();
    journal.call(client, 400, "POST", "/keys", &body.to_string()).await;
    journal.call(client, 400, "GET", &format!("/keys?limit={lost}&state={lost}"), "").await;
    journal.call(client, 404, "GET", &format!("/keys/{id}/nothing?plaintext={lost}"), &lost).await;
    journal.call(client, 405, "PUT", "/keys", &lost).await;
    journal.call(client, 400, "POST", &format!("/keys/{id}?action={}", lost.replace(['+', '/', '='], "-")), "").await;
    journal.call(client, 413, "POST", &wrap, &lost.repeat(1024 * 1024 / lost.len() + 1)).await;
    for (encoding, status) in [("gzip", 400), ("br", 415)] {
        let request = client.request("POST", &wrap).header("Content-Encoding", encoding).body(lost.clone());
        assert_eq!(journal.send(request).await.status, status, "{encoding}");
    }
    let nobody = gateway.client("nobody", 0).await;
    journal.call(&nobody, 401, "POST", &wrap, &json!({"plaintext": lost}).to_string()).await;
    let no_instance = client.http.get(format!("{}/api/v2/keys", client.url)).bearer_auth(&client.token);
    assert_eq!(journal.send(no_instance).await.status, 400);

    // API keys where they do not belong.
    let api_key = &gateway.ready.api_keys["manager2"];
    for (bearer, expected) in
        [(format!("Bearer {api_key}"), 400), (format!("Basic {api_key}"), 401), (api_key.clone(), 401)]
    {
        let request = client.http.get(format!("{}/api/v2/keys", client.url)).header("Authorization", bearer);
        assert_eq!(journal.send(request).await.status, expected);
    }
    for path in ["identity", "oidc"] {
        let url = format!("{}/{path}/token", gateway.ready.iam_url);
        let grant = "urn:ibm:params:oauth:grant-type:apikey";
        let forms = [
            ([("grant_type", grant), ("apikey", api_key.as_str())], 200),
            ([("grant_type", "password"), ("apikey", api_key.as_str())], 400),
            ([("grant_type", api_key.as_str()), ("apikey", api_key.as_str())], 400),
            ([("grant_type", grant), ("apiKey", api_key.as_str())], 400),
            ([("grant_type", grant), ("apikey", lost.as_str())], 400),
        ];
        for (form, expected) in forms {
            let reply = journal.send(client.http.post(&url).form(&form)).await;
            assert_eq!(reply.status, expected, "{reply:?}");
            if let Some(token) = reply.body["access_token"].as_str() {
                secrets.text("access token of manager2", token);
            }
        }
        let query = client.http.post(format!("{url}?grant_type={grant}&apikey={api_key}"));
        assert_eq!(journal.send(query).await.status, 400);
    }
}

/// Each request has one line, which says how it came out.
fn check_audit(audit: &[u8], journal: &Journal, others: usize) {
    let text = std::str::from_utf8(audit).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (id, status) in &journal.statuses {
        let found: Vec<_> = lines.iter().filter(|line| line["correlationId"] == **id).collect();
        assert_eq!(found.len(), 1, "request {id}, answered {status}, has {} lines: {found:#?}", found.len());
        let outcome = if *status < 400 { "success" } else { "failure" };
        assert_eq!(found[0]["outcome"], outcome, "{:#?}", found[0]);
        if *status == 401 {
            assert_eq!(found[0]["severity"], "critical", "{:#?}", found[0]);
        }
        let login = found[0]["action"] == "iam-identity.apikey.login";
        if *status >= 400 && !login {
            assert_eq!(found[0]["reason"]["reasonCode"], *status, "{:#?}", found[0]);
        }
    }
    assert_eq!(lines.len(), journal.statuses.len() + others, "there are lines of no request");
}

#[tokio::test]
async fn no_secret_is_kept_or_logged_and_every_request_is_recorded_once() {
    let gateway = Gateway::start_with(&[("KEYGATE_LOG", "trace")], &[]).await;
    let mut secrets = Secrets::default();
    for (name, key) in &gateway.ready.api_keys {
        secrets.text(&format!("API key of {name}"), key);
    }
    let mut journal = Journal::default();
    let client = gateway.client("manager", 0).await;
    secrets.text("access token of manager", &client.token);
    journey(&client, &mut journal, &mut secrets, "HTTP/1.1").await;
    let mut http2 = client.clone();
    http2.http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    journey(&http2, &mut journal, &mut secrets, "HTTP/2").await;
    failures(&gateway, &client, &mut journal, &mut secrets).await;

    let mut problems = Vec::new();
    let log = gateway.log();
    assert!(String::from_utf8_lossy(&log).contains("TRACE"), "the log is not at its most detailed");
    problems.extend(secrets.found_in(&log).into_iter().map(|what| format!("{what}: in the log")));
    let files = files(gateway.data());
    assert!(files.len() >= 4, "store, audit log and compiled plugins at least: {files:?}");
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        problems.extend(secrets.found_in(&bytes).into_iter().map(|what| format!("{what}: in {}", file.display())));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    // Two tokens (manager, nobody) and one key were had outside of the journal.
    let audit = std::fs::read(gateway.data().join("audit.jsonl")).unwrap();
    check_audit(&audit, &journal, 3);
}

#[test]
fn the_search_finds_what_is_there() {
    let mut secrets = Secrets::default();
    let base64 = secrets.make("it", 30);
    assert!(secrets.found_in(b"nothing of it here").is_empty());
    assert_eq!(secrets.found_in(format!("x {base64} y").as_bytes()), ["it, in base64"]);
    let bytes = keygate_core::encoding::decode(&base64).unwrap();
    assert_eq!(secrets.found_in(&[b"x", bytes.as_slice()].concat()), ["it, raw"]);
    assert_eq!(secrets.found_in(format!("{bytes:?}").as_bytes()), ["it, as a list"]);
}
