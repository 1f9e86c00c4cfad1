//! The one writer: takes whatever calls have gathered, applies them in one
//! transaction, and answers when that is on the disk. Between calls it lets
//! go what has grown too old.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::{Bound, UserId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channels::{ChannelSweep, ChannelTables, Published};
use super::exchange::Exchange;
use super::file::{self, Disk, StoreFile};
use super::marks;
use super::post::{News, Posting};
use super::sweep::Sweep;
use super::tables::Tables;
use super::unheard::UnheardTables;
use crate::model::{Acknowledge, Acknowledged, Broadcast, Broadcasted, Mark, Marked, Post, Posted, Unheard};
use crate::unheard::Dropping;
use crate::{Bounds, Error, Result};

/// What goes into one transaction; what is more waits for the next.
const COMMIT: Bound = Bound::new(16 << 20, 4_096);
/// How often the writer looks for what has grown too old.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The time for calls between the steps of a sweep.
const STEP_EVERY: Duration = Duration::from_millis(50);

/// A batch that waits for its transaction.
pub(super) struct Call<Q, A> {
    pub items: Vec<Q>,
    pub answer: oneshot::Sender<Result<Vec<A>>>,
}

/// What the writer does.
pub(super) enum Job {
    Post(Call<Post, Posted>),
    Acknowledge(Call<Acknowledge, Acknowledged>),
    Mark(Call<Mark, Marked>),
    Broadcast(Call<Broadcast, Broadcasted>),
    /// How many at most, and how long to hold them.
    TakeUnheard(Call<(usize, Duration), Vec<Unheard>>),
    Heard(Call<Unheard, ()>),
    /// Answers when its turn has come.
    Ping(Call<(), ()>),
}

impl Job {
    /// Bytes of its entries; what else it has is small.
    fn bytes(&self) -> usize {
        match self {
            Self::Post(call) => {
                call.items.iter().flat_map(|post| &*post.entries).map(|entry| entry.bytes.len()).sum()
            }
            Self::Broadcast(call) => call.items.iter().map(|item| item.entry.bytes.len()).sum(),
            _ => 0,
        }
    }

    fn items(&self) -> usize {
        match self {
            Self::Post(call) => call.items.len(),
            Self::Acknowledge(call) => call.items.len(),
            Self::Mark(call) => call.items.len(),
            Self::Broadcast(call) => call.items.len(),
            Self::Heard(call) => call.items.len(),
            Self::TakeUnheard(_) | Self::Ping(_) => 1,
        }
    }
}

impl Job {
    /// Answers what was not come to.
    fn refuse(self, error: Error) {
        // Nobody waits any more when a call has timed out.
        match self {
            Self::Post(call) => drop(call.answer.send(Err(error))),
            Self::Acknowledge(call) => drop(call.answer.send(Err(error))),
            Self::Mark(call) => drop(call.answer.send(Err(error))),
            Self::Broadcast(call) => drop(call.answer.send(Err(error))),
            Self::TakeUnheard(call) => drop(call.answer.send(Err(error))),
            Self::Heard(call) => drop(call.answer.send(Err(error))),
            Self::Ping(call) => drop(call.answer.send(Err(error))),
        }
    }
}

/// Waits with its result for the commit.
type Answer = Box<dyn FnOnce(Result<()>)>;

/// The writer and what it writes to.
pub(super) struct Writer {
    pub file: Arc<StoreFile>,
    pub disk: RefCell<Disk>,
    pub exchange: Arc<Exchange>,
    pub bounds: Bounds,
    pub unheard: Dropping,
}

/// What is to be announced.
struct Committed {
    /// Something was written at all.
    written: bool,
    news: Vec<News>,
    published: Vec<Published>,
}

impl Writer {
    /// Runs on a thread of its own until `shutdown` or until nobody is left to
    /// ask; what was queued by then is still done.
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>, shutdown: &CancellationToken) {
        let runtime = Handle::current();
        let (mut sweep, mut channels) = (Sweep::default(), ChannelSweep::default());
        let mut next_sweep = Instant::now() + SWEEP_EVERY;
        loop {
            let open_at = self.disk.borrow().open_at();
            let job = runtime.block_on(async {
                tokio::select! {
                    biased;
                    // First what a queue that is never empty must not put off.
                    () = shutdown.cancelled(), if !jobs.is_closed() => Woken::Shutdown,
                    () = tokio::time::sleep_until(open_at.unwrap_or(next_sweep)), if open_at.is_some() => Woken::Open,
                    () = tokio::time::sleep_until(next_sweep) => Woken::Sweep,
                    job = jobs.recv() => Woken::Job(job),
                }
            });
            match job {
                Woken::Job(Some(job)) => {
                    self.look_after_file();
                    self.commit(gather(job, &mut jobs));
                }
                Woken::Job(None) => return self.keep_last_seen(),
                Woken::Shutdown => jobs.close(),
                Woken::Open => self.look_after_file(),
                Woken::Sweep => {
                    self.keep_last_seen();
                    let now = now();
                    let database = self.file.database();
                    let old = database.clone().and_then(|file| sweep.step(&file, &self.bounds, now));
                    let old_publications = database.and_then(|file| channels.step(&file, &self.bounds, now));
                    let more = [old, old_publications].map(|more| {
                        more.unwrap_or_else(|error| {
                            self.disk.borrow_mut().failed(&error);
                            tracing::debug!(%error, "cannot let go of what is too old");
                            false
                        })
                    });
                    let more = more.contains(&true);
                    next_sweep = Instant::now() + if more { STEP_EVERY } else { SWEEP_EVERY };
                }
            }
        }
    }

    /// Opens the file again, if a write has failed and it is time to. That write
    /// may be there nevertheless, and nobody has been told of it.
    fn look_after_file(&self) {
        if self.disk.borrow_mut().open_again(&self.file) {
            self.exchange.doubt();
        }
    }

    /// Writes down whose last session has ended since the last time. A crash
    /// loses what has not been written: their time is that of the end before.
    fn keep_last_seen(&self) {
        let ended = self.exchange.ended();
        if ended.is_empty() {
            return;
        }
        match self.write_last_seen(&ended) {
            Ok(()) => self.exchange.kept(&ended),
            Err(error) => {
                self.disk.borrow_mut().failed(&error);
                tracing::debug!(%error, "cannot keep when users were last seen");
            }
        }
    }

    fn write_last_seen(&self, ended: &[(UserId, u64)]) -> Result<()> {
        let database = self.file.database()?;
        let txn = database.begin_write()?;
        {
            let mut tables = Tables::open(&txn)?;
            for (user, time) in ended {
                tables.last_seen.insert(user.as_str(), time)?;
            }
        }
        txn.commit()?;
        Ok(())
    }

    pub(super) fn commit(&self, jobs: Vec<Job>) {
        let mut answers = Vec::with_capacity(jobs.len());
        let pings = jobs.iter().any(|job| matches!(job, Job::Ping(_)));
        let mut jobs = jobs.into_iter();
        match self.apply(&mut jobs, pings, &mut answers) {
            Ok(committed) => {
                if committed.written {
                    self.disk.borrow_mut().worked();
                }
                self.exchange.announce(committed.news);
                self.exchange.announce_publications(committed.published);
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                self.disk.borrow_mut().failed(&error);
                answers.into_iter().for_each(|answer| answer(Err(error.clone())));
                jobs.for_each(|job| job.refuse(error.clone()));
            }
        }
    }

    /// One transaction; when it returns, everything is on the disk or nothing.
    fn apply(
        &self,
        jobs: &mut std::vec::IntoIter<Job>,
        pings: bool,
        answers: &mut Vec<Answer>,
    ) -> Result<Committed> {
        // Whoever asks whether the store is well is told the truth of the disk.
        let mut written = pings && self.disk.borrow().is_failing();
        if written {
            file::probe(&self.file)?;
        }
        let database = self.file.database()?;
        let txn = database.begin_write()?;
        let mut published = Vec::new();
        let news = {
            let mut tables = Tables::open(&txn)?;
            let mut channels = ChannelTables::open(&txn)?;
            let mut unheard = UnheardTables::open(&txn)?;
            let next_log = tables.next_log()?;
            let mut posting = Posting {
                tables: &mut tables,
                bounds: &self.bounds,
                now: now(),
                next_log,
                store: self.exchange.store(),
                news: Vec::new(),
            };
            for job in jobs {
                match job {
                    Job::Post(call) => answers.push(each(call, |item| posting.apply(item))?),
                    Job::Acknowledge(call) => answers.push(each(call, |item| {
                        let noted = marks::acknowledge(posting.tables, &self.bounds, posting.now, item)?;
                        written |= noted.written;
                        Ok(noted.answer)
                    })?),
                    Job::Mark(call) => answers.push(each(call, |item| {
                        let marked = marks::mark(posting.tables, &self.bounds, posting.now, item)?;
                        written |= marked == Marked::Advanced;
                        Ok(marked)
                    })?),
                    Job::Broadcast(call) => answers.push(each(call, |item| {
                        let done = channels.broadcast(item, &self.bounds, posting.now)?;
                        if !done.duplicate {
                            written = true;
                            let (channel, entry) = (item.channel.clone(), item.entry.bytes.clone());
                            published.push(Published { channel, seq: done.seq, entry });
                        }
                        Ok(done)
                    })?),
                    Job::TakeUnheard(call) => answers.push(each(call, |(limit, hold)| {
                        let taken = unheard.take(*limit, *hold, posting.now)?;
                        written |= !taken.is_empty();
                        Ok(taken)
                    })?),
                    Job::Heard(call) => answers.push(each(call, |told| {
                        written = true;
                        unheard.heard(told)
                    })?),
                    Job::Ping(call) => answers.push(each(call, |()| Ok(()))?),
                }
            }
            if self.bounds.unheard > 0 && !posting.news.is_empty() {
                let dropped =
                    unheard.note(&posting.news, &self.exchange, self.bounds.unheard, posting.now)?;
                self.unheard.dropped(dropped);
            }
            posting.news
        };
        // Repeats and refusals write nothing, and nothing needs no fsync.
        written |= !news.is_empty();
        if written {
            txn.commit()?;
        } else {
            txn.abort()?;
        }
        Ok(Committed { written, news, published })
    }
}

enum Woken {
    Open,
    Job(Option<Job>),
    Shutdown,
    Sweep,
}

/// The first job and whatever else has gathered.
fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut load = COMMIT.load();
    load.take(first.bytes(), first.items());
    let mut gathered = vec![first];
    while !load.is_full() {
        let Ok(job) = jobs.try_recv() else { break };
        load.take(job.bytes(), job.items());
        gathered.push(job);
    }
    gathered
}

/// Applies each item of a call; the answer waits for the commit.
fn each<Q, A: 'static>(call: Call<Q, A>, mut apply: impl FnMut(&Q) -> Result<A>) -> Result<Answer> {
    let answers = call.items.iter().map(&mut apply).collect::<Result<Vec<A>>>();
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => {
            // Nobody waits any more when the call has timed out.
            let _ = call.answer.send(Err(error.clone()));
            return Err(error);
        }
    };
    let sender = call.answer;
    Ok(Box::new(move |committed: Result<()>| {
        let _ = sender.send(committed.map(|()| answers));
    }))
}

/// Unix milliseconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
