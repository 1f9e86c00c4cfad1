//! What fuzzing holds framings to. WebSocket frames are read as tungstenite reads
//! them; what Engine.IO, Socket.IO and SockJS read is the same when it is written and
//! read again.

use std::io::{self, Cursor, Read, Write};

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, WebSocket};

use super::websocket::codec::{self, Decoder, Message};

pub use super::engineio::fuzzing::engineio;
pub use super::socketio::fuzzing::socketio;
pub use super::sockjs::fuzzing::sockjs;

/// Bytes of a message at most. Small, so that its border is found.
const MOST: usize = 300;

/// What a client sends, as one of both readers says it.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// Frames of a client. The first byte says what the rest is: the bytes themselves,
/// or what frames are made of. The second says into which pieces they fall.
pub fn websocket(bytes: &[u8]) {
    let [form, piece, rest @ ..] = bytes else { return };
    let stream = if form % 2 == 0 { rest.to_vec() } else { frames(rest) };
    let (said, failed) = ours(&stream, stream.len().max(1));
    let (in_pieces, failed_in_pieces) = ours(&stream, usize::from(*piece).max(1));
    assert_eq!((&said, failed), (&in_pieces, failed_in_pieces));
    let (theirs, not_text) = tungstenites(&stream);
    let both = said.len().min(theirs.len());
    assert_eq!(said[..both], theirs[..both]);
    // Tungstenite looks at each fragment of a text, ours at the whole.
    assert!(not_text || said.len() <= theirs.len(), "ours {said:?}, tungstenite's {theirs:?}");
    // Beyond the limit, lengths that are not minimal and codes of RFC 6455 §7.4 ours
    // are stricter. What tungstenite takes of a connection that ours keeps is all.
    assert!(failed || said.len() >= theirs.len(), "ours {said:?}, tungstenite's {theirs:?}");
    for one in &said {
        written_is_read(one);
    }
}

/// Masked frames: two bytes for the head (opcode and bits, then a length below 256
/// that may be written in more bytes than needed), four for the mask, the payload.
fn frames(mut rest: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first, length, form, a, b, c, d, behind @ ..] = rest {
        let length = usize::from(*length).min(behind.len());
        let (payload, more) = behind.split_at(length);
        // Seldom a reserved bit.
        let first = if *form < 250 { first & 0x8f } else { *first };
        stream.push(first);
        match (form % 16, length) {
            (0, _) => {
                stream.push(0x80 | 127);
                stream.extend((length as u64).to_be_bytes());
            }
            (1, _) | (_, 126..) => {
                stream.push(0x80 | 126);
                stream.extend((length as u16).to_be_bytes());
            }
            _ => stream.push(0x80 | length as u8),
        }
        let mask = [*a, *b, *c, *d];
        stream.extend(mask);
        stream.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        rest = more;
    }
    stream
}

/// What our reader says of these bytes, which come in pieces, up to a close frame;
/// and whether it failed.
fn ours(stream: &[u8], piece: usize) -> (Vec<Said>, bool) {
    let (mut decoder, mut buffer, mut said) = (Decoder::new(MOST), Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            // It unmasks in place.
            let mut bytes = buffer.clone();
            let (message, length) = match decoder.decode(&mut bytes) {
                Ok(Some(decoded)) => decoded,
                Ok(None) => break,
                Err(_) => return (said, true),
            };
            match message {
                Message::Text(text) => said.push(Said::Text(text.into_owned())),
                Message::Binary(bytes) => said.push(Said::Binary(bytes.into_owned())),
                Message::Ping(payload) => said.push(Said::Ping(payload.to_vec())),
                Message::Pong => said.push(Said::Pong),
                Message::Close(code) => {
                    said.push(Said::Close(code));
                    return (said, false);
                }
                Message::Part => {}
            }
            buffer.drain(..length);
            assert!(decoder.held() <= MOST);
            if let Some(Said::Text(text)) = said.last() {
                assert!(text.len() <= MOST);
            }
        }
    }
    (said, false)
}

/// The client's bytes; what is written to it is dropped.
struct Client<'a>(Cursor<&'a [u8]>);

impl Read for Client<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite says of these bytes; and whether it ended at a text that is not
/// UTF-8.
fn tungstenites(stream: &[u8]) -> (Vec<Said>, bool) {
    let config = WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST));
    let mut socket = WebSocket::from_raw_socket(Client(Cursor::new(stream)), Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(message) => message,
            Err(error) => return (said, matches!(error, tungstenite::Error::Utf8(_))),
        };
        said.push(match message {
            tungstenite::Message::Text(text) => Said::Text(text.to_string()),
            tungstenite::Message::Binary(bytes) => Said::Binary(bytes.to_vec()),
            tungstenite::Message::Ping(payload) => Said::Ping(payload.to_vec()),
            tungstenite::Message::Pong(_) => Said::Pong,
            tungstenite::Message::Close(frame) => {
                said.push(Said::Close(frame.map(|frame| frame.code.into())));
                return (said, false);
            }
            tungstenite::Message::Frame(_) => panic!("no frame is read by itself"),
        });
    }
}

/// A client that tungstenite reads for gets what we write.
fn written_is_read(said: &Said) {
    let mut stream = Vec::new();
    match said {
        Said::Text(text) => codec::encode(&mut stream, codec::TEXT, text.as_bytes()),
        Said::Binary(bytes) => codec::encode(&mut stream, codec::BINARY, bytes),
        Said::Ping(payload) => codec::encode(&mut stream, codec::PONG, payload),
        Said::Pong => codec::encode(&mut stream, codec::PING, b""),
        Said::Close(code) => codec::encode_close(&mut stream, *code, if code.is_some() { "bye" } else { "" }),
    }
    let mut socket = WebSocket::from_raw_socket(Client(Cursor::new(&stream)), Role::Client, None);
    let read = socket.read().expect("what was written is read");
    match (said, read) {
        (Said::Text(text), tungstenite::Message::Text(read)) => assert_eq!(text, read.as_str()),
        (Said::Binary(bytes), tungstenite::Message::Binary(read)) => assert_eq!(bytes[..], read[..]),
        (Said::Ping(payload), tungstenite::Message::Pong(read)) => assert_eq!(payload[..], read[..]),
        (Said::Pong, tungstenite::Message::Ping(read)) => assert!(read.is_empty()),
        (Said::Close(code), tungstenite::Message::Close(read)) => {
            assert_eq!(*code, read.map(|frame| frame.code.into()));
        }
        (said, read) => panic!("{said:?} was read as {read:?}"),
    }
}
