//! Timers and quotas, as an operator sets them, and those that the API has of itself.

use std::process::Command;

use keygate_core::encoding::encode;
use keygate_tests::Gateway;
use keygate_tests::gateway::{Client, Reply, create_body, program};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ROTATIONS: usize = 20;

async fn wrap(client: &Client, id: &str, plaintext: &str) -> Value {
    let body = json!({"plaintext": plaintext, "aad": [id]});
    let reply = client.send("POST", &format!("/keys/{id}/actions/wrap"), Some(body)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body
}

/// Rotates a key many times, and looks at everything that each of its versions wrapped.
async fn rotate_many_times(client: &Client, id: &str, payload: impl Fn(usize) -> Option<Value>) {
    let mut wrapped = vec![wrap(client, id, &encode(b"before the first rotation")).await];
    for n in 1..=ROTATIONS {
        let reply = client.send("POST", &format!("/keys/{id}/actions/rotate"), payload(n)).await;
        assert_eq!(reply.status, 204, "rotation {n}: {reply:?}");
        wrapped.push(wrap(client, id, &encode(format!("after rotation {n}").as_bytes())).await);
    }
    let listed = client.send("GET", &format!("/keys/{id}/versions?totalCount=true"), None).await;
    assert_eq!(listed.body["metadata"]["totalCount"], ROTATIONS + 1);
    let mut versions: Vec<_> = listed.body["resources"].as_array().unwrap().iter().map(|v| v["id"].clone()).collect();
    versions.reverse();
    let used: Vec<_> = wrapped.iter().map(|wrapped| wrapped["keyVersion"]["id"].clone()).collect();
    assert_eq!(versions, used, "newest first, and each is the one that wrapped");
    assert_eq!(versions[0], id, "the first version has the key's id");
    let newest = versions.last().unwrap();

    for (n, wrapped) in wrapped.iter().enumerate() {
        let body = json!({"ciphertext": wrapped["ciphertext"], "aad": [id]});
        let reply = client.send("POST", &format!("/keys/{id}/actions/unwrap"), Some(body.clone())).await;
        let text = match n {
            0 => "before the first rotation".to_owned(),
            n => format!("after rotation {n}"),
        };
        assert_eq!(reply.body["plaintext"], encode(text.as_bytes()), "{reply:?}");
        assert_eq!(reply.body["keyVersion"]["id"], versions[n]);
        let fields = reply.body.as_object().unwrap().len();
        if n == ROTATIONS {
            assert_eq!(fields, 2, "the newest needs no new ciphertext: {:?}", reply.body);
            continue;
        }
        assert_eq!(fields, 4);
        assert_eq!(reply.body["rewrappedKeyVersion"]["id"], *newest);
        let body = json!({"ciphertext": reply.body["ciphertext"], "aad": [id]});
        let again = client.send("POST", &format!("/keys/{id}/actions/unwrap"), Some(body.clone())).await;
        assert_eq!(again.body, json!({"plaintext": reply.body["plaintext"], "keyVersion": {"id": newest}}));
        let rewrapped = client.send("POST", &format!("/keys/{id}/actions/rewrap"), Some(body)).await;
        assert_eq!(rewrapped.body["rewrappedKeyVersion"]["id"], *newest);
    }
}

#[tokio::test]
async fn without_an_interval_a_key_rotates_many_times_in_a_row_and_opens_all_it_wrapped() {
    let gateway = Gateway::start_with(&[("KEYGATE__LIMITS__ROTATE_INTERVAL", "0s")], &[]).await;
    let client = gateway.client("manager", 0).await;
    let generated = client.create_root_key("generated").await;
    rotate_many_times(&client, &generated, |_| None).await;

    let mut body = create_body("imported", false);
    body["resources"][0]["payload"] = encode(&[0; 32]).into();
    let imported = client.send("POST", "/keys", Some(body)).await.resource()["id"].as_str().unwrap().to_owned();
    // Material of every length in turn.
    let payload = |n: usize| Some(json!({"payload": encode(&vec![u8::try_from(n).unwrap(); 16 + 8 * (n % 3)])}));
    rotate_many_times(&client, &imported, payload).await;
}

#[tokio::test]
async fn the_limits_of_the_api_are_where_they_are_said_to_be() {
    let gateway = Gateway::start().await;
    let client = gateway.client("manager", 0).await;
    for (bytes, status) in [(7_500, 201), (7_501, 400)] {
        let mut body = create_body("standard", true);
        body["resources"][0]["payload"] = encode(&vec![7; bytes]).into();
        let reply = client.send("POST", "/keys", Some(body)).await;
        assert_eq!(reply.status, status, "{bytes} bytes of a standard key");
        if status == 201 {
            let id = reply.resource()["id"].as_str().unwrap();
            let read = client.send("GET", &format!("/keys/{id}"), None).await;
            assert_eq!(read.resource()["payload"], encode(&vec![7; bytes]));
        }
    }
    let id = client.create_root_key("root").await;
    for (bytes, status) in [(32 * 1024, 200), (32 * 1024 + 1, 400)] {
        let body = json!({"plaintext": encode(&vec![7; bytes])});
        let reply = client.send("POST", &format!("/keys/{id}/actions/wrap"), Some(body)).await;
        assert_eq!(reply.status, status, "{bytes} bytes of plaintext: {}", reply.code());
        if status == 200 {
            let body = json!({"ciphertext": reply.body["ciphertext"]});
            let back = client.send("POST", &format!("/keys/{id}/actions/unwrap"), Some(body)).await;
            assert_eq!(back.body["plaintext"], encode(&vec![7; bytes]));
        }
    }
}

#[tokio::test]
async fn an_operator_can_set_every_quota() {
    let gateway = Gateway::start_with(
        &[
            ("KEYGATE__LIMITS__ROTATE_INTERVAL", "0s"),
            ("KEYGATE__LIMITS__VERSIONS_PER_KEY", "3"),
            ("KEYGATE__LIMITS__ALIASES_PER_KEY", "1"),
            ("KEYGATE__LIMITS__AAD_ENTRIES", "2"),
            ("KEYGATE__LIMITS__MAX_PLAINTEXT", "10"),
            ("KEYGATE__LIMITS__MAX_BODY", "1024"),
        ],
        &[],
    )
    .await;
    let client = gateway.client("manager", 0).await;
    let id = client.create_root_key("small").await;
    let wrap = async |body| client.send("POST", &format!("/keys/{id}/actions/wrap"), Some(body)).await;
    assert_eq!(wrap(json!({"plaintext": encode(&[0; 10]), "aad": ["1", "2"]})).await.status, 200);
    assert_eq!(wrap(json!({"plaintext": encode(&[0; 11])})).await.code(), "INVALID_FIELD_ERR");
    assert_eq!(wrap(json!({"aad": ["1", "2", "3"]})).await.code(), "INVALID_FIELD_ERR");
    let padded = |bytes: usize| json!({"unknown": "x".repeat(bytes - json!({"unknown": ""}).to_string().len())});
    assert_eq!(wrap(padded(1024)).await.status, 200);
    let reply = wrap(padded(1025)).await;
    assert_eq!((reply.status, reply.code()), (413, "BODY_TOO_LARGE_ERR"));
    let mut body = create_body("aliases", false);
    body["resources"][0]["aliases"] = json!(["one", "two"]);
    assert_eq!(client.send("POST", "/keys", Some(body)).await.code(), "KEY_ALIAS_QUOTA_ERR");
    for expected in [204, 204, 409] {
        let reply = client.send("POST", &format!("/keys/{id}/actions/rotate"), None).await;
        assert_eq!(reply.status, expected, "{reply:?}");
        assert_eq!(reply.code(), if expected == 409 { "KEY_VERSION_QUOTA_ERR" } else { "" });
    }
}

#[test]
fn a_limit_that_is_none_is_refused_with_the_nearest_name() {
    for (variable, value, expected) in [
        ("KEYGATE__LIMITS__ROTATE_INTERVALL", "0s", vec!["ROTATE_INTERVALL", "`rotate_interval`"]),
        ("KEYGATE__LIMITS__PURGE_AFTR", "1d", vec!["PURGE_AFTR", "`purge_after`"]),
        ("KEYGATE__LIMIT__PURGE_WAIT", "1h", vec!["KEYGATE__LIMIT__PURGE_WAIT", "`limits`"]),
        ("KEYGATE__LIMITS__ROTATE_INTERVAL", "5", vec!["limits.rotate_interval", "KEYGATE__LIMITS__ROTATE_INTERVAL"]),
        ("KEYGATE__LIMITS__VERSIONS_PER_KEY", "0", vec!["limits.versions_per_key", "at least 1"]),
        ("KEYGATE__LIMITS__AAD_ENTRIES", "many", vec!["limits.aad_entries"]),
    ] {
        let data = tempfile::tempdir().unwrap();
        let output = Command::new(program())
            .args(["serve", "--dev", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .env(variable, value)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{variable}={value} was taken");
        assert!(output.stdout.is_empty(), "it must not say that it is ready");
        for part in expected {
            assert!(text.to_lowercase().contains(&part.to_lowercase()), "{variable}={value}: no {part} in: {text}");
        }
    }
}

/// How many of many requests at once were let through, and an answer to one that was not.
async fn flood(client: &Client) -> (usize, Reply) {
    let mut requests = JoinSet::new();
    for _ in 0..30 {
        let client = client.clone();
        requests.spawn(async move { client.send("GET", "/keys?limit=1", None).await });
    }
    let replies = requests.join_all().await;
    let (refused, through): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 429);
    (through.len(), refused.into_iter().next().expect("one of so many requests is too many"))
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait_and_harms_only_their_own() {
    let gateway = Gateway::start_with(&[("KEYGATE__LIMITS__RATE_LIMIT", "2")], &[]).await;
    let client = gateway.client("manager", 0).await;
    let (through, refused) = flood(&client).await;
    assert!(through >= 2, "a second's worth goes at once, and {through} did");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["content-type"], "application/vnd.ibm.kms.error+json");
    assert!(refused.resource()["errorMsg"].as_str().unwrap().starts_with("Too Many Requests: "), "{refused:?}");
    assert_eq!(refused.resource().as_object().unwrap().len(), 1, "no reasons: {refused:?}");

    // Other instances are not concerned, and a stranger has a bucket of their own.
    let other = Client { instance: gateway.ready.instances[1].clone(), ..client.clone() };
    assert_eq!(other.send("GET", "/keys", None).await.status, 200);
    gateway.travel("1h").await;
    let (client, nobody) = (gateway.client("manager", 0).await, gateway.client("nobody", 0).await);
    let (through, _) = flood(&nobody).await;
    assert!(through >= 2);
    assert_eq!(client.send("GET", "/keys", None).await.status, 200, "a stranger used up what is a tenant's");

    // When the time is over, all is as before.
    flood(&client).await;
    gateway.travel("1s").await;
    assert_eq!(client.send("GET", "/keys", None).await.status, 200);

    let audit = std::fs::read_to_string(gateway.data().join("audit.jsonl")).unwrap();
    let events = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let turned_away: Vec<_> = events.filter(|event| event["reason"]["reasonCode"] == 429).collect();
    assert!(turned_away.len() > 30, "{} events", turned_away.len());
    for event in turned_away {
        assert_eq!(event["action"], "kms.secrets.list");
        assert_eq!(event["reason"]["reasonForFailure"], "too many requests");
        assert!(event["initiator"]["id"].as_str().unwrap().starts_with("IBMid-dev-"), "{event}");
        assert_eq!(event["requestData"]["instanceID"], gateway.ready.instances[0]);
    }
}

#[tokio::test]
async fn without_a_limit_nobody_waits() {
    let gateway = Gateway::start().await;
    let client = gateway.client("manager", 0).await;
    for _ in 0..300 {
        assert_eq!(client.send("HEAD", "/keys", None).await.status, 200);
    }
}
