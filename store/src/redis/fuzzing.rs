//! What fuzzing holds the readers of what Redis says and keeps to.

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use redis_protocol::resp2::decode::decode_bytes;
use redis_protocol::resp2::types::BytesFrame;

pub use super::announce::fuzzing::envelopes;
use super::conversation::{membership, reaction, starts};
use super::fetch::{decode, leading_number, split_change};
use super::reference::{Kind, Reference};
use super::resp::{Decoder, Nonsense, Reply};
use super::session::{locations, nodes_of};
use crate::Error;
use crate::damage::unless_damaged;

/// Replies of Redis. The first byte says into which pieces they fall, which makes no
/// difference; and they are those that fred reads.
pub fn replies(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let (replies, failed) = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, usize::from(*piece).max(1)), (replies.clone(), failed));
    let mut rest = Bytes::copy_from_slice(bytes);
    for reply in &replies {
        // Where fred refuses a reply that ours takes there is nothing to compare.
        let Ok(Some((frame, length))) = decode_bytes(&rest) else { return };
        assert_eq!(*reply, of_fred(frame));
        rest = rest.slice(length..);
    }
    let mut written = BytesMut::new();
    replies.iter().for_each(|reply| write(reply, &mut written));
    assert_eq!(read(&written, written.len().max(1)), (replies, None));
}

fn read(bytes: &[u8], piece: usize) -> (Vec<Reply>, Option<Nonsense>) {
    let (mut decoder, mut buffer, mut replies) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(nonsense) => return (replies, Some(nonsense)),
            }
        }
    }
    (replies, None)
}

fn of_fred(frame: BytesFrame) -> Reply {
    match frame {
        BytesFrame::SimpleString(text) | BytesFrame::BulkString(text) => Reply::Text(text),
        BytesFrame::Error(text) => Reply::Refusal(text.into_inner()),
        BytesFrame::Integer(number) => Reply::Number(number),
        BytesFrame::Array(list) => Reply::List(list.into_iter().map(of_fred).collect()),
        BytesFrame::Null => Reply::Nil,
    }
}

fn write(reply: &Reply, into: &mut BytesMut) {
    match reply {
        Reply::Nil => into.extend_from_slice(b"$-1\r\n"),
        Reply::Number(number) => into.extend_from_slice(format!(":{number}\r\n").as_bytes()),
        Reply::Text(text) => super::resp::put_word(into, text),
        Reply::Refusal(text) => {
            into.extend_from_slice(b"-");
            into.extend_from_slice(text);
            into.extend_from_slice(b"\r\n");
        }
        Reply::List(list) => {
            super::resp::put_command(into, list.len());
            list.iter().for_each(|reply| write(reply, into));
        }
    }
}

/// What Redis keeps. The first byte says what the rest is: a reference of an inbox,
/// an entry of a log, a change, the members of a group, locations of sessions, a
/// membership or a reaction. What is read of it, written as the scripts write it, is
/// the same again; and what cannot be read is damaged and nothing worse.
pub fn stored(bytes: &[u8]) {
    let Some((what, bytes)) = bytes.split_first() else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    let text = std::str::from_utf8(&bytes);
    match what % 7 {
        0 => reference(&bytes),
        1 => {
            let entry = unless_damaged(decode(bytes), "a target of fuzzing");
            let entry = entry.unwrap_or_else(|error| panic!("readers could not go on: {error}"));
            if let Some(entry) = entry {
                assert_eq!(decode(entry.encode_to_vec().into()).ok(), Some(entry));
            }
        }
        2 => {
            let Ok(change) = split_change(&bytes) else { return };
            let mut again = Bytes::from(
                [format!("{}:{}:", change.head, change.amends).as_bytes(), &change.entry].concat(),
            );
            assert_eq!(leading_number(&mut again).ok(), Some(change.head));
            assert_eq!(leading_number(&mut again).ok(), Some(change.amends));
            assert_eq!(again, change.entry);
        }
        3 => {
            let Ok(found) = text.map(starts) else { return };
            let Ok(found) = found.map_err(is_damage) else { return };
            let again: String = found
                .iter()
                .map(|start| {
                    format!(
                        "7,{}:{}:{};{}",
                        start.user,
                        start.seq,
                        start.version,
                        if start.leaves { "l" } else { "" }
                    )
                })
                .collect();
            assert_eq!(starts(&again).ok(), Some(found));
        }
        4 => {
            let Ok(text) = text else { return };
            let Ok(found) = locations(text).map_err(is_damage) else { return };
            let again: String = found
                .iter()
                .map(|location| format!("{} {} {};", location.session, location.device, location.node))
                .collect();
            assert_eq!(locations(&again).ok().as_ref(), Some(&found));
            for location in &found {
                let nodes =
                    nodes_of(&again, Some(&location.session)).unwrap_or_else(|error| panic!("{error}"));
                let others = found.iter().filter(|other| other.session != location.session);
                assert!(
                    others.clone().all(|other| nodes.contains(&other.node)) && nodes.len() <= others.count()
                );
            }
        }
        5 => {
            let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
            let (id, value) = bytes.split_at(at);
            if let Ok((conversation, _)) =
                membership(id, value.get(1..).unwrap_or_default()).map_err(is_damage)
            {
                assert_eq!(conversation.as_str().as_bytes(), id);
            }
        }
        _ => {
            let Ok((user, emoji)) = reaction(&bytes).map_err(is_damage) else { return };
            assert_eq!(format!("{user}:{emoji}").as_bytes(), bytes);
        }
    }
}

fn is_damage(error: Error) {
    assert!(matches!(error, Error::Corrupt(_)), "readers could not go on: {error}");
}

fn reference(bytes: &Bytes) {
    let Ok(read) = Reference::parse(bytes).map_err(is_damage) else { return };
    let kind = match read.kind {
        Kind::Message => b'm',
        Kind::Change => b'c',
    };
    let mut again = read.fingerprint.to_le_bytes().to_vec();
    again.extend(&bytes[4..10]);
    again.extend(&(read.size as u32).to_be_bytes()[1..]);
    again.push(kind);
    again.extend(format!("{}:{}", read.number, read.conversation).bytes());
    // Whoever reads on counts from it.
    assert!((1..=1 << 53).contains(&read.number));
    assert_eq!(Reference::parse(&again.into()).ok(), Some(read));
}
