//! Conversations: their messages, their state, and who is in them.

use proto::weight::in_list;
use proto::{ConversationId, Position, Seq, UserId};

use super::inbox::Logged;
use super::posting::Version;

/// Messages of a conversation to read.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// Who reads: must be a member; sees what came after joining.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Where to read.
    pub range: HistoryRange,
    /// Messages at most.
    pub limit: usize,
}

/// Which messages: the newest, or those next to a seq, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest.
    Newest,
    /// The newest of those before.
    Before(Seq),
    /// The oldest of those after.
    After(Seq),
}

/// Messages in seq order.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<Shown>,
    /// Whether there are more in the direction of reading: also where the page
    /// ended because it was full.
    pub more: bool,
}

/// A message in its present state.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The message, with its present body: that of the last edit, none when it
    /// was recalled.
    pub message: Logged,
    /// Unix ms of the last edit.
    pub edited: Option<u64>,
    /// Unix ms of the recall.
    pub recalled: Option<u64>,
    /// By emoji, in the order of the first reaction; users in that of reacting.
    pub reactions: Vec<(String, Vec<UserId>)>,
}

/// Messages that are looked at from each end of a conversation's log, to see
/// whether both of its members have written.
pub const LOOKED_AT: u64 = 32;

/// A conversation's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The newest message's seq.
    pub head: Seq,
    /// Of a group.
    pub group: Option<Group>,
    /// The newest message.
    pub last_message: Option<Shown>,
    /// Of the reader, if one was named and is a member: others' messages after
    /// its read mark that are not recalled. The rule: the head minus the read
    /// mark (which is at least at the reader's own last message), minus the
    /// recalled messages between the two that the log still keeps; one that
    /// was trimmed counts whatever became of it.
    pub unread: u64,
    /// Every member's, in the order of joining (direct: of the id; one entry
    /// in a conversation with oneself). With a reader that of a group is only
    /// the reader's.
    pub members: Vec<Member>,
}

/// What only groups have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// For [`Change::expect`](super::Change::expect).
    pub version: Version,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: UserId,
}

/// A member and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Sees what comes after this; 0 in direct conversations.
    pub since: Seq,
    /// Everything up to here has reached one of its devices; at least what has
    /// been read.
    pub delivered: Seq,
    /// Everything up to here has been read; at least its own last message, and
    /// at least `since`.
    pub read: Seq,
}

impl Member {
    /// What has been read has been delivered, whatever the marks say.
    pub(crate) fn new(user: UserId, since: Seq, delivered: Seq, read: Seq) -> Self {
        Self { user, since, delivered: delivered.max(read), read }
    }

    /// It has read up to a message of its own, or farther.
    pub(crate) fn has_sent(&mut self, seq: Seq) {
        self.read = self.read.max(seq);
        self.delivered = self.delivered.max(self.read);
    }
}

/// That a user is in a conversation, from the user's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The conversation.
    pub conversation: ConversationId,
    /// Where its newest event is in the user's inbox: sorts by activity.
    pub activity: Position,
}

impl Shown {
    /// Bytes that it takes in an answer, nearly and not less.
    pub fn weight(&self) -> usize {
        let users = |users: &[UserId]| users.iter().map(|user| in_list(user.as_str().len())).sum::<usize>();
        let reactions = self.reactions.iter().map(|(emoji, by)| in_list(emoji.len()) + users(by));
        self.message.weight() + reactions.sum::<usize>()
    }
}

impl Conversation {
    /// Bytes that its summary takes in an answer, nearly and not less.
    pub fn weight(&self) -> usize {
        // Its own name, and numbers.
        const REST: usize = 256;
        let name = self.group.as_ref().map_or(0, |group| group.name.len());
        REST + name + self.last_message.as_ref().map_or(0, Shown::weight)
    }
}

impl From<Logged> for Shown {
    /// As it was sent.
    fn from(message: Logged) -> Self {
        Self { message, edited: None, recalled: None, reactions: Vec::new() }
    }
}
