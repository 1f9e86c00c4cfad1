//! RESP2 as a server needs it: reads commands, writes replies.

use super::database::Text;
use crate::Reply;

/// The longest line, and word, of a command.
const WORD: usize = 64 << 20;
/// The most words of a command.
const WORDS: usize = 1 << 20;

/// Takes the first command out of what was read; nothing until all of it is there. The
/// error ends the connection.
pub(super) fn command(read: &mut Vec<u8>) -> Result<Option<Vec<Text>>, String> {
    let mut at = 0;
    let Some(count) = head(read, &mut at, b'*', WORDS)? else { return Ok(None) };
    let mut words = Vec::with_capacity(count.min(1_024));
    for _ in 0..count {
        let Some(length) = head(read, &mut at, b'$', WORD)? else { return Ok(None) };
        let Some(word) = read.get(at..at + length + 2) else { return Ok(None) };
        words.push(word[..length].to_vec());
        at += length + 2;
    }
    read.drain(..at);
    Ok(Some(words))
}

/// Reads a line such as `*3`, and the number in it.
fn head(read: &[u8], at: &mut usize, kind: u8, most: usize) -> Result<Option<usize>, String> {
    let rest = &read[*at..];
    let Some(end) = rest.iter().take(32).position(|byte| *byte == b'\r') else {
        return if rest.len() < 32 { Ok(None) } else { Err("ERR Protocol error".to_owned()) };
    };
    if rest.len() < end + 2 {
        return Ok(None);
    }
    let number = rest[..end].strip_prefix(&[kind]).and_then(|digits| std::str::from_utf8(digits).ok());
    let number = number.and_then(|digits| digits.parse().ok()).filter(|number| *number <= most);
    *at += end + 2;
    number.map(Some).ok_or_else(|| "ERR Protocol error".to_owned())
}

/// Writes a reply.
pub(super) fn put(into: &mut Vec<u8>, reply: &Reply) {
    match reply {
        Reply::Nil => into.extend(b"$-1\r\n"),
        Reply::Status(text) => into.extend(format!("+{text}\r\n").bytes()),
        // A line: what an error quotes must not end it.
        Reply::Error(text) => into.extend(format!("-{}\r\n", text.replace(['\r', '\n'], " ")).bytes()),
        Reply::Integer(number) => into.extend(format!(":{number}\r\n").bytes()),
        Reply::Bytes(bytes) => {
            into.extend(format!("${}\r\n", bytes.len()).bytes());
            into.extend(bytes);
            into.extend(b"\r\n");
        }
        Reply::List(items) | Reply::Push(items) => {
            into.extend(format!("*{}\r\n", items.len()).bytes());
            items.iter().for_each(|item| put(into, item));
        }
    }
}
