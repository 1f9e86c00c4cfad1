//! The embedded store: one process, durable in one file. A single writer
//! commits to a redb database, and the bus stays in the process.
//!
//! In reading order: [`tables`] (the file's tables), [`post`] and [`inbox`]
//! (numbering and filing), [`amend`], [`marks`], [`changed`], [`history`],
//! [`channels`], [`unheard`], [`revocation`] (tokens that are not believed any more),
//! [`writer`] (many calls in one batch), [`journal`]
//! and [`long`] (what makes a batch safe), [`sweep`] (removes what is too old),
//! [`exchange`] (sessions and the bus), [`file`](mod@file) and [`growing`] (the
//! tables' file, and what happens when the disk fails).

mod alone;
mod amend;
mod changed;
mod channels;
mod exchange;
mod failure;
mod file;
mod form;
mod growing;
mod history;
mod inbox;
mod journal;
mod long;
mod look;
mod marks;
mod page;
mod post;
pub mod private;
mod revocation;
mod sweep;
mod tables;
mod tickets;
mod unheard;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::wire::Notice;
use proto::{ConversationId, NodeIncarnation, Revocation, Seq, Time, UserId, weight};
use redb::{Database, ReadTransaction, ReadableTable};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{
    Absence, Acknowledge, AcknowledgeResult, Attach, AttachResult, Audience, Broadcast, BroadcastResult,
    ChannelPage, ChannelQuery, Conversation, Detach, HistoryPage, HistoryQuery, InboxPage, InboxQuery,
    Location, Mark, MarkResult, Membership, Post, PostKind, PostResult, PresenceRecord, RevocationPage,
    RevokeResult, Standing, StartPoint, UnheardMessage,
};
use crate::revocations::notices;
use crate::{Bounds, Bus, Config, Error, Peers, Result, Store, Subscription, Url, trouble};
#[cfg(any(test, fuzzing))]
pub use journal::fuzzing::journals;
pub(crate) use look::look;

use alone::Alone;
use exchange::{Exchange, LivePresence, Registration};
use file::StoreFile;
use growing::GrowingFile;
use long::LongTransaction;
use page::{first_page, page};
use tickets::Tickets;
use writer::{Call, Job, Writer};

/// The file's name in the store's folder.
const FILE: &str = "switchboard.redb";
/// The most calls that wait for the writer. When there are more, they wait to
/// be queued, at most for the configured timeout.
const QUEUE: usize = 1024;
/// The most reads that run at the same time; more wait.
const READERS: usize = 16;
/// Bytes of the file that are cached in memory.
const CACHE: usize = 128 * 1024 * 1024;

/// The embedded store, which is its own bus.
pub struct Embedded {
    file: Arc<StoreFile>,
    exchange: Arc<Exchange>,
    jobs: mpsc::Sender<Job>,
    readers: Arc<Semaphore>,
    tickets: Tickets,
    tasks: TaskTracker,
    timeout: Duration,
    bounds: Bounds,
}

impl Embedded {
    /// Opens the store in the folder of `config.url`, which is made if it is
    /// missing. After `shutdown` the store finishes what was queued and answers
    /// `Unavailable` to later calls, so cancel it last. Fails when the file is
    /// in use, has another format or cannot be opened.
    pub async fn open(config: Config, shutdown: CancellationToken) -> Result<Arc<Self>> {
        let Url::Embedded(folder) = config.url else {
            return Err(Error::Config("the embedded store needs a folder: `embedded:PATH`".into()));
        };
        let tasks = TaskTracker::new();
        let path = folder;
        let opened = tasks.spawn_blocking(move || {
            let (database, incarnation) = open_file(&path)?;
            let file = Arc::new(StoreFile::new(path, database));
            let mut transaction = LongTransaction::new(file.clone());
            transaction.restore()?;
            Ok::<_, Error>((file, transaction, incarnation))
        });
        let opened = opened.await.map_err(|error| Error::Unavailable(error.to_string()))?;
        let (file, transaction, incarnation) = opened?;
        let exchange = Arc::new(Exchange::new(incarnation));
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            file: file.clone(),
            transaction: transaction.into(),
            disk: Default::default(),
            exchange: exchange.clone(),
            bounds: config.bounds,
            unheard: Default::default(),
        };
        tasks.spawn_blocking(move || writer.run(queue, &shutdown));
        Ok(Arc::new(Self {
            file,
            exchange,
            jobs,
            readers: Arc::new(Semaphore::new(READERS)),
            tickets: Tickets::default(),
            tasks,
            timeout: config.timeout,
            bounds: config.bounds,
        }))
    }

    /// Waits, after `shutdown`, until nothing is written or read any more.
    pub async fn closed(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Gives a job to the writer and waits for its commit.
    async fn write<Q, A>(&self, items: Vec<Q>, job: impl FnOnce(Call<Q, A>) -> Job) -> Result<Vec<A>> {
        let (answer, answered) = oneshot::channel();
        let job = job(Call { items, answer });
        let done = async {
            self.jobs.send(job).await.map_err(|_| stopped())?;
            answered.await.map_err(|_| stopped())?
        };
        tokio::time::timeout(self.timeout, done).await.map_err(|_| late())?
    }

    /// Reads in a transaction of its own, on a blocking thread. It sees all that
    /// was answered or announced before.
    async fn read<T: Send + 'static>(
        &self,
        mut read: impl FnOnce(&ReadTransaction) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = async {
            loop {
                if self.file.is_hiding() {
                    self.write(vec![()], Job::Show).await?;
                }
                let permit = self.readers.clone().acquire_owned().await.map_err(|_| stopped())?;
                let file = self.file.clone();
                let task = self.tasks.spawn_blocking(move || {
                    let _permit = permit;
                    match file.begin_read() {
                        Ok(Some(txn)) => Ok(read(&txn)),
                        // The file was opened again meanwhile.
                        Ok(None) => Err(read),
                        Err(error) => Ok(Err(error)),
                    }
                });
                match task.await.map_err(|_| stopped())? {
                    Ok(result) => return result,
                    Err(not_yet) => read = not_yet,
                }
            }
        };
        tokio::time::timeout(self.timeout, done).await.map_err(|_| late())?
    }
}

#[async_trait]
impl Store for Embedded {
    async fn post(&self, batch: Vec<Post>) -> Result<Vec<PostResult>> {
        for post in &batch {
            let fits = match post.kind {
                PostKind::Message { .. } | PostKind::Amend { .. } => post.entries.len() == 1,
                PostKind::Change(_) => !post.entries.is_empty(),
            };
            if !fits {
                return Err(Error::Config("a message has one entry, a change at least one".into()));
            }
        }
        self.write(batch, Job::Post).await
    }

    /// One transaction numbers and files, so nothing is ever left half done.
    async fn settle(&self, _: &ConversationId) -> Result<()> {
        Ok(())
    }

    async fn repair(&self, _age: Duration) -> Result<usize> {
        Ok(0)
    }

    async fn attach(&self, batch: Vec<Attach>) -> Result<Vec<AttachResult>> {
        // Invariant: the location is noted before the head is read, and the
        // writer announces after its commit. So an event is below the head that
        // is read here, or announced to this session, or both.
        let mut before = Vec::with_capacity(batch.len());
        let bounds = self.bounds;
        for item in &batch {
            let noted = |location| self.exchange.attach(&item.user, location, bounds.sessions);
            before.push(item.location.clone().map(noted));
        }
        let with_page = |item: &Attach| item.location.is_some() && item.from != StartPoint::Head;
        self.read(move |txn| {
            let most = weight::page_of(batch.iter().filter(|item| with_page(item)).count());
            let mut attached = Vec::with_capacity(batch.len());
            for (item, before) in batch.iter().zip(before) {
                let start = inbox::resolve(txn, item)?;
                let (replaced, absence) = match before {
                    None => (Vec::new(), None),
                    Some(Registration { replaced, known }) => (replaced, absence(txn, &item.user, known)?),
                };
                let paged = with_page(item) && start.reset.is_none();
                attached.push(AttachResult {
                    start: start.cursor,
                    reset: start.reset,
                    head: start.head,
                    replaced,
                    absence,
                    acknowledged: start.acknowledged,
                    // If the page cannot be read, the gateway asks for it.
                    page: paged
                        .then(|| first_page(txn, &bounds, &item.user, start.cursor, most).ok())
                        .flatten(),
                });
            }
            Ok(attached)
        })
        .await
    }

    async fn detach(&self, batch: Vec<Detach>) -> Result<Vec<bool>> {
        Ok(batch.iter().map(|item| self.exchange.detach(&item.user, &item.session)).collect())
    }

    async fn presence(
        &self,
        users: &[UserId],
        watcher: Option<&NodeIncarnation>,
    ) -> Result<Vec<PresenceRecord>> {
        let known: Vec<_> =
            users.iter().map(|user| (user.clone(), self.exchange.presence(user, watcher))).collect();
        self.read(move |txn| known.into_iter().map(|(user, known)| seen(txn, &user, known)).collect()).await
    }

    async fn unwatch(&self, users: &[UserId], watcher: &NodeIncarnation) -> Result<()> {
        self.exchange.unwatch(users, watcher);
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeIncarnation>> {
        Ok(self.exchange.nodes())
    }

    async fn locate(&self, users: &[UserId]) -> Result<Vec<Vec<Location>>> {
        Ok(users.iter().map(|user| self.exchange.locate(user)).collect())
    }

    async fn read_inbox(&self, batch: Vec<InboxQuery>) -> Result<Vec<InboxPage>> {
        let (exchange, bounds) = (self.exchange.clone(), self.bounds);
        self.read(move |txn| {
            let most = weight::page_of(batch.len());
            let page = |query: &InboxQuery| {
                let standing = match &query.session {
                    Some((session, device)) => exchange.standing(&query.user, session, device),
                    None => Standing::Registered,
                };
                page(txn, &bounds, query, standing, most)
            };
            batch.iter().map(page).collect()
        })
        .await
    }

    async fn acknowledge(&self, batch: Vec<Acknowledge>) -> Result<Vec<AcknowledgeResult>> {
        // With the farthest first, the others of the same user find their work
        // done.
        let (order, batch) = farthest_first(batch, |item| item.cursor.position.0);
        Ok(in_order(order, self.write(batch, Job::Acknowledge).await?))
    }

    async fn mark(&self, batch: Vec<Mark>) -> Result<Vec<MarkResult>> {
        let (order, batch) = farthest_first(batch, |item| item.seq.0);
        Ok(in_order(order, self.write(batch, Job::Mark).await?))
    }

    async fn history(&self, query: HistoryQuery) -> Result<Option<HistoryPage>> {
        self.read(move |txn| history::history(txn, &query)).await
    }

    async fn conversations(
        &self,
        ids: &[ConversationId],
        reader: Option<&UserId>,
    ) -> Result<Vec<Option<Conversation>>> {
        let (ids, reader) = (ids.to_vec(), reader.cloned());
        self.read(move |txn| history::states(txn, &ids, reader.as_ref())).await
    }

    async fn members(&self, groups: &[ConversationId]) -> Result<Vec<Vec<UserId>>> {
        let groups = groups.to_vec();
        self.read(move |txn| groups.iter().map(|group| history::members_of(txn, group)).collect()).await
    }

    async fn talked(&self, ids: &[ConversationId]) -> Result<Vec<bool>> {
        let ids = ids.to_vec();
        self.read(move |txn| ids.iter().map(|id| history::talked(txn, id)).collect()).await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        let user = user.clone();
        self.read(move |txn| history::memberships(txn, &user)).await
    }

    async fn broadcast(&self, batch: Vec<Broadcast>) -> Result<Vec<BroadcastResult>> {
        self.write(batch, Job::Broadcast).await
    }

    async fn join_channels(&self, batch: Vec<Audience>) -> Result<Vec<Seq>> {
        // Invariant: as in `attach`, the node is in the audience before the
        // head is read.
        for audience in &batch {
            self.exchange.join_channel(&audience.channel, &audience.node);
        }
        self.read(move |txn| batch.iter().map(|audience| channels::head(txn, &audience.channel)).collect())
            .await
    }

    async fn leave_channels(&self, batch: Vec<Audience>) -> Result<()> {
        for audience in &batch {
            self.exchange.leave_channel(&audience.channel, &audience.node);
        }
        Ok(())
    }

    async fn read_channels(&self, batch: Vec<ChannelQuery>) -> Result<Vec<ChannelPage>> {
        self.read(move |txn| {
            let most = weight::page_of(batch.len());
            batch.iter().map(|query| channels::read(txn, query, most)).collect()
        })
        .await
    }

    async fn take_unheard(&self, limit: usize, hold: Duration) -> Result<Vec<UnheardMessage>> {
        let taken = self.write(vec![(limit, hold)], Job::TakeUnheard).await?;
        Ok(taken.into_iter().flatten().collect())
    }

    async fn heard(&self, told: &[UnheardMessage]) -> Result<()> {
        if !told.is_empty() {
            self.write(told.to_vec(), Job::Heard).await?;
        }
        Ok(())
    }

    async fn unheard(&self) -> Result<u64> {
        self.read(unheard::count).await
    }

    async fn publish(&self, notices: Vec<(NodeIncarnation, Notice)>) -> Result<()> {
        self.exchange.publish(notices);
        Ok(())
    }

    async fn keep_ticket(&self, ticket: &str, grant: Bytes, life: Duration) -> Result<()> {
        self.tickets.keep(ticket, grant, life);
        Ok(())
    }

    async fn take_ticket(&self, ticket: &str, by: &str) -> Result<Option<Bytes>> {
        Ok(self.tickets.take(ticket, by))
    }

    async fn return_ticket(&self, ticket: &str, by: &str) -> Result<()> {
        self.tickets.give_back(ticket, by);
        Ok(())
    }

    async fn revoke(&self, batch: Vec<Revocation>) -> Result<Vec<RevokeResult>> {
        let results = self.write(batch.clone(), Job::Revoke).await?;
        let stored = batch.iter().zip(&results).filter(|(_, result)| **result == RevokeResult::Done);
        let nodes = self.exchange.nodes();
        self.exchange.publish(notices(&nodes, stored.map(|(revocation, _)| revocation)));
        Ok(results)
    }

    async fn revocations(&self, after: u64) -> Result<RevocationPage> {
        self.read(move |txn| revocation::page(txn, after)).await
    }

    async fn ping(&self) -> Result<()> {
        match self.write(vec![()], Job::Ping).await {
            Err(Error::Unavailable(why)) => Err(Error::Unavailable(trouble::STORE.now().unwrap_or(why))),
            done => done.map(|_| ()),
        }
    }
}

#[async_trait]
impl Bus for Embedded {
    async fn subscribe(&self, node: NodeIncarnation) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(self.exchange.subscribe(node)))
    }

    fn peers(&self) -> Arc<dyn Peers> {
        Arc::new(Alone)
    }
}

/// A user's presence, with what the file knows of it.
fn seen(txn: &ReadTransaction, user: &UserId, known: LivePresence) -> Result<PresenceRecord> {
    let ended = match known.ended {
        Some(time) => Some(time),
        None => txn.open_table(tables::LAST_SEEN)?.get(user.as_str())?.map(|row| row.value()),
    };
    let ended = ended.map(|time| (Time(time), Time::now().since(Time(time))));
    Ok(PresenceRecord { here: known.here, ended, watchers: known.watchers })
}

/// The absence of a user; `None` if the user has a session.
fn absence(txn: &ReadTransaction, user: &UserId, known: LivePresence) -> Result<Option<Absence>> {
    let seen = seen(txn, user, known)?;
    let ended_ago = seen.ended.map(|(_, ago)| ago);
    Ok((!seen.here).then_some(Absence { ended_ago, watchers: seen.watchers }))
}

/// Sorts a batch so that what reaches farthest comes first. Also returns the
/// former index of each item.
fn farthest_first<T>(batch: Vec<T>, reach: impl Fn(&T) -> u64) -> (Vec<usize>, Vec<T>) {
    let mut batch: Vec<(usize, T)> = batch.into_iter().enumerate().collect();
    batch.sort_by_key(|(_, item)| std::cmp::Reverse(reach(item)));
    batch.into_iter().unzip()
}

/// Puts results in the order that [`farthest_first`] was given.
fn in_order<T>(order: Vec<usize>, answers: Vec<T>) -> Vec<T> {
    let mut answers: Vec<(usize, T)> = order.into_iter().zip(answers).collect();
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn stopped() -> Error {
    Error::Unavailable("the embedded store has stopped".into())
}

fn late() -> Error {
    Error::Unavailable("the embedded store did not answer in time".into())
}

/// Opens or makes the file, without looking at its tables.
fn open_database(folder: &Path) -> Result<Database> {
    let path = folder.join(FILE);
    let file = private::file(&path)
        .map_err(|error| Error::Unavailable(format!("cannot open {}: {error}", path.display())))?;
    Ok(Database::builder().set_cache_size(CACHE).create_with_backend(GrowingFile::new(file)?)?)
}

/// Opens or makes the file with all its tables, and returns the store's
/// incarnation.
fn open_file(folder: &Path) -> Result<(Database, String)> {
    private::folder(folder)
        .map_err(|error| Error::Config(format!("cannot make the folder {}: {error}", folder.display())))?;
    let database = open_database(folder)?;
    let txn = database.begin_write()?;
    let incarnation = {
        let writes = journal::Writes::default();
        drop(tables::Tables::open(&txn, &writes)?);
        drop(channels::ChannelTables::open(&txn, &writes)?);
        drop(unheard::UnheardTables::open(&txn, &writes)?);
        drop(revocation::RevocationTables::open(&txn, &writes)?);
        let mut meta = txn.open_table(tables::META)?;
        form::writable(&mut meta)?;
        let known = meta.get("incarnation")?.map(|row| row.value().to_owned());
        let incarnation = known.unwrap_or_else(|| format!("{:016x}.1", rand::random::<u64>()));
        meta.insert("incarnation", incarnation.as_str())?;
        incarnation
    };
    txn.commit()?;
    Ok((database, incarnation))
}
