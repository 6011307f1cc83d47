//! Clients that go on whatever happens, and remember what they were told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keygate_tests::gateway::{Client, Reply, create_body};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::seen::Seen;

/// A ciphertext that was acknowledged.
#[derive(Clone)]
pub struct Kept {
    key: String,
    plaintext: String,
    ciphertext: Value,
}

async fn act(client: &Client, id: &str, action: &str, body: Option<Value>) -> Reply {
    client.send("POST", &format!("/keys/{id}/actions/{action}"), body).await
}

async fn wrap(client: &Client, key: &str, text: &str, seen: &Seen) -> Option<Kept> {
    let plaintext = keygate_core::encoding::encode(text.as_bytes());
    let begin = Instant::now();
    let wrapped = act(client, key, "wrap", Some(json!({"plaintext": plaintext}))).await;
    let good = seen.judge("wrap", &wrapped, begin.elapsed());
    good.then(|| Kept { key: key.to_owned(), plaintext, ciphertext: wrapped.body["ciphertext"].clone() })
}

async fn unwrap(client: &Client, kept: &Kept, seen: &Seen) {
    let begin = Instant::now();
    let opened = act(client, &kept.key, "unwrap", Some(json!({"ciphertext": kept.ciphertext}))).await;
    if seen.judge("unwrap", &opened, begin.elapsed()) && opened.body["plaintext"] != kept.plaintext.as_str() {
        seen.wrong(format!("a wrong plaintext: {opened:?}"));
    }
}

/// Wraps and unwraps until it is told to stop. Returns what was acknowledged.
pub async fn work(number: u64, client: Client, ids: Arc<Vec<String>>, seen: Arc<Seen>) -> Vec<Kept> {
    let mut kept: Vec<Kept> = Vec::new();
    let mut round = 0;
    while !seen.done.load(Ordering::SeqCst) {
        let of = (round % ids.len() as u64) as usize;
        kept.extend(wrap(&client, &ids[of], &format!("{number}/{round}"), &seen).await);
        if let Some(one) = kept.get((round / 2) as usize % kept.len().max(1)) {
            unwrap(&client, one, &seen).await;
        }
        round += 1;
    }
    kept
}

/// What a keeper was told.
#[derive(Default)]
pub struct Keeper {
    /// Keys that were acknowledged and not deleted.
    pub alive: Vec<String>,
    /// How many deletions were acknowledged.
    pub deleted: usize,
    /// Keys whose deletion was answered by an error.
    pub undecided: Vec<String>,
    /// The names of keys whose making was answered by an error.
    pub unanswered: Vec<String>,
    /// What was wrapped by keys that are alive.
    pub kept: Vec<Kept>,
}

/// Makes keys, wraps, rotates, wraps, and deletes every other one, until it is told to stop.
pub async fn keep(number: u64, client: Client, seen: Arc<Seen>) -> Keeper {
    let mut keeper = Keeper::default();
    let mut round = 0_u64;
    while !seen.done.load(Ordering::SeqCst) {
        round += 1;
        // The token searches all its objects to find one: not too many.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let name = format!("keeper-{number}-{round}");
        let begin = Instant::now();
        let made = client.send("POST", "/keys", Some(create_body(&name, false))).await;
        if !seen.judge("create", &made, begin.elapsed()) {
            keeper.unanswered.push(name);
            continue;
        }
        seen.made.fetch_add(1, Ordering::SeqCst);
        let id = made.resource()["id"].as_str().expect("an id").to_owned();
        let mut kept = Vec::from_iter(wrap(&client, &id, &format!("{name}, before"), &seen).await);
        let begin = Instant::now();
        let rotated = act(&client, &id, "rotate", None).await;
        seen.judge("rotate", &rotated, begin.elapsed());
        kept.extend(wrap(&client, &id, &format!("{name}, after"), &seen).await);
        for one in &kept {
            unwrap(&client, one, &seen).await;
        }
        if round.is_multiple_of(2) {
            keeper.alive.push(id);
            keeper.kept.extend(kept);
            continue;
        }
        let begin = Instant::now();
        let deleted = client.send("DELETE", &format!("/keys/{id}"), None).await;
        if seen.judge("delete", &deleted, begin.elapsed()) {
            keeper.deleted += 1;
        } else {
            keeper.undecided.push(id);
        }
    }
    keeper
}

/// Opens all of them, a few at a time.
pub async fn everything_opens(client: &Client, kept: Vec<Kept>) {
    let mut openers = JoinSet::new();
    for part in kept.chunks(kept.len().div_ceil(6).max(1)) {
        let (client, part) = (client.clone(), part.to_vec());
        openers.spawn(async move {
            for one in part {
                let opened = act(&client, &one.key, "unwrap", Some(json!({"ciphertext": one.ciphertext}))).await;
                assert_eq!(opened.status, 200, "{opened:?}");
                assert_eq!(opened.body["plaintext"], one.plaintext.as_str());
            }
        });
    }
    openers.join_all().await;
}
