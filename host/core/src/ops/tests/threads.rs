//! Use cases run on whatever thread has time. That they can is for the compiler to say; it says it here rather than in the
//! server, where nobody finds out why.

use super::*;
use crate::ops::life::Tender;
use crate::ops::{authorize, delete, disable, enable, instance_policies, life, patch, policies, purge, restore, sync};

fn nothing<T>() -> Result<T, Error> {
    Err(Error::refused(ReasonCode::NoBody, "nothing"))
}

fn movable(future: impl Future<Output: Send> + Send) {
    drop(future);
}

#[test]
fn what_happens_in_the_life_of_a_key_can_happen_on_any_thread() {
    let world = World::new();
    let (gateway, cx, key) = (&world.gateway, &cx(FIRST), &KeySelector::parse("prod"));
    movable(disable::disable(gateway, cx, key));
    movable(enable::enable(gateway, cx, key));
    movable(delete::delete(gateway, cx, key, nothing()));
    movable(restore::restore(gateway, cx, key, nothing()));
    movable(purge::purge(gateway, cx, key));
    movable(authorize::set(gateway, cx, key));
    movable(authorize::unset(gateway, cx, key));
    movable(patch::patch(gateway, cx, key, nothing()));
    movable(sync::sync(gateway, cx, key));
    movable(policies::read(gateway, cx, key, nothing()));
    movable(policies::write(gateway, cx, key, nothing()));
    movable(instance_policies::read(gateway, cx, nothing()));
    movable(instance_policies::write(gateway, cx, true, nothing()));
    movable(instance_policies::allowed_ip_port(gateway, cx, 443));
    movable(life::tend(gateway));
    movable(Tender::default().tend(gateway));
    assert!(world.audit.events().is_empty(), "a future that nobody awaits does nothing");
}
