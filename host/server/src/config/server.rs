//! `[server]`

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::duration::Span;
use super::tree::Tree;

/// How the gateway listens and how much it takes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerParams {
    /// Where to listen. Port 0 lets the operating system choose.
    pub listen: SocketAddr,
    /// The most connections open at once. More wait in the operating system's queue.
    pub max_connections: usize,
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// How long a connection may be open without a request in work.
    pub idle_timeout: Duration,
    /// From the admission of a request to its answer, at most.
    pub request_deadline: Duration,
    /// The most requests in work at once.
    pub max_in_flight: usize,
    /// How long a request waits to be taken into work before it is answered 503.
    pub admission_wait: Duration,
    /// How long requests in work may take to finish when the gateway stops.
    pub drain_timeout: Duration,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    listen: SocketAddr,
    max_connections: u32,
    header_timeout: Span,
    idle_timeout: Span,
    request_deadline: Span,
    max_in_flight: u32,
    admission_wait: Span,
    drain_timeout: Span,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            max_connections: 1024,
            header_timeout: Span::secs(10),
            idle_timeout: Span::secs(60),
            request_deadline: Span::secs(30),
            max_in_flight: 256,
            admission_wait: Span::secs(2),
            drain_timeout: Span::secs(15),
        }
    }
}

pub(super) fn read(tree: &mut Tree) -> ServerParams {
    let section: Section = tree.section("server");
    for (key, count) in [("max_connections", section.max_connections), ("max_in_flight", section.max_in_flight)] {
        if !(1..=1_000_000).contains(&count) {
            tree.problem(format!("server.{key}"), format!("{count} is out of bounds"), "give 1 to 1000000");
        }
    }
    for (key, span) in [
        ("header_timeout", section.header_timeout),
        ("idle_timeout", section.idle_timeout),
        ("request_deadline", section.request_deadline),
    ] {
        if span.0 < Duration::from_millis(100) {
            tree.problem(
                format!("server.{key}"),
                "no request could be answered in this time",
                "give at least \"100ms\"",
            );
        }
    }
    ServerParams {
        listen: section.listen,
        max_connections: section.max_connections as usize,
        header_timeout: section.header_timeout.0,
        idle_timeout: section.idle_timeout.0,
        request_deadline: section.request_deadline.0,
        max_in_flight: section.max_in_flight as usize,
        admission_wait: section.admission_wait.0,
        drain_timeout: section.drain_timeout.0,
    }
}
