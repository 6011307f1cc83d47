//! The accept loops, one for each endpoint: a bounded number of connections, each given a bounded time to say what it
//! wants, and to take what it asked for; HTTP/1.1, or HTTP/2 for clients that begin with its preface.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use keygate_core::access::{Endpoint, Network};
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use super::Listeners;
use super::exchange::{Peer, Place};
use super::proxy::Proxies;
use super::work::{Answering, Work};
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
    listeners: Listeners,
    router: Router,
    params: &ServerParams,
    shutdown: impl Future<Output = ()>,
) {
    let Listeners { public, private } = listeners;
    let (stop, stopped) = watch::channel(());
    let proxies = Arc::new(Proxies::of(params));
    // Each has places of its own: silent connections at one of them do not keep the other shut.
    let door = |listener, endpoint| Door {
        listener,
        places: Arc::new(Semaphore::new(params.max_connections)),
        router: router.clone(),
        endpoint,
        proxies: Arc::clone(&proxies),
        header_timeout: params.header_timeout,
        idle_timeout: params.idle_timeout,
        stopped: stopped.clone(),
    };
    let public = door(public, Endpoint::Public);
    let private = private.map(|listener| door(listener, Endpoint::Private));
    tokio::select! {
        () = public.accept() => {}
        () = accept(private.as_ref()) => {}
        () = shutdown => {}
    }
    drop((public, private, stopped));
    let _ = stop.send(());
    if tokio::time::timeout(params.drain_timeout, stop.closed()).await.is_err() {
        tracing::warn!("some connections were still in work when the time to finish was over");
    }
}

/// Accepts at a door, or never, where there is none.
async fn accept(door: Option<&Door>) {
    match door {
        Some(door) => door.accept().await,
        None => std::future::pending().await,
    }
}

/// An endpoint.
struct Door {
    listener: TcpListener,
    /// For its connections.
    places: Arc<Semaphore>,
    router: Router,
    endpoint: Endpoint,
    proxies: Arc<Proxies>,
    header_timeout: Duration,
    idle_timeout: Duration,
    stopped: watch::Receiver<()>,
}

impl Door {
    /// Accepts connections for as long as this is polled. Nobody closes the semaphore, which alone would end it.
    async fn accept(&self) {
        while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, endpoint = ?self.endpoint, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = self.connection();
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = connection.serve(stream, peer).await {
                    tracing::debug!(%peer, %error, "connection ended");
                }
            });
        }
    }

    fn connection(&self) -> Connection {
        Connection {
            router: self.router.clone(),
            endpoint: self.endpoint,
            proxies: Arc::clone(&self.proxies),
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
            stopped: self.stopped.clone(),
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a connection needs to be served.
struct Connection {
    router: Router,
    endpoint: Endpoint,
    proxies: Arc<Proxies>,
    header_timeout: Duration,
    idle_timeout: Duration,
    /// Tells when the gateway stops. The gateway waits until none of these is left.
    stopped: watch::Receiver<()>,
}

impl Connection {
    async fn serve(self, mut stream: TcpStream, peer: SocketAddr) -> Result<(), Failure> {
        let Self { router, endpoint, proxies, header_timeout, idle_timeout, stopped } = self;
        stream.set_nodelay(true)?;
        let opening = match tokio::time::timeout(header_timeout, Opening::read(&mut stream)).await {
            Ok(opening) => opening?,
            Err(_) => return Err("nothing was said in time".into()),
        };
        let (peer, requests) = (peer.ip(), Arc::new(Semaphore::new(MAX_STREAMS as usize)));
        let work = Arc::new(Work::default());
        let of_requests = Arc::clone(&work);
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            let network = Network { address: Some(proxies.client(peer, request.headers())), endpoint };
            request.extensions_mut().insert(Peer { network, requests: Arc::clone(&requests) });
            let (router, begun) = (router.clone(), Work::begin(&of_requests));
            async move {
                let mut response = router.oneshot(request).await?;
                let place = response.extensions_mut().remove::<Place>();
                Ok::<_, Infallible>(response.map(|body| Answering::new(body, begun, place)))
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

/// What ends a connection, beside its client.
struct End {
    work: Arc<Work>,
    idle_timeout: Duration,
    stopped: watch::Receiver<()>,
}

impl End {
    /// Serves a connection to its end. When it is idle for too long, or the gateway stops, no new request is taken; what
    /// is in work is finished. A client that takes nothing of its answers for as long is cut off.
    async fn of<C, E>(mut self, connection: C, finish: fn(Pin<&mut C>)) -> Result<(), Failure>
    where
        C: Future<Output = Result<(), E>>,
        E: Into<Failure>,
    {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(Into::into),
            _ = self.stopped.changed() => {}
            () = self.work.idle(self.idle_timeout) => {
                if self.work.has_answers() {
                    return Err("its answers were not read in time".into());
                }
            }
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
