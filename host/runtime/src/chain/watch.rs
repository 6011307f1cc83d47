//! Asks the rules in monitor mode, all at a time, and does not wait for them for long.
//!
//! They are asked once the verdict is there. Beside the rules that count, on the same thread, they would not be through any
//! sooner; and they could take the sandbox that one of those needs, and so change the verdict after all.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Heard, Rule, Wait};
use crate::bindings::policy::keygate::policy::types::Request;

/// How long the answers of monitored rules are waited for at least, all of them together. They have longer where those
/// whose answer counts took longer: a decision takes at most this much, or as much again.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// What each of these rules says, in their order, and how long it took.
pub(super) async fn ask(
    rules: &[(usize, &Rule)],
    request: &Request,
    timeout: Option<Duration>,
    patience: Duration,
) -> Vec<(Heard, Duration)> {
    let answers = together(rules.iter().map(|(_, rule)| rule.ask(request, Wait::Not, timeout)).collect(), patience);
    let told = answers.await.into_iter().zip(rules).map(|(answer, (_, rule))| {
        answer.unwrap_or_else(|| {
            let (name, patience_ms) = (&rule.plugin.facts.name, patience.as_millis());
            tracing::warn!(rule = %name, request = %request.request_id, patience_ms, "no longer waited for this monitored rule");
            (Heard::Fault(format!("it was not waited for: it is monitored, and took more than {patience_ms} ms")), patience)
        })
    });
    told.collect()
}

/// Drives futures in turn, and drops those that are not through in time.
async fn together<F: Future>(futures: Vec<F>, patience: Duration) -> Vec<Option<(F::Output, Duration)>> {
    let began = Instant::now();
    let mut pending: Vec<Option<Pin<Box<F>>>> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut through: Vec<_> = pending.iter().map(|_| None).collect();
    let mut time_is_up = pin!(tokio::time::sleep(patience));
    poll_fn(|cx| {
        for (future, through) in pending.iter_mut().zip(&mut through) {
            // Each turn can take as long as a tick of the engine.
            if began.elapsed() >= patience {
                return Poll::Ready(());
            }
            if let Some(Poll::Ready(output)) = future.as_mut().map(|future| future.as_mut().poll(cx)) {
                *future = None;
                *through = Some((output, began.elapsed()));
            }
        }
        if through.iter().all(Option::is_some) { Poll::Ready(()) } else { time_is_up.as_mut().poll(cx) }
    })
    .await;
    through
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use keygate_core::ports::BoxFuture;

    use super::*;

    #[tokio::test]
    async fn who_is_not_through_in_time_keeps_nobody_waiting() {
        let later = async {
            tokio::task::yield_now().await;
            3
        };
        let futures: Vec<BoxFuture<'_, u32>> =
            vec![Box::pin(pending()), Box::pin(ready(1)), Box::pin(pending()), Box::pin(later)];
        let told = together(futures, Duration::from_millis(20)).await;
        assert_eq!(
            told.into_iter().map(|told| told.map(|(n, _)| n)).collect::<Vec<_>>(),
            [None, Some(1), None, Some(3)]
        );
    }

    #[tokio::test]
    async fn nobody_is_waited_for_when_all_are_through() {
        let told = together(vec![ready(1), ready(2)], Duration::from_secs(3_600)).await;
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|told| told.as_ref().is_some_and(|(_, took)| *took < Duration::from_secs(60))));
        assert!(together(Vec::<BoxFuture<'_, ()>>::new(), Duration::from_secs(3_600)).await.is_empty());
    }
}
