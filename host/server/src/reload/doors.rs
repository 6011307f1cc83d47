//! The doors that are no requests: the signal, and the look at the files.

use std::sync::{Arc, Weak};

use tokio::sync::watch as channel;

use super::Door;
use super::watch::Watch;
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

/// Reloads when files have changed.
async fn look(app: Weak<App>, mut watch: Watch, mut stopped: channel::Receiver<()>) {
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
        if !has_changed {
            continue;
        }
        let Some(app) = app.upgrade() else { return };
        match unless_stopped(guarded("reload", reload(app, Door::Watch)), &mut stopped).await {
            None => return,
            Some(Some(true)) => {}
            // It could not be recorded, so nothing was done: once more at the next look.
            Some(_) => watch.put_back(),
        }
    }
}

async fn reload(app: Arc<App>, door: Door) -> bool {
    app.reload_by_itself(door).await.is_ok()
}
