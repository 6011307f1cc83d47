//! Keys on their way from one backend to another, in a gateway that is in use and is killed again and again.
//!
//! The small runs are a part of the suite. The large ones are
//! `cargo nextest run -p keygate-tests --test migration --run-ignored only --no-capture`: 10,000 keys each way and 50 kills each way between
//! two software backends, and into a token and back; they take `KEYGATE_TEST_KEYS` and `KEYGATE_TEST_KILLS`.

mod migrating;

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keygate_tests::configured::INSTANCE;
use keygate_tests::gateway::{Client, create_body, program};
use migrating::{Kept, LABEL, Place, Users, all_open, attempt, make, migrations, some_open};
use serde_json::{Value, json};

/// How long a migration may take, for each thousand keys and each kill.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often is looked how far it has come: each look is in the audit log.
const LOOK: Duration = Duration::from_millis(4);
/// The same, where many keys move.
const LOOK_AT_MANY: Duration = Duration::from_millis(25);

/// How the gateway is killed on the way.
#[derive(Clone, Copy)]
struct Kills {
    /// How often.
    number: usize,
    /// Over how many passes: the first moves, the second destroys.
    passes: u64,
}

/// How far a migration has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    pass: u64,
    seen: u64,
    keys: u64,
}

impl Progress {
    fn of(migration: &Value) -> Self {
        let count = |name: &str| migration["counts"][name].as_u64().unwrap();
        Self { pass: migration["pass"].as_u64().unwrap(), seen: count("seen"), keys: count("keys") }
    }

    /// Keys come past, over all passes.
    fn total(self) -> u64 {
        (self.pass - 1) * self.keys + self.seen
    }

    /// Whether some keys of a pass are done and some are not.
    /// In the second pass keys are in both places from the first moment on.
    fn is_midway(self) -> bool {
        (0 < self.seen || self.pass > 1) && self.seen < self.keys
    }
}

/// Looks again and again, until a migration has come past so many keys, or has ended.
async fn until(client: &Client, id: &str, total: u64, limit: Instant) -> Option<Progress> {
    loop {
        let found = migrations(client, "GET", &format!("/{id}?limit=1"), None).await;
        assert_eq!(found.status, 200, "{found:?}");
        if found.body["state"] != "running" {
            assert_eq!(found.body["state"], "done", "{found:?}");
            return None;
        }
        let progress = Progress::of(&found.body);
        if progress.total() >= total {
            return Some(progress);
        }
        assert!(Instant::now() < limit, "it has no end: {found:?}");
        tokio::time::sleep(if progress.keys > 500 { LOOK_AT_MANY } else { LOOK }).await;
    }
}

/// A move of keys from one backend to the other.
#[derive(Clone, Copy)]
struct Way {
    from: &'static str,
    to: &'static str,
    kills: Kills,
    /// Whether the backend that was left is of no use afterwards.
    leaves_nothing: bool,
}

/// Moves the keys from one backend to the other, in a gateway that is killed so often; returns the last word on it.
async fn move_keys(place: &Place, kept: &mut [Kept], way: Way) -> Value {
    let Way { from, to, kills, leaves_nothing } = way;
    let config = place.write(&["one", "two"], "sha1", to);
    let mut gateway = place.start(&config).await;
    let mut client = gateway.client_with(&place.api_key, 0).await;
    let begun = migrations(&client, "POST", "", Some(json!({"from": from, "to": to}))).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let id = begun.body["id"].as_str().unwrap().to_owned();
    let users = Users::begin(&client, kept);
    let began = Instant::now();
    let limit = began + PATIENCE * u32::try_from(kept.len() / 1000 + kills.number / 10 + 1).unwrap();
    let mut killed_at = Vec::new();
    // A sequence that looks like chance, and is the same in every run.
    let mut chance = 0x2545_F491_4F6C_DD1D_u64;
    for kill in 1..=kills.number as u64 {
        let total = kill * kills.passes * kept.len() as u64 / (kills.number as u64 + 1);
        let Some(progress) = until(&client, &id, total.max(1), limit).await else { break };
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Anywhere in the work on the next few keys: the second pass takes little time for each.
        let longest = if progress.pass == 1 { 10_000 } else { 2_000 };
        tokio::time::sleep(Duration::from_micros((chance >> 33) % longest)).await;
        gateway.kill().await;
        killed_at.push(progress);
        gateway = place.start(&config).await;
        client = gateway.client_with(&place.api_key, 0).await;
        users.meet(&client);
    }
    until(&client, &id, u64::MAX, limit).await;
    let took = began.elapsed();
    let calls = users.calls.load(Ordering::Relaxed);
    for (id, wrapped) in users.end().await {
        kept.iter_mut().find(|key| key.id == id).unwrap().wrapped.push(wrapped);
    }
    let found = migrations(&client, "GET", &format!("/{id}"), None).await.body;
    let ciphertexts: usize = kept.iter().map(|key| key.wrapped.len()).sum();
    let midway = killed_at.iter().filter(|progress| progress.is_midway()).count();
    let later = killed_at.iter().filter(|progress| progress.pass > 1).count();
    println!(
        "{} keys from {from} to {to}: {took:.1?}, {} kills, {midway} of them midway, {later} of them after the first pass, {calls} \
         rounds of use meanwhile, {ciphertexts} ciphertexts; {}",
        kept.len(),
        killed_at.len(),
        found["counts"]
    );
    // Of a few kills one or two may come when a pass has just ended.
    let most = if kills.number < 20 { kills.number / 2 } else { kills.number * 4 / 5 };
    assert!(midway >= most, "most kills are to meet keys on their way: {killed_at:?}");
    assert!(kills.passes == 1 || later > 0, "none met the second pass: {killed_at:?}");
    all_open(&client, kept).await;
    gateway.stop().await;
    if leaves_nothing {
        // Without the backend that was left, it opens still.
        let gateway = place.start(&place.write(&[to], "off", to)).await;
        some_open(&gateway.client_with(&place.api_key, 0).await, kept).await;
        gateway.stop().await;
    }
    found
}

/// Makes keys on `one`.
async fn make_on_one(place: &Place, keys: usize) -> Vec<Kept> {
    let gateway = place.start(&place.write(&["one", "two"], "sha1", "one")).await;
    let kept = make(&gateway.client_with(&place.api_key, 0).await, keys).await;
    gateway.stop().await;
    kept
}

/// How many versions so many keys have, as they were made.
fn versions_of(keys: usize) -> usize {
    keys + keys.div_ceil(10)
}

/// How many objects there are of versions of root keys: so their ids begin.
fn root_keys(place: &Place) -> usize {
    let listed = place.hsm.as_ref().unwrap().list(LABEL);
    listed.lines().filter(|line| line.contains("ID:") && line.contains("4b473101")).count()
}

fn all_moved(found: &Value, versions: usize) {
    assert_eq!(found["staysTotal"], 0, "{found}");
    assert_eq!(found["counts"]["moved"], versions, "each version is counted once: {found}");
    assert_eq!(found["counts"]["destroyed"], versions, "and counted where it is forgotten: {found}");
}

async fn there_and_back(keys: usize, kills: usize, ways: &[(&'static str, &'static str)]) {
    let place = Place::new(keys);
    let mut kept = make_on_one(&place, keys).await;
    for (from, to) in ways.iter().copied() {
        let way = Way { from, to, kills: Kills { number: kills, passes: 2 }, leaves_nothing: true };
        all_moved(&move_keys(&place, &mut kept, way).await, versions_of(keys));
    }
}

/// Into a token, where each key is an object that really goes when it is destroyed; and back, where new versions are made
/// because no key leaves the token.
async fn into_a_token_and_back(keys: usize, kills: usize) {
    let place = Place::with_token(keys);
    let mut kept = make_on_one(&place, keys).await;
    let kills = Kills { number: kills, passes: 2 };
    let way = Way { from: "one", to: "two", kills, leaves_nothing: true };
    all_moved(&move_keys(&place, &mut kept, way).await, versions_of(keys));
    let objects = || root_keys(&place);
    assert_eq!(objects(), versions_of(keys), "one for each version, however often it was begun");
    // What stays is known to the second pass, which goes by it in no time.
    let way = Way { from: "two", to: "one", kills: Kills { passes: 1, ..kills }, leaves_nothing: false };
    let found = move_keys(&place, &mut kept, way).await;
    assert_eq!((&found["counts"]["moved"], &found["staysTotal"]), (&json!(0), &json!(keys)), "{found}");
    assert_eq!((&found["counts"]["stayed"], objects()), (&json!(versions_of(keys)), versions_of(keys)), "{found}");
    let gateway = place.start(&place.write(&["one", "two"], "sha1", "one")).await;
    let client = gateway.client_with(&place.api_key, 0).await;
    for key in &kept {
        let listed = client.send("GET", &format!("/keys/{}/versions?totalCount=true", key.id), None).await;
        let had = key.made;
        assert_eq!(
            listed.body["metadata"]["totalCount"],
            had + 1,
            "it gets one version more, no second one: {listed:?}"
        );
    }
    gateway.stop().await;
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_move_through_kills_and_every_ciphertext_opens() {
    there_and_back(200, 6, &[("one", "two")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_move_into_a_token_through_kills_and_get_new_versions_on_the_way_back() {
    into_a_token_and_back(100, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn ten_thousand_keys_each_way_through_fifty_kills() {
    let (keys, kills) = (number("KEYGATE_TEST_KEYS", 10_000), number("KEYGATE_TEST_KILLS", 50));
    there_and_back(keys, kills, &[("one", "two"), ("two", "one")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn many_keys_into_a_token_and_back_through_fifty_kills() {
    let (keys, kills) = (number("KEYGATE_TEST_KEYS", 1_000), number("KEYGATE_TEST_KILLS", 50));
    into_a_token_and_back(keys, kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_move_is_told_and_the_command_says_so() {
    let place = Place::new(4);
    let both = ["one", "two"];
    let gateway = place.start(&place.write(&both, "off", "one")).await;
    let client = gateway.client_with(&place.api_key, 0).await;
    let mut kept = make(&client, 3).await;
    let mut body = create_body("imported", false);
    body["resources"][0]["payload"] = json!(keygate_core::encoding::encode(&[7; 32]));
    let imported = client.send("POST", "/keys", Some(body)).await.resource()["id"].as_str().unwrap().to_owned();
    let unbound = migrations(&client, "POST", "", Some(json!({"from": "one", "to": "two"}))).await;
    assert_eq!((unbound.status, unbound.code()), (409, "INSTANCE_NOT_BOUND_ERR"));
    gateway.stop().await;

    let gateway = place.start(&place.write(&both, "off", "two")).await;
    let client = gateway.client_with(&place.api_key, 0).await;
    let run = |arguments: &[&str]| {
        let url = gateway.ready.url.clone();
        let mut command = Command::new(program());
        command.args(["backend"]).args(arguments).args(["--url", &url]).env("KEYGATE_API_KEY", &place.api_key);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let listed = run(&["list"]).await.unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(text.contains("one ") && text.contains("two ") && text.contains("import-token"), "{text}");
    let moved = run(&["migrate", "--instance", INSTANCE, "--from", "one", "--to", "two", "--json"]).await.unwrap();
    assert_eq!(moved.status.code(), Some(4), "{moved:?}");
    let told: Value = serde_json::from_slice(&moved.stdout).unwrap();
    let (counts, stays) = (&told["counts"], told["stays"].as_array().unwrap());
    assert_eq!((&counts["moved"], &counts["renewed"], stays.len()), (&json!(0), &json!(3), 4), "{told}");
    let stay = stays.iter().find(|stay| stay["keyId"] == imported.as_str()).unwrap();
    assert_eq!((&stay["renewed"], &stay["reason"]), (&json!(false), &json!("not-transportable")));
    let again = run(&["migrate", "--instance", INSTANCE, "--from", "one", "--to", "two"]).await.unwrap();
    let text = String::from_utf8(again.stdout).unwrap();
    assert!(text.contains("Keep backend one in the configuration"), "{text}");
    for key in &mut kept {
        for old in key.wrapped.clone() {
            let body = json!({"ciphertext": old.0});
            let opened = attempt(&client, &format!("/keys/{}/actions/unwrap", key.id), body).await.unwrap();
            assert_eq!(opened["plaintext"], old.1);
            key.wrapped.push((opened["ciphertext"].clone(), old.1));
        }
    }
    all_open(&client, &kept).await;
    let stranger = Client { token: "none".to_owned(), ..client.clone() };
    assert_eq!(migrations(&stranger, "GET", "", None).await.status, 400);
    gateway.stop().await;
}
