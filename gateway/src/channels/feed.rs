//! The feed: one channel on this node, from the first subscriber to the last. A
//! task joins the channel's audience, passes each publication on once and in
//! order to all subscribers, reads missing ones from the log, and leaves.
//!
//! Invariant: only this task changes how far the node has passed on. So what it
//! asked the store about is still true when the answer comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use daemon::Backoff;
use daemon::lock::{LEAF, Lock, LockGuard};
use proto::wire::{self, request};
use proto::{ChannelId, Seq, SessionId, UserId};
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::Channels;
use super::log::{Early, Next, Passed};
use crate::metrics;
use crate::order;
use crate::protocol::failure::Failure;
use crate::protocol::publication::Publication;
use crate::session::Session;
use crate::session::channel_page::Page;

/// How long a publication waits for an earlier one before the log is read:
/// routers may announce slightly out of order.
const GAP_PATIENCE: Duration = Duration::from_millis(50);
/// How long a feed without subscribers is kept, so that reconnects do not join
/// and leave.
const IDLE: Duration = Duration::from_secs(5);
/// The most feeds without subscribers; a further one is ended at once.
pub(super) const MAX_IDLE: usize = 1_000;
/// How often a node joins again, which costs one read. If its entry in the
/// audience was lost (a failover, a late repeat of a leave), it is deaf for no
/// longer than this.
const JOIN_AGAIN: Duration = Duration::from_secs(60);
/// The pauses between attempts while the store or every router is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// With this many subscribers the task yields after each publication.
const CROWD: usize = 256;
/// The publications of one page that the node reads for all subscribers.
const PAGE: u32 = 200;

/// One channel on this node.
#[derive(Debug)]
pub(super) struct Feed {
    channel: ChannelId,
    /// What the bus brings; locked only briefly, so that the bus reader never
    /// waits.
    early: Lock<LEAF, Early>,
    /// The subscribers; locked while one publication is passed on, never across
    /// an await. A session's own lock is taken inside it.
    members: Lock<{ order::SUBSCRIBERS }, Members>,
    stage: watch::Sender<Stage>,
    /// Wakes the task.
    wake: Notify,
}

#[derive(Debug, Default)]
struct Members {
    passed: Passed,
    subscribers: FxHashMap<SessionId, Arc<Session>>,
}

#[derive(Debug, Clone)]
enum Stage {
    Joining,
    Joined,
    Failed(Failure),
}

impl Feed {
    pub(super) fn new(channel: ChannelId) -> Self {
        let (early, members) = Default::default();
        Self { channel, early, members, stage: watch::Sender::new(Stage::Joining), wake: Notify::new() }
    }

    /// Adds a publication of the bus. Does not wait.
    pub(super) fn announce(&self, publication: Arc<Publication>) {
        self.early().add(publication);
        self.wake.notify_one();
    }

    /// Passes nothing on until the log was read.
    pub(super) fn doubt(&self) {
        self.early().doubted = true;
        self.wake.notify_one();
    }

    /// Adds a subscriber; false if it was one already.
    pub(super) fn add(&self, session: Arc<Session>) -> bool {
        let new = self.members().subscribers.insert(session.id.clone(), session).is_none();
        self.wake.notify_one();
        new
    }

    /// Removes a subscriber; false if it was none.
    pub(super) fn remove(&self, session: &Session) -> bool {
        let mut members = self.members();
        let there = members.subscribers.remove(&session.id).is_some();
        if members.subscribers.is_empty() {
            // Many former subscribers must not leave their memory behind.
            members.subscribers = FxHashMap::default();
            drop(members);
            self.wake.notify_one();
        }
        there
    }

    /// Waits until the node is in the audience; then returns the seq up to
    /// which this node has passed on. Fails when joining failed.
    pub(super) async fn joined(&self) -> Result<Seq, Failure> {
        let mut stage = self.stage.subscribe();
        loop {
            // The borrow of a watch is a lock: it ends before another lock is
            // taken.
            #[expect(clippy::disallowed_methods, reason = "cloned out at once")]
            let now = stage.borrow_and_update().clone();
            match now {
                Stage::Joined => return Ok(self.members().passed.upto()),
                Stage::Failed(failure) => return Err(failure),
                Stage::Joining => {}
            }
            if stage.changed().await.is_err() {
                return Err(Failure::unavailable("the gateway is stopping"));
            }
        }
    }

    /// The seq up to which this node has passed on, if it is in the audience.
    pub(super) fn head(&self) -> Option<Seq> {
        #[expect(clippy::disallowed_methods, reason = "cloned out at once")]
        let stage = self.stage.borrow().clone();
        let told = matches!(stage, Stage::Joined) && !self.early().doubted;
        told.then(|| self.members().passed.upto())
    }

    /// The publications after `after`, if they are among the last few.
    pub(super) fn recent(&self, after: Seq, limit: u32) -> Option<Page> {
        self.head()?;
        self.members().passed.page(after, limit)
    }

    fn passed(&self) -> Seq {
        self.members().passed.upto()
    }

    /// Makes new subscribers wait until the node has joined again. Returns
    /// false, and changes nothing, while there is a subscriber.
    fn stop_if_unused(&self) -> bool {
        let members = self.members();
        let unused = members.subscribers.is_empty();
        if unused {
            self.stage.send_replace(Stage::Joining);
        }
        unused
    }

    /// Passes the next publication to every subscriber. Returns how many took
    /// it, and how many there are.
    fn pass_on(&self, publication: &Arc<Publication>) -> (usize, usize) {
        let mut members = self.members();
        let previous = members.passed.upto();
        members.passed.add(publication.clone());
        let subscribers = members.subscribers.values();
        let taken = subscribers.filter(|session| session.offer_publication(previous, publication)).count();
        (taken, members.subscribers.len())
    }

    /// The log ends before what was passed on, or is empty up to there:
    /// everybody goes on from its end.
    fn jump(&self, head: Seq) {
        let mut members = self.members();
        let rewritten = head < members.passed.upto();
        members.passed.jump(head);
        for session in members.subscribers.values() {
            match rewritten {
                true => session.channel_ends_at(&self.channel, head),
                false => session.channel_goes_on_at(&self.channel, head),
            }
        }
    }

    fn early(&self) -> LockGuard<'_, Early> {
        self.early.lock()
    }

    fn members(&self) -> LockGuard<'_, Members> {
        self.members.lock()
    }
}

/// Runs a feed while somebody is subscribed.
pub(super) async fn run(channels: Arc<Channels>, feed: Arc<Feed>) {
    let mut keeper = Keeper::new(channels, feed);
    while !keeper.gone {
        keeper.see_to_joining().await;
        let next = keeper.pass_on().await;
        keeper.see_to_hole(next == Next::Hole).await;
        keeper.see_to_idling().await;
        if !keeper.gone {
            keeper.wait().await;
        }
    }
    keeper.end_idling();
}

struct Keeper {
    channels: Arc<Channels>,
    feed: Arc<Feed>,
    /// The user named in requests to routers: the channel's name, so that all
    /// requests for one channel go to one router, in order.
    user: UserId,
    joined: bool,
    /// When to join next.
    join_at: Instant,
    /// Whether joining has failed, and is tried again at `join_at`.
    asking: bool,
    /// While a publication is missing: when to read the log.
    read_at: Option<Instant>,
    /// While there is no subscriber: when to leave.
    leave_at: Option<Instant>,
    retry: Backoff,
    gone: bool,
}

impl Keeper {
    fn new(channels: Arc<Channels>, feed: Arc<Feed>) -> Self {
        let name = feed.channel.as_str().trim_start_matches("c_");
        let user = UserId::parse(name).or_else(|_| UserId::parse(feed.channel.as_str()));
        let user = user.unwrap_or_else(|_| unreachable!("a channel's name has the form of a user's"));
        Self {
            channels,
            feed,
            user,
            joined: false,
            join_at: Instant::now(),
            asking: false,
            read_at: None,
            leave_at: None,
            retry: Backoff::new(RETRY.0, RETRY.1),
            gone: false,
        }
    }

    /// Joins when it is time, or after a doubt.
    async fn see_to_joining(&mut self) {
        let doubted = self.joined && self.feed.early().doubted;
        if doubted && !self.asking {
            self.join_at = Instant::now();
        }
        if Instant::now() < self.join_at {
            return;
        }
        self.asking = true;
        let announced = {
            let mut early = self.feed.early();
            early.doubted = false;
            early.announced()
        };
        let join = wire::JoinChannel {
            channel: self.feed.channel.to_string(),
            node: self.channels.context.node.to_string(),
        };
        match self.channels.ask(&self.user, request::Command::JoinChannel(join)).await {
            Ok(page) => {
                self.joined_at(page.head, announced);
                self.asking = false;
                self.retry.reset();
                self.join_at = Instant::now() + JOIN_AGAIN.mul_f64(rand::random_range(0.75..=1.0));
            }
            Err(failure) => {
                tracing::debug!(channel = %self.feed.channel, %failure, "joining a channel waits");
                self.feed.early().doubted |= doubted;
                if !self.joined {
                    self.feed.stage.send_replace(Stage::Failed(failure));
                }
                self.join_at = self.later();
            }
        }
    }

    fn joined_at(&mut self, head: Seq, announced: Seq) {
        let passed = self.feed.passed();
        if !self.joined {
            self.feed.jump(head);
            self.joined = true;
            self.feed.stage.send_replace(Stage::Joined);
        } else if head < passed {
            tracing::warn!(channel = %self.feed.channel, passed = passed.0, head = head.0, "a channel has lost its last publications");
            self.feed.early().log_ends_at(head, announced);
            self.feed.jump(head);
        } else if head > passed {
            self.feed.early().reaches(head);
            self.read_at = Some(Instant::now());
        }
    }

    /// Passes on the next publications, until one is missing.
    async fn pass_on(&mut self) -> Next {
        loop {
            let next = {
                let passed = self.feed.passed();
                let mut early = self.feed.early();
                if !self.joined || early.doubted { Next::Nothing } else { early.next(passed) }
            };
            let Next::Pass(publication) = next else { return next };
            self.give(&publication).await;
        }
    }

    async fn give(&self, publication: &Arc<Publication>) {
        let (taken, of) = self.feed.pass_on(publication);
        metrics::publications(taken);
        if of >= CROWD {
            tokio::task::yield_now().await;
        }
    }

    /// Reads from the log what is missing for too long.
    async fn see_to_hole(&mut self, hole: bool) {
        if !hole {
            self.read_at = None;
            return;
        }
        let read_at = *self.read_at.get_or_insert_with(|| Instant::now() + GAP_PATIENCE);
        if Instant::now() < read_at {
            return;
        }
        metrics::channel_hole();
        let (passed, announced) = (self.feed.passed(), self.feed.early().announced());
        match self.channels.read(&self.user, &self.feed.channel, passed, PAGE).await {
            Ok(page) => {
                self.retry.reset();
                // What is still missing then is read at once.
                self.read_at = Some(Instant::now());
                if page.publications.is_empty() {
                    self.feed.early().log_ends_at(page.head, announced);
                    self.feed.jump(page.head);
                }
                for publication in &page.publications {
                    self.give(publication).await;
                }
                self.feed.wake.notify_one();
            }
            Err(failure) => {
                tracing::debug!(channel = %self.feed.channel, %failure, "reading a channel waits");
                self.read_at = Some(self.later());
            }
        }
    }

    /// Leaves when nobody was subscribed for a while.
    async fn see_to_idling(&mut self) {
        if !self.feed.members().subscribers.is_empty() {
            self.end_idling();
            return;
        }
        let draining = self.channels.context.draining.is_cancelled();
        if self.leave_at.is_none() {
            let many = self.channels.idle.fetch_add(1, Ordering::Relaxed) >= MAX_IDLE;
            let patience = if many || !self.joined { Duration::ZERO } else { IDLE };
            self.leave_at = Some(Instant::now() + patience);
        }
        if self.leave_at.is_some_and(|at| at <= Instant::now()) || draining {
            self.leave(draining).await;
        }
    }

    /// Leaves the audience. New subscribers wait until the node has joined
    /// again: a leave must not come after a later join.
    async fn leave(&mut self, draining: bool) {
        if !self.feed.stop_if_unused() {
            return;
        }
        (self.joined, self.join_at, self.read_at) = (false, Instant::now(), None);
        let leave = request::Command::LeaveChannel(wire::LeaveChannel {
            channel: self.feed.channel.to_string(),
            node: self.channels.context.node.to_string(),
        });
        if draining {
            self.channels.context.routers.submit(&self.user, leave, Box::new(|_| {}));
        } else if let Err(failure) = self.channels.context.routers.call(&self.user, leave).await {
            // The node then hears publications that nobody reads, until its
            // lease ends.
            tracing::debug!(channel = %self.feed.channel, %failure, "a channel was not left");
        }
        let mut feeds = self.channels.lock();
        if self.feed.members().subscribers.is_empty() {
            feeds.remove(self.feed.channel.as_str());
            self.gone = true;
        } else {
            drop(feeds);
            self.feed.wake.notify_one();
        }
    }

    fn end_idling(&mut self) {
        if self.leave_at.take().is_some() {
            self.channels.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) {
        let times = [Some(self.join_at), self.read_at, self.leave_at];
        let first = times.into_iter().flatten().min().unwrap_or(self.join_at);
        let draining = &self.channels.context.draining;
        tokio::select! {
            biased;
            () = self.feed.wake.notified() => {}
            // A stopping node leaves at once if nobody is subscribed.
            () = draining.cancelled(), if !draining.is_cancelled() => {}
            () = sleep_until(first) => {}
        }
    }

    /// When to repeat what has just failed.
    fn later(&mut self) -> Instant {
        let pause = self.retry.pause();
        if self.channels.context.draining.is_cancelled() {
            // Its sessions were told to reconnect elsewhere.
            self.gone = true;
        }
        Instant::now() + pause
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use tokio::runtime::Builder;

    use super::*;

    /// Long enough for any machine: the two stood still within half a second.
    const DEADLINE: Duration = Duration::from_secs(60);
    const TURNS: usize = 200_000;

    #[test]
    fn whoever_subscribes_and_the_task_that_leaves_never_wait_for_each_other() {
        let feed = Arc::new(Feed::new(ChannelId::parse("c_news").unwrap()));
        feed.stage.send_replace(Stage::Joined);
        let (done, all_done) = sync_channel(2);
        let (subscriber, told) = (feed.clone(), done.clone());
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().build().unwrap();
            for _ in 0..TURNS {
                runtime.block_on(subscriber.joined()).unwrap();
            }
            told.send(()).unwrap();
        });
        std::thread::spawn(move || {
            for _ in 0..TURNS {
                assert!(feed.stop_if_unused());
                feed.stage.send_replace(Stage::Joined);
            }
            done.send(()).unwrap();
        });
        for _ in 0..2 {
            all_done.recv_timeout(DEADLINE).expect("neither waits for the other for ever");
        }
    }
}
