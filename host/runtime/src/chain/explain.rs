//! A decision taken apart: what each rule of a chain says to a question, whether or not it is asked about it.

use std::time::Instant;

use keygate_core::access::question::Question;
use keygate_core::access::{Denial, RuleAnswer, Verdict};

use super::{Concern, Fold, Heard, Rule, Wait};
use crate::bindings::convert::{self, Decided};
use crate::manifest::Mode;

/// What a chain decides, and how that comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the gateway would decide.
    pub verdict: Verdict,
    /// What each rule says, in the chain's order.
    pub rules: Vec<Explained>,
}

/// What one rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule's name in `plugins.toml`.
    pub rule: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Whether its answers count at all.
    pub mode: Mode,
    /// What its answer counts for in this decision.
    pub weight: Weight,
    /// Its answer. Absent where it has nothing to say to the action, or has been asked before: it is not asked then.
    pub answer: Option<RuleAnswer>,
    /// Its denial, where it denies, with the words for the caller.
    pub denial: Option<Denial>,
}

/// What a rule's answer counts for in a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The decision is made of it.
    Counts,
    /// It is noted and changes nothing: the rule is in monitor mode.
    Noted,
    /// Nothing: the decision was final before. The gateway does not ask the rule.
    Late,
    /// Nothing: the question is not in the rule's scope. The gateway does not ask the rule.
    OutOfScope,
    /// Nothing: the rule was asked at an earlier place in the chain.
    AskedBefore,
    /// Nothing: the rule says nothing to such actions. The gateway does not ask it.
    NotItsAction,
}

/// Asks every rule of a chain, those whose answer can no longer count too.
pub(crate) async fn explain(chain: &[Rule], generation: u64, question: &Question) -> Explanation {
    let request = convert::request(question);
    let mut fold = Fold::default();
    let mut last = false;
    let mut rules = Vec::new();
    for (place, rule) in chain.iter().enumerate() {
        let concern = rule.concern(question);
        let weight = match concern {
            Concern::OutOfScope => Weight::OutOfScope,
            Concern::AskedBefore => Weight::AskedBefore,
            Concern::NotItsAction => Weight::NotItsAction,
            Concern::Asked if rule.mode == Mode::Monitor => Weight::Noted,
            Concern::Asked if last => Weight::Late,
            Concern::Asked => Weight::Counts,
        };
        let voice = rule.voice(place);
        let (mut answer, mut denial) = (None, None);
        // A rule is never asked about an action that it did not name: its answer could be anything.
        if concern != Concern::AskedBefore && rule.speaks_to(question) {
            let started = Instant::now();
            let heard = rule.ask(&request, Wait::ForPlace, None).await;
            let took = started.elapsed();
            answer = Some(voice.answer(&heard, took));
            if let Heard::Said(Decided::Deny(said)) = &heard {
                denial = Some(said.clone());
            }
            if weight == Weight::Counts {
                last = fold.hear(&voice, heard, took).is_break();
            }
        }
        let (rule, digest, mode) = (voice.rule.to_owned(), voice.digest.to_owned(), rule.mode);
        rules.push(Explained { rule, digest, mode, weight, answer, denial });
    }
    Explanation { verdict: fold.finish(generation).verdict, rules }
}
