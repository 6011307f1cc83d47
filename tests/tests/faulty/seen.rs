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
    /// What the token answers at this time, and before.
    phases: Mutex<Vec<Phase>>,
    pub done: AtomicBool,
}

/// A time in which the token answers something.
struct Phase {
    rv: String,
    /// The statuses that may come of it.
    statuses: Vec<u16>,
    /// Whether any of them came.
    came: bool,
    ended: Option<Instant>,
}

impl Seen {
    /// From now on these statuses may be answered, to what is asked from now on, beside 503 and 429.
    pub fn allow(&self, rv: &str, statuses: &[u16]) {
        let mut phases = self.phases.lock().unwrap();
        if let Some(last) = phases.last_mut() {
            last.ended = Some(Instant::now());
        }
        phases.push(Phase { rv: rv.to_owned(), statuses: statuses.to_vec(), came: false, ended: None });
    }

    /// That one of the statuses came that may be answered now, where there are any.
    pub fn some_came(&self) {
        let phases = self.phases.lock().unwrap();
        if let Some(Phase { rv, statuses, came: false, .. }) = phases.last().filter(|it| !it.statuses.is_empty()) {
            self.wrong(format!("while the token answered `{rv}` there came none of {statuses:?}"));
        }
    }

    /// Whether a status may be answered to what was asked so long ago, and what the token has answered since.
    fn may_come(&self, status: u16, took: Duration) -> (bool, String) {
        let mut phases = self.phases.lock().unwrap();
        let begun = Instant::now().checked_sub(took);
        let since = phases.iter_mut().filter(|phase| phase.ended.is_none_or(|ended| Some(ended) >= begun));
        let (mut may, mut rvs) = (false, Vec::new());
        for phase in since {
            let is_told = phase.statuses.contains(&status);
            phase.came |= is_told;
            may |= is_told;
            rvs.push(phase.rv.clone());
        }
        (may, rvs.join(", "))
    }

    /// What the API's documents say of a gateway that is short of something: 503, or 429, with the time to come again. Says
    /// whether it went well.
    pub fn judge(&self, what: &str, reply: &Reply, took: Duration) -> bool {
        *self.answers.lock().unwrap().entry(reply.status).or_default() += 1;
        let again = reply.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        self.longest.fetch_max(again.unwrap_or(0), Ordering::SeqCst);
        let is_error_body = reply.resource()["errorMsg"].is_string();
        let is_good = (200..300).contains(&reply.status);
        let (may_come, rv) = self.may_come(reply.status, took);
        let documented = match reply.status {
            _ if is_good => true,
            429 | 503 => again.is_some_and(|seconds| (1..=60).contains(&seconds)) && is_error_body,
            _ => may_come && is_error_body,
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
