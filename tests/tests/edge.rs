//! Clients that are slow, silent, rude or many. None of them may harm the gateway or another client.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keygate_tests::Gateway;
use keygate_tests::gateway::{Client, create_body, reply};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Whatever hangs longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(client: &Client) -> TcpStream {
    let address = client.url.strip_prefix("http://").unwrap();
    timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap()
}

/// All that comes until the gateway ends the connection, in whatever way.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "the connection was not ended; it said {:?}", String::from_utf8_lossy(&bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says something, and then nothing more. The gateway may hang up in the middle of it.
async fn say(client: &Client, words: &[u8]) -> (String, Duration) {
    let mut stream = connect(client).await;
    let start = Instant::now();
    let _ = stream.write_all(words).await;
    (rest(&mut stream).await, start.elapsed())
}

/// The head of a request of the API, without the empty line at its end.
fn head(client: &Client, line: &str) -> String {
    let Client { token, instance, .. } = client;
    format!("{line} HTTP/1.1\r\nHost: keygate\r\nAuthorization: Bearer {token}\r\nBluemix-Instance: {instance}\r\n")
}

/// A whole request with a body.
fn request(client: &Client, line: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("{}Content-Length: {}\r\n\r\n{body}", head(client, line), body.len())
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

async fn works(client: &Client) {
    let id = client.create_root_key("still works").await;
    let wrapped = client.send("POST", &format!("/keys/{id}/actions/wrap"), Some(json!({"plaintext": "AAAA"}))).await;
    assert_eq!(wrapped.status, 200, "{wrapped:?}");
}

#[tokio::test]
async fn who_is_too_slow_is_cut_off() {
    let environment = [("KEYGATE__SERVER__HEADER_TIMEOUT", "300ms"), ("KEYGATE__SERVER__REQUEST_DEADLINE", "600ms")];
    let gateway = Gateway::start_with(&environment, &[]).await;
    let client = &gateway.client("manager", 0).await;
    let list = &head(client, "GET /api/v2/keys");

    // A byte now and then does not buy time: the whole head must be there.
    let trickle = async {
        let (mut reader, mut writer) = connect(client).await.into_split();
        let start = Instant::now();
        let drops = async {
            for byte in list.bytes().cycle() {
                if writer.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            () = drops => {}
            _ = timeout(PATIENCE, reader.read_to_end(&mut answer)) => {}
        }
        assert!(start.elapsed() < Duration::from_secs(5), "a head in drops was waited for");
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    };
    let silent = say(client, b"");
    let half_a_head = say(client, &list.as_bytes()[..30]);
    let half_a_preface = say(client, b"PRI * HTTP/2.0\r\n");
    let kept_alive = format!("{list}\r\n");
    let silent_afterwards = say(client, kept_alive.as_bytes());
    let no_body = format!("{}Content-Length: 50\r\n\r\n", head(client, "POST /api/v2/keys"));
    let no_body = say(client, no_body.as_bytes());
    let half_a_chunk = format!("{}Transfer-Encoding: chunked\r\n\r\n50\r\n{{", head(client, "POST /api/v2/keys"));
    let half_a_chunk = say(client, half_a_chunk.as_bytes());
    let no_form =
        say(client, b"POST /identity/token HTTP/1.1\r\nHost: keygate\r\nContent-Length: 50\r\n\r\ngrant_type=");
    let ends =
        tokio::join!(silent, half_a_head, half_a_preface, silent_afterwards, no_body, half_a_chunk, no_form, trickle);

    for (what, (answer, took), expected) in [
        ("silence", ends.0, &[][..]),
        ("half a head", ends.1, &[]),
        ("half a preface", ends.2, &[]),
        ("silence after a request", ends.3, &["200"]),
        ("no body", ends.4, &["400"]),
        ("half a chunk", ends.5, &["400"]),
        ("no form", ends.6, &["400"]),
    ] {
        assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(5), "{what}: {took:?}");
        let found = statuses(&answer);
        // To a head that never came it may say that the time is over.
        assert!(found == expected || expected.is_empty() && found == ["408"], "{what}: {answer}");
    }
    works(client).await;
}

#[tokio::test]
async fn bodies_come_in_any_form_and_not_too_long() {
    let gateway = Gateway::start().await;
    let client = &gateway.client("manager", 0).await;
    let post = head(client, "POST /api/v2/keys");
    let close = "Connection: close\r\n";

    // Announced: refused, although it is never sent. Unannounced: when it gets too long.
    let (answer, took) = say(client, format!("{post}{close}Content-Length: 1048577\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&answer), ["413"], "{answer}");
    assert!(answer.contains("BODY_TOO_LARGE_ERR") && took < Duration::from_secs(5), "{took:?}");
    let mut chunked = format!("{post}{close}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..16 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b' '; 65536]);
        chunked.extend_from_slice(b"\r\n");
    }
    let too_much = [chunked.as_slice(), b"1\r\n "].concat();
    let (answer, _) = say(client, &too_much).await;
    assert_eq!(statuses(&answer), ["413"], "{answer}");
    // Who sends it all the same gets to read the answer.
    let large =
        [format!("{post}{close}Content-Length: {}\r\n\r\n", 4 << 20).into_bytes(), vec![b' '; 4 << 20]].concat();
    for _ in 0..5 {
        let (answer, _) = say(client, &large).await;
        assert_eq!(statuses(&answer), ["413"], "{answer}");
    }
    // As long as it may be: 1 MiB of blanks is an empty body.
    chunked.extend_from_slice(b"0\r\n\r\n");
    let (answer, _) = say(client, &chunked).await;
    assert!(statuses(&answer) == ["400"] && answer.contains("BAD_BODY_ERR"), "{answer}");

    let body = create_body("in pieces", false).to_string();
    let pieces: String =
        body.as_bytes().chunks(7).map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c))).collect();
    let (answer, _) =
        say(client, format!("{post}{close}Transfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n").as_bytes()).await;
    assert!(statuses(&answer) == ["201"] && answer.contains("in pieces"), "{answer}");

    let mut stream = connect(client).await;
    let expecting = format!("{post}{close}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(expecting.as_bytes()).await.unwrap();
    let mut go_on = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut go_on)).await.unwrap().unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.contains("HTTP/1.1 201"));
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order() {
    let gateway = Gateway::start().await;
    let client = &gateway.client("manager", 0).await;
    let ids: Vec<String> = (0..10).map(|n| format!("00000000-0000-4000-8000-00000000000{n}")).collect();
    let mut words = String::new();
    for (n, id) in ids.iter().enumerate() {
        let line = if n % 3 == 2 { "POST /api/v2/keys" } else { "GET /api/v2/keys" };
        let id = format!("Correlation-Id: {id}\r\n");
        let last = if n == 9 { "Connection: close\r\n" } else { "" };
        let body = if n % 3 == 2 { create_body("piped", false).to_string() } else { String::new() };
        words += &format!("{}{id}{last}Content-Length: {}\r\n\r\n{body}", head(client, line), body.len());
    }
    let (answers, _) = say(client, words.as_bytes()).await;
    let expected = ["200", "200", "201", "200", "200", "201", "200", "200", "201", "200"];
    assert_eq!(statuses(&answers), expected, "{answers}");
    let found: Vec<_> = answers
        .lines()
        .filter_map(|line| line.to_ascii_lowercase().strip_prefix("correlation-id: ").map(str::to_owned))
        .collect();
    assert_eq!(found, ids);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_harms_nobody() {
    let gateway = Gateway::start_with(&[("KEYGATE__SERVER__HEADER_TIMEOUT", "500ms")], &[]).await;
    let client = &gateway.client("manager", 0).await;
    let post = head(client, "POST /api/v2/keys");
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let header = |text: &str| format!("GET /healthz HTTP/1.1\r\nHost: k\r\n{text}\r\n\r\n").into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", noise.clone()),
        ("zeros", vec![0; 4096]),
        ("line ends", b"\r\n".repeat(4096)),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("noise as HTTP/2", [&preface[..], &noise].concat()),
        ("a huge frame of HTTP/2", [&preface[..], b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"].concat()),
        ("a long line", [b"GET /".as_slice(), &vec![b'a'; 1 << 20]].concat()),
        ("a long header", header(&format!("X: {}", "a".repeat(1 << 20)))),
        ("many headers", header(&"X: y\r\n".repeat(5000))),
        ("a control character", header("X: a\0b")),
        ("a folded header", header("X: a\r\n b\r\n: c")),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n").into_bytes()),
        ("two lengths", format!("{post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} ").into_bytes()),
        ("no method", b" / HTTP/1.1\r\nHost: k\r\n\r\n".to_vec()),
        ("another protocol", b"EHLO example.com\r\n\r\n".to_vec()),
        ("a broken chunk", format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}").into_bytes()),
    ];
    let mut all = JoinSet::new();
    for (what, words) in cases {
        let client = client.clone();
        all.spawn(async move { (what, say(&client, &words).await.0) });
    }
    for (what, answer) in all.join_all().await {
        let found = statuses(&answer);
        assert!(found.len() <= 1 && found.iter().all(|status| status.starts_with('4')), "{what}: {answer}");
    }
    // A length and chunks at once: one request or none, never what a proxy would take for a second one.
    let body = request(client, "DELETE /api/v2/keys/11111111-2222-4333-8444-555555555555", &json!({}));
    let smuggled =
        format!("{post}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{body}", body.len() + 5);
    let (answer, _) = say(client, smuggled.as_bytes()).await;
    assert!(statuses(&answer) == ["400"], "{answer}");
    works(client).await;
}

#[tokio::test]
async fn http2_is_spoken_without_asking() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client("manager", 0).await;
    client.http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let response = client.request("HEAD", "/keys").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let id = client.create_root_key("over HTTP/2").await;
    // More at once than one connection may have streams.
    let mut all = JoinSet::new();
    for n in 0..300_usize {
        let (client, path) = (client.clone(), format!("/keys/{id}/actions/wrap"));
        let plaintext = keygate_core::encoding::encode(format!("plaintext {n}").as_bytes());
        all.spawn(async move {
            let wrapped = client.send("POST", &path, Some(json!({"plaintext": plaintext}))).await;
            assert_eq!(wrapped.status, 200, "{wrapped:?}");
            let body = json!({"ciphertext": wrapped.body["ciphertext"]});
            let back = client.send("POST", &path.replace("wrap", "unwrap"), Some(body)).await;
            assert_eq!(back.body["plaintext"], *plaintext, "each gets its own answer");
        });
    }
    all.join_all().await;
    let large = client.request("POST", "/keys").body(vec![b' '; (1 << 20) + 1]);
    assert_eq!(reply(large).await.status, 413);
    works(&client).await;
}

#[tokio::test]
async fn an_idle_connection_is_ended_and_one_at_work_is_not() {
    let gateway = Gateway::start_with(&[("KEYGATE__SERVER__IDLE_TIMEOUT", "400ms")], &[]).await;
    let mut client = gateway.client("manager", 0).await;
    // The preface and empty SETTINGS (RFC 9113, 3.4): a whole HTTP/2 connection, and nothing after it.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let settings_only = say(&client, hello);
    let preface_only = say(&client, &hello[..24]);
    let kept_alive = format!("{}\r\n", head(&client, "HEAD /api/v2/keys"));
    let kept_alive = say(&client, kept_alive.as_bytes());
    let ends = tokio::join!(settings_only, preface_only, kept_alive);
    assert_eq!(statuses(&ends.2.0), ["200"]);
    for (what, took) in [("settings", ends.0.1), ("a preface", ends.1.1), ("keep-alive", ends.2.1)] {
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(9), "{what}: {took:?}");
    }
    // Requests that come in time keep it, for longer than the time itself; after a pause there is another.
    client.http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for pause in [100, 100, 100, 100, 100, 100, 1000, 0] {
        assert_eq!(client.send("GET", "/keys?limit=1", None).await.status, 200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

type Asker = http2::SendRequest<Empty<&'static [u8]>>;

/// Asks for a large answer by HTTP/2, where each answer may be so many bytes ahead of its reader. Returns the answers, of
/// which nothing is read, and what ends with the connection; with nobody who could ask more, that would end at once.
async fn ask(
    client: &Client,
    window: u32,
    times: usize,
) -> (Vec<Response<Incoming>>, Asker, JoinHandle<hyper::Result<()>>) {
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(connect(client).await))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut unread = Vec::new();
    for _ in 0..times {
        let request = Request::get(format!("{}/openapi.json", client.url));
        let request = request.body(Empty::<&'static [u8]>::new()).unwrap();
        let answer = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        unread.push(answer);
    }
    (unread, sender, connection)
}

#[tokio::test]
async fn who_does_not_take_the_answers_is_cut_off_and_who_takes_them_slowly_is_not() {
    let gateway = Gateway::start_with(&[("KEYGATE__SERVER__IDLE_TIMEOUT", "400ms")], &[]).await;
    let client = gateway.client("manager", 0).await;
    for window in [0, 1, 1000] {
        let (unread, _sender, connection) = ask(&client, window, 20).await;
        // Sooner than an idle connection, whose client gets seconds for its last answers.
        let ended = timeout(Duration::from_secs(3), connection).await;
        assert!(ended.is_ok(), "{} answers lie where {window} bytes may be sent", unread.len());
    }
    let (mut slow, _sender, connection) = ask(&client, 1000, 1).await;
    for n in 0..15 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let frame = timeout(PATIENCE, slow[0].body_mut().frame()).await.unwrap();
        assert!(frame.is_some_and(|frame| frame.is_ok()), "cut off after {n} pieces");
    }
    assert!(!connection.is_finished());
    works(&client).await;
}

#[tokio::test]
async fn many_connections_at_once_are_all_served() {
    let gateway = Gateway::start().await;
    let client = gateway.client("manager", 0).await;
    let mut streams = Vec::new();
    for _ in 0..400 {
        streams.push(connect(&client).await);
    }
    // While they are all open and have said nothing, others are served.
    works(&client).await;
    let mut all = JoinSet::new();
    for (n, mut stream) in streams.into_iter().enumerate() {
        let line = if n % 2 == 0 { "HEAD /api/v2/keys" } else { "GET /api/v2/keys?limit=1" };
        let words = format!("{}Connection: close\r\n\r\n", head(&client, line));
        all.spawn(async move {
            stream.write_all(words.as_bytes()).await.unwrap();
            rest(&mut stream).await
        });
    }
    for answer in all.join_all().await {
        assert_eq!(statuses(&answer), ["200"], "{answer}");
    }
}

#[tokio::test]
async fn who_hangs_up_leaves_nothing_half_done() {
    let gateway = Gateway::start().await;
    let client = gateway.client("manager", 0).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        let id = client.create_root_key("left alone").await;
        let wrapped =
            client.send("POST", &format!("/keys/{id}/actions/wrap"), Some(json!({"plaintext": "AAAA"}))).await;
        let rotate = request(&client, &format!("POST /api/v2/keys/{id}/actions/rotate"), &json!({}));
        let create = request(&client, "POST /api/v2/keys", &create_body("abandoned", false));
        for words in [rotate.as_str(), create.as_str(), &create[..create.len() - 7], &rotate[..40]] {
            let mut stream = connect(&client).await;
            stream.write_all(words.as_bytes()).await.unwrap();
            if n % 2 == 0 {
                // With a reset rather than an orderly end.
                stream.set_zero_linger().unwrap();
            }
        }
        ids.push((id, wrapped.body["ciphertext"].clone()));
    }
    for (id, ciphertext) in ids {
        let versions = client.send("GET", &format!("/keys/{id}/versions?totalCount=true"), None).await;
        let count = versions.body["metadata"]["totalCount"].as_u64().unwrap();
        assert!(count == 1 || count == 2, "{versions:?}");
        let body = json!({"ciphertext": ciphertext});
        let unwrapped = client.send("POST", &format!("/keys/{id}/actions/unwrap"), Some(body)).await;
        assert_eq!(unwrapped.body["plaintext"], "AAAA", "{unwrapped:?}");
        let wrapped = client.send("POST", &format!("/keys/{id}/actions/wrap"), None).await;
        assert_eq!(wrapped.status, 200, "{wrapped:?}");
    }
    works(&client).await;
    assert_eq!(gateway.stop().await, Some(0), "it ends as it should");
}

/// Packed by somebody else's program.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut gzip = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[tokio::test]
async fn bodies_may_be_packed_and_are_not_too_long_unpacked_either() {
    let gateway = Gateway::start().await;
    let client = &gateway.client("manager", 0).await;
    let create = async |encoding: &str, body: Vec<u8>| {
        let reply = reply(client.request("POST", "/keys").header("Content-Encoding", encoding).body(body)).await;
        (reply.status, reply.code().to_owned())
    };
    let (made, too_long) = ((201, String::new()), (413, "BODY_TOO_LARGE_ERR".to_owned()));
    let bad = (400, "BAD_BODY_ERR".to_owned());
    let body = create_body("packed", false).to_string().into_bytes();
    assert_eq!(create("gzip", gzip(&body)).await, made);
    assert_eq!(create("GZIP", gzip(&body)).await, made);
    let blanks = |all: usize| [body.as_slice(), &vec![b' '; all - body.len()]].concat();
    assert_eq!(create("gzip", gzip(&blanks(1 << 20))).await, made, "as long as a body may be");
    assert_eq!(create("gzip", gzip(&blanks((1 << 20) + 1))).await, too_long);
    let bomb = gzip(&vec![b' '; 256 << 20]);
    assert!(bomb.len() < 1 << 20);
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(create("gzip", bomb.clone()).await, too_long);
    }
    assert!(start.elapsed() < PATIENCE, "bombs are unpacked for {:?}", start.elapsed());
    assert_eq!(create("gzip", body.clone()).await, bad, "it is not packed");
    assert_eq!(create("gzip", gzip(&body)[..50].to_vec()).await, bad, "it broke off");
    assert_eq!(create("gzip", Vec::new()).await, bad, "nothing is nothing, packed or not");
    assert_eq!(create("br", body).await, (415, "UNSUPPORTED_MEDIA_TYPE_ERR".to_owned()));
    works(client).await;
}

#[tokio::test]
async fn who_announces_bodies_and_does_not_send_them_keeps_nobody_out() {
    let environment = [
        ("KEYGATE__SERVER__MAX_IN_FLIGHT", "4"),
        ("KEYGATE__SERVER__ADMISSION_WAIT", "100ms"),
        ("KEYGATE__SERVER__REQUEST_DEADLINE", "60s"),
    ];
    let gateway = Gateway::start_with(&environment, &[]).await;
    let (client, rude) = (&gateway.client("manager", 0).await, &gateway.client("writer", 0).await);
    let post = head(rude, "POST /api/v2/keys");
    let mut held = Vec::new();
    // Twice as many as there is memory for: announced, begun, and nearly whole.
    for (framing, sent) in [
        ("Content-Length: 1048576", String::new()),
        ("Transfer-Encoding: chunked", "1\r\n{\r\n".to_owned()),
        ("Content-Length: 1048576", " ".repeat(1_000_000)),
    ] {
        for _ in 0..8 {
            let mut stream = connect(rude).await;
            let words = format!("{post}{framing}\r\n\r\n{sent}");
            // Where there is no room it is refused before the end.
            let _ = timeout(Duration::from_secs(2), stream.write_all(words.as_bytes())).await;
            held.push(stream);
        }
        works(client).await;
        let long = client.request("POST", "/keys").body(vec![b' '; 1 << 20]);
        assert_eq!(reply(long).await.status, 400, "others have room for the longest body");
    }
    drop(held);
    works(rude).await;
}
