//! What clients see, and whether it may be seen.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keygate_tests::gateway::Reply;

/// An answer that takes longer is a hang: the plugin's deadline, and a machine that is busy.
const SLOWEST: Duration = Duration::from_secs(15);

/// What the clients have seen.
#[derive(Default)]
pub struct Seen {
    answers: Mutex<BTreeMap<u16, u64>>,
    pub good: AtomicU64,
    pub bad: AtomicU64,
    pub answered: AtomicU64,
    /// Keys that were made.
    pub made: AtomicU64,
    /// The longest Retry-After, in seconds.
    pub longest: AtomicU64,
    undocumented: Mutex<Vec<String>>,
    /// What the token answers at this time, the statuses that may come of it, and whether any of them came.
    allowed: Mutex<(String, Vec<u16>, bool)>,
    pub done: AtomicBool,
}

impl Seen {
    /// From now on these statuses may be answered beside 503 and 429.
    pub fn allow(&self, rv: &str, statuses: &[u16]) {
        *self.allowed.lock().unwrap() = (rv.to_owned(), statuses.to_vec(), false);
    }

    /// That one of the statuses came that may be answered now, where there are any.
    pub fn some_came(&self) {
        let (rv, statuses, came) = self.allowed.lock().unwrap().clone();
        if !came && !statuses.is_empty() {
            self.wrong(format!("while the token answered `{rv}` there came none of {statuses:?}"));
        }
    }

    /// What the API's documents say of a gateway that is short of something: 503, or 429, with the time to come again. Says
    /// whether it went well.
    pub fn judge(&self, what: &str, reply: &Reply, took: Duration) -> bool {
        *self.answers.lock().unwrap().entry(reply.status).or_default() += 1;
        let again = reply.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        self.longest.fetch_max(again.unwrap_or(0), Ordering::SeqCst);
        let is_error_body = reply.resource()["errorMsg"].is_string();
        let is_good = (200..300).contains(&reply.status);
        let (rv, allowed) = {
            let mut now = self.allowed.lock().unwrap();
            now.2 |= now.1.contains(&reply.status);
            (now.0.clone(), now.1.clone())
        };
        let documented = match reply.status {
            _ if is_good => true,
            429 | 503 => again.is_some_and(|seconds| (1..=60).contains(&seconds)) && is_error_body,
            status => allowed.contains(&status) && is_error_body,
        };
        if !documented || took > SLOWEST {
            self.wrong(format!("{what} after {took:?}, while the token answered `{rv}`: {reply:?}"));
        }
        let counter = if is_good { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::SeqCst);
        self.answered.fetch_add(1, Ordering::SeqCst);
        is_good
    }

    /// Notes what must not be.
    pub fn wrong(&self, what: String) {
        self.undocumented.lock().unwrap().push(what);
    }

    /// How many answers of each status there were.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        self.answers.lock().unwrap().clone()
    }

    /// That nothing was answered that is not documented.
    pub fn check(&self) {
        let wrong = self.undocumented.lock().unwrap();
        assert!(
            wrong.is_empty(),
            "{:?}: {} undocumented: {:#?}",
            self.answers(),
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
    }

    /// Waits until a counter has gone up by so many.
    pub async fn more(&self, counter: &AtomicU64, number: u64, what: &str) {
        let enough = counter.load(Ordering::SeqCst) + number;
        until(what, async || counter.load(Ordering::SeqCst) >= enough).await;
    }
}

/// Waits until something holds, for at most a minute.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < end, "not in a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
