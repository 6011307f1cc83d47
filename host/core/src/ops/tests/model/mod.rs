//! Long random sequences of actions, jumps of the clock and looks for what has come due, done by the use cases and by a
//! reference model. After each step both must have answered the same, and hold the same.
//!
//! The model is written from the tables of `api-contract`, d to j, and asks nothing of the code that it is held against.
//! Where no document decides, it follows `docs/api-notes.md`. All users are allowed everything here: roles have tests of
//! their own.

mod look;
mod names;
mod real;
mod reference;
mod reference_key;
pub(crate) mod steps;
mod view;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::test_runner::TestCaseError;

use self::real::Real;
use self::reference::Reference;
use self::steps::Step;
use crate::limits::Limits;
use crate::store::KeyStore;

/// How often each kind of step came to each reason's code, `ok` for none.
pub(crate) type Outcomes = BTreeMap<(String, &'static str), usize>;

/// Does the steps on a store, with a gateway that has these limits, and says where it differs from the model.
pub(crate) async fn run(
    store: Arc<dyn KeyStore>,
    limits: Limits,
    steps: &[Step],
    outcomes: &mut Outcomes,
) -> Result<(), TestCaseError> {
    let mut real = Real::new(store, limits);
    let mut model = Reference::new(real.now());
    for (number, step) in steps.iter().enumerate() {
        let (step, wanted) = model.apply(step);
        let got = real.apply(&step).await;
        let mut problems = String::new();
        if got != wanted {
            let _ = writeln!(problems, "answered {got:?}\nand was to {wanted:?}");
        }
        let (is, should) = (real.view().await, model.view(matches!(step, Step::Tend)));
        problems += &view::difference(&is, &should);
        if !problems.is_empty() {
            return Err(TestCaseError::fail(format!("step {number}, {step:?}:\n{problems}")));
        }
        model.adopt(&is);
        let told = format!("{step:?}");
        let kind = told.split(' ').next().unwrap_or_default().to_owned();
        *outcomes.entry((kind, wanted.err().unwrap_or("ok"))).or_default() += 1;
    }
    Ok(())
}
