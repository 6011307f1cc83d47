//! A gateway in a process of its own, in dev mode, on a free port and in a directory that goes with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::keeping::Keeping;

/// How long a gateway may take to start. Compiling the plugins for the first time takes most of it: minutes, where interpreters are
/// among them and other work goes on. One that cannot start ends at once, so nothing waits for this in vain.
const START: Duration = Duration::from_secs(600);

/// The first line that `keygate serve --dev --json` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// Where the API is.
    pub url: String,
    /// Where it is by the private endpoint, if there is one.
    #[serde(default)]
    pub private_url: Option<String>,
    /// Where access tokens are had.
    pub iam_url: String,
    /// Two instances.
    pub instances: Vec<String>,
    /// By the names of the dev identities; none without dev mode.
    #[serde(default)]
    pub api_keys: BTreeMap<String, String>,
}

/// A running gateway. It is killed when this is dropped, unless it was ended before.
pub struct Gateway {
    child: Child,
    /// What it said when it was ready.
    pub ready: Ready,
    data: PathBuf,
    log: Option<PathBuf>,
    _directory: Option<tempfile::TempDir>,
}

/// The program under test.
pub fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("KEYGATE_BIN") {
        return program.into();
    }
    // target/debug/deps/a-test -> target/debug/keygate
    let test = std::env::current_exe().expect("a test knows where it is");
    let program = test.ancestors().nth(2).expect("a test lies in a target directory").join("keygate");
    assert!(program.exists(), "{} is not there: run `cargo xtask test`", program.display());
    program
}

impl Gateway {
    /// Starts one with a directory of its own.
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// Starts one with more environment variables and arguments.
    pub async fn start_with(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        Self::launch(data, environment, arguments, Some(directory)).await
    }

    /// Starts one that keeps its keys in this, with more environment variables.
    pub async fn start_on(keeping: Keeping, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let arguments = keeping.arguments(directory.path());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let data = directory.path().join("data");
        Self::launch(data, environment, &arguments, Some(directory)).await
    }

    /// Starts one on a directory that was there before.
    pub async fn start_in(data: &Path) -> Self {
        Self::start_in_with(data, &[]).await
    }

    /// The same, with more arguments.
    pub async fn start_in_with(data: &Path, arguments: &[&str]) -> Self {
        Self::launch(data.to_owned(), &[], arguments, None).await
    }

    /// Starts one from a configuration, as an operator does. There are no dev identities. Its log is beside the configuration.
    pub async fn start_configured(config: &Path) -> Self {
        Self::start_configured_with(config, &[]).await
    }

    /// The same, with more environment variables.
    pub async fn start_configured_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program());
        command.args(["serve", "--json", "--config"]).arg(config).envs(environment.iter().copied());
        let data = config.parent().expect("a directory").to_owned();
        let log = Some(data.join(LOG));
        Self::spawn(command, data, log, None).await
    }

    async fn launch(
        data: PathBuf,
        environment: &[(&str, &str)],
        arguments: &[&str],
        directory: Option<tempfile::TempDir>,
    ) -> Self {
        let mut command = Command::new(program());
        command
            .args(["serve", "--dev", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .args(arguments)
            // Making key pairs takes seconds, and few tests need import tokens: where one does, its pair is made then.
            .env("KEYGATE__LIMITS__IMPORT_KEYS_READY", "0")
            .envs(environment.iter().copied());
        let log = directory.as_ref().map(|directory| directory.path().join(LOG));
        Self::spawn(command, data, log, directory).await
    }

    async fn spawn(
        mut command: Command,
        data: PathBuf,
        log: Option<PathBuf>,
        directory: Option<tempfile::TempDir>,
    ) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr(log.as_deref())).kill_on_drop(true);
        let mut child = command.spawn().expect("the gateway can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let line = tokio::time::timeout(START, lines.next_line())
            .await
            .expect("the gateway is ready in time")
            .expect("its output can be read")
            .expect("it says that it is ready before it ends");
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        Self { child, ready, data, log, _directory: directory }
    }

    /// Where its state is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it logged so far. One that was started on a directory of somebody else's has no log.
    pub fn log(&self) -> Vec<u8> {
        let log = self.log.as_ref().expect("a gateway with a directory of its own");
        std::fs::read(log).expect("a log: is KEYGATE_TEST_LOG set?")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// How much of its memory is in RAM, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends it a signal, such as `-HUP`.
    pub fn signal(&self, signal: &str) {
        let status = std::process::Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Kills it with SIGKILL: no chance to tidy up.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Asks it to end and returns its exit code.
    pub async fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        ended.expect("it ends in time").expect("it can be waited for").code()
    }

    /// Moves its clock forward, by a duration such as `4h`, and returns the time it is then. What has come due by then is
    /// done. Access tokens from before may have lapsed: get new clients.
    pub async fn travel(&self, by: &str) -> String {
        let request = reqwest::Client::new().post(format!("{}/dev/clock", self.ready.url));
        let reply = reply(request.body(serde_json::json!({"advance": by}).to_string())).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body["now"].as_str().expect("the time").to_owned()
    }

    /// A client that is somebody, in an instance (0 or 1).
    pub async fn client(&self, identity: &str, instance: usize) -> Client {
        let key = self.ready.api_keys.get(identity).unwrap_or_else(|| panic!("there is no {identity}"));
        self.client_with(key, instance).await
    }

    /// A client with this API key, in an instance.
    pub async fn client_with(&self, api_key: &str, instance: usize) -> Client {
        let http = reqwest::Client::new();
        let form = [("grant_type", "urn:ibm:params:oauth:grant-type:apikey"), ("apikey", api_key)];
        let response = http
            .post(format!("{}/identity/token", self.ready.iam_url))
            .form(&form)
            .send()
            .await
            .expect("the token endpoint answers");
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.expect("JSON");
        Client {
            http,
            url: self.ready.url.clone(),
            token: body["access_token"].as_str().expect("an access token").to_owned(),
            instance: self.ready.instances[instance].clone(),
        }
    }
}

/// The log, beside the data directory.
const LOG: &str = "log";

/// Where the gateway logs to: where the tests' output is, if somebody asks for it.
fn stderr(log: Option<&Path>) -> Stdio {
    match log {
        _ if std::env::var_os("KEYGATE_TEST_LOG").is_some() => Stdio::inherit(),
        Some(path) => std::fs::File::create(path).expect("a log file").into(),
        None => Stdio::null(),
    }
}

/// Somebody with an access token.
#[derive(Clone)]
pub struct Client {
    /// The connections.
    pub http: reqwest::Client,
    /// Where the API is.
    pub url: String,
    /// The access token.
    pub token: String,
    /// The instance that requests are about.
    pub instance: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body, `null` where there is none.
    pub body: Value,
}

impl Reply {
    /// The only resource in the body.
    pub fn resource(&self) -> &Value {
        &self.body["resources"][0]
    }

    /// The first reason's code, of an error.
    pub fn code(&self) -> &str {
        self.resource()["reasons"][0]["code"].as_str().unwrap_or("")
    }
}

impl Client {
    /// The same somebody, by the private endpoint.
    #[must_use]
    pub fn by_private_endpoint(&self, gateway: &Gateway) -> Self {
        let url = gateway.ready.private_url.clone().expect("a private endpoint");
        Self { url, ..self.clone() }
    }

    /// A request under `/api/v2`, with the headers that all have.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.http
            .request(method, format!("{}/api/v2{path}", self.url))
            .bearer_auth(&self.token)
            .header("Bluemix-Instance", &self.instance)
    }

    /// Sends a request.
    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        };
        reply(request).await
    }

    /// Makes a root key and returns its id.
    pub async fn create_root_key(&self, name: &str) -> String {
        let reply = self.send("POST", "/keys", Some(create_body(name, false))).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.resource()["id"].as_str().expect("an id").to_owned()
    }
}

/// Sends a request and reads the answer.
pub async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.bytes().await.expect("the answer's body");
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
    };
    Reply { status, headers, body }
}

/// The body that makes a generated key.
pub fn create_body(name: &str, extractable: bool) -> Value {
    serde_json::json!({
        "metadata": {"collectionType": "application/vnd.ibm.kms.key+json", "collectionTotal": 1},
        "resources": [{"type": "application/vnd.ibm.kms.key+json", "name": name, "extractable": extractable}],
    })
}
