//! Keys between two backends: the fake, the software backend under two KEKs, and the plugin `softhsm` on SoftHSM 2 in both ways
//! of keeping keys. Each test has its own two, and what one of them wrapped the other unwraps.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use keygate::system::{OsEntropy, SystemClock};
use keygate_core::fakes::backend::FakeBackend;
use keygate_core::secret::SecretBytes;
use keygate_pkcs11::{Find, Modules, PinSource, Surroundings, Token, TokenConfig};
use keygate_runtime::manifest::{BackendManifest, Manifest, PluginManifest};
use keygate_runtime::{HostServices, Runtime, RuntimeConfig, Secret, SecretError, SecretSource, Tokens};
use keygate_tests::configured::component;
use keygate_tests::moving::{Side, keys_between};
use keygate_tests::softhsm::SoftHsm;
use serde_json::{Value, json};

/// Two KEKs.
struct Keks;

impl SecretSource for Keks {
    fn current(&self, name: &str) -> Result<Secret, SecretError> {
        self.version(name, 1)
    }

    fn version(&self, name: &str, version: u32) -> Result<Secret, SecretError> {
        let byte = match name {
            "kek" => 0x42,
            "other" => 0x43,
            _ => return Err(SecretError::NotFound),
        };
        Ok(Secret { version, value: SecretBytes::new(vec![byte; 32]) })
    }

    fn exists(&self, name: &str) -> bool {
        matches!(name, "kek" | "other")
    }
}

/// Tokens by name.
#[derive(Clone, Default)]
struct Named(HashMap<String, Token>);

impl Tokens for Named {
    fn token(&self, name: &str) -> Option<Token> {
        self.0.get(name).cloned()
    }
}

/// The SoftHSM of this process, whose tests take turns: a module is the process's.
static TURN: Mutex<()> = Mutex::new(());

/// Tokens of these labels, by the same names.
fn tokens(labels: &[&str], modules: &Modules) -> Named {
    static HSM: OnceLock<SoftHsm> = OnceLock::new();
    let hsm = HSM.get_or_init(|| {
        let hsm = SoftHsm::new(&["one", "two"]);
        hsm.enter();
        hsm
    });
    let start = |label: &&str| {
        let around = Surroundings {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            environment: Arc::new(|_: &str| None),
        };
        let find = Find::Label((*label).to_owned());
        let config = TokenConfig::new(*label, SoftHsm::module(), find, PinSource::File(hsm.pin()));
        ((*label).to_owned(), Token::start(config, modules, around).unwrap())
    };
    Named(labels.iter().map(start).collect())
}

fn software(kek: &str, transport: &str) -> Value {
    json!({
        "file": component("aes-gcm.wasm"), "world": "software-backend",
        "grants": {"log": true, "random": true, "secrets": [kek]}, "limits": {"deadline": "10s"},
        "settings": {"kek": kek, "transport": transport},
    })
}

/// SoftHSM 2.6.1 has OAEP with SHA-1 only.
fn hsm(token: &str, keep: &str) -> Value {
    json!({
        "file": component("softhsm.wasm"), "world": "hsm-backend",
        "grants": {"log": true, "pkcs11": [token], "pkcs11-transport": true}, "limits": {"deadline": "10s"},
        "settings": {
            "token": token, "keep": keep, "wrap": "aes-key-wrap-pad", "import_keys": "sandbox", "transport": "sha1",
        },
    })
}

async fn loaded(mut sides: [Value; 2], tokens: &Named) -> Runtime {
    let services = HostServices {
        secrets: Arc::new(Keks),
        tokens: Arc::new(tokens.clone()),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
    };
    let runtime = Runtime::new(RuntimeConfig { max_sandboxes: 4, ..RuntimeConfig::default() }, services).unwrap();
    let mut manifest = Manifest::default();
    for (name, entry) in ["a", "b"].into_iter().zip(&mut sides) {
        entry["name"] = json!(name);
        manifest.plugins.push(PluginManifest::parse(entry, Path::new("/")).unwrap());
        manifest.backends.push(BackendManifest { name: name.to_owned(), plugin: name.to_owned() });
    }
    let generation = runtime.load(&manifest).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    runtime.activate(generation);
    runtime
}

/// Loads both, and runs the suite. `kinds`: each side's way of keeping keys, where it is a token.
fn keys_move(sides: [Value; 2], labels: &[&str]) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let modules = Modules::new();
    let named = if labels.is_empty() { Named::default() } else { tokens(labels, &modules) };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let can = sides.clone().map(|entry| {
        let keep = entry["settings"]["keep"].as_str().map(str::to_owned);
        (keep.as_deref() != Some("token"), keep.is_none())
    });
    tokio.block_on(async {
        let runtime = loaded(sides, &named).await;
        let [a, b] = ["a", "b"].map(|name| runtime.backends().backend(name).unwrap());
        let [a, b] = [(a.as_ref(), can[0]), (b.as_ref(), can[1])].map(|(backend, (sends, takes_standard))| Side {
            backend,
            sends,
            takes_standard,
        });
        keys_between(a, b).await;
    });
    drop(tokio);
    for token in named.0.values() {
        assert_eq!(token.counts().written_off, 0);
        token.stop();
    }
}

#[tokio::test]
async fn between_fakes() {
    let (one, two) = (FakeBackend::new("one"), FakeBackend::new("two"));
    keys_between(Side::of(&one), Side::of(&two)).await;
}

#[test]
fn between_software_backends_with_different_keks() {
    keys_move([software("kek", "sha256"), software("other", "sha1")], &[]);
}

#[test]
fn between_software_and_wrapped_keys() {
    keys_move([software("kek", "sha1"), hsm("one", "wrapped")], &["one"]);
}

#[test]
fn from_software_into_a_token_and_never_out_of_it() {
    keys_move([software("kek", "sha1"), hsm("one", "token")], &["one"]);
}

#[test]
fn between_two_tokens() {
    keys_move([hsm("one", "wrapped"), hsm("two", "wrapped")], &["one", "two"]);
}

#[test]
fn from_wrapped_keys_into_another_token() {
    keys_move([hsm("one", "wrapped"), hsm("two", "token")], &["one", "two"]);
}
