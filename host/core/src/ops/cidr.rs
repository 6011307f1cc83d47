//! Ranges of addresses, as `allowedIP` policies write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The one text for a range: bits of the address beyond its prefix are taken as 0, as every reader of such a range takes
/// them; an IPv6 address is in its short form; a range of IPv4 addresses that are mapped into IPv6 is one of IPv4 addresses.
///
/// # Errors
/// What a range looks like.
pub(super) fn canonical(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "an address and the length of its prefix, such as 192.0.2.0/24 or 2001:db8::/32";
    let (base, prefix) = text.split_once('/').ok_or(RULE)?;
    let base: IpAddr = base.parse().map_err(|_| RULE)?;
    // A number reads `+8` and `08`, too, which other readers may take for something else.
    let plain = prefix.bytes().all(|byte| byte.is_ascii_digit()) && (prefix.len() == 1 || !prefix.starts_with('0'));
    let prefix: u32 = prefix.parse().ok().filter(|_| plain).ok_or(RULE)?;
    let (base, prefix) = match base.to_canonical() {
        IpAddr::V4(mapped) if base.is_ipv6() && prefix >= 96 => (IpAddr::V4(mapped), prefix - 96),
        _ => (base, prefix),
    };
    // A shift by all the bits there are is what `checked_shl` refuses: nothing is left then.
    match base {
        IpAddr::V4(base) => {
            let rest = u32::BITS.checked_sub(prefix).ok_or(RULE)?;
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Ok(format!("{}/{prefix}", Ipv4Addr::from_bits(base.to_bits() & mask)))
        }
        IpAddr::V6(base) => {
            let rest = u128::BITS.checked_sub(prefix).ok_or(RULE)?;
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Ok(format!("{}/{prefix}", Ipv6Addr::from_bits(base.to_bits() & mask)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_get_one_text() {
        for (text, expected) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("255.255.255.255/31", "255.255.255.254/31"),
            ("2001:0DB8:0:0::1/32", "2001:db8::/32"),
            ("2001:db8::1/128", "2001:db8::1/128"),
            ("::1/0", "::/0"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/90", "::ffc0:0:0/90"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "010.0.0.0/8",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "2001:db8::/129",
            "2001:db8::%1/64",
            "[2001:db8::]/32",
            "example.org/24",
            "10.0.0.0/99999999999",
        ] {
            assert!(canonical(text).is_err(), "{text}");
        }
    }
}
