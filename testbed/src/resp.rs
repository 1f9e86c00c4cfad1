//! Redis' protocol, as much as tests need: a parser of RESP2 and RESP3 values
//! that says where each one ends, and one command over a connection of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What Redis answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `nil`: no such key.
    Nil,
    /// A status, such as `OK`; also doubles and big numbers, as their text.
    Status(String),
    /// An error, with its code in front.
    Error(String),
    /// An integer; a boolean is 1 or 0.
    Integer(i64),
    /// A string of any bytes.
    Bytes(Vec<u8>),
    /// An array or a set; a map as key, value, key, value.
    List(Vec<Reply>),
    /// Out of band (RESP3).
    Push(Vec<Reply>),
}

impl Reply {
    /// The text of a string, status or error.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Status(text) | Self::Error(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes of a string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array, set, map or push.
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::List(items) | Self::Push(items) => items,
            _ => &[],
        }
    }

    /// Turns an error reply into an error.
    pub fn ok(self) -> Result<Self> {
        match self {
            Self::Error(text) => bail!("redis answered {text}"),
            other => Ok(other),
        }
    }
}

/// Reads one value from the start of `input`: the value and its length, or
/// nothing when it is not complete yet.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>> {
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = &input[..end];
    let after = end + 2;
    let (kind, rest) = line.split_first().context("an empty line is no reply")?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    let number = || -> Result<i64> { Ok(std::str::from_utf8(rest)?.parse()?) };
    match kind {
        b'+' | b',' | b'(' => Ok(Some((Reply::Status(text()), after))),
        b'-' => Ok(Some((Reply::Error(text()), after))),
        b':' => Ok(Some((Reply::Integer(number()?), after))),
        b'#' => Ok(Some((Reply::Integer(i64::from(rest == b"t")), after))),
        b'_' => Ok(Some((Reply::Nil, after))),
        b'$' | b'=' | b'!' => {
            let Ok(length) = usize::try_from(number()?) else {
                return Ok(Some((Reply::Nil, after)));
            };
            if input.len() < after + length + 2 {
                return Ok(None);
            }
            Ok(Some((Reply::Bytes(input[after..after + length].to_vec()), after + length + 2)))
        }
        b'*' | b'~' | b'>' | b'%' => {
            let Ok(count) = usize::try_from(number()?) else {
                return Ok(Some((Reply::Nil, after)));
            };
            let count = if *kind == b'%' { count * 2 } else { count };
            let Some((items, at)) = parse_items(input, after, count)? else {
                return Ok(None);
            };
            let reply = if *kind == b'>' { Reply::Push(items) } else { Reply::List(items) };
            Ok(Some((reply, at)))
        }
        other => bail!("`{}` begins no reply", char::from(*other)),
    }
}

fn parse_items(input: &[u8], mut at: usize, count: usize) -> Result<Option<(Vec<Reply>, usize)>> {
    let mut items = Vec::new();
    for _ in 0..count {
        let Some((item, length)) = parse(&input[at..])? else {
            return Ok(None);
        };
        items.push(item);
        at += length;
    }
    Ok(Some((items, at)))
}

/// A command as an array of strings.
fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Sends one command over a new connection and reads its answer.
pub async fn command(port: u16, words: &[&[u8]], limit: Duration) -> Result<Reply> {
    let mut replies = exchange(port, encode(words), 1, limit).await?;
    replies.pop().context("one reply")
}

/// Sends commands over a new connection, without waiting for one another, and reads an
/// answer to each.
pub async fn commands(port: u16, commands: &[Vec<Vec<u8>>], limit: Duration) -> Result<Vec<Reply>> {
    let words = |command: &Vec<Vec<u8>>| encode(&command.iter().map(Vec::as_slice).collect::<Vec<_>>());
    exchange(port, commands.iter().flat_map(words).collect(), commands.len(), limit).await
}

async fn exchange(port: u16, commands: Vec<u8>, count: usize, limit: Duration) -> Result<Vec<Reply>> {
    let exchange = async {
        let (mut read, mut write) = TcpStream::connect(("127.0.0.1", port)).await?.into_split();
        let (mut input, mut replies) = (Vec::new(), Vec::with_capacity(count));
        let written = async { write.write_all(&commands).await.map_err(anyhow::Error::from) };
        let taken = async {
            while replies.len() < count {
                if let Some((reply, length)) = parse(&input)? {
                    input.drain(..length);
                    replies.push(reply);
                } else if read.read_buf(&mut input).await? == 0 {
                    bail!("redis on port {port} closed the connection");
                }
            }
            Ok(())
        };
        tokio::try_join!(written, taken)?;
        Ok(replies)
    };
    match timeout(limit, exchange).await {
        Ok(result) => result,
        Err(_) => bail!("redis on port {port} did not answer within {limit:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read_to_its_end() {
        let cases: [(&[u8], Reply); 8] = [
            (b"+OK\r\n", Reply::Status("OK".into())),
            (b"-ERR no\r\n", Reply::Error("ERR no".into())),
            (b":-7\r\n", Reply::Integer(-7)),
            (b"$-1\r\n", Reply::Nil),
            (b"$4\r\na\r\nb\r\n", Reply::Bytes(b"a\r\nb".to_vec())),
            (
                b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
                Reply::List(vec![Reply::Integer(1), Reply::List(vec![Reply::Bytes(vec![])])]),
            ),
            (b">1\r\n#t\r\n", Reply::Push(vec![Reply::Integer(1)])),
            (b"%1\r\n+a\r\n_\r\n", Reply::List(vec![Reply::Status("a".into()), Reply::Nil])),
        ];
        for (input, expected) in cases {
            let mut longer = input.to_vec();
            longer.extend_from_slice(b"+next\r\n");
            assert_eq!(parse(&longer).unwrap(), Some((expected, input.len())));
            for cut in 0..input.len() {
                assert_eq!(parse(&input[..cut]).unwrap(), None, "cut at {cut} of {input:?}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(parse(b"$x\r\n").is_err());
    }
}
