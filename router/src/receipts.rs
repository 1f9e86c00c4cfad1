//! Tells the other members how far a member has received or read. Many readers
//! acknowledge at the same time, so marks gather for a moment, only the newest of
//! each (conversation, user, kind), and then go out together. A receipt may get
//! lost: gateways read the marks from the store again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::wire::{Notice, Presence, notice};
use proto::{ConversationId, NodeIncarnation, Seq, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use store::Store;
use store::model::{Location, Mark, MarkKind};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::batcher::Batcher;
use crate::members::{MemberCache, Members};
use crate::metrics;

/// How long marks gather.
const PAUSE: Duration = Duration::from_millis(100);
/// With this many marks the pause ends early.
const FLUSH_AT: usize = 4_096;
/// How many marks wait at most. Beyond this the oldest is given up; it is in the
/// store.
const CAPACITY: usize = 16_384;
/// Marks whose members are looked up in one call.
const CHUNK: usize = 512;
/// Larger groups get no receipts (PROTOCOL.md §4, `receipt`).
const MAX_GROUP: usize = 100;

/// The batcher of notices: they go to nodes, and may be lost.
pub(crate) type Notices = Batcher<(NodeIncarnation, Notice), ()>;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Receipts {
    pending: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The marks that wait. Held for a few instructions.
    marks: Lock<LEAF, MarkQueue>,
    some: Notify,
    many: Notify,
}

type Key = (ConversationId, UserId, MarkKind);

/// Invariant: `order` holds the keys of `newest`, oldest first.
#[derive(Default)]
struct MarkQueue {
    newest: FxHashMap<Key, Seq>,
    order: VecDeque<Key>,
}

impl Receipts {
    pub(crate) fn new() -> Self {
        Self { pending: Arc::default() }
    }

    /// A mark has advanced, and members are to be told.
    pub(crate) fn note(&self, mark: Mark) {
        let mut marks = self.pending.marks.lock();
        let dropped = marks.put(mark);
        let waiting = marks.order.len();
        drop(marks);
        if dropped {
            metrics::NOTICES_DROPPED.add(&["receipt"], 1);
        }
        self.pending.some.notify_one();
        if waiting >= FLUSH_AT {
            self.pending.many.notify_one();
        }
    }

    /// Tells members of the marks that gather, until `stop`; then of those that
    /// wait, once.
    pub(crate) async fn run(
        self,
        store: Arc<dyn Store>,
        groups: MemberCache,
        notices: Notices,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.pending.some.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
                () = self.pending.many.notified() => {}
            }
            let marks = self.pending.marks.lock().take();
            for chunk in marks.chunks(CHUNK) {
                if let Err(error) = tell(&*store, &groups, &notices, chunk).await {
                    metrics::NOTICES_DROPPED.add(&["receipt"], chunk.len() as u64);
                    tracing::debug!(%error, "receipts were given up");
                    if stop.is_cancelled() {
                        // A store that is away must not hold up the end.
                        return;
                    }
                }
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

impl MarkQueue {
    /// True when the oldest mark was given up for this one.
    fn put(&mut self, mark: Mark) -> bool {
        let key = (mark.conversation, mark.user, mark.kind);
        if let Some(newest) = self.newest.get_mut(&key) {
            *newest = mark.seq.max(*newest);
            return false;
        }
        self.newest.insert(key.clone(), mark.seq);
        self.order.push_back(key);
        if self.order.len() <= CAPACITY {
            return false;
        }
        if let Some(oldest) = self.order.pop_front() {
            self.newest.remove(&oldest);
        }
        true
    }

    fn take(&mut self) -> Vec<Mark> {
        let mut newest = std::mem::take(&mut self.newest);
        let order = std::mem::take(&mut self.order);
        order
            .into_iter()
            .filter_map(|key| {
                let seq = newest.remove(&key)?;
                let (conversation, user, kind) = key;
                Some(Mark { conversation, user, kind, seq })
            })
            .collect()
    }
}

async fn tell(
    store: &dyn Store,
    groups: &MemberCache,
    notices: &Notices,
    marks: &[Mark],
) -> store::Result<()> {
    let named: FxHashSet<&ConversationId> =
        marks.iter().map(|mark| &mark.conversation).filter(|id| id.is_group()).collect();
    let members = groups.of_all(named.into_iter()).await?;
    let audiences: Vec<Vec<UserId>> = marks.iter().map(|mark| audience(mark, &members)).collect();
    let locations = locations(store, audiences.iter().flatten()).await?;
    for (mark, audience) in marks.iter().zip(&audiences) {
        for (node, users) in by_node(audience, &locations) {
            let what = notice::What::Receipt(mark.receipt());
            send(notices, node, Notice { users, session: String::new(), what: Some(what) });
        }
    }
    Ok(())
}

/// Who is told of a mark: the other members, and the reader's own devices of what
/// was read.
fn audience(mark: &Mark, members: &FxHashMap<ConversationId, Members>) -> Vec<UserId> {
    let mut audience = match mark.conversation.pair() {
        Some((one, other)) => vec![one, other],
        None => match members.get(&mark.conversation) {
            Some(members) if members.len() <= MAX_GROUP => members.to_vec(),
            _ => Vec::new(),
        },
    };
    audience.retain(|user| *user != mark.user);
    if mark.kind == MarkKind::Read {
        audience.push(mark.user.clone());
    }
    audience
}

/// Where these users' sessions are. Each user is looked up once.
pub(crate) async fn locations<'a>(
    store: &dyn Store,
    users: impl Iterator<Item = &'a UserId>,
) -> store::Result<FxHashMap<UserId, Vec<Location>>> {
    let users: Vec<UserId> = users.collect::<FxHashSet<_>>().into_iter().cloned().collect();
    if users.is_empty() {
        return Ok(FxHashMap::default());
    }
    let locations = store.locate(&users).await?;
    Ok(users.into_iter().zip(locations).collect())
}

/// For each node the users who have a session there.
pub(crate) fn by_node(
    users: &[UserId],
    locations: &FxHashMap<UserId, Vec<Location>>,
) -> FxHashMap<NodeIncarnation, Vec<String>> {
    let mut nodes: FxHashMap<NodeIncarnation, Vec<String>> = FxHashMap::default();
    for user in users {
        for location in locations.get(user).into_iter().flatten() {
            let there = nodes.entry(location.node.clone()).or_default();
            // The locations of one user come one after another.
            if there.last().is_none_or(|last| last != user.as_str()) {
                there.push(user.as_str().to_owned());
            }
        }
    }
    nodes
}

/// Tells the nodes that watch a user that the user is online, or offline since
/// `gone` (Unix milliseconds, the store's clock). One notice for each node.
pub(crate) fn tell_presence(
    notices: &Notices,
    watchers: &[NodeIncarnation],
    user: &UserId,
    gone: Option<u64>,
) {
    let (online, last_seen) = (gone.is_none(), gone.unwrap_or_default());
    for node in watchers {
        let presence = Presence { user: user.to_string(), online, last_seen };
        let what = Some(notice::What::Presence(presence));
        send(notices, node.clone(), Notice { what, ..Notice::default() });
    }
}

/// Queues a notice. It is given up when too many wait.
pub(crate) fn send(notices: &Notices, node: NodeIncarnation, notice: Notice) {
    notices.submit((node, notice), 0, |outcome| {
        if let Err(error) = outcome {
            tracing::debug!(%error, "a notice was given up");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(user: &str, seq: u64, kind: MarkKind) -> Mark {
        let user = UserId::parse(user).unwrap();
        let bob = UserId::parse("bob").unwrap();
        Mark { conversation: ConversationId::direct(&user, &bob), user, kind, seq: Seq(seq) }
    }

    #[test]
    fn only_the_newest_mark_of_each_is_kept() {
        let mut marks = MarkQueue::default();
        for seq in [1, 3, 2] {
            marks.put(mark("alice", seq, MarkKind::Read));
        }
        marks.put(mark("alice", 9, MarkKind::Delivered));
        assert_eq!(marks.take(), [mark("alice", 3, MarkKind::Read), mark("alice", 9, MarkKind::Delivered)]);
        assert_eq!(marks.take(), []);
    }

    #[test]
    fn too_many_marks_cost_the_oldest_one() {
        let mut marks = MarkQueue::default();
        for number in 0..=CAPACITY {
            let dropped = marks.put(mark(&format!("u{number}"), 1, MarkKind::Read));
            assert_eq!(dropped, number == CAPACITY);
        }
        let kept = marks.take();
        assert_eq!(kept.len(), CAPACITY);
        assert_eq!(kept[0].user.as_str(), "u1");
    }

    #[test]
    fn a_direct_mark_is_for_the_other_one_and_reading_for_ones_own_devices_too() {
        let names = |mark: &Mark| -> Vec<String> {
            audience(mark, &FxHashMap::default()).into_iter().map(String::from).collect()
        };
        assert_eq!(names(&mark("alice", 1, MarkKind::Delivered)), ["bob"]);
        assert_eq!(names(&mark("alice", 1, MarkKind::Read)), ["bob", "alice"]);
        assert!(names(&mark("bob", 1, MarkKind::Delivered)).is_empty());
    }
}
