//! Parts in JSON that several frames and answers have.

use proto::wire::{self, change};

use crate::protocol::json::put;

/// `"conversation":…,"seq":…,"time":…` and whether it is a repeat.
pub(crate) fn write_sent(out: &mut String, conversation: &str, sent: &wire::Sent) {
    put!(out, r#""conversation":""#, conversation);
    write_number(out, sent);
}

/// The same with `channel` in the place of `conversation`.
pub(crate) fn write_published(out: &mut String, channel: &str, sent: &wire::Sent) {
    put!(out, r#""channel":""#, channel);
    write_number(out, sent);
}

/// `"user":…,"online":…` and, for those who are not, when they were last seen.
pub(crate) fn write_presence(out: &mut String, presence: &wire::Presence) {
    put!(out, r#""user":""#, presence.user, r#"","online":"#, presence.online);
    if let Some(last_seen) = last_seen(presence) {
        put!(out, r#","last_seen":"#, last_seen);
    }
}

/// Unix milliseconds; nothing for who is online, and for who never was.
pub(crate) fn last_seen(presence: &wire::Presence) -> Option<u64> {
    (!presence.online && presence.last_seen > 0).then_some(presence.last_seen)
}

fn write_number(out: &mut String, sent: &wire::Sent) {
    put!(out, r#"","seq":"#, sent.seq, r#","time":"#, sent.time);
    if sent.duplicate {
        out.push_str(r#","duplicate":true"#);
    }
}

/// The word of a change, as clients see it.
pub(crate) fn change_word(kind: change::Kind) -> &'static str {
    match kind {
        change::Kind::Created => "created",
        change::Kind::Renamed => "renamed",
        change::Kind::MembersAdded => "members_added",
        change::Kind::MemberRemoved => "member_removed",
        change::Kind::OwnerChanged => "owner_changed",
        change::Kind::RoleChanged => "role_changed",
        change::Kind::Unknown => "unknown",
    }
}
