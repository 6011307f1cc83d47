//! Futures of trait objects.

use std::future::Future;
use std::pin::Pin;

/// A future behind a pointer, so that ports can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
