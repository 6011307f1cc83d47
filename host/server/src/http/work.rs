//! What is in work on one connection: requests that are not answered yet, and answers that their client has not taken.
//! By it, a connection on which nothing moves is told from one that is busy, or slow.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use super::exchange::Place;

/// What is in work on one connection, and when something last moved on it.
#[derive(Default)]
pub(super) struct Work(Mutex<State>);

#[derive(Default)]
struct State {
    /// Requests that have no answer yet.
    requests: usize,
    /// Answers that are not all with the operating system yet.
    answers: usize,
    /// A request began or was answered, or something of an answer was taken.
    moved: Option<Instant>,
}

impl Work {
    /// A request begins. It is in work until it is answered, or this is dropped.
    pub(super) fn begin(work: &Arc<Self>) -> Request {
        work.change(|state| state.requests += 1);
        Request(Arc::clone(work))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.moved = Some(Instant::now());
    }

    /// Whether there are answers that were not taken.
    pub(super) fn has_answers(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answers > 0
    }

    /// Completes when nothing moved for this long: no request was in work, and nothing of an answer was taken.
    pub(super) async fn idle(&self, timeout: Duration) {
        let start = Instant::now();
        loop {
            let until = match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
                // From this call on at the earliest: who has just been idle for long gets the whole time again.
                State { requests: 0, moved, .. } => moved.map_or(start, |moved| moved.max(start)) + timeout,
                _ => Instant::now() + timeout,
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A request that has no answer yet.
pub(super) struct Request(Arc<Work>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.change(|state| state.requests = state.requests.saturating_sub(1));
    }
}

/// An answer of which something is left to be taken. It keeps the place of its request: who lets answers lie asks for no
/// more.
struct Answer {
    work: Arc<Work>,
    _place: Option<Place>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.work.change(|state| state.answers = state.answers.saturating_sub(1));
    }
}

/// An answer's body.
pub(super) struct Answering {
    body: Body,
    answer: Arc<Answer>,
}

impl Answering {
    /// The answer to this request, which held this place.
    pub(super) fn new(body: Body, request: Request, place: Option<Place>) -> Self {
        let work = Arc::clone(&request.0);
        work.change(|state| state.answers += 1);
        Self { body, answer: Arc::new(Answer { work, _place: place }) }
    }
}

impl HttpBody for Answering {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(
            frame.map(|frame| {
                frame.map(|frame| frame.map_data(|bytes| Piece { bytes, answer: Arc::clone(&self.answer) }))
            }),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer, which the connection holds until its client has room for all of it.
pub(super) struct Piece {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.answer.work.change(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    async fn is_idle(work: &Work) -> bool {
        timeout(SHORT * 4, work.idle(SHORT)).await.is_ok()
    }

    #[tokio::test]
    async fn a_connection_is_idle_when_no_request_waits_for_its_answer() {
        let work = Arc::new(Work::default());
        assert!(is_idle(&work).await, "nothing was asked");
        let (first, second) = (Work::begin(&work), Work::begin(&work));
        drop(first);
        assert!(!is_idle(&work).await, "the second is in work");
        drop(second);
        assert!(is_idle(&work).await && !work.has_answers());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_keeps_nothing_but_its_place() {
        let places = Arc::new(Semaphore::new(1));
        let place = Place::new(Arc::clone(&places).acquire_owned().await.unwrap());
        let work = Arc::new(Work::default());
        let mut answering = Answering::new(Body::from("answer"), Work::begin(&work), Some(place));
        assert!(is_idle(&work).await && work.has_answers());
        let mut piece = answering.frame().await.unwrap().unwrap().into_data().ok().unwrap();
        drop(answering);
        assert!(work.has_answers(), "the connection holds it still");
        assert_eq!(places.available_permits(), 0);
        assert_eq!(piece.copy_to_bytes(6), "answer");
        drop(piece);
        assert!(!work.has_answers());
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_slowly_is_not_idle() {
        let work = Arc::new(Work::default());
        let mut answering = Answering::new(Body::from(vec![0; 20]), Work::begin(&work), None);
        let mut piece = answering.frame().await.unwrap().unwrap().into_data().ok().unwrap();
        let taken = AtomicUsize::new(0);
        let slowly = async {
            while piece.has_remaining() {
                tokio::time::sleep(SHORT).await;
                piece.advance(1);
                taken.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::select! {
            () = slowly => {}
            () = work.idle(SHORT * 6) => panic!("idle after {taken:?} bytes"),
        }
        assert!(is_idle(&work).await);
    }
}
