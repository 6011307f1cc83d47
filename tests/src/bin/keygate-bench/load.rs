//! The load: connections that send one wrap after the other and note how long each took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A gateway, and the wrap request to send to it.
pub(crate) struct Target {
    address: SocketAddr,
    path: String,
    token: String,
    instance: String,
    body: Bytes,
}

/// What came out of a turn.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Figures {
    /// From how long each request took, and all of them together.
    pub(crate) fn of(mut took: Vec<Duration>, elapsed: Duration) -> Self {
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        Self { requests_per_second: took.len() as f64 / elapsed.as_secs_f64(), p50_ms: at(0.5), p99_ms: at(0.99) }
    }

    /// The median of each figure by itself.
    pub(crate) fn median(all: Vec<Self>) -> Self {
        let middle = |figure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = all.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            requests_per_second: middle(|figures| figures.requests_per_second),
            p50_ms: middle(|figures| figures.p50_ms),
            p99_ms: middle(|figures| figures.p99_ms),
        }
    }
}

impl Target {
    /// Gets an access token, makes a root key, and writes the request.
    pub(crate) async fn prepare(address: SocketAddr, api_key: &str, instance: &str, bytes: usize) -> Self {
        let mut connection = connect(address).await;
        let token = access_token(address, api_key).await;
        let mut target = Self {
            address,
            path: "/api/v2/keys".to_owned(),
            token,
            instance: instance.to_owned(),
            body: Bytes::from(
                json!({"metadata": {"collectionTotal": 1}, "resources": [{"name": "bench", "extractable": false}]})
                    .to_string(),
            ),
        };
        let (status, created) = exchange(&mut connection, target.request()).await;
        assert_eq!(status, StatusCode::CREATED);
        let created: Value = serde_json::from_slice(&created).expect("JSON");
        let id = created["resources"][0]["id"].as_str().expect("an id");
        target.path = format!("/api/v2/keys/{id}/actions/wrap");
        let plaintext = keygate_core::encoding::encode(&vec![0x5A; bytes]);
        target.body = Bytes::from(json!({ "plaintext": plaintext }).to_string());
        target
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header("Host", "localhost")
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Bluemix-Instance", &self.instance)
            .body(Full::new(self.body.clone()))
            .expect("a request")
    }
}

/// Somebody on one connection, who sends what they like.
pub(crate) struct Client {
    connection: SendRequest<Full<Bytes>>,
    token: String,
    instance: String,
}

impl Client {
    /// Opens a connection as the holder of this access token.
    pub(crate) async fn open(address: SocketAddr, token: &str, instance: &str) -> Self {
        Self { connection: connect(address).await, token: token.to_owned(), instance: instance.to_owned() }
    }

    /// Sends a request under `/api/v2`; returns its status, the body, and how long it took.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: &Bytes) -> (StatusCode, Bytes, Duration) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v2{path}"))
            .header("Host", "localhost")
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Bluemix-Instance", &self.instance)
            .body(Full::new(body.clone()))
            .expect("a request");
        let start = Instant::now();
        let (status, answer) = exchange(&mut self.connection, request).await;
        (status, answer, start.elapsed())
    }
}

/// One turn: so many connections for so long.
pub(crate) async fn run(target: &Arc<Target>, connections: usize, turn: Duration) -> Figures {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(connect(target.address).await);
    }
    let begin = Instant::now();
    let mut work = JoinSet::new();
    for mut connection in open {
        let target = Arc::clone(target);
        work.spawn(async move {
            let mut took = Vec::new();
            while begin.elapsed() < turn {
                let start = Instant::now();
                let (status, _) = exchange(&mut connection, target.request()).await;
                assert_eq!(status, StatusCode::OK);
                took.push(start.elapsed());
            }
            took
        });
    }
    let took = work.join_all().await.concat();
    Figures::of(took, begin.elapsed())
}

/// Exchanges an API key for an access token.
pub(crate) async fn access_token(address: SocketAddr, api_key: &str) -> String {
    let form = format!("grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={api_key}");
    let request = Request::builder()
        .method(Method::POST)
        .uri("/identity/token")
        .header("Host", "localhost")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(Full::from(form))
        .expect("a request");
    let (status, answer) = exchange(&mut connect(address).await, request).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    answer["access_token"].as_str().expect("an access token").to_owned()
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn exchange(connection: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
    connection.ready().await.expect("an open connection");
    let response = connection.send_request(request).await.expect("an answer");
    let status = response.status();
    (status, response.into_body().collect().await.expect("a body").to_bytes())
}
