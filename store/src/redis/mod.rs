//! The store on Redis: one server, Sentinel or Cluster. The only place that
//! knows Redis; what it keeps there is written down in `scripts/lib`.
//!
//! In reading order: `address` (the URL), `link` (a connection with its
//! watchdog, and the running of scripts), `key` and `script`, then posting:
//! `single` (one call does it all: a server alone) and `stepwise` (number,
//! file, announce: Cluster, or with replicas to wait for) with `filing`,
//! `announce`, `repair` and `rewrite`; then reading: `session`, `inbox`, `conversation`,
//! `mark`; then `upkeep` (incarnation, live nodes) with `settings`, `bus` (a
//! node's subscription, with `tracking`), and `look` (for a check of a
//! configuration).

mod acknowledge;
mod address;
mod announce;
mod bus;
mod changed;
mod channel;
mod conversation;
mod fetch;
mod filing;
mod inbox;
mod key;
mod link;
mod look;
mod mark;
mod presence;
mod reference;
mod repair;
mod reply;
mod rewrite;
mod script;
mod session;
mod settings;
mod single;
mod step;
mod stepwise;
mod subscription;
mod ticket;
mod tracking;
mod unheard;
mod upkeep;
mod write;

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::interfaces::EventInterface;
use fred::types::config::Server;
use proto::wire::Notice;
use proto::{ConversationId, NodeIncarnation, Seq, UserId};
use tokio::sync::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::bus::connect_bus;
pub(crate) use self::look::{look, look_at_bus};
pub use self::step::Step;

use self::address::Address;
use self::announce::Announcer;
use self::link::Link;
use self::step::FailPoint;
use self::upkeep::Upkeep;
use crate::model::{
    Acknowledge, Acknowledged, Attach, Attached, Audience, Broadcast, Broadcasted, ChannelPage, ChannelQuery,
    Conversation, Detach, HistoryPage, HistoryQuery, InboxPage, InboxQuery, Location, Mark, Marked,
    Membership, Post, Posted, Seen, Unheard,
};
use crate::trouble;
use crate::unheard::Dropping;
use crate::{Bounds, Config, Error, Result, Store};

/// A router's handle on a Redis store.
pub struct Redis {
    /// Of its own, because `WAIT` blocks a connection.
    append: Link,
    read: Link,
    bounds: Bounds,
    timeout: Duration,
    replicas: u32,
    /// Whether a post is numbered, filed and announced step by step.
    separate: bool,
    fail: FailPoint,
    /// One batch at a time: the next one gathers meanwhile.
    posting: Mutex<stepwise::Notes>,
    /// As `posting`, for channels; whether the connection is a new one, and the
    /// store may be another.
    broadcasting: Mutex<bool>,
    /// As `reconnects`, for channels.
    channel_reconnects: StdMutex<Receiver<Server>>,
    /// Connections made anew, since which the store may be another one; held
    /// for a look only.
    reconnects: StdMutex<Receiver<Server>>,
    unheard: Dropping,
    announcer: Announcer,
    upkeep: Upkeep,
}

impl Redis {
    /// Connects. When Redis is away it goes on trying in the background:
    /// `ping` says when it is there.
    pub async fn connect(
        config: Config,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Arc<dyn Store>> {
        Ok(Self::open(config, tasks, shutdown).await?)
    }

    async fn open(config: Config, tasks: &TaskTracker, shutdown: CancellationToken) -> Result<Arc<Self>> {
        let address = Address::parse(&config.url, config.timeout)?;
        let append = Link::open(&address, &trouble::STORE, tasks, &shutdown);
        let read = Link::open(&address, &trouble::STORE, tasks, &shutdown);
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
            channel_reconnects: StdMutex::new(append.client().reconnect_rx()),
            reconnects: StdMutex::new(append.client().reconnect_rx()),
            unheard: Dropping::default(),
            announcer: Announcer::new(append.clone(), config.origin),
            // What it finds is of the server that is written to.
            upkeep: Upkeep::new(append.clone()),
        });
        match store.read.connected(config.timeout).await {
            Ok(()) => store.upkeep.begin(config.replicas).await?,
            Err(error) => {
                tracing::warn!(store = %config.url, %error, "the store is away; trying on in the background");
            }
        }
        tasks.spawn(upkeep::run(Arc::downgrade(&store), shutdown));
        Ok(store)
    }
}

#[async_trait]
impl Store for Redis {
    async fn post(&self, batch: Vec<Post>) -> Result<Vec<Posted>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.within(async {
            let mut notes = self.posting.lock().await;
            self.know_the_store(&mut notes.unsure, &self.reconnects).await?;
            match self.separate {
                true => self.post_stepwise(&batch, &mut notes).await,
                false => self.post_at_once(&batch).await,
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

    async fn attach(&self, batch: Vec<Attach>) -> Result<Vec<Attached>> {
        self.within(self.attach_all(&batch)).await
    }

    async fn detach(&self, batch: Vec<Detach>) -> Result<Vec<bool>> {
        self.within(self.detach_all(&batch)).await
    }

    async fn presence(&self, users: &[UserId], watcher: Option<&NodeIncarnation>) -> Result<Vec<Seen>> {
        self.within(self.presence_of(users, watcher)).await
    }

    async fn unwatch(&self, users: &[UserId], watcher: &NodeIncarnation) -> Result<()> {
        self.within(self.unwatch_all(users, watcher)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeIncarnation>> {
        Ok(self.within(self.upkeep.look_who_lives()).await?.into_iter().collect())
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Location>>> {
        self.within(self.locate_all(users)).await
    }

    async fn read_inbox(&self, batch: Vec<InboxQuery>) -> Result<Vec<InboxPage>> {
        self.within(self.read_pages(batch)).await
    }

    async fn acknowledge(&self, batch: Vec<Acknowledge>) -> Result<Vec<Acknowledged>> {
        self.within(self.acknowledge_all(&batch)).await
    }

    async fn mark(&self, batch: Vec<Mark>) -> Result<Vec<Marked>> {
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

    async fn talked(&self, ids: &[ConversationId]) -> Result<Vec<bool>> {
        self.within(self.talked_in(ids)).await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        self.within(self.memberships_of(user)).await
    }

    async fn broadcast(&self, batch: Vec<Broadcast>) -> Result<Vec<Broadcasted>> {
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

    async fn take_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<Unheard>> {
        self.within(self.hold_unheard(limit, hold)).await
    }

    async fn heard(&self, told: &[Unheard]) -> Result<()> {
        self.within(self.forget_unheard(told)).await.map(|_| ())
    }

    async fn unheard(&self) -> Result<u64> {
        self.within(self.forget_unheard(&[])).await
    }

    async fn publish(&self, notices: Vec<(NodeIncarnation, Notice)>) -> Result<()> {
        self.within(self.announcer.announce(&self.upkeep.incarnation(), &[], &notices)).await
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

    async fn ping(&self) -> Result<()> {
        self.upkeep.usable()?;
        tokio::try_join!(self.append.ping(), self.read.ping())?;
        Ok(())
    }
}

impl Redis {
    /// Looks at the store anew if a connection was made since the last look:
    /// nothing may be announced in the name of an old incarnation. `unsure`
    /// stays set until a look has succeeded.
    async fn know_the_store(&self, unsure: &mut bool, reconnects: &StdMutex<Receiver<Server>>) -> Result<()> {
        *unsure |= any(&mut reconnects.lock().unwrap_or_else(PoisonError::into_inner));
        if *unsure {
            self.upkeep.look().await?;
            *unsure = false;
        }
        Ok(())
    }

    /// No call takes longer than the timeout, whatever it waits for.
    fn within<'a, T: Send + 'a>(
        &'a self,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        // Boxed at once: a call is large, and would be moved again and again.
        let call = Box::pin(call);
        async move {
            match timeout(self.timeout, call).await {
                Ok(result) => result,
                Err(_) => Err(Error::Unavailable(format!("no answer within {:?}", self.timeout))),
            }
        }
    }
}

/// Whether there was one since the last look.
fn any(reconnects: &mut Receiver<Server>) -> bool {
    let mut any = false;
    while !matches!(reconnects.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {
        any = true;
    }
    any
}
