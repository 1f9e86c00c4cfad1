//! The posts that tests give to a store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{self, Entry};
use proto::{ConversationId, Fingerprint, Seq, SessionId, Time, UserId};
use store::model::{Amenders, Amendment, Change, NewEntry, Post, PostKind};

/// A message with a repeat key of its own; `text` is its body.
pub fn message(by: &UserId, conversation: &ConversationId, text: &str) -> Post {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let key = format!("key-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    keyed(by, conversation, text, &key)
}

/// A message with this repeat key.
pub fn keyed(by: &UserId, conversation: &ConversationId, text: &str, key: &str) -> Post {
    let what = wire::Message { body: Bytes::copy_from_slice(text.as_bytes()), client_msg_id: key.into() };
    Post {
        conversation: conversation.clone(),
        by: by.clone(),
        entries: [entry(by, wire::entry::What::Message(what))].into(),
        kind: PostKind::Message { repeat_key: key.into(), session: None },
        trace: Bytes::new(),
    }
}

/// The post as if it had been made eight days ago: a day before inboxes begin.
pub fn old(post: Post) -> Post {
    earlier(post, Duration::from_secs(8 * 24 * 3600))
}

/// The post as if it had been made so long ago.
pub fn earlier(mut post: Post, by: Duration) -> Post {
    let by = u64::try_from(by.as_millis()).unwrap();
    let earlier =
        |entry: &NewEntry| NewEntry { time: Time(entry.time.0.saturating_sub(by)), ..entry.clone() };
    post.entries = post.entries.iter().map(earlier).collect();
    post
}

/// The same message, sent from a session.
pub fn from_session(post: Post, session: &SessionId) -> Post {
    let PostKind::Message { repeat_key, .. } = post.kind else { panic!("only messages have a session") };
    Post { kind: PostKind::Message { repeat_key, session: Some(session.clone()) }, ..post }
}

/// A change with one entry.
pub fn changed(by: &UserId, group: &ConversationId, change: Change) -> Post {
    Post {
        conversation: group.clone(),
        by: by.clone(),
        entries: [change_entry(by)].into(),
        kind: PostKind::Change(change),
        trace: Bytes::new(),
    }
}

/// An entry that says that a group has changed.
pub fn change_entry(by: &UserId) -> NewEntry {
    let what = wire::Change { kind: wire::change::Kind::Renamed.into(), ..Default::default() };
    entry(by, wire::entry::What::Change(what))
}

/// An edit with a repeat key of its own.
pub fn edit(by: &UserId, conversation: &ConversationId, seq: u64, text: &str) -> Post {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    keyed_edit(by, conversation, seq, text, &format!("edit-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// An edit with this repeat key.
pub fn keyed_edit(by: &UserId, conversation: &ConversationId, seq: u64, text: &str, key: &str) -> Post {
    let what = wire::Edited { seq, body: Bytes::copy_from_slice(text.as_bytes()) };
    let amendment = Amendment::Edit { repeat_key: key.into() };
    amend(by, conversation, seq, wire::entry::What::Edited(what), amendment)
}

pub fn recall(by: &UserId, conversation: &ConversationId, seq: u64) -> Post {
    let what = wire::entry::What::Recalled(wire::Recalled { seq });
    amend(by, conversation, seq, what, Amendment::Recall)
}

pub fn react(by: &UserId, conversation: &ConversationId, seq: u64, emoji: &str, on: bool) -> Post {
    let what = wire::Reaction { seq, emoji: emoji.into(), on };
    let amendment = Amendment::React { emoji: emoji.into(), on };
    amend(by, conversation, seq, wire::entry::What::Reaction(what), amendment)
}

fn amend(
    by: &UserId,
    conversation: &ConversationId,
    seq: u64,
    what: wire::entry::What,
    amendment: Amendment,
) -> Post {
    Post {
        conversation: conversation.clone(),
        by: by.clone(),
        entries: [entry(by, what)].into(),
        kind: PostKind::Amend { seq: Seq(seq), who: Amenders::Anyone, amendment },
        trace: Bytes::new(),
    }
}

/// The same amendment, allowed only to these members.
pub fn only(who: Amenders, post: Post) -> Post {
    let PostKind::Amend { seq, amendment, .. } = post.kind else {
        panic!("only amendments are allowed to some")
    };
    Post { kind: PostKind::Amend { seq, who, amendment }, ..post }
}

/// An entry made now.
pub fn entry(by: &UserId, what: wire::entry::What) -> NewEntry {
    let (fingerprint, time) = (Fingerprint::random(), Time::now());
    let entry = Entry { fingerprint: fingerprint.0, time: time.0, by: by.to_string(), what: Some(what) };
    NewEntry { fingerprint, time, bytes: entry.encode_to_vec().into() }
}
