//! The arguments and results of [`Store`](crate::Store).

mod archived;
mod channel;
mod history;
mod inbox;
mod marks;
mod posting;
mod revocation;
mod roles;
mod session;

pub use archived::Archived;
pub use channel::{Audience, Broadcast, BroadcastResult, ChannelPage, ChannelQuery, UnheardMessage};
pub use history::{
    Conversation, CurrentMessage, Group, HistoryPage, HistoryQuery, HistoryRange, MESSAGES_CHECKED, Member,
    Membership,
};
pub use inbox::{InboxEvent, InboxPage, InboxQuery, LogEvent, MarksQuery, MarksSince, NOTED_AHEAD, Standing};
pub use marks::{Acknowledge, AcknowledgeResult, HandedOut, Mark, MarkKind, MarkResult};
pub use posting::{Amenders, Amendment, Change, NewEntry, OwnPosition, Post, PostKind, PostResult, Version};
pub use revocation::{REVOCATIONS, RevocationPage, RevokeResult};
pub use roles::Roles;
pub use session::{Absence, Attach, AttachResult, Detach, FIRST_PAGE, Location, PresenceRecord, StartPoint};
