//! Random sequences of steps on the store in memory. See [`super::model`].

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::block_on;
use super::common::MS;
use super::model::{Outcomes, run, steps};
use crate::fakes::store::MemoryStore;
use crate::limits::Limits;

/// How many sequences are run: as many as take some ten seconds.
const CASES: u32 = 64;

/// Patient in shrinking: a difference that comes in hundreds of steps helps nobody.
fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

/// The same sequences in every run.
fn same_every_time(cases: u32) -> TestRunner {
    TestRunner::new_with_rng(ProptestConfig { cases, ..config() }, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn on_memory(limits: Limits, steps: &[steps::Step], outcomes: &mut Outcomes) -> Result<(), TestCaseError> {
    block_on(run(Arc::new(MemoryStore::default()), limits, steps, outcomes))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn long_sequences_come_out_as_in_the_reference_model(steps in steps::sequence(700)) {
        on_memory(Limits::default(), &steps, &mut Outcomes::new())?;
    }
}

/// Each kind of step, and what it must come to now and then for the sequences to be worth running. Timers and states are
/// told apart by what comes before, so each code here stands for many ways to it.
const REACHED: &[(&str, &[&str])] = &[
    ("Create", &["ok", "INVALID_FIELD_ERR", "KEY_ROOT_REQ_ERR", "KEY_RING_NOT_FOUND_ERR", "KEY_ALIAS_NOT_UNIQUE_ERR"]),
    ("Versions", &["ok", "KEY_ACTION_INVALID_STATE_ERR", "KEY_DELETED_ERR", "KEY_NOT_FOUND_ERR"]),
    ("Wrap", &["ok", "KEY_ROOT_REQ_ERR", "KEY_ACTION_INVALID_STATE_ERR", "KEY_DELETED_ERR"]),
    ("Unwrap", &["ok", "UNPROCESSABLE_CIPHERTEXT_ERR", "KEY_ACTION_INVALID_STATE_ERR", "KEY_DELETED_ERR"]),
    ("Rewrap", &["ok", "UNPROCESSABLE_CIPHERTEXT_ERR", "KEY_ACTION_INVALID_STATE_ERR", "KEY_DELETED_ERR"]),
    ("Rotate", &["ok", "KEY_PAYLOAD_REQ_ERR", "INVALID_QUERY_PARAM_ERR", "KEY_ROTATION_NOT_PERMITTED"]),
    ("Disable", &["ok", "KEY_ROOT_REQ_ERR", "KEY_ACTION_INVALID_STATE_ERR", "KEY_DELETED_ERR"]),
    ("Enable", &["ok", "REQ_TOO_EARLY_ERR", "KEY_ACTION_INVALID_STATE_ERR", "KEY_DELETED_ERR"]),
    ("Authorize", &["ok", "NOT_DUAL_AUTH_ERR", "KEY_ACTION_INVALID_STATE_ERR", "KEY_DELETED_ERR"]),
    ("Unauthorize", &["ok", "NOT_DUAL_AUTH_ERR"]),
    ("Delete", &["ok", "AUTHORIZATIONS_NOT_MET", "PREV_KEY_DEL_ERR", "PROTECTED_RESOURCE_ERR", "KEY_DELETED_ERR"]),
    ("Restore", &["ok", "REQ_TOO_EARLY_ERR", "KEY_RESTORE_EXPIRED", "KEY_EXPIRED_ERR", "KEY_IMPT_REQ_ERR"]),
    ("Purge", &["ok", "REQ_TOO_EARLY_ERR", "KEY_ACTION_INVALID_STATE_ERR"]),
    ("Sync", &["ok", "REQ_TOO_EARLY_ERR", "KEY_ROOT_REQ_ERR"]),
    ("Move", &["ok", "KEY_RING_NOT_FOUND_ERR", "KEY_DELETED_ERR"]),
    ("WritePolicies", &["ok", "BAD_BODY_ERR", "MISSING_FIELD_ERR", "INVALID_FIELD_ERR", "KEY_INVALID_STATE_ERR"]),
    ("AddAlias", &["ok", "KEY_ALIAS_NOT_UNIQUE_ERR", "KEY_ALIAS_QUOTA_ERR", "KEY_DELETED_ERR"]),
    ("DropAlias", &["ok", "ALIAS_NOT_FOUND_ERR"]),
    ("DropRing", &["ok", "KEY_RING_NOT_EMPTY_ERR", "KEY_RING_KEYS_NOT_DELETED_ERR", "KEY_RING_NOT_FOUND_ERR"]),
    ("Register", &["ok", "REGISTRATION_DUP_ERR", "KEY_ROOT_REQ_REG_ERR", "KEY_INVALID_STATE_ERR"]),
    ("Unregister", &["ok", "REGISTRATION_NOT_FOUND_ERR"]),
    ("Deactivate", &["ok", "REG_INVALID_STATE_ERR", "REGISTRATION_NOT_FOUND_ERR"]),
    ("Acknowledge", &["ok", "EVENT_NOT_FOUND"]),
    ("InstancePolicies", &["ok"]),
];

#[test]
fn the_sequences_come_to_everything() {
    let found = std::cell::RefCell::new(Outcomes::new());
    same_every_time(CASES)
        .run(&steps::sequence(700), |steps| on_memory(Limits::default(), &steps, &mut found.borrow_mut()))
        .unwrap();
    for (kind, codes) in REACHED {
        for code in *codes {
            let times = found.borrow().get(&((*kind).to_owned(), *code)).copied().unwrap_or(0);
            assert!(times >= 2, "{kind} comes to {code} {times} times in {CASES} sequences");
        }
    }
}

#[test]
fn a_gateway_that_is_off_by_a_millisecond_is_found_and_told_in_few_steps() {
    let limits = Limits::default();
    let wrong = [
        Limits { enable_wait: limits.enable_wait + MS, ..limits.clone() },
        Limits { restore_wait: limits.restore_wait - MS, ..limits.clone() },
    ];
    for limits in wrong {
        let outcome = same_every_time(1_000)
            .run(&steps::sequence(80), |steps| on_memory(limits.clone(), &steps, &mut Outcomes::new()));
        let Err(TestError::Fail(_, steps)) = outcome else { panic!("it was not found: {outcome:?}") };
        assert!(steps.len() <= 8, "{} steps are too many to read: {steps:?}", steps.len());
    }
}
