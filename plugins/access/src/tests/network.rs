//! Doors and addresses.

use keygate_plugin_sdk::testing;

use super::*;
use crate::roles::{Callers, TABLE};

fn by(endpoint: Endpoint, address: Option<&str>) -> Request {
    let mut request = about_key("kms.secrets.wrap", assignment("Reader"));
    request.network = Network { address: address.map(str::to_owned), endpoint };
    request
}

/// Whether an instance with these ranges takes a request from this address.
fn takes(ranges: &[&str], address: &str) -> bool {
    let attributes: Vec<_> = ranges.iter().map(|range| ("allowed_ip", *range)).collect();
    let outcomes = [Endpoint::Public, Endpoint::Private].map(|endpoint| {
        let (outcome, memo) = ask_all(&under(by(endpoint, Some(address)), "allowedIP", &attributes));
        assert_eq!(memo.reads, basis() | Facts::NETWORK);
        outcome
    });
    assert_eq!(outcomes[0], outcomes[1], "by which door must not matter");
    match outcomes[0] {
        Outcome::Allowed => true,
        Outcome::Unauthorized => false,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_private_instance_has_one_door() {
    let cases: &[(&[(&str, &str)], bool)] = &[
        (&[("allowed_network", "public-and-private")], true),
        (&[("allowed_network", "private-only")], false),
        // What cannot be understood opens nothing.
        (&[("allowed_network", "Public-And-Private")], false),
        (&[("allowed_network", "")], false),
        (&[("allowed_network", "public-and-private"), ("allowed_network", "private-only")], false),
        (&[("network", "public-and-private")], false),
        (&[], false),
    ];
    for (attributes, open) in cases {
        let ask = |endpoint, address| ask(&under(by(endpoint, address), "allowedNetwork", attributes));
        let public = if *open { Outcome::Allowed } else { Outcome::Unauthorized };
        assert_eq!(ask(Endpoint::Public, Some("10.0.0.1")), public, "{attributes:?}");
        assert_eq!(ask(Endpoint::Private, Some("10.0.0.1")), Outcome::Allowed, "{attributes:?}");
        for endpoint in [Endpoint::Public, Endpoint::Private] {
            assert_eq!(
                ask(endpoint, None),
                public,
                "{attributes:?}: what comes from nowhere came in by no private door"
            );
        }
    }
}

#[test]
fn network_policies_are_about_every_action() {
    for row in TABLE {
        let is_ours = row.action.starts_with("keygate.");
        let action = if is_ours { row.action.to_owned() } else { format!("kms.{}", row.action) };
        let kind = if row.callers == Callers::Services { PrincipalKind::Service } else { PrincipalKind::User };
        let request = request(&action, kind, ["Manager", "KeyPurge", "Administrator"].map(assignment).to_vec());
        assert_eq!(ask(&request), Outcome::Allowed, "{action}");
        let public = under(request.clone(), "allowedNetwork", &[("allowed_network", "private-only")]);
        assert_eq!(ask(&public), Outcome::Unauthorized, "{action}");
        let outside = under(request, "allowedIP", &[("allowed_ip", "10.0.0.0/8")]);
        assert_eq!(ask(&outside), Outcome::Unauthorized, "{action}");
    }
}

#[test]
fn addresses_are_in_a_range_or_not() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("203.0.113.0/24", &["203.0.113.0", "203.0.113.255"], &["203.0.112.255", "203.0.114.0", "::1"]),
        ("203.0.113.7/32", &["203.0.113.7"], &["203.0.113.6", "203.0.113.8"]),
        ("203.0.113.6/31", &["203.0.113.6", "203.0.113.7"], &["203.0.113.5", "203.0.113.8"]),
        ("128.0.0.0/1", &["128.0.0.0", "255.255.255.255"], &["127.255.255.255", "0.0.0.0"]),
        ("0.0.0.0/0", &["0.0.0.0", "203.0.113.7", "255.255.255.255"], &["::1", "2001:db8::1"]),
        // Bits beyond the prefix do not count.
        ("10.1.2.3/8", &["10.0.0.0", "10.255.255.255"], &["11.1.2.3"]),
        ("2001:db8::/32", &["2001:db8::1", "2001:db8:ffff::"], &["2001:db9::", "32.1.13.184"]),
        ("2001:db8::1/128", &["2001:db8::1"], &["2001:db8::", "2001:db8::2"]),
        ("fe80::/10", &["febf::1"], &["fec0::1"]),
        ("::/0", &["::", "2001:db8::1"], &["203.0.113.7", "::ffff:203.0.113.7"]),
        // An IPv4 address that is mapped into IPv6 is the IPv4 address, on either side.
        ("203.0.113.0/24", &["::ffff:203.0.113.7", "::ffff:cb00:7107"], &["::203.0.113.7", "::ffff:203.0.114.7"]),
        ("::ffff:203.0.113.0/120", &["203.0.113.7", "::ffff:203.0.113.7"], &["203.0.114.7", "::1"]),
        ("::ffff:0:0/96", &["0.0.0.0", "203.0.113.7"], &["::1", "::fffe:203.0.113.7"]),
        ("::ffff:0:0/95", &["::fffe:203.0.113.7"], &["203.0.113.7"]),
    ];
    for (range, inside, outside) in cases {
        for address in *inside {
            assert!(takes(&[range], address), "{address} is in {range}");
        }
        for address in *outside {
            assert!(!takes(&[range], address), "{address} is not in {range}");
        }
    }
}

#[test]
fn one_range_of_several_is_enough_and_none_is_not() {
    let ranges = ["10.0.0.0/8", "rubbish", "203.0.113.0/24", "2001:db8::/32"];
    assert!(takes(&ranges, "203.0.113.7"));
    assert!(takes(&ranges, "2001:db8::7"));
    assert!(!takes(&ranges, "198.51.100.7"));
    assert!(!takes(&[], "203.0.113.7"));
}

#[test]
fn what_is_no_range_has_nobody_in_it() {
    for range in [
        "",
        "/",
        "/0",
        "/24",
        "0.0.0.0",
        "203.0.113.7",
        "0.0.0.0/",
        "0.0.0.0/33",
        "0.0.0.0/256",
        "0.0.0.0/-1",
        "0.0.0.0/+0",
        "0.0.0.0/00",
        "0.0.0.0/08",
        "0.0.0.0/0x0",
        "0.0.0.0/0.0.0.0",
        "0.0.0.0/0/0",
        "0.0.0.0 /0",
        " 0.0.0.0/0",
        "0.0.0.0/0 ",
        "0.0.0.0/\u{0660}",
        "0.0.0.0/99999999999999999999",
        "0.0.0/0",
        "00.0.0.0/0",
        "0.0.0.0.0/0",
        "256.0.0.0/0",
        "example.com/0",
        "*/0",
        "any",
        "all",
        "::/129",
        "::/",
        "::1%eth0/0",
        "[::]/0",
        "::ffff:0:0/129",
        "0.0.0.0/0,10.0.0.0/8",
    ] {
        for address in ["203.0.113.7", "2001:db8::1", "0.0.0.0", "::"] {
            assert!(!takes(&[range], address), "{address} in {range:?}");
        }
    }
}

#[test]
fn an_address_that_is_none_is_outside() {
    for address in ["", "unknown", "203.0.113.7:443", "203.0.113.7 ", "[::1]", "fe80::1%eth0", "0203.0.113.7", "10.1"] {
        assert!(!takes(&["0.0.0.0/0", "::/0"], address), "{address:?}");
    }
    for endpoint in [Endpoint::Public, Endpoint::Private] {
        let from_nowhere =
            under(by(endpoint, None), "allowedIP", &[("allowed_ip", "0.0.0.0/0"), ("allowed_ip", "::/0")]);
        assert_eq!(ask(&from_nowhere), Outcome::Unauthorized);
        assert_eq!(ask(&by(endpoint, None)), Outcome::Allowed, "without a policy nobody asks where from");
    }
}

#[test]
fn both_policies_hold_together() {
    let both = |request| {
        let request = under(request, "allowedNetwork", &[("allowed_network", "private-only")]);
        ask(&under(request, "allowedIP", &[("allowed_ip", "10.0.0.0/8")]))
    };
    assert_eq!(both(by(Endpoint::Private, Some("10.0.0.1"))), Outcome::Allowed);
    assert_eq!(both(by(Endpoint::Private, Some("11.0.0.1"))), Outcome::Unauthorized);
    assert_eq!(both(by(Endpoint::Public, Some("10.0.0.1"))), Outcome::Unauthorized);
}

#[test]
fn being_let_in_gives_no_right() {
    let mut request = under(by(Endpoint::Private, Some("10.0.0.1")), "allowedIP", &[("allowed_ip", "10.0.0.0/8")]);
    request.principal.assignments.clear();
    assert_eq!(ask(&request), Outcome::Unauthorized);
}

#[test]
fn the_operator_can_find_out_which_policy_it_was() {
    testing::reset(0);
    for (kind, attribute) in [("allowedIP", ("allowed_ip", "10.0.0.0/8")), ("allowedNetwork", ("allowed_network", ""))]
    {
        assert_eq!(ask(&under(by(Endpoint::Public, Some("203.0.113.7")), kind, &[attribute])), Outcome::Unauthorized);
        let log = testing::take_log();
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].fields, [("policy".to_owned(), kind.to_owned())]);
    }
}
