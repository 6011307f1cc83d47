//! What the gateway does without being asked: it looks for keys whose time has come, and keeps key pairs for import
//! tokens ready. It also listens for what asks it to take its plugins anew.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use keygate_core::ops::import_tokens;
use keygate_core::ops::life::Tended;
use keygate_core::ops::migrate::{Runner, Step};
use tokio::sync::watch;

use crate::app::App;
use crate::reload::Doors;

/// How often the stock of key pairs is looked at. Looking costs nothing.
const STOCK_INTERVAL: Duration = Duration::from_millis(500);

/// How often a look is taken for a migration that was begun. Looking costs a read for each instance.
const MIGRATION_INTERVAL: Duration = Duration::from_millis(500);

/// How long a backend that could not make a key pair is left alone.
const STOCK_PAUSE: Duration = Duration::from_secs(60);

/// The work in the background. It ends when this is stopped or dropped, also in the middle: every step is a commit of its
/// own, and what was begun is found due again at the next start.
pub struct Background {
    stop: watch::Sender<()>,
}

impl Background {
    /// Begins. The tasks hold the gateway only while they are at work.
    pub fn start(app: &Arc<App>, doors: Doors) -> Self {
        let (stop, stopped) = watch::channel(());
        tokio::spawn(tend(Arc::downgrade(app), stopped.clone()));
        tokio::spawn(migrate(Arc::downgrade(app), stopped.clone()));
        tokio::spawn(stocks(Arc::downgrade(app), stopped.clone()));
        doors.open(app, &stopped);
        Self { stop }
    }

    /// Asks it to end.
    pub fn stop(self) {
        // Nobody listens any more where the tasks have ended already.
        let _ = self.stop.send(());
    }
}

/// Looks for what has come due, again and again. The first look is at the start: the gateway may have been away for long.
async fn tend(app: Weak<App>, mut stopped: watch::Receiver<()>) {
    while let Some(app) = app.upgrade() {
        let interval = app.gateway.limits.tend_interval;
        let pass = async move { app.tend().await };
        if unless_stopped(guarded("what has come due", pass), &mut stopped).await.is_none() {
            return;
        }
        if unless_stopped(tokio::time::sleep(interval), &mut stopped).await.is_none() {
            return;
        }
    }
}

/// Works at migrations, one little part after the other. It needs nothing to begin with but the store: what a gateway that
/// died has left is found at the first look.
async fn migrate(app: Weak<App>, mut stopped: watch::Receiver<()>) {
    let mut runner = Runner::default();
    while let Some(app) = app.upgrade() {
        let work = async move {
            let instances: Vec<_> = app.gateway.instances.iter().map(|instance| instance.id).collect();
            let mut wait = MIGRATION_INTERVAL;
            for instance in instances {
                match runner.step(&app.gateway, instance).await {
                    Step::Worked => wait = Duration::ZERO,
                    Step::Wait(longest) => wait = wait.min(longest),
                    Step::Idle => {}
                }
            }
            (runner, wait)
        };
        let Some(done) = unless_stopped(guarded("migrations", work), &mut stopped).await else { return };
        let wait;
        (runner, wait) = done.unwrap_or_else(|| (Runner::default(), STOCK_PAUSE));
        if unless_stopped(tokio::time::sleep(wait), &mut stopped).await.is_none() {
            return;
        }
    }
}

/// Says in the log what came of a pass.
pub(crate) fn report(tended: &Tended) {
    if tended.done > 0 {
        tracing::info!(done = tended.done, "what had come due was done");
    }
    for (due, error) in &tended.failed {
        let (kind, key, instance) = (due.kind, due.key, due.instance);
        tracing::warn!(?kind, %key, %instance, %error, "could not be done; will be tried again");
    }
    if let Some(error) = &tended.stopped {
        tracing::warn!(%error, "what has come due waits");
    }
}

/// Keeps key pairs for import tokens ready on each backend that instances make keys on, also on those that come later.
async fn stocks(app: Weak<App>, mut stopped: watch::Receiver<()>) {
    let mut begun = BTreeSet::new();
    while let Some(gateway) = app.upgrade().map(|app| Arc::clone(&app.gateway)) {
        for backend in gateway.instances.backends() {
            if begun.insert(backend.clone()) {
                tokio::spawn(stock(Weak::clone(&app), backend, stopped.clone()));
            }
        }
        drop(gateway);
        if unless_stopped(tokio::time::sleep(STOCK_INTERVAL), &mut stopped).await.is_none() {
            return;
        }
    }
}

/// Keeps key pairs for import tokens ready on a backend, for as long as an instance makes keys on it.
async fn stock(app: Weak<App>, backend: String, mut stopped: watch::Receiver<()>) {
    while let Some(app) = app.upgrade() {
        let name = backend.clone();
        let fill = async move {
            if !app.gateway.instances.backends().contains(&name) {
                return Err(());
            }
            let filled = import_tokens::fill(&app.gateway, &name).await;
            filled.map_err(|error| tracing::warn!(backend = name, %error, "no key pair for import tokens was made"))
        };
        let Some(filled) = unless_stopped(guarded("key pairs", fill), &mut stopped).await else { return };
        let wait = if matches!(filled, Some(Ok(_))) { STOCK_INTERVAL } else { STOCK_PAUSE };
        if unless_stopped(tokio::time::sleep(wait), &mut stopped).await.is_none() {
            return;
        }
    }
}

/// Does work in a task of its own, so that a defect in it ends that piece of work and not all that comes after. `None`
/// when it panicked. Ends with whoever waits for it.
pub(crate) async fn guarded<T: Send + 'static>(
    what: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let mut task = tokio::task::JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(value)) => Some(value),
        Some(Err(error)) => {
            tracing::error!(%error, what, "work in the background panicked");
            None
        }
        None => None,
    }
}

/// Waits for something, unless it is time to end: then nothing comes of it.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = T>, stopped: &mut watch::Receiver<()>) -> Option<T> {
    tokio::select! {
        value = work => Some(value),
        // Also when the sender is gone, which is stopping, too.
        _ = stopped.changed() => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_defect_ends_one_piece_of_work_and_a_stop_ends_all() {
        assert_eq!(guarded("test", async { 7 }).await, Some(7));
        assert_eq!(guarded("test", async { panic!("a defect") }).await, None::<()>);
        let (stop, mut stopped) = watch::channel(());
        assert_eq!(unless_stopped(async { 7 }, &mut stopped).await, Some(7));
        drop(stop);
        assert_eq!(unless_stopped(std::future::pending::<()>(), &mut stopped).await, None);
    }
}
