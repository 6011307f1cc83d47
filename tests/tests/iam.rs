//! What dev mode says when it is ready, and the access tokens that its API keys buy.

use keygate_tests::Gateway;
use keygate_tests::gateway::reply;
use serde_json::Value;

/// A part of a JWT. Base64 without padding, in the alphabet for URLs (RFC 7515, 2).
fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap().replace('-', "+").replace('_', "/");
    let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    serde_json::from_slice(&keygate_core::encoding::decode(&padded).unwrap()).unwrap()
}

#[tokio::test]
async fn the_ready_line_says_all_that_a_client_needs() {
    let gateway = Gateway::start().await;
    let ready = &gateway.ready;
    assert!(ready.url.starts_with("http://127.0.0.1:"));
    assert_eq!(ready.iam_url, ready.url, "SDKs put the path of the token endpoint behind it");
    assert_eq!(ready.instances.len(), 2);
    assert_ne!(ready.instances[0], ready.instances[1]);
    let names: Vec<_> = ready.api_keys.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["administrator", "manager", "manager2", "nobody", "purger", "reader", "reader_plus", "service", "writer"]
    );
    let mut keys: Vec<_> = ready.api_keys.values().collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 9, "each key is another identity's");
    let mut ids = Vec::new();
    for name in names {
        let token = gateway.client(name, 0).await.token;
        let (header, claims) = (part(&token, 0), part(&token, 1));
        assert_eq!(header["alg"], "ES256");
        // The SDKs read these two to know when to come again.
        let (issued, expires) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
        assert_eq!(expires - issued, 3600);
        let id = claims["iam_id"].as_str().unwrap().to_owned();
        assert_eq!(claims["sub"], *id);
        assert!(claims["account"]["bss"].is_string());
        assert_eq!(id.starts_with("iam-ServiceId-"), name == "service", "{id}");
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 9);
}

#[tokio::test]
async fn a_token_holds_as_it_was_issued_and_where() {
    let (gateway, other) = tokio::join!(Gateway::start(), Gateway::start());
    let client = gateway.client("manager", 0).await;
    assert_eq!(client.send("GET", "/keys", None).await.status, 200);

    let mut foreign = client.clone();
    foreign.token = other.client("manager", 0).await.token;
    assert_eq!(foreign.send("GET", "/keys", None).await.status, 401, "of another gateway");

    let (reader, manager) = (gateway.client("reader", 0).await.token, client.token.clone());
    let pieces = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (reader, manager) = (pieces(&reader), pieces(&manager));
    let mut changed = manager[2].clone().into_bytes();
    changed[10] = if changed[10] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for (what, token) in [
        ("somebody else's claims", format!("{}.{}.{}", reader[0], manager[1], reader[2])),
        ("a changed signature", format!("{}.{}.{changed}", manager[0], manager[1])),
        ("no signature", format!("{}.{}.", manager[0], manager[1])),
    ] {
        let mut forger = client.clone();
        forger.token = token;
        let reply = forger.send("GET", "/keys", None).await;
        assert!(matches!(reply.status, 400 | 401), "{what}: {reply:?}");
        assert!(reply.status == 401 || reply.code() == "BEARER_SUB_EXTRACTION_ERR", "{what}: {reply:?}");
    }
    let long = client.http.get(format!("{}/api/v2/keys", client.url)).bearer_auth("a".repeat(8000));
    assert_eq!(reply(long).await.code(), "BEARER_SUB_EXTRACTION_ERR");
}
