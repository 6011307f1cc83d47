//! Who the client is, where a proxy stands before the gateway. Anybody can send a header that names an address, so it is
//! read only from peers that the operator trusts, and only as far as it was written by such.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::ServerParams;

/// The proxies that are believed.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    trusted: Vec<IpNet>,
    header: HeaderName,
}

impl Proxies {
    /// Those of the configuration.
    pub(super) fn of(params: &ServerParams) -> Self {
        Self { trusted: params.trusted_proxies.clone(), header: params.client_address_header.clone() }
    }

    /// The client's address: the peer's own, unless that is a trusted proxy that names another.
    ///
    /// Each proxy appends the address that it was called from, so the list is read from its end, past those that are
    /// trusted themselves; what stands before the first that is not, anybody may have written. Where the list ends before
    /// that, or holds something that is no address, nothing is known of the client, and the proxy's own address counts.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        for value in headers.get_all(&self.header).iter().rev() {
            let Ok(list) = value.to_str() else { return peer };
            for entry in list.rsplit(',') {
                match address(entry.trim()) {
                    Some(address) if self.trusts(address) => {}
                    Some(address) => return address,
                    None => return peer,
                }
            }
        }
        peer
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without a port; one of IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse().ok();
    let with_port = || text.parse().ok().map(|socket: SocketAddr| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().filter(IpAddr::is_ipv6);
    plain.or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn proxies(trusted: &[&str]) -> Proxies {
        let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
        Proxies { trusted, header: HeaderName::from_static("x-forwarded-for") }
    }

    fn client(proxies: &Proxies, peer: &str, values: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(value).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        let none = proxies(&[]);
        assert_eq!(client(&none, "10.0.0.1", &[b"203.0.113.7"]), "10.0.0.1");
        let some = proxies(&["10.0.0.0/8", "2001:db8:1::/48"]);
        assert_eq!(client(&some, "203.0.113.9", &[b"198.51.100.1"]), "203.0.113.9", "spoofed");
        assert_eq!(client(&some, "203.0.113.9", &[b"10.0.0.1"]), "203.0.113.9", "spoofed as a proxy");
        assert_eq!(client(&some, "10.0.0.1", &[b"198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(&some, "::ffff:10.0.0.1", &[b"198.51.100.1"]), "198.51.100.1", "IPv4 on an IPv6 socket");
        assert_eq!(client(&some, "2001:db8:1::5", &[b"2001:db8:2::1"]), "2001:db8:2::1");
        assert_eq!(client(&some, "10.0.0.1", &[]), "10.0.0.1", "a call of the proxy's own");
    }

    #[test]
    fn what_a_client_wrote_itself_is_not_read() {
        let proxies = proxies(&["10.0.0.0/8"]);
        for (values, expected) in [
            // The proxy appended the last; the client sent the rest, in one header or in several.
            (&[&b"1.1.1.1, 203.0.113.7"[..]][..], "203.0.113.7"),
            (&[b"1.1.1.1", b"203.0.113.7"], "203.0.113.7"),
            (&[b"10.9.9.9, 203.0.113.7"], "203.0.113.7"),
            (&[b"\xff\xff", b"203.0.113.7"], "203.0.113.7"),
            (&[b"nonsense,,, 203.0.113.7"], "203.0.113.7"),
            // Through two proxies.
            (&[b"1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            (&[b"1.1.1.1, 203.0.113.7", b"10.0.0.2"], "203.0.113.7"),
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", values), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_no_address_leaves_the_proxys_own() {
        let proxies = proxies(&["10.0.0.0/8"]);
        for value in [
            &b""[..],
            b"unknown",
            b"203.0.113.7,",
            b"203.0.113.7, unknown",
            b"203.0.113.7 10.0.0.2",
            b"203.0.113.0/24",
            b"203.0.113",
            b"[203.0.113.7]",
            b"[2001:db8::1",
            b"2001:db8::1]:1",
            b"for=203.0.113.7",
            b"203.0.113.7:99999",
            b"fe80::1%eth0",
            b"1.1.1.1, \xff",
            b"10.0.0.3, 10.0.0.2",
        ] {
            let found = client(&proxies, "10.0.0.1", &[value]);
            assert_eq!(found, "10.0.0.1", "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn addresses_come_in_every_notation() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ] {
            assert_eq!(address(text).map(|a| a.to_string()).as_deref(), Some(expected));
        }
    }
}
