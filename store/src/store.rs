//! The store as routers use it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::wire::Notice;
use proto::{ConversationId, NodeIncarnation, Seq, UserId};

use crate::Result;
use crate::model::{
    Acknowledge, Acknowledged, Attach, Attached, Audience, Broadcast, Broadcasted, ChannelPage, ChannelQuery,
    Conversation, Detach, HistoryPage, HistoryQuery, InboxPage, InboxQuery, Location, Mark, Marked,
    Membership, Post, Posted, Seen, Unheard,
};

/// The durable log. Any number of routers use one store at once; calls may run
/// at the same time, from one process and from many. Every call may be
/// repeated after an error: what it then finds done stays done once.
///
/// Calls that take a batch answer each item at its index. A batch is worth one
/// round trip, so callers gather items while the last batch is under way.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Numbers the entries, files them in the members' inboxes and announces them,
    /// in this order: a crash in between leaves work that [`Self::repair`] can
    /// finish, and nothing announced that could be lost. When it
    /// returns `Done`, the event is in the inbox of every member, once, in the
    /// order of the conversation; whoever holds a session has been announced
    /// to, except the posting session. Items of one batch that go to the same
    /// conversation are numbered in the order given. Nothing is announced that
    /// was not appended.
    async fn post(&self, batch: Vec<Post>) -> Result<Vec<Posted>>;

    /// Sees to it that what is numbered in this conversation is filed for every
    /// member and announced. To be called before a command is acknowledged that
    /// finds done what it asks for, as whoever did it may have failed half way.
    async fn settle(&self, conversation: &ConversationId) -> Result<()>;

    /// Finishes what a crash left numbered and not filed for everyone, if it is
    /// older than `age`. Called by every router now and then; returns how many
    /// conversations it mended.
    async fn repair(&self, age: Duration) -> Result<usize>;

    /// Begins sessions, or looks places up. Of two sessions of one device the
    /// later call wins, and a user has so many sessions at most as the bounds
    /// say: those that attached last.
    async fn attach(&self, batch: Vec<Attach>) -> Result<Vec<Attached>>;

    /// Ends sessions. One that is not there is no error. Says for each whether
    /// it was the user's last and somebody watches the user: whoever begins to
    /// watch later sees when it ended.
    async fn detach(&self, batch: Vec<Detach>) -> Result<Vec<bool>>;

    /// What the records say of users' sessions. With a node, it watches them
    /// from now on: noted in the same step, so that nothing falls between.
    async fn presence(&self, users: &[UserId], watcher: Option<&NodeIncarnation>) -> Result<Vec<Seen>>;

    /// The node watches these users no more.
    async fn unwatch(&self, users: &[UserId], watcher: &NodeIncarnation) -> Result<()>;

    /// The nodes whose lease holds.
    async fn nodes(&self) -> Result<Vec<NodeIncarnation>>;

    /// The sessions of users, without those of nodes whose lease has ended.
    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Location>>>;

    /// Pages of inboxes, of [`proto::weight::PAGES`] bytes together at most.
    /// Reading removes nothing.
    async fn read_inbox(&self, batch: Vec<InboxQuery>) -> Result<Vec<InboxPage>>;

    /// Notes what has reached a device: sets the `delivered` marks and then the
    /// place from which the next call goes on.
    async fn acknowledge(&self, batch: Vec<Acknowledge>) -> Result<Vec<Acknowledged>>;

    /// Sets marks; a lower one than before changes nothing.
    async fn mark(&self, batch: Vec<Mark>) -> Result<Vec<Marked>>;

    /// Messages of a conversation, as many as a page may have; `None` when the
    /// reader is not a member.
    async fn history(&self, query: HistoryQuery) -> Result<Option<HistoryPage>>;

    /// The state of conversations; `None` for one that is not there: a group
    /// that was never made or has no members, a direct one without messages.
    /// With a reader, its unread messages are counted, of a group's members there
    /// is only the reader (nobody: not a member), and of the ids only so many of
    /// the first are answered as one page may have, at least one.
    async fn conversations(
        &self,
        ids: &[ConversationId],
        reader: Option<&UserId>,
    ) -> Result<Vec<Option<Conversation>>>;

    /// Of direct conversations: whether both members have written to each other.
    /// The [`LOOKED_AT`](crate::model::LOOKED_AT) newest messages that are kept
    /// and as many of the oldest are looked at.
    async fn talked(&self, ids: &[ConversationId]) -> Result<Vec<bool>>;

    /// Every conversation that the user is in, in no order.
    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>>;

    /// Numbers, keeps and announces publications, once to each node of the
    /// channel's audience. Items of one batch that go to the same channel are
    /// numbered in the order given. Publications may be announced again, or from
    /// two routers in another order: subscribers go by seq. A store that lost
    /// its last writes gives their numbers again, under a new incarnation.
    async fn broadcast(&self, batch: Vec<Broadcast>) -> Result<Vec<Broadcasted>>;

    /// Nodes are told of what is published from now on; returns the heads. A
    /// node is of the audience until it leaves or its lease ends.
    async fn join_channels(&self, batch: Vec<Audience>) -> Result<Vec<Seq>>;

    /// Nodes have no subscribers any more.
    async fn leave_channels(&self, batch: Vec<Audience>) -> Result<()>;

    /// Parts of channels' logs, from the oldest kept on, of
    /// [`proto::weight::PAGES`] bytes together at most, but never nothing while
    /// there is something. A channel that nobody has published to is empty.
    async fn read_channels(&self, batch: Vec<ChannelQuery>) -> Result<Vec<ChannelPage>>;

    /// Messages for members who had no session, oldest first, if the store was
    /// opened to keep them ([`crate::Bounds::unheard`]). They are held: nobody
    /// else is given them for `hold`, and after that they come again unless
    /// they are [`Store::heard`]. Those that were never held come in the order
    /// of filing. Only messages are kept so, not changes, and never for their
    /// sender. A session on a node whose lease has ended does not count where
    /// posting notices that. After a crash some may come that were told.
    async fn take_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<Unheard>>;

    /// These have been told and need not come again.
    async fn heard(&self, told: &[Unheard]) -> Result<()>;

    /// How many unheard messages wait, held ones too.
    async fn unheard(&self) -> Result<u64>;

    /// Sends notices to nodes; they may be lost.
    async fn publish(&self, notices: Vec<(NodeIncarnation, Notice)>) -> Result<()>;

    /// Keeps what a one-time ticket stands for, for so long at most. Repeated, it
    /// changes nothing.
    async fn keep_ticket(&self, ticket: &str, grant: Bytes, life: Duration) -> Result<()>;

    /// Gives what a ticket stands for to the first who asks, of all processes;
    /// nothing to the others. `by` names who asks, at random: asked again by the
    /// same it gives the same.
    async fn take_ticket(&self, ticket: &str, by: &str) -> Result<Option<Bytes>>;

    /// Lets a ticket that was taken by `by` be taken again. Changes nothing when
    /// it was taken by another, or its life is over.
    async fn return_ticket(&self, ticket: &str, by: &str) -> Result<()>;

    /// Whether the store answers, within its timeout.
    async fn ping(&self) -> Result<()>;
}
