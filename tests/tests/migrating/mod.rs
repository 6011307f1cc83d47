//! What the tests of migrations need: a gateway with two backends, keys with what was wrapped under them, and clients that go on
//! using them whatever happens.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use keygate_tests::Gateway;
use keygate_tests::configured::{INSTANCE, component, entry, new_api_key};
use keygate_tests::gateway::{Client, Reply, reply};
use keygate_tests::softhsm::{SETTINGS, SoftHsm};
use serde_json::{Value, json};

/// How many requests are in work at a time while keys are made.
const WIDTH: usize = 8;

/// How many clients wrap and unwrap while keys move.
const USERS: usize = 3;

/// More keys than this are many.
const MANY: usize = 500;

/// How long clients rest between two rounds where there are many keys: what they wrap is all opened in the end.
const REST: Duration = Duration::from_millis(20);

/// The label of the token.
pub const LABEL: &str = "two";

/// A place for a gateway with two backends that have nothing in common, `one` and `two`.
pub struct Place {
    directory: tempfile::TempDir,
    pub api_key: String,
    hash: String,
    /// What `two` has its keys in, each an object of its own. Without it, `two` is a software backend, as `one` is.
    pub hsm: Option<SoftHsm>,
    /// How many keys it moves at a time.
    concurrency: usize,
}

impl Place {
    /// One with two software backends, for about so many keys. Few of them move one by one, so that kills meet them on their way.
    pub fn new(keys: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, byte) in [("kek-one", 0x4B_u8), ("kek-two", 0x77)] {
            let file = directory.path().join(name);
            fs::write(&file, keygate_core::encoding::encode(&[byte; 32])).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (api_key, hash) = new_api_key();
        Self { directory, api_key, hash, hsm: None, concurrency: if keys > MANY { 8 } else { 1 } }
    }

    /// One with a software backend and a token.
    pub fn with_token(keys: usize) -> Self {
        Self { hsm: Some(SoftHsm::new(&[LABEL])), ..Self::new(keys) }
    }

    /// Starts a gateway in it.
    pub async fn start(&self, config: &Path) -> Gateway {
        let conf = self.hsm.as_ref().map(|hsm| hsm.conf().display().to_string());
        let environment: Vec<_> = conf.iter().map(|conf| ("SOFTHSM2_CONF", conf.as_str())).collect();
        Gateway::start_configured_with(config, &environment).await
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A configuration with these backends, of which the instance makes new keys on `bound`.
    pub fn write(&self, backends: &[&str], transport: &str, bound: &str) -> PathBuf {
        let Self { hash, concurrency, .. } = self;
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
migration_concurrency = {concurrency}
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
            text.push_str(&match &self.hsm {
                Some(hsm) if *name == "two" => in_token(hsm, transport),
                _ => software(name, transport),
            });
            write!(text, "\n[[backends]]\nname = \"{name}\"\nplugin = \"of-{name}\"\n").unwrap();
        }
        let file = self.path().join("plugins.toml");
        fs::write(&file, text).unwrap();
        file
    }
}

/// The software backend with a KEK of its own.
fn software(name: &str, transport: &str) -> String {
    let grants = format!("{{ log = true, random = true, secrets = [\"kek-{name}\"] }}");
    let plugin = entry(&format!("of-{name}"), &component("aes-gcm.wasm"), "software-backend", &grants);
    format!(
        "[[secrets]]\nname = \"kek-{name}\"\n[[secrets.versions]]\nversion = 1\nfile = \"kek-{name}\"\n\n{plugin}settings = {{ kek = \
         \"kek-{name}\", transport = \"{transport}\" }}\n"
    )
}

/// Each key an object of the token, which no key leaves.
fn in_token(hsm: &SoftHsm, transport: &str) -> String {
    let grants = "{ log = true, pkcs11 = [\"hsm\"] }";
    let plugin = entry("of-two", &component("softhsm.wasm"), "hsm-backend", grants);
    let settings = format!("token = \"hsm\", keep = \"token\", transport = \"{transport}\", {SETTINGS}");
    let token = hsm.entry(LABEL);
    format!("{token}\n{plugin}settings = {{ {settings} }}\nlimits = {{ deadline = \"10s\" }}\n")
}

/// A key, and what was wrapped under it.
pub struct Kept {
    pub id: String,
    /// How many versions it was made with.
    pub made: usize,
    /// Ciphertexts with their plaintexts.
    pub wrapped: Vec<(Value, Value)>,
}

async fn wrap(client: &Client, id: &str) -> Option<(Value, Value)> {
    let answer = attempt(client, &format!("/keys/{id}/actions/wrap"), json!({})).await?;
    Some((answer["ciphertext"].clone(), answer["plaintext"].clone()))
}

/// Opens a ciphertext, and says whether an answer came.
pub async fn opens(client: &Client, id: &str, (ciphertext, plaintext): &(Value, Value)) -> bool {
    let body = json!({ "ciphertext": ciphertext });
    let Some(answer) = attempt(client, &format!("/keys/{id}/actions/unwrap"), body).await else { return false };
    assert_eq!(answer["plaintext"], *plaintext, "key {id} opens {ciphertext} as something else");
    true
}

/// The body of an answer, which must be good; `None` where the gateway was killed before it came, or says that it has too
/// much to do.
pub async fn attempt(client: &Client, path: &str, body: Value) -> Option<Value> {
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
pub async fn make(client: &Client, keys: usize) -> Vec<Kept> {
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
                made.lock().unwrap().push(Kept { id, made: wrapped.len(), wrapped });
            }
        });
    }
    work.join_all().await;
    Arc::into_inner(made).unwrap().into_inner().unwrap()
}

/// Asks about migrations of the instance.
pub async fn migrations(client: &Client, method: &str, more: &str, body: Option<Value>) -> Reply {
    let url = format!("{}/keygate/v1/instances/{INSTANCE}/migrations{more}", client.url);
    let request = client.http.request(method.parse().unwrap(), url).bearer_auth(&client.token);
    reply(match body {
        Some(body) => request.body(body.to_string()),
        None => request,
    })
    .await
}

/// Clients that wrap and unwrap, whatever becomes of the gateway. What was wrapped is kept.
pub struct Users {
    client: Arc<RwLock<Client>>,
    over: Arc<AtomicBool>,
    pub calls: Arc<AtomicU64>,
    work: tokio::task::JoinSet<Vec<(String, (Value, Value))>>,
}

impl Users {
    /// Has them begin.
    pub fn begin(client: &Client, keys: &[Kept]) -> Self {
        let client = Arc::new(RwLock::new(client.clone()));
        let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let ids: Arc<Vec<(String, (Value, Value))>> =
            Arc::new(keys.iter().map(|key| (key.id.clone(), key.wrapped[0].clone())).collect());
        let rest = if keys.len() > MANY { REST } else { Duration::ZERO };
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
                        tokio::time::sleep(rest).await;
                    } else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                kept
            });
        }
        Self { client, over, calls, work }
    }

    /// From now on the gateway is there.
    pub fn meet(&self, client: &Client) {
        *self.client.write().unwrap() = client.clone();
    }

    /// Has them end; returns what they wrapped.
    pub async fn end(self) -> Vec<(String, (Value, Value))> {
        self.over.store(true, Ordering::Relaxed);
        self.work.join_all().await.concat()
    }
}

/// All that was ever wrapped opens.
pub async fn all_open(client: &Client, keys: &[Kept]) {
    open_some(client, keys, |_, _| true).await;
}

/// Of each key, the first two ciphertexts and the last one open.
pub async fn some_open(client: &Client, keys: &[Kept]) {
    open_some(client, keys, |at, all| at < 2 || at + 1 == all).await;
}

async fn open_some(client: &Client, keys: &[Kept], picks: impl Fn(usize, usize) -> bool) {
    let mut work: Vec<Vec<(String, (Value, Value))>> = vec![Vec::new(); WIDTH];
    for (n, key) in keys.iter().enumerate() {
        let all = key.wrapped.iter().enumerate().filter(|(at, _)| picks(*at, key.wrapped.len()));
        work[n % WIDTH].extend(all.map(|(_, wrapped)| (key.id.clone(), wrapped.clone())));
    }
    let open = |work: Vec<(String, (Value, Value))>, client: Client| async move {
        for (id, wrapped) in &work {
            let mut tries = 0;
            while !opens(&client, id, wrapped).await {
                tries += 1;
                assert!(tries < 5, "no answer about key {id}");
            }
        }
    };
    let tasks: tokio::task::JoinSet<()> = work.into_iter().map(|work| open(work, client.clone())).collect();
    // A panic in one is a panic here.
    tasks.join_all().await;
}
