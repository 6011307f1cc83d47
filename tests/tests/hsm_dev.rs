//! Dev mode on a token: `keygate serve --dev --backend softhsm` makes one, and finds it again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use keygate_tests::gateway::{Client, program, reply};
use keygate_tests::softhsm::SoftHsm;
use keygate_tests::{Gateway, Keeping};
use serde_json::{Value, json};

async fn act(client: &Client, id: &str, action: &str, body: Value) -> Value {
    let answer = client.send("POST", &format!("/keys/{id}/actions/{action}"), Some(body)).await;
    assert!(answer.status < 300, "{action}: {answer:?}");
    answer.body
}

/// The ids that `pkcs11-tool` shows of the token in a data directory: the command that its configuration says, and the PIN.
fn objects(data: &Path) -> Vec<String> {
    let pin = fs::read_to_string(data.join("token-pin")).unwrap();
    let shown = Command::new("pkcs11-tool")
        .env("SOFTHSM2_CONF", data.join("softhsm2.conf"))
        .arg("--module")
        .arg(SoftHsm::module())
        .args(["--token-label", "keygate-dev", "--login", "--pin", &pin, "--list-objects", "--type", "secrkey"])
        .output()
        .expect("pkcs11-tool runs: `apt-get install opensc`");
    assert!(shown.status.success(), "{shown:?}");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let mut ids: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("ID:")).map(|id| id.trim().to_owned()).collect();
    assert_eq!(text.matches("sensitive, always sensitive, never extractable, local").count(), ids.len(), "{text}");
    ids.sort();
    ids
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Both instances are on the token, which is found again by the next gateway, also by one whose new keys are elsewhere.
async fn dev_mode_keeps_its_keys(keeping: Keeping, of_token: usize) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let start = async || {
        let arguments = keeping.arguments(directory.path());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Gateway::start_in_with(&data, &arguments).await
    };
    let gateway = start().await;
    let plaintext = keygate_core::encoding::encode(b"thirty-two bytes of a data key..");
    let mut made = Vec::new();
    for instance in [0, 1] {
        let client = gateway.client(if instance == 0 { "manager" } else { "manager2" }, instance).await;
        let id = client.create_root_key("on a token").await;
        let wrapped = act(&client, &id, "wrap", json!({"plaintext": plaintext})).await["ciphertext"].clone();
        made.push((id, wrapped));
    }
    let ready = reply(reqwest::Client::new().get(format!("{}/readyz", gateway.ready.url))).await;
    assert_eq!((ready.status, &ready.body["tokens"][0]["status"]), (200, &json!("ok")), "{ready:?}");
    assert_eq!(gateway.stop().await, Some(0));
    assert_eq!(
        [data.as_path(), &data.join("tokens"), &data.join("token-pin")].map(mode),
        [0o700, 0o700, 0o600],
        "nobody else can look into it"
    );
    let listed = objects(&data);
    assert_eq!(listed.len(), of_token, "{listed:?}");

    let gateway = start().await;
    for (instance, (id, wrapped)) in made.iter().enumerate() {
        let client = gateway.client(if instance == 0 { "manager" } else { "manager2" }, instance).await;
        let opened = act(&client, id, "unwrap", json!({"ciphertext": wrapped})).await;
        assert_eq!(opened["plaintext"], plaintext.as_str(), "a second start finds token and keys");
    }
    assert_eq!(gateway.stop().await, Some(0));
    assert_eq!(objects(&data), listed, "and makes nothing anew");

    let gateway = Gateway::start_in(&data).await;
    let client = gateway.client("manager", 0).await;
    let opened = act(&client, &made[0].0, "unwrap", json!({"ciphertext": made[0].1})).await;
    assert_eq!(opened["plaintext"], plaintext.as_str(), "keys of the token are there without --backend");
    client.create_root_key("in software").await;
    assert_eq!(gateway.stop().await, Some(0));
    // Ids of root keys begin with `KG1`; the plugin may have made one of its own for what it tries at each start.
    let roots = |ids: Vec<String>| ids.into_iter().filter(|id| id.starts_with("4b4731")).collect::<Vec<_>>();
    assert_eq!(roots(objects(&data)), roots(listed), "and new ones are where it says");
}

#[tokio::test]
async fn dev_mode_keeps_wrapped_keys_from_start_to_start() {
    // The plugin's own two.
    dev_mode_keeps_its_keys(Keeping::Wrapped, 2).await;
}

#[tokio::test]
async fn dev_mode_keeps_keys_in_its_token_from_start_to_start() {
    // A root key in each instance and the sealing key, by which the token is known; the one that the plugin tries the token
    // with at each load is gone.
    dev_mode_keeps_its_keys(Keeping::Token, 3).await;
}

#[tokio::test]
async fn a_gateway_without_a_data_directory_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let there = || fs::read_dir(temporary.path()).unwrap().count();
    let directory = temporary.path().to_str().unwrap().to_owned();
    let mut gateway = tokio::process::Command::new(program());
    gateway.args(["serve", "--dev", "--backend", "softhsm", "--json", "--listen", "127.0.0.1:0"]);
    gateway.env("TMPDIR", &directory).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut child = gateway.spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let line = lines.next_line().await.unwrap().expect("it says that it is ready");
    assert!(line.contains("\"api_keys\""), "{line}");
    assert_eq!(there(), 1);
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().await.unwrap().success());
    assert_eq!(there(), 0, "the directory with the token is gone");
}

fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } =
        Command::new(program()).args(["serve", "--dev"]).args(arguments).output().unwrap();
    assert!(!status.success());
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn who_asks_for_what_is_not_there_is_told_what_there_is() {
    let text = refused(&["--backend", "sofhtsm"]);
    assert!(text.contains("did you mean `softhsm`?") && text.contains("aes-gcm"), "{text}");
    let text = refused(&["--backend", "softhsm", "--module", "/nowhere/libsofthsm2.so"]);
    assert!(text.contains("apt-get install softhsm2") && text.contains("/nowhere/libsofthsm2.so"), "{text}");
    let text = refused(&["--backend", "softhsm", "--keep", "nowhere"]);
    assert!(text.contains("token") && text.contains("wrapped"), "{text}");
}
