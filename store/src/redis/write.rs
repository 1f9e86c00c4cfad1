//! Posts as the scripts `post.lua` and `number.lua` read them.

use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Value;
use prost::encoding::encode_varint;
use proto::{ConversationId, SessionId, UserId};

use super::announce::trace_field;
use super::key::Bucket;
use super::link::Item;
use super::reply::unexpected;
use crate::model::{Amendment, NewEntry, Post, PostKind, Posted, Who};
use crate::{Bounds, Error, Result};

/// What the scripts need to know of the bounds.
pub(super) fn bounds(bounds: &Bounds) -> Value {
    let mut packed = Packed::default();
    packed.number(age(bounds));
    packed.number(bounds.inbox_events);
    packed.number(bounds.conversation_messages);
    packed.number(bounds.reactions);
    packed.number(bounds.unheard);
    packed.value()
}

/// In ms.
pub(super) fn age(bounds: &Bounds) -> u64 {
    u64::try_from(bounds.age.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
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
pub(super) fn prefix(fingerprint: u32, time: u64) -> Bytes {
    let mut prefix = BytesMut::with_capacity(10);
    prefix.put_u32_le(fingerprint);
    prefix.put_uint(time & 0xffff_ffff_ffff, 6);
    prefix.freeze()
}

/// Where a member's acknowledgement finds what it marks: the buckets of the
/// conversation and, if that is a direct one, of its other member.
pub(super) fn place_of_marks(conversation: &ConversationId, user: &UserId) -> [u8; 4] {
    let other = match conversation.pair() {
        Some((one, other)) => Bucket::of(if one == *user { other } else { one }.as_str()).0,
        None => 0,
    };
    let ([a, b], [c, d]) = (Bucket::of(conversation.as_str()).0.to_be_bytes(), other.to_be_bytes());
    [a, b, c, d]
}

/// The other member of a direct conversation, or oneself in one with oneself;
/// nothing of a group, or for who is no member.
fn other_of(conversation: &ConversationId, user: &UserId) -> Option<UserId> {
    let (one, other) = conversation.pair()?;
    if one == *user { Some(other) } else { (other == *user).then_some(one) }
}

/// The members of a direct conversation as the scripts write a group's:
/// `bucket,user:seq:version;` each. Empty for a group.
pub(super) fn direct_members(conversation: &ConversationId) -> String {
    let Some((one, other)) = conversation.pair() else {
        return String::new();
    };
    let mut members = format!("{},{one}:0:0;", Bucket::of(one.as_str()).0);
    if one != other {
        members.push_str(&format!("{},{other}:0:0;", Bucket::of(other.as_str()).0));
    }
    members
}

/// Bytes that a post takes in a call.
pub(super) fn size(post: &Post) -> usize {
    256 + post.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>()
}

/// A post as `scripts/lib/post.lua` reads it.
pub(super) fn item(post: &Post) -> Result<Item> {
    for entry in &post.entries {
        check(entry)?;
    }
    if let PostKind::Message { repeat_key, session } = &post.kind {
        return message(post, repeat_key, session.as_ref());
    }
    let at = Bucket::of(post.conversation.as_str());
    let mut args = Vec::with_capacity(14);
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
            let [entry] = post.entries.as_slice() else {
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
                Value::Bytes(prefix(entry.fingerprint.0, entry.time)),
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
            args.extend(
                post.entries.iter().map(|entry| Value::Bytes(prefix(entry.fingerprint.0, entry.time))),
            );
        }
    }
    Ok(Item { bucket: at, args })
}

/// A message, in two arguments: see `read_message` of `scripts/lib/post.lua`.
fn message(post: &Post, repeat_key: &str, session: Option<&SessionId>) -> Result<Item> {
    let [entry] = post.entries.as_slice() else {
        return Err(Error::Config("a message is one entry".into()));
    };
    let (conversation, by) = (&post.conversation, &post.by);
    let bucket = Bucket::of(conversation.as_str());
    let tag = bucket.braced();
    let mut head = Packed::default();
    head.text(&[conversation.as_str()])?;
    head.text(&[&tag, "c:", conversation.as_str()])?;
    head.text(&[&tag, "l:", conversation.as_str()])?;
    head.text(&[&tag, "k:", conversation.as_str(), ":"])?;
    head.text(&["f:", conversation.as_str()])?;
    head.text(&[by.as_str(), "\0", repeat_key])?;
    head.text(&[session.map_or("", SessionId::as_str), " "])?;
    head.text(&[&entry.time.to_string()])?;
    head.bytes(&[b"\x1a", &varint(entry.bytes.len())])?;
    let prefix = prefix(entry.fingerprint.0, entry.time);
    let reference = |user| [prefix.as_ref(), &place_of_marks(conversation, user), b"m"].concat();
    match other_of(conversation, by) {
        None => {
            head.text(&[by.as_str()])?;
            head.bytes(&[&reference(by)])?;
        }
        Some(other) => {
            head.text(&[""])?;
            head.keys(by)?;
            head.bytes(&[&reference(by)])?;
            if other != *by {
                head.keys(&other)?;
                head.bytes(&[&reference(&other)])?;
                let other = other.as_str();
                head.bytes(&[b"\x0a", &varint(other.len()), other.as_bytes(), b"\x10"])?;
            }
        }
    }
    Ok(Item { bucket, args: vec![head.value(), Value::Bytes(entry.bytes.clone())] })
}

fn varint(number: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5);
    encode_varint(number as u64, &mut bytes);
    bytes
}

/// Values one after the other as MessagePack, which scripts read at once.
#[derive(Default)]
pub(super) struct Packed(BytesMut);

impl Packed {
    /// Adds a text that has several parts.
    pub(super) fn text(&mut self, parts: &[&str]) -> Result<()> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.begin(length)?;
        parts.iter().for_each(|part| self.0.put_slice(part.as_bytes()));
        Ok(())
    }

    pub(super) fn bytes(&mut self, parts: &[&[u8]]) -> Result<()> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.begin(length)?;
        parts.iter().for_each(|part| self.0.put_slice(part));
        Ok(())
    }

    /// Scripts count in doubles, see `number`.
    pub(super) fn number(&mut self, number: u64) {
        self.0.put_u8(0xcf);
        self.0.put_u64(number.min(1 << 53));
    }

    /// The keys of a user's record and inbox.
    pub(super) fn keys(&mut self, user: &UserId) -> Result<()> {
        let tag = Bucket::of(user.as_str()).braced();
        self.text(&[&tag, "u:", user.as_str()])?;
        self.text(&[&tag, "i:", user.as_str()])
    }

    pub(super) fn value(self) -> Value {
        Value::Bytes(self.0.freeze())
    }

    fn begin(&mut self, length: usize) -> Result<()> {
        match u8::try_from(length) {
            Ok(length @ ..32) => self.0.put_u8(0xa0 | length),
            Ok(length) => self.0.put_slice(&[0xd9, length]),
            Err(_) => return Err(Error::Config("an id of over 255 bytes".into())),
        }
        Ok(())
    }
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
