//! What gateways ask of routers as one table: what each request is called, what it
//! costs a router, and how soon it may be asked of another. A request that is
//! missing here does not compile.

use crate::wire::request::Command;

/// How soon a request may go to a second router while the first, which does
/// not answer, may still do it at any time later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// As soon as the first router is known to answer late: done twice, or once
    /// more after what came behind it, it changes nothing (it has a key that
    /// repeats are known by, only reads, or only goes forward).
    Soon,
    /// Only when the first is given up: done late, it would undo what came
    /// behind it. A router that stood still for so long does nothing of what
    /// it was asked before.
    Late,
    /// Never: only the one router can answer it.
    Never,
}

/// A row for each: its name, µs of a router's CPU (about, and without what its
/// bytes or users add), whether a router that is well answers it within
/// milliseconds, and how soon it may be repeated.
macro_rules! requests {
    ($($name:ident: $word:literal, $cost:literal, $hot:literal, $repeat:ident;)*) => {
        /// A request of a gateway to a router.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "`router.proto` says what each asks")]
        pub enum RequestKind { $($name),* }

        impl RequestKind {
            /// Every request.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Which one this is.
            pub fn of(command: &Command) -> Self {
                match command { $(Command::$name(_) => Self::$name),* }
            }

            /// In metrics and traces.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// µs of a router's CPU, about.
            pub fn cost(self) -> u64 {
                match self { $(Self::$name => $cost),* }
            }

            /// Answered within milliseconds by a router that is well: its age says
            /// how the router is.
            pub fn is_hot(self) -> bool {
                match self { $(Self::$name => $hot),* }
            }

            /// How soon it may be asked of another router.
            pub fn repeat(self) -> Repeat {
                match self { $(Self::$name => Repeat::$repeat),* }
            }
        }
    };
}

requests! {
    Send: "send", 25, true, Soon;
    Publish: "publish", 25, true, Soon;
    Edit: "edit", 30, true, Soon;
    Recall: "recall", 25, true, Soon;
    React: "react", 25, true, Late;
    Read: "read", 10, true, Soon;
    Ack: "ack", 5, false, Soon;
    Typing: "typing", 20, false, Soon;
    ReadInbox: "read_inbox", 30, false, Soon;
    ReadChannel: "read_channel", 30, false, Soon;
    History: "history", 60, false, Soon;
    Conversations: "conversations", 60, false, Soon;
    Members: "members", 60, false, Soon;
    Presence: "presence", 20, false, Soon;
    Unwatch: "unwatch", 20, false, Late;
    Attach: "attach", 40, false, Late;
    Detach: "detach", 15, false, Late;
    CreateGroup: "create_group", 60, false, Late;
    AddMembers: "add_members", 60, false, Late;
    RemoveMember: "remove_member", 60, false, Late;
    SetRole: "set_role", 60, false, Late;
    Rename: "rename", 60, false, Late;
    IssueTicket: "issue_ticket", 30, false, Late;
    RedeemTicket: "redeem_ticket", 30, false, Late;
    ReturnTicket: "return_ticket", 30, false, Late;
    Kick: "kick", 60, false, Late;
    Revoke: "revoke", 30, false, Soon;
    ReadRevocations: "read_revocations", 60, false, Soon;
    CountRates: "count_rates", 5, false, Never;
    JoinChannel: "join_channel", 30, false, Late;
    LeaveChannel: "leave_channel", 30, false, Late;
}
