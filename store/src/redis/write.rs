//! Writes posts in the form that the scripts `post.lua` and `number.lua` read.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Value;
use proto::ConversationId;
use smallvec::smallvec;

use super::archive::{self, Senders};
use super::connection::{Args, Item};
use super::key::Bucket;
use super::reply::unexpected;
use crate::model::{Amenders, Amendment, NewEntry, Post, PostKind, PostResult, Roles};
use crate::{Bounds, Error, Result};

/// The limits that the scripts need.
pub(super) fn bounds(bounds: &Bounds, archives: bool) -> Value {
    let mut packed = Packed::default();
    packed.number(bounds.age_ms());
    packed.number(bounds.inbox_age_ms());
    packed.number(bounds.inbox_events);
    packed.number(bounds.conversation_messages);
    packed.number(bounds.reactions);
    packed.number(bounds.unheard);
    packed.number(archives.into());
    packed.value()
}

pub(super) fn number(value: u64) -> Value {
    // Scripts count in doubles, which are exact up to 2^53.
    Value::Integer(i64::try_from(value.min(1 << 53)).unwrap_or(i64::MAX))
}

pub(super) fn text(value: &str) -> Value {
    Value::String(value.into())
}

pub(super) fn bucket(value: &str) -> Value {
    Value::Integer(Bucket::of(value).0.into())
}

/// The beginning of a reference: fingerprint, time, and size of the entry.
pub(super) fn prefix(fingerprint: u32, time: u64, size: usize) -> [u8; 13] {
    let mut prefix = [0; 13];
    prefix[..4].copy_from_slice(&fingerprint.to_le_bytes());
    prefix[4..10].copy_from_slice(&time.to_be_bytes()[2..]);
    let size = u32::try_from(size).unwrap_or(u32::MAX).min(0xff_ffff);
    prefix[10..].copy_from_slice(&size.to_be_bytes()[1..]);
    prefix
}

/// The other member of a direct conversation, or the same one in a conversation
/// with oneself; `None` for a group, and for a user who is no member.
pub(super) fn other_of<'a>(conversation: &'a ConversationId, user: &str) -> Option<&'a str> {
    let (one, other) = conversation.names()?;
    if one == user { Some(other) } else { (other == user).then_some(one) }
}

/// The sender and the other member of a direct conversation, or one member in a
/// conversation with oneself; `None` for a group, and for a sender who is no
/// member.
pub(super) fn conversation_of_two<'a>(
    conversation: &'a ConversationId,
    by: &'a str,
) -> Option<impl Iterator<Item = &'a str>> {
    let other = other_of(conversation, by)?;
    Some(std::iter::once(by).chain((other != by).then_some(other)))
}

/// The members of a direct conversation in the scripts' form:
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

/// The bytes of a post in a call, at most: it has its names and keys more than
/// once.
pub(super) fn size(post: &Post) -> usize {
    2_048 + post.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>()
}

/// Writes posts as `scripts/lib/post.lua` reads them.
pub(super) fn items(posts: &[Post], senders: &Senders) -> Result<Vec<Item>> {
    let mut heads = Packed::with_capacity(posts.len() * HEAD);
    let mut items = Vec::with_capacity(posts.len());
    for post in posts {
        items.push(item(post, senders, &mut heads)?);
    }
    Ok(items)
}

/// What `post.lua` looks at before it writes anything: the keys of the notes of
/// what is not filed, and of the sessions of all who get direct messages.
pub(super) fn looks(posts: &[Post]) -> Result<[Value; 2]> {
    let (mut notes, mut sessions) = (Packed::default(), Packed::with_capacity(posts.len() * HEAD));
    let buckets: BTreeSet<u16> = posts.iter().map(|post| Bucket::of(post.conversation.as_str()).0).collect();
    for bucket in buckets {
        notes.text(&[&Bucket(bucket).tag()])?;
    }
    for post in posts.iter().filter(|post| matches!(post.kind, PostKind::Message { .. })) {
        for user in conversation_of_two(&post.conversation, post.by.as_str()).into_iter().flatten() {
            sessions.key("s:", user)?;
        }
    }
    Ok([notes.value(), sessions.value()])
}

/// The bytes of a packed message head, about.
const HEAD: usize = 256;

fn item(post: &Post, senders: &Senders, heads: &mut Packed) -> Result<Item> {
    for entry in &*post.entries {
        check(entry)?;
    }
    if let PostKind::Message { repeat_key, .. } = &post.kind {
        return message(post, repeat_key, heads);
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
        // Handled above.
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
                Amenders::Anyone => "*",
                Amenders::Sender => "s",
                Amenders::SenderOrAdmin => "o",
            };
            args.extend([
                number(seq.0),
                text(who),
                text(what),
                text(key),
                text(emoji),
                text(if on { "1" } else { "0" }),
                number(entry.time.0),
                reference(entry),
                Value::Bytes(entry.bytes.clone()),
                text(&direct_members(&post.conversation)),
                text(senders.of(&post.conversation, *seq)),
            ]);
        }
        PostKind::Change(change) => {
            if post.entries.is_empty() {
                return Err(Error::Config("a change is at least one entry".into()));
            }
            args.push(number(change.expect.0));
            let roles = change.roles.as_ref().map(Roles::to_text);
            let owner = change.owner.as_ref().map(|owner| owner.as_str());
            for field in [change.name.as_deref(), owner, roles.as_deref()] {
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
    Ok(Item::new(at, args))
}

fn reference(entry: &NewEntry) -> Value {
    Value::Bytes(Bytes::copy_from_slice(&prefix(entry.fingerprint.0, entry.time.0, entry.bytes.len())))
}

/// Writes a message as two arguments: see `read_message` of
/// `scripts/lib/post.lua`. The memory of the first is shared by all messages of
/// a call.
fn message(post: &Post, repeat_key: &str, head: &mut Packed) -> Result<Item> {
    let [entry] = &*post.entries else {
        return Err(Error::Config("a message is one entry".into()));
    };
    let (conversation, by) = (post.conversation.as_str(), post.by.as_str());
    let bucket = Bucket::of(conversation);
    let tag = bucket.braced();
    head.text(&[conversation])?;
    head.text(&[tag, "c:", conversation])?;
    head.text(&[tag, "l:", conversation])?;
    head.text(&[tag, "k:", conversation, ":"])?;
    head.text(&[by, "\0", repeat_key])?;
    head.text(&[&entry.time.0.to_string()])?;
    let direct = conversation_of_two(&post.conversation, by);
    head.text(&[if direct.is_some() { "" } else { by }])?;
    head.bytes(&[&prefix(entry.fingerprint.0, entry.time.0, entry.bytes.len()), b"m"])?;
    head.key("u:", by)?;
    for user in direct.into_iter().flatten() {
        head.key("i:", user)?;
    }
    Ok(Item::new(bucket, smallvec![head.value(), Value::Bytes(entry.bytes.clone())]))
}

/// Packs values one after the other as MessagePack, which a script unpacks at
/// once.
#[derive(Default)]
pub(super) struct Packed(BytesMut);

impl Packed {
    /// With room for this many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes))
    }

    /// Adds a text that is given in parts.
    pub(super) fn text(&mut self, parts: &[&str]) -> Result<()> {
        self.begin(parts.iter().map(|part| part.len()).sum())?;
        parts.iter().for_each(|part| self.0.put_slice(part.as_bytes()));
        Ok(())
    }

    fn bytes(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.begin(parts.iter().map(|part| part.len()).sum())?;
        parts.iter().for_each(|part| self.0.put_slice(part));
        Ok(())
    }

    /// Adds a number of at most 2^53: see `number`.
    pub(super) fn number(&mut self, number: u64) {
        self.0.put_u8(0xcf);
        self.0.put_u64(number.min(1 << 53));
    }

    /// Adds a key of a user.
    fn key(&mut self, kind: &str, user: &str) -> Result<()> {
        self.text(&[Bucket::of(user).braced(), kind, user])
    }

    /// Takes everything added since the last call.
    pub(super) fn value(&mut self) -> Value {
        Value::Bytes(self.0.split().freeze())
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

/// Reads a status of the scripts that means that nothing was written.
pub(super) fn refusal(status: &str) -> Result<PostResult> {
    match status {
        "no" => Ok(PostResult::NotMember),
        "stale" => Ok(PostResult::Stale),
        "none" => Ok(PostResult::NoSuchMessage),
        "forbidden" => Ok(PostResult::NotAllowed),
        "recalled" => Ok(PostResult::Recalled),
        "same" => Ok(PostResult::Unchanged),
        "many" => Ok(PostResult::TooManyReactions),
        "archived" => Err(archive::none_here()),
        _ => Err(unexpected("a status")),
    }
}

/// Checks that the entry begins with its fingerprint, where the scripts read
/// it.
fn check(entry: &NewEntry) -> Result<()> {
    let begins = entry.bytes.first() == Some(&0x0d)
        && entry.bytes.get(1..5) == Some(entry.fingerprint.0.to_le_bytes().as_slice());
    if begins { Ok(()) } else { Err(Error::Config("an entry begins with its fingerprint".into())) }
}
