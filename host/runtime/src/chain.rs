//! The policy chain: asks the rules in their order and makes one decision of what they say.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_core::access::{AccessRequest, Answer, Decision, Denial, DenialKind, Obligation, RuleAnswer, Verdict};
use keygate_core::backend::Call;
use keygate_core::error::{FaultKind, ReasonCode};

use crate::bindings::convert::{self, Decided};
use crate::bindings::policy::keygate::policy::types::Request;
use crate::contract::{RuleContract, RuleDescription};
use crate::faults::CallError;
use crate::manifest::Mode;
use crate::sandbox::{Plugin, bounded};

/// A rule in its place.
pub(crate) struct Rule {
    pub(crate) plugin: Arc<Plugin<RuleContract>>,
    pub(crate) description: RuleDescription,
    pub(crate) mode: Mode,
}

/// What came of asking a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    /// It answered.
    Said(Decided),
    /// It failed, or answered with an error. Counts as a refusal.
    Fault(String),
    /// There was no sandbox to ask it in. Nothing is allowed then: an unasked rule could have said no.
    Busy,
}

impl Rule {
    /// Whether the rule wants to be asked about an action.
    fn concerns(&self, action: &str) -> bool {
        concerns(&self.description.actions, action)
    }

    async fn ask(&self, request: &Request, timeout: Option<Duration>) -> Heard {
        if !self.concerns(&request.action) {
            return Heard::Said(Decided::Abstain);
        }
        match self.call(request, timeout).await {
            Ok(decided) => Heard::Said(decided),
            Err(CallError::Busy) => Heard::Busy,
            Err(CallError::Fault(fault)) => {
                tracing::warn!(rule = %self.plugin.facts.name, request = %request.request_id, "{fault}");
                Heard::Fault(fault.to_string())
            }
        }
    }

    async fn call(&self, request: &Request, timeout: Option<Duration>) -> Result<Decided, CallError> {
        const FUNCTION: &str = "evaluate";
        let output = |message: String| CallError::Fault(self.plugin.facts.fault(FUNCTION, FaultKind::Output, message));
        let call = Call { request_id: &request.request_id, timeout };
        let mut sandbox = match self.mode {
            Mode::Enforce => self.plugin.enter(FUNCTION, call).await?,
            // Whoever is only watching lets others go first.
            Mode::Monitor => self.plugin.enter_if_free(FUNCTION, call).await?,
        };
        let rule = sandbox.guest.keygate_policy_rule();
        let outcome = bounded(sandbox.until, rule.call_evaluate(&mut sandbox.store, request)).await;
        match sandbox.outcome(outcome)? {
            Ok(verdict) => convert::decision(verdict.decision).map_err(output),
            Err(text) => Err(output(format!("it answered with an error: {}", convert::rule_error(&text)))),
        }
    }
}

/// Whether a list of actions, of which some may be prefixes with a `*`, has this action. The empty list has all.
fn concerns(actions: &[String], action: &str) -> bool {
    actions.is_empty()
        || actions.iter().any(|known| match known.strip_suffix('*') {
            Some(prefix) => action.starts_with(prefix),
            None => known == action,
        })
}

/// Asks a chain: those whose answer counts until the verdict is final, and then those who only watch.
pub(crate) async fn decide(chain: &[Rule], request: &AccessRequest<'_>) -> Decision {
    let mut fold = Fold::default();
    if chain.is_empty() {
        return fold.finish();
    }
    let question = convert::request(request);
    for mode in [Mode::Enforce, Mode::Monitor] {
        for (place, rule) in chain.iter().enumerate().filter(|(_, rule)| rule.mode == mode) {
            let started = Instant::now();
            let heard = rule.ask(&question, request.timeout).await;
            let facts = &rule.plugin.facts;
            let voice = Voice { place, rule: &facts.name, digest: &facts.digest, enforced: rule.mode == Mode::Enforce };
            if fold.hear(&voice, heard, started.elapsed()).is_break() {
                break;
            }
        }
    }
    fold.finish()
}

/// Who speaks.
struct Voice<'a> {
    /// Where in the chain.
    place: usize,
    rule: &'a str,
    digest: &'a str,
    enforced: bool,
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
        let answer = match &heard {
            Heard::Said(Decided::Abstain) => Answer::Abstain,
            Heard::Said(Decided::Allow(_)) => Answer::Allow,
            Heard::Said(Decided::Deny(denial)) => Answer::Deny(denial.code.clone()),
            Heard::Fault(message) => Answer::Fault(message.clone()),
            Heard::Busy if voice.enforced => Answer::Fault("no sandbox came free in time to ask it in".to_owned()),
            Heard::Busy => Answer::Fault("it was not asked: no sandbox was free".to_owned()),
        };
        let (rule, digest) = (voice.rule.to_owned(), voice.digest.to_owned());
        self.trail.push((voice.place, RuleAnswer { rule, digest, enforced: voice.enforced, answer, took }));
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

    fn finish(mut self) -> Decision {
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
        Decision { verdict, trail: self.trail.into_iter().map(|(_, answer)| answer).collect() }
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
        fold.finish()
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

    #[test]
    fn obligations_of_all_allows_are_collected_and_those_of_monitors_are_not() {
        let obliged =
            |name: &str| Heard::Said(Decided::Allow(vec![Obligation { name: name.to_owned(), value: String::new() }]));
        let decision = decided(vec![(true, obliged("a")), (false, obliged("m")), (true, obliged("b"))]);
        let Verdict::Allow(obligations) = decision.verdict else { panic!("denied") };
        assert_eq!(obligations.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_rule_is_asked_about_the_actions_that_it_named() {
        let actions = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        assert!(concerns(&[], "kms.secrets.wrap"));
        assert!(concerns(&actions(&["kms.secrets.wrap"]), "kms.secrets.wrap"));
        assert!(!concerns(&actions(&["kms.secrets.wrap"]), "kms.secrets.wrapx"));
        assert!(concerns(&actions(&["kms.policies.*", "kms.secrets.*"]), "kms.secrets.wrap"));
        assert!(!concerns(&actions(&["kms.policies.*"]), "kms.secrets.wrap"));
        assert!(concerns(&actions(&["*"]), "kms.secrets.wrap"));
    }
}
