//! Bodies with `Content-Encoding: gzip` (RFC 1952), unpacked as they come. What comes out goes straight into the caller's
//! own buffer, which is wiped: there is no window in here. The unpacker's own state is not wiped: the codes of the block
//! it reads, a few bits that it has not decoded yet, and the symbol it is at.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use zeroize::Zeroizing;

/// The longest head of a member that is read, in bytes. It can hold a file's name and a comment; clients send ten bytes.
const MAX_HEAD: usize = 1024;

/// What came is no gzip.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Why a step is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All of the input is read.
    NeedsInput,
    /// All of the output is full.
    NeedsOutput,
}

/// Unpacks members, one after another.
pub(super) struct Gunzip {
    part: Part,
    /// Where the member that is read began in the output: what is before it, it must not refer to.
    start: usize,
}

enum Part {
    Head(Zeroizing<Vec<u8>>),
    Data(Box<DecompressorOxide>, crc32fast::Hasher),
    Foot(Vec<u8>, u32),
}

impl Part {
    fn head() -> Self {
        Self::Head(Zeroizing::new(Vec::with_capacity(MAX_HEAD)))
    }
}

impl Gunzip {
    /// Before the first byte.
    pub(super) fn new() -> Self {
        Self { part: Part::head(), start: 0 }
    }

    /// Goes on, as far as input and output go. `output` is all that came out so far, `filled` bytes of it, and space.
    ///
    /// # Errors
    /// When this is no gzip, or not what was packed.
    pub(super) fn step(&mut self, input: &mut &[u8], output: &mut [u8], filled: &mut usize) -> Result<Step, Broken> {
        loop {
            match &mut self.part {
                Part::Head(_) | Part::Foot(..) if input.is_empty() => return Ok(Step::NeedsInput),
                Part::Head(head) => {
                    let before = head.len();
                    let (come, _) = input.split_at(input.len().min(MAX_HEAD - before));
                    head.extend_from_slice(come);
                    match head_len(head)? {
                        Some(len) => {
                            *input = input.get(len.saturating_sub(before)..).unwrap_or_default();
                            self.start = *filled;
                            self.part = Part::Data(Box::default(), crc32fast::Hasher::new());
                        }
                        None if head.len() == MAX_HEAD => return Err(Broken),
                        None => *input = &[],
                    }
                }
                Part::Data(state, sum) => {
                    let member = output.get_mut(self.start..).ok_or(Broken)?;
                    let at = *filled - self.start;
                    let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
                    let (status, read, written) = decompress(state, input, member, at, flags);
                    *input = input.get(read..).unwrap_or_default();
                    sum.update(member.get(at..at + written).unwrap_or_default());
                    *filled += written;
                    match status {
                        TINFLStatus::Done => self.part = Part::Foot(Vec::with_capacity(8), sum.clone().finalize()),
                        TINFLStatus::NeedsMoreInput => return Ok(Step::NeedsInput),
                        TINFLStatus::HasMoreOutput => return Ok(Step::NeedsOutput),
                        _ => return Err(Broken),
                    }
                }
                Part::Foot(foot, sum) => {
                    let (come, rest) = input.split_at(input.len().min(8 - foot.len()));
                    foot.extend_from_slice(come);
                    *input = rest;
                    if foot.len() == 8 {
                        // The length is that of the member, modulo 2^32.
                        let len = (*filled - self.start) as u32;
                        if *foot != [sum.to_le_bytes(), len.to_le_bytes()].concat() {
                            return Err(Broken);
                        }
                        self.part = Part::head();
                    }
                }
            }
        }
    }

    /// After the last byte.
    ///
    /// # Errors
    /// When it broke off. No bytes at all are an empty body.
    pub(super) fn finish(&self) -> Result<(), Broken> {
        match &self.part {
            Part::Head(head) if head.is_empty() => Ok(()),
            _ => Err(Broken),
        }
    }
}

/// The length of a member's head; `None` where these bytes are only the beginning of one (RFC 1952, 2.3).
fn head_len(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let magic = [0x1f, 0x8b, 8];
    if !bytes.iter().zip(magic).all(|(byte, expected)| *byte == expected) {
        return Err(Broken);
    }
    let Some(flags) = bytes.get(3) else { return Ok(None) };
    let (check, extra, name, comment) = (flags & 2 != 0, flags & 4 != 0, flags & 8 != 0, flags & 16 != 0);
    if flags & 0xe0 != 0 {
        return Err(Broken);
    }
    let mut len = 10;
    if extra {
        let Some([low, high]) = bytes.get(len..len + 2) else { return Ok(None) };
        len += 2 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    for _ in 0..usize::from(name) + usize::from(comment) {
        match bytes.get(len..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) {
            Some(end) => len += end + 1,
            None => return Ok(None),
        }
    }
    if check {
        let Some([low, high]) = bytes.get(len..len + 2) else { return Ok(None) };
        let sum = bytes.get(..len).map_or(0, crc32fast::hash);
        if u32::from(u16::from_le_bytes([*low, *high])) != sum & 0xffff {
            return Err(Broken);
        }
        len += 2;
    }
    Ok((len <= bytes.len()).then_some(len))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// Unpacks pieces into a buffer that grows by so many bytes.
    fn unpack(pieces: &[&[u8]], by: usize) -> Result<Vec<u8>, Broken> {
        let mut gunzip = Gunzip::new();
        let (mut output, mut filled) = (Vec::new(), 0);
        for piece in pieces {
            let mut input = *piece;
            while gunzip.step(&mut input, &mut output, &mut filled)? == Step::NeedsOutput {
                assert_eq!(filled, output.len(), "there was space");
                output.resize(filled + by, 0);
            }
            assert!(input.is_empty());
        }
        gunzip.finish()?;
        output.truncate(filled);
        Ok(output)
    }

    fn decode(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    // Made by Python's gzip module.

    /// `{"name": "x"}`, in the fixed code.
    fn short() -> Vec<u8> {
        decode(SHORT)
    }

    /// `"keygate " * 1000 + bytes(range(256))`, in a dynamic code and with a file's name.
    fn long() -> (Vec<u8>, Vec<u8>) {
        let mut plain = b"keygate ".repeat(1000);
        plain.extend(0..=255_u8);
        (decode(LONG), plain)
    }

    /// `stored`, as it is, behind a head with everything that a head can have.
    fn stored() -> Vec<u8> {
        decode(STORED)
    }

    const SHORT: &str = "H4sIAAAAAAACA6tWykvMTVWyUlCqUKoFABjsPkoNAAAA";
    const LONG: &str = "H4sICADxU2UC/2JvZHkuanNvbgDLTq1MTyxJVcgepUfpUXqUHqVH6VF6lB6lR+lRepQepUfpUXqUHqVH6VF6lB6lR+lRepQepUfp\
        UXqUHqVH6RFMMzAyMbOwsrFzcHJx8/Dy8QsICgmLiIqJS0hKScvIyskrKCopq6iqqWtoamnr6OrpGxgaGZuYmplbWFpZ29ja2Ts4\
        Ojm7uLq5e3h6efv4+vkHBAYFh4SGhUdERkXHxMbFJyQmJaekpqVnZGZl5+Tm5RcUFhWXlJaVV1RWVdfU1tU3NDY1t7S2tXd0dnX3\
        9Pb1T5g4afKUqdOmz5g5a/acufPmL1i4aPGSpcuWr1i5avWatevWb9i4afOWrdu279i5a/eevfv2Hzh46PCRo8eOnzh56vSZs+fO\
        X7h46fKVq9eu37h56/adu/fuP3j46PGTp8+ev3j56vWbt+/ef/j46fOXr9++//j56/efv//+AwCACNgiQCAAAA==";
    const STORED: &str = "H4sIHwECAwQA/wUAZXh0cmFuYW1lAGNvbW1lbnQAmNwBBgD5/3N0b3JlZAv5Q1YGAAAA";

    #[test]
    fn what_others_packed_comes_out_in_pieces_of_any_size() {
        let (packed, plain) = long();
        for (packed, plain) in
            [(short(), b"{\"name\": \"x\"}".to_vec()), (packed, plain), (stored(), b"stored".to_vec())]
        {
            for size in [1, 2, 3, 7, 100, 100_000] {
                let pieces: Vec<&[u8]> = packed.chunks(size).collect();
                for by in [1, 10, 100_000] {
                    assert_eq!(unpack(&pieces, by).as_ref(), Ok(&plain), "{size} and {by}");
                }
            }
        }
    }

    #[test]
    fn members_come_one_after_another_and_none_is_an_empty_body() {
        let (packed, plain) = long();
        let both = [short(), packed].concat();
        assert_eq!(unpack(&[&both], 64), Ok([b"{\"name\": \"x\"}".to_vec(), plain].concat()));
        assert_eq!(unpack(&[], 64), Ok(Vec::new()));
        assert_eq!(unpack(&[b""], 64), Ok(Vec::new()));
    }

    #[test]
    fn what_broke_off_or_was_changed_is_never_taken_for_something_else() {
        for (packed, plain) in [(short(), &b"{\"name\": \"x\"}"[..]), (stored(), b"stored")] {
            for len in 1..packed.len() {
                assert_eq!(unpack(&[&packed[..len]], 64), Err(Broken), "the first {len} bytes");
            }
            let mut refused = 0;
            for bit in 0..packed.len() * 8 {
                let mut changed = packed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                // Bits that say nothing, of the time or for padding, may be anything.
                match unpack(&[&changed], 64) {
                    Ok(found) => assert_eq!(found, plain, "bit {bit}"),
                    Err(Broken) => refused += 1,
                }
            }
            assert!(refused > packed.len() * 6, "{refused} of {}", packed.len() * 8);
            let more = [packed.as_slice(), b"{}"].concat();
            assert_eq!(unpack(&[&more], 64), Err(Broken));
        }
        for noise in [&b"{\"name\": \"x\"}"[..], &[0x1f], &[0x1f, 0x8b, 8], &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]] {
            assert_eq!(unpack(&[noise], 64), Err(Broken), "{noise:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_not_read_for_ever() {
        let head = [0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
        let name = [b'a'; 300];
        let pieces: Vec<&[u8]> = std::iter::once(&head[..]).chain(std::iter::repeat_n(&name[..], 100)).collect();
        assert_eq!(unpack(&pieces, 64), Err(Broken));
    }

    #[test]
    fn a_member_refers_to_nothing_before_it() {
        // Deflate with the fixed code: a match of 3 bytes, 1 back, where nothing is yet.
        let raw = [0x03, 0x02, 0x00];
        let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        packed.extend(raw);
        packed.extend([0; 8]);
        assert_eq!(unpack(&[&packed], 64), Err(Broken));
        assert_eq!(unpack(&[&[short(), packed].concat()], 64), Err(Broken));
    }
}
