//! What many keys in an instance cost. Two gateways, alike but for the number of keys, take turns with each request, so
//! that a noisy machine is noisy to both. The ratio is of the medians.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::load::{Client, access_token};
use super::{Served, serve};

/// Of so many keys, one is a standard key: what narrows a search to a part of an instance.
const ONE_STANDARD_KEY_IN: usize = 50;

/// Connections that fill an instance.
const FILLERS: usize = 64;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many keys the first gateway has.
    #[arg(long, default_value_t = 100)]
    few: usize,
    /// How many keys the second gateway has.
    #[arg(long, default_value_t = 100_000)]
    many: usize,
    /// How often each request is sent to each.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// A request that is measured.
struct Case {
    name: &'static str,
    method: Method,
    path: String,
    body: Bytes,
    expected: StatusCode,
}

/// A gateway full of keys.
struct Full {
    served: Served,
    token: String,
    client: Client,
    /// A root key in it.
    key: String,
}

pub(crate) async fn bench(arguments: &Arguments) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut few = Full::start(&directory.path().join("few"), arguments.few).await;
    let mut many = Full::start(&directory.path().join("many"), arguments.many).await;
    few.connect_again().await;
    many.connect_again().await;
    let mut rows = Vec::new();
    for (few_case, many_case) in cases(&few.key, arguments.few).into_iter().zip(cases(&many.key, arguments.many)) {
        let name = few_case.name;
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds + arguments.rounds / 10 {
            let (a, b) = (few.measure(&few_case).await, many.measure(&many_case).await);
            // The first are to warm up.
            if round >= arguments.rounds / 10 {
                small.push(a);
                large.push(b);
            }
        }
        rows.push((name, median(small), median(large)));
    }
    if arguments.json { print_json(arguments, &rows) } else { print_table(arguments, &rows) }
}

impl Full {
    async fn start(data: &Path, keys: usize) -> Self {
        let served = serve(data, false).await;
        let token = access_token(served.address, &served.api_key).await;
        let begin = Instant::now();
        let mut fillers = JoinSet::new();
        for filler in 0..FILLERS {
            let mut client = Client::open(served.address, &token, &served.instance).await;
            fillers.spawn(async move {
                for number in (filler..keys).step_by(FILLERS) {
                    let (status, _, _) = client.send(Method::POST, "/keys", &create(number)).await;
                    assert_eq!(status, StatusCode::CREATED);
                }
            });
        }
        fillers.join_all().await;
        eprintln!("{keys} keys made in {:.1} s", begin.elapsed().as_secs_f64());
        let mut client = Client::open(served.address, &token, &served.instance).await;
        let (_, answer, _) = client.send(Method::GET, "/keys?extractable=false&limit=1", &Bytes::new()).await;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let key = answer["resources"][0]["id"].as_str().expect("a key").to_owned();
        Self { served, token, client, key }
    }

    /// A new connection: the one before may have been idle for too long while the other gateway was filled.
    async fn connect_again(&mut self) {
        self.client = Client::open(self.served.address, &self.token, &self.served.instance).await;
    }

    async fn measure(&mut self, case: &Case) -> Duration {
        let (status, answer, took) = self.client.send(case.method.clone(), &case.path, &case.body).await;
        assert_eq!(status, case.expected, "{} {}: {}", case.name, case.path, String::from_utf8_lossy(&answer));
        took
    }
}

/// The body that makes the key of this number. Every tenth has an alias.
fn create(number: usize) -> Bytes {
    let aliases: Vec<String> = if number.is_multiple_of(10) { vec![format!("alias-{number}")] } else { Vec::new() };
    let resource = json!({
        "name": format!("key number {number} of the bench"),
        "extractable": number % ONE_STANDARD_KEY_IN == 1,
        "aliases": aliases,
    });
    Bytes::from(json!({"metadata": {"collectionTotal": 1}, "resources": [resource]}).to_string())
}

fn cases(key: &str, keys: usize) -> Vec<Case> {
    let get = |name, path: String| Case {
        name,
        method: Method::GET,
        path: format!("/keys?{path}"),
        body: Bytes::new(),
        expected: StatusCode::OK,
    };
    let post = |name, path: String, body: Bytes, expected| Case { name, method: Method::POST, path, body, expected };
    let middle = keys / 2;
    vec![
        get("list: first page of 50", "limit=50".to_owned()),
        get("list: page of 50 in the middle", format!("limit=50&offset={middle}")),
        get("list: with totalCount", "limit=50&totalCount=true".to_owned()),
        get("sort: newest first", "limit=50&sort=-creationDate".to_owned()),
        get("sort: by two properties", "limit=50&sort=state,-lastUpdateDate".to_owned()),
        get("filter: by date", "limit=50&filter=creationDate%3Dgt%3A%222020-01-01T00%3A00%3A00Z%22".to_owned()),
        get("filter: nothing fits", "limit=50&filter=expirationDate%3Dgt%3A%222020-01-01T00%3A00%3A00Z%22".to_owned()),
        get("search: among standard keys", "limit=50&extractable=true&search=number%201".to_owned()),
        get("search: by alias, looked up", format!("limit=50&search=alias%3Aalias-{}", middle / 10 * 10)),
        Case {
            name: "count (HEAD)",
            method: Method::HEAD,
            path: "/keys".to_owned(),
            body: Bytes::new(),
            expected: StatusCode::OK,
        },
        post("wrap 32 bytes", format!("/keys/{key}/actions/wrap"), wrap(), StatusCode::OK),
        post("create", "/keys".to_owned(), create(keys * 10 + 3), StatusCode::CREATED),
    ]
}

fn wrap() -> Bytes {
    Bytes::from(json!({"plaintext": keygate_core::encoding::encode(&[0x5A; 32])}).to_string())
}

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1000.0
}

fn print_table(arguments: &Arguments, rows: &[(&str, f64, f64)]) {
    let Arguments { few, many, rounds, .. } = arguments;
    println!("one connection over loopback, medians of {rounds} requests, in milliseconds");
    println!("{:<32} {:>12} {:>12} {:>8}", "request", format!("{few} keys"), format!("{many} keys"), "ratio");
    for (name, small, large) in rows {
        println!("{name:<32} {small:>12.3} {large:>12.3} {:>8.2}", large / small);
    }
}

fn print_json(arguments: &Arguments, rows: &[(&str, f64, f64)]) {
    let rows: Vec<Value> = rows
        .iter()
        .map(|(name, small, large)| json!({"request": name, "few_ms": small, "many_ms": large, "ratio": large / small}))
        .collect();
    let Arguments { few, many, rounds, .. } = arguments;
    println!("{}", json!({"case": "lists", "few": few, "many": many, "rounds": rounds, "rows": rows}));
}
