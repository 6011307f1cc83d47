//! What each state lets be done to each kind of key: `tests/data/states.csv`, over HTTP, with a clock that is moved.

use keygate_core::clock::Timestamp;
use keygate_core::encoding::encode;
use keygate_tests::Gateway;
use keygate_tests::gateway::{Client, Reply, create_body};
use keygate_tests::table::{Row, Table};
use serde_json::{Value, json};

const CRN: &str = "crn%3Av1%3Abluemix%3Apublic%3Acloud-object-storage%3Aglobal%3Aa%2Facme%3A1%3A%3A";

/// Who does it. Access tokens do not outlive a journey, so there are new ones after each.
struct Hands {
    manager: Client,
    /// A Manager too, and a holder of KeyPurge.
    second: Client,
    service: Client,
}

impl Hands {
    async fn of(gateway: &Gateway) -> Self {
        let client = |name: &'static str| gateway.client(name, 0);
        Self { manager: client("manager").await, second: client("manager2").await, service: client("service").await }
    }
}

/// A key of a row, as it was made.
#[derive(Clone, Default)]
struct Made {
    id: String,
    ciphertext: Value,
}

impl Made {
    /// One that never was.
    fn missing() -> Self {
        Self { id: "11111111-2222-4333-8444-555555555555".to_owned(), ciphertext: Value::Null }
    }

    /// Makes an Active key as a row wants it.
    async fn new(hands: &Hands, row: Row<'_>, expires: Option<&str>) -> Self {
        let kind = row.get("kind");
        let mut body = create_body("of the table", kind == "standard");
        let resource = &mut body["resources"][0];
        if kind == "imported" {
            resource["payload"] = encode(&[7; 32]).into();
        }
        if let Some(expires) = expires {
            resource["expirationDate"] = expires.into();
        }
        let manager = &hands.manager;
        let reply = must(manager, "POST", "/keys", Some(body), 201).await;
        let id = reply.resource()["id"].as_str().expect("an id").to_owned();
        let key = format!("/keys/{id}");
        match row.get("given") {
            "plain" => {}
            "dual-auth" => {
                drop(must(manager, "PUT", &format!("{key}/policies"), body_of("dual-auth", None), 200).await)
            }
            "authorized" => {
                must(manager, "PUT", &format!("{key}/policies"), body_of("dual-auth", None), 200).await;
                must(manager, "POST", &format!("{key}/actions/setKeyForDeletion"), None, 204).await;
            }
            "registered" => {
                let body = body_of("registration", None);
                must(&hands.service, "POST", &format!("{key}/registrations/{CRN}"), body, 201).await;
            }
            "aliased" => drop(must(manager, "POST", &format!("{key}/aliases/alias-{id}"), None, 201).await),
            other => panic!("`given` is {other}, which nobody knows how to make"),
        }
        let mut ciphertext = Value::Null;
        if row.get("body") == "ciphertext" {
            let wrapped = must(manager, "POST", &format!("{key}/actions/wrap"), Some(json!({})), 200).await;
            ciphertext = wrapped.body["ciphertext"].clone();
        }
        Self { id, ciphertext }
    }

    async fn disable(&self, hands: &Hands) {
        must(&hands.manager, "POST", &format!("/keys/{}/actions/disable", self.id), None, 204).await;
    }

    /// Deletes it, by two people and by force where it takes that.
    async fn delete(&self, hands: &Hands, row: Row<'_>) {
        let key = format!("/keys/{}", self.id);
        if row.get("given") == "dual-auth" {
            must(&hands.manager, "POST", &format!("{key}/actions/setKeyForDeletion"), None, 204).await;
        }
        must(&hands.second, "DELETE", &format!("{key}?force=true"), None, 204).await;
    }
}

/// The body of this name.
fn body_of(name: &str, ciphertext: Option<&Value>) -> Option<Value> {
    let one = |resource: Value| Some(json!({"metadata": {"collectionTotal": 1}, "resources": [resource]}));
    match name {
        "-" => None,
        "plaintext" => Some(json!({"plaintext": "AAAA"})),
        "ciphertext" => Some(json!({"ciphertext": ciphertext})),
        "any-ciphertext" => Some(json!({"ciphertext": "AAAA"})),
        "material" => Some(json!({"payload": encode(&[8; 32])})),
        "rotation" => one(json!({"rotation": {"enabled": true, "interval_month": 3}})),
        "dual-auth" => one(json!({"dualAuthDelete": {"enabled": true}})),
        "ring" => Some(json!({"keyRingID": "elsewhere"})),
        "registration" => one(json!({"description": "of the table"})),
        "crn" => one(json!({"resourceCrn": CRN.replace("%3A", ":").replace("%2F", "/")})),
        other => panic!("there is no body {other}"),
    }
}

async fn must(client: &Client, method: &str, path: &str, body: Option<Value>, status: u16) -> Reply {
    let reply = client.send(method, path, body).await;
    assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    reply
}

/// Asks what a row asks about a key.
async fn ask(hands: &Hands, row: Row<'_>, made: &Made) -> Reply {
    let id = &made.id;
    let path = row.get("path").replace("{id}", id).replace("{crn}", CRN);
    let path = path.replace("{alias}", &format!("alias-{id}")).replace("{new}", &format!("new-{id}"));
    let by_service = path.contains("/registrations") && row.get("method") != "GET";
    let client = if by_service { &hands.service } else { &hands.second };
    let mut body = body_of(row.get("body"), Some(&made.ciphertext).filter(|ciphertext| !ciphertext.is_null()));
    if row.get("body") == "ciphertext" && made.ciphertext.is_null() {
        body = body_of("any-ciphertext", None);
    }
    client.send(row.get("method"), &path, body).await
}

/// Whether an answer is what a cell says: a status and the first reason's code, or whether the list has the key.
fn is_right(reply: &Reply, cell: &str, made: &Made) -> bool {
    let listed = || reply.body["resources"].as_array().is_some_and(|keys| keys.iter().any(|key| key["id"] == made.id));
    match cell {
        "listed" => reply.status == 200 && listed(),
        "not listed" => reply.status == 200 && !listed(),
        _ => match cell.split_once(' ') {
            Some((status, code)) => status == reply.status.to_string() && code == reply.code(),
            None => cell == reply.status.to_string(),
        },
    }
}

/// The keys of one column, one a row.
async fn column(hands: &Hands, table: &Table, state: &str, expires: Option<&str>) -> Vec<Made> {
    let mut keys = Vec::new();
    for row in table.rows() {
        keys.push(if row.get(state) == "-" { Made::default() } else { Made::new(hands, row, expires).await });
    }
    keys
}

async fn delete_all(hands: &Hands, table: &Table, keys: &[Made]) {
    for (row, made) in table.rows().zip(keys).filter(|(_, made)| !made.id.is_empty()) {
        made.delete(hands, row).await;
    }
}

/// The columns whose keys need time to become what they are.
const AGED: [&str; 6] = ["purged", "destroyed-31d", "destroyed", "destroyed-expired", "deactivated", "suspended"];

/// Makes the keys of [`AGED`], over 92 days.
async fn aged(gateway: &Gateway, table: &Table) -> Vec<Vec<Made>> {
    let hands = Hands::of(gateway).await;
    must(&hands.manager, "POST", "/key_rings/elsewhere", None, 201).await;
    let (purged, long_ago) =
        (column(&hands, table, "purged", None).await, column(&hands, table, "destroyed-31d", None).await);
    delete_all(&hands, table, &purged).await;
    gateway.travel("60d").await;
    let hands = Hands::of(gateway).await;
    // What the first authorizations of two months ago were for has lapsed.
    for (row, made) in table.rows().zip(&long_ago).filter(|(row, _)| row.get("given") == "authorized") {
        assert!(!made.id.is_empty(), "{}", row.get("path"));
        must(&hands.manager, "POST", &format!("/keys/{}/actions/setKeyForDeletion", made.id), None, 204).await;
    }
    delete_all(&hands, table, &long_ago).await;

    let now = Timestamp::parse_rfc3339(&gateway.travel("31d").await).expect("the time");
    let hands = Hands::of(gateway).await;
    let soon = now.plus(std::time::Duration::from_secs(2 * 60 * 60)).to_rfc3339();
    let deleted = column(&hands, table, "destroyed", None).await;
    delete_all(&hands, table, &deleted).await;
    let deleted_in_time = column(&hands, table, "destroyed-expired", Some(&soon)).await;
    delete_all(&hands, table, &deleted_in_time).await;
    let expiring = column(&hands, table, "deactivated", Some(&soon)).await;
    let suspended = column(&hands, table, "suspended", None).await;
    for made in suspended.iter().filter(|made| !made.id.is_empty()) {
        made.disable(&hands).await;
    }
    gateway.travel("1d").await;
    vec![purged, long_ago, deleted, deleted_in_time, expiring, suspended]
}

#[tokio::test]
async fn every_action_on_every_kind_of_key_in_every_state_comes_out_as_in_the_table() {
    let table = Table::read("states.csv");
    let gateway = Gateway::start().await;
    let aged = aged(&gateway, &table).await;
    let hands = Hands::of(&gateway).await;
    let mut problems = Vec::new();
    for (number, row) in table.rows().enumerate() {
        for state in table.columns_from("active") {
            let cell = row.get(state);
            if cell == "-" {
                continue;
            }
            let made = match AGED.iter().position(|aged| aged == state) {
                Some(column) => aged[column][number].clone(),
                None if state == "missing" => Made::missing(),
                None => Made::new(&hands, row, None).await,
            };
            match state.as_str() {
                "suspended-now" => made.disable(&hands).await,
                "destroyed-now" => made.delete(&hands, row).await,
                _ => {}
            }
            let reply = ask(&hands, row, &made).await;
            if !is_right(&reply, cell, &made) {
                let told = [row.get("kind"), row.get("given"), row.get("method"), row.get("path"), state].join(" ");
                problems.push(format!("{told}: {cell} was to come, and {} {}", reply.status, reply.body));
            }
        }
    }
    assert!(problems.is_empty(), "{} cells are wrong:\n{}", problems.len(), problems.join("\n"));
}
