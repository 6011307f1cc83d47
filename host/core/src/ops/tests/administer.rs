//! What is done to the gateway itself goes through the same rooms.

use super::*;
use crate::access::Action;
use crate::audit::{Outcome, Severity};
use crate::error::{Cause, Reason};
use crate::fakes::world::Script;
use crate::pipeline::Administered;

const RELOAD: Action = Action::ReloadPlugins;

fn done(outcome: Result<u64, Error>) -> Administered<u64> {
    Administered { outcome, facts: vec![("door", "request".to_owned())] }
}

/// A chain that notes of which instance and ring it is told.
struct Curious(std::sync::Mutex<Vec<(String, bool)>>);

impl PolicyGate for Curious {
    fn decide<'a>(&'a self, question: &'a Question, _: Option<Duration>) -> BoxFuture<'a, Decision> {
        let target = &question.target;
        self.0.lock().unwrap().push((target.instance_id.clone(), target.key_ring.is_some()));
        let verdict = Verdict::Allow(Vec::new());
        Box::pin(std::future::ready(Decision { verdict, generation: 0, trail: Vec::new() }))
    }
}

#[test]
fn rules_are_told_of_the_gateway_and_of_no_instance_that_the_request_names() {
    let world = World::new();
    let gate = Arc::new(Curious(std::sync::Mutex::default()));
    let gateway = Gateway { gate: gate.clone(), ..world.twin() };
    let asked = RequestContext { ring: Some(KeyRingId::parse("prod").unwrap()), ..cx(FIRST) };
    assert_eq!(block_on(gateway.administer(&asked, RELOAD, async || done(Ok(7)))).unwrap(), 7);
    assert_eq!(*gate.0.lock().unwrap(), [(InstanceId::GATEWAY.to_string(), false)]);
    assert_eq!(InstanceId::GATEWAY.to_string(), "00000000-0000-0000-0000-000000000000");
    let events = world.audit.events();
    let event = &events[0];
    assert_eq!((event.action.as_str(), event.severity), ("keygate.plugins.reload", Severity::Warning));
    assert_eq!((event.instance, &event.initiator.id), (None, &asked.principal.id));
    assert_eq!(event.response, [("door", "request".to_owned())]);
}

#[test]
fn who_may_not_changes_nothing_and_learns_nothing_and_is_recorded() {
    let world = World::new();
    world.gate.say(Script::Deny);
    let flawed = RequestContext { flaws: vec![Reason::new(ReasonCode::BadBody, "a body")], ..cx(FIRST) };
    for asked in [&cx(FIRST), &flawed] {
        let refused =
            block_on(world.gateway.administer(asked, RELOAD, async || -> Administered<u64> { panic!("done") }));
        assert!(matches!(refused, Err(Error::Denied(_))));
    }
    world.gate.say(Script::Allow);
    let refused = block_on(world.gateway.administer(&flawed, RELOAD, async || -> Administered<u64> { panic!("done") }));
    assert_eq!(code(refused), ReasonCode::BadBody);
    world.gate.say(Script::Oblige(vec![("odd", "dance", String::new())]));
    let refused =
        block_on(world.gateway.administer(&cx(FIRST), RELOAD, async || -> Administered<u64> { panic!("done") }));
    assert!(matches!(refused, Err(Error::Denied(_))));
    let severities: Vec<_> = world.audit.events().iter().map(|event| event.severity).collect();
    assert_eq!(severities, [Severity::Critical, Severity::Critical, Severity::Warning, Severity::Critical]);
}

#[test]
fn a_failure_leaves_its_facts_too_and_what_cannot_be_recorded_is_not_done() {
    let world = World::new();
    let fail = async || done(Err(Error::refused(ReasonCode::ReloadRefused, "no")));
    let refused = block_on(world.gateway.administer_itself(RELOAD, "id", fail));
    assert_eq!(code(refused), ReasonCode::ReloadRefused);
    assert_eq!(world.gate.asked(), [], "nobody asked, so no rule was");
    let events = world.audit.events();
    assert_eq!(events[0].outcome, Outcome::Failure(Cause::Refused(ReasonCode::ReloadRefused)));
    assert_eq!((events[0].initiator.id.as_str(), events[0].correlation_id.as_str()), ("keygate", "id"));
    assert_eq!(events[0].response, [("door", "request".to_owned())]);

    world.audit.break_down();
    let lost = block_on(world.gateway.administer_itself(RELOAD, "id", async || done(Ok(1))));
    assert!(matches!(lost, Err(Error::Unrecorded(_))));
    world.audit.fill_up();
    let refused =
        block_on(world.gateway.administer(&cx(FIRST), RELOAD, async || -> Administered<u64> { panic!("done") }));
    assert!(matches!(refused, Err(Error::Unavailable { .. })));
}
