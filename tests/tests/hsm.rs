//! Keys in a PKCS#11 token, as operators have them: the plugin `softhsm` on SoftHSM 2, in both ways of keeping keys.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use keygate::system::{OsEntropy, SystemClock};
use keygate_pkcs11::{Find, Modules, PinSource, Surroundings, Token, TokenConfig};
use keygate_runtime::manifest::{BackendManifest, Manifest, PluginManifest};
use keygate_runtime::{HostServices, Runtime, RuntimeConfig, Secret, SecretError, SecretSource, Tokens};
use keygate_tests::Gateway;
use keygate_tests::backends::{self, standard_client};
use keygate_tests::configured::{Place, builtin, component, entry};
use keygate_tests::gateway::{Client, create_body, program, reply};
use keygate_tests::softhsm::{PIN, SETTINGS, SoftHsm};
use keygate_tests::softokn::{self, Softokn};
use serde_json::{Value, json};

/// No secrets: a backend on a token needs none.
struct Nothing;

impl SecretSource for Nothing {
    fn current(&self, _: &str) -> Result<Secret, SecretError> {
        Err(SecretError::NotFound)
    }

    fn version(&self, _: &str, _: u32) -> Result<Secret, SecretError> {
        Err(SecretError::NotFound)
    }

    fn exists(&self, _: &str) -> bool {
        false
    }
}

/// One token, by the name `hsm`.
struct One(Token);

impl Tokens for One {
    fn token(&self, name: &str) -> Option<Token> {
        (name == "hsm").then(|| self.0.clone())
    }
}

/// The SoftHSM of this process, whose tests take turns: a module is the process's.
static TURN: Mutex<()> = Mutex::new(());

fn process_hsm() -> &'static SoftHsm {
    static HSM: OnceLock<SoftHsm> = OnceLock::new();
    HSM.get_or_init(|| {
        let hsm = SoftHsm::new(&["wrapped", "token"]);
        hsm.enter();
        hsm
    })
}

/// Loads the plugin with these settings on a token and runs the suite. Loading includes the loader's own proof.
fn the_suite_passes(config: TokenConfig, settings: Value) {
    let modules = Modules::new();
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        environment: Arc::new(|_: &str| None),
    };
    let token = Token::start(config, &modules, around).unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    tokio.block_on(async {
        let runtime = loaded(settings, &token).await;
        let backend = runtime.backends().backend("backend").unwrap();
        backends::run_all(backend.as_ref()).await;
        backends::imports_under_a_token(backend.as_ref(), standard_client()).await;
        let info = runtime.describe().into_iter().next().unwrap();
        assert!(info.snapshot, "settings are parsed once, and no handle of a token is in a snapshot");
    });
    drop(tokio);
    let counts = token.counts();
    assert!(counts.calls > 100 && counts.opened == 0 && counts.written_off == 0, "{counts:?}");
    token.stop();
}

async fn loaded(settings: Value, token: &Token) -> Runtime {
    let services = HostServices {
        secrets: Arc::new(Nothing),
        tokens: Arc::new(One(token.clone())),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
    };
    let runtime = Runtime::new(RuntimeConfig { max_sandboxes: 4, ..RuntimeConfig::default() }, services).unwrap();
    let entry = json!({
        "name": "plugin", "file": component("softhsm.wasm"), "world": "hsm-backend",
        "grants": {"log": true, "pkcs11": ["hsm"]}, "limits": {"deadline": "10s"},
        "settings": settings,
    });
    let manifest = Manifest {
        plugins: vec![PluginManifest::parse(&entry, Path::new("/")).unwrap()],
        backends: vec![BackendManifest { name: "backend".to_owned(), plugin: "plugin".to_owned() }],
        ..Manifest::default()
    };
    let generation = runtime.load(&manifest).await.unwrap_or_else(|errors| panic!("{errors:?}"));
    runtime.activate(generation);
    runtime
}

fn the_suite_passes_on_softhsm(keep: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let find = Find::Label(keep.to_owned());
    let config = TokenConfig::new("hsm", SoftHsm::module(), find, PinSource::File(process_hsm().pin()));
    let settings = json!({"token": "hsm", "keep": keep, "wrap": "aes-key-wrap-pad", "import_keys": "sandbox"});
    the_suite_passes(config, settings);
}

#[test]
fn the_suite_passes_with_wrapped_keys() {
    the_suite_passes_on_softhsm("wrapped");
}

#[test]
fn the_suite_passes_with_keys_in_the_token() {
    the_suite_passes_on_softhsm("token");
}

/// Not another line of code for another module: settings.
fn the_suite_passes_on_softokn(keep: &str, import_keys: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let softokn = Softokn::new(directory.path());
    let find = Find::Label(softokn::LABEL.to_owned());
    let mut config = TokenConfig::new("hsm", Softokn::module(), find, PinSource::File(softokn.pin()));
    config.module_parameters = Some(softokn.parameters());
    let settings = json!({"token": "hsm", "keep": keep, "wrap": "aes-key-wrap-kwp", "import_keys": import_keys});
    the_suite_passes(config, settings);
}

#[test]
fn the_suite_passes_on_another_module_with_wrapped_keys() {
    the_suite_passes_on_softokn("wrapped", "wrapped");
}

#[test]
fn the_suite_passes_on_another_module_with_keys_in_the_token() {
    the_suite_passes_on_softokn("token", "token");
}

/// A gateway's directory with a token and the plugin on it.
fn configured(hsm: &SoftHsm, keep: &str) -> Place {
    let place = Place::new();
    let plugin = entry("softhsm", &component("softhsm.wasm"), "hsm-backend", "{ log = true, pkcs11 = [\"hsm\"] }");
    let settings = format!("settings = {{ token = \"hsm\", keep = \"{keep}\", {SETTINGS} }}\n");
    let limits = "limits = { deadline = \"10s\" }\n";
    let plugins = [plugin.as_str(), limits, &settings, &builtin("access"), &hsm.entry("keygate")].concat();
    let file = place.write(&plugins, r#"["access"]"#);
    let text = std::fs::read_to_string(&file).unwrap().replace("plugin = \"aes-gcm\"", "plugin = \"softhsm\"");
    std::fs::write(&file, text).unwrap();
    place
}

async fn start(hsm: &SoftHsm, place: &Place) -> Gateway {
    let conf = hsm.conf();
    let environment = [
        ("SOFTHSM2_CONF", conf.to_str().unwrap()),
        ("KEYGATE__LIMITS__IMPORT_KEYS_READY", "0"),
        ("KEYGATE__LIMITS__ROTATE_INTERVAL", "0s"),
    ];
    Gateway::start_configured_with(&place.path().join("plugins.toml"), &environment).await
}

async fn act(client: &Client, id: &str, action: &str, body: Value) -> Value {
    let answer = client.send("POST", &format!("/keys/{id}/actions/{action}"), Some(body)).await;
    assert!(answer.status < 300, "{action}: {answer:?}");
    answer.body
}

/// Who has the PIN can use the gateway's keys, and cannot have one: not its value, and not wrapped by a key of their own.
fn no_value_comes_out(hsm: &SoftHsm, objects: &str) {
    let tool = |arguments: &[&str]| {
        let output = hsm.tool(&[&["--token-label", "keygate", "--login", "--pin", PIN], arguments].concat());
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("wrapped");
    let wrap = |id: &str| {
        let file = out.to_str().unwrap();
        let what =
            ["--wrap", "--mechanism", "AES-KEY-WRAP", "--id", "f1", "--application-id", id, "--output-file", file];
        tool(&what)
    };
    for (id, more) in [("f1", "--usage-wrap"), ("f2", "--extractable")] {
        let (made, text) = tool(&["--keygen", "--key-type", "AES:32", "--id", id, more]);
        assert!(made, "{text}");
    }
    let (wrapped, text) = wrap("f2");
    assert!(wrapped && out.exists(), "a key that may leave does, by the same command: {text}");
    let ids: Vec<_> = objects.lines().filter_map(|line| line.trim().strip_prefix("ID:")).map(str::trim).collect();
    assert!(ids.len() >= 2, "{objects}");
    for id in ids {
        let (read, text) = tool(&["--read-object", "--type", "secrkey", "--id", id]);
        assert!(!read && text.contains("CKR_ATTRIBUTE_SENSITIVE"), "{id}: {text}");
        let (wrapped, text) = wrap(id);
        assert!(!wrapped && text.contains("CKR_KEY_UNEXTRACTABLE"), "{id}: {text}");
    }
    for id in ["f1", "f2"] {
        let (gone, text) = tool(&["--delete-object", "--type", "secrkey", "--id", id]);
        assert!(gone, "{text}");
    }
}

/// From a key to a wrapped key, through rotation and a restart, to the end of the key.
async fn a_life_through_http(keep: &str) {
    let hsm = SoftHsm::new(&["keygate"]);
    let place = configured(&hsm, keep);
    let gateway = start(&hsm, &place).await;
    let ann = gateway.client_with(&place.api_key, 0).await;
    let id = ann.create_root_key("on a token").await;
    let plaintext = keygate_core::encoding::encode(b"thirty-two bytes of a data key..");
    let wrapped = act(&ann, &id, "wrap", json!({"plaintext": plaintext})).await["ciphertext"].clone();
    let rotated = ann.send("POST", &format!("/keys/{id}/actions/rotate"), None).await;
    assert!(rotated.status < 300, "{rotated:?}");
    let opened = act(&ann, &id, "unwrap", json!({"ciphertext": wrapped})).await;
    assert_eq!(opened["plaintext"], plaintext.as_str());
    assert!(opened["ciphertext"].is_string(), "rewrapped under the new version: {opened}");
    let standard = ann.send("POST", "/keys", Some(create_body("a secret", true))).await;
    assert_eq!(standard.status, 201, "{standard:?}");

    let ready = reply(reqwest::Client::new().get(format!("{}/readyz", gateway.ready.url))).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let told = &ready.body["tokens"][0];
    assert_eq!((&told["name"], &told["status"], &told["breaker"]), (&json!("hsm"), &json!("ok"), &json!("closed")));

    // A module is left in order: the gateway's end is no crash.
    assert_eq!(gateway.stop().await, Some(0));
    let objects = hsm.list("keygate");
    let keys = objects.matches("Secret Key Object").count();
    // The plugin's own two (one, if no key is ever wrapped), and each version of the root key.
    assert_eq!(keys, if keep == "token" { 3 } else { 2 }, "{objects}");
    let guarded = "Access:     sensitive, always sensitive, never extractable, local\n";
    assert_eq!(objects.matches(guarded).count(), keys, "{objects}");

    no_value_comes_out(&hsm, &objects);

    let gateway = start(&hsm, &place).await;
    let ann = gateway.client_with(&place.api_key, 0).await;
    let opened = act(&ann, &id, "unwrap", json!({"ciphertext": wrapped})).await;
    assert_eq!(opened["plaintext"], plaintext.as_str(), "a token keeps its keys");
    let deleted = ann.send("DELETE", &format!("/keys/{id}"), None).await;
    assert!(deleted.status < 300, "{deleted:?}");
    let gone = ann.send("POST", &format!("/keys/{id}/actions/wrap"), Some(json!({"plaintext": plaintext}))).await;
    assert_eq!(gone.status, 410, "{gone:?}");
    assert_eq!(gateway.stop().await, Some(0));
    let log = std::fs::read_to_string(place.path().join("log")).unwrap();
    assert!(!log.contains(PIN), "no PIN is in the log");
}

#[tokio::test]
async fn a_wrapped_key_has_its_life_through_http() {
    a_life_through_http("wrapped").await;
}

#[tokio::test]
async fn a_key_in_the_token_has_its_life_through_http() {
    a_life_through_http("token").await;
}

fn check(hsm: &SoftHsm, place: &Place) -> (bool, String) {
    let file = place.path().join("plugins.toml");
    let mut command = Command::new(program());
    let output = command.args(["check", "--config"]).arg(file).env("SOFTHSM2_CONF", hsm.conf()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_check_connects_and_says_what_is_wrong_with_a_token() {
    let hsm = SoftHsm::new(&["keygate"]);
    let place = configured(&hsm, "wrapped");
    let (sound, text) = check(&hsm, &place);
    assert!(sound, "{text}");
    let file = place.path().join("plugins.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    for (from, to, words) in [
        ("label = \"keygate\"", "label = \"nobody\"", ["step tokens", "nobody"]),
        ("libsofthsm2.so", "libnothing.so", ["step tokens", "libnothing.so"]),
        ("pkcs11 = [\"hsm\"]", "pkcs11 = [\"hms\"]", ["step manifest", "`hms`"]),
        ("token = \"hsm\"", "token = \"other\"", ["plugin `softhsm`", "`other`"]),
        ("name = \"hsm\"", "naem = \"hsm\"", ["tokens[0].naem", "did you mean `name`?"]),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let (sound, text) = check(&hsm, &place);
        assert!(!sound && words.iter().all(|word| text.contains(word)), "{to}: {text}");
    }
    std::fs::write(&file, &good).unwrap();
    std::fs::write(hsm.pin(), "falsch-0815").unwrap();
    let (sound, text) = check(&hsm, &place);
    assert!(!sound && text.contains("CKR_PIN_INCORRECT") && !text.contains("falsch"), "{text}");
}
