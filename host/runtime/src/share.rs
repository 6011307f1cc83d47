//! A plugin's share of the room: how many sandboxes it can have at a time, over all generations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many places, some of which may be taken.
#[derive(Debug)]
pub(crate) struct Share {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    /// How many places there are to be.
    places: usize,
    /// How many of those that are taken are too many by now: they go when they come back.
    owed: usize,
}

impl Share {
    pub(crate) fn new(places: u32) -> Arc<Self> {
        let places = places as usize;
        Arc::new(Self { free: Arc::new(Semaphore::new(places)), size: Mutex::new(Size { places, owed: 0 }) })
    }

    /// Takes a place when one is free.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Taken> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Taken { permit: Some(permit), share: Arc::clone(self) })
    }

    /// Takes a place, if one is free.
    pub(crate) fn take_now(self: &Arc<Self>) -> Option<Taken> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Taken { permit: Some(permit), share: Arc::clone(self) })
    }

    /// Changes how many places there are. Those that are taken stay taken.
    fn resize(&self, places: u32) {
        let (mut size, places) = (self.size(), places as usize);
        let more = places.saturating_sub(size.places);
        let kept = more.min(size.owed);
        size.owed -= kept;
        self.free.add_permits(more - kept);
        let fewer = size.places.saturating_sub(places);
        size.owed += fewer - self.free.forget_permits(fewer);
        size.places = places;
    }

    /// Nothing can panic while the lock is held.
    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Always there, until it is given back.
    permit: Option<OwnedSemaphorePermit>,
    share: Arc<Share>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // It is given back before the lock is: or it could be neither owed nor free for a moment.
        let mut size = self.share.size();
        match self.permit.take() {
            Some(permit) if size.owed > 0 => {
                size.owed -= 1;
                permit.forget();
            }
            permit => drop(permit),
        }
    }
}

/// The shares of the plugins that are live, or have calls in work, by their names. A plugin that is loaded anew takes over
/// the share of the one before: what that has in work still counts.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<BTreeMap<String, Weak<Share>>>);

impl Shares {
    /// The share of the plugin of this name, from now on of so many places.
    pub(crate) fn of(&self, plugin: &str, places: u32) -> Arc<Share> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = shares.get(plugin).and_then(Weak::upgrade) {
            share.resize(places);
            return share;
        }
        let share = Share::new(places);
        shares.insert(plugin.to_owned(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many places as there are to be had.
    fn all(share: &Arc<Share>) -> Vec<Taken> {
        std::iter::from_fn(|| share.take_now()).collect()
    }

    #[test]
    fn a_share_goes_by_the_name_and_is_gone_with_its_last_user() {
        let shares = Shares::default();
        let one = shares.of("one", 2);
        let held = all(&one);
        assert_eq!(held.len(), 2);
        assert!(all(&shares.of("one", 2)).is_empty(), "a second generation got a share of its own");
        assert_eq!(all(&shares.of("other", 3)).len(), 3);
        drop((one, held));
        assert_eq!(all(&shares.of("one", 5)).len(), 5);
        assert_eq!(shares.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_share_grows_and_shrinks_whatever_is_taken_of_it() {
        let share = Share::new(3);
        let mut held = all(&share);
        share.resize(1);
        held.pop();
        assert!(share.take_now().is_none(), "two are taken, and one is the most");
        held.pop();
        assert!(share.take_now().is_none());
        held.pop();
        assert_eq!(all(&share).len(), 1);

        share.resize(4);
        let held = all(&share);
        assert_eq!(held.len(), 4);
        share.resize(1);
        share.resize(3);
        drop(held);
        assert_eq!(all(&share).len(), 3, "what was owed is not owed any more");
        share.resize(2);
        assert_eq!(all(&share).len(), 2, "free places go at once");
    }
}
