//! `[server]`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use serde::Deserialize;

use super::duration::Span;
use super::tree::Tree;

/// How the gateway listens and how much it takes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerParams {
    /// Where to listen. Port 0 lets the operating system choose.
    pub listen: SocketAddr,
    /// Where the private endpoint listens, if there is one.
    pub private_listen: Option<SocketAddr>,
    /// The private endpoint's port as clients see it, where that is not the one it listens on.
    pub private_port: Option<u16>,
    /// The addresses of proxies that are believed about who their clients are.
    pub trusted_proxies: Vec<IpNet>,
    /// The header that they say it in.
    pub client_address_header: HeaderName,
    /// The most connections open at once, at each endpoint. More wait in the operating system's queue.
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
    /// How often the files that plugins are made from are looked at, to reload when they change. `None`: never.
    pub watch: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    listen: SocketAddr,
    private_listen: Option<SocketAddr>,
    private_port: Option<u16>,
    trusted_proxies: Vec<String>,
    client_address_header: String,
    max_connections: u32,
    header_timeout: Span,
    idle_timeout: Span,
    request_deadline: Span,
    max_in_flight: u32,
    admission_wait: Span,
    drain_timeout: Span,
    watch: Option<Span>,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            private_listen: None,
            private_port: None,
            trusted_proxies: Vec::new(),
            client_address_header: "X-Forwarded-For".to_owned(),
            max_connections: 1024,
            header_timeout: Span::secs(10),
            idle_timeout: Span::secs(60),
            request_deadline: Span::secs(30),
            max_in_flight: 256,
            admission_wait: Span::secs(2),
            drain_timeout: Span::secs(15),
            watch: None,
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
    if section.watch.is_some_and(|every| !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&every.0)) {
        let mend = "give \"100ms\" to \"1h\", such as \"2s\", or leave it out";
        tree.problem("server.watch", "files are not looked at that often, or that seldom", mend);
    }
    private_port(tree, &section);
    ServerParams {
        listen: section.listen,
        private_listen: section.private_listen,
        private_port: section.private_port,
        trusted_proxies: trusted_proxies(tree, &section.trusted_proxies),
        client_address_header: client_address_header(tree, &section.client_address_header),
        max_connections: section.max_connections as usize,
        header_timeout: section.header_timeout.0,
        idle_timeout: section.idle_timeout.0,
        request_deadline: section.request_deadline.0,
        max_in_flight: section.max_in_flight as usize,
        admission_wait: section.admission_wait.0,
        drain_timeout: section.drain_timeout.0,
        watch: section.watch.map(|every| every.0),
    }
}

fn private_port(tree: &mut Tree, section: &Section) {
    match (section.private_port, section.private_listen) {
        (Some(0), _) => tree.problem("server.private_port", "clients cannot connect to port 0", "give 1 to 65535"),
        (Some(_), None) => tree.problem(
            "server.private_port",
            "there is no private endpoint that this could be the port of",
            "set `server.private_listen`, or remove this key",
        ),
        _ => {}
    }
}

fn trusted_proxies(tree: &mut Tree, entries: &[String]) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        match network(entry.trim()) {
            Ok(network) => networks.push(network),
            Err((problem, mend)) => tree.problem(format!("server.trusted_proxies[{i}]"), problem, mend),
        }
    }
    networks
}

/// A network, or a single address.
fn network(text: &str) -> Result<IpNet, (&'static str, &'static str)> {
    let single = |address: IpAddr| IpNet::from(address);
    let Ok(network) = text.parse::<IpNet>().or_else(|_| text.parse().map(single)) else {
        return Err(("this is no network", "write it as CIDR, such as \"10.0.0.0/8\" or \"2001:db8::/32\""));
    };
    match network {
        // Everybody could then say who they are.
        _ if network.prefix_len() == 0 => Err(("this trusts every address there is", "name the proxies' own networks")),
        // Peers that come by IPv4 are known by their IPv4 address, so this would never match.
        IpNet::V6(mapped) if mapped.addr().to_ipv4_mapped().is_some() => {
            Err(("this is an IPv4 network in IPv6 notation", "write it as IPv4, such as \"10.0.0.0/8\""))
        }
        _ => Ok(network),
    }
}

fn client_address_header(tree: &mut Tree, name: &str) -> HeaderName {
    let path = "server.client_address_header";
    match HeaderName::try_from(name) {
        Ok(header) if header == http::header::FORWARDED => {
            let mend = "let the proxy send a list of plain addresses, as in X-Forwarded-For, and name that header";
            tree.problem(path, "the notation of `Forwarded` is not read", mend);
        }
        Ok(header) => return header,
        Err(_) => tree.problem(path, "this is no name of a header", "write a name such as \"X-Forwarded-For\""),
    }
    HeaderName::from_static("x-forwarded-for")
}
