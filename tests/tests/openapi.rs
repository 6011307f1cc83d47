//! `GET /openapi.json` against answers. Every golden exchange is held against it, too (`keygate_tests::golden`).

use keygate_tests::described::Described;
use keygate_tests::gateway::{Reply, create_body, reply};
use keygate_tests::{Client, Gateway};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

#[tokio::test]
async fn the_document_is_for_everybody() {
    let gateway = Gateway::start().await;
    let url = format!("{}/openapi.json", gateway.ready.url);
    let http = reqwest::Client::new();
    let answer = reply(http.get(&url)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
    assert_eq!(answer.body["openapi"], "3.1.0");
    assert!(answer.body["paths"]["/dev/clock"].is_null(), "what is there in dev mode only is no part of the API");
    for method in [reqwest::Method::HEAD, reqwest::Method::POST] {
        let answer = reply(http.request(method, &url)).await;
        assert_eq!((answer.status, answer.headers["allow"].to_str().unwrap()), (405, "GET"));
    }
}

#[tokio::test]
async fn what_is_no_part_of_an_instance_answers_as_described() {
    let gateway = Gateway::start().await;
    let described = Described::by(&gateway).await;
    let http = reqwest::Client::new();
    let mut problems = Vec::new();
    for path in ["/healthz", "/readyz", "/identity/keys", "/openapi.json"] {
        let answer = reply(http.get(format!("{}{path}", gateway.ready.url))).await;
        assert_eq!(answer.status, 200, "{path}");
        problems.extend(described.problems("GET", path, &answer));
    }
    let grant = ("grant_type", "urn:ibm:params:oauth:grant-type:apikey");
    for (key, status) in [(gateway.ready.api_keys["reader"].as_str(), 200), ("nobody's", 400), ("", 400)] {
        for path in ["/identity/token", "/oidc/token"] {
            let request = http.post(format!("{}{path}", gateway.ready.url)).form(&[grant, ("apikey", key)]);
            let answer = reply(request).await;
            assert_eq!(answer.status, status, "{path}");
            problems.extend(described.problems("POST", path, &answer));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Sends a request that must come out with this status, and as described.
async fn check(
    client: &Client,
    described: &Described,
    method: &str,
    path: &str,
    body: Option<Value>,
    status: u16,
) -> Reply {
    let answer = client.send(method, path, body).await;
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    let problems = described.problems(method, &format!("/api/v2{path}"), &answer);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    answer
}

#[tokio::test]
async fn the_life_of_a_key_is_as_described() {
    let gateway = Gateway::start().await;
    let described = Described::by(&gateway).await;
    let client = gateway.client("manager", 0).await;
    let made = check(&client, described, "POST", "/keys", Some(create_body("k", false)), 201).await;
    let id = made.resource()["id"].as_str().unwrap().to_owned();
    let key = format!("/keys/{id}");
    check(&client, described, "GET", &key, None, 200).await;
    check(&client, described, "HEAD", "/keys", None, 200).await;
    check(&client, described, "GET", "/keys?totalCount=true&search=k", None, 200).await;
    check(&client, described, "GET", "/keys?limit=0", None, 400).await;
    let wrapped = check(&client, described, "POST", &format!("{key}/actions/wrap"), None, 200).await;
    let body = json!({"ciphertext": wrapped.body["ciphertext"]});
    check(&client, described, "POST", &format!("{key}/actions/unwrap"), Some(body), 200).await;
    check(&client, described, "POST", &format!("{key}/actions/unwrap"), Some(json!({"ciphertext": "AAAA"})), 422).await;
    check(&client, described, "POST", &format!("{key}/actions/rotate"), None, 204).await;
    check(&client, described, "POST", &format!("{key}/actions/rotate"), None, 409).await;
    check(&client, described, "GET", &format!("{key}/versions?totalCount=true"), None, 200).await;
    check(&client, described, "DELETE", &key, None, 204).await;
    check(&client, described, "GET", &format!("{key}/metadata"), None, 200).await;
    check(&client, described, "POST", &format!("{key}/actions/wrap"), None, 410).await;
    check(&client, described, "GET", "/keys/no-such-key", None, 404).await;
    let reader = gateway.client("reader", 0).await;
    check(&reader, described, "GET", &key, None, 401).await;
    check(&reader, described, "PUT", &key, None, 405).await;
}

/// The checks of this file are only as good as what they find.
#[test]
fn what_is_not_described_is_found() {
    let committed = include_str!("../../docs/openapi.json");
    let described = Described::new(serde_json::from_str(committed).unwrap());
    let mut headers = HeaderMap::new();
    headers.insert("correlation-id", HeaderValue::from_static("5f1a7f9d-6c6f-4a3e-9a54-0d4c0b0ff6de"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.ibm.kms.key_ring+json"));
    let ring = |more: Value| {
        let mut ring = json!({"id": "default"});
        ring.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"collectionType": "x", "collectionTotal": 1}, "resources": [ring]})
    };
    let good = Reply { status: 200, headers, body: ring(json!({})) };
    let found = |method: &str, path: &str, answer: &Reply| described.problems(method, path, answer);
    assert_eq!(found("GET", "/api/v2/key_rings", &good), Vec::<String>::new());
    let dated = Reply { body: ring(json!({"creationDate": "2026-11-22T09:15:00Z"})), ..copy(&good) };
    assert_eq!(found("GET", "/api/v2/key_rings?limit=1", &dated), Vec::<String>::new());

    let mut bare = copy(&good);
    bare.headers.remove("correlation-id");
    let mut plain = copy(&good);
    plain.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for wrong in [
        Reply { body: ring(json!({"color": "blue"})), ..copy(&good) },
        Reply { body: ring(json!({"creationDate": "yesterday"})), ..copy(&good) },
        Reply { body: ring(json!({"createdBy": null})), ..copy(&good) },
        Reply { body: json!({"resources": []}), ..copy(&good) },
        Reply { body: Value::Null, ..copy(&good) },
        Reply { status: 410, ..copy(&good) },
        bare,
        plain,
    ] {
        assert_eq!(found("GET", "/api/v2/key_rings", &wrong).len(), 1, "{} {}", wrong.status, wrong.body);
    }
    assert_eq!(found("PUT", "/api/v2/key_rings", &good).len(), 1, "it is not taken there");
    assert!(found("GET", "/api/v2/nowhere", &good).is_empty(), "nothing is said of it");

    let refusal = |code: &str| {
        let reason = json!({"code": code, "message": "m", "status": 409, "moreInfo": "i"});
        let resource = json!({"errorMsg": "Conflict: c", "reasons": [reason]});
        let body = json!({"metadata": {"collectionType": "x", "collectionTotal": 1}, "resources": [resource]});
        let mut answer = Reply { status: 409, body, ..copy(&good) };
        answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.ibm.kms.error+json"));
        answer
    };
    assert!(found("DELETE", "/api/v2/key_rings/blue", &refusal("KEY_RING_NOT_EMPTY_ERR")).is_empty());
    assert_eq!(found("DELETE", "/api/v2/key_rings/blue", &refusal("KEY_ALIAS_QUOTA_ERR")).len(), 1);
    assert_eq!(found("GET", "/api/v2/keys/registrations", &refusal("KEY_RING_NOT_EMPTY_ERR")).len(), 1);
}

fn copy(reply: &Reply) -> Reply {
    Reply { status: reply.status, headers: reply.headers.clone(), body: reply.body.clone() }
}
