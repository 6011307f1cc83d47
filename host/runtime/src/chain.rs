//! The policy chain: asks the rules in their order and makes one decision of what they say.

pub(crate) mod explain;
mod watch;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_core::access::question::Question;
use keygate_core::access::{Answer, Decision, Denial, DenialKind, Obligation, RuleAnswer, Verdict};
use keygate_core::backend::Call;
use keygate_core::error::{FaultKind, ReasonCode};

use crate::bindings::convert::{self, Decided};
use crate::bindings::policy::keygate::policy::types::Request;
use crate::contract::{RuleContract, RuleDescription};
use crate::faults::CallError;
use crate::manifest::scope::matches;
use crate::manifest::{Mode, Scope};
use crate::sandbox::{Plugin, bounded};

/// A rule in its place.
pub(crate) struct Rule {
    pub(crate) plugin: Arc<Plugin<RuleContract>>,
    pub(crate) description: RuleDescription,
    pub(crate) mode: Mode,
    /// What it is asked about here.
    pub(crate) scope: Scope,
    /// What it is asked about at earlier places in the chain. It has had its say then.
    pub(crate) before: Vec<Scope>,
}

/// Whether a rule is asked about a question, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// It is.
    Asked,
    /// The question is not in the scope of the rule's place in the chain.
    OutOfScope,
    /// It was asked at an earlier place.
    AskedBefore,
    /// The rule itself has nothing to say to the action.
    NotItsAction,
}

/// What came of asking a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It answered.
    Said(Decided),
    /// It failed, or answered with an error. Counts as a refusal.
    Fault(String),
    /// There was no sandbox to ask it in. Nothing is allowed then: an unasked rule could have said no.
    Busy,
}

impl Rule {
    /// Whether it is asked about a question. Makes no sandbox, and costs next to nothing.
    pub(crate) fn concern(&self, question: &Question) -> Concern {
        if !self.scope.admits(question) {
            Concern::OutOfScope
        } else if self.before.iter().any(|scope| scope.admits(question)) {
            Concern::AskedBefore
        } else if !self.speaks_to(question) {
            Concern::NotItsAction
        } else {
            Concern::Asked
        }
    }

    /// Whether the rule itself has something to say to the question's action.
    fn speaks_to(&self, question: &Question) -> bool {
        is_among(&self.description.actions, &question.action)
    }

    /// Who speaks when it does.
    fn voice(&self, place: usize) -> Voice<'_> {
        let facts = &self.plugin.facts;
        Voice { place, rule: &facts.name, digest: &facts.digest, enforced: self.mode == Mode::Enforce }
    }

    pub(crate) async fn ask(&self, request: &Request, wait: Wait, timeout: Option<Duration>) -> Heard {
        match self.call(request, wait, timeout).await {
            Ok(decided) => Heard::Said(decided),
            Err(CallError::Busy) => Heard::Busy,
            Err(CallError::Fault(fault)) => {
                tracing::warn!(rule = %self.plugin.facts.name, request = %request.request_id, "{fault}");
                Heard::Fault(fault.to_string())
            }
        }
    }

    async fn call(&self, request: &Request, wait: Wait, timeout: Option<Duration>) -> Result<Decided, CallError> {
        const FUNCTION: &str = "evaluate";
        let facts = &self.plugin.facts;
        let output = |message: String| CallError::Fault(facts.fault(FUNCTION, FaultKind::Output, message));
        let call = Call { request_id: &request.request_id, timeout };
        let mut sandbox = match wait {
            Wait::ForPlace => self.plugin.enter(FUNCTION, call).await?,
            Wait::Not => self.plugin.enter_if_free(FUNCTION, call).await?,
        };
        sandbox.stand_at(request.now_unix_ms);
        let rule = sandbox.guest.keygate_policy_rule();
        let outcome = bounded(sandbox.until, rule.call_evaluate(&mut sandbox.store, request)).await;
        match sandbox.outcome(outcome)? {
            Ok(verdict) => convert::decision(verdict.decision, &facts.name).map_err(output),
            Err(text) => Err(output(format!("it answered with an error: {}", convert::rule_error(&text)))),
        }
    }
}

/// Whether a rule is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For as long as a call waits for a sandbox.
    ForPlace,
    /// Whoever is only watching lets others go first.
    Not,
}

/// Whether a list of actions, of which some may be prefixes with a `*`, has this action. The empty list has all.
fn is_among(actions: &[String], action: &str) -> bool {
    actions.is_empty() || actions.iter().any(|known| matches(known, action))
}

/// Asks a chain: those whose answer counts, one after another until the verdict is final, and then those who only watch,
/// who are not waited for long. A rule that is not concerned is not asked, and nothing is told of it. Each may take
/// `timeout`, beside its own limit.
pub(crate) async fn decide(
    chain: &[Rule],
    generation: u64,
    question: &Question,
    timeout: Option<Duration>,
) -> Decision {
    let began = Instant::now();
    let mut fold = Fold::default();
    let concerned = chain.iter().enumerate().filter(|(_, rule)| rule.concern(question) == Concern::Asked);
    let (enforced, watching): (Vec<_>, Vec<_>) = concerned.partition(|(_, rule)| rule.mode == Mode::Enforce);
    if enforced.is_empty() && watching.is_empty() {
        return fold.finish(generation);
    }
    let request = convert::request(question);
    for (place, rule) in enforced {
        let started = Instant::now();
        let heard = rule.ask(&request, Wait::ForPlace, timeout).await;
        if fold.hear(&rule.voice(place), heard, started.elapsed()).is_break() {
            break;
        }
    }
    let heard = watch::ask(&watching, &request, timeout, began.elapsed().max(watch::PATIENCE)).await;
    for ((place, rule), (heard, took)) in watching.into_iter().zip(heard) {
        // Its answer counts for nothing, so it cannot end anything either.
        let _ = fold.hear(&rule.voice(place), heard, took);
    }
    fold.finish(generation)
}

/// Who speaks.
struct Voice<'a> {
    /// Where in the chain.
    place: usize,
    rule: &'a str,
    digest: &'a str,
    enforced: bool,
}

impl Voice<'_> {
    /// What it said, for the trail.
    fn answer(&self, heard: &Heard, took: Duration) -> RuleAnswer {
        let (answer, obligations) = match heard {
            Heard::Said(Decided::Abstain) => (Answer::Abstain, Vec::new()),
            Heard::Said(Decided::Allow(obligations)) => (Answer::Allow, obligations.clone()),
            Heard::Said(Decided::Deny(denial)) => (Answer::Deny(denial.code.clone()), Vec::new()),
            Heard::Fault(message) => (Answer::Fault(message.clone()), Vec::new()),
            Heard::Busy if self.enforced => {
                (Answer::Fault("no sandbox came free in time to ask it in".to_owned()), Vec::new())
            }
            Heard::Busy => (Answer::Fault("it was not asked: no sandbox was free".to_owned()), Vec::new()),
        };
        let (rule, digest) = (self.rule.to_owned(), self.digest.to_owned());
        RuleAnswer { rule, digest, enforced: self.enforced, answer, obligations, took }
    }
}

/// The decision in the making.
#[derive(Default)]
struct Fold {
    /// With each rule's place in the chain.
    trail: Vec<(usize, RuleAnswer)>,
    allowed: bool,
    obligations: Vec<Obligation>,
    denial: Option<Denial>,
    busy: bool,
}

impl Fold {
    /// Takes in what a rule said. Breaks when the verdict is final and nobody else's answer can count.
    fn hear(&mut self, voice: &Voice<'_>, heard: Heard, took: Duration) -> ControlFlow<()> {
        self.trail.push((voice.place, voice.answer(&heard, took)));
        if !voice.enforced {
            return ControlFlow::Continue(());
        }
        self.denial = match heard {
            Heard::Said(Decided::Abstain) => None,
            Heard::Said(Decided::Allow(obligations)) => {
                self.allowed = true;
                self.obligations.extend(obligations);
                None
            }
            Heard::Said(Decided::Deny(denial)) => Some(denial),
            Heard::Fault(_) => Some(refusal(
                ReasonCode::PolicyFault.as_str(),
                "A policy rule failed, so the request is refused; tell the operator of the gateway",
            )),
            Heard::Busy => {
                self.busy = true;
                None
            }
        };
        if self.busy || self.denial.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finish(mut self, generation: u64) -> Decision {
        self.trail.sort_by_key(|(place, _)| *place);
        let verdict = match self.denial {
            _ if self.busy => Verdict::Busy,
            Some(denial) => Verdict::Deny(denial),
            None if self.allowed => Verdict::Allow(self.obligations),
            None => Verdict::Deny(Denial {
                kind: DenialKind::Unauthorized,
                code: ReasonCode::Unauthorized.as_str().to_owned(),
                message: String::new(),
            }),
        };
        Decision { verdict, generation, trail: self.trail.into_iter().map(|(_, answer)| answer).collect() }
    }
}

fn refusal(code: &str, message: &str) -> Denial {
    Denial { kind: DenialKind::Forbidden, code: code.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deny(code: &str) -> Heard {
        Heard::Said(Decided::Deny(refusal(code, "")))
    }

    fn allow() -> Heard {
        Heard::Said(Decided::Allow(vec![]))
    }

    fn abstain() -> Heard {
        Heard::Said(Decided::Abstain)
    }

    /// Decides as [`decide`] does, from answers that are there already, each with whether it is enforced.
    fn decided(answers: Vec<(bool, Heard)>) -> Decision {
        let mut fold = Fold::default();
        for mode in [true, false] {
            for (place, (enforced, heard)) in answers.iter().enumerate().filter(|(_, (enforced, _))| *enforced == mode)
            {
                let voice = Voice { place, rule: "rule", digest: "digest", enforced: *enforced };
                if fold.hear(&voice, heard.clone(), Duration::ZERO).is_break() {
                    break;
                }
            }
        }
        fold.finish(7)
    }

    fn code(decision: &Decision) -> &str {
        match &decision.verdict {
            Verdict::Allow(_) => "allowed",
            Verdict::Deny(denial) => &denial.code,
            Verdict::Busy => "busy",
        }
    }

    #[test]
    fn without_an_allow_there_is_no_access() {
        for answers in [vec![], vec![(true, abstain())], vec![(true, abstain()), (true, abstain())]] {
            let decision = decided(answers);
            assert_eq!(code(&decision), "UNAUTHORIZED_ERR");
            assert!(matches!(&decision.verdict, Verdict::Deny(d) if d.kind == DenialKind::Unauthorized));
        }
    }

    #[test]
    fn one_allow_is_enough_and_one_denial_is_too_much_wherever_it_comes() {
        assert_eq!(code(&decided(vec![(true, abstain()), (true, allow()), (true, abstain())])), "allowed");
        assert_eq!(code(&decided(vec![(true, allow()), (true, deny("NO"))])), "NO");
        assert_eq!(code(&decided(vec![(true, deny("NO")), (true, allow())])), "NO");
    }

    #[test]
    fn the_first_denial_is_final_and_nobody_after_it_is_heard() {
        let decision = decided(vec![(true, abstain()), (true, deny("FIRST")), (true, deny("SECOND")), (true, allow())]);
        assert_eq!(code(&decision), "FIRST");
        assert_eq!(decision.trail.len(), 2);
        assert_eq!(decision.trail[1].answer, Answer::Deny("FIRST".to_owned()));
    }

    #[test]
    fn a_failed_rule_denies() {
        let decision = decided(vec![(true, allow()), (true, Heard::Fault("trapped".to_owned())), (true, allow())]);
        assert_eq!(code(&decision), "POLICY_FAULT_ERR");
        assert_eq!(decision.trail[1].answer, Answer::Fault("trapped".to_owned()));
        assert_eq!(code(&decided(vec![(true, allow()), (true, Heard::Busy)])), "busy");
    }

    #[test]
    fn a_rule_in_monitor_mode_is_noted_and_changes_nothing() {
        for heard in [allow(), deny("NO"), Heard::Fault("trapped".to_owned()), Heard::Busy, abstain()] {
            let denied = decided(vec![(false, heard.clone())]);
            assert_eq!(code(&denied), "UNAUTHORIZED_ERR", "{heard:?}");
            let allowed = decided(vec![(false, heard.clone()), (true, allow())]);
            assert_eq!(code(&allowed), "allowed", "{heard:?}");
            assert_eq!(allowed.trail.len(), 2);
            assert!(!allowed.trail[0].enforced && allowed.trail[1].enforced, "not in the chain's order");
        }
        let decision = decided(vec![(false, Heard::Busy), (true, deny("NO")), (true, allow()), (false, allow())]);
        assert_eq!(code(&decision), "NO");
        let answers: Vec<_> = decision.trail.iter().map(|answer| &answer.answer).collect();
        assert_eq!(answers[1..], [&Answer::Deny("NO".to_owned()), &Answer::Allow]);
        assert!(matches!(answers[0], Answer::Fault(text) if text.contains("not asked")), "{answers:?}");
    }

    fn obliged(name: &str) -> Heard {
        let (rule, name) = ("rule".to_owned(), name.to_owned());
        Heard::Said(Decided::Allow(vec![Obligation { rule, name, value: String::new() }]))
    }

    #[test]
    fn obligations_of_all_allows_are_collected_and_those_of_monitors_are_not() {
        let decision = decided(vec![(true, obliged("a")), (false, obliged("m")), (true, obliged("b"))]);
        let told: Vec<_> = decision.trail.iter().map(|answer| answer.obligations[0].name.as_str()).collect();
        assert_eq!(told, ["a", "m", "b"], "the trail has them all");
        assert_eq!(decision.generation, 7);
        let Verdict::Allow(obligations) = decision.verdict else { panic!("denied") };
        assert_eq!(obligations.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_monitors_allow_with_obligations_is_no_allow_and_obliges_nobody() {
        let alone = decided(vec![(false, obliged("m"))]);
        assert_eq!(code(&alone), "UNAUTHORIZED_ERR");
        assert_eq!(alone.trail[0].obligations.len(), 1);
        let beside = decided(vec![(false, obliged("m")), (true, allow())]);
        assert_eq!(beside.verdict, Verdict::Allow(Vec::new()));
        let denied = decided(vec![(true, obliged("a")), (false, obliged("m")), (true, deny("NO"))]);
        assert_eq!(code(&denied), "NO");
    }

    #[test]
    fn a_rule_is_asked_about_the_actions_that_it_named() {
        let actions = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        assert!(is_among(&[], "kms.secrets.wrap"));
        assert!(is_among(&actions(&["kms.secrets.wrap"]), "kms.secrets.wrap"));
        assert!(!is_among(&actions(&["kms.secrets.wrap"]), "kms.secrets.wrapx"));
        assert!(is_among(&actions(&["kms.policies.*", "kms.secrets.*"]), "kms.secrets.wrap"));
        assert!(!is_among(&actions(&["kms.policies.*"]), "kms.secrets.wrap"));
        assert!(is_among(&actions(&["*"]), "kms.secrets.wrap"));
    }
}
