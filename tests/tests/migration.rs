//! Keys on their way from one backend to another, in a gateway that is in use and is killed again and again.
//!
//! The small run is a part of the suite. The large one is
//! `cargo nextest run -p keygate-tests --test migration --run-ignored only --no-capture`: 10,000 keys each way and 50 kills each way; it
//! takes `KEYGATE_TEST_KEYS` and `KEYGATE_TEST_KILLS`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use keygate_tests::Gateway;
use keygate_tests::configured::{INSTANCE, component, new_api_key};
use keygate_tests::gateway::{Client, Reply, create_body, program, reply};
use serde_json::{Value, json};

/// How many requests are in work at a time while keys are made.
const WIDTH: usize = 8;

/// How many clients wrap and unwrap while keys move.
const USERS: usize = 3;

/// How long a migration may take, for each thousand keys and each kill.
const PATIENCE: Duration = Duration::from_secs(120);

/// A place for a gateway with two software backends that have nothing in common.
struct Place {
    directory: tempfile::TempDir,
    api_key: String,
    hash: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, byte) in [("kek-one", 0x4B_u8), ("kek-two", 0x77)] {
            let file = directory.path().join(name);
            fs::write(&file, keygate_core::encoding::encode(&[byte; 32])).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (api_key, hash) = new_api_key();
        Self { directory, api_key, hash }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A configuration with these backends, of which the instance makes new keys on `bound`.
    fn write(&self, backends: &[&str], transport: &str, bound: &str) -> PathBuf {
        let hash = &self.hash;
        let mut text = format!(
            r#"
[server]
listen = "127.0.0.1:0"
request_deadline = "5s"

[store]
path = "keygate.redb"

[audit]
file = "audit.jsonl"

[runtime]
cache_dir = "compiled"

[limits]
migration_grace = "1s"
import_keys_ready = 0

[iam]
account = "acme"

[[iam.identities]]
id = "IBMid-ann"
api_key_hashes = ["{hash}"]
roles = [{{ roles = ["Manager"], instance = "{INSTANCE}" }}, {{ roles = ["Administrator"] }}]

[[instances]]
id = "{INSTANCE}"
name = "first"
region = "us-south"
account = "acme"
backend = "{bound}"

[policy]
chain = ["access"]

[[plugins]]
name = "access"
file = "{access}"
sha256_file = "{access}.sha256"
world = "policy-rule"
grants = {{ log = true }}
"#,
            access = component("access.wasm").display(),
        );
        for name in backends {
            let file = component("aes-gcm.wasm");
            write!(
                text,
                r#"
[[secrets]]
name = "kek-{name}"
[[secrets.versions]]
version = 1
file = "kek-{name}"

[[plugins]]
name = "aes-{name}"
file = "{file}"
sha256_file = "{file}.sha256"
world = "software-backend"
grants = {{ log = true, random = true, secrets = ["kek-{name}"] }}
settings = {{ kek = "kek-{name}", transport = "{transport}" }}

[[backends]]
name = "{name}"
plugin = "aes-{name}"
"#,
                file = file.display()
            )
            .unwrap();
        }
        let file = self.path().join("plugins.toml");
        fs::write(&file, text).unwrap();
        file
    }
}

/// A key, and what was wrapped under it.
struct Kept {
    id: String,
    /// Ciphertexts with their plaintexts.
    wrapped: Vec<(Value, Value)>,
}

async fn wrap(client: &Client, id: &str) -> Option<(Value, Value)> {
    let answer = attempt(client, &format!("/keys/{id}/actions/wrap"), json!({})).await?;
    Some((answer["ciphertext"].clone(), answer["plaintext"].clone()))
}

/// Opens a ciphertext, and says whether an answer came.
async fn opens(client: &Client, id: &str, (ciphertext, plaintext): &(Value, Value)) -> bool {
    let body = json!({ "ciphertext": ciphertext });
    let Some(answer) = attempt(client, &format!("/keys/{id}/actions/unwrap"), body).await else { return false };
    assert_eq!(answer["plaintext"], *plaintext, "key {id} opens {ciphertext} as something else");
    true
}

/// The body of an answer, which must be good; `None` where the gateway was killed before it came, or says that it has too
/// much to do.
async fn attempt(client: &Client, path: &str, body: Value) -> Option<Value> {
    let response = client.request("POST", path).body(body.to_string()).send().await.ok()?;
    let status = response.status();
    let text = response.text().await.ok()?;
    if matches!(status.as_u16(), 503 | 504) {
        return None;
    }
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).ok()
}

/// Makes so many root keys, each with one ciphertext; every tenth is rotated and has another.
async fn make(client: &Client, keys: usize) -> Vec<Kept> {
    let made = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::new(AtomicU64::new(0));
    let mut work = tokio::task::JoinSet::new();
    for _ in 0..WIDTH {
        let (client, made, next) = (client.clone(), Arc::clone(&made), Arc::clone(&next));
        work.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= keys as u64 {
                    return;
                }
                let id = client.create_root_key(&format!("key-{n}")).await;
                let mut wrapped = vec![wrap(&client, &id).await.unwrap()];
                if n % 10 == 0 {
                    let rotated = client.send("POST", &format!("/keys/{id}/actions/rotate"), Some(json!({}))).await;
                    assert_eq!(rotated.status, 204, "{rotated:?}");
                    wrapped.push(wrap(&client, &id).await.unwrap());
                }
                made.lock().unwrap().push(Kept { id, wrapped });
            }
        });
    }
    work.join_all().await;
    Arc::into_inner(made).unwrap().into_inner().unwrap()
}

async fn migrations(client: &Client, method: &str, more: &str, body: Option<Value>) -> Reply {
    let url = format!("{}/keygate/v1/instances/{INSTANCE}/migrations{more}", client.url);
    let request = client.http.request(method.parse().unwrap(), url).bearer_auth(&client.token);
    reply(match body {
        Some(body) => request.body(body.to_string()),
        None => request,
    })
    .await
}

/// Clients that wrap and unwrap, whatever becomes of the gateway. What was wrapped is kept.
struct Users {
    client: Arc<RwLock<Client>>,
    over: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    work: tokio::task::JoinSet<Vec<(String, (Value, Value))>>,
}

impl Users {
    fn begin(client: &Client, keys: &[Kept]) -> Self {
        let client = Arc::new(RwLock::new(client.clone()));
        let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let ids: Arc<Vec<(String, (Value, Value))>> =
            Arc::new(keys.iter().map(|key| (key.id.clone(), key.wrapped[0].clone())).collect());
        let mut work = tokio::task::JoinSet::new();
        for n in 0..USERS {
            let (client, over, calls) = (Arc::clone(&client), Arc::clone(&over), Arc::clone(&calls));
            let ids = Arc::clone(&ids);
            work.spawn(async move {
                let mut kept = Vec::new();
                let mut at = n * 7919;
                while !over.load(Ordering::Relaxed) {
                    at += 104_729;
                    let (id, old) = &ids[at % ids.len()];
                    let now = client.read().unwrap().clone();
                    let answered = opens(&now, id, old).await;
                    if let Some(wrapped) = wrap(&now, id).await {
                        opens(&now, id, &wrapped).await;
                        kept.push((id.clone(), wrapped));
                    }
                    if answered {
                        calls.fetch_add(1, Ordering::Relaxed);
                    } else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                kept
            });
        }
        Self { client, over, calls, work }
    }

    fn meet(&self, client: &Client) {
        *self.client.write().unwrap() = client.clone();
    }

    async fn end(self) -> Vec<(String, (Value, Value))> {
        self.over.store(true, Ordering::Relaxed);
        self.work.join_all().await.concat()
    }
}

/// All that was ever wrapped opens.
async fn all_open(client: &Client, keys: &[Kept]) {
    for key in keys {
        for wrapped in &key.wrapped {
            let mut tries = 0;
            while !opens(client, &key.id, wrapped).await {
                tries += 1;
                assert!(tries < 5, "no answer about key {}", key.id);
            }
        }
    }
}

/// Moves the keys from one backend to the other, in a gateway that is killed so often; returns the last word on it.
async fn move_keys(place: &Place, keys: &mut [Kept], from: &str, to: &str, kills: usize) -> Value {
    let config = place.write(&["one", "two"], "sha256", to);
    let mut gateway = Gateway::start_configured(&config).await;
    let mut client = gateway.client_with(&place.api_key, 0).await;
    let begun = migrations(&client, "POST", "", Some(json!({"from": from, "to": to}))).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let id = begun.body["id"].as_str().unwrap().to_owned();
    let users = Users::begin(&client, keys);
    let began = Instant::now();
    let limit = PATIENCE * u32::try_from(keys.len() / 1000 + kills / 10 + 1).unwrap();
    let (mut killed, mut state) = (0, Value::Null);
    // A sequence that looks like chance, and is the same in every run.
    let mut chance = 0x2545_F491_4F6C_DD1D_u64;
    while state != "done" {
        assert!(began.elapsed() < limit, "it has no end: {state:?}");
        if killed < kills {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis(20 + (chance >> 33) % 700)).await;
            gateway.kill().await;
            killed += 1;
            gateway = Gateway::start_configured(&config).await;
            client = gateway.client_with(&place.api_key, 0).await;
            users.meet(&client);
        } else {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let found = migrations(&client, "GET", &format!("/{id}"), None).await;
        assert_eq!(found.status, 200, "{found:?}");
        state = found.body["state"].clone();
    }
    let took = began.elapsed();
    let calls = users.calls.load(Ordering::Relaxed);
    for (id, wrapped) in users.end().await {
        keys.iter_mut().find(|key| key.id == id).unwrap().wrapped.push(wrapped);
    }
    let found = migrations(&client, "GET", &format!("/{id}"), None).await.body;
    let ciphertexts: usize = keys.iter().map(|key| key.wrapped.len()).sum();
    println!(
        "{} keys from {from} to {to}, {killed} kills: {took:.1?}, {calls} rounds of use meanwhile, {ciphertexts} ciphertexts; \
         {}",
        keys.len(),
        found["counts"]
    );
    all_open(&client, keys).await;
    gateway.stop().await;
    // Nothing is needed of the backend that was left: without it, all of it opens still.
    let gateway = Gateway::start_configured(&place.write(&[to], "off", to)).await;
    all_open(&gateway.client_with(&place.api_key, 0).await, keys).await;
    gateway.stop().await;
    found
}

async fn there_and_back(keys: usize, kills: usize, ways: &[(&str, &str)]) {
    let place = Place::new();
    let gateway = Gateway::start_configured(&place.write(&["one", "two"], "sha256", "one")).await;
    let client = gateway.client_with(&place.api_key, 0).await;
    let mut kept = make(&client, keys).await;
    gateway.stop().await;
    let versions = keys + keys.div_ceil(10);
    for (from, to) in ways {
        let found = move_keys(&place, &mut kept, from, to, kills).await;
        assert_eq!(found["staysTotal"], 0, "{found}");
        assert_eq!(found["counts"]["moved"], versions, "each version is counted once: {found}");
        assert_eq!(found["counts"]["destroyed"], versions, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_move_through_kills_and_every_ciphertext_opens() {
    there_and_back(200, 6, &[("one", "two")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn ten_thousand_keys_each_way_through_fifty_kills() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (keys, kills) = (number("KEYGATE_TEST_KEYS", 10_000), number("KEYGATE_TEST_KILLS", 50));
    there_and_back(keys, kills, &[("one", "two"), ("two", "one")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_move_is_told_and_the_command_says_so() {
    let place = Place::new();
    let both = ["one", "two"];
    let gateway = Gateway::start_configured(&place.write(&both, "off", "one")).await;
    let client = gateway.client_with(&place.api_key, 0).await;
    let mut kept = make(&client, 3).await;
    let mut body = create_body("imported", false);
    body["resources"][0]["payload"] = json!(keygate_core::encoding::encode(&[7; 32]));
    let imported = client.send("POST", "/keys", Some(body)).await.resource()["id"].as_str().unwrap().to_owned();
    let unbound = migrations(&client, "POST", "", Some(json!({"from": "one", "to": "two"}))).await;
    assert_eq!((unbound.status, unbound.code()), (409, "INSTANCE_NOT_BOUND_ERR"));
    gateway.stop().await;

    let gateway = Gateway::start_configured(&place.write(&both, "off", "two")).await;
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
