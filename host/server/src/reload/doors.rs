//! The doors that are no requests: the signal, and the look at the files.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::time::Instant;

use super::watch::Watch;
use super::{Came, Door};
use crate::app::App;
use crate::background::{guarded, unless_stopped};
use crate::shutdown::Hangups;

/// What is listened for, beside requests.
#[derive(Default)]
pub struct Doors {
    /// SIGHUP.
    pub hangups: Option<Hangups>,
    /// The files, where they are watched.
    pub watch: Option<Watch>,
}

impl Doors {
    /// Begins to listen. The tasks hold the gateway only while they are at work.
    pub(crate) fn open(self, app: &Arc<App>, stopped: &channel::Receiver<()>) {
        if let Some(hangups) = self.hangups {
            tokio::spawn(listen(Arc::downgrade(app), hangups, stopped.clone()));
        }
        if let Some(watch) = self.watch {
            tokio::spawn(look(Arc::downgrade(app), watch, stopped.clone()));
        }
    }
}

/// Reloads at each signal. Those that come while a reload is under way are one.
async fn listen(app: Weak<App>, mut hangups: Hangups, mut stopped: channel::Receiver<()>) {
    while let Some(Some(())) = unless_stopped(hangups.next(), &mut stopped).await {
        let Some(app) = app.upgrade() else { return };
        if unless_stopped(guarded("reload", reload(app, Door::Signal)), &mut stopped).await.is_none() {
            return;
        }
    }
}

/// Reloads when files have changed, and when something was in the way the last time that may be gone.
async fn look(app: Weak<App>, mut watch: Watch, mut stopped: channel::Receiver<()>) {
    let mut again = Again::default();
    loop {
        if unless_stopped(tokio::time::sleep(watch.every()), &mut stopped).await.is_none() {
            return;
        }
        let looked = tokio::task::spawn_blocking(move || {
            let has_changed = watch.has_changed();
            (watch, has_changed)
        });
        let has_changed;
        (watch, has_changed) = match looked.await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "the files are no longer watched; SIGHUP still reloads");
                return;
            }
        };
        if !has_changed && !again.is_due(Instant::now()) {
            continue;
        }
        let Some(app) = app.upgrade() else { return };
        match unless_stopped(guarded("reload", reload(app, Door::Watch)), &mut stopped).await {
            None => return,
            Some(Some(Some(Came::Done))) => again = Again::default(),
            Some(Some(Some(Came::Later))) => again.later(Instant::now()),
            // It could not be recorded, so nothing was done: once more at the next look.
            Some(_) => watch.put_back(),
        }
    }
}

/// What came of it; `None` where it could not be recorded.
async fn reload(app: Arc<App>, door: Door) -> Option<Came> {
    app.reload_by_itself(door).await.ok()
}

/// How long after a reload that something was in the way of it is tried again: the first time, and at most.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// When to try again, with nothing changed: each time after twice as long.
#[derive(Default)]
struct Again(Option<(Instant, Duration)>);

impl Again {
    fn is_due(&self, now: Instant) -> bool {
        self.0.is_some_and(|(at, _)| at <= now)
    }

    fn later(&mut self, now: Instant) {
        let wait = self.0.map_or(FIRST, |(_, wait)| (wait * 2).min(LONGEST));
        self.0 = Some((now + wait, wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_the_way_is_waited_for_longer_and_longer() {
        let (mut again, mut now) = (Again::default(), Instant::now());
        assert!(!again.is_due(now + LONGEST));
        let mut waits = Vec::new();
        for _ in 0..9 {
            again.later(now);
            let wait = (0..).map(|n| FIRST * n).find(|wait| again.is_due(now + *wait)).unwrap();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
    }
}
