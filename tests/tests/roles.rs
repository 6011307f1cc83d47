//! Who may do what, over HTTP: `tests/data/roles.csv`, role by action, and `tests/data/scopes.csv`, roles on a part of an
//! instance.

mod grants;

use std::collections::BTreeSet;

use grants::{Asked, OTHER_INSTANCE, answers, is_the_refusal, place_with, told};
use keygate_tests::configured::INSTANCE;
use keygate_tests::gateway::{Client, Reply, reply};
use keygate_tests::table::{Row, Table};
use keygate_tests::{Gateway, configured};

/// The identity that a column of `roles.csv` is about.
fn identity(column: &str, instance: &str) -> String {
    match column {
        "nobody" => String::new(),
        "service" => format!("{{ roles = [\"Reader\"], instance = \"{instance}\" }}"),
        // The gateway itself is no part of an instance.
        "Administrator" => "{ roles = [\"Administrator\"] }".to_owned(),
        role => format!("{{ roles = [\"{role}\"], instance = \"{instance}\" }}"),
    }
}

/// A gateway with an identity for each column, which has its role on the first instance, and with somebody who prepares
/// what a row is about.
struct House {
    gateway: Gateway,
    manager: Client,
    service: Client,
    api_keys: Vec<String>,
    columns: Vec<String>,
    _place: configured::Place,
}

impl House {
    async fn new(table: &Table) -> Self {
        let columns = table.columns_from("Reader").to_vec();
        let grants: Vec<(&str, String)> =
            columns.iter().map(|column| (column.as_str(), identity(column, INSTANCE))).collect();
        let (place, api_keys) = place_with(&grants);
        let gateway = Gateway::start_configured(&place.path().join("plugins.toml")).await;
        let manager = gateway.client_with(&place.api_key, 0).await;
        let at = columns.iter().position(|column| column == "service").expect("a service");
        let service = gateway.client_with(&api_keys[at], 0).await;
        Self { gateway, manager, service, api_keys, columns, _place: place }
    }

    async fn client(&self, column: usize, instance: usize) -> Client {
        self.gateway.client_with(&self.api_keys[column], instance).await
    }

    async fn prepare(&self, row: Row<'_>) -> Asked {
        Asked::prepare(&self.manager, &self.service, row.get("given")).await
    }

    async fn ask(&self, client: &Client, row: Row<'_>) -> Reply {
        let asked = self.prepare(row).await;
        asked.send(client, row.get("method"), row.get("path"), None, asked.body(row.get("body"))).await
    }
}

#[tokio::test]
async fn every_role_may_do_what_the_table_says_and_no_more() {
    let table = Table::read("roles.csv");
    let house = House::new(&table).await;
    let mut problems = Vec::new();
    for (number, column) in house.columns.iter().enumerate() {
        let client = house.client(number, 0).await;
        for row in table.rows() {
            let reply = house.ask(&client, row).await;
            let wanted = match row.get(column) {
                "allowed" => row.get("answer"),
                refused => refused,
            };
            if !answers(&reply, wanted) {
                let (method, path) = (row.get("method"), row.get("path"));
                problems.push(format!("{column}: {method} {path}: {wanted} was to come, and {}", told(&reply)));
            }
        }
    }
    assert!(problems.is_empty(), "{} cells are wrong:\n{}", problems.len(), problems.join("\n"));
}

/// A path without its query, and with its parameters unnamed.
fn shape(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_method_that_is_described_has_a_row() {
    let gateway = Gateway::start().await;
    let described = reply(reqwest::Client::new().get(format!("{}/openapi.json", gateway.ready.url))).await;
    let table = Table::read("roles.csv");
    let rows: BTreeSet<_> = table.rows().map(|row| (row.get("method").to_owned(), shape(row.get("path")))).collect();
    let mut methods = 0;
    for (path, operations) in described.body["paths"].as_object().expect("paths") {
        if !path.starts_with("/api/") && !path.starts_with("/keygate/") {
            continue;
        }
        for method in operations.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
            methods += 1;
            assert!(rows.contains(&(method.to_uppercase(), shape(path))), "roles.csv says nothing of {method} {path}");
        }
    }
    assert!(methods >= 39, "only {methods} methods are described");
}

#[tokio::test]
async fn a_role_ends_at_its_instance() {
    let table = Table::read("roles.csv");
    let house = House::new(&table).await;
    let mut problems = Vec::new();
    for (number, column) in house.columns.iter().enumerate() {
        let elsewhere = house.client(number, 1).await;
        // One that does not exist is like one that is somebody else's.
        let mut nowhere = elsewhere.clone();
        "11111111-2222-4333-8444-555555555555".clone_into(&mut nowhere.instance);
        // A request about the gateway itself is not about the instance that it names.
        let about_gateway = |path: &str| path.starts_with("/keygate/v1/") && path != "/keygate/v1/events";
        for row in table.rows().filter(|row| !about_gateway(row.get("path")) || column != "Administrator") {
            let asked = house.prepare(row).await;
            for client in [&elsewhere, &nowhere] {
                let body = asked.body(row.get("body"));
                let reply = asked.send(client, row.get("method"), row.get("path"), None, body).await;
                if !is_the_refusal(&reply) {
                    let (method, path) = (row.get("method"), row.get("path"));
                    problems.push(format!("{column}: {method} {path} in {}: {}", client.instance, told(&reply)));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} answers are wrong:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test]
async fn who_may_not_gets_one_answer_whatever_is_asked_and_whatever_is_there() {
    let table = Table::read("roles.csv");
    let house = House::new(&table).await;
    let mut problems = Vec::new();
    for (number, column) in house.columns.iter().enumerate() {
        let client = house.client(number, 0).await;
        for row in table.rows().filter(|row| row.get(column) == "401") {
            let asked = house.prepare(row).await;
            let wrong_type = Some(r#"{"plaintext": 1, "ciphertext": 1, "resources": 1}"#.to_owned());
            for id in ["11111111-2222-4333-8444-555555555555", "no-such-alias", "a%20b"] {
                for body in [asked.body(row.get("body")), None, Some("{\"broken".to_owned()), wrong_type.clone()] {
                    let asked = asked.about(id);
                    let reply = asked.send(&client, row.get("method"), row.get("path"), None, body.clone()).await;
                    if !is_the_refusal(&reply) {
                        let (method, path) = (row.get("method"), row.get("path"));
                        problems.push(format!("{column}: {method} {path} of {id} with {body:?}: {}", told(&reply)));
                    }
                }
                if !row.get("path").contains("{id}") {
                    break;
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} answers are wrong:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test]
async fn what_is_wrong_around_a_request_is_no_answer_for_who_may_not() {
    let table = Table::read("roles.csv");
    let house = House::new(&table).await;
    for column in ["Reader", "nobody"] {
        let number = house.columns.iter().position(|name| name == column).expect("a column");
        let client = house.client(number, 0).await;
        let post = |path: &str| client.request("POST", path);
        for (what, request) in [
            ("a bad ring", post("/keys").header("X-Kms-Key-Ring", "a b").body("{}")),
            ("an encoding", post("/keys").header("Content-Encoding", "gzip").body("{}")),
            ("a long body", post("/keys").body(vec![b' '; (1 << 20) + 1])),
            ("a bad query", client.request("DELETE", "/keys/no-such-alias?force=perhaps")),
        ] {
            let reply = reply(request).await;
            assert!(is_the_refusal(&reply), "{column}: {what}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn who_has_no_token_gets_the_same_answer_everywhere() {
    let table = Table::read("roles.csv");
    let house = House::new(&table).await;
    for row in table.rows() {
        let asked = house.prepare(row).await;
        for body in [asked.body(row.get("body")), Some("{\"broken".to_owned())] {
            let method = reqwest::Method::from_bytes(row.get("method").as_bytes()).unwrap();
            let request = house.manager.http.request(method, asked.url(&house.manager, row.get("path")));
            let reply = reply(request.body(body.unwrap_or_default())).await;
            assert!(is_the_refusal(&reply), "{} {}: {reply:?}", row.get("method"), row.get("path"));
        }
    }
}

/// The rings and keys of `scopes.csv`.
struct Parts {
    mine: String,
    theirs: String,
}

impl Parts {
    async fn make(manager: &Client) -> Self {
        for ring in ["mine", "theirs"] {
            assert_eq!(manager.send("POST", &format!("/key_rings/{ring}"), None).await.status, 201);
        }
        let mine = Asked::key_in(manager, Some("mine")).await;
        assert_eq!(manager.send("POST", &format!("/keys/{mine}/aliases/my-alias"), None).await.status, 201);
        Self { mine, theirs: Asked::key_in(manager, Some("theirs")).await }
    }

    /// What those of the column `who` have been given.
    fn grants(&self) -> [(&'static str, String); 9] {
        let on = |role: &str, more: &str| format!("{{ roles = [\"{role}\"], instance = \"{INSTANCE}\"{more} }}");
        let key = format!(", key = \"{}\"", self.mine);
        let ring = |ring: &str| format!(", key_ring = \"{ring}\"");
        let manager_and = |other: String| format!("{}, {other}", on("Manager", &ring("mine")));
        [
            ("elsewhere", identity("Manager", OTHER_INSTANCE)),
            ("everywhere", "{ roles = [\"Reader\"] }".to_owned()),
            ("ring", on("Manager", &ring("mine"))),
            ("rings", manager_and(on("Manager", &ring("theirs")))),
            ("split", manager_and(on("Reader", &ring("theirs")))),
            ("key", on("Manager", &key)),
            ("key-in-ring", on("Manager", &format!("{key}{}", ring("theirs")))),
            ("reader-and-key", format!("{}, {}", on("Reader", ""), on("Manager", &key))),
            ("ring-reader", on("Reader", &ring("mine"))),
        ]
    }

    fn fill(&self, text: &str) -> String {
        let names = [
            ("{mine}", self.mine.as_str()),
            ("{theirs}", &self.theirs),
            ("{alias}", "my-alias"),
            ("{missing}", "11111111-2222-4333-8444-555555555555"),
        ];
        names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

#[tokio::test]
async fn a_role_on_a_part_of_an_instance_holds_there_and_nowhere_else() {
    // A role can be given on a key only once the key is there.
    let (place, _) = place_with(&[]);
    let config = place.path().join("plugins.toml");
    let gateway = Gateway::start_configured(&config).await;
    let parts = Parts::make(&gateway.client_with(&place.api_key, 0).await).await;
    assert_eq!(gateway.stop().await, Some(0));

    let grants = parts.grants();
    let api_keys = grants::give(&place, &grants);
    let gateway = Gateway::start_configured(&config).await;
    let asked = Asked::nothing();
    let mut problems = Vec::new();
    for row in Table::read("scopes.csv").rows() {
        let who = grants.iter().position(|(name, _)| *name == row.get("who")).expect("somebody of this name");
        let instance = usize::from(row.get("instance") == "2");
        let client = gateway.client_with(&api_keys[who], instance).await;
        let path = format!("/api/v2{}", parts.fill(row.get("path")));
        let header = Some(row.get("header")).filter(|header| *header != "-");
        let reply = asked.send(&client, row.get("method"), &path, header, asked.body(row.get("body"))).await;
        if !answers(&reply, row.get("answer")) {
            let (who, method, wanted) = (row.get("who"), row.get("method"), row.get("answer"));
            problems.push(format!("{who}: {method} {path} ({header:?}): {wanted} was to come, and {}", told(&reply)));
        }
    }
    assert!(problems.is_empty(), "{} rows are wrong:\n{}", problems.len(), problems.join("\n"));
}
