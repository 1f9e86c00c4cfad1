//! The scripts. Each is a file of `scripts`, after the parts of `scripts/lib`
//! that it uses.

use std::sync::LazyLock;

use fred::bytes_utils::Str;

/// A script, and the SHA-1 by which Redis knows it.
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) text: Str,
    pub(super) hash: Str,
}

impl Script {
    fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text: Str::from(text), hash: Str::from(fred::util::sha1_hash(text)) }
    }
}

macro_rules! script {
    ($name:ident, $main:literal $(, $part:literal)* $(; on_demand $($rare:literal),*)?) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new($main, concat!(
                $(include_str!(concat!("scripts/lib/", $part, ".lua")), "\n",)*
                // See `scripts/lib/on_demand.lua`.
                $(
                    "function make()\n",
                    $(include_str!(concat!("scripts/lib/", $rare, ".lua")), "\n",)*
                    "end\n",
                )?
                include_str!(concat!("scripts/", $main, ".lua"))
            ))
        });
    };
}

script!(
    POST, "post", "short", "on_demand", "sessions", "repeat", "post", "entry_time", "message", "posted";
    on_demand "all_or_nothing", "inbox", "file", "unheard", "find_repeat", "repeated", "state", "entry",
    "roles", "number", "read_post", "other_posts"
);
script!(
    NUMBER, "number", "short", "on_demand", "repeat", "post", "entry_time", "message";
    on_demand "all_or_nothing", "sessions", "inbox", "find_repeat", "repeated", "state", "entry", "roles", "number",
    "read_post", "numbering"
);
script!(FILE, "file", "short", "all_or_nothing", "sessions", "inbox", "file");
script!(
    ATTACH,
    "attach",
    "short",
    "all_or_nothing",
    "sessions",
    "inbox",
    "page",
    "location",
    "watch",
    "changed"
);
script!(DETACH, "detach", "sessions", "location");
script!(LOCATE, "locate", "sessions");
script!(PRESENCE, "presence", "sessions", "watch");
script!(UNWATCH, "unwatch");
script!(BROADCAST, "broadcast", "short", "repeat", "all_or_nothing", "find_repeat", "entry_time", "entry");
script!(JOIN_CHANNEL, "join_channel", "short", "all_or_nothing", "entry_time", "entry", "channel");
script!(LEAVE_CHANNEL, "leave_channel");
script!(READ_CHANNEL, "read_channel", "short", "all_or_nothing", "entry_time", "entry", "channel");
script!(UNHEARD, "unheard", "unheard");
script!(TAKE_UNHEARD, "take_unheard", "unheard");
script!(HEARD, "heard", "unheard");
script!(KEEP_TICKET, "keep_ticket");
script!(TAKE_TICKET, "take_ticket");
script!(RETURN_TICKET, "return_ticket");
script!(REVOKE, "revoke");
script!(REVOCATIONS, "revocations");
script!(SWEEP, "sweep", "sessions", "location");
script!(
    READ_INBOX,
    "read_inbox",
    "short",
    "all_or_nothing",
    "sessions",
    "inbox",
    "page",
    "location",
    "changed"
);
script!(MARKS, "marks", "short", "mark");
script!(HEAD, "head", "short", "all_or_nothing", "sessions", "inbox");
script!(FETCH, "fetch");
script!(UNACKNOWLEDGED, "unacknowledged", "short", "all_or_nothing", "sessions", "inbox", "acknowledge");
script!(ACKNOWLEDGE, "acknowledge", "sessions", "position");
script!(DELIVER, "deliver", "short", "sessions", "mark_bounds", "mark", "clock", "note_for_all", "position");
script!(JUDGE, "judge", "short", "mark");
script!(NOTE, "note", "short", "mark");
script!(MARK, "mark", "short", "mark");
script!(MARK_AT_ONCE, "mark_at_once", "short", "mark_bounds", "mark", "clock", "note_for_all");
script!(SENT, "sent");
script!(HISTORY, "history", "short", "state", "entry_time", "entry");
script!(DUE, "due", "short");
script!(OLD, "old", "short", "entry_time", "archive");
script!(TRIM, "trim", "short", "all_or_nothing", "state", "entry_time", "archive");
script!(GONE, "gone", "short", "state", "entry_time", "archive");
script!(HEADS, "heads");
script!(RAISE, "raise", "short", "entry_time", "archive");
script!(HOLD, "hold");
script!(LET_GO, "let_go");
script!(CONVERSATION, "conversation", "short", "roles", "state");
script!(RECALLED, "recalled");
script!(MEMBERS, "members");
script!(TALKED, "talked", "short", "entry_time", "entry");
script!(PENDING, "pending");
script!(FINISH, "finish");
script!(FILED, "filed", "short", "sessions", "inbox");
script!(RECENT, "recent", "short", "sessions", "inbox");
script!(INCARNATION, "incarnation");
script!(NODES, "nodes");
script!(LEASE, "lease");
script!(RELEASE, "release");
script!(ANNOUNCE_PEER, "announce_peer");
script!(PEERS, "peers");
script!(HOLDER, "holder");
script!(CLAIM_SESSION, "claim_session");
script!(RELEASE_SESSION, "release_session");
