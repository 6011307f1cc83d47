//! What the numbers in steps are called.

use super::real::INSTANCE;
use crate::access::{Network, Principal, PrincipalKind};
use crate::crn::ResourceCrn;
use crate::ids::KeyRingId;
use crate::pipeline::RequestContext;

pub(super) fn by(user: u8) -> RequestContext {
    RequestContext {
        correlation_id: "c0ffee".to_owned(),
        principal: Principal {
            id: format!("IBMid-{user}"),
            name: None,
            kind: PrincipalKind::User,
            account: "a".repeat(32),
            assignments: Vec::new(),
            attributes: Vec::new(),
        },
        instance: INSTANCE,
        ring: None,
        network: Network::default(),
        request_uri: "/api/v2/keys".to_owned(),
        timeout: None,
        flaws: Vec::new(),
    }
}

pub(super) fn service() -> RequestContext {
    let mut cx = by(0);
    cx.principal.kind = PrincipalKind::Service { name: "cloud-object-storage".to_owned() };
    cx
}

pub(super) fn alias_name(number: u8) -> String {
    format!("alias-{number}")
}

pub(super) fn ring_id(number: u8) -> KeyRingId {
    match number {
        0 => KeyRingId::default(),
        number => KeyRingId::parse(&format!("ring-{number}")).unwrap(),
    }
}

pub(super) fn ring_number(ring: &KeyRingId) -> u8 {
    if ring.is_default() { 0 } else { trailing_number(ring.as_str()) }
}

pub(super) fn resource_crn(number: u8) -> String {
    format!("crn:v1:bluemix:public:cloud-object-storage:global:a/{}:{number}:bucket:b-{number}", "a".repeat(32))
}

pub(super) fn resource_number(crn: &ResourceCrn) -> u8 {
    trailing_number(crn.as_str())
}

/// What stands behind the last dash.
pub(super) fn trailing_number(text: &str) -> u8 {
    text.rsplit('-').next().and_then(|number| number.parse().ok()).expect("a name with a number")
}
