//! What the tests of reloads need: a configuration that changes, who may reload it, and clients that never rest.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keygate_tests::Gateway;
use keygate_tests::configured::{INSTANCE, Place, builtin, component, entry, new_api_key};
use keygate_tests::gateway::{Client, Reply, create_body, reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The entries of the built-in plugins.
pub fn plain() -> String {
    [builtin("aes-gcm"), builtin("access")].concat()
}

/// The example rule, as it was built.
pub fn freeze() -> String {
    freeze_at(&component("examples/freeze.wasm"))
}

fn freeze_at(file: &Path) -> String {
    let entry = entry("freeze", file, "policy-rule", "{ log = true }");
    format!("{entry}settings = {{ reason = \"Nothing changes until Monday.\" }}\n")
}

/// A KEK, as it stands in its file.
pub fn kek(byte: u8) -> String {
    keygate_core::encoding::encode(&[byte; 32])
}

/// Writes a file that only its owner can read.
pub fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("it can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("and made private");
}

/// The same component with one more custom section, which means nothing: it has another digest.
pub fn with_section(component: &[u8], mark: u8) -> Vec<u8> {
    [component, &[0, 6, 4, b't', b'e', b's', b't', mark]].concat()
}

/// A digest as `sha256sum` writes it.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A place with a component of its own and with somebody who may reload.
pub struct House {
    place: Place,
    more: String,
    server: String,
    root: String,
    /// The API key of somebody without a role.
    pub nobody: String,
    /// That of an `Administrator` of the instance.
    pub confined: String,
}

impl House {
    pub fn new() -> Self {
        Self::with_server("")
    }

    /// One whose gateway looks at its files so often.
    pub fn watching(every: &str) -> Self {
        Self::with_server(&format!("watch = \"{every}\"\n"))
    }

    fn with_server(server: &str) -> Self {
        let place = Place::new();
        let mut more = "[runtime]\ncache_dir = \"compiled\"\n[limits]\nimport_keys_ready = 0\n".to_owned();
        let mut identity = |name: &str, roles: &str| {
            let (api_key, hash) = new_api_key();
            more += &format!(
                "[[iam.identities]]\nid = \"IBMid-{name}\"\napi_key_hashes = [\"{hash}\"]\nroles = [{roles}]\n"
            );
            api_key
        };
        let root = identity("root", "{ roles = [\"Administrator\"] }");
        let nobody = identity("nobody", "");
        let confined = identity("confined", &format!("{{ roles = [\"Administrator\"], instance = \"{INSTANCE}\" }}"));
        let house = Self { place, more, server: server.to_owned(), root, nobody, confined };
        house.put_component(&fs::read(component("examples/freeze.wasm")).expect("the example rule"));
        house
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Where the component of its own is, at first the example rule.
    pub fn component(&self) -> PathBuf {
        self.path().join("freeze.wasm")
    }

    /// Writes that component, and its digest beside it.
    pub fn put_component(&self, bytes: &[u8]) {
        fs::write(self.component(), bytes).expect("the component can be written");
        let sums = format!("{}  freeze.wasm\n", sha256(bytes));
        fs::write(self.path().join("freeze.wasm.sha256"), sums).expect("and its digest");
    }

    /// The entry of that component.
    pub fn own_freeze(&self) -> String {
        freeze_at(&self.component())
    }

    /// Writes the configuration, in one step.
    pub fn write(&self, plugins: &str, chain: &str) {
        let elsewhere = self.path().join("plugins.toml.new");
        let file = self.path().join("plugins.toml");
        let before = fs::read(&file).ok();
        self.place.write(&[plugins, &self.more].concat(), chain);
        let text = fs::read_to_string(&file).expect("it was just written");
        if let Some(before) = before {
            fs::write(&file, before).expect("as it was");
        }
        fs::write(&elsewhere, text.replace("[server]\n", &format!("[server]\n{}", self.server))).expect("beside it");
        fs::rename(elsewhere, file).expect("and put in its place");
    }

    /// Changes what stands in the configuration.
    pub fn edit(&self, what: &str, with: &str) {
        let file = self.path().join("plugins.toml");
        let text = fs::read_to_string(&file).expect("a configuration");
        assert!(text.contains(what), "{what:?} is not in {text}");
        fs::write(&file, text.replace(what, with)).expect("it can be written");
    }

    pub async fn start(&self) -> Gateway {
        Gateway::start_configured(&self.path().join("plugins.toml")).await
    }

    /// The Manager.
    pub async fn ann(&self, gateway: &Gateway) -> Client {
        gateway.client_with(&self.place.api_key, 0).await
    }

    /// The Administrator.
    pub async fn root(&self, gateway: &Gateway) -> Client {
        gateway.client_with(&self.root, 0).await
    }

    /// Asks for a reload, without naming an instance.
    pub async fn reload(&self, client: &Client) -> Reply {
        reply(client.http.post(format!("{}/keygate/v1/reload", client.url)).bearer_auth(&client.token)).await
    }

    pub async fn ready(&self, gateway: &Gateway) -> Value {
        reply(reqwest::Client::new().get(format!("{}/readyz", gateway.ready.url))).await.body
    }

    /// Waits until `/readyz` tells something.
    pub async fn wait_until(&self, gateway: &Gateway, patience: Duration, is_so: impl Fn(&Value) -> bool) {
        let until = Instant::now() + patience;
        loop {
            let ready = self.ready(gateway).await;
            if is_so(&ready) {
                return;
            }
            assert!(Instant::now() < until, "{ready}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The audit events of reloads.
    pub fn reloads(&self) -> Vec<Value> {
        let audit = fs::read_to_string(self.path().join("audit.jsonl")).unwrap_or_default();
        // The last line may be half written.
        let events = audit.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["action"] == "keygate.plugins.reload").collect()
    }

    /// Waits until there are so many.
    pub async fn wait_for_reloads(&self, count: usize, patience: Duration) {
        let until = Instant::now() + patience;
        while self.reloads().len() < count {
            assert!(Instant::now() < until, "{} of {count} reloads", self.reloads().len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What clients saw that asked all the time.
#[derive(Debug, Default)]
pub struct Seen {
    pub requests: usize,
    /// Keys that were made.
    pub made: usize,
    /// Keys that were not, because of the rule.
    pub frozen: usize,
    /// Anything else that did not succeed.
    pub others: Vec<String>,
}

/// Clients that wrap, unwrap and make keys, each on a connection of its own, without a pause.
pub struct Load {
    clients: JoinSet<Seen>,
    stop: Arc<AtomicBool>,
}

impl Load {
    pub fn start(client: &Client, key: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let client = Client { http: reqwest::Client::new(), ..client.clone() };
            set.spawn(work(client, key.to_owned(), Arc::clone(&stop)));
        }
        Self { clients: set, stop }
    }

    /// Lets them finish what they are at.
    pub async fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        while let Some(seen) = self.clients.join_next().await {
            let seen = seen.expect("a client");
            all.requests += seen.requests;
            all.made += seen.made;
            all.frozen += seen.frozen;
            all.others.extend(seen.others);
        }
        all
    }
}

async fn work(client: Client, key: String, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let plaintext = "AAECAwQFBgcICQoLDA0ODw==";
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let wrapped =
            client.send("POST", &format!("/keys/{key}/actions/wrap"), Some(json!({"plaintext": plaintext}))).await;
        seen.requests += 1;
        if wrapped.status != 200 {
            seen.others.push(format!("wrap: {wrapped:?}"));
            continue;
        }
        let body = json!({"ciphertext": wrapped.body["ciphertext"]});
        let unwrapped = client.send("POST", &format!("/keys/{key}/actions/unwrap"), Some(body)).await;
        seen.requests += 1;
        if unwrapped.status != 200 || unwrapped.body["plaintext"] != plaintext {
            seen.others.push(format!("unwrap: {unwrapped:?}"));
        }
        if round % 8 == 0 {
            let made = client.send("POST", "/keys", Some(create_body("made", false))).await;
            seen.requests += 1;
            match (made.status, made.code()) {
                (201, _) => seen.made += 1,
                (409, "CHANGE_FREEZE_ERR") => seen.frozen += 1,
                _ => seen.others.push(format!("create: {made:?}")),
            }
        }
    }
    seen
}
