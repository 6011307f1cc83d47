//! What the commands that speak to a running gateway have in common: where it is, who asks, and how an answer or a refusal
//! is taken.
//!
//! Plain HTTP, and therefore to this host only: an API key goes over it. A gateway elsewhere is administered there, or
//! through a tunnel (`ssh -L 8080:127.0.0.1:8080 HOST`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::terminal::plain;
use crate::config::{Environment, Flags, Source, load};
use crate::files::read_private;
use crate::iam::API_KEY_GRANT;

/// The variable that holds the gateway's address.
const URL: &str = "KEYGATE_URL";
/// The variable that holds the API key.
const API_KEY: &str = "KEYGATE_API_KEY";
/// The exit code after the gateway's own no. 1 is that it could not be asked, 2 that the command line is wrong.
const REFUSED: u8 = 3;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take. The gateway's own deadline is shorter.
const ANSWER: Duration = Duration::from_secs(300);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Which gateway, and who asks.
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// The gateway: http://HOST:PORT, on this host. If not given: the variable KEYGATE_URL, or where the configuration says
    /// that it listens.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The configuration that says where the gateway listens.
    #[arg(long, value_name = "FILE", default_value = "plugins.toml")]
    config: PathBuf,
    /// A file with the API key. If not given: the variable KEYGATE_API_KEY.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Print the gateway's answer as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// The gateway's own no.
#[derive(Debug, thiserror::Error)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gateway refuses ({}): {}", self.status.as_u16(), self.message)
    }
}

impl Refusal {
    fn of(status: StatusCode, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let resource = &body["resources"][0];
        let reasons = resource["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(plain);
        let told: Vec<String> = reasons
            .iter()
            .filter_map(|reason| Some(format!("{} ({})", text(&reason["message"])?, text(&reason["code"])?)))
            .collect();
        let message = if told.is_empty() {
            text(&resource["errorMsg"]).or_else(|| text(&body["errorMessage"])).unwrap_or_else(|| status.to_string())
        } else {
            told.join("; ")
        };
        Self { status, message }
    }
}

/// The API key in a file, which must be its owner's alone.
fn secret_text(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let bytes = read_private(file).map_err(|error| anyhow!("the API key's file: {error}; {}", error.mend()))?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("the API key's file {}", file.display()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The exit code after an error.
pub(super) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Refusal>() { ExitCode::from(REFUSED) } else { ExitCode::FAILURE }
}

/// A running gateway, and somebody whom it knows. One request at a time.
pub(super) struct Client {
    address: Address,
    api_key: Zeroizing<String>,
    token: Option<HeaderValue>,
}

impl Client {
    /// Finds out which gateway and who asks. Does not connect yet.
    pub(super) fn new(args: &ClientArgs, environment: &Environment) -> anyhow::Result<Self> {
        let address = match args.url.as_ref().or_else(|| environment.get(URL)) {
            Some(url) => Address::parse(url)?,
            None => configured(&args.config, environment)?,
        };
        let api_key = match (&args.api_key_file, environment.get(API_KEY)) {
            (Some(file), _) => secret_text(file)?,
            (None, Some(key)) => Zeroizing::new(key.clone()),
            (None, None) => bail!("who asks? Set {API_KEY} to an API key, or name a file with --api-key-file"),
        };
        Ok(Self { address, api_key: Zeroizing::new(api_key.trim().to_owned()), token: None })
    }

    /// Asks the gateway for something, and returns its answer: `Null` where that is empty.
    ///
    /// # Errors
    /// [`Refusal`] where the gateway says no; anything else where it could not be asked.
    pub(super) async fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let sent = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let first = self.ask(&method, path, sent.clone()).await?;
        // A token holds for an hour, and a migration may take longer.
        let (status, answer) = if first.0 == StatusCode::UNAUTHORIZED && self.token.take().is_some() {
            self.ask(&method, path, sent).await?
        } else {
            first
        };
        if !status.is_success() {
            return Err(Refusal::of(status, &answer).into());
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).context("the gateway's answer is not JSON; is it a Keygate at this address?")
    }

    async fn ask(&mut self, method: &Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.log_in().await?,
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))?;
        self.send(request).await
    }

    async fn log_in(&mut self) -> anyhow::Result<HeaderValue> {
        let form = Zeroizing::new(
            form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", API_KEY_GRANT)
                .append_pair("apikey", &self.api_key)
                .finish(),
        );
        let request = Request::post("/identity/token")
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .body(Full::new(Bytes::copy_from_slice(form.as_bytes())))?;
        let (status, answer) = self.send(request).await?;
        if !status.is_success() {
            return Err(Refusal::of(status, &answer).into());
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let token = answer["access_token"].as_str().ok_or_else(|| {
            anyhow!("{} gives no access token; is it a Keygate at this address?", self.address.authority)
        })?;
        let mut token = HeaderValue::try_from(format!("Bearer {token}"))?;
        token.set_sensitive(true);
        self.token = Some(token.clone());
        Ok(token)
    }

    /// Sends a request over a connection of its own.
    async fn send(&self, mut request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        let authority = &self.address.authority;
        request.headers_mut().insert(HOST, HeaderValue::try_from(authority.as_str())?);
        let away = || format!("no gateway answers at {authority}; is it running, and does it listen there?");
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(self.address.socket.as_slice()))
            .await
            .with_context(away)?
            .with_context(away)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| anyhow!("the answer broke off: {error}"))?.to_bytes()))
        };
        let answer = tokio::time::timeout(ANSWER, answer).await;
        connection.abort();
        answer.with_context(|| format!("{authority} gives no answer; what was asked for may be done all the same"))?
    }
}

/// Where a gateway is.
#[derive(Debug)]
struct Address {
    authority: String,
    socket: Vec<SocketAddr>,
}

impl Address {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let wrong = || format!("`{}` is no gateway's address: give http://127.0.0.1:PORT", plain(url));
        let uri: Uri = url.trim().parse().with_context(wrong)?;
        if uri.scheme_str() == Some("https") {
            bail!("this command speaks no TLS; give the http address on the gateway's own host, or a tunnel to it");
        }
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            bail!(wrong());
        }
        let authority = uri.authority().with_context(wrong)?;
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let socket = match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => vec![SocketAddr::new(address, port)],
            Err(_) if host.eq_ignore_ascii_case("localhost") => {
                vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
            }
            _ => bail!(
                "`{}` is not this host, and an API key goes over plain HTTP to this host only: run the command on the \
                 gateway's host, or through a tunnel (ssh -L {port}:127.0.0.1:{port} HOST)",
                plain(host)
            ),
        };
        Ok(Self { authority: authority.as_str().to_owned(), socket })
    }
}

/// Where the configuration says that the gateway listens. Whatever else is wrong with it is not this command's business.
fn configured(file: &std::path::Path, environment: &Environment) -> anyhow::Result<Address> {
    let which = || format!("which gateway? Give --url, or set {URL}");
    if !file.exists() {
        bail!("{} (there is no {} to look it up in)", which(), file.display());
    }
    let loaded = load(&Source::File(file.to_owned()), environment, &Flags::default());
    let mut listen =
        loaded.config.with_context(|| format!("{}: it cannot be read; {}", file.display(), which()))?.server.listen;
    if listen.port() == 0 {
        bail!("{}: `server.listen` leaves the port to the system; {}", file.display(), which());
    }
    if listen.ip().is_unspecified() {
        listen.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Address::parse(&format!("http://{listen}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_goes_to_this_host_only() {
        for url in ["http://127.0.0.1:8080", "http://localhost:8080/", "http://[::1]:8080", "http://127.8.9.10"] {
            assert!(Address::parse(url).is_ok(), "{url}");
        }
        for url in [
            "http://10.0.0.1:8080",
            "http://gateway.example:8080",
            "http://127.0.0.1.example",
            "http://localhost@10.0.0.1",
            "https://127.0.0.1",
            "http://127.0.0.1/api",
            "http://127.0.0.1?x",
            "127.0.0.1:8080",
            "",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_refusal_has_the_gateways_own_words() {
        let body = serde_json::json!({"resources": [{"errorMsg": "Conflict: It failed.", "reasons": [
            {"code": "A_ERR", "message": "one\u{1b}[2J"}, {"code": "B_ERR", "message": "two"},
        ]}]});
        let refusal = Refusal::of(StatusCode::CONFLICT, body.to_string().as_bytes());
        assert_eq!(refusal.to_string(), "the gateway refuses (409): one\u{fffd}[2J (A_ERR); two (B_ERR)");
        let bare = serde_json::json!({"resources": [{"errorMsg": "Unauthorized: no"}]});
        let refusal = Refusal::of(StatusCode::UNAUTHORIZED, bare.to_string().as_bytes());
        assert_eq!(refusal.to_string(), "the gateway refuses (401): Unauthorized: no");
        let token = serde_json::json!({"errorMessage": "Provided API key could not be found."});
        let refusal = Refusal::of(StatusCode::BAD_REQUEST, token.to_string().as_bytes());
        assert!(refusal.to_string().ends_with("Provided API key could not be found."));
        assert!(Refusal::of(StatusCode::BAD_GATEWAY, b"<html>").to_string().contains("502"));
        let code = |error: anyhow::Error| format!("{:?}", exit_code(&error));
        assert_ne!(code(refusal.into()), code(anyhow!("it could not be asked")));
    }

    #[test]
    fn who_asks_and_where_must_be_said() {
        let args = |url: Option<&str>| ClientArgs {
            url: url.map(str::to_owned),
            config: "there/is/none.toml".into(),
            api_key_file: None,
            json: false,
        };
        let with = |entries: &[(&str, &str)]| -> Environment {
            entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let wrong = |args, environment: &Environment| Client::new(&args, environment).err().unwrap().to_string();
        assert!(wrong(args(None), &with(&[(API_KEY, "k")])).contains(URL));
        assert!(wrong(args(Some("http://127.0.0.1:1")), &with(&[])).contains(API_KEY));
        let client = Client::new(&args(None), &with(&[(API_KEY, " k\n"), (URL, "http://127.0.0.1:9")])).unwrap();
        assert_eq!((client.address.authority.as_str(), client.api_key.as_str()), ("127.0.0.1:9", "k"));
        let client = Client::new(&args(Some("http://localhost:7")), &with(&[(API_KEY, "k"), (URL, "x")])).unwrap();
        assert_eq!(client.address.authority, "localhost:7");
    }
}
