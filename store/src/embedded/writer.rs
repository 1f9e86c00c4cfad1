//! The one writer: takes all calls that have gathered, applies them as one batch,
//! and answers when that is on disk. Between calls it removes what is too old.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use proto::{Bound, Revocation, Time, UserId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channels::{ChannelSweep, ChannelTables, PendingPublication};
use super::exchange::Exchange;
use super::file::{self, Disk, StoreFile};
use super::journal::Writes;
use super::long::LongTransaction;
use super::marks;
use super::post::{PendingAnnouncement, Posting};
use super::revocation::RevocationTables;
use super::sweep::Sweep;
use super::tables::Tables;
use super::unheard::UnheardTables;
use crate::model::{
    Acknowledge, AcknowledgeResult, Broadcast, BroadcastResult, Mark, MarkResult, Post, PostResult,
    RevokeResult, UnheardMessage,
};
use crate::unheard::DropCounter;
use crate::{Bounds, Error, Result};

/// The limits of one batch; more calls wait for the next one.
const BATCH: Bound = Bound::new(16 << 20, 4_096);
/// What was kept in the journal goes into the tables' file at the latest after
/// so long. The longer, the more writes of the same page become one; the
/// shorter, the sooner that is done.
const SETTLE_AFTER: Duration = Duration::from_secs(1);
/// The time between two sweeps for what is too old.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The time between two steps of a sweep, for calls.
const STEP_EVERY: Duration = Duration::from_millis(50);

/// A call that waits for its batch.
pub(super) struct Call<Q, A> {
    pub items: Vec<Q>,
    pub answer: oneshot::Sender<Result<Vec<A>>>,
}

/// A job for the writer.
pub(super) enum Job {
    Post(Call<Post, PostResult>),
    Acknowledge(Call<Acknowledge, AcknowledgeResult>),
    Mark(Call<Mark, MarkResult>),
    Broadcast(Call<Broadcast, BroadcastResult>),
    /// Items: the most messages to take, and how long to hold them.
    TakeUnheard(Call<(usize, Duration), Vec<UnheardMessage>>),
    Heard(Call<UnheardMessage, ()>),
    Revoke(Call<Revocation, RevokeResult>),
    /// Answers when its batch is done.
    Ping(Call<(), ()>),
    /// Answers when reads see everything that was answered or announced before.
    Show(Call<(), ()>),
}

impl Job {
    /// The bytes of its entries; everything else is small.
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
            Self::Revoke(call) => call.items.len(),
            Self::TakeUnheard(_) | Self::Ping(_) | Self::Show(_) => 1,
        }
    }
}

impl Job {
    /// Fails a job that was not started.
    fn refuse(self, error: Error) {
        // A call that has timed out does not wait any more.
        match self {
            Self::Post(call) => drop(call.answer.send(Err(error))),
            Self::Acknowledge(call) => drop(call.answer.send(Err(error))),
            Self::Mark(call) => drop(call.answer.send(Err(error))),
            Self::Broadcast(call) => drop(call.answer.send(Err(error))),
            Self::TakeUnheard(call) => drop(call.answer.send(Err(error))),
            Self::Heard(call) => drop(call.answer.send(Err(error))),
            Self::Revoke(call) => drop(call.answer.send(Err(error))),
            Self::Ping(call) | Self::Show(call) => drop(call.answer.send(Err(error))),
        }
    }
}

/// Sends the results of a call, given the result of its batch.
type Answer = Box<dyn FnOnce(Result<()>)>;

/// The writer, and what it needs.
pub(super) struct Writer {
    pub file: Arc<StoreFile>,
    pub transaction: RefCell<LongTransaction>,
    pub disk: RefCell<Disk>,
    pub exchange: Arc<Exchange>,
    pub bounds: Bounds,
    pub unheard: DropCounter,
}

/// What a batch wrote, to be announced.
struct BatchOutcome {
    announcements: Vec<PendingAnnouncement>,
    published: Vec<PendingPublication>,
}

impl Writer {
    /// Runs on a thread of its own until `shutdown`, or until no sender of jobs
    /// is left. Jobs that are queued then are still done.
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>, shutdown: &CancellationToken) {
        let runtime = Handle::current();
        let (mut sweep, mut channels) = (Sweep::default(), ChannelSweep::default());
        let mut next_sweep = Instant::now() + SWEEP_EVERY;
        loop {
            let open_at = self.disk.borrow().open_at();
            let due = self.transaction.borrow().due(SETTLE_AFTER);
            let job = runtime.block_on(async {
                tokio::select! {
                    biased;
                    // In this order, so that a queue that is never empty delays
                    // nothing else.
                    () = shutdown.cancelled(), if !jobs.is_closed() => WakeUp::Shutdown,
                    () = tokio::time::sleep_until(open_at.unwrap_or(next_sweep)), if open_at.is_some() => WakeUp::Open,
                    () = tokio::time::sleep_until(due.unwrap_or(next_sweep)), if due.is_some() => WakeUp::Settle,
                    () = tokio::time::sleep_until(next_sweep) => WakeUp::Sweep,
                    job = jobs.recv() => WakeUp::Job(job),
                }
            });
            match job {
                WakeUp::Job(Some(job)) => {
                    self.look_after_file();
                    self.commit(gather(job, &mut jobs));
                }
                WakeUp::Job(None) => {
                    self.settle();
                    return self.keep_last_seen();
                }
                WakeUp::Shutdown => jobs.close(),
                WakeUp::Open => self.look_after_file(),
                WakeUp::Settle => {
                    self.settle();
                }
                WakeUp::Sweep => {
                    next_sweep = Instant::now() + SWEEP_EVERY;
                    // What follows is not in the journal, which must not undo it.
                    if !self.settle() {
                        continue;
                    }
                    self.keep_last_seen();
                    let now = Time::now().0;
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

    /// Opens the file again, if a write has failed and it is time. That write
    /// may be stored nevertheless, and was not announced: all sessions read on.
    pub(super) fn look_after_file(&self) {
        if self.disk.borrow().open_at().is_some_and(|at| at <= Instant::now()) {
            // Whatever is opened has only what was settled.
            self.transaction.borrow_mut().failed();
        }
        if self.disk.borrow_mut().open_again(&self.file) {
            self.exchange.announce_loss();
        }
    }

    /// Commits what was kept to the tables' file. Returns whether all is there.
    pub(super) fn settle(&self) -> bool {
        let settled = self.transaction.borrow_mut().settle();
        let Err(error) = settled else { return true };
        self.failed(&error);
        tracing::debug!(%error, "cannot settle what the journal has");
        false
    }

    /// A batch or a commit has failed.
    fn failed(&self, error: &Error) {
        self.transaction.borrow_mut().failed();
        self.disk.borrow_mut().failed(error);
    }

    /// Stores when users' last sessions have ended. A crash loses those not
    /// stored yet: the end before remains.
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
            let writes = Writes::default();
            let mut tables = Tables::open(&txn, &writes)?;
            for (user, time) in ended {
                tables.last_seen.insert(user.as_str(), time)?;
            }
        }
        txn.commit()?;
        Ok(())
    }

    pub(super) fn commit(&self, jobs: Vec<Job>) {
        let mut answers = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter();
        match self.apply(&mut jobs, &mut answers) {
            Ok(done) => {
                self.exchange.announce(done.announcements);
                self.exchange.announce_publications(done.published);
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                self.failed(&error);
                answers.into_iter().for_each(|answer| answer(Err(error.clone())));
                jobs.for_each(|job| job.refuse(error.clone()));
            }
        }
    }

    /// Applies jobs as one batch. When it returns, either everything is on disk
    /// or nothing.
    fn apply(&self, jobs: &mut std::vec::IntoIter<Job>, answers: &mut Vec<Answer>) -> Result<BatchOutcome> {
        let mut transaction = self.transaction.borrow_mut();
        let failing = self.disk.borrow().is_failing();
        let asked = |which: fn(&Job) -> bool| jobs.as_slice().iter().any(which);
        let shows = asked(|job| matches!(job, Job::Show(_)));
        // A ping must tell the truth about the disk.
        if failing && asked(|job| matches!(job, Job::Ping(_))) {
            transaction.restore()?;
            file::probe(&self.file)?;
            self.disk.borrow_mut().worked();
        }
        let txn = transaction.begin()?;
        let writes = Writes::default();
        let mut published = Vec::new();
        let announcements = {
            let mut tables = Tables::open(&txn, &writes)?;
            let mut channels = ChannelTables::open(&txn, &writes)?;
            let mut unheard = UnheardTables::open(&txn, &writes)?;
            let next_log = tables.next_log()?;
            let mut posting = Posting {
                tables: &mut tables,
                bounds: &self.bounds,
                now: Time::now().0,
                next_log,
                store: self.exchange.store(),
                announcements: Vec::new(),
            };
            for job in jobs {
                match job {
                    Job::Post(call) => answers.push(each(call, |item| posting.apply(item))?),
                    Job::Acknowledge(call) => answers.push(each(call, |item| {
                        marks::acknowledge(posting.tables, &self.bounds, posting.now, posting.store, item)
                    })?),
                    Job::Mark(call) => answers.push(each(call, |item| {
                        marks::mark(posting.tables, &self.bounds, posting.now, item)
                    })?),
                    Job::Broadcast(call) => answers.push(each(call, |item| {
                        let done = channels.broadcast(item, &self.bounds, posting.now)?;
                        if !done.duplicate {
                            let (channel, entry) = (item.channel.clone(), item.entry.bytes.clone());
                            published.push(PendingPublication { channel, seq: done.seq, entry });
                        }
                        Ok(done)
                    })?),
                    Job::TakeUnheard(call) => {
                        answers.push(each(call, |(limit, hold)| unheard.take(*limit, *hold, posting.now))?)
                    }
                    Job::Heard(call) => answers.push(each(call, |told| unheard.heard(told))?),
                    Job::Revoke(call) => {
                        // Too rare to open its tables for every batch.
                        let mut revoked = RevocationTables::open(&txn, &writes)?;
                        let most = self.bounds.revocations;
                        answers.push(each(call, |item| revoked.revoke(item, most, posting.now))?);
                    }
                    Job::Ping(call) | Job::Show(call) => answers.push(each(call, |()| Ok(()))?),
                }
            }
            if self.bounds.unheard > 0 && !posting.announcements.is_empty() {
                let dropped =
                    unheard.note(&posting.announcements, &self.exchange, self.bounds.unheard, posting.now)?;
                self.unheard.dropped(dropped);
            }
            posting.announcements
        };
        if failing && !writes.is_empty() {
            // Only the file itself shows that the disk is well again.
            transaction.commit(txn)?;
            self.disk.borrow_mut().worked();
        } else {
            transaction.keep(txn, &writes)?;
        }
        if shows {
            transaction.show()?;
        }
        Ok(BatchOutcome { announcements, published })
    }
}

enum WakeUp {
    Open,
    Job(Option<Job>),
    Settle,
    Shutdown,
    Sweep,
}

/// The first job and all others that have gathered, within the limits.
fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut load = BATCH.load();
    load.take(first.bytes(), first.items());
    let mut gathered = vec![first];
    while !load.is_full() {
        let Ok(job) = jobs.try_recv() else { break };
        load.take(job.bytes(), job.items());
        gathered.push(job);
    }
    gathered
}

/// Applies each item of a call. The results wait for the end of the batch.
fn each<Q, A: 'static>(call: Call<Q, A>, mut apply: impl FnMut(&Q) -> Result<A>) -> Result<Answer> {
    let answers = call.items.iter().map(&mut apply).collect::<Result<Vec<A>>>();
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => {
            // A call that has timed out does not wait any more.
            let _ = call.answer.send(Err(error.clone()));
            return Err(error);
        }
    };
    let sender = call.answer;
    Ok(Box::new(move |kept: Result<()>| {
        let _ = sender.send(kept.map(|()| answers));
    }))
}
