//! Who may do what: the roles of the API reference, as a table, over HTTP.

use keygate_tests::Gateway;
use keygate_tests::gateway::{Client, Reply, create_body, reply};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// The identities of dev mode that have access, in the order of the table's columns. The rest have none.
const COLUMNS: [&str; 6] = ["manager", "manager2", "writer", "reader_plus", "reader", "service"];

/// What holds a role on the second instance too.
const ON_BOTH: [&str; 2] = ["manager", "manager2"];

const YES: bool = true;
const NO: bool = false;

/// What a request sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    NewKey,
    Plaintext,
    Ciphertext,
}

struct Row {
    method: &'static str,
    /// `{id}` is a key.
    path: &'static str,
    body: Body,
    success: u16,
    allowed: [bool; COLUMNS.len()],
}

const fn row(method: &'static str, path: &'static str, body: Body, success: u16, allowed: [bool; 6]) -> Row {
    Row { method, path, body, success, allowed }
}

const TABLE: &[Row] = &[
    //                                                              manager, manager2, writer, reader_plus, reader, service
    row("POST", "/keys", Body::NewKey, 201, [YES, YES, YES, NO, NO, NO]),
    row("GET", "/keys", Body::None, 200, [YES, YES, YES, YES, YES, YES]),
    row("HEAD", "/keys", Body::None, 200, [YES, YES, YES, YES, YES, YES]),
    row("GET", "/keys/{id}", Body::None, 200, [YES, YES, YES, YES, NO, NO]),
    row("GET", "/keys/{id}/metadata", Body::None, 200, [YES, YES, YES, YES, YES, YES]),
    row("GET", "/keys/{id}/versions", Body::None, 200, [YES, YES, YES, YES, YES, YES]),
    row("POST", "/keys/{id}/actions/wrap", Body::Plaintext, 200, [YES, YES, YES, YES, YES, YES]),
    row("POST", "/keys/{id}/actions/unwrap", Body::Ciphertext, 200, [YES, YES, YES, YES, YES, YES]),
    row("POST", "/keys/{id}/actions/rewrap", Body::Ciphertext, 200, [YES, YES, YES, YES, YES, YES]),
    row("POST", "/keys/{id}/actions/rotate", Body::None, 204, [YES, YES, YES, NO, NO, NO]),
    row("POST", "/keys/{id}?action=wrap", Body::Plaintext, 200, [YES, YES, YES, YES, YES, YES]),
    row("POST", "/keys/{id}?action=unwrap", Body::Ciphertext, 200, [YES, YES, YES, YES, YES, YES]),
    row("POST", "/keys/{id}?action=rewrap", Body::Ciphertext, 200, [YES, YES, YES, YES, YES, YES]),
    row("POST", "/keys/{id}?action=rotate", Body::None, 204, [YES, YES, YES, NO, NO, NO]),
    row("DELETE", "/keys/{id}", Body::None, 204, [YES, YES, NO, NO, NO, NO]),
];

/// A key, and what it wrapped.
struct Wrapped {
    id: String,
    ciphertext: Value,
}

impl Wrapped {
    async fn new(manager: &Client) -> Self {
        let id = manager.create_root_key("of the matrix").await;
        let wrapped =
            manager.send("POST", &format!("/keys/{id}/actions/wrap"), Some(json!({"plaintext": "AAAA"}))).await;
        Self { id, ciphertext: wrapped.body["ciphertext"].clone() }
    }

    fn body(&self, kind: Body) -> Option<String> {
        match kind {
            Body::None => None,
            Body::NewKey => Some(create_body("of the matrix", false).to_string()),
            Body::Plaintext => Some(json!({"plaintext": "AAAA"}).to_string()),
            Body::Ciphertext => Some(json!({"ciphertext": self.ciphertext}).to_string()),
        }
    }
}

async fn send(client: &Client, row: &Row, id: &str, body: Option<String>) -> Reply {
    let request = client.request(row.method, &row.path.replace("{id}", id));
    reply(match body {
        Some(body) => request.body(body),
        None => request,
    })
    .await
}

/// The one answer to whoever may not: no reason, nothing about what is there.
fn is_the_refusal(reply: &Reply) -> bool {
    let body = json!({
        "metadata": {"collectionType": "application/vnd.ibm.kms.error+json", "collectionTotal": 1},
        "resources": [{"errorMsg": "Unauthorized: The user does not have access to the specified resource"}],
    });
    reply.status == 401 && (reply.body == body || reply.body.is_null() && length(&reply.headers) == length_of(&body))
}

/// HEAD has headers only.
fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn length_of(body: &Value) -> Option<usize> {
    Some(body.to_string().len())
}

#[tokio::test]
async fn every_role_may_do_what_the_table_says_and_no_more() {
    let gateway = Gateway::start().await;
    let mut problems = Vec::new();
    for instance in [0, 1] {
        let manager = gateway.client("manager", instance).await;
        for (column, identity) in COLUMNS.into_iter().chain(["nobody"]).enumerate() {
            let client = gateway.client(identity, instance).await;
            for row in TABLE {
                let key = Wrapped::new(&manager).await;
                let reply = send(&client, row, &key.id, key.body(row.body)).await;
                let has_access = instance == 0 || ON_BOTH.contains(&identity);
                let allowed = has_access && row.allowed.get(column).copied().unwrap_or(NO);
                let right = if allowed { reply.status == row.success } else { is_the_refusal(&reply) };
                if !right {
                    let (method, path, status) = (row.method, row.path, reply.status);
                    problems
                        .push(format!("{identity}: {method} {path} in instance {instance}: {status} {}", reply.body));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} cells are wrong:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test]
async fn who_may_not_gets_one_answer_whatever_is_asked_and_whatever_is_there() {
    let gateway = Gateway::start().await;
    let manager = gateway.client("manager", 0).await;
    let key = Wrapped::new(&manager).await;
    let unknown = "11111111-2222-4333-8444-555555555555";
    // An instance that does not exist is like one that is somebody else's.
    let mut elsewhere = gateway.client("writer", 1).await;
    let second = elsewhere.clone();
    unknown.clone_into(&mut elsewhere.instance);
    let mut without_token = manager.clone();
    without_token.token.clear();
    let callers = [
        ("nobody", gateway.client("nobody", 0).await, [NO; 6]),
        ("writer in the second instance", second, [NO; 6]),
        ("writer in an unknown instance", elsewhere, [NO; 6]),
        ("reader", gateway.client("reader", 0).await, TABLE[3].allowed),
    ];
    let mut problems = Vec::new();
    for (name, client, _) in &callers {
        for row in TABLE.iter().filter(|row| *name != "reader" || !row.allowed[4]) {
            for id in [key.id.as_str(), unknown, "no-such-alias", "a%20b", "x"] {
                let wrong_type = Some(r#"{"plaintext": 1, "ciphertext": 1, "resources": 1}"#.to_owned());
                for body in [key.body(row.body), None, Some("{\"broken".to_owned()), wrong_type] {
                    let reply = send(client, row, id, body.clone()).await;
                    if !is_the_refusal(&reply) {
                        let (method, path, status) = (row.method, row.path, reply.status);
                        problems
                            .push(format!("{name}: {method} {path} of {id} with {body:?}: {status} {}", reply.body));
                    }
                }
            }
        }
        // What is wrong around a request is no answer for them either.
        let post = |path: &str| client.request("POST", path);
        for (what, request) in [
            ("a bad ring", post("/keys").header("X-Kms-Key-Ring", "a b").body("{}")),
            ("an encoding", post("/keys").header("Content-Encoding", "gzip").body("{}")),
            ("a long body", post("/keys").body(vec![b' '; (1 << 20) + 1])),
        ] {
            let reply = reply(request).await;
            if !is_the_refusal(&reply) {
                problems.push(format!("{name}: {what}: {reply:?}"));
            }
        }
        let bad_query = client.send("GET", "/keys?limit=x&state=9", None).await;
        if *name != "reader" && !is_the_refusal(&bad_query) {
            problems.push(format!("{name}: a bad query: {bad_query:?}"));
        }
    }
    assert!(problems.is_empty(), "{} answers are wrong:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test]
async fn who_has_no_token_gets_the_same_answer_everywhere() {
    let gateway = Gateway::start().await;
    let manager = gateway.client("manager", 0).await;
    let key = Wrapped::new(&manager).await;
    for row in TABLE {
        for body in [key.body(row.body), Some("{\"broken".to_owned())] {
            let path = row.path.replace("{id}", &key.id);
            let method = reqwest::Method::from_bytes(row.method.as_bytes()).unwrap();
            let request = manager.http.request(method, format!("{}/api/v2{path}", manager.url));
            let reply = reply(request.body(body.unwrap_or_default())).await;
            assert!(is_the_refusal(&reply), "{} {}: {reply:?}", row.method, row.path);
        }
    }
}
