//! Posts as the scripts `post.lua` and `number.lua` read them.

use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Value;
use proto::{ConversationId, SessionId, UserId};
use smallvec::smallvec;

use super::announce::trace_field;
use super::key::Bucket;
use super::link::{Args, Item};
use super::reply::unexpected;
use crate::model::{Amendment, NewEntry, Post, PostKind, Posted, Who};
use crate::{Bounds, Error, Result};

/// What the scripts need to know of the bounds.
pub(super) fn bounds(bounds: &Bounds) -> Vec<Value> {
    vec![
        number(u64::try_from(bounds.age.as_millis()).unwrap_or(u64::MAX).min(1 << 50)),
        number(bounds.inbox_events),
        number(bounds.conversation_messages),
        number(bounds.reactions),
        number(bounds.unheard),
    ]
}

/// What the announcements of these posts carry beside their entries: how many,
/// then for each which of the posts (from 1) and the field.
pub(super) fn traces(posts: &[Post]) -> Vec<Value> {
    let traced = || posts.iter().zip(1..).filter(|(post, _)| !post.trace.is_empty());
    let mut args = vec![number(traced().count() as u64)];
    for (post, index) in traced() {
        args.extend([number(index), Value::Bytes(trace_field(&post.trace))]);
    }
    args
}

pub(super) fn number(value: u64) -> Value {
    // Scripts count in doubles; numbers of ours stay far below 2^53.
    Value::Integer(i64::try_from(value.min(1 << 53)).unwrap_or(i64::MAX))
}

pub(super) fn text(value: &str) -> Value {
    Value::String(value.into())
}

pub(super) fn bucket(value: &str) -> Value {
    Value::Integer(Bucket::of(value).0.into())
}

/// What a reference begins with: fingerprint and time.
pub(super) fn prefix(fingerprint: u32, time: u64) -> [u8; 10] {
    let mut prefix = [0; 10];
    prefix[..4].copy_from_slice(&fingerprint.to_le_bytes());
    prefix[4..].copy_from_slice(&time.to_be_bytes()[2..]);
    prefix
}

/// Where a member's acknowledgement finds what it marks: the buckets of the
/// conversation and, if that is a direct one, of its other member.
pub(super) fn place_of_marks(conversation: &ConversationId, user: &UserId) -> [u8; 4] {
    let other = match conversation.names() {
        Some((one, other)) => Bucket::of(if one == user.as_str() { other } else { one }),
        None => Bucket(0),
    };
    buckets(Bucket::of(conversation.as_str()), other)
}

fn buckets(Bucket(one): Bucket, Bucket(other): Bucket) -> [u8; 4] {
    let ([a, b], [c, d]) = (one.to_be_bytes(), other.to_be_bytes());
    [a, b, c, d]
}

/// The members of a direct conversation as the scripts write a group's:
/// `bucket,user:seq:version;` each. Empty for a group.
pub(super) fn direct_members(conversation: &ConversationId) -> String {
    let Some((one, other)) = conversation.names() else {
        return String::new();
    };
    let mut members = format!("{},{one}:0:0;", Bucket::of(one).0);
    if one != other {
        members.push_str(&format!("{},{other}:0:0;", Bucket::of(other).0));
    }
    members
}

/// Bytes that a post takes in a call.
pub(super) fn size(post: &Post) -> usize {
    256 + post.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>()
}

/// Posts as `scripts/lib/post.lua` reads them.
pub(super) fn items(posts: &[Post]) -> Result<Vec<Item>> {
    let mut heads = BytesMut::with_capacity(posts.len() * HEAD);
    let mut items = Vec::with_capacity(posts.len());
    for post in posts {
        items.push(item(post, &mut heads)?);
    }
    Ok(items)
}

/// What the head of a message takes, nearly.
const HEAD: usize = 256;

fn item(post: &Post, heads: &mut BytesMut) -> Result<Item> {
    for entry in &*post.entries {
        check(entry)?;
    }
    if let PostKind::Message { repeat_key, session } = &post.kind {
        return message(post, repeat_key, session.as_ref(), heads);
    }
    let at = Bucket::of(post.conversation.as_str());
    let mut args = Args::with_capacity(14);
    let kind = if matches!(post.kind, PostKind::Change(_)) { "c" } else { "a" };
    args.extend([
        Value::String(kind.into()),
        Value::Integer(at.0.into()),
        text(post.conversation.as_str()),
        text(post.by.as_str()),
    ]);
    match &post.kind {
        // Done above.
        PostKind::Message { .. } => {}
        PostKind::Amend { seq, who, amendment } => {
            let [entry] = &*post.entries else {
                return Err(Error::Config("an amendment is one entry".into()));
            };
            let (what, key, emoji, on) = match amendment {
                Amendment::Edit { repeat_key } => ("e", &**repeat_key, "", false),
                Amendment::Recall => ("x", "", "", false),
                Amendment::React { emoji, on } => ("r", "", &**emoji, *on),
            };
            let who = match who {
                Who::Anyone => "*",
                Who::Sender => "s",
                Who::SenderOrOwner => "o",
            };
            args.extend([
                number(seq.0),
                text(who),
                text(what),
                text(key),
                text(emoji),
                text(if on { "1" } else { "0" }),
                number(entry.time),
                reference(entry),
                Value::Bytes(entry.bytes.clone()),
                text(&direct_members(&post.conversation)),
            ]);
        }
        PostKind::Change(change) => {
            if post.entries.is_empty() {
                return Err(Error::Config("a change is at least one entry".into()));
            }
            args.push(number(change.expect.0));
            for field in [change.name.as_deref(), change.owner.as_ref().map(|owner| owner.as_str())] {
                args.push(text(if field.is_some() { "1" } else { "0" }));
                args.extend(field.map(text));
            }
            args.push(number(change.add.len() as u64));
            args.extend(change.add.iter().map(|user| text(user.as_str())));
            args.extend(change.add.iter().map(|user| bucket(user.as_str())));
            args.push(number(change.remove.len() as u64));
            args.extend(change.remove.iter().map(|user| text(user.as_str())));
            args.push(number(post.entries.len() as u64));
            args.extend(post.entries.iter().map(|entry| Value::Bytes(entry.bytes.clone())));
            args.extend(post.entries.iter().map(reference));
        }
    }
    Ok(Item { bucket: at, args })
}

fn reference(entry: &NewEntry) -> Value {
    Value::Bytes(Bytes::copy_from_slice(&prefix(entry.fingerprint.0, entry.time)))
}

/// A message, in two arguments: see `MESSAGE` of `scripts/lib/post.lua`. The
/// first is made at the end of `heads`, which all of a call share.
fn message(post: &Post, repeat_key: &str, session: Option<&SessionId>, heads: &mut BytesMut) -> Result<Item> {
    let [entry] = &*post.entries else {
        return Err(Error::Config("a message is one entry".into()));
    };
    let (conversation, by) = (&post.conversation, post.by.as_str());
    let bucket = Bucket::of(conversation.as_str());
    put_word(heads, bucket.braced())?;
    put_word(heads, conversation.as_str())?;
    put_word(heads, by)?;
    put_repeat_key(heads, by, repeat_key)?;
    put_word(heads, session.map_or("", SessionId::as_str))?;
    put_digits(heads, entry.time);
    heads.put_slice(&prefix(entry.fingerprint.0, entry.time));
    let (one, other) = conversation.names().unzip();
    let of = |name: Option<&str>| name.map_or(Bucket(0), Bucket::of);
    let (first, second) = (of(one), of(other));
    for (member, at, beside) in [(one, first, second), (other.filter(|_| other != one), second, first)] {
        match member {
            Some(name) => {
                put_word(heads, at.braced())?;
                put_word(heads, name)?;
                heads.put_slice(&buckets(bucket, beside));
            }
            None => heads.put_slice(&[0; 6]),
        }
    }
    let args = smallvec![Value::Bytes(heads.split().freeze()), Value::Bytes(entry.bytes.clone())];
    Ok(Item { bucket, args })
}

/// With its length before it.
fn put_word(into: &mut BytesMut, word: &str) -> Result<()> {
    put_length(into, word.len())?;
    into.put_slice(word.as_bytes());
    Ok(())
}

/// The name of the repeat key: see `number_message`.
fn put_repeat_key(into: &mut BytesMut, by: &str, key: &str) -> Result<()> {
    put_length(into, by.len() + 1 + key.len())?;
    into.put_slice(by.as_bytes());
    into.put_u8(0);
    into.put_slice(key.as_bytes());
    Ok(())
}

fn put_length(into: &mut BytesMut, length: usize) -> Result<()> {
    into.put_u8(u8::try_from(length).map_err(|_| Error::Config("an id of over 255 bytes".into()))?);
    Ok(())
}

/// A word of decimal digits.
fn put_digits(into: &mut BytesMut, mut value: u64) {
    // The most there can be, and their number before them.
    let mut word = [0; 21];
    let mut first = word.len();
    loop {
        first -= 1;
        word[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    word[first - 1] = (word.len() - first) as u8;
    into.put_slice(&word[first - 1..]);
}

/// A status of the scripts that says that nothing was written.
pub(super) fn refusal(status: &str) -> Result<Posted> {
    match status {
        "no" => Ok(Posted::NotMember),
        "stale" => Ok(Posted::Stale),
        "none" => Ok(Posted::NoSuchMessage),
        "forbidden" => Ok(Posted::NotAllowed),
        "recalled" => Ok(Posted::Recalled),
        "same" => Ok(Posted::Unchanged),
        "many" => Ok(Posted::TooManyReactions),
        _ => Err(unexpected("a status")),
    }
}

/// The scripts find an entry's fingerprint where its first field is.
fn check(entry: &NewEntry) -> Result<()> {
    let begins = entry.bytes.first() == Some(&0x0d)
        && entry.bytes.get(1..5) == Some(entry.fingerprint.0.to_le_bytes().as_slice());
    if begins { Ok(()) } else { Err(Error::Config("an entry begins with its fingerprint".into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_words_of_their_digits() {
        for value in [0, 7, 10, 1_732_000_000_000, u64::MAX] {
            let mut word = BytesMut::new();
            put_digits(&mut word, value);
            let digits = value.to_string();
            assert_eq!(usize::from(word[0]), digits.len());
            assert_eq!(&word[1..], digits.as_bytes());
        }
    }
}
