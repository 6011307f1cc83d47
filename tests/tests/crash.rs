//! What was acknowledged survives kill -9.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keygate_tests::Gateway;
use keygate_tests::gateway::create_body;
use serde_json::json;
use tokio::sync::mpsc;

const CLIENTS: usize = 16;
const BEFORE_THE_KILL: usize = 300;

#[tokio::test]
async fn every_key_whose_201_was_received_is_there_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_in(directory.path()).await;
    let client = gateway.client("manager", 0).await;
    let wrapped = {
        let id = client.create_root_key("before").await;
        let wrapped = client.send("POST", &format!("/keys/{id}/actions/wrap"), Some(json!({}))).await;
        (id, wrapped.body)
    };

    let (acknowledged, mut received) = mpsc::unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    for n in 0..CLIENTS {
        let (client, acknowledged, count) = (client.clone(), acknowledged.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            for i in 0.. {
                let body = create_body(&format!("burst-{n}-{i}"), false).to_string();
                let Ok(response) = client.request("POST", "/keys").body(body).send().await else { return };
                if response.status() != 201 {
                    return;
                }
                let Ok(body) = response.json::<serde_json::Value>().await else { return };
                let id = body["resources"][0]["id"].as_str().unwrap().to_owned();
                count.fetch_add(1, Ordering::Relaxed);
                if acknowledged.send(id).is_err() {
                    return;
                }
            }
        });
    }
    drop(acknowledged);
    let mut ids = Vec::new();
    while ids.len() < BEFORE_THE_KILL {
        ids.push(received.recv().await.expect("the gateway goes on creating"));
    }
    gateway.kill().await;
    while let Some(id) = received.recv().await {
        ids.push(id);
    }

    let gateway = Gateway::start_in(directory.path()).await;
    let client = gateway.client("manager", 0).await;
    for id in &ids {
        let reply = client.send("GET", &format!("/keys/{id}/metadata"), None).await;
        assert_eq!(reply.status, 200, "key {id} was acknowledged and is gone: {reply:?}");
    }
    let usable = client.send("POST", &format!("/keys/{}/actions/wrap", ids[ids.len() - 1]), Some(json!({}))).await;
    assert_eq!(usable.status, 200, "{usable:?}");
    let (id, body) = wrapped;
    let unwrapped = client
        .send("POST", &format!("/keys/{id}/actions/unwrap"), Some(json!({"ciphertext": body["ciphertext"]})))
        .await;
    assert_eq!(unwrapped.body["plaintext"], body["plaintext"], "what was wrapped before opens after");
}

#[tokio::test]
async fn a_store_that_is_in_use_says_by_whom() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_in(directory.path()).await;
    let output = std::process::Command::new(keygate_tests::gateway::program())
        .args(["serve", "--dev", "--json", "--listen", "127.0.0.1:0", "--data"])
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&gateway.pid().to_string()), "it must name process {}: {text}", gateway.pid());
}

#[tokio::test]
async fn a_gateway_that_is_asked_to_end_does_so_and_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_in(directory.path()).await;
    let id = gateway.client("manager", 0).await.create_root_key("kept").await;
    let before = gateway.ready.clone();
    assert_eq!(gateway.stop().await, Some(0));
    let gateway = Gateway::start_in(directory.path()).await;
    assert_eq!(gateway.ready.instances, before.instances);
    assert_eq!(gateway.ready.api_keys, before.api_keys);
    let reply = gateway.client("reader", 0).await.send("GET", &format!("/keys/{id}/metadata"), None).await;
    assert_eq!(reply.status, 200);
}
