//! The instance policies on where requests may come from: `allowedNetwork` and `allowedIP`.
//!
//! A policy that cannot be understood lets nobody in, and a request that comes from nowhere is let in by none that asks
//! where from: the gateway's own background work never asks a rule.

use core::net::IpAddr;

use keygate_plugin_sdk::host::log;
use keygate_plugin_sdk::rule::{Endpoint, InstancePolicy};

use crate::question::Question;

/// Whether the request comes from where the instance takes none.
pub(crate) fn keeps_out(question: &mut Question<'_>) -> bool {
    question.policies().iter().any(|policy| {
        let out = match policy.kind.as_str() {
            "allowedNetwork" => wrong_door(policy, question),
            "allowedIP" => strange_address(policy, question),
            _ => false,
        };
        if out {
            // The caller learns nothing, so this is where the operator finds out which policy it was.
            log::debug("an instance policy keeps the caller out", &[("policy", &policy.kind)]);
        }
        out
    })
}

/// `allowedNetwork`: whether only the private endpoint is open and the request came in by the public one, or by none.
fn wrong_door(policy: &InstancePolicy, question: &mut Question<'_>) -> bool {
    let network = question.network();
    if network.address.is_some() && network.endpoint == Endpoint::Private {
        return false;
    }
    let mut values = policy.values("allowed_network");
    values.next() != Some("public-and-private") || values.next().is_some()
}

/// `allowedIP`: whether the address is outside every range. No address is.
fn strange_address(policy: &InstancePolicy, question: &mut Question<'_>) -> bool {
    let Some(address) = &question.network().address else { return true };
    let Ok(address) = address.parse::<IpAddr>() else { return true };
    let address = address.to_canonical();
    !policy.values("allowed_ip").any(|range| contains(range, address))
}

/// Whether a range in CIDR notation has the address, which is canonical. One that is no range has none. Bits of the
/// range's address beyond its prefix do not count.
fn contains(range: &str, address: IpAddr) -> bool {
    let Some((base, prefix)) = parse(range) else { return false };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let mask = 32_u32.checked_sub(prefix).map(|zeros| u32::MAX.checked_shl(zeros).unwrap_or(0));
            mask.is_some_and(|mask| base.to_bits() & mask == address.to_bits() & mask)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let mask = 128_u32.checked_sub(prefix).map(|zeros| u128::MAX.checked_shl(zeros).unwrap_or(0));
            mask.is_some_and(|mask| base.to_bits() & mask == address.to_bits() & mask)
        }
        _ => false,
    }
}

/// Address and prefix length of a range. A range of IPv4 addresses that are mapped into IPv6 is one of IPv4 addresses, as
/// these addresses are.
fn parse(range: &str) -> Option<(IpAddr, u32)> {
    let (base, prefix) = range.split_once('/')?;
    // A number reads `+8` and `08`, which other readers of the same policy may take for something else.
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) || (prefix.len() > 1 && prefix.starts_with('0')) {
        return None;
    }
    let (base, prefix) = (base.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
    match base.to_canonical() {
        IpAddr::V4(mapped) if base.is_ipv6() && prefix >= 96 => Some((IpAddr::V4(mapped), prefix - 96)),
        _ => Some((base, prefix)),
    }
}
