//! How much is in work at once. Who comes when it is full waits a bounded time and is then turned away.

use std::sync::Arc;
use std::time::Duration;

use keygate_core::error::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The door to the work.
pub struct Admission {
    places: Arc<Semaphore>,
    wait: Duration,
}

impl Admission {
    /// With this many places, and this long a wait for one.
    pub fn new(places: usize, wait: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), wait }
    }

    /// Takes a place; whoever drops the permit gives it back.
    ///
    /// # Errors
    /// `Busy` when none came free in time.
    pub async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.wait, place).await {
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
        let door = Admission::new(1, Duration::ZERO);
        let permit = door.admit().await.unwrap();
        assert!(matches!(door.admit().await, Err(Error::Busy { .. })));
        drop(permit);
        assert!(door.admit().await.is_ok());
    }
}
