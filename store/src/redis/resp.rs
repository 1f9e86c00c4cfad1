//! Redis' protocol, RESP2, as a client needs it: commands are written into a
//! buffer, replies are read out of one.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use bytes::{Buf, Bytes, BytesMut};
use fred::interfaces::Resp3Frame;
use fred::types::Value;

/// The longest line: an error's text, a number.
const LINE: usize = 64 << 10;
/// The longest string that a reply may have. Ours are far shorter.
const STRING: usize = 64 << 20;
/// The most replies in one list.
const LIST: usize = 1 << 20;
/// Bytes of a string that is not here yet for which memory is taken.
const AHEAD: usize = 64 << 10;
/// How deep lists may lie in lists.
const DEPTH: usize = 16;

/// What Redis replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Nil,
    Number(i64),
    Text(Bytes),
    List(Vec<Reply>),
    /// Redis refused; the text begins with a code such as `NOSCRIPT`.
    Refusal(Bytes),
}

/// Bytes that are no reply, in a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("redis sent something that is no reply: {0}")]
pub(super) struct Nonsense(&'static str);

/// Begins a command of so many words.
pub(super) fn put_command(into: &mut BytesMut, words: usize) {
    put_head(into, b'*', words);
}

/// Writes one word of a command.
pub(super) fn put_word(into: &mut BytesMut, word: &[u8]) {
    into.reserve(word.len() + 24);
    put_head(into, b'$', word.len());
    into.extend_from_slice(word);
    into.extend_from_slice(b"\r\n");
}

/// Writes one argument of a script.
pub(super) fn put_value(into: &mut BytesMut, value: &Value) {
    match value {
        Value::Bytes(bytes) => put_word(into, bytes),
        Value::String(text) => put_word(into, text.as_bytes()),
        Value::Integer(number) => put_word(into, itoa::Buffer::new().format(*number).as_bytes()),
        other => put_word(into, other.as_str().unwrap_or_default().as_bytes()),
    }
}

fn put_head(into: &mut BytesMut, kind: u8, number: usize) {
    into.extend_from_slice(&[kind]);
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    into.extend_from_slice(b"\r\n");
}

/// Reads replies. It keeps the lists that are not complete yet, so that nothing is
/// read twice, however the bytes come.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    open: Vec<OpenList>,
}

#[derive(Debug)]
struct OpenList {
    length: usize,
    items: Vec<Reply>,
}

impl Decoder {
    /// The next reply, taken out of the buffer; nothing until all of it is there.
    /// After an error the connection is of no use.
    pub(super) fn next(&mut self, from: &mut BytesMut) -> Result<Option<Reply>, Nonsense> {
        while let Some(value) = self.value(from)? {
            if let Some(reply) = self.close(value) {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// The next value that is no list, or an empty list; begins the lists before
    /// it.
    fn value(&mut self, from: &mut BytesMut) -> Result<Option<Reply>, Nonsense> {
        loop {
            let Some(end) = line_end(from)? else { return Ok(None) };
            let (kind, line) = (from[0], &from[1..end]);
            let value = match kind {
                b'$' => match length(line, STRING)? {
                    None => Reply::Nil,
                    Some(length) => {
                        let (begin, all) = (end + 2, end + 2 + length + 2);
                        if from.len() < all {
                            // It may never come: memory is taken for what has.
                            from.reserve((all - from.len()).min(AHEAD));
                            return Ok(None);
                        }
                        if &from[all - 2..all] != b"\r\n" {
                            return Err(Nonsense("a string without its end"));
                        }
                        from.advance(begin);
                        let text = from.split_to(length).freeze();
                        from.advance(2);
                        return Ok(Some(Reply::Text(text)));
                    }
                },
                b'*' => match length(line, LIST)? {
                    None => Reply::Nil,
                    Some(0) => Reply::List(Vec::new()),
                    Some(_) if self.open.len() == DEPTH => return Err(Nonsense("lists too deep in lists")),
                    Some(length) => {
                        from.advance(end + 2);
                        // Of those of its items that are here already, each has four bytes or more.
                        let items = Vec::with_capacity(length.min(from.len() / 4));
                        self.open.push(OpenList { length, items });
                        continue;
                    }
                },
                b':' => Reply::Number(number(line)?),
                b'+' => Reply::Text(Bytes::copy_from_slice(line)),
                b'-' => Reply::Refusal(Bytes::copy_from_slice(line)),
                _ => return Err(Nonsense("an unknown kind")),
            };
            from.advance(end + 2);
            return Ok(Some(value));
        }
    }

    /// Puts a value where it belongs. Returns it, or the list that it completes,
    /// if that is a whole reply.
    fn close(&mut self, mut value: Reply) -> Option<Reply> {
        while let Some(list) = self.open.last_mut() {
            list.items.push(value);
            if list.items.len() < list.length {
                return None;
            }
            value = Reply::List(self.open.pop()?.items);
        }
        Some(value)
    }
}

/// Where the first line ends; nothing while it is not complete.
fn line_end(from: &[u8]) -> Result<Option<usize>, Nonsense> {
    let within = &from[..from.len().min(LINE)];
    match within.iter().position(|byte| *byte == b'\n') {
        Some(0) => Err(Nonsense("an empty line")),
        Some(at) if within[at - 1] == b'\r' && at > 1 => Ok(Some(at - 1)),
        Some(_) => Err(Nonsense("a line without its end")),
        None if within.len() == LINE => Err(Nonsense("a line that is too long")),
        None => Ok(None),
    }
}

fn number(line: &[u8]) -> Result<i64, Nonsense> {
    let text = std::str::from_utf8(line).map_err(|_| Nonsense("a number that is none"))?;
    text.parse().map_err(|_| Nonsense("a number that is none"))
}

/// The length of a string or list; nothing for -1, which is nil.
fn length(line: &[u8], most: usize) -> Result<Option<usize>, Nonsense> {
    match number(line)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            _ => Err(Nonsense("a length that cannot be")),
        },
    }
}

impl From<Resp3Frame> for Reply {
    /// What fred gives: replies of RESP2, in the frames of RESP3.
    fn from(frame: Resp3Frame) -> Self {
        match frame {
            Resp3Frame::Array { data, .. } => Self::List(data.into_iter().map(Self::from).collect()),
            Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Self::Text(data),
            Resp3Frame::VerbatimString { data, .. } => Self::Text(data),
            Resp3Frame::Number { data, .. } => Self::Number(data),
            Resp3Frame::SimpleError { data, .. } => Self::Refusal(data.into_inner()),
            Resp3Frame::BlobError { data, .. } => Self::Refusal(data),
            _ => Self::Nil,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// All replies of these bytes, which come in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Reply>, Nonsense> {
        let (mut decoder, mut buffer, mut replies) = (Decoder::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(reply) = decoder.next(&mut buffer)? {
                replies.push(reply);
            }
        }
        assert!(buffer.is_empty(), "{buffer:?} is left");
        Ok(replies)
    }

    #[test]
    fn replies_are_the_same_wherever_their_bytes_are_cut() {
        let bytes = b"+OK\r\n:-7\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n-NOSCRIPT no such script\r\n\
            *3\r\n$5\r\na\r\nb\n\r\n*2\r\n:1\r\n*1\r\n$2\r\nhi\r\n-ERR in the middle\r\n$3\r\nend\r\n";
        let refusal = |text: &'static str| Reply::Refusal(Bytes::from_static(text.as_bytes()));
        let within = Reply::List(vec![Reply::Number(1), Reply::List(vec![text("hi")])]);
        let expected = vec![
            text("OK"),
            Reply::Number(-7),
            Reply::Nil,
            Reply::Nil,
            text(""),
            Reply::List(Vec::new()),
            refusal("NOSCRIPT no such script"),
            Reply::List(vec![text("a\r\nb\n"), within, refusal("ERR in the middle")]),
            text("end"),
        ];
        for piece in 1..=bytes.len() {
            assert_eq!(read(bytes, piece).unwrap(), expected, "in pieces of {piece}");
        }
        for cut in 0..bytes.len() {
            let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(&bytes[..cut]));
            let mut replies = Vec::new();
            for more in [&b""[..], &bytes[cut..]] {
                buffer.extend_from_slice(more);
                while let Some(reply) = decoder.next(&mut buffer).unwrap() {
                    replies.push(reply);
                }
            }
            assert_eq!(replies, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_large_string_comes_whole() {
        let large = vec![b'x'; 3 << 20];
        let mut bytes = format!("*2\r\n${}\r\n", large.len()).into_bytes();
        bytes.extend_from_slice(&large);
        bytes.extend_from_slice(b"\r\n:1\r\n");
        let expected = vec![Reply::List(vec![Reply::Text(large.into()), Reply::Number(1)])];
        assert_eq!(read(&bytes, 16 << 10).unwrap(), expected);
    }

    #[test]
    fn what_is_no_reply_is_an_error_and_no_wait() {
        let deep = "*1\r\n".repeat(DEPTH + 1);
        let long = format!("+{}", "x".repeat(LINE));
        for bytes in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            "\n",
            "+OK\n",
            ":one\r\n",
            ":\r\n",
            "$-2\r\n",
            "$99999999999\r\n",
            "$2\r\nabcd",
            "*9999999\r\n",
            "*1\r\n>2\r\n",
            &deep,
            &long,
        ] {
            assert!(read(bytes.as_bytes(), 7).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_only_announced_takes_no_memory() {
        let mut buffer = BytesMut::from(&format!("${STRING}\r\n")[..]);
        assert_eq!(Decoder::default().next(&mut buffer), Ok(None));
        assert!(buffer.capacity() <= 2 * AHEAD, "{}", buffer.capacity());
        let mut lists = Decoder::default();
        let mut buffer = BytesMut::from(&format!("*{LIST}\r\n").repeat(DEPTH)[..]);
        assert_eq!(lists.next(&mut buffer), Ok(None));
        let room: usize = lists.open.iter().map(|list| list.items.capacity()).sum();
        assert!(room <= 1_024, "room for {room} replies");
    }

    #[test]
    fn a_command_is_written_as_redis_reads_it() {
        let mut bytes = BytesMut::new();
        put_command(&mut bytes, 4);
        put_word(&mut bytes, b"EVALSHA");
        put_value(&mut bytes, &Value::Integer(-12));
        put_value(&mut bytes, &Value::String("ü".into()));
        put_value(&mut bytes, &Value::Bytes(Bytes::from_static(b"\r\n")));
        assert_eq!(&bytes[..], "*4\r\n$7\r\nEVALSHA\r\n$3\r\n-12\r\n$2\r\nü\r\n$2\r\n\r\n\r\n".as_bytes());
    }
}
