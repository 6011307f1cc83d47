//! The examples at work: each of the four rules that authors start from, in the language that it is written in, in one chain
//! of one gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use keygate_tests::Gateway;
use keygate_tests::configured::{INSTANCE, Place, builtin, component, entry, new_api_key};
use keygate_tests::gateway::{Client, Reply, create_body, reply};
use serde_json::{Value, json};

const PLAIN: &str = "{ log = true }";
const INTERPRETED: &str = "{ log = true, wasi-minimal = true }";

/// Somebody else with an API key, as a table of the configuration.
fn identity(name: &str, more: &str) -> (String, String) {
    let (api_key, hash) = new_api_key();
    let table = format!("[[iam.identities]]\nid = \"IBMid-{name}\"\napi_key_hashes = [\"{hash}\"]\n{more}\n");
    (api_key, table)
}

/// The entries of the rules. Nobody unwraps but in an hour that is not this one nor the next.
fn rules(place: &Path) -> String {
    fs::create_dir(place.join("rules")).unwrap();
    let worked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policy-rules/rules");
    fs::copy(worked.join("no-export.cedar"), place.join("rules/no-export.cedar")).unwrap();
    let small = "@obligation(\"max-data-bytes=16\")\npermit (principal, action == Action::\"kms.secrets.wrap\", \
                 resource in Ring::\"payroll\");\n";
    fs::write(place.join("rules/small.cedar"), small).unwrap();
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3_600;
    let hours = format!("{:02}:00-{:02}:00", (hour + 3) % 24, (hour + 4) % 24);
    let days = r#"["mon", "tue", "wed", "thu", "fri", "sat", "sun"]"#;
    let example = |name: &str| component(&format!("examples/{name}.wasm"));
    [
        builtin("aes-gcm"),
        builtin("access"),
        entry("policy-rules", &component("policy-rules.wasm"), "policy-rule", PLAIN),
        "limits = { deadline = \"30s\", memory = \"32MiB\" }\nsettings_files = { policies = [\"rules/*.cedar\"] }\n"
            .into(),
        entry("office-hours", &example("office-hours"), "policy-rule", PLAIN),
        format!("settings = {{ hours = \"{hours}\", days = {days}, utc_offset = \"+00:00\" }}\n"),
        entry("pci-network", &example("pci-network"), "policy-rule", INTERPRETED),
        "limits = { deadline = \"30s\", memory = \"128MiB\" }\nsettings = { networks = [\"10.0.0.0/8\"] }\n".into(),
        entry("two-managers", &example("two-managers"), "policy-rule", INTERPRETED),
        "limits = { deadline = \"30s\", memory = \"128MiB\" }\nsettings = { rings = [\"prod\"] }\n".into(),
    ]
    .concat()
}

const CHAIN: &str = r#"[
    "access", "policy-rules", "office-hours", "pci-network",
    { rule = "two-managers", actions = ["kms.secrets.*"], rings = ["prod"] },
]"#;

async fn create(client: &Client, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let request = headers.iter().fold(client.request("POST", "/keys"), |r, (name, value)| r.header(*name, *value));
    reply(request.body(body.to_string())).await
}

async fn made(client: &Client, body: &Value, ring: &str) -> String {
    let made = create(client, body, &[("X-Kms-Key-Ring", ring)]).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.resource()["id"].as_str().unwrap().to_owned()
}

fn is(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code()), (status, code), "{reply:?}");
}

async fn act(client: &Client, key: &str, action: &str, body: Value) -> Reply {
    client.send("POST", &format!("/keys/{key}/actions/{action}"), Some(body)).await
}

#[tokio::test]
async fn the_four_rules_work_against_a_running_gateway() {
    let place = Place::new();
    let assigned = |roles: &str| format!("roles = [{{ roles = [{roles}], instance = \"{INSTANCE}\" }}]");
    let (bob, bobs) = identity("bob", &assigned("\"Manager\""));
    let (wanda, wandas) = identity("wanda", &assigned("\"Writer\""));
    let (carl, carls) = identity("carl", &assigned("\"Manager\", \"ReaderPlus\", \"contractor\""));
    // What compiling the interpreters took once is kept for the next run.
    let cache = std::env::var_os("KEYGATE_TEST_AUTHORS")
        .map_or(place.path().join("compiled"), |d| Path::new(&d).join("served"));
    fs::create_dir_all(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    let runtime = format!(
        "[runtime]\ncache_dir = \"{}\"\nmax_sandboxes = 16\n[limits]\nimport_keys_ready = 0\n",
        cache.display()
    );
    let config = place.write(&[rules(place.path()), bobs, wandas, carls, runtime].concat(), CHAIN);
    let gateway = Gateway::start_configured(&config).await;
    let ann = gateway.client_with(&place.api_key, 0).await;
    for ring in ["prod", "payroll"] {
        assert_eq!(ann.send("POST", &format!("/key_rings/{ring}"), None).await.status, 201);
    }

    no_export(&ann, &gateway.client_with(&carl, 0).await).await;
    office_hours(&ann).await;
    pci_network(&ann).await;
    two_managers(&ann, &gateway.client_with(&bob, 0).await, &gateway.client_with(&wanda, 0).await).await;
    assert_eq!(gateway.stop().await, Some(0));
}

/// Cedar, for the built-in rule.
async fn no_export(ann: &Client, carl: &Client) {
    let standard = made(ann, &create_body("standard", true), "default").await;
    assert_eq!(ann.send("GET", &format!("/keys/{standard}"), None).await.status, 200);
    is(&carl.send("GET", &format!("/keys/{standard}"), None).await, 403, "NO_EXPORT_ERR");
    let returned = create(carl, &create_body("mine", true), &[("Prefer", "return=representation")]).await;
    is(&returned, 403, "NO_EXPORT_ERR");
    let root = made(carl, &create_body("root", false), "default").await;
    assert_eq!(act(carl, &root, "wrap", json!({})).await.status, 200, "contractors use keys");
    // And an obligation of the same rule, kept by the gateway.
    let payroll = made(ann, &create_body("payroll", false), "payroll").await;
    let of = |bytes: usize| json!({"plaintext": keygate_core::encoding::encode(&vec![7; bytes])});
    assert_eq!(act(ann, &payroll, "wrap", of(16)).await.status, 200);
    is(&act(ann, &payroll, "wrap", of(17)).await, 403, "DATA_TOO_LARGE_ERR");
}

/// Rust.
async fn office_hours(ann: &Client) {
    let key = made(ann, &create_body("hours", false), "default").await;
    let wrapped = act(ann, &key, "wrap", json!({})).await;
    assert_eq!(wrapped.status, 200, "{wrapped:?}");
    let ciphertext = wrapped.body["ciphertext"].clone();
    is(&act(ann, &key, "unwrap", json!({"ciphertext": ciphertext})).await, 403, "OFFICE_HOURS_ERR");
}

/// JavaScript.
async fn pci_network(ann: &Client) {
    let mut body = create_body("cards", false);
    body["resources"][0]["tags"] = json!(["pci"]);
    let made = create(ann, &body, &[]).await;
    let key = made.resource()["id"].as_str().unwrap().to_owned();
    is(&act(ann, &key, "wrap", json!({})).await, 403, "PCI_NETWORK_ERR");
}

/// Python.
async fn two_managers(ann: &Client, bob: &Client, wanda: &Client) {
    let key = made(ann, &create_body("ledger", false), "prod").await;
    is(&act(wanda, &key, "setKeyForDeletion", json!({})).await, 403, "TWO_MANAGERS_ERR");
    let path = format!("/keys/{key}");
    is(&ann.send("DELETE", &path, None).await, 409, "AUTHORIZATIONS_NOT_MET");
    is(&ann.send("PATCH", &path, Some(json!({"keyRingID": "default"}))).await, 403, "TWO_MANAGERS_ERR");
    assert_eq!(act(ann, &key, "setKeyForDeletion", json!({})).await.status, 204);
    is(&ann.send("DELETE", &path, None).await, 409, "AUTHORIZATIONS_NOT_MET");
    assert!(matches!(bob.send("DELETE", &path, None).await.status, 200 | 204));
}
