//! Bodies on their way in: unpacked, bounded in length and in time, and wiped when they are done with.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt as _;
use keygate_core::error::{Error, Reason, ReasonCode};
use zeroize::Zeroizing;

use super::admission::Room;
use super::gunzip::{Gunzip, Step};

/// Where a buffer begins, in bytes, unless the body is said to be shorter.
const FIRST_BUFFER: usize = 8 * 1024;

/// A body that is there, and the memory that it takes.
pub(super) struct Received {
    /// What it says, unpacked.
    pub bytes: Zeroizing<Vec<u8>>,
    /// To be held for as long as the bytes are.
    pub room: Room,
}

/// Reads a body of at most `max` bytes that is there `within` this time: a client that sends it in drops, or never, must
/// not keep its connection. `Ok(Err(_))` tells what is wrong with it. A packed one has at most `max` bytes packed and
/// unpacked.
///
/// # Errors
/// `Busy` when there is no room for it.
pub(super) async fn receive(
    mut body: Body,
    headers: &HeaderMap,
    room: Room,
    max: usize,
    within: Duration,
) -> Result<Result<Received, Reason>, Error> {
    let packed = match is_packed(headers) {
        Ok(packed) => packed,
        Err(reason) => return Ok(Err(reason)),
    };
    let collected = match body.size_hint().lower() > max as u64 {
        true => Ok(Err(Stop::TooLong)),
        false => tokio::time::timeout(within, collect(&mut body, room, max, packed)).await,
    };
    let reason = match collected {
        Ok(Ok(received)) => return Ok(Ok(received)),
        Ok(Err(Stop::Busy(error))) => return Err(error),
        Ok(Err(Stop::BrokeOff)) => Reason::new(ReasonCode::BadBody, "The body broke off"),
        Ok(Err(Stop::NoGzip)) => {
            Reason::new(ReasonCode::BadBody, "The body is not what `Content-Encoding: gzip` says, or is damaged")
        }
        Ok(Err(Stop::TooLong)) => {
            discard(body).await;
            let unpacked = if packed { ", unpacked too" } else { "" };
            Reason::new(ReasonCode::BodyTooLarge, format!("The body has at most {max} bytes{unpacked}"))
        }
        Err(_) => Reason::new(ReasonCode::BadBody, format!("The body was not there within {within:?}")),
    };
    Ok(Err(reason))
}

/// Whether the body is gzip; `x-gzip` is an old name of the same (RFC 9110, 8.4.1.3).
fn is_packed(headers: &HeaderMap) -> Result<bool, Reason> {
    let mut packed = false;
    for value in headers.get_all(CONTENT_ENCODING) {
        for encoding in value.to_str().unwrap_or("?").split(',') {
            match encoding.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                // Once is enough: packed twice it would be unpacked twice, within bounds that hold once.
                "gzip" | "x-gzip" if !packed => packed = true,
                _ => {
                    let text = "Send the body packed by gzip once, or without a content encoding";
                    return Err(Reason::new(ReasonCode::UnsupportedMediaType, text).header("Content-Encoding"));
                }
            }
        }
    }
    Ok(packed)
}

/// Why a body is not there.
enum Stop {
    TooLong,
    BrokeOff,
    NoGzip,
    Busy(Error),
}

async fn collect(body: &mut Body, room: Room, max: usize, packed: bool) -> Result<Received, Stop> {
    let announced = body.size_hint().upper().and_then(|upper| usize::try_from(upper).ok());
    // One byte more unpacked: whether anything comes after the last that may be, only space for it tells.
    let most = if packed { max.saturating_add(1) } else { announced.unwrap_or(max).min(max) };
    let mut buffer = Buffer { space: Zeroizing::default(), filled: 0, room, most };
    let mut gunzip = packed.then(Gunzip::new);
    let mut come = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Stop::BrokeOff) };
        let Some(data) = frame.data_ref() else { continue };
        come = come.saturating_add(data.len());
        if come > max {
            return Err(Stop::TooLong);
        }
        match &mut gunzip {
            Some(gunzip) => buffer.unpack(gunzip, data, max).await?,
            None => buffer.append(data).await?,
        }
    }
    if gunzip.is_some_and(|gunzip| gunzip.finish().is_err()) {
        return Err(Stop::NoGzip);
    }
    Ok(buffer.finish())
}

/// What came so far, and space for more. It grows by itself, and not by the vector's own means, which would free what it
/// outgrew without wiping it; and only when there is room for more.
struct Buffer {
    /// All of the space, so that none of it has to be made ready again for each of many small pieces.
    space: Zeroizing<Vec<u8>>,
    filled: usize,
    room: Room,
    most: usize,
}

impl Buffer {
    async fn append(&mut self, data: &[u8]) -> Result<(), Stop> {
        let end = self.filled + data.len();
        if end > self.most {
            return Err(Stop::TooLong);
        }
        self.make_space(end).await?;
        if let Some(place) = self.space.get_mut(self.filled..end) {
            place.copy_from_slice(data);
            self.filled = end;
        }
        Ok(())
    }

    async fn unpack(&mut self, gunzip: &mut Gunzip, mut data: &[u8], max: usize) -> Result<(), Stop> {
        loop {
            let step = gunzip.step(&mut data, &mut self.space, &mut self.filled).map_err(|_| Stop::NoGzip)?;
            if self.filled > max {
                return Err(Stop::TooLong);
            }
            match step {
                Step::NeedsInput => return Ok(()),
                Step::NeedsOutput => self.make_space(self.filled + 1).await?,
            }
        }
    }

    async fn make_space(&mut self, len: usize) -> Result<(), Stop> {
        if len <= self.space.len() {
            return Ok(());
        }
        let capacity = len.max(self.space.len() * 2).max(FIRST_BUFFER).min(self.most);
        self.room.grow(capacity).await.map_err(Stop::Busy)?;
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(self.space.get(..self.filled).unwrap_or_default());
        larger.resize(capacity, 0);
        self.space = larger;
        Ok(())
    }

    fn finish(mut self) -> Received {
        self.space.truncate(self.filled);
        Received { bytes: self.space, room: self.room }
    }
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
    use hyper::body::{Frame, SizeHint};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::http::admission::Admission;

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

    /// A body that says how long it is, sends nothing, and breaks off when its client goes away.
    struct Silent(u64, oneshot::Receiver<()>);

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = oneshot::error::RecvError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Pin::new(&mut self.1).poll(cx).map(|ended| ended.err().map(Err))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    fn pieces(sizes: &[usize]) -> Body {
        Body::new(Pieces(Vec::from(sizes).into_iter()))
    }

    const GZIP: (&str, &str) = ("content-encoding", "gzip");

    async fn read(body: Body, headers: &[(&'static str, &str)], max: usize) -> Result<Vec<u8>, ReasonCode> {
        let headers: HeaderMap = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let room = Admission::new(1, max, Duration::ZERO).room("ann");
        let received = receive(body, &headers, room, max, Duration::from_secs(5)).await.unwrap();
        received.map(|received| received.bytes.to_vec()).map_err(|reason| reason.code)
    }

    /// So many bytes as they are, packed by this program: a member with stored blocks.
    fn packed(len: usize) -> Vec<u8> {
        let plain = vec![b'x'; len];
        let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        for block in plain.chunks(65_535) {
            let len = u16::try_from(block.len()).unwrap();
            packed.push(0);
            packed.extend([len.to_le_bytes(), (!len).to_le_bytes()].concat());
            packed.extend_from_slice(block);
        }
        packed.extend([1, 0, 0, 0xff, 0xff]);
        packed.extend(crc32fast::hash(&plain).to_le_bytes());
        packed.extend(u32::try_from(len).unwrap().to_le_bytes());
        packed
    }

    /// A thousand blanks, by Python's gzip module; 29 bytes.
    fn small_bomb() -> Vec<u8> {
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, "H4sIAAAAAAACA1NQGAWjYBQMdwAAguOTzegDAAA=")
            .unwrap()
    }

    #[tokio::test]
    async fn a_body_in_pieces_comes_whole_up_to_its_bound() {
        assert_eq!(read(pieces(&[1, 70_000, 29_999]), &[], 100_000).await, Ok(vec![b'x'; 100_000]));
        assert_eq!(read(pieces(&[70_000, 30_001]), &[], 100_000).await, Err(ReasonCode::BodyTooLarge));
        assert_eq!(read(Body::from(vec![0; 100_001]), &[], 100_000).await, Err(ReasonCode::BodyTooLarge));
        assert_eq!(read(Body::from(vec![b'x'; 100_000]), &[], 100_000).await, Ok(vec![b'x'; 100_000]));
        assert_eq!(read(Body::empty(), &[], 100_000).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_packed_body_is_unpacked_up_to_the_same_bound() {
        assert_eq!(read(Body::from(packed(9000)), &[GZIP], 100_000).await, Ok(vec![b'x'; 9000]));
        for (bound, expected) in [(1000, Ok(vec![b' '; 1000])), (999, Err(ReasonCode::BodyTooLarge))] {
            assert_eq!(read(Body::from(small_bomb()), &[GZIP], bound).await, expected, "at most {bound}");
        }
        let bombs = small_bomb().repeat(100);
        assert_eq!(read(Body::from(bombs.clone()), &[GZIP], 99_999).await, Err(ReasonCode::BodyTooLarge));
        assert_eq!(read(Body::from(bombs), &[GZIP], 100_000).await, Ok(vec![b' '; 100_000]));
        // And packed it is no longer than that either.
        assert_eq!(read(Body::from(packed(1000)), &[GZIP], 1000).await, Err(ReasonCode::BodyTooLarge));
        assert_eq!(read(Body::from(packed(1000)), &[GZIP], 1028).await, Ok(vec![b'x'; 1000]));
        assert_eq!(read(pieces(&[100]), &[GZIP], 1000).await, Err(ReasonCode::BadBody));
        assert_eq!(read(Body::from(small_bomb()[..20].to_vec()), &[GZIP], 1000).await, Err(ReasonCode::BadBody));
        assert_eq!(read(Body::empty(), &[GZIP], 1000).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn gzip_once_is_the_only_encoding() {
        let encoding = |value| ("content-encoding", value);
        for good in ["gzip", "GZip", "x-gzip", "identity, gzip"] {
            assert!(read(Body::from(small_bomb()), &[encoding(good)], 1000).await.is_ok(), "{good}");
        }
        assert_eq!(read(Body::from("plain"), &[encoding("identity")], 1000).await, Ok(b"plain".to_vec()));
        for bad in ["br", "deflate", "gzip, gzip", "zstd, gzip", "gzip;q=1", "\u{e4}"] {
            let found = read(Body::from(small_bomb()), &[encoding(bad)], 1000).await;
            assert_eq!(found, Err(ReasonCode::UnsupportedMediaType), "{bad}");
        }
        let twice = [GZIP, GZIP];
        let room = Admission::new(1, 1000, Duration::ZERO).room("ann");
        let mut headers = HeaderMap::new();
        for (name, value) in twice {
            headers.append(name, value.parse().unwrap());
        }
        let twice = receive(Body::from(small_bomb()), &headers, room, 1000, Duration::from_secs(5)).await.unwrap();
        assert_eq!(twice.err().unwrap().code, ReasonCode::UnsupportedMediaType);
    }

    #[tokio::test]
    async fn memory_is_taken_as_a_body_comes_and_not_when_it_is_announced() {
        let door = Admission::new(1, 64 * 1024, Duration::ZERO);
        let headers = HeaderMap::new();
        let (sender, gone) = oneshot::channel();
        let read = receive(
            Body::new(Silent(64 * 1024, gone)),
            &headers,
            door.room("mallory"),
            64 * 1024,
            Duration::from_secs(60),
        );
        let mut read = std::pin::pin!(read);
        assert!(timeout(Duration::ZERO, read.as_mut()).await.ok().is_none(), "it waits for the body");
        let mut other = door.room("ann");
        other.grow(64 * 1024).await.unwrap();
        drop(sender);
        assert!(matches!(timeout(Duration::ZERO, read.as_mut()).await.ok(), Some(Ok(Err(_)))), "it broke off");
        let full = receive(Body::from("x"), &headers, door.room("bob"), 64 * 1024, Duration::from_secs(60)).await;
        assert!(matches!(full, Err(Error::Busy { .. })));
        drop(other);
        let there = receive(Body::from("x"), &headers, door.room("bob"), 64 * 1024, Duration::from_secs(60)).await;
        assert_eq!(*there.unwrap().unwrap().bytes, b"x");
    }
}
