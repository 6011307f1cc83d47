//! How much is in work at once, and how much memory the bodies of it take. Who comes when it is full waits a bounded
//! time and is then turned away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use keygate_core::error::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in pieces of so many bytes: a semaphore gives at most 2^32 at once.
const PIECE: usize = 1024;

/// What one caller can have of the memory: one part of so many, or one longest body where that is more.
const SHARES: usize = 4;

/// The door to the work.
pub struct Admission {
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    /// What each caller with a body in work has of the memory.
    shares: Mutex<HashMap<String, Weak<Semaphore>>>,
    share: usize,
    max_body: usize,
    wait: Duration,
}

impl Admission {
    /// With this many places, as much memory as as many bodies of `max_body` bytes take, and this long a wait for either.
    pub fn new(places: usize, max_body: usize, wait: Duration) -> Self {
        let longest = max_body.div_ceil(PIECE);
        let pieces = places.saturating_mul(longest).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            memory: Arc::new(Semaphore::new(pieces)),
            shares: Mutex::default(),
            share: (pieces / SHARES).max(longest).min(pieces),
            max_body,
            wait,
        }
    }

    /// Takes a place; whoever drops the permit gives it back.
    ///
    /// # Errors
    /// `Busy` when none came free in time.
    pub async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.places).acquire_owned();
        tokio::time::timeout(self.wait, place).await.ok().and_then(Result::ok).ok_or(BUSY)
    }

    /// Memory for a body of this caller's (an IAM id): none yet.
    ///
    /// It is taken as the body comes, and of each caller's own share: who announces bodies and does not send them has
    /// nothing of it, and who sends many has a part of it.
    pub fn room(&self, caller: &str) -> Room {
        Room {
            share: self.share_of(caller),
            memory: Arc::clone(&self.memory),
            taken: None,
            max_body: self.max_body,
            wait: self.wait,
        }
    }

    fn share_of(&self, caller: &str) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(caller).and_then(Weak::upgrade) {
            return share;
        }
        // Before the map grows, those go that nobody has a body of.
        if shares.len() == shares.capacity() {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share));
        shares.insert(caller.to_owned(), Arc::downgrade(&share));
        share
    }
}

const BUSY: Error = Error::Busy { retry_after: Duration::from_secs(1) };

/// Memory that a body takes. Whoever drops it gives it back.
pub struct Room {
    share: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    taken: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    max_body: usize,
    wait: Duration,
}

impl Room {
    /// Takes more, up to this many bytes in all. None is needed beyond the longest body.
    ///
    /// # Errors
    /// `Busy` when so much did not come free in time.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let wanted = bytes.min(self.max_body).div_ceil(PIECE);
        let has = self.taken.as_ref().map_or(0, |(share, _)| share.num_permits());
        let Some(more) = wanted.checked_sub(has).filter(|more| *more > 0) else { return Ok(()) };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let both = async {
            // The caller's own first: while they wait for it, they keep nothing from others.
            let share = Arc::clone(&self.share).acquire_many_owned(more).await?;
            Ok::<_, tokio::sync::AcquireError>((share, Arc::clone(&self.memory).acquire_many_owned(more).await?))
        };
        let Ok(Ok((share, memory))) = tokio::time::timeout(self.wait, both).await else { return Err(BUSY) };
        match &mut self.taken {
            Some(taken) => {
                taken.0.merge(share);
                taken.1.merge(memory);
            }
            None => self.taken = Some((share, memory)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn room(door: &Admission, caller: &str, bytes: usize) -> Result<Room, Error> {
        let mut room = door.room(caller);
        room.grow(bytes).await.map(|()| room)
    }

    fn is_busy<T>(outcome: &Result<T, Error>) -> bool {
        matches!(outcome, Err(Error::Busy { .. }))
    }

    #[tokio::test]
    async fn who_finds_no_place_in_time_is_turned_away() {
        let door = Admission::new(1, 1000, Duration::ZERO);
        let permit = door.admit().await.unwrap();
        assert!(is_busy(&door.admit().await));
        drop(permit);
        assert!(door.admit().await.is_ok());
    }

    #[tokio::test]
    async fn bodies_take_no_more_memory_than_there_is_for_them() {
        let door = Admission::new(2, 4096, Duration::ZERO);
        let longest = room(&door, "ann", 4096).await.unwrap();
        let mut small = room(&door, "bob", 1).await.unwrap();
        assert!(is_busy(&room(&door, "eve", 4096).await));
        assert!(room(&door, "eve", 0).await.is_ok(), "no body needs no memory");
        assert!(room(&door, "eve", 3072).await.is_ok());
        assert!(small.grow(4096).await.is_ok(), "it grows to what is left");
        assert!(small.grow(1 << 30).await.is_ok(), "and needs no more than the longest body");
        assert!(is_busy(&room(&door, "eve", 1).await));
        drop(small);
        assert!(room(&door, "eve", 4096).await.is_ok());
        drop(longest);
    }

    #[tokio::test]
    async fn one_caller_has_a_quarter_and_the_others_are_served() {
        let door = Admission::new(16, 4096, Duration::ZERO);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(room(&door, "mallory", 4096).await.unwrap());
        }
        assert!(is_busy(&room(&door, "mallory", 1).await));
        for n in 0..12 {
            held.push(room(&door, &format!("caller {}", n % 3), 4096).await.unwrap());
        }
        assert!(is_busy(&room(&door, "ann", 1).await), "that was all there is");
        held.remove(0);
        assert!(room(&door, "mallory", 4096).await.is_ok(), "what is given back can be had again");
    }

    #[tokio::test]
    async fn a_body_that_finds_no_room_to_grow_gives_back_what_it_had() {
        let door = Admission::new(1, 4096, Duration::ZERO);
        let (mut first, mut second) = (door.room("ann"), door.room("ann"));
        first.grow(2048).await.unwrap();
        second.grow(2048).await.unwrap();
        assert!(is_busy(&first.grow(4096).await));
        drop(first);
        assert!(second.grow(4096).await.is_ok());
    }

    #[tokio::test]
    async fn callers_without_a_body_in_work_are_forgotten() {
        let door = Admission::new(4, 4096, Duration::ZERO);
        for n in 0..10_000 {
            room(&door, &format!("caller {n}"), 1).await.unwrap();
        }
        assert!(door.shares.lock().unwrap().capacity() < 100);
    }
}
