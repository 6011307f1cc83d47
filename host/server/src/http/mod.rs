//! The REST API over HTTP. Handlers decode, call one use case of the domain, and encode.

mod accept;
pub mod admission;
mod answer;
mod body;
mod connection;
mod correlation;
mod dto;
mod error;
mod exchange;
mod gunzip;
mod handlers;
mod openapi;
mod proxy;
mod query;
pub(crate) mod ratelimit;
mod receive;
mod router;
mod work;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::app::App;

pub(crate) use body::MAX_TEXTS;

/// Where the gateway listens. Both doors lead to the same place; which one a request came by is a fact for the rules.
pub struct Listeners {
    /// The public endpoint.
    pub public: TcpListener,
    /// The private endpoint, if there is one.
    pub private: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self { public, private: None }
    }
}

/// Serves the API until `shutdown` completes and what is in work is done.
pub async fn serve(app: Arc<App>, listeners: impl Into<Listeners>, shutdown: impl Future<Output = ()>) {
    let router = router::router(Arc::clone(&app));
    connection::serve(listeners.into(), router, &app.server, shutdown).await;
}
