//! What goes into a store and comes out of it.

mod channel;
mod history;
mod inbox;
mod marks;
mod posting;
mod session;

pub use channel::{Audience, Broadcast, Broadcasted, ChannelPage, ChannelQuery, Unheard};
pub use history::{
    Conversation, Group, HistoryPage, HistoryQuery, HistoryRange, LOOKED_AT, Member, Membership, Shown,
};
pub use inbox::{Filed, InboxPage, InboxQuery, Logged, MarksQuery, MarksSince, Standing};
pub use marks::{Acknowledge, Acknowledged, Mark, MarkKind, Marked};
pub use posting::{Amendment, Change, NewEntry, OwnPlace, Post, PostKind, Posted, Version, Who};
pub use session::{Absence, Attach, Attached, Detach, FIRST_PAGE, From, Location, Seen};
