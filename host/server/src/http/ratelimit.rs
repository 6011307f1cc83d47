//! How many requests an instance may make in a second (`limits.rate_limit`).
//!
//! The generic cell rate algorithm: of each bucket it is remembered until when it is paid for. A request pays for one
//! interval, and is refused where that would be paid more than a second ahead; so a bucket that was idle takes one
//! second's worth at once, and after that one request an interval.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keygate_core::access::Principal;
use keygate_core::clock::Timestamp;
use keygate_core::error::Error;
use keygate_core::ids::InstanceId;
use keygate_core::instance::Instances;

const SECOND: u64 = 1_000_000_000;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bucket {
    /// Those of everybody who has a role on any part of this instance.
    Instance(InstanceId),
    /// Those of somebody who has none there: a stranger must not use up what a tenant may do.
    Stranger(String),
}

/// Counts requests.
pub(crate) struct RateLimit {
    /// What a request pays, in nanoseconds, and how far ahead may be paid. Absent where there is no limit.
    terms: Option<(u64, u64)>,
    /// In nanoseconds since the epoch.
    paid_until: Mutex<HashMap<Bucket, u64>>,
}

impl RateLimit {
    /// So many requests a second; 0 is any number.
    pub(crate) fn new(per_second: u32) -> Self {
        let interval = |rate: u32| SECOND.div_ceil(u64::from(rate));
        let terms = (per_second > 0).then(|| (interval(per_second), interval(per_second) * u64::from(per_second)));
        Self { terms, paid_until: Mutex::default() }
    }

    /// Counts a request of somebody, about an instance where it names one.
    ///
    /// # Errors
    /// `TooManyRequests` when there were too many.
    pub(crate) fn count(
        &self,
        principal: &Principal,
        instance: Option<InstanceId>,
        instances: &Instances,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some((interval, ahead)) = self.terms else { return Ok(()) };
        // Only instances that there are, so that there are no more buckets than these and identities.
        let bucket = match instance.filter(|id| instances.get(*id).is_some() && belongs(principal, *id)) {
            Some(id) => Bucket::Instance(id),
            None => Bucket::Stranger(principal.id.clone()),
        };
        let now = now.unix_ms().saturating_mul(SECOND / 1000);
        let mut buckets = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the map grows, those go that are as good as new.
        if buckets.len() == buckets.capacity() {
            buckets.retain(|_, until| *until > now);
        }
        let until = buckets.entry(bucket).or_insert(now);
        // Nothing is ever paid further ahead than this, unless the clock went back.
        *until = (*until).clamp(now, now.saturating_add(ahead));
        let end = until.saturating_add(interval);
        let wait = end.saturating_sub(now.saturating_add(ahead));
        if wait > 0 {
            return Err(Error::TooManyRequests { retry_after: Duration::from_nanos(wait) });
        }
        *until = end;
        Ok(())
    }
}

/// Whether somebody was given anything in an instance.
fn belongs(principal: &Principal, instance: InstanceId) -> bool {
    principal.assignments.iter().any(|given| !given.roles.is_empty() && given.instance.is_none_or(|id| id == instance))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use keygate_core::access::{PrincipalKind, RoleAssignment};
    use keygate_core::instance::Instance;
    use uuid::Uuid;

    use super::*;

    const START: u64 = 1_800_000_000_000;

    fn id(n: u128) -> InstanceId {
        InstanceId::from_uuid(Uuid::from_u128(n))
    }

    static INSTANCES: LazyLock<Instances> = LazyLock::new(|| {
        let text = String::new;
        let instance = |n| Instance {
            id: id(n),
            name: text(),
            region: text(),
            account: text(),
            backend: text(),
            crypto_instance: None,
        };
        [instance(1), instance(2)].into_iter().collect()
    });

    fn somebody(name: &str, assignments: &[Option<InstanceId>]) -> Principal {
        let assignment = |instance: &Option<InstanceId>| RoleAssignment {
            roles: vec!["Reader".to_owned()],
            instance: *instance,
            ..RoleAssignment::default()
        };
        Principal {
            id: name.to_owned(),
            name: None,
            kind: PrincipalKind::User,
            account: String::new(),
            assignments: assignments.iter().map(assignment).collect(),
            attributes: Vec::new(),
        }
    }

    /// How many of so many requests at one instant are let through.
    fn through(limit: &RateLimit, who: &Principal, instance: Option<InstanceId>, ms: u64, requests: usize) -> usize {
        let now = Timestamp::from_unix_ms(START + ms);
        (0..requests).filter(|_| limit.count(who, instance, &INSTANCES, now).is_ok()).count()
    }

    #[test]
    fn a_seconds_worth_goes_at_once_and_then_as_many_a_second() {
        for rate in [1, 3, 7, 100, 997, 6000] {
            let limit = RateLimit::new(rate);
            let ann = somebody("ann", &[Some(id(1))]);
            let rate = rate as usize;
            assert_eq!(through(&limit, &ann, Some(id(1)), 0, rate + 10), rate, "all at once");
            assert_eq!(through(&limit, &ann, Some(id(1)), 0, 1), 0);
            // However often somebody tries, in the next ten seconds there are as many a second and no more.
            let more: usize = (1..=100).map(|n| through(&limit, &ann, Some(id(1)), n * 100, rate + 10)).sum();
            assert!(more <= 10 * rate && more + rate / 100 + 1 >= 10 * rate, "{more} of {}", 10 * rate);
            // And after a long rest it is one second's worth again, not ten.
            assert_eq!(through(&limit, &ann, Some(id(1)), 3_600_000, rate + 10), rate);
        }
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again_and_is_let_in_then() {
        let limit = RateLimit::new(2);
        let ann = somebody("ann", &[None]);
        assert_eq!(through(&limit, &ann, Some(id(1)), 0, 2), 2);
        let now = Timestamp::from_unix_ms(START + 100);
        let Err(Error::TooManyRequests { retry_after }) = limit.count(&ann, Some(id(1)), &INSTANCES, now) else {
            panic!("it was let through")
        };
        assert_eq!(retry_after, Duration::from_millis(400));
        assert_eq!(through(&limit, &ann, Some(id(1)), 499, 1), 0);
        assert_eq!(through(&limit, &ann, Some(id(1)), 500, 2), 1);
    }

    #[test]
    fn tenants_do_not_use_up_each_others_and_strangers_nobodys() {
        let limit = RateLimit::new(5);
        let ann = somebody("ann", &[Some(id(1))]);
        let bob = somebody("bob", &[Some(id(1)), Some(id(2))]);
        let eve = somebody("eve", &[Some(id(2))]);
        let mallory = somebody("mallory", &[]);
        // Strangers of the first instance: each has a bucket of their own, whatever they name.
        assert_eq!(through(&limit, &eve, Some(id(1)), 0, 20), 5);
        assert_eq!(through(&limit, &mallory, Some(id(1)), 0, 20), 5);
        assert_eq!(through(&limit, &mallory, Some(id(2)), 0, 20), 0);
        assert_eq!(through(&limit, &mallory, None, 0, 20), 0);
        // Those at home in it share one.
        assert_eq!(through(&limit, &ann, Some(id(1)), 0, 3), 3);
        assert_eq!(through(&limit, &bob, Some(id(1)), 0, 20), 2);
        assert_eq!(through(&limit, &bob, Some(id(2)), 0, 20), 5);
        assert_eq!(through(&limit, &eve, Some(id(2)), 0, 20), 0);
        // Who has a role everywhere is at home in instances that there are, and in no other.
        let root = somebody("root", &[None]);
        assert_eq!((100..200).map(|n| through(&limit, &root, Some(id(n)), 0, 20)).sum::<usize>(), 5);
    }

    #[test]
    fn a_role_list_without_a_role_makes_nobody_a_tenant() {
        let limit = RateLimit::new(1);
        let mut eve = somebody("eve", &[Some(id(1))]);
        eve.assignments[0].roles.clear();
        assert_eq!(through(&limit, &eve, Some(id(1)), 0, 5), 1);
        assert_eq!(through(&limit, &somebody("ann", &[Some(id(1))]), Some(id(1)), 0, 5), 1);
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(through(&RateLimit::new(0), &somebody("ann", &[]), None, 0, 10_000), 10_000);
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let limit = RateLimit::new(2);
        let ann = somebody("ann", &[None]);
        assert_eq!(through(&limit, &ann, Some(id(1)), 86_400_000, 5), 2);
        assert_eq!(through(&limit, &ann, Some(id(1)), 0, 5), 0, "as if the second were not over");
        assert_eq!(through(&limit, &ann, Some(id(1)), 499, 5), 0);
        assert_eq!(through(&limit, &ann, Some(id(1)), 500, 5), 1, "and then it is");
    }

    #[test]
    fn buckets_that_are_as_good_as_new_are_not_kept() {
        let limit = RateLimit::new(1);
        for n in 0..10_000_u64 {
            assert_eq!(through(&limit, &somebody(&format!("{n}"), &[]), None, n * 1000, 1), 1);
        }
        assert!(limit.paid_until.lock().unwrap().capacity() < 100);
    }
}
