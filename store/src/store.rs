//! The store as routers use it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::wire::Notice;
use proto::{ConversationId, NodeIncarnation, Revocation, Seq, UserId};

use crate::Result;
use crate::model::{
    Acknowledge, AcknowledgeResult, Archived, Attach, AttachResult, Audience, Broadcast, BroadcastResult,
    ChannelPage, ChannelQuery, Conversation, Detach, HistoryPage, HistoryQuery, InboxPage, InboxQuery,
    Location, Mark, MarkResult, Membership, Post, PostResult, PresenceRecord, RevocationPage, RevokeResult,
    UnheardMessage,
};

/// The durable log. Any number of routers use one store at once, and calls may
/// run at the same time, from one process or many. After an error every call
/// may be repeated: what was done already is not done twice.
///
/// A call that takes a batch returns a result for each item, in the same order.
/// A batch costs one round trip, so callers gather items while the last batch
/// is under way.
///
/// A call fails as a whole when the store is unavailable ([`crate::Error`]).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Numbers the entries, files them in the members' inboxes and announces them,
    /// in this order: a crash in between leaves nothing announced that could be
    /// lost. What it leaves half filed a repeat or [`Self::repair`] finishes; of
    /// what it leaves untold a repeat tells the nodes, and each node looks for
    /// itself when a router is gone. When it
    /// returns `Done`, the event is in the inbox of every member, once, in the
    /// order of the conversation; whoever holds a session has been announced
    /// to, except the posting session. Items of one batch that go to the same
    /// conversation are numbered in the order given. Nothing is announced that
    /// was not appended.
    async fn post(&self, batch: Vec<Post>) -> Result<Vec<PostResult>>;

    /// Files for every member, and announces, what is numbered in this
    /// conversation. Called before answering a command that finds its effect
    /// done already: the router that did it may have failed half way.
    async fn settle(&self, conversation: &ConversationId) -> Result<()>;

    /// Files and announces what a crash left numbered but not filed for
    /// everyone, if that is older than `age`. Every router calls it now and
    /// then. Returns how many conversations it repaired.
    async fn repair(&self, age: Duration) -> Result<usize>;

    /// Copies messages and changes that are old enough to the archive, and trims
    /// them here: some of them, so that a call takes a moment. Every router calls
    /// it once a second; two may do it at once. Does nothing without an archive
    /// ([`crate::Config::archive`]). Fails with [`crate::Error::Archive`] while the
    /// archive is away; then nothing is trimmed.
    async fn archive(&self) -> Result<Archived> {
        Ok(Archived::default())
    }

    /// Begins sessions, or looks up where reading would start. Of two sessions
    /// of one device the later call wins. A user keeps at most
    /// [`crate::Bounds::sessions`] sessions, those that attached last.
    async fn attach(&self, batch: Vec<Attach>) -> Result<Vec<AttachResult>>;

    /// Ends sessions; a session that does not exist is no error. Returns for
    /// each whether it was the user's last one and some node watches the user.
    /// (A node that begins to watch later sees when it ended.)
    async fn detach(&self, batch: Vec<Detach>) -> Result<Vec<bool>>;

    /// The presence of users. With `watcher` this node watches them from now
    /// on; that is noted in the same step, so that no change is missed between.
    async fn presence(
        &self,
        users: &[UserId],
        watcher: Option<&NodeIncarnation>,
    ) -> Result<Vec<PresenceRecord>>;

    /// The node no longer watches these users.
    async fn unwatch(&self, users: &[UserId], watcher: &NodeIncarnation) -> Result<()>;

    /// The nodes whose lease is valid.
    async fn nodes(&self) -> Result<Vec<NodeIncarnation>>;

    /// The sessions of each user, without those on nodes whose lease has ended.
    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Location>>>;

    /// Pages of inboxes, together at most [`proto::weight::PAGES`] bytes.
    /// Reading removes nothing.
    async fn read_inbox(&self, batch: Vec<InboxQuery>) -> Result<Vec<InboxPage>>;

    /// Acknowledges what has reached a device: sets the `delivered` marks, and
    /// then the acknowledged position, where the next call goes on. Marks and
    /// positions only rise, whoever sets them at the same time. A mark that is
    /// named and beyond the head of its conversation, or of a user who is no
    /// member, is passed over.
    async fn acknowledge(&self, batch: Vec<Acknowledge>) -> Result<Vec<AcknowledgeResult>>;

    /// Sets marks. A mark below the present one changes nothing.
    async fn mark(&self, batch: Vec<Mark>) -> Result<Vec<MarkResult>>;

    /// A page of a conversation's messages; `None` when the reader is not a
    /// member.
    async fn history(&self, query: HistoryQuery) -> Result<Option<HistoryPage>>;

    /// The states of conversations. `None` for one that does not exist: a group
    /// that was never made or has no members left, or a direct conversation
    /// without messages.
    ///
    /// With a reader: the reader's unread messages are counted; a group's
    /// `members` has only the reader (empty: not a member); and only the first
    /// ids that fit on one page get a result, at least one.
    async fn conversations(
        &self,
        ids: &[ConversationId],
        reader: Option<&UserId>,
    ) -> Result<Vec<Option<Conversation>>>;

    /// The members of groups, and nothing else of them: for what is told to them.
    /// None for a group that is not there.
    async fn members(&self, groups: &[ConversationId]) -> Result<Vec<Vec<UserId>>>;

    /// For direct conversations: whether both members have written to each
    /// other. Only the [`MESSAGES_CHECKED`](crate::model::MESSAGES_CHECKED) newest and as
    /// many of the oldest messages that are kept are read.
    async fn talked(&self, ids: &[ConversationId]) -> Result<Vec<bool>>;

    /// Every conversation that the user is in, in no particular order.
    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>>;

    /// Numbers, stores and announces publications, once to each node of the
    /// channel's audience. Items of one batch for the same channel are numbered
    /// in the order given. A publication may be announced twice, or out of
    /// order when two routers publish: subscribers go by seq. A store that lost
    /// its last writes gives their seqs again, under a new incarnation.
    async fn broadcast(&self, batch: Vec<Broadcast>) -> Result<Vec<BroadcastResult>>;

    /// Adds nodes to the audiences of channels: they are told of what is
    /// published from now on. Returns the channels' heads. A node stays in the
    /// audience until it leaves or its lease ends.
    async fn join_channels(&self, batch: Vec<Audience>) -> Result<Vec<Seq>>;

    /// Removes nodes, which have no subscribers any more, from the audiences of
    /// channels.
    async fn leave_channels(&self, batch: Vec<Audience>) -> Result<()>;

    /// Pages of channels' logs, together at most [`proto::weight::PAGES`]
    /// bytes; a page is never empty while there is something to read. A channel
    /// that nobody has published to is empty.
    async fn read_channels(&self, batch: Vec<ChannelQuery>) -> Result<Vec<ChannelPage>>;

    /// Takes messages for members who had no session, oldest first, if the
    /// store was opened to keep them ([`crate::Bounds::unheard`]). Nobody else
    /// gets them for the time `hold`; after that they are given out again
    /// unless [`Store::heard`] has removed them. Those that were never given
    /// out come in the order of filing. Only messages are kept, not changes,
    /// and never for their sender. A session on a node whose lease has ended
    /// counts as none, if posting notices that it has ended. After a crash,
    /// messages that were reported already may come again.
    async fn take_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<UnheardMessage>>;

    /// Removes messages that have been reported.
    async fn heard(&self, told: &[UnheardMessage]) -> Result<()>;

    /// How many unheard messages wait, including those taken and held.
    async fn unheard(&self) -> Result<u64>;

    /// Sends notices to nodes. They may be lost.
    async fn publish(&self, notices: Vec<(NodeIncarnation, Notice)>) -> Result<()>;

    /// Stores what a one-time ticket stands for, for at most `life`. A repeat
    /// changes nothing.
    async fn keep_ticket(&self, ticket: &str, grant: Bytes, life: Duration) -> Result<()>;

    /// Takes a ticket: returns what it stands for to the first caller of all
    /// processes, `None` to others. `by` is a random name of the caller: the
    /// same caller gets the same result again.
    async fn take_ticket(&self, ticket: &str, by: &str) -> Result<Option<Bytes>>;

    /// Lets a ticket that `by` has taken be taken again. Changes nothing when
    /// another caller has taken it, or its life is over.
    async fn return_ticket(&self, ticket: &str, by: &str) -> Result<()>;

    /// Stores revocations of tokens, and then tells every node of them. Each gets
    /// the next number; those of one user, or of one token, are one revocation, for
    /// which the later of the times count. When `Done` is returned, it is stored and
    /// no later [`Self::revocations`] lacks it. They are forgotten after their
    /// `until`. A repeat tells the nodes again.
    async fn revoke(&self, batch: Vec<Revocation>) -> Result<Vec<RevokeResult>>;

    /// A page of the revocations after a number, in the order of their numbers.
    /// Numbers rise, and are never given twice, but by a store that lost its last
    /// writes; where revocations were forgotten or repeated they have holes.
    async fn revocations(&self, after: u64) -> Result<RevocationPage>;

    /// Fails unless the store replies within its timeout.
    async fn ping(&self) -> Result<()>;
}
