//! The accept loop: a bounded number of connections, each given a bounded time to say what it wants; HTTP/1.1, or
//! HTTP/2 for clients that begin with its preface.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::exchange::Peer;
use crate::config::ServerParams;

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;

/// The least time that a client has to read the last answers of a connection that ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

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
    let (stop, stopped) = watch::channel(());
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
        let connection = Connection {
            router: router.clone(),
            header_timeout: params.header_timeout,
            idle_timeout: params.idle_timeout,
            stopped: stopped.clone(),
        };
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.serve(stream, peer).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
    drop((listener, stopped));
    let _ = stop.send(());
    if tokio::time::timeout(params.drain_timeout, stop.closed()).await.is_err() {
        tracing::warn!("some connections were still in work when the time to finish was over");
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a connection needs to be served.
struct Connection {
    router: Router,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// Tells when the gateway stops. The gateway waits until none of these is left.
    stopped: watch::Receiver<()>,
}

impl Connection {
    async fn serve(self, mut stream: TcpStream, peer: SocketAddr) -> Result<(), Failure> {
        let Self { router, header_timeout, idle_timeout, stopped } = self;
        stream.set_nodelay(true)?;
        let opening = match tokio::time::timeout(header_timeout, Opening::read(&mut stream)).await {
            Ok(opening) => opening?,
            Err(_) => return Err("nothing was said in time".into()),
        };
        let facts = Peer::public(peer.ip(), MAX_STREAMS as usize);
        let work = Arc::new(Work::default());
        let of_requests = Arc::clone(&work);
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(facts.clone());
            let (router, begun) = (router.clone(), Begun::new(&of_requests));
            async move {
                let response = router.oneshot(request).await?;
                Ok::<_, Infallible>(response.map(|body| Answering { body, _begun: begun }))
            }
        });
        let http2 = opening.is_http2();
        let io = TokioIo::new(opening.join(stream));
        let end = End { work, idle_timeout, stopped };
        if http2 {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .keep_alive_interval(Some(Duration::from_secs(30)))
                .serve_connection(io, service);
            end.of(connection, |connection| connection.graceful_shutdown()).await
        } else {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .serve_connection(io, service);
            end.of(connection, |connection| connection.graceful_shutdown()).await
        }
    }
}

/// An answer's body: the request is in work until the last of it was handed over.
struct Answering {
    body: Body,
    _begun: Begun,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The requests of one connection that are in work, and since when there is none.
#[derive(Default)]
struct Work(Mutex<(usize, Option<Instant>)>);

impl Work {
    fn change(&self, change: impl FnOnce(&mut usize)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.0);
        state.1 = Some(Instant::now());
    }

    /// Completes when no request was in work for this long.
    async fn idle(&self, timeout: Duration) {
        let start = Instant::now();
        loop {
            let until = match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                // From this call on at the earliest: who has just been idle for long gets the whole time again.
                (0, since) => since.map_or(start, |since| since.max(start)) + timeout,
                _ => Instant::now() + timeout,
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A request that is in work for as long as this is there.
struct Begun(Arc<Work>);

impl Begun {
    fn new(work: &Arc<Work>) -> Self {
        work.change(|requests| *requests += 1);
        Self(Arc::clone(work))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.change(|requests| *requests = requests.saturating_sub(1));
    }
}

/// What ends a connection, beside its client.
struct End {
    work: Arc<Work>,
    idle_timeout: Duration,
    stopped: watch::Receiver<()>,
}

impl End {
    /// Serves a connection to its end. When it is idle for too long, or the gateway stops, no new request is taken; what
    /// is in work is finished. A client that then does not read its answers either is cut off.
    async fn of<C, E>(mut self, connection: C, finish: fn(Pin<&mut C>)) -> Result<(), Failure>
    where
        C: Future<Output = Result<(), E>>,
        E: Into<Failure>,
    {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(Into::into),
            _ = self.stopped.changed() => {}
            () = self.work.idle(self.idle_timeout) => {}
        }
        finish(connection.as_mut());
        tokio::select! {
            ended = connection.as_mut() => ended.map_err(Into::into),
            () = self.work.idle(self.idle_timeout.max(LAST_WORDS)) => Err("its last answers were not read in time".into()),
        }
    }
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
