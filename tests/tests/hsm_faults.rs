//! A token that fails in every way there is, under load: every answer is a documented one, what was acknowledged is kept, and
//! service returns by itself.

mod faulty;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use faulty::Scene;
use faulty::clients::{Keeper, Kept, everything_opens, keep, work};
use faulty::seen::{Seen, until};
use keygate_tests::gateway::Client;
use tokio::task::JoinSet;

/// How many clients wrap and unwrap.
const CLIENTS: u64 = 6;
/// How many make keys, rotate and delete them.
const KEEPERS: u64 = 2;

/// Waits until the gateway is ready with a token that is well and a breaker that is closed.
async fn recovered(scene: &Scene, seen: &Seen, what: &str) {
    until(&format!("ready again after {what}"), async || {
        let (status, token) = scene.ready().await;
        status == 200 && token["status"] == "ok" && token["breaker"] == "closed"
    })
    .await;
    seen.more(&seen.good, 20, &format!("served again after {what}")).await;
}

/// What `/readyz` says of a token at last.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Nothing,
    Unavailable,
    Open,
    LongOpen,
}

/// Failures after which the token is given a rest, seen in `/readyz`.
async fn outages(scene: &Scene, seen: &Seen) {
    for (rules, shows) in [
        ("C_Encrypt rv=0x30\nC_Decrypt rv=0x30", Shows::Open),
        // Every worker is lost in it, and comes back with it.
        ("C_Encrypt hang\nC_Decrypt hang", Shows::Unavailable),
        ("C_Encrypt rv=0xE0\nC_Decrypt rv=0xE0\nC_OpenSession rv=0xE0\nC_GetTokenInfo rv=0xE0", Shows::LongOpen),
        // No session is left, and those that were there are gone: busy, not broken.
        ("C_OpenSession rv=0xB1\nC_Encrypt rv=0xB3 times=8\nC_Decrypt rv=0xB3 times=8", Shows::Nothing),
    ] {
        seen.longest.store(0, Ordering::SeqCst);
        scene.tell(rules);
        seen.more(&seen.bad, 5, &format!("failures with {rules}")).await;
        until(&format!("unavailable with {rules}"), async || {
            let (status, token) = scene.ready().await;
            let open = token["breaker"] == "open" || token["breaker"] == "half-open";
            let ill = token["status"] == "unavailable";
            status == 503
                && match shows {
                    Shows::Nothing => true,
                    Shows::Unavailable => ill,
                    Shows::Open => ill && open,
                    // What the breaker knows is told, by `/readyz` and to whoever asks.
                    Shows::LongOpen => {
                        let told = token["retry_after"].as_u64().is_some_and(|seconds| seconds >= 2);
                        ill && told && token["counts"]["opened"].as_u64() >= Some(3)
                    }
                }
        })
        .await;
        if shows == Shows::LongOpen {
            until("Retry-After is the breaker's", async || seen.longest.load(Ordering::SeqCst) >= 2).await;
        }
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

/// A return value of each class, and one of a vendor's own; and the statuses of which one must come of it, beside 503 and 429. What a token
/// says of arguments and keys that the client did not choose is the gateway's own error; what it says of a ciphertext, the client's.
const CLASSES: [(&str, &[u16]); 28] = [
    ("0x2", &[]),
    ("0x3", &[]),
    ("0x5", &[]),
    ("0x6", &[]),
    ("0x7", &[]),
    ("0x21", &[500]),
    ("0x31", &[]),
    ("0x32", &[]),
    ("0x40", &[422, 500]),
    ("0x50", &[]),
    ("0x54", &[]),
    ("0x60", &[]),
    ("0x68", &[500]),
    ("0x70", &[]),
    ("0x82", &[]),
    ("0x90", &[]),
    ("0x91", &[]),
    ("0xB0", &[]),
    ("0xB1", &[]),
    ("0xB3", &[]),
    ("0xE1", &[]),
    ("0x101", &[]),
    ("0x150", &[]),
    ("0x190", &[]),
    ("0x200", &[]),
    ("0x201", &[]),
    ("0x7FFFFFFF", &[]),
    ("0x80000042", &[]),
];

/// From the functions that all requests need.
async fn classes(scene: &Scene, seen: &Seen) {
    for (rv, allowed) in CLASSES {
        seen.allow(rv, allowed);
        scene.tell(&format!("C_Encrypt after rv={rv} times=4\nC_Decrypt after rv={rv} times=4"));
        seen.more(&seen.answered, 24, &format!("answers with {rv}")).await;
        scene.tell("");
        recovered(scene, seen, rv).await;
        seen.some_came();
        seen.allow("", &[]);
    }
}

/// The functions around it: where keys are found, unwrapped, made and destroyed, and where the gateway logs in.
async fn classes_of_the_rest(scene: &Scene, seen: &Seen) {
    for (rv, allowed) in [
        ("0x5", &[] as &[u16]),
        ("0x13", &[]),
        ("0x30", &[]),
        ("0x31", &[]),
        ("0x40", &[]),
        ("0x54", &[]),
        ("0x60", &[]),
        ("0x68", &[500]),
        ("0x82", &[]),
        ("0x90", &[]),
        ("0xB3", &[]),
        ("0xD1", &[]),
        ("0xE0", &[]),
        ("0x101", &[]),
        ("0x110", &[]),
        ("0x190", &[]),
        ("0x80000042", &[]),
    ] {
        seen.allow(rv, allowed);
        // Lost logins first, so that there is something to find and to unwrap again.
        let functions =
            ["C_Login", "C_UnwrapKey", "C_FindObjectsInit", "C_FindObjects", "C_GenerateKey", "C_EncryptInit"];
        let rules = functions.map(|function| format!("{function} rv={rv} times=2")).join("\n");
        scene.tell(&format!("C_Encrypt rv=0x101 times=1\n{rules}"));
        seen.more(&seen.answered, 24, &format!("answers with {rv}")).await;
        seen.more(&seen.made, 1, &format!("a key is made after {rv}")).await;
        // An answer that is lost: what was made is there.
        scene.tell(&format!("C_GenerateKey after rv={rv} times=1\nC_DestroyObject after rv={rv} times=1"));
        seen.more(&seen.made, 2, &format!("keys are made with lost answers, {rv}")).await;
        scene.tell("");
        recovered(scene, seen, rv).await;
        seen.allow("", &[]);
    }
}

/// The keys that the gateway lists are those that it has acknowledged and not deleted. Where an answer was an error, it may have
/// been done or not.
async fn lists_what_was_acknowledged(client: &Client, first: &[String], keepers: &[Keeper]) {
    let listed = client.send("GET", "/keys?limit=5000", None).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let listed: BTreeMap<String, String> = listed.body["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| (key["id"].as_str().unwrap().to_owned(), key["name"].as_str().unwrap().to_owned()))
        .collect();
    let mut expected: BTreeSet<&str> = first.iter().map(String::as_str).collect();
    let (mut undecided, mut unanswered) = (BTreeSet::new(), BTreeSet::new());
    for keeper in keepers {
        expected.extend(keeper.alive.iter().map(String::as_str));
        undecided.extend(keeper.undecided.iter().map(String::as_str));
        unanswered.extend(keeper.unanswered.iter().map(String::as_str));
    }
    for id in &expected {
        assert!(listed.contains_key(*id), "{id} was acknowledged and is not listed");
    }
    for (id, name) in &listed {
        let known = expected.contains(id.as_str()) || undecided.contains(id.as_str());
        assert!(known || unanswered.contains(name.as_str()), "{id} ({name}) is listed, and nobody was told of it");
    }
}

async fn survives(kept: &str) {
    let mut scene = Scene::new(kept).await;
    let client = scene.client().await;
    let mut ids = Vec::new();
    for name in ["first", "second", "third"] {
        ids.push(client.create_root_key(name).await);
    }
    let (ids, seen) = (Arc::new(ids), Arc::new(Seen::default()));
    let (mut clients, mut keepers) = (JoinSet::new(), JoinSet::new());
    for number in 0..CLIENTS {
        clients.spawn(work(number, client.clone(), Arc::clone(&ids), Arc::clone(&seen)));
    }
    for number in 0..KEEPERS {
        keepers.spawn(keep(number, client.clone(), Arc::clone(&seen)));
    }
    seen.more(&seen.good, 20, "served at all").await;
    hiccups(&scene, &seen).await;
    classes(&scene, &seen).await;
    classes_of_the_rest(&scene, &seen).await;
    outages(&scene, &seen).await;
    removals(&scene, &seen).await;
    seen.done.store(true, Ordering::SeqCst);
    let mut texts: Vec<Kept> = clients.join_all().await.into_iter().flatten().collect();
    let keepers = keepers.join_all().await;
    seen.check();
    let (made, lost) = keepers.iter().fold((0, 0), |(made, lost), keeper| {
        (made + keeper.alive.len() + keeper.deleted, lost + keeper.undecided.len() + keeper.unanswered.len())
    });
    texts.extend(keepers.iter().flat_map(|keeper| keeper.kept.iter().cloned()));
    println!("{kept}: {:?}, {} texts, {made} keys acknowledged, {lost} answers lost", seen.answers(), texts.len());
    assert!(texts.len() > 500 && seen.answers()[&503] > 50 && made > 50, "there was a load");
    lists_what_was_acknowledged(&client, &ids, &keepers).await;
    // A part of them at once, and all after the gateway was killed.
    let some: Vec<_> = texts.iter().step_by((texts.len() / 300).max(1)).cloned().collect();
    everything_opens(&client, some).await;
    scene.kill_and_start().await;
    let client = scene.client().await;
    lists_what_was_acknowledged(&client, &ids, &keepers).await;
    everything_opens(&client, texts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrapped_keys_survive_a_token_that_fails_under_load() {
    survives("wrapped").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_the_token_survive_a_token_that_fails_under_load() {
    survives("token").await;
}
