//! A token that fails in every way there is, under load: every answer is a documented one, what was acknowledged is kept, and
//! service returns by itself.

mod faulty;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use faulty::Scene;
use keygate_tests::gateway::{Client, Reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How many clients there are.
const CLIENTS: u64 = 6;

/// An answer that takes longer is a hang: the plugin's deadline, and a machine that is busy.
const SLOWEST: Duration = Duration::from_secs(15);

/// A plaintext in base64, and what it was wrapped to.
type Kept = (String, Value);

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    answers: Mutex<BTreeMap<u16, u64>>,
    good: AtomicU64,
    bad: AtomicU64,
    answered: AtomicU64,
    undocumented: Mutex<Vec<String>>,
    /// Whether the token says of arguments or keys that they are wrong, which is then the gateway's own error.
    blames: AtomicBool,
    done: AtomicBool,
}

impl Seen {
    /// What the API's documents say of a gateway that is short of something: 503, or 429, with the time to come again.
    fn judge(&self, what: &str, reply: &Reply, took: Duration) -> bool {
        *self.answers.lock().unwrap().entry(reply.status).or_default() += 1;
        let again = reply.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let is_error_body = reply.resource()["errorMsg"].is_string();
        let documented = match reply.status {
            200 => true,
            429 | 503 => again.is_some_and(|seconds| (1..=60).contains(&seconds)) && is_error_body,
            // The token itself says that the ciphertext or the request is wrong.
            400 | 422 | 500 => self.blames.load(Ordering::SeqCst) && is_error_body,
            _ => false,
        };
        if !documented || took > SLOWEST {
            self.undocumented.lock().unwrap().push(format!("{what} after {took:?}: {reply:?}"));
        }
        let counter = if reply.status == 200 { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::SeqCst);
        self.answered.fetch_add(1, Ordering::SeqCst);
        reply.status == 200
    }

    /// Waits until so many more requests have gone well, or failed.
    async fn more(&self, counter: &AtomicU64, number: u64, what: &str) {
        let enough = counter.load(Ordering::SeqCst) + number;
        until(what, async || counter.load(Ordering::SeqCst) >= enough).await;
    }
}

/// Waits until something holds, for at most a minute.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < end, "not in a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn act(client: &Client, id: &str, action: &str, body: Value) -> Reply {
    client.send("POST", &format!("/keys/{id}/actions/{action}"), Some(body)).await
}

/// Wraps and unwraps until it is told to stop. Returns what was acknowledged.
async fn work(number: u64, client: Client, ids: Arc<Vec<String>>, seen: Arc<Seen>) -> Vec<(usize, Kept)> {
    let mut kept: Vec<(usize, Kept)> = Vec::new();
    let mut round = 0;
    while !seen.done.load(Ordering::SeqCst) {
        let of = (round % ids.len() as u64) as usize;
        let plaintext = keygate_core::encoding::encode(format!("{number}/{round}").as_bytes());
        let begin = Instant::now();
        let wrapped = act(&client, &ids[of], "wrap", json!({"plaintext": plaintext})).await;
        if seen.judge("wrap", &wrapped, begin.elapsed()) {
            kept.push((of, (plaintext, wrapped.body["ciphertext"].clone())));
        }
        if let Some((of, (plaintext, ciphertext))) = kept.get((round / 2) as usize % kept.len().max(1)) {
            let begin = Instant::now();
            let opened = act(&client, &ids[*of], "unwrap", json!({"ciphertext": ciphertext})).await;
            if seen.judge("unwrap", &opened, begin.elapsed()) && opened.body["plaintext"] != plaintext.as_str() {
                seen.undocumented.lock().unwrap().push(format!("a wrong plaintext: {opened:?}"));
            }
        }
        round += 1;
    }
    kept
}

/// Waits until the gateway is ready with a token that is well and a breaker that is closed.
async fn recovered(scene: &Scene, seen: &Seen, what: &str) {
    until(&format!("ready again after {what}"), async || {
        let (status, token) = scene.ready().await;
        status == 200 && token["status"] == "ok" && token["breaker"] == "closed"
    })
    .await;
    seen.more(&seen.good, 20, &format!("served again after {what}")).await;
}

/// Failures after which the token is given a rest, seen in `/readyz`.
async fn outages(scene: &Scene, seen: &Seen) {
    for (rules, shows_open) in [
        ("C_Encrypt rv=0x30\nC_Decrypt rv=0x30", true),
        // Every worker may be lost in it, and come back with it: then there is nobody for whom the breaker could open.
        ("C_Encrypt hang\nC_Decrypt hang", false),
        ("C_Encrypt rv=0xE0\nC_Decrypt rv=0xE0\nC_OpenSession rv=0xE0\nC_GetTokenInfo rv=0xE0", true),
        // No session is left, and those that were there are gone: busy, not broken.
        ("C_OpenSession rv=0xB1\nC_Encrypt rv=0xB3 times=8\nC_Decrypt rv=0xB3 times=8", false),
    ] {
        scene.tell(rules);
        seen.more(&seen.bad, 5, &format!("failures with {rules}")).await;
        until(&format!("unavailable with {rules}"), async || {
            let (status, token) = scene.ready().await;
            let open = token["breaker"] == "open" || token["breaker"] == "half-open";
            status == 503 && (!shows_open || (token["status"] == "unavailable" && open))
        })
        .await;
        scene.tell("");
        recovered(scene, seen, rules).await;
    }
}

/// The token's files are away, and come back. SoftHSM may serve what it has in memory meanwhile.
async fn removals(scene: &Scene, seen: &Seen) {
    for _ in 0..2 {
        scene.take_away();
        // As a restart of its process would: it looks for its files again.
        scene.tell("C_EncryptInit finalize times=1");
        seen.more(&seen.bad, 5, "failures while the token is away").await;
        until("unavailable while the token is away", async || scene.ready().await.0 == 503).await;
        scene.bring_back();
        scene.tell("");
        recovered(scene, seen, "the token came back").await;
    }
}

/// What a caller does not even see, and what only makes them wait.
async fn hiccups(scene: &Scene, seen: &Seen) {
    for rules in [
        "C_EncryptInit finalize times=1",
        "C_DecryptInit finalize times=3",
        "C_Encrypt rv=0xB3 times=3",
        "C_Logout rv=0x5 times=2\nC_EncryptInit rv=0x101 times=2",
        "C_Encrypt slow=40\nC_Decrypt slow=40",
        "C_Encrypt slow=300 times=12",
    ] {
        scene.tell(rules);
        seen.more(&seen.good, 30, &format!("served with {rules}")).await;
        scene.tell("");
        recovered(scene, seen, rules).await;
    }
}

/// One return value of each class, and one of a vendor's own, from the functions that all requests need.
async fn classes(scene: &Scene, seen: &Seen) {
    for rv in [
        "0x2",
        "0x3",
        "0x5",
        "0x6",
        "0x7",
        "0x21",
        "0x31",
        "0x32",
        "0x40",
        "0x50",
        "0x54",
        "0x60",
        "0x68",
        "0x70",
        "0x82",
        "0x90",
        "0x91",
        "0xB0",
        "0xB1",
        "0xB3",
        "0xE1",
        "0x101",
        "0x150",
        "0x190",
        "0x200",
        "0x201",
        "0x7FFFFFFF",
        "0x80000042",
    ] {
        seen.blames.store(["0x7", "0x21", "0x40", "0x68"].contains(&rv), Ordering::SeqCst);
        scene.tell(&format!("C_Encrypt after rv={rv} times=4\nC_Decrypt after rv={rv} times=4"));
        seen.more(&seen.answered, 24, &format!("answers with {rv}")).await;
        scene.tell("");
        recovered(scene, seen, rv).await;
        seen.blames.store(false, Ordering::SeqCst);
    }
}

async fn everything_opens(scene: &Scene, ids: &[String], kept: &[(usize, Kept)]) {
    let client = scene.client().await;
    for (of, (plaintext, ciphertext)) in kept {
        let opened = act(&client, &ids[*of], "unwrap", json!({"ciphertext": ciphertext})).await;
        assert_eq!(opened.status, 200, "{opened:?}");
        assert_eq!(opened.body["plaintext"], plaintext.as_str());
    }
}

async fn survives(keep: &str) {
    let mut scene = Scene::new(keep).await;
    let client = scene.client().await;
    let mut ids = Vec::new();
    for name in ["first", "second", "third"] {
        ids.push(client.create_root_key(name).await);
    }
    let (ids, seen) = (Arc::new(ids), Arc::new(Seen::default()));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(work(number, client.clone(), Arc::clone(&ids), Arc::clone(&seen)));
    }
    seen.more(&seen.good, 20, "served at all").await;
    hiccups(&scene, &seen).await;
    classes(&scene, &seen).await;
    outages(&scene, &seen).await;
    removals(&scene, &seen).await;
    seen.done.store(true, Ordering::SeqCst);
    let kept: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    let answers = seen.answers.lock().unwrap().clone();
    let undocumented = seen.undocumented.lock().unwrap().clone();
    assert!(undocumented.is_empty(), "{answers:?}: {} undocumented: {:#?}", undocumented.len(), &undocumented[..1]);
    assert!(kept.len() > 500 && answers[&503] > 50, "there was a load: {answers:?}");
    println!("{keep}: {answers:?}, {} acknowledged", kept.len());
    // A part of them at once, and the same once more after the gateway was killed.
    let some: Vec<_> = kept.iter().step_by((kept.len() / 300).max(1)).cloned().collect();
    everything_opens(&scene, &ids, &some).await;
    scene.kill_and_start().await;
    everything_opens(&scene, &ids, &some).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrapped_keys_survive_a_token_that_fails_under_load() {
    survives("wrapped").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_the_token_survive_a_token_that_fails_under_load() {
    survives("token").await;
}
