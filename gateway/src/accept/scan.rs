//! Checks incoming HTTP/1.1 requests for what hyper silently repairs:
//! `Content-Length` together with `Transfer-Encoding`, and `Content-Length`
//! twice (RFC 9112 §6.3). A proxy in front may have understood such a request
//! differently, so that one request can hide in another. The scan follows
//! bodies only as far as it needs to find the next header.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::accept::strict::Refusal;

/// What the scan and the connection tell each other.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    flags: AtomicU8,
}

const REQUEST_SEEN: u8 = 1;
const OVER: u8 = 2;
const BOTH_FRAMINGS: u8 = 4;
const TWO_LENGTHS: u8 = 8;
const ODD_LENGTH: u8 = 16;
const STALLED: u8 = 32;
const ODD_CHUNK: u8 = 64;

impl Verdict {
    fn set(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::Release);
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Notes that a whole request header has arrived.
    pub(super) fn first_request(&self) {
        self.set(REQUEST_SEEN);
    }

    /// Whether a request header ever arrived.
    pub(super) fn had_a_request(&self) -> bool {
        self.has(REQUEST_SEEN)
    }

    /// Notes whether the socket takes no more data at the moment, so that
    /// something waits to be written.
    pub(super) fn stall(&self, stalled: bool) {
        if stalled != self.is_stalled() {
            self.flags.fetch_xor(STALLED, Ordering::AcqRel);
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.has(STALLED)
    }

    /// Notes that the bytes from here on are no HTTP/1.1.
    pub(super) fn end(&self) {
        self.set(OVER);
    }

    /// Whether there is nothing more to check.
    pub(super) fn is_over(&self) -> bool {
        self.has(OVER)
    }

    /// What is wrong with a request that has arrived. It may be a later one
    /// than the one that is served (pipelining); both are then refused, which
    /// loses nothing.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if self.has(BOTH_FRAMINGS) {
            return Some(Refusal::BothFramings);
        }
        if self.has(TWO_LENGTHS) {
            return Some(Refusal::TwoLengths);
        }
        if self.has(ODD_LENGTH) {
            return Some(Refusal::OddLength);
        }
        self.has(ODD_CHUNK).then_some(Refusal::OddChunk)
    }
}

/// The position in the stream of requests.
#[derive(Debug, Default)]
pub(super) struct Scan {
    at: At,
    /// The beginning of the present line.
    line: Line,
    /// In the present header: how many lengths, which, and whether there is
    /// `Transfer-Encoding`.
    lengths: u32,
    length: u64,
    chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first line, after empty ones (RFC 9112 §2.2).
    #[default]
    Request,
    Header,
    /// This many bytes of body.
    Body(u64),
    ChunkSize,
    /// This many bytes of a chunk, and its line break.
    Chunk(u64),
    Trailer,
}

/// The beginning of a line without its blanks, so that blanks cannot push a
/// value beyond what is kept. Long enough for any relevant name and any 64-bit
/// number.
#[derive(Debug)]
struct Line {
    bytes: [u8; 64],
    kept: usize,
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 64], kept: 0, length: 0 }
    }
}

impl Line {
    fn push(&mut self, byte: u8) {
        self.length += 1;
        if let (Some(slot), false) = (self.bytes.get_mut(self.kept), matches!(byte, b' ' | b'\t')) {
            *slot = byte;
            self.kept += 1;
        }
    }

    fn kept(&self) -> &[u8] {
        &self.bytes[..self.kept]
    }
}

impl Scan {
    /// Whether a request has begun and not ended.
    pub(super) fn is_amid_request(&self) -> bool {
        self.at != At::Request || self.line.length > 0
    }

    /// Scans the next bytes.
    pub(super) fn see(&mut self, mut bytes: &[u8], verdict: &Verdict) {
        while !bytes.is_empty() && !verdict.is_over() {
            match &mut self.at {
                At::Body(left) | At::Chunk(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    bytes = &bytes[taken..];
                    self.at = match self.at {
                        At::Body(0) => At::Request,
                        At::Chunk(0) => At::ChunkSize,
                        at => at,
                    };
                }
                _ => {
                    let (byte, rest) = (bytes[0], &bytes[1..]);
                    bytes = rest;
                    match byte {
                        b'\n' => self.end_of_line(verdict),
                        b'\r' => {}
                        byte => self.line.push(byte),
                    }
                }
            }
        }
    }

    fn end_of_line(&mut self, verdict: &Verdict) {
        let line = std::mem::take(&mut self.line);
        let empty = line.length == 0;
        match self.at {
            At::Request if empty => {}
            // The first line of an HTTP/2 connection (RFC 9113 §3.4).
            At::Request if line.kept() == b"PRI*HTTP/2.0" => verdict.end(),
            At::Request => {
                (self.lengths, self.length, self.chunked) = (0, 0, false);
                self.at = At::Header;
            }
            At::Header if empty => self.end_of_header(verdict),
            At::Header => self.header_line(line.kept(), verdict),
            At::ChunkSize => match chunk_size(line.kept()) {
                Some(0) => self.at = At::Trailer,
                // With the line break after the data.
                Some(size) => self.at = At::Chunk(size.saturating_add(2)),
                // It may be more than is kept of the line, with zeros before it, which
                // hyper takes. Where the next request begins is not known then.
                None => {
                    verdict.set(ODD_CHUNK);
                    verdict.end();
                }
            },
            At::Trailer if empty => self.at = At::Request,
            At::Trailer | At::Body(_) | At::Chunk(_) => {}
        }
    }

    fn header_line(&mut self, line: &[u8], verdict: &Verdict) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            // A number with many leading zeros is longer than what is kept.
            let plain = value.len() <= 20 && value.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match number.filter(|_| plain) {
                Some(length) => self.length = length,
                None => verdict.set(ODD_LENGTH),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        }
        if self.chunked && self.lengths > 0 {
            verdict.set(BOTH_FRAMINGS);
        } else if self.lengths > 1 {
            verdict.set(TWO_LENGTHS);
        }
    }

    fn end_of_header(&mut self, verdict: &Verdict) {
        if verdict.refusal().is_some() {
            // The connection closes: nothing after this counts.
            verdict.end();
        }
        self.at = match (self.chunked, self.length) {
            (true, _) => At::ChunkSize,
            (false, 0) => At::Request,
            (false, length) => At::Body(length),
        };
    }
}

/// Nothing where the size is none of at most 16 digits.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    if digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans the text at once and byte by byte: the result must be the same.
    fn refusal(text: &str) -> Option<Refusal> {
        let (whole, split) = (Verdict::default(), Verdict::default());
        Scan::default().see(text.as_bytes(), &whole);
        let mut scan = Scan::default();
        for byte in text.as_bytes() {
            scan.see(&[*byte], &split);
        }
        assert_eq!(whole.refusal(), split.refusal());
        whole.refusal()
    }

    const GOOD: [&str; 3] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 40\r\n\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n13;x=y\r\nContent-Length: 1\r\n\r\n0\r\nTrailer: x\r\n\r\n",
    ];
    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-length: 1\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n";
    const TWICE: &str = "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";

    #[test]
    fn what_hyper_repairs_is_found_behind_any_requests() {
        let before = GOOD.concat();
        assert_eq!(refusal(&before), None);
        for (text, wrong) in [(BOTH, Refusal::BothFramings), (TWICE, Refusal::TwoLengths)] {
            assert_eq!(refusal(text), Some(wrong));
            assert_eq!(refusal(&format!("{before}\r\n{text}")), Some(wrong));
        }
    }

    #[test]
    fn a_length_that_is_hard_to_read_is_refused() {
        let post = |length: &str| refusal(&format!("POST / HTTP/1.1\r\nContent-Length:{length}\r\n\r\nx"));
        assert_eq!(post(&format!("{}1", " ".repeat(100))), None);
        for length in [&format!("{}1", "0".repeat(100)), "", "+1", "1,1", "99999999999999999999"] {
            assert_eq!(post(length), Some(Refusal::OddLength), "{length}");
        }
    }

    #[test]
    fn a_request_cannot_hide_behind_a_chunk_whose_size_is_longer_than_what_is_kept() {
        let chunks = |size: &str| {
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nx\r\n0\r\n\r\n{TWICE}")
        };
        assert_eq!(refusal(&chunks("0001")), Some(Refusal::TwoLengths));
        assert_eq!(refusal(&chunks(&format!("{}1", "0".repeat(70)))), Some(Refusal::OddChunk));
        assert_eq!(refusal(&chunks("+1")), Some(Refusal::OddChunk));
    }

    #[test]
    fn http_2_is_not_looked_at() {
        assert_eq!(refusal(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{TWICE}")), None);
    }
}
