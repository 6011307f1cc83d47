//! The REST API over HTTP. Handlers decode, call one use case of the domain, and encode.

pub mod admission;
mod answer;
mod body;
mod connection;
mod correlation;
mod dto;
mod error;
mod exchange;
mod handlers;
mod query;
mod receive;
mod router;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::app::App;

/// Serves the API on a listener until `shutdown` completes and what is in work is done.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let router = router::router(Arc::clone(&app));
    connection::serve(listener, router, &app.server, shutdown).await;
}
