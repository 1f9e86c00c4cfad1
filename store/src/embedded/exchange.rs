//! The bus inside one process, and where sessions live: which nodes listen,
//! which sessions each user has. Nothing of it outlives the process, as no
//! session does.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use prost::Message as _;
use proto::weight::in_list;
use proto::wire::{Announcement, Entry, Envelope, Notice, Publication, Target};
use proto::{
    Bound, ChannelId, DeviceId, Load, NodeIncarnation, Position, SessionId, StoreIncarnation, UserId,
};
use tokio::sync::Notify;

use super::channels::Published;
use super::post::News;
use super::writer::now;
use crate::model::{Location, Standing};
use crate::{Heard, Loss, Subscription};

/// Envelopes that wait for one subscription at most. When it is full, an
/// envelope is dropped and [`Loss::Lagged`] takes its place: the sessions read
/// on from the log.
const QUEUE: Bound = Bound::new(32 << 20, 4_096);
/// One envelope at most, but for a single item that is larger.
const ENVELOPE: Bound = Bound::new(1 << 20, 4_096);

/// Who listens and who is where.
pub(super) struct Exchange {
    /// The store's incarnation, as it stands in envelopes.
    store: String,
    /// Protects what changes when sessions and nodes come and go.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ears: HashMap<NodeIncarnation, Arc<Ear>>,
    locations: HashMap<UserId, Vec<Location>>,
    /// The nodes that are told of what is published to a channel.
    audiences: HashMap<ChannelId, HashSet<NodeIncarnation>>,
    /// Whose last session has ended, and when (Unix ms), until the writer has
    /// kept it.
    ended: HashMap<UserId, u64>,
    /// The nodes that are told when users come and go.
    watchers: HashMap<UserId, Vec<NodeIncarnation>>,
}

/// What is known of a user's sessions without looking into the file.
pub(super) struct Known {
    pub here: bool,
    /// When the last one ended, if that is not in the file yet.
    pub ended: Option<u64>,
    pub watchers: Vec<NodeIncarnation>,
}

/// What was there when a session was noted.
pub(super) struct Before {
    /// Sessions that it takes the place of: of the same device, and the oldest
    /// of a user who has too many.
    pub replaced: Vec<Location>,
    /// As it was before.
    pub known: Known,
}

impl Exchange {
    pub(super) fn new(store: String) -> Self {
        Self { store, state: Mutex::default() }
    }

    /// Takes the node's lease. A second subscription of the same node takes
    /// the place of the first.
    pub(super) fn subscribe(self: &Arc<Self>, node: NodeIncarnation) -> Ears {
        let ear = Arc::new(Ear::default());
        ear.queue().push(Heard::Store(self.store()), 0);
        let before = self.state().ears.insert(node.clone(), ear.clone());
        if let Some(before) = before {
            before.ended.store(true, Ordering::Release);
        }
        Ears { exchange: self.clone(), node, ear }
    }

    /// Has every session read on from the log.
    pub(super) fn doubt(&self) {
        let ears: Vec<_> = self.state().ears.values().cloned().collect();
        for ear in ears {
            ear.queue().push(Heard::Lost(Loss::Hole), 0);
            ear.filled.notify_one();
        }
    }

    /// The store's incarnation.
    pub(super) fn store(&self) -> StoreIncarnation {
        StoreIncarnation::of(&self.store)
    }

    /// Notes a session; a user has `most` of them at most.
    pub(super) fn attach(&self, user: &UserId, location: Location, most: usize) -> Before {
        let mut state = self.state();
        let known = state.known(user);
        let State { ears, locations, .. } = &mut *state;
        let sessions = locations.entry(user.clone()).or_default();
        let mut replaced = Vec::new();
        sessions.retain(|other| {
            let same = other.device == location.device || other.session == location.session;
            let alive = ears.contains_key(&other.node);
            if same && alive && other.session != location.session {
                replaced.push(other.clone());
            }
            alive && !same
        });
        sessions.push(location);
        replaced.extend(sessions.drain(..sessions.len().saturating_sub(most)));
        Before { replaced, known }
    }

    /// Whether it was there and the user's last, and somebody watches the user.
    pub(super) fn detach(&self, user: &UserId, session: &SessionId) -> bool {
        let mut state = self.state();
        let Some(sessions) = state.locations.get_mut(user) else { return false };
        let before = sessions.len();
        sessions.retain(|location| location.session != *session);
        let last = sessions.is_empty() && before > 0;
        if last {
            state.locations.remove(user);
            state.ended.insert(user.clone(), now());
        }
        last && state.watchers.contains_key(user)
    }

    /// What is known of the user; the node watches it from now on.
    pub(super) fn presence(&self, user: &UserId, watcher: Option<&NodeIncarnation>) -> Known {
        let mut state = self.state();
        if let Some(node) = watcher.filter(|node| state.ears.contains_key(*node)) {
            let watchers = state.watchers.entry(user.clone()).or_default();
            if !watchers.contains(node) {
                watchers.push(node.clone());
            }
        }
        state.known(user)
    }

    pub(super) fn unwatch(&self, users: &[UserId], watcher: &NodeIncarnation) {
        let mut state = self.state();
        for user in users {
            if let Some(watchers) = state.watchers.get_mut(user) {
                watchers.retain(|node| node != watcher);
                if watchers.is_empty() {
                    state.watchers.remove(user);
                }
            }
        }
    }

    /// The nodes that listen.
    pub(super) fn nodes(&self) -> Vec<NodeIncarnation> {
        self.state().ears.keys().cloned().collect()
    }

    /// Whose last session has ended, and is not yet kept.
    pub(super) fn ended(&self) -> Vec<(UserId, u64)> {
        self.state().ended.iter().map(|(user, time)| (user.clone(), *time)).collect()
    }

    /// This is in the file now.
    pub(super) fn kept(&self, ended: &[(UserId, u64)]) {
        let mut state = self.state();
        for (user, time) in ended {
            if state.ended.get(user) == Some(time) {
                state.ended.remove(user);
            }
        }
    }

    /// The user's sessions on nodes that are alive.
    pub(super) fn locate(&self, user: &UserId) -> Vec<Location> {
        let state = self.state();
        let sessions = state.locations.get(user).map(Vec::as_slice).unwrap_or_default();
        sessions.iter().filter(|location| state.ears.contains_key(&location.node)).cloned().collect()
    }

    pub(super) fn standing(&self, user: &UserId, session: &SessionId, device: &DeviceId) -> Standing {
        let sessions = self.locate(user);
        if sessions.iter().any(|location| location.session == *session) {
            Standing::Registered
        } else if sessions.iter().any(|location| location.device == *device) {
            Standing::Superseded
        } else {
            Standing::Missing
        }
    }

    /// Announces what has become durable: one envelope a node.
    pub(super) fn announce(&self, news: Vec<News>) {
        let state = self.state();
        let mut by_node: HashMap<&NodeIncarnation, Parts<Announcement>> = HashMap::new();
        for item in &news {
            let targets = state.targets(item);
            if targets.is_empty() {
                continue;
            }
            for (index, bytes) in item.entries.iter().enumerate() {
                let Ok(entry) = Entry::decode(bytes.clone()) else {
                    // The readers see the hole and read it, or fail to, from the log.
                    tracing::error!(conversation = %item.conversation, "an entry that cannot be decoded");
                    continue;
                };
                for (node, targets) in &targets {
                    let targets = targets.iter().map(|(user, position)| Target {
                        user: (*user).to_owned(),
                        position: position.0 + index as u64,
                    });
                    by_node.entry(node).or_default().push(Announcement {
                        conversation: item.conversation.to_string(),
                        seq: item.seq.0,
                        entry: Some(entry.clone()),
                        targets: targets.collect(),
                        trace: item.trace.clone(),
                    });
                }
            }
        }
        for (node, parts) in by_node {
            for (announcements, bytes) in parts.all() {
                let envelope = Envelope { store: self.store.clone(), announcements, ..Default::default() };
                state.send(node, envelope, bytes);
            }
        }
    }

    /// The node is told from now on.
    pub(super) fn join_channel(&self, channel: &ChannelId, node: &NodeIncarnation) {
        self.state().audiences.entry(channel.clone()).or_default().insert(node.clone());
    }

    pub(super) fn leave_channel(&self, channel: &ChannelId, node: &NodeIncarnation) {
        self.state().leave(channel, |other| other == node);
    }

    /// Announces publications that have become durable: one envelope a node.
    pub(super) fn announce_publications(&self, published: Vec<Published>) {
        let mut state = self.state();
        let mut by_node: HashMap<NodeIncarnation, Parts<Publication>> = HashMap::new();
        for item in published {
            let State { ears, audiences, .. } = &mut *state;
            let Some(nodes) = audiences.get(&item.channel) else { continue };
            let (alive, gone): (Vec<_>, Vec<_>) =
                nodes.iter().cloned().partition(|node| ears.contains_key(node));
            if !gone.is_empty() {
                state.leave(&item.channel, |node| gone.contains(node));
            }
            let Ok(entry) = Entry::decode(item.entry) else {
                tracing::error!(channel = %item.channel, "a publication that cannot be decoded");
                continue;
            };
            for node in alive {
                by_node.entry(node).or_default().push(Publication {
                    channel: item.channel.to_string(),
                    seq: item.seq.0,
                    entry: Some(entry.clone()),
                });
            }
        }
        for (node, parts) in by_node {
            for (publications, bytes) in parts.all() {
                let envelope = Envelope { store: self.store.clone(), publications, ..Default::default() };
                state.send(&node, envelope, bytes);
            }
        }
    }

    /// Sends notices; those to nodes that are gone are dropped.
    pub(super) fn publish(&self, notices: Vec<(NodeIncarnation, Notice)>) {
        let mut by_node: HashMap<NodeIncarnation, Parts<Notice>> = HashMap::new();
        for (node, notice) in notices {
            by_node.entry(node).or_default().push(notice);
        }
        let state = self.state();
        for (node, parts) in by_node {
            for (notices, bytes) in parts.all() {
                let envelope = Envelope { store: self.store.clone(), notices, ..Default::default() };
                state.send(&node, envelope, bytes);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// Removes these nodes from a channel's audience.
    fn leave(&mut self, channel: &ChannelId, gone: impl Fn(&NodeIncarnation) -> bool) {
        if let Some(nodes) = self.audiences.get_mut(channel) {
            nodes.retain(|node| !gone(node));
            if nodes.is_empty() {
                self.audiences.remove(channel);
            }
        }
    }

    fn known(&self, user: &UserId) -> Known {
        let sessions = self.locations.get(user).map(Vec::as_slice).unwrap_or_default();
        Known {
            here: sessions.iter().any(|location| self.ears.contains_key(&location.node)),
            ended: self.ended.get(user).copied(),
            watchers: self.watchers.get(user).cloned().unwrap_or_default(),
        }
    }

    /// For each node the readers that have a session on it, other than the
    /// posting one.
    fn targets<'a>(&'a self, news: &'a News) -> HashMap<&'a NodeIncarnation, Vec<(&'a str, Position)>> {
        let mut targets: HashMap<&NodeIncarnation, Vec<(&str, Position)>> = HashMap::new();
        for (user, position) in &news.readers {
            for location in self.locations.get(user.as_str()).map(Vec::as_slice).unwrap_or_default() {
                let posted = news.except.as_ref().is_some_and(|(by, session)| {
                    by.as_str() == user.as_str() && *session == location.session
                });
                if posted || !self.ears.contains_key(&location.node) {
                    continue;
                }
                let readers = targets.entry(&location.node).or_default();
                // A user with two sessions on a node is one target.
                if readers.last().is_none_or(|(last, _)| last != user) {
                    readers.push((user, *position));
                }
            }
        }
        targets
    }

    fn send(&self, node: &NodeIncarnation, envelope: Envelope, bytes: usize) {
        if let Some(ear) = self.ears.get(node) {
            ear.push(envelope, bytes);
        }
    }
}

/// What is to be said to one node, in as many envelopes as it takes.
struct Parts<T>(Vec<(Vec<T>, Load)>);

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: prost::Message> Parts<T> {
    fn push(&mut self, item: T) {
        let bytes = in_list(item.encoded_len());
        if let Some((items, load)) = self.0.last_mut()
            && load.add(bytes)
        {
            return items.push(item);
        }
        let mut load = ENVELOPE.load();
        load.add(bytes);
        self.0.push((vec![item], load));
    }

    /// Each with its bytes.
    fn all(self) -> impl Iterator<Item = (Vec<T>, usize)> {
        self.0.into_iter().map(|(items, load)| (items, load.bytes()))
    }
}

/// The queue between the store and one subscription.
#[derive(Default)]
struct Ear {
    /// Protects the envelopes that wait, and the count that numbers them.
    queue: Mutex<Queue>,
    filled: Notify,
    /// Set when the subscription has ended or another has taken its place.
    ended: AtomicBool,
}

struct Queue {
    /// With the bytes of each.
    waiting: VecDeque<(Heard, usize)>,
    load: Load,
    number: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), load: QUEUE.load(), number: 0 }
    }
}

impl Queue {
    fn push(&mut self, heard: Heard, bytes: usize) {
        self.load.take(bytes, 1);
        self.waiting.push_back((heard, bytes));
    }

    fn pop(&mut self) -> Option<Heard> {
        let (heard, bytes) = self.waiting.pop_front()?;
        self.load.remove(bytes);
        Some(heard)
    }
}

impl Ear {
    fn push(&self, mut envelope: Envelope, bytes: usize) {
        let mut queue = self.queue();
        queue.number += 1;
        envelope.number = queue.number;
        if !queue.load.is_full() {
            queue.push(Heard::Envelope(envelope), bytes);
        } else if queue.waiting.back().is_none_or(|(last, _)| *last != Heard::Lost(Loss::Lagged)) {
            queue.push(Heard::Lost(Loss::Lagged), 0);
        }
        drop(queue);
        self.filled.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One node's subscription; dropping it gives the lease back.
pub(super) struct Ears {
    exchange: Arc<Exchange>,
    node: NodeIncarnation,
    ear: Arc<Ear>,
}

#[async_trait]
impl Subscription for Ears {
    async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.ear.queue().pop() {
                return heard;
            }
            self.ear.filled.notified().await;
        }
    }

    fn health(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let ear = Arc::downgrade(&self.ear);
        Arc::new(move || ear.upgrade().is_some_and(|ear| !ear.ended.load(Ordering::Acquire)))
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.ear.ended.store(true, Ordering::Release);
        let mut state = self.exchange.state();
        if state.ears.get(&self.node).is_some_and(|ear| Arc::ptr_eq(ear, &self.ear)) {
            let State { ears, locations, audiences, ended, watchers } = &mut *state;
            ears.remove(&self.node);
            audiences.retain(|_, nodes| {
                nodes.remove(&self.node);
                !nodes.is_empty()
            });
            locations.retain(|user, sessions| {
                sessions.retain(|location| location.node != self.node);
                if sessions.is_empty() {
                    ended.insert(user.clone(), now());
                }
                !sessions.is_empty()
            });
            watchers.retain(|_, nodes| {
                nodes.retain(|node| *node != self.node);
                !nodes.is_empty()
            });
        }
    }
}
