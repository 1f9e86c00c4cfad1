//! The bus inside one process, the sessions of users, and who watches them. It
//! is only in memory: no session outlives the process.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use prost::Message as _;
use proto::weight::in_list;
use proto::wire::{Announcement, Entry, Envelope, Notice, Publication, Target};
use proto::{
    Bound, ChannelId, DeviceId, Load, NodeIncarnation, Position, SessionId, StoreIncarnation, Time, UserId,
};
use tokio::sync::Notify;

use super::channels::PendingPublication;
use super::post::PendingAnnouncement;
use crate::model::{Location, Standing};
use crate::{BusItem, Loss, Subscription};

/// The queue of one subscription. When it is full, an envelope is dropped and
/// [`Loss::Lagged`] takes its place: sessions then read on from the log.
const QUEUE: Bound = Bound::new(32 << 20, 4_096);
/// The limits of one envelope. A single larger item goes alone.
const ENVELOPE: Bound = Bound::new(1 << 20, 4_096);

/// Subscriptions, sessions, audiences and watchers.
pub(super) struct Exchange {
    /// The store's incarnation, as envelopes have it.
    store: String,
    /// Protects what changes when sessions and nodes come and go.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    subscribers: HashMap<NodeIncarnation, Arc<Subscriber>>,
    locations: HashMap<UserId, Vec<Location>>,
    /// The nodes that are told of a channel's publications.
    audiences: HashMap<ChannelId, HashSet<NodeIncarnation>>,
    /// Users whose last session has ended, and when (Unix ms), until the writer
    /// has stored it.
    ended: HashMap<UserId, u64>,
    /// The nodes that are told when a user comes or goes.
    watchers: HashMap<UserId, Vec<NodeIncarnation>>,
}

/// A user's presence as far as it is known without reading the file.
pub(super) struct LivePresence {
    pub here: bool,
    /// When the last session ended, if that is not in the file yet.
    pub ended: Option<u64>,
    pub watchers: Vec<NodeIncarnation>,
}

/// What a new session found on its user's record.
pub(super) struct Registration {
    /// The sessions that it replaces: of the same device, and the oldest of a
    /// user who has too many.
    pub replaced: Vec<Location>,
    /// The user's presence before.
    pub known: LivePresence,
}

impl Exchange {
    pub(super) fn new(store: String) -> Self {
        Self { store, state: Mutex::default() }
    }

    /// Subscribes a node. A second subscription of the same node replaces the
    /// first.
    pub(super) fn subscribe(self: &Arc<Self>, node: NodeIncarnation) -> ExchangeSubscription {
        let subscriber = Arc::new(Subscriber::default());
        subscriber.queue().push(BusItem::Store(self.store()), 0);
        let before = self.state().subscribers.insert(node.clone(), subscriber.clone());
        if let Some(before) = before {
            before.ended.store(true, Ordering::Release);
        }
        ExchangeSubscription { exchange: self.clone(), node, subscriber }
    }

    /// Tells every node that something may have been lost, so that all sessions
    /// read on from the log.
    pub(super) fn announce_loss(&self) {
        let subscribers: Vec<_> = self.state().subscribers.values().cloned().collect();
        for subscriber in subscribers {
            subscriber.queue().push(BusItem::Lost(Loss::Hole), 0);
            subscriber.filled.notify_one();
        }
    }

    /// The store's incarnation.
    pub(super) fn store(&self) -> StoreIncarnation {
        StoreIncarnation::of(&self.store)
    }

    /// Notes a session. A user keeps at most `most` sessions.
    pub(super) fn attach(&self, user: &UserId, location: Location, most: usize) -> Registration {
        let mut state = self.state();
        let known = state.known(user);
        let State { subscribers, locations, .. } = &mut *state;
        let sessions = locations.entry(user.clone()).or_default();
        let mut replaced = Vec::new();
        sessions.retain(|other| {
            let same = other.device == location.device || other.session == location.session;
            let alive = subscribers.contains_key(&other.node);
            if same && alive && other.session != location.session {
                replaced.push(other.clone());
            }
            alive && !same
        });
        sessions.push(location);
        replaced.extend(sessions.drain(..sessions.len().saturating_sub(most)));
        Registration { replaced, known }
    }

    /// Removes a session. Returns whether it was there, was the user's last
    /// one, and somebody watches the user.
    pub(super) fn detach(&self, user: &UserId, session: &SessionId) -> bool {
        let mut state = self.state();
        let Some(sessions) = state.locations.get_mut(user) else { return false };
        let before = sessions.len();
        sessions.retain(|location| location.session != *session);
        let last = sessions.is_empty() && before > 0;
        if last {
            state.locations.remove(user);
            state.ended.insert(user.clone(), Time::now().0);
        }
        last && state.watchers.contains_key(user)
    }

    /// The user's presence. `watcher` watches the user from now on.
    pub(super) fn presence(&self, user: &UserId, watcher: Option<&NodeIncarnation>) -> LivePresence {
        let mut state = self.state();
        if let Some(node) = watcher.filter(|node| state.subscribers.contains_key(*node)) {
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

    /// The nodes that have a subscription.
    pub(super) fn nodes(&self) -> Vec<NodeIncarnation> {
        self.state().subscribers.keys().cloned().collect()
    }

    /// Users whose last session has ended, where that is not stored yet.
    pub(super) fn ended(&self) -> Vec<(UserId, u64)> {
        self.state().ended.iter().map(|(user, time)| (user.clone(), *time)).collect()
    }

    /// Forgets these, which are in the file now.
    pub(super) fn kept(&self, ended: &[(UserId, u64)]) {
        let mut state = self.state();
        for (user, time) in ended {
            if state.ended.get(user) == Some(time) {
                state.ended.remove(user);
            }
        }
    }

    /// The user's sessions on nodes that have a subscription.
    pub(super) fn locate(&self, user: &UserId) -> Vec<Location> {
        let state = self.state();
        let sessions = state.locations.get(user).map(Vec::as_slice).unwrap_or_default();
        sessions.iter().filter(|location| state.subscribers.contains_key(&location.node)).cloned().collect()
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

    /// Announces events that are durable now, in one envelope a node where they
    /// fit.
    pub(super) fn announce(&self, announcements: Vec<PendingAnnouncement>) {
        let state = self.state();
        let mut by_node: HashMap<&NodeIncarnation, Parts<Announcement>> = HashMap::new();
        for item in &announcements {
            let targets = state.targets(item);
            if targets.is_empty() {
                continue;
            }
            for (index, bytes) in item.entries.iter().enumerate() {
                let Ok(entry) = Entry::decode(bytes.clone()) else {
                    // The readers see a hole, and read the log.
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

    /// Adds a node to a channel's audience.
    pub(super) fn join_channel(&self, channel: &ChannelId, node: &NodeIncarnation) {
        self.state().audiences.entry(channel.clone()).or_default().insert(node.clone());
    }

    pub(super) fn leave_channel(&self, channel: &ChannelId, node: &NodeIncarnation) {
        self.state().leave(channel, |other| other == node);
    }

    /// Announces publications that are durable now, in one envelope a node
    /// where they fit.
    pub(super) fn announce_publications(&self, published: Vec<PendingPublication>) {
        let mut state = self.state();
        let mut by_node: HashMap<NodeIncarnation, Parts<Publication>> = HashMap::new();
        for item in published {
            let State { subscribers, audiences, .. } = &mut *state;
            let Some(nodes) = audiences.get(&item.channel) else { continue };
            let (alive, gone): (Vec<_>, Vec<_>) =
                nodes.iter().cloned().partition(|node| subscribers.contains_key(node));
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

    fn known(&self, user: &UserId) -> LivePresence {
        let sessions = self.locations.get(user).map(Vec::as_slice).unwrap_or_default();
        LivePresence {
            here: sessions.iter().any(|location| self.subscribers.contains_key(&location.node)),
            ended: self.ended.get(user).copied(),
            watchers: self.watchers.get(user).cloned().unwrap_or_default(),
        }
    }

    /// For each node the readers who have a session there, other than the
    /// posting one.
    fn targets<'a>(
        &'a self,
        announcement: &'a PendingAnnouncement,
    ) -> HashMap<&'a NodeIncarnation, Vec<(&'a str, Position)>> {
        let mut targets: HashMap<&NodeIncarnation, Vec<(&str, Position)>> = HashMap::new();
        for (user, position) in &announcement.readers {
            for location in self.locations.get(user.as_str()).map(Vec::as_slice).unwrap_or_default() {
                let posted = announcement.except.as_ref().is_some_and(|(by, session)| {
                    by.as_str() == user.as_str() && *session == location.session
                });
                if posted || !self.subscribers.contains_key(&location.node) {
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
        if let Some(subscriber) = self.subscribers.get(node) {
            subscriber.push(envelope, bytes);
        }
    }
}

/// The content for one node, split into as many envelopes as it needs.
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

    /// The content of each envelope, and its bytes.
    fn all(self) -> impl Iterator<Item = (Vec<T>, usize)> {
        self.0.into_iter().map(|(items, load)| (items, load.bytes()))
    }
}

/// The queue between the store and one subscription.
#[derive(Default)]
struct Subscriber {
    /// Protects the envelopes that wait, and the count that numbers them.
    queue: Mutex<Queue>,
    filled: Notify,
    /// Set when the subscription has ended, or another has replaced it.
    ended: AtomicBool,
}

struct Queue {
    /// The items that wait, with their bytes.
    waiting: VecDeque<(BusItem, usize)>,
    load: Load,
    number: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), load: QUEUE.load(), number: 0 }
    }
}

impl Queue {
    fn push(&mut self, heard: BusItem, bytes: usize) {
        self.load.take(bytes, 1);
        self.waiting.push_back((heard, bytes));
    }

    fn pop(&mut self) -> Option<BusItem> {
        let (heard, bytes) = self.waiting.pop_front()?;
        self.load.remove(bytes);
        Some(heard)
    }
}

impl Subscriber {
    fn push(&self, mut envelope: Envelope, bytes: usize) {
        let mut queue = self.queue();
        queue.number += 1;
        envelope.number = queue.number;
        if !queue.load.is_full() {
            queue.push(BusItem::Envelope(envelope), bytes);
        } else if queue.waiting.back().is_none_or(|(last, _)| *last != BusItem::Lost(Loss::Lagged)) {
            queue.push(BusItem::Lost(Loss::Lagged), 0);
        }
        drop(queue);
        self.filled.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One node's subscription; dropping it ends it.
pub(super) struct ExchangeSubscription {
    exchange: Arc<Exchange>,
    node: NodeIncarnation,
    subscriber: Arc<Subscriber>,
}

#[async_trait]
impl Subscription for ExchangeSubscription {
    async fn next(&mut self) -> BusItem {
        loop {
            if let Some(heard) = self.subscriber.queue().pop() {
                return heard;
            }
            self.subscriber.filled.notified().await;
        }
    }

    fn health(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let subscriber = Arc::downgrade(&self.subscriber);
        Arc::new(move || {
            subscriber.upgrade().is_some_and(|subscriber| !subscriber.ended.load(Ordering::Acquire))
        })
    }
}

impl Drop for ExchangeSubscription {
    fn drop(&mut self) {
        self.subscriber.ended.store(true, Ordering::Release);
        let mut state = self.exchange.state();
        if state
            .subscribers
            .get(&self.node)
            .is_some_and(|subscriber| Arc::ptr_eq(subscriber, &self.subscriber))
        {
            let State { subscribers, locations, audiences, ended, watchers } = &mut *state;
            subscribers.remove(&self.node);
            audiences.retain(|_, nodes| {
                nodes.remove(&self.node);
                !nodes.is_empty()
            });
            locations.retain(|user, sessions| {
                sessions.retain(|location| location.node != self.node);
                if sessions.is_empty() {
                    ended.insert(user.clone(), Time::now().0);
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
