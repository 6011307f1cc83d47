//! The accept loop: a bounded number of connections, each given a bounded time to say what it wants; HTTP/1.1, or
//! HTTP/2 for clients that begin with its preface.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::exchange::Peer;
use crate::config::ServerParams;

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;

/// After an accept that failed, for lack of file descriptors most often: give connections time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` completes, then lets what is in work finish, in at most `drain_timeout`.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    params: &ServerParams,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(params.max_connections));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut shutdown => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let watcher = graceful.watcher();
        let router = router.clone();
        let header_timeout = params.header_timeout;
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection(stream, peer, router, header_timeout, watcher).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(params.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections were still in work when the time to finish was over");
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    header_timeout: Duration,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let opening = match tokio::time::timeout(header_timeout, Opening::read(&mut stream)).await {
        Ok(opening) => opening?,
        Err(_) => return Err("nothing was said in time".into()),
    };
    let facts = Peer::public(peer.ip());
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(facts.clone());
        router.clone().oneshot(request)
    });
    let http2 = opening.is_http2();
    let io = TokioIo::new(opening.join(stream));
    if http2 {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(Some(Duration::from_secs(30)))
            .serve_connection(io, service);
        watcher.watch(connection).await?;
    } else {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .serve_connection(io, service);
        watcher.watch(connection).await?;
    }
    Ok(())
}

/// The first bytes of a connection: as many as tell HTTP/2 from HTTP/1.1.
struct Opening {
    bytes: [u8; PREFACE.len()],
    len: usize,
}

impl Opening {
    async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut opening = Self { bytes: [0; PREFACE.len()], len: 0 };
        while opening.may_be_http2() && opening.len < PREFACE.len() {
            let read = stream.read(&mut opening.bytes[opening.len..]).await?;
            if read == 0 {
                break;
            }
            opening.len += read;
        }
        Ok(opening)
    }

    fn may_be_http2(&self) -> bool {
        self.bytes[..self.len] == PREFACE[..self.len]
    }

    fn is_http2(&self) -> bool {
        self.len == PREFACE.len() && self.may_be_http2()
    }

    /// The stream as it was before anything was read.
    fn join(self, stream: TcpStream) -> impl tokio::io::AsyncRead + AsyncWrite + Send + Unpin + 'static {
        let (reader, writer) = stream.into_split();
        let said = io::Cursor::new(self.bytes[..self.len].to_vec());
        tokio::io::join(said.chain(reader), writer)
    }
}
