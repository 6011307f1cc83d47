//! By which door a request came and from where, as far as the gateway believes it; and the clock of dev mode.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use keygate_tests::Gateway;
use keygate_tests::configured::{INSTANCE, Place, builtin};
use keygate_tests::gateway::{program, reply};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The audit events so far.
fn events(gateway: &Gateway) -> Vec<Value> {
    let audit = fs::read_to_string(gateway.data().join("audit.jsonl")).unwrap();
    audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_private_endpoint_serves_the_same_api_and_is_told_apart() {
    let gateway = Gateway::start().await;
    let public = gateway.client("manager", 0).await;
    let private = public.by_private_endpoint(&gateway);
    assert_ne!(public.url, private.url);
    let id = private.create_root_key("made by the private endpoint").await;
    assert_eq!(public.send("GET", &format!("/keys/{id}"), None).await.status, 200);
    assert_eq!(private.send("GET", &format!("/keys/{id}"), None).await.status, 200);
    let hosts: Vec<_> = events(&gateway)
        .into_iter()
        .filter(|event| event["action"] == "kms.secrets.read")
        .map(|event| event["initiator"]["host"]["address"].clone())
        .collect();
    // In events of the private network there is no address: it is how they are told apart.
    assert_eq!(hosts, [json!("127.0.0.1"), Value::Null]);
    assert_eq!(gateway.stop().await, Some(0), "both doors close");
}

/// A connection that was accepted: a request on it was answered, and it stays open for more.
async fn taken(url: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: keygate\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn each_door_has_places_for_connections_of_its_own() {
    let gateway = Gateway::start_with(&[("KEYGATE__SERVER__MAX_CONNECTIONS", "2")], &[]).await;
    let health = format!("{}/healthz", gateway.ready.url);
    let (first, second) = (taken(&gateway.ready.url).await, taken(&gateway.ready.url).await);
    let mut waiting = tokio::spawn(async move { reqwest::get(health).await.unwrap().status().as_u16() });
    let early = timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "there was a third place: {early:?}");
    // Which keeps nobody from the other door.
    let private = gateway.ready.private_url.as_ref().unwrap();
    let patience = Duration::from_secs(20);
    let others = async { (taken(private).await, taken(private).await) };
    let others = timeout(patience, others).await.unwrap();
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(timeout(patience, waiting).await.unwrap().unwrap(), 200);
    drop((second, others));
}

#[tokio::test]
async fn an_instance_that_answers_nobody_is_told_of_at_the_start() {
    let place = Place::new();
    let file = place.write(&[builtin("aes-gcm"), builtin("access")].concat(), r#"["access"]"#);
    let public_only = fs::read_to_string(&file).unwrap();
    let both = public_only.replacen("[server]\n", "[server]\nprivate_listen = \"127.0.0.1:0\"\n", 1);
    let logged = |text: &str| {
        fs::write(&file, text).unwrap();
        log_of_a_start(&file)
    };
    fs::write(&file, &both).unwrap();
    let gateway = Gateway::start_configured(&file).await;
    let client = gateway.client_with(&place.api_key, 0).await.by_private_endpoint(&gateway);
    let kind = "application/vnd.ibm.kms.policy+json";
    let data = json!({"enabled": true, "attributes": {"allowed_network": "private-only"}});
    let body = json!({
        "metadata": {"collectionType": kind, "collectionTotal": 1},
        "resources": [{"type": kind, "policy_type": "allowedNetwork", "policy_data": data}],
    });
    let written = client.send("PUT", "/instance/policies", Some(body)).await;
    assert_eq!(written.status, 204, "{written:?}");
    assert_eq!(gateway.stop().await, Some(0));

    let with_a_private_door = logged(&both);
    assert!(!with_a_private_door.contains("answers nobody"), "{with_a_private_door}");
    let without = logged(&public_only);
    let told = without.lines().find(|line| line.contains("answers nobody")).expect(&without);
    assert!(told.contains(INSTANCE) && told.contains("server.private_listen"), "{told}");
}

/// What a gateway says on its standard error until it is ready.
fn log_of_a_start(config: &Path) -> String {
    let log = config.with_extension("log");
    let mut child = Command::new(program())
        .args(["serve", "--json", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    fs::read_to_string(log).unwrap()
}

#[tokio::test]
async fn without_a_private_endpoint_there_is_none_and_neither_is_the_clock_of_dev_mode() {
    let place = Place::new();
    let plugins = [builtin("aes-gcm"), builtin("access")].concat();
    let gateway = Gateway::start_configured(&place.write(&plugins, r#"["access"]"#)).await;
    assert_eq!(gateway.ready.private_url, None);
    let http = reqwest::Client::new();
    for (method, status) in [("POST", 404), ("GET", 404), ("PUT", 404)] {
        let request = http.request(method.parse().unwrap(), format!("{}/dev/clock", gateway.ready.url));
        let reply = reply(request.body(r#"{"advance": "4h"}"#)).await;
        assert_eq!((reply.status, reply.code()), (status, "NOT_FOUND_ERR"), "{method}");
    }
}

/// The addresses of whoever read keys, in the order in which they did.
async fn addresses_told(gateway: &Gateway, api_key: &str, sent: &[&[&str]]) -> Vec<String> {
    let client = gateway.client_with(api_key, 0).await;
    for values in sent {
        let request =
            values.iter().fold(client.request("HEAD", "/keys"), |r, value| r.header("X-Forwarded-For", *value));
        assert_eq!(reply(request).await.status, 200);
    }
    let heads = events(gateway).into_iter().filter(|event| event["action"] == "kms.secrets.head");
    heads.map(|event| event["initiator"]["host"]["address"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_about_its_client() {
    let place = Place::new();
    let file = place.write(&[builtin("aes-gcm"), builtin("access")].concat(), r#"["access"]"#);
    let sent: &[&[&str]] = &[
        &[],
        &["203.0.113.7"],
        &["198.51.100.9, 203.0.113.7"],
        &["198.51.100.9", "[2001:db8::1]:4711, 127.0.0.9"],
        &["203.0.113.7, unknown"],
    ];
    let gateway = Gateway::start_configured(&file).await;
    let told = addresses_told(&gateway, &place.api_key, sent).await;
    assert_eq!(told, ["127.0.0.1"; 5], "nobody is trusted, so the header is anybody's");
    assert_eq!(gateway.stop().await, Some(0));

    let trusting = fs::read_to_string(&file).unwrap();
    let trusting = trusting.replacen("[server]\n", "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n", 1);
    fs::write(&file, trusting).unwrap();
    let gateway = Gateway::start_configured(&file).await;
    let told = addresses_told(&gateway, &place.api_key, sent).await;
    assert_eq!(told[5..], ["127.0.0.1", "203.0.113.7", "203.0.113.7", "2001:db8::1", "127.0.0.1"]);
}

#[tokio::test]
async fn the_clock_of_dev_mode_goes_forward_and_takes_everything_with_it() {
    let gateway = Gateway::start().await;
    let before = gateway.client("manager", 0).await;
    let start = gateway.travel("0s").await;
    let later = gateway.travel("90m").await;
    assert!(later > start, "{later} is not after {start}");
    let lapsed = before.send("GET", "/keys", None).await;
    assert_eq!(lapsed.status, 401, "an access token holds for an hour: {lapsed:?}");
    let now = gateway.client("manager", 0).await;
    let id = now.create_root_key("from the future").await;
    let created = now.send("GET", &format!("/keys/{id}/metadata"), None).await;
    assert!(created.resource()["creationDate"].as_str().unwrap() >= later.as_str(), "{created:?}");
    let ready = reply(now.http.get(format!("{}/readyz", gateway.ready.url))).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    for body in
        ["", "{}", "4h", r#"{"advance": "4"}"#, r#"{"advance": 4}"#, r#"{"advance": "-4h"}"#, r#"{"advence": "4h"}"#]
    {
        let reply = reply(now.http.post(format!("{}/dev/clock", gateway.ready.url)).body(body)).await;
        assert_eq!((reply.status, reply.code()), (400, "BAD_BODY_ERR"), "{body}");
    }
    let long = reply(now.http.post(format!("{}/dev/clock", gateway.ready.url)).body(" ".repeat(5000))).await;
    assert_eq!(long.status, 400);
    assert_eq!(reply(now.http.get(format!("{}/dev/clock", gateway.ready.url))).await.status, 405);
    let journeys: Vec<_> =
        events(&gateway).into_iter().filter(|event| event["action"] == "keygate.dev-clock.advance").collect();
    assert_eq!(journeys.iter().filter(|event| event["outcome"] == "success").count(), 2);
    assert_eq!(journeys.iter().filter(|event| event["outcome"] == "failure").count(), 8);
}
