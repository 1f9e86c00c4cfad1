//! Tells the other members how far a member has received or read. Many readers
//! acknowledge at the same time, so marks gather for a moment, only the newest of
//! each (conversation, user, kind), and then go out together: those of one
//! conversation in one notice for each node. A receipt may get lost: gateways read
//! the marks from the store again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::wire::{Notice, Presence, Receipts as MovedMarks, notice};
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
            let mut marks = self.pending.marks.lock().take();
            marks.sort_by(|one, other| one.conversation.cmp(&other.conversation));
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
    let of_each = marks.chunk_by(|one, other| one.conversation == other.conversation);
    let news: Vec<News<'_>> = of_each.flat_map(|marks| news(marks, &members)).collect();
    let locations = locations(store, news.iter().flat_map(|news| &news.audience)).await?;
    for News { marks, audience } in news {
        let conversation = marks[0].conversation.as_str();
        for (node, users) in by_node(&audience, &locations) {
            let marks = marks.iter().map(Mark::moved).collect();
            let what = notice::What::Receipts(MovedMarks { conversation: conversation.to_owned(), marks });
            send(notices, node, Notice { users, session: String::new(), what: Some(what) });
        }
    }
    Ok(())
}

/// Marks of one conversation, and the users who are told of them.
#[derive(Debug, PartialEq)]
struct News<'a> {
    marks: &'a [Mark],
    /// Whoever is in it is told of all these marks, but not of an own `delivered`:
    /// gateways leave that out.
    audience: Vec<UserId>,
}

/// Whom to tell of the marks of one conversation: the other members, and the reader's
/// own devices of what was read. In a group that is too large only these.
fn news<'a>(marks: &'a [Mark], members: &FxHashMap<ConversationId, Members>) -> Vec<News<'a>> {
    let members: Members = match marks[0].conversation.pair() {
        Some((one, other)) => [one, other].into(),
        None => match members.get(&marks[0].conversation) {
            Some(members) if members.len() <= MAX_GROUP => members.clone(),
            _ => {
                let read = marks.iter().filter(|mark| mark.kind == MarkKind::Read);
                let own = |mark: &'a Mark| (std::slice::from_ref(mark), vec![mark.user.clone()]);
                return read.map(own).map(|(marks, audience)| News { marks, audience }).collect();
            }
        },
    };
    let concerns = |user: &UserId| marks.iter().any(|mark| mark.user != *user || mark.kind == MarkKind::Read);
    let mut audience: Vec<UserId> = members.iter().filter(|user| concerns(user)).cloned().collect();
    audience.dedup();
    vec![News { marks, audience }]
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
        let names = |marks: &[Mark]| -> Vec<String> {
            let [News { audience, .. }] = &news(marks, &FxHashMap::default())[..] else { panic!() };
            audience.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&[mark("alice", 1, MarkKind::Delivered)]), ["bob"]);
        assert_eq!(names(&[mark("alice", 1, MarkKind::Read)]), ["alice", "bob"]);
        assert!(names(&[mark("bob", 1, MarkKind::Delivered)]).is_empty());
        assert_eq!(names(&[mark("bob", 1, MarkKind::Read)]), ["bob"]);
    }

    #[test]
    fn marks_of_a_group_are_told_together_and_in_a_large_one_only_to_who_has_read() {
        let group = ConversationId::parse("g_01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let user = |number: usize| UserId::parse(&format!("u{number}")).unwrap();
        let mark = |number, kind| Mark { conversation: group.clone(), user: user(number), kind, seq: Seq(1) };
        let marks = [mark(0, MarkKind::Delivered), mark(1, MarkKind::Delivered), mark(2, MarkKind::Read)];
        let of = |count: usize| FxHashMap::from_iter([(group.clone(), (0..count).map(user).collect())]);
        let all = News { marks: &marks, audience: (0..MAX_GROUP).map(user).collect() };
        assert_eq!(news(&marks, &of(MAX_GROUP)), [all]);
        let own = News { marks: &marks[2..], audience: vec![user(2)] };
        assert_eq!(news(&marks, &of(MAX_GROUP + 1)), [own]);
        // Nobody is told of an own `delivered`.
        let others = News { marks: &marks[..1], audience: vec![user(1)] };
        assert_eq!(news(&marks[..1], &of(2)), [others]);
    }
}
