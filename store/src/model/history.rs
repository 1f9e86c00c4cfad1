//! Conversations: their messages, their state and their members.

use proto::weight::in_list;
use proto::{ConversationId, Position, Role, Seq, Time, UserId};

use super::inbox::LogEvent;
use super::posting::Version;
use super::roles::Roles;

/// Asks for a page of a conversation's messages.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// The reader, who must be a member, and sees the messages after joining.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Which messages.
    pub range: HistoryRange,
    /// The most messages of the page.
    pub limit: usize,
}

/// Which messages: the newest, or those next to a seq, without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest messages.
    Newest,
    /// The newest messages before this seq.
    Before(Seq),
    /// The oldest messages after this seq.
    After(Seq),
}

/// A page of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// In seq order.
    pub messages: Vec<CurrentMessage>,
    /// Whether there are more messages in the direction of reading, also when
    /// the page ended because it was full.
    pub more: bool,
}

/// A message in its present state.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentMessage {
    /// The message with its present body: that of the last edit, or empty when
    /// it was recalled.
    pub message: LogEvent,
    /// When it was last edited, in Unix ms.
    pub edited: Option<Time>,
    /// When it was recalled, in Unix ms.
    pub recalled: Option<Time>,
    /// The reactions by emoji, in the order of the first reaction; users in the
    /// order of reacting.
    pub reactions: Vec<(String, Vec<UserId>)>,
}

/// How many messages [`talked`](crate::Store::talked) reads at each end of a
/// conversation's log.
pub const MESSAGES_CHECKED: u64 = 32;

/// A conversation's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The seq of the newest message.
    pub head: Seq,
    /// What only groups have; `None` for a direct conversation.
    pub group: Option<Group>,
    /// The newest message, if it is still kept.
    pub last_message: Option<CurrentMessage>,
    /// The unread messages of the reader, if one was named and is a member:
    /// messages of others after the reader's read mark that are not recalled.
    /// Exactly: head minus read mark (which is at least at the reader's own
    /// last message), minus the recalled messages in between that the log still
    /// keeps. A trimmed message counts even if it was recalled.
    pub unread: u64,
    /// The members in the order of joining; of a direct conversation in the
    /// order of its id, and one entry for a conversation with oneself. With a
    /// reader, a group has only the reader's entry.
    pub members: Vec<Member>,
}

/// What only groups have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The version, for [`Change::expect`](super::Change::expect).
    pub version: Version,
    /// The name that members see.
    pub name: String,
    /// The owner.
    pub owner: UserId,
    /// The roles of others. Where a reader is named, at least that one's.
    pub roles: Roles,
}

impl Group {
    /// The role of one of its members; where a reader was named, of the reader.
    pub fn role(&self, user: &UserId) -> Role {
        if self.owner == *user { Role::Owner } else { self.roles.of(user) }
    }
}

/// A member and its marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member.
    pub user: UserId,
    /// The member sees the messages after this seq; 0 in direct conversations.
    pub since: Seq,
    /// Everything up to this seq has reached one of the member's devices; at
    /// least `read`.
    pub delivered: Seq,
    /// Everything up to this seq has been read; at least the member's own last
    /// message, and at least `since`.
    pub read: Seq,
}

impl Member {
    /// What has been read counts as delivered, whatever the stored mark says.
    pub(crate) fn new(user: UserId, since: Seq, delivered: Seq, read: Seq) -> Self {
        Self { user, since, delivered: delivered.max(read), read }
    }

    /// The member wrote the message of this seq, and so has read everything up
    /// to it.
    pub(crate) fn has_sent(&mut self, seq: Seq) {
        self.read = self.read.max(seq);
        self.delivered = self.delivered.max(self.read);
    }
}

/// A user's membership in a conversation, from the user's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The conversation.
    pub conversation: ConversationId,
    /// The position of its newest event in the user's inbox, for sorting by
    /// activity.
    pub activity: Position,
}

impl CurrentMessage {
    /// The bytes that it takes in an answer: an estimate that is never too low.
    pub fn weight(&self) -> usize {
        let users = |users: &[UserId]| users.iter().map(|user| in_list(user.as_str().len())).sum::<usize>();
        let reactions = self.reactions.iter().map(|(emoji, by)| in_list(emoji.len()) + users(by));
        self.message.weight() + reactions.sum::<usize>()
    }
}

impl Conversation {
    /// The bytes that its summary takes in an answer: an estimate that is never
    /// too low.
    pub fn weight(&self) -> usize {
        // The conversation's id and the numbers.
        const REST: usize = 256;
        let name = self.group.as_ref().map_or(0, |group| group.name.len());
        REST + name + self.last_message.as_ref().map_or(0, CurrentMessage::weight)
    }
}

impl From<LogEvent> for CurrentMessage {
    /// A message without amendments.
    fn from(message: LogEvent) -> Self {
        Self { message, edited: None, recalled: None, reactions: Vec::new() }
    }
}
