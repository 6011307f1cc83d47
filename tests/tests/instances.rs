//! Instances that are provisioned on a running gateway, the crypto instances behind some of them, and who may do what with both.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use keygate_tests::Gateway;
use keygate_tests::configured::{INSTANCE, Place, builtin, new_api_key};
use keygate_tests::gateway::{Client, Reply, create_body, program, reply};
use serde_json::{Value, json};

const CRYPTO: &str = "fadedbee-0000-4000-8000-0000000000c1";
const NOBODYS: &str = "fadedbee-0000-4000-8000-0000000000ff";

/// A place, and the API keys of who is there.
struct House {
    place: Place,
    more: String,
    root: String,
    viewer: String,
    /// Manager of everything.
    manager: String,
    /// Reader of the crypto instance.
    reader: String,
}

impl House {
    fn new() -> Self {
        let mut more = format!(
            "[limits]\nimport_keys_ready = 0\n[runtime]\ncache_dir = \"compiled\"\n\
             [[backends]]\nname = \"other\"\nplugin = \"aes-gcm\"\n\
             [[backends]]\nname = \"third\"\nplugin = \"aes-gcm\"\n\
             [[crypto_instances]]\nid = \"{CRYPTO}\"\nname = \"hsm one\"\nregion = \"us-south\"\naccount = \"acme\"\n\
             backend = \"other\"\n"
        );
        let mut identity = |name: &str, roles: &str| {
            let (api_key, hash) = new_api_key();
            more += &format!(
                "[[iam.identities]]\nid = \"IBMid-{name}\"\napi_key_hashes = [\"{hash}\"]\nroles = [{{ {roles} }}]\n"
            );
            api_key
        };
        let root = identity("root", "roles = [\"Administrator\"]");
        let viewer = identity("viewer", "roles = [\"Viewer\"]");
        let manager = identity("manager", "roles = [\"Manager\"]");
        let reader = identity("reader", &format!("roles = [\"Reader\"], instance = \"{CRYPTO}\""));
        Self { place: Place::new(), more, root, viewer, manager, reader }
    }

    fn write(&self) -> PathBuf {
        self.place.write(&[builtin("aes-gcm"), builtin("access"), self.more.clone()].concat(), r#"["access"]"#)
    }

    async fn start(&self) -> Gateway {
        Gateway::start_configured(&self.write()).await
    }

    /// Runs `keygate instance` as root.
    fn cli(&self, gateway: &Gateway, arguments: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.arg("instance").args(arguments).env("KEYGATE_URL", &gateway.ready.url);
        command.env("KEYGATE_API_KEY", &self.root).output().expect("keygate runs")
    }
}

/// Asks for something that is under no instance.
async fn ask(client: &Client, method: &str, path: &str, body: Option<Value>) -> Reply {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = reqwest::Client::new().request(method, format!("{}{path}", client.url)).bearer_auth(&client.token);
    reply(match body {
        Some(body) => request.body(body.to_string()),
        None => request,
    })
    .await
}

fn input(binding: (&str, &str)) -> Value {
    let mut body = json!({"name": "new", "region": "eu-de", "account": "acme"});
    body[binding.0] = json!(binding.1);
    body
}

fn id_of(reply: &Reply) -> String {
    reply.resource()["id"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

fn within(client: &Client, instance: &str) -> Client {
    let mut client = client.clone();
    instance.clone_into(&mut client.instance);
    client
}

#[tokio::test]
async fn a_provisioned_instance_lives_and_tenants_stay_apart() {
    let house = House::new();
    let gateway = house.start().await;
    let root = gateway.client_with(&house.root, 0).await;
    let made = ask(&root, "POST", "/keygate/v1/instances", Some(input(("backend", "software")))).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.headers["content-type"], "application/vnd.keygate.instance+json");
    let id = id_of(&made);
    let told = made.resource();
    assert_eq!((&told["source"], &told["backend"]), (&json!("api"), &json!("software")));
    assert_eq!(told["crn"], format!("crn:v1:bluemix:public:kms:eu-de:a/acme:{id}::"));

    let manager = within(&gateway.client_with(&house.manager, 0).await, &id);
    let key = manager.create_root_key("k").await;
    let wrapped = manager.send("POST", &format!("/keys/{key}/actions/wrap"), Some(json!({}))).await;
    assert_eq!(wrapped.status, 200, "usable at once: {wrapped:?}");
    let elsewhere = within(&manager, INSTANCE).send("GET", &format!("/keys/{key}/metadata"), None).await;
    assert_eq!(elsewhere.status, 404, "{elsewhere:?}");
    let ann = within(&gateway.client_with(&house.place.api_key, 0).await, &id);
    assert_eq!(ann.send("GET", "/keys", None).await.status, 401, "a role on another instance is none here");
    assert_eq!(within(&root, &id).send("GET", "/keys", None).await.status, 401, "an Administrator has no keys");

    let path = format!("/keygate/v1/instances/{id}");
    let full = ask(&root, "DELETE", &path, None).await;
    assert_eq!((full.status, full.code()), (409, "INSTANCE_NOT_EMPTY_ERR"));
    assert!(full.body.to_string().contains("has 1 keys"), "{full:?}");
    assert_eq!(gateway.stop().await, Some(0));

    let gateway = house.start().await;
    let root = gateway.client_with(&house.root, 0).await;
    let manager = within(&gateway.client_with(&house.manager, 0).await, &id);
    let ciphertext = json!({"ciphertext": wrapped.body["ciphertext"]});
    let opened = manager.send("POST", &format!("/keys/{key}/actions/unwrap"), Some(ciphertext)).await;
    assert_eq!((opened.status, &opened.body["plaintext"]), (200, &wrapped.body["plaintext"]), "after a restart");
    let bound = ask(&root, "PATCH", &path, Some(json!({"name": "moved", "backend": "third"}))).await;
    assert_eq!((bound.status, &bound.resource()["backend"]), (200, &json!("third")), "{bound:?}");
    let evaded = ask(&root, "PATCH", &path, Some(json!({"backend": "other"}))).await;
    assert_eq!((evaded.status, evaded.code()), (400, "INVALID_FIELD_ERR"), "it is a crypto instance: {evaded:?}");
    manager.create_root_key("on the other").await;
    let opened = manager.send("POST", &format!("/keys/{key}/actions/wrap"), Some(json!({}))).await;
    assert_eq!(opened.status, 200, "what is there stays where it is: {opened:?}");

    let empty = id_of(&ask(&root, "POST", "/keygate/v1/instances", Some(input(("backend", "third")))).await);
    let path = format!("/keygate/v1/instances/{empty}");
    assert_eq!(ask(&root, "DELETE", &path, None).await.status, 204);
    assert_eq!(ask(&root, "GET", &path, None).await.status, 404);
    assert_eq!(within(&manager, &empty).send("POST", "/keys", Some(create_body("x", false))).await.status, 404);
    let listed = ask(&root, "GET", "/keygate/v1/instances", None).await;
    assert_eq!(listed.body["metadata"]["collectionTotal"], 2, "{listed:?}");

    let audit = fs::read_to_string(house.place.path().join("audit.jsonl")).unwrap();
    for action in ["create", "bind", "delete", "read", "list"] {
        assert!(audit.contains(&format!("\"keygate.instances.{action}\"")), "{action} is in the audit log");
    }
}

#[tokio::test]
async fn an_instance_of_a_crypto_instance_uses_it_only_while_it_is_authorized() {
    let house = House::new();
    let gateway = house.start().await;
    let (root, reader) = (gateway.client_with(&house.root, 0).await, gateway.client_with(&house.reader, 0).await);
    let information = ask(&reader, "GET", &format!("/crypto_v1/instances/{CRYPTO}"), None).await;
    assert_eq!(information.status, 200, "{information:?}");
    assert_eq!(information.resource()["backend"]["plugin"], "aes-gcm");
    assert_eq!(information.resource()["backend"]["digest"].as_str().unwrap().len(), 64);
    let listed = ask(&root, "GET", "/keygate/v1/crypto-instances", None).await;
    assert_eq!((listed.status, &listed.body), (200, &information.body), "to an Administrator the same is told");
    let mut body = json!({"name": "with an hsm", "region": "us-south", "account": "acme"});
    body["crypto_instance"] = information.body.clone();
    let made = ask(&root, "POST", "/keygate/v1/instances", Some(body)).await;
    assert_eq!((made.status, &made.resource()["authorized"]), (201, &json!(false)), "{made:?}");
    let id = id_of(&made);

    let manager = within(&gateway.client_with(&house.manager, 0).await, &id);
    let refused = manager.send("POST", "/keys", Some(create_body("k", false))).await;
    assert_eq!((refused.status, refused.code()), (403, "CRYPTO_INSTANCE_NOT_AUTHORIZED_ERR"), "{refused:?}");
    assert!(refused.body.to_string().contains(&format!("keygate instance authorize {id} {CRYPTO}")), "{refused:?}");
    let path = format!("/keygate/v1/authorizations/{id}/{CRYPTO}");
    for status in [201, 200] {
        assert_eq!(ask(&root, "PUT", &path, None).await.status, status);
    }
    let key = manager.create_root_key("k").await;
    let wrap = format!("/keys/{key}/actions/wrap");
    assert_eq!(manager.send("POST", &wrap, Some(json!({}))).await.status, 200);
    assert_eq!(ask(&root, "DELETE", &path, None).await.status, 204);
    let again = ask(&root, "DELETE", &path, None).await;
    assert_eq!((again.status, again.code()), (404, "AUTHORIZATION_NOT_FOUND_ERR"));
    let refused = manager.send("POST", &wrap, Some(json!({}))).await;
    assert_eq!((refused.status, refused.code()), (403, "CRYPTO_INSTANCE_NOT_AUTHORIZED_ERR"), "on use, too");
    assert_eq!(manager.send("GET", &format!("/keys/{key}/metadata"), None).await.status, 200, "metadata are there");
    assert_eq!(ask(&root, "PUT", &path, None).await.status, 201);
    assert_eq!(gateway.stop().await, Some(0));
    let gateway = house.start().await;
    let manager = within(&gateway.client_with(&house.manager, 0).await, &id);
    assert_eq!(manager.send("POST", &wrap, Some(json!({}))).await.status, 200, "an authorization outlives a restart");
}

#[tokio::test]
async fn who_may_not_learns_nothing_and_what_is_wrong_is_said() {
    let house = House::new();
    let gateway = house.start().await;
    let root = gateway.client_with(&house.root, 0).await;
    let viewer = gateway.client_with(&house.viewer, 0).await;
    let manager = gateway.client_with(&house.manager, 0).await;
    let ann = gateway.client_with(&house.place.api_key, 0).await;
    let one = format!("/keygate/v1/instances/{INSTANCE}");
    for (method, path) in [("GET", "/keygate/v1/instances"), ("GET", &one), ("GET", "/keygate/v1/authorizations")] {
        assert_eq!(ask(&viewer, method, path, None).await.status, 200, "{method} {path}");
        assert_eq!(ask(&manager, method, path, None).await.status, 401, "{method} {path}");
    }
    let pair = format!("/keygate/v1/authorizations/{INSTANCE}/{CRYPTO}");
    let changes =
        [("POST", "/keygate/v1/instances"), ("PATCH", &one), ("DELETE", &one), ("PUT", &pair), ("DELETE", &pair)];
    for (method, path) in [("GET", "/keygate/v1/crypto-instances")].into_iter().chain(changes) {
        for client in [&viewer, &manager] {
            assert_eq!(ask(client, method, path, Some(json!({"x": 1}))).await.status, 401, "{method} {path}");
        }
    }
    for id in [CRYPTO, NOBODYS] {
        let path = format!("/crypto_v1/instances/{id}");
        assert_eq!(ask(&ann, "GET", &path, None).await.status, 401, "a role elsewhere is none there");
        assert_eq!(ask(&root, "GET", &path, None).await.status, 401);
    }
    let wrong = |method: &'static str, path: String, body: Option<Value>| {
        let root = root.clone();
        async move {
            let reply = ask(&root, method, &path, body).await;
            (reply.status, reply.code().to_owned())
        }
    };
    let instances = || "/keygate/v1/instances".to_owned();
    let nobodys = || format!("/keygate/v1/instances/{NOBODYS}");
    let to_nobody = format!("/keygate/v1/authorizations/{INSTANCE}/{NOBODYS}");
    let told = |status, code: &str| (status, code.to_owned());
    assert_eq!(wrong("GET", nobodys(), None).await, told(404, "INSTANCE_NOT_FOUND_ERR"));
    assert_eq!(wrong("DELETE", nobodys(), None).await, told(404, "INSTANCE_NOT_FOUND_ERR"));
    assert_eq!(wrong("GET", "/keygate/v1/instances/x".to_owned(), None).await, told(400, "INVALID_PATH_PARAM_ERR"));
    assert_eq!(wrong("DELETE", one.clone(), None).await, told(409, "INSTANCE_CONFIGURED_ERR"));
    assert_eq!(wrong("PATCH", one.clone(), Some(json!({"name": "x"}))).await, told(409, "INSTANCE_CONFIGURED_ERR"));
    assert_eq!(wrong("PUT", to_nobody, None).await, told(404, "CRYPTO_INSTANCE_NOT_FOUND_ERR"));
    assert_eq!(wrong("POST", instances(), None).await, told(400, "MISSING_FIELD_ERR"));
    assert_eq!(wrong("POST", instances(), Some(json!([]))).await, told(400, "BAD_BODY_ERR"));
    assert_eq!(wrong("POST", instances(), Some(input(("backend", "gone")))).await, told(400, "INVALID_FIELD_ERR"));
    assert_eq!(
        wrong("POST", instances(), Some(input(("crypto_instance", NOBODYS)))).await,
        told(400, "INVALID_FIELD_ERR")
    );
    let mut typo = input(("backend", "other"));
    typo["bakend"] = json!("software");
    assert_eq!(wrong("POST", instances(), Some(typo)).await, told(400, "INVALID_FIELD_ERR"));
    let everywhere = ask(&manager, "GET", &format!("/crypto_v1/instances/{NOBODYS}"), None).await;
    assert_eq!((everywhere.status, everywhere.code()), (404, "CRYPTO_INSTANCE_NOT_FOUND_ERR"));
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let house = House::new();
    let gateway = house.start().await;
    let json =
        |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let create =
        ["create", "--name", "by hand", "--region", "us-south", "--account", "acme", "--crypto-instance", CRYPTO];
    let made = json(&house.cli(&gateway, &[&create[..], &["--json"]].concat()));
    let id = made["resources"][0]["id"].as_str().unwrap().to_owned();
    let said = |arguments: &[&str]| {
        let output = house.cli(&gateway, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&["show", &id]).contains(&format!("keygate instance authorize {id} {CRYPTO}")));
    assert!(said(&["list"]).contains("NOT AUTHORIZED"));
    assert!(said(&["crypto"]).contains(CRYPTO));
    assert!(said(&["authorize", &id, CRYPTO]).contains("may use"));
    assert!(!said(&["list"]).contains("NOT AUTHORIZED"));
    assert!(said(&["revoke", &id, CRYPTO]).contains("not use"));
    assert!(said(&["bind", &id, "--backend", "software", "--name", "bound"]).contains("software"));
    assert!(said(&["delete", &id]).contains(&id));
    let refused = house.cli(&gateway, &["show", &id]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(told.contains("INSTANCE_NOT_FOUND_ERR") && told.contains("There is no instance with this id"), "{told}");
    let away = house.cli(&gateway, &["list", "--url", "http://127.0.0.1:1"]);
    assert_eq!(away.status.code(), Some(1), "{away:?}");
    let key = house.place.path().join("root.key");
    fs::write(&key, format!("{}\n", house.root)).unwrap();
    let asked = |mode: u32| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let mut from_file = Command::new(program());
        from_file.args(["instance", "list", "--url", &gateway.ready.url, "--api-key-file"]).arg(&key);
        from_file.env_remove("KEYGATE_API_KEY").output().unwrap()
    };
    assert!(asked(0o600).status.success());
    let open = asked(0o644);
    assert!(!open.status.success() && String::from_utf8_lossy(&open.stderr).contains("chmod 600"), "{open:?}");
}

#[tokio::test]
async fn a_reload_takes_what_the_configuration_has_of_instances() {
    let house = House::new();
    let gateway = house.start().await;
    let root = gateway.client_with(&house.root, 0).await;
    let file = house.write();
    let text = fs::read_to_string(&file).unwrap();
    let changed =
        text.replace("name = \"first\"", "name = \"renamed\"").replace("backend = \"software\"", "backend = \"other\"");
    fs::write(&file, changed).unwrap();
    let reloaded = ask(&root, "POST", "/keygate/v1/reload", None).await;
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    let one = ask(&root, "GET", &format!("/keygate/v1/instances/{INSTANCE}"), None).await;
    let told = one.resource();
    assert_eq!(
        (&told["name"], &told["backend"], &told["source"]),
        (&json!("renamed"), &json!("other"), &json!("configuration"))
    );
}

#[tokio::test]
async fn nothing_takes_a_provisioned_instances_place_from_under_it() {
    let house = House::new();
    let gateway = house.start().await;
    let root = gateway.client_with(&house.root, 0).await;
    let id = id_of(&ask(&root, "POST", "/keygate/v1/instances", Some(input(("crypto_instance", CRYPTO)))).await);
    assert_eq!(ask(&root, "PUT", &format!("/keygate/v1/authorizations/{id}/{CRYPTO}"), None).await.status, 201);
    let manager = within(&gateway.client_with(&house.manager, 0).await, &id);
    let wrap = format!("/keys/{}/actions/wrap", manager.create_root_key("k").await);
    let file = house.write();
    let whole = fs::read_to_string(&file).unwrap();
    let (before, crypto) = whole.split_once("[[crypto_instances]]").unwrap();
    let after = crypto.split_once("[[").map_or("", |(_, after)| after);
    let without = format!("{before}[[{after}");
    let other = whole
        .replace("backend = \"other\"", "backend = \"third\"")
        .replace("[[backends]]\nname = \"other\"\nplugin = \"aes-gcm\"\n", "");
    let shared = whole.replace(CRYPTO, &id);
    for (text, words) in [
        (&without, "needs a crypto instance that is gone"),
        (&other, "makes keys on the backend `other` until now"),
        (&shared, "has the id of an instance"),
    ] {
        fs::write(&file, text).unwrap();
        let refused = ask(&root, "POST", "/keygate/v1/reload", None).await;
        assert_eq!((refused.status, refused.code()), (422, "RELOAD_REFUSED_ERR"), "{words}: {refused:?}");
        assert!(refused.body.to_string().contains(words), "{words}: {refused:?}");
        assert_eq!(manager.send("POST", &wrap, Some(json!({}))).await.status, 200, "{words}: it goes on as before");
    }
    assert_eq!(gateway.stop().await, Some(0));
    let started = Command::new(program()).args(["serve", "--config"]).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success() && told.contains("has the id of an instance"), "{started:?}");
    // Without its place the gateway starts, and nothing is made there; back in it, all is as it was.
    for (text, status) in [(&without, 503), (&whole, 201)] {
        fs::write(&file, text).unwrap();
        let gateway = Gateway::start_configured(&file).await;
        let manager = within(&gateway.client_with(&house.manager, 0).await, &id);
        assert_eq!(manager.send("GET", "/keys", None).await.body["metadata"]["collectionTotal"], 1);
        let made = manager.send("POST", "/keys", Some(create_body("another", false))).await;
        assert_eq!(made.status, status, "{made:?}");
        assert_eq!(manager.send("POST", &wrap, Some(json!({}))).await.status, 200, "what is on the backend is there");
        assert_eq!(gateway.stop().await, Some(0));
    }
}
