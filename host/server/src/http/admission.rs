//! How much is in work at once, and how much memory the bodies of it take. Who comes when it is full waits a bounded
//! time and is then turned away.

use std::sync::Arc;
use std::time::Duration;

use keygate_core::error::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in pieces of so many bytes: a semaphore gives at most 2^32 at once.
const PIECE: usize = 1024;

/// The door to the work.
pub struct Admission {
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    wait: Duration,
}

impl Admission {
    /// With this many places, as much memory as as many bodies of `max_body` bytes take, and this long a wait for either.
    pub fn new(places: usize, max_body: usize, wait: Duration) -> Self {
        let pieces = places.saturating_mul(max_body.div_ceil(PIECE)).min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(places)), memory: Arc::new(Semaphore::new(pieces)), wait }
    }

    /// Takes a place; whoever drops the permit gives it back.
    ///
    /// # Errors
    /// `Busy` when none came free in time.
    pub async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.take(&self.places, 1).await
    }

    /// Takes memory for a body of this many bytes, before any of it is read.
    ///
    /// # Errors
    /// `Busy` when so much did not come free in time.
    pub async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        self.take(&self.memory, u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX)).await
    }

    async fn take(&self, from: &Arc<Semaphore>, many: u32) -> Result<OwnedSemaphorePermit, Error> {
        match tokio::time::timeout(self.wait, Arc::clone(from).acquire_many_owned(many)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::Busy { retry_after: Duration::from_secs(1) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_place_in_time_is_turned_away() {
        let door = Admission::new(1, 1000, Duration::ZERO);
        let permit = door.admit().await.unwrap();
        assert!(matches!(door.admit().await, Err(Error::Busy { .. })));
        drop(permit);
        assert!(door.admit().await.is_ok());
    }

    #[tokio::test]
    async fn bodies_take_no_more_memory_than_there_is_for_them() {
        let door = Admission::new(2, 4096, Duration::ZERO);
        let longest = door.room(4096).await.unwrap();
        let small = door.room(1).await.unwrap();
        assert!(matches!(door.room(4096).await, Err(Error::Busy { .. })));
        assert!(door.room(0).await.is_ok(), "no body needs no memory");
        drop(small);
        assert!(door.room(4096).await.is_ok());
        drop(longest);
    }
}
