//! `[server]`: the doors.

use super::*;

#[test]
fn the_doors_come_out_typed() {
    let server = |more: &str| good(&GOOD.replace("[server]", &format!("[server]\n{more}")), &[]).server;
    let plain = server("");
    assert_eq!((plain.private_listen, plain.private_port), (None, None));
    assert_eq!(plain.trusted_proxies, []);
    assert_eq!(plain.client_address_header, "x-forwarded-for");
    let doors = server(
        r#"
private_listen = "127.0.0.1:9001"
private_port = 443
trusted_proxies = ["10.0.0.0/8", " 2001:db8::/32", "192.0.2.1"]
client_address_header = "X-Real-IP"
"#,
    );
    assert_eq!(doors.private_listen.unwrap().port(), 9001);
    assert_eq!(doors.private_port, Some(443));
    let networks: Vec<_> = doors.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]);
    assert_eq!(doors.client_address_header, "x-real-ip");
    assert_eq!(good(&GOOD.replace("[limits]", "[limits]\nrate_limit = 50"), &[]).rate_limit, 50);
}

#[test]
fn doors_that_would_not_be_what_was_meant_are_refused() {
    for (more, at, words) in [
        ("private_port = 443", "server.private_port", "private_listen"),
        ("private_listen = \"127.0.0.1:1\"\nprivate_port = 0", "server.private_port", "1 to 65535"),
        ("private_listen = \"nowhere\"", "server.private_listen", ""),
        ("trusted_proxies = [\"10.0.0.0/8\", \"proxy.example.com\"]", "server.trusted_proxies[1]", "CIDR"),
        ("trusted_proxies = [\"10.0.0.0/33\"]", "server.trusted_proxies[0]", "CIDR"),
        ("trusted_proxies = [\"0.0.0.0/0\"]", "server.trusted_proxies[0]", "own networks"),
        ("trusted_proxies = [\"::/0\"]", "server.trusted_proxies[0]", "own networks"),
        ("trusted_proxies = [\"::ffff:10.0.0.0/104\"]", "server.trusted_proxies[0]", "as IPv4"),
        ("client_address_header = \"no name\"", "server.client_address_header", "X-Forwarded-For"),
        ("client_address_header = \"Forwarded\"", "server.client_address_header", "plain addresses"),
    ] {
        let (found, _, mend) = wrong(&GOOD.replace("[server]", &format!("[server]\n{more}")), &[]);
        assert_eq!(found, at, "{more}");
        assert!(mend.contains(words), "{more}: {mend}");
    }
    let (at, _, mend) = wrong(&GOOD.replace("[limits]", "[limits]\nrate_limit = 1000001"), &[]);
    assert_eq!(at, "limits.rate_limit");
    assert!(mend.contains("0 for no limit"), "{mend}");
    let (at, ..) = wrong(GOOD, &[("KEYGATE__SERVER__TRUSTED_PROXIES", "10.0.0.0/8")]);
    assert_eq!(at, "server.trusted_proxies");
}
