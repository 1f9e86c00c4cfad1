//! Messages of RFC 6455 from and to bytes, on the server's side, with
//! tungstenite's frame headers. Incoming data is unmasked in place; fragments
//! are joined.

use std::borrow::Cow;
use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

pub(in crate::transport) const TEXT: OpCode = OpCode::Data(Data::Text);
pub(in crate::transport) const BINARY: OpCode = OpCode::Data(Data::Binary);
pub(in crate::transport) const PING: OpCode = OpCode::Control(Control::Ping);
pub(in crate::transport) const PONG: OpCode = OpCode::Control(Control::Pong);
const CONTINUATION: OpCode = OpCode::Data(Data::Continue);
const CLOSE: OpCode = OpCode::Control(Control::Close);

/// The most bytes of a control frame's payload (RFC 6455 §5.5).
const MAX_CONTROL: u64 = 125;

/// A message of the peer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::transport) enum Message<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Ping(&'a [u8]),
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
    /// A fragment; the message is not complete.
    Part,
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Wrong {
    /// It breaks RFC 6455.
    Protocol,
    /// Beyond the decoder's limit.
    TooLarge,
    /// Text that is not UTF-8.
    Utf8,
}

impl Wrong {
    /// The close code (RFC 6455 §7.4.1) and its reason.
    pub(in crate::transport) fn close(self) -> (u16, &'static str) {
        match self {
            Self::Protocol => (1002, "not RFC 6455"),
            Self::TooLarge => (1009, "frame too large"),
            Self::Utf8 => (1007, "text that is not UTF-8"),
        }
    }
}

/// Decodes messages. Keeps only the fragments of an incomplete message.
#[derive(Debug)]
pub(in crate::transport) struct Decoder {
    /// Bytes of one message.
    most: usize,
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    opcode: OpCode,
    bytes: Vec<u8>,
}

/// The header of a frame whose payload has arrived.
struct Header {
    last: bool,
    opcode: OpCode,
    mask: [u8; 4],
    /// The range of the payload.
    payload: std::ops::Range<usize>,
}

impl Decoder {
    /// For messages of at most so many bytes.
    pub(in crate::transport) fn new(most: usize) -> Self {
        Self { most, fragments: None }
    }

    /// The bytes of an incomplete message.
    pub(in crate::transport) fn held(&self) -> usize {
        self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len())
    }

    /// Decodes the first frame of `bytes`, and returns its length; `None` when
    /// it is incomplete. Fails when the connection cannot go on.
    pub(in crate::transport) fn decode<'a>(
        &mut self,
        bytes: &'a mut [u8],
    ) -> Result<Option<(Message<'a>, usize)>, Wrong> {
        let Some(header) = self.header(bytes)? else { return Ok(None) };
        let Header { last, opcode, mask, payload } = header;
        let end = payload.end;
        let payload = &mut bytes[payload];
        unmask(payload, mask);
        let message = match opcode {
            PING => Message::Ping(payload),
            PONG => Message::Pong,
            CLOSE => Message::Close(close_code(payload)?),
            CONTINUATION => self.go_on(payload, last)?,
            opcode if last => whole(opcode, Cow::Borrowed(&*payload))?,
            opcode => {
                self.fragments = Some(Box::new(Fragments { opcode, bytes: payload.to_vec() }));
                Message::Part
            }
        };
        Ok(Some((message, end)))
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Wrong> {
        let mut cursor = Cursor::new(bytes);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Wrong::Protocol)? else {
            return Ok(None);
        };
        let FrameHeader { is_final: last, rsv1, rsv2, rsv3, opcode, mask: Some(mask) } = header else {
            return Err(Wrong::Protocol);
        };
        let fits = match opcode {
            CONTINUATION => self.fragments.is_some(),
            OpCode::Data(_) => self.fragments.is_none(),
            OpCode::Control(_) => last && length <= MAX_CONTROL,
        };
        if !fits || rsv1 || rsv2 || rsv3 {
            return Err(Wrong::Protocol);
        }
        let before = self.fragments.as_ref().filter(|_| opcode == CONTINUATION);
        let before = before.map_or(0, |fragments| fragments.bytes.len());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.most - before {
            return Err(Wrong::TooLarge);
        }
        if !is_minimal(bytes, length as u64) {
            return Err(Wrong::Protocol);
        }
        let from = bytes.len().min(usize::try_from(cursor.position()).unwrap_or(usize::MAX));
        let payload = from..from + length;
        Ok((bytes.len() >= payload.end).then_some(Header { last, opcode, mask, payload }))
    }

    fn go_on<'a>(&mut self, payload: &[u8], last: bool) -> Result<Message<'a>, Wrong> {
        let mut fragments = self.fragments.take().ok_or(Wrong::Protocol)?;
        fragments.bytes.extend_from_slice(payload);
        if last {
            return whole(fragments.opcode, Cow::Owned(fragments.bytes));
        }
        self.fragments = Some(fragments);
        Ok(Message::Part)
    }
}

/// Whether a frame's length takes as few bytes as it can (RFC 6455 §5.2).
fn is_minimal(frame: &[u8], length: u64) -> bool {
    match frame.get(1).map(|byte| byte & 0x7f) {
        Some(126) => length > 125,
        Some(127) => length > u64::from(u16::MAX),
        _ => true,
    }
}

fn whole(opcode: OpCode, bytes: Cow<'_, [u8]>) -> Result<Message<'_>, Wrong> {
    if opcode == BINARY {
        return Ok(Message::Binary(bytes));
    }
    let text = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| Wrong::Utf8)?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| Wrong::Utf8)?),
    };
    Ok(Message::Text(text))
}

/// The code of a close frame (RFC 6455 §5.5.1, §7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Wrong> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(Wrong::Protocol) };
    };
    std::str::from_utf8(reason).map_err(|_| Wrong::Utf8)?;
    let code = u16::from_be_bytes([*high, *low]);
    if CloseCode::from(code).is_allowed() { Ok(Some(code)) } else { Err(Wrong::Protocol) }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a frame: a whole message, or a control frame.
pub(in crate::transport) fn encode(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload.len() as u64, out).expect("writing to memory never fails");
    out.extend_from_slice(payload);
}

/// Appends a close frame; without a code, for a peer that gave none.
pub(in crate::transport) fn encode_close(out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let mut payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
    payload.extend_from_slice(reason.as_bytes());
    encode(out, CLOSE, &payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_FRAME_BYTES: usize = 262_144;
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    /// Bits of a frame's first and second byte, and opcodes (RFC 6455 §5.2).
    const LAST: u8 = 0x80;
    const MASKED: u8 = 0x80;
    const CONTINUATION: u8 = 0;
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, super::TEXT, payload);
        let header = bytes.len() - payload.len();
        bytes[0] = first;
        bytes[1] |= MASKED;
        unmask(&mut bytes[header..], MASK);
        bytes.splice(header..header, MASK);
        bytes
    }

    fn decode(bytes: &mut [u8]) -> Result<Option<(Message<'_>, usize)>, Wrong> {
        Decoder::new(MAX_FRAME_BYTES).decode(bytes)
    }

    #[test]
    fn the_masked_hello_of_the_rfc_is_read() {
        let mut hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(decode(&mut hello), Ok(Some((Message::Text("Hello".into()), 11))));
    }

    #[test]
    fn a_message_in_fragments_is_put_together_around_a_ping() {
        let mut decoder = Decoder::new(MAX_FRAME_BYTES);
        let pieces = [
            (frame(TEXT, b"He"), Message::Part),
            (frame(LAST | PING, b"p"), Message::Ping(b"p")),
            (frame(CONTINUATION, b""), Message::Part),
            (frame(LAST | CONTINUATION, b"llo"), Message::Text("Hello".into())),
        ];
        for (mut bytes, expected) in pieces {
            let length = bytes.len();
            assert_eq!(decoder.decode(&mut bytes), Ok(Some((expected, length))));
        }
        let mut bytes = frame(LAST | CONTINUATION, b"");
        assert_eq!(decoder.decode(&mut bytes), Err(Wrong::Protocol));
    }

    #[test]
    fn what_the_rfc_forbids_is_wrong() {
        let wrong = |bytes: &[u8]| decode(&mut bytes.to_vec()).err();
        let protocol = Some(Wrong::Protocol);
        assert_eq!(wrong(&frame(LAST | 3, b"x")), protocol, "a reserved opcode");
        assert_eq!(wrong(&frame(LAST | 0x40 | TEXT, b"x")), protocol, "a reserved bit");
        assert_eq!(wrong(&frame(PING, b"x")), protocol, "a ping in fragments");
        assert_eq!(wrong(&frame(LAST | PING, &[0; 126])), protocol, "a long ping");
        assert_eq!(wrong(&[LAST | TEXT, 1, b'x']), protocol, "not masked");
        assert_eq!(wrong(&frame(LAST | CLOSE, &[3])), protocol, "half a code");
        assert_eq!(wrong(&frame(LAST | CLOSE, &1005_u16.to_be_bytes())), protocol);
        assert_eq!(wrong(&frame(LAST | CLOSE, b"\x03\xe8\xff")), Some(Wrong::Utf8));
        assert_eq!(wrong(&frame(LAST | TEXT, b"\xc3\x28")), Some(Wrong::Utf8));
        assert_eq!(wrong(&[LAST | TEXT, MASKED | 126, 0, 1, 0, 0, 0, 0, b'x']), protocol, "1 in 2 bytes");
        assert_eq!(wrong(&[LAST | TEXT, MASKED | 126, 0, 125, 0, 0, 0, 0]), protocol, "125 in 2 bytes");
        let of_8 = [LAST | TEXT, MASKED | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(wrong(&of_8), protocol, "65535 in 8 bytes");
        // Before its bytes arrive, and with a length beyond any address.
        assert_eq!(wrong(&frame(LAST | TEXT, &[b' '; MAX_FRAME_BYTES + 1])[..14]), Some(Wrong::TooLarge));
        assert_eq!(
            wrong(&[LAST | TEXT, MASKED | 127, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]),
            Some(Wrong::TooLarge)
        );
    }

    #[test]
    fn a_goodbye_may_have_a_code() {
        let close = |payload: &[u8]| match decode(&mut frame(LAST | CLOSE, payload)) {
            Ok(Some((Message::Close(code), _))) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!((close(b""), close(b"\x03\xe8bye")), (None, Some(1000)));
    }

    proptest! {
        #[test]
        fn frames_of_any_length_are_read_once_they_are_whole(
            length in prop_oneof![0_usize..300, 65_500_usize..65_600],
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let payload = vec![byte; length];
            let whole = frame(LAST | BINARY, &payload);
            let mut part = whole[..cut.index(whole.len())].to_vec();
            prop_assert_eq!(decode(&mut part), Ok(None));
            let length = whole.len();
            let mut more = whole;
            more.push(LAST | TEXT);
            let read = decode(&mut more);
            prop_assert_eq!(read, Ok(Some((Message::Binary(payload.into()), length))));
        }
    }
}
