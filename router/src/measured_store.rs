//! A store around another one. It measures how long each call takes, and logs
//! records that cannot be read.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use proto::wire::Notice;
use proto::{ConversationId, NodeIncarnation, Revocation, Seq, UserId};
use store::model::{
    Acknowledge, AcknowledgeResult, Archived, Attach, AttachResult, Audience, Broadcast, BroadcastResult,
    ChannelPage, ChannelQuery, Conversation, Detach, HistoryPage, HistoryQuery, InboxPage, InboxQuery,
    Location, Mark, MarkResult, Membership, Post, PostResult, PresenceRecord, RevocationPage, RevokeResult,
    UnheardMessage,
};
use store::{Result, Store};

use crate::metrics;

/// A store whose calls are measured.
pub(crate) struct MeasuredStore(Arc<dyn Store>);

impl MeasuredStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    async fn time<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let outcome = call.await;
        let result = if outcome.is_ok() { "ok" } else { "error" };
        metrics::STORE_DURATION.record(&[operation, result], begun.elapsed().as_secs_f64());
        match &outcome {
            Err(error @ (store::Error::Corrupt(_) | store::Error::Config(_))) => {
                tracing::error!(operation, %error, "what is stored cannot be read");
            }
            Err(error @ (store::Error::Unavailable(_) | store::Error::Archive(_))) => {
                tracing::debug!(operation, %error, "store call failed")
            }
            Ok(_) => {}
        }
        outcome
    }
}

#[async_trait]
impl Store for MeasuredStore {
    async fn post(&self, batch: Vec<Post>) -> Result<Vec<PostResult>> {
        self.time("post", self.0.post(batch)).await
    }

    async fn settle(&self, conversation: &ConversationId) -> Result<()> {
        self.time("settle", self.0.settle(conversation)).await
    }

    async fn repair(&self, age: Duration) -> Result<usize> {
        self.time("repair", self.0.repair(age)).await
    }

    async fn archive(&self) -> Result<Archived> {
        self.time("archive", self.0.archive()).await
    }

    async fn attach(&self, batch: Vec<Attach>) -> Result<Vec<AttachResult>> {
        self.time("attach", self.0.attach(batch)).await
    }

    async fn detach(&self, batch: Vec<Detach>) -> Result<Vec<bool>> {
        self.time("detach", self.0.detach(batch)).await
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Location>>> {
        self.time("locate", self.0.locate(users)).await
    }

    async fn read_inbox(&self, batch: Vec<InboxQuery>) -> Result<Vec<InboxPage>> {
        self.time("read_inbox", self.0.read_inbox(batch)).await
    }

    async fn acknowledge(&self, batch: Vec<Acknowledge>) -> Result<Vec<AcknowledgeResult>> {
        self.time("acknowledge", self.0.acknowledge(batch)).await
    }

    async fn mark(&self, batch: Vec<Mark>) -> Result<Vec<MarkResult>> {
        self.time("mark", self.0.mark(batch)).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Option<HistoryPage>> {
        self.time("history", self.0.history(query)).await
    }

    async fn conversations(
        &self,
        ids: &[ConversationId],
        reader: Option<&UserId>,
    ) -> Result<Vec<Option<Conversation>>> {
        self.time("conversations", self.0.conversations(ids, reader)).await
    }

    async fn members(&self, groups: &[ConversationId]) -> Result<Vec<Vec<UserId>>> {
        self.time("members", self.0.members(groups)).await
    }

    async fn presence(
        &self,
        users: &[UserId],
        watcher: Option<&NodeIncarnation>,
    ) -> Result<Vec<PresenceRecord>> {
        self.time("presence", self.0.presence(users, watcher)).await
    }

    async fn unwatch(&self, users: &[UserId], watcher: &NodeIncarnation) -> Result<()> {
        self.time("unwatch", self.0.unwatch(users, watcher)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeIncarnation>> {
        self.time("nodes", self.0.nodes()).await
    }

    async fn broadcast(&self, batch: Vec<Broadcast>) -> Result<Vec<BroadcastResult>> {
        self.time("broadcast", self.0.broadcast(batch)).await
    }

    async fn join_channels(&self, batch: Vec<Audience>) -> Result<Vec<Seq>> {
        self.time("join_channels", self.0.join_channels(batch)).await
    }

    async fn leave_channels(&self, batch: Vec<Audience>) -> Result<()> {
        self.time("leave_channels", self.0.leave_channels(batch)).await
    }

    async fn read_channels(&self, batch: Vec<ChannelQuery>) -> Result<Vec<ChannelPage>> {
        self.time("read_channels", self.0.read_channels(batch)).await
    }

    async fn take_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<UnheardMessage>> {
        self.time("take_unheard", self.0.take_unheard(limit, hold)).await
    }

    async fn heard(&self, told: &[UnheardMessage]) -> Result<()> {
        self.time("heard", self.0.heard(told)).await
    }

    async fn unheard(&self) -> Result<u64> {
        self.time("unheard", self.0.unheard()).await
    }

    async fn talked(&self, ids: &[ConversationId]) -> Result<Vec<bool>> {
        self.time("talked", self.0.talked(ids)).await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        self.time("memberships", self.0.memberships(user)).await
    }

    async fn publish(&self, notices: Vec<(NodeIncarnation, Notice)>) -> Result<()> {
        self.time("publish", self.0.publish(notices)).await
    }

    async fn keep_ticket(&self, ticket: &str, grant: Bytes, life: Duration) -> Result<()> {
        self.time("keep_ticket", self.0.keep_ticket(ticket, grant, life)).await
    }

    async fn take_ticket(&self, ticket: &str, by: &str) -> Result<Option<Bytes>> {
        self.time("take_ticket", self.0.take_ticket(ticket, by)).await
    }

    async fn return_ticket(&self, ticket: &str, by: &str) -> Result<()> {
        self.time("return_ticket", self.0.return_ticket(ticket, by)).await
    }

    async fn revoke(&self, batch: Vec<Revocation>) -> Result<Vec<RevokeResult>> {
        self.time("revoke", self.0.revoke(batch)).await
    }

    async fn revocations(&self, after: u64) -> Result<RevocationPage> {
        self.time("revocations", self.0.revocations(after)).await
    }

    async fn ping(&self) -> Result<()> {
        self.time("ping", self.0.ping()).await
    }
}
