//! The store on Redis: one server, Sentinel or Cluster. Only this module knows
//! Redis; `scripts/lib` describes what is stored there.
//!
//! In reading order: `address` (the URL), `connection` (the running of scripts),
//! on a single server over a `pipeline` of our own (`dial`, `resp`), with its
//! `watchdog`; `key` and `script`. Then posting:
//! `single` (one call numbers and files, on a single server) and `stepwise`
//! (number, then file: in a Cluster, or with replicas to wait for) with
//! `filing`, `announce`, `doubt`, `repair` and `rewrite`. Then reading: `session`, `inbox`,
//! `conversation`, with `archive` for what has left (`copier`, `settling`). Then marks: `mark`, `acknowledge` and, on a single server,
//! `deliver`. Then `upkeep` (incarnation, live nodes) and `bus` (a node's
//! subscription, with its `ear` and `tracking`), and `peers` (how gateways find each
//! other). `reconnect` says when connections of our own are made again.

mod acknowledge;
mod address;
mod announce;
mod archive;
mod bus;
mod changed;
mod channel;
mod connection;
mod conversation;
mod copier;
mod deliver;
mod dial;
mod doubt;
mod ear;
mod fetch;
mod filing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod inbox;
mod key;
mod look;
mod mark;
mod peers;
mod pipeline;
mod presence;
mod reconnect;
mod reference;
mod repair;
mod reply;
mod resp;
mod revocation;
mod rewrite;
mod script;
mod session;
mod settings;
mod settling;
mod single;
mod step;
mod stepwise;
mod subscription;
mod ticket;
mod tracking;
mod unheard;
mod upkeep;
mod watchdog;
mod write;

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::wire::Notice;
use proto::{ConversationId, NodeIncarnation, Revocation, Seq, UserId};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::bus::connect_bus;
pub(crate) use self::look::{look, look_at_bus};

use self::address::Address;
use self::announce::Announcer;
use self::archive::Archiver;
use self::connection::{Connection, Reconnections};
use self::step::FailPoint;
use self::upkeep::Upkeep;
use crate::model::{
    Acknowledge, AcknowledgeResult, Archived, Attach, AttachResult, Audience, Broadcast, BroadcastResult,
    ChannelPage, ChannelQuery, Conversation, Detach, HistoryPage, HistoryQuery, InboxPage, InboxQuery,
    Location, Mark, MarkResult, Membership, Post, PostResult, PresenceRecord, RevocationPage, RevokeResult,
    UnheardMessage,
};
use crate::trouble;
use crate::unheard::DropCounter;
use crate::{Bounds, Config, Error, Result, Store};

/// A router's Redis store.
pub struct Redis {
    /// For writing; a connection of its own, because `WAIT` blocks a
    /// connection.
    append: Connection,
    read: Connection,
    bounds: Bounds,
    timeout: Duration,
    replicas: u32,
    /// Whether posts are numbered and filed step by step.
    separate: bool,
    fail: FailPoint,
    /// LockGuard while a batch is posted: the next one gathers meanwhile.
    posting: Mutex<stepwise::Notes>,
    /// The same for channels. True while the connection is new, so that the
    /// store may be another one.
    broadcasting: Mutex<bool>,
    /// The same for acknowledgements.
    acknowledging: Mutex<bool>,
    /// The same as `reconnects`, for acknowledgements.
    acknowledge_reconnects: StdMutex<Reconnections>,
    /// The same as `reconnects`, for channels.
    channel_reconnects: StdMutex<Reconnections>,
    /// Reconnections, after which the store may be another one. LockGuard only to
    /// read it.
    reconnects: StdMutex<Reconnections>,
    unheard: DropCounter,
    archiver: Option<Archiver>,
    announcer: Arc<Announcer>,
    upkeep: Upkeep,
}

impl Redis {
    /// Connects. When Redis is away, it goes on trying in the background:
    /// `ping` says when it is there. Fails when the URL is wrong or the server
    /// is too old.
    pub async fn connect(
        config: Config,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Arc<dyn Store>> {
        Ok(Self::open(config, tasks, shutdown).await?)
    }

    async fn open(config: Config, tasks: &TaskTracker, shutdown: CancellationToken) -> Result<Arc<Self>> {
        let address = Address::of(&config)?;
        // They end after the last word to the nodes.
        let connections = CancellationToken::new();
        let append = Connection::open(&address, &trouble::STORE, tasks, &connections);
        let read = Connection::open(&address, &trouble::STORE, tasks, &connections);
        let connections = connections.drop_guard();
        let store = Arc::new(Self {
            append: append.clone(),
            read,
            bounds: config.bounds,
            timeout: config.timeout,
            replicas: config.replicas,
            separate: address.is_cluster() || address.separate() || config.replicas > 0,
            fail: FailPoint::new(config.fail_at),
            posting: Mutex::default(),
            broadcasting: Mutex::default(),
            acknowledging: Mutex::default(),
            acknowledge_reconnects: StdMutex::new(append.reconnections()),
            channel_reconnects: StdMutex::new(append.reconnections()),
            reconnects: StdMutex::new(append.reconnections()),
            unheard: DropCounter::default(),
            archiver: config.archive.as_ref().map(Archiver::open).transpose()?,
            announcer: Arc::new(Announcer::new(append.clone(), config.origin)),
            // On this connection, so that it inspects the server that is
            // written to.
            upkeep: Upkeep::new(append.clone()),
        });
        let begun = async {
            store.read.connected(config.timeout).await?;
            store.upkeep.begin(config.replicas).await
        };
        match begun.await {
            // It may also go away while it is being looked at.
            Err(error @ Error::Unavailable(_)) => {
                tracing::warn!(store = %config.url, %error, "the store is away; trying on in the background");
            }
            begun => begun?,
        }
        let announcer = store.announcer.clone();
        tasks.spawn(upkeep::run(Arc::downgrade(&store), announcer, shutdown, connections));
        Ok(store)
    }
}

#[async_trait]
impl Store for Redis {
    async fn post(&self, batch: Vec<Post>) -> Result<Vec<PostResult>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.within(async {
            let senders = self.senders(&batch).await?;
            let mut notes = self.posting.lock().await;
            self.know_the_store(&mut notes.unsure, &self.reconnects).await?;
            match self.separate {
                true => self.post_stepwise(&batch, &senders, &mut notes).await,
                false => self.post_at_once(&batch, &senders, &mut notes.unsure).await,
            }
        })
        .await
    }

    async fn settle(&self, conversation: &ConversationId) -> Result<()> {
        self.within(self.settle_one(conversation)).await
    }

    async fn repair(&self, age: Duration) -> Result<usize> {
        self.repair_older_than(age).await
    }

    async fn archive(&self) -> Result<Archived> {
        self.archive_some().await
    }

    async fn attach(&self, batch: Vec<Attach>) -> Result<Vec<AttachResult>> {
        self.within(self.attach_all(&batch)).await
    }

    async fn detach(&self, batch: Vec<Detach>) -> Result<Vec<bool>> {
        self.within(self.detach_all(&batch)).await
    }

    async fn presence(
        &self,
        users: &[UserId],
        watcher: Option<&NodeIncarnation>,
    ) -> Result<Vec<PresenceRecord>> {
        self.within(self.presence_of(users, watcher)).await
    }

    async fn unwatch(&self, users: &[UserId], watcher: &NodeIncarnation) -> Result<()> {
        self.within(self.unwatch_all(users, watcher)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeIncarnation>> {
        Ok(self.within(self.upkeep.look_who_lives()).await?.iter().cloned().collect())
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Location>>> {
        self.within(self.locate_all(users)).await
    }

    async fn read_inbox(&self, batch: Vec<InboxQuery>) -> Result<Vec<InboxPage>> {
        self.within(self.read_pages(batch)).await
    }

    async fn acknowledge(&self, batch: Vec<Acknowledge>) -> Result<Vec<AcknowledgeResult>> {
        self.within(self.acknowledge_all(&batch)).await
    }

    async fn mark(&self, batch: Vec<Mark>) -> Result<Vec<MarkResult>> {
        self.within(self.mark_all(&batch)).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Option<HistoryPage>> {
        self.within(self.history_of(query)).await
    }

    async fn conversations(
        &self,
        ids: &[ConversationId],
        reader: Option<&UserId>,
    ) -> Result<Vec<Option<Conversation>>> {
        self.within(self.conversations_of(ids, reader)).await
    }

    async fn members(&self, groups: &[ConversationId]) -> Result<Vec<Vec<UserId>>> {
        self.within(self.members_of(groups)).await
    }

    async fn talked(&self, ids: &[ConversationId]) -> Result<Vec<bool>> {
        self.within(self.talked_in(ids)).await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        self.within(self.memberships_of(user)).await
    }

    async fn broadcast(&self, batch: Vec<Broadcast>) -> Result<Vec<BroadcastResult>> {
        self.within(self.broadcast_all(&batch)).await
    }

    async fn join_channels(&self, batch: Vec<Audience>) -> Result<Vec<Seq>> {
        self.within(self.join_all(&batch)).await
    }

    async fn leave_channels(&self, batch: Vec<Audience>) -> Result<()> {
        self.within(self.leave_all(&batch)).await
    }

    async fn read_channels(&self, batch: Vec<ChannelQuery>) -> Result<Vec<ChannelPage>> {
        self.within(self.read_logs(&batch)).await
    }

    async fn take_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<UnheardMessage>> {
        self.within(self.hold_unheard(limit, hold)).await
    }

    async fn heard(&self, told: &[UnheardMessage]) -> Result<()> {
        self.within(self.forget_unheard(told)).await.map(|_| ())
    }

    async fn unheard(&self) -> Result<u64> {
        self.within(self.forget_unheard(&[])).await
    }

    async fn publish(&self, notices: Vec<(NodeIncarnation, Notice)>) -> Result<()> {
        self.within(self.announcer.notify(&self.upkeep.incarnation(), &notices)).await
    }

    async fn keep_ticket(&self, ticket: &str, grant: Bytes, life: Duration) -> Result<()> {
        self.within(self.keep(ticket, grant, life)).await
    }

    async fn take_ticket(&self, ticket: &str, by: &str) -> Result<Option<Bytes>> {
        self.within(self.take(ticket, by)).await
    }

    async fn return_ticket(&self, ticket: &str, by: &str) -> Result<()> {
        self.within(self.give_back(ticket, by)).await
    }

    async fn revoke(&self, batch: Vec<Revocation>) -> Result<Vec<RevokeResult>> {
        self.within(self.revoke_all(&batch)).await
    }

    async fn revocations(&self, after: u64) -> Result<RevocationPage> {
        self.within(self.revocations_after(after)).await
    }

    async fn ping(&self) -> Result<()> {
        self.upkeep.usable()?;
        tokio::try_join!(self.append.ping(), self.read.ping())?;
        Ok(())
    }
}

impl Redis {
    /// Reads the store's incarnation again if a connection was made since the
    /// last time: nothing may be announced with an old incarnation. `unsure`
    /// stays set until that has succeeded. Returns whether it was read.
    ///
    /// Before a call, so that little is written into another history, and behind it,
    /// before anybody hears of it: the call itself may have waited for a connection.
    async fn know_the_store(&self, unsure: &mut bool, reconnects: &StdMutex<Reconnections>) -> Result<bool> {
        *unsure |= reconnects.lock().unwrap_or_else(PoisonError::into_inner).any();
        let reads = *unsure;
        if reads {
            self.upkeep.look().await?;
            *unsure = false;
        }
        Ok(reads)
    }

    /// Runs a call, which fails after the timeout whatever it waits for.
    fn within<'a, T: Send + 'a>(
        &'a self,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        // Boxed at once: a call's future is large, and would be moved several
        // times.
        let call = Box::pin(call);
        async move {
            match timeout(self.timeout, call).await {
                Ok(result) => result,
                Err(_) => Err(Error::Unavailable(format!("no answer within {:?}", self.timeout))),
            }
        }
    }
}
