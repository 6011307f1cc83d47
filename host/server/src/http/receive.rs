//! Bodies on their way in: bounded in length and in time, and wiped when they are done with.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt as _;
use keygate_core::error::{Reason, ReasonCode};
use zeroize::Zeroizing;

/// Where a buffer begins whose body did not say how long it is, in bytes.
const FIRST_BUFFER: usize = 8 * 1024;

/// How much memory a body may come to need, in bytes: what it says, or `max` where it does not say. One that says that
/// it is too long is not read at all.
pub(super) fn room_for(body: &Body, max: usize) -> usize {
    let hint = body.size_hint();
    match hint.upper().and_then(|upper| usize::try_from(upper).ok()) {
        _ if hint.lower() > max as u64 => 0,
        Some(upper) => upper.min(max),
        None => max,
    }
}

/// Reads a body of at most `max` bytes that is there `within` this time: a client that sends it in drops, or never, must
/// not keep its connection.
pub(super) async fn receive(
    mut body: Body,
    headers: &HeaderMap,
    max: usize,
    within: Duration,
) -> Result<Zeroizing<Vec<u8>>, Reason> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let reason = Reason::new(ReasonCode::UnsupportedMediaType, "Send the body without a content encoding");
        return Err(reason.header("Content-Encoding"));
    }
    let announced = body.size_hint().lower() > max as u64;
    let collected = match announced {
        true => Ok(Collected::TooLong),
        false => tokio::time::timeout(within, collect(&mut body, max)).await,
    };
    match collected {
        Ok(Collected::Whole(bytes)) => Ok(bytes),
        Ok(Collected::Broken) => Err(Reason::new(ReasonCode::BadBody, "The body broke off")),
        Ok(Collected::TooLong) => {
            discard(body).await;
            Err(Reason::new(ReasonCode::BodyTooLarge, format!("The body has at most {max} bytes")))
        }
        Err(_) => Err(Reason::new(ReasonCode::BadBody, format!("The body was not there within {within:?}"))),
    }
}

enum Collected {
    Whole(Zeroizing<Vec<u8>>),
    TooLong,
    Broken,
}

async fn collect(body: &mut Body, max: usize) -> Collected {
    let announced = body.size_hint().upper().and_then(|upper| usize::try_from(upper).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(FIRST_BUFFER).min(max)));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Collected::Broken };
        let Some(data) = frame.data_ref() else { continue };
        let len = bytes.len() + data.len();
        if len > max {
            return Collected::TooLong;
        }
        if len > bytes.capacity() {
            // Not left to the vector: it would free what it outgrew without wiping it.
            let mut larger = Zeroizing::new(Vec::with_capacity(len.max(bytes.capacity() * 2).min(max)));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        bytes.extend_from_slice(data);
    }
    Collected::Whole(bytes)
}

/// Most of what is discarded of a body that is too long, in bytes, and the time for it.
const DISCARDED: usize = 8 << 20;
const DISCARDING: Duration = Duration::from_secs(1);

/// Lets a client finish, within bounds. One that is cut off while it sends sees a broken connection and never the answer.
async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DISCARDING, all).await;
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::HttpBody;
    use hyper::body::Frame;

    use super::*;

    /// A body that does not say how long it is.
    struct Pieces(std::vec::IntoIter<usize>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.next().map(|len| Ok(Frame::data(vec![b'x'; len].into()))))
        }
    }

    fn pieces(sizes: &[usize]) -> Body {
        Body::new(Pieces(Vec::from(sizes).into_iter()))
    }

    #[tokio::test]
    async fn a_body_in_pieces_comes_whole_up_to_its_bound() {
        let read = async |body| receive(body, &HeaderMap::new(), 100_000, Duration::from_secs(5)).await;
        assert_eq!(read(pieces(&[1, 70_000, 29_999])).await.unwrap().len(), 100_000);
        assert_eq!(read(pieces(&[70_000, 30_001])).await.unwrap_err().code, ReasonCode::BodyTooLarge);
        assert_eq!(read(Body::from(vec![0; 100_001])).await.unwrap_err().code, ReasonCode::BodyTooLarge);
    }

    #[test]
    fn the_room_is_what_a_body_says_and_the_most_where_it_says_nothing() {
        assert_eq!(room_for(&Body::empty(), 1000), 0);
        assert_eq!(room_for(&Body::from("four"), 1000), 4);
        assert_eq!(room_for(&pieces(&[1]), 1000), 1000);
        assert_eq!(room_for(&Body::from(vec![0; 1001]), 1000), 0, "it is not read");
    }
}
