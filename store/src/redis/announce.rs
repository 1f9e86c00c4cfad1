//! What a router publishes: announcements and notices. It numbers the envelopes
//! for each node, and publishes its counts.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use proto::weight::in_list;
use proto::wire::{Envelope, Notice};
use proto::{Bound, ChannelId, ConversationId, Load, NodeIncarnation, Seq, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{Mutex, MutexGuard};

use super::connection::Connection;
use crate::Result;

/// After this many rounds (one a second) without a lease a node's count is
/// forgotten: a node incarnation never comes back.
const GONE: u32 = 60;

/// The limits of one envelope; a single larger field goes alone. Larger
/// envelopes would quickly fill the queue of a slow node.
pub(crate) const ENVELOPE: Bound = Bound::new(1 << 20, 4_096);

/// The bytes of an announcement besides its entry and targets, at most.
const BESIDE: usize = 512;

/// Numbers and publishes envelopes.
pub(super) struct Announcer {
    connection: Connection,
    origin: String,
    /// LockGuard until what was numbered is on its way, so that envelopes go out in
    /// the order of their numbers.
    numbers: Mutex<FxHashMap<NodeIncarnation, Count>>,
}

/// The envelopes sent to one node.
#[derive(Default)]
struct Count {
    sent: u64,
    /// Rounds in a row in which the node had no lease.
    absent: u32,
}

/// An event to announce, and the users on each node who get it.
pub(super) struct PendingAnnouncement {
    pub(super) conversation: ConversationId,
    /// The seq of a message; 0 for a change.
    pub(super) seq: Seq,
    /// The encoded entry.
    pub(super) entry: Bytes,
    /// The trace of its post.
    pub(super) trace: Bytes,
    /// Node, user, and position in the user's inbox.
    pub(super) targets: Vec<(NodeIncarnation, UserId, u64)>,
}

/// A publication to announce, and the nodes that get it.
pub(super) struct PendingPublication {
    pub(super) channel: ChannelId,
    pub(super) seq: Seq,
    /// The encoded entry.
    pub(super) entry: Bytes,
    pub(super) nodes: Vec<NodeIncarnation>,
}

/// The encoded fields of the envelopes for each node.
#[derive(Default)]
struct Bodies<'a>(FxHashMap<&'a NodeIncarnation, Vec<(BytesMut, Load)>>);

impl<'a> Bodies<'a> {
    /// The buffer for a field of this many bytes.
    fn room(&mut self, node: &'a NodeIncarnation, size: usize) -> &mut BytesMut {
        let all = self.0.entry(node).or_default();
        if !all.last_mut().is_some_and(|(_, load)| load.add(size)) {
            let mut load = ENVELOPE.load();
            load.add(size);
            all.push((BytesMut::with_capacity(size), load));
        }
        &mut all.last_mut().expect("there is one now").0
    }
}

impl Announcer {
    pub(super) fn new(connection: Connection, origin: String) -> Self {
        Self { connection, origin, numbers: Mutex::default() }
    }

    /// Publishes events, in one envelope a node where they fit. Their envelopes are
    /// on their way when this returns, before all that is sent later; that they
    /// arrive is not waited for (in a Cluster it is). A number is used up even if
    /// its envelope is lost: so the node notices.
    pub(super) async fn announce(&self, store: &Arc<str>, events: &[PendingAnnouncement]) -> Result<()> {
        let mut nodes = Bodies::default();
        for event in events {
            let mut targets: FxHashMap<&NodeIncarnation, BytesMut> = FxHashMap::default();
            for (node, user, position) in &event.targets {
                put_target(targets.entry(node).or_default(), user, *position);
            }
            for (node, targets) in targets {
                let size = event.entry.len() + targets.len() + BESIDE;
                put_announcement(nodes.room(node, size), event, &targets);
            }
        }
        self.announce_all(store, nodes).await
    }

    /// Publishes notices, in one envelope a node where they fit.
    pub(super) async fn notify(&self, store: &Arc<str>, notices: &[(NodeIncarnation, Notice)]) -> Result<()> {
        let mut nodes = Bodies::default();
        for (node, notice) in notices {
            let room = nodes.room(node, in_list(notice.encoded_len()));
            prost::encoding::message::encode(5, notice, room);
        }
        let mut numbers = self.numbers.lock().await;
        let envelopes = self.number(&mut numbers, store, nodes).into_iter();
        let sends = envelopes.map(|(node, envelope)| self.connection.publish(node.as_str(), envelope));
        all_sent(sends.collect(), numbers).await
    }

    /// Publishes publications, once to each node of their channel's audience; as
    /// [`Self::announce`] does.
    pub(super) async fn announce_publications(
        &self,
        store: &Arc<str>,
        published: &[PendingPublication],
    ) -> Result<()> {
        let mut nodes = Bodies::default();
        for publication in published {
            let mut bytes = BytesMut::new();
            put_publication(&mut bytes, publication);
            for node in &publication.nodes {
                nodes.room(node, bytes.len()).extend_from_slice(&bytes);
            }
        }
        self.announce_all(store, nodes).await
    }

    async fn announce_all(&self, store: &Arc<str>, nodes: Bodies<'_>) -> Result<()> {
        let mut numbers = self.numbers.lock().await;
        let envelopes = self.number(&mut numbers, store, nodes).into_iter();
        let sends = envelopes.map(|(node, envelope)| self.connection.announce(node.as_str(), envelope));
        // Started in this order, they are written in this order on the one
        // connection.
        join_all(sends.collect::<Vec<_>>()).await.into_iter().collect()
    }

    /// Envelopes with these fields, each with its node's next number.
    fn number<'a>(
        &self,
        numbers: &mut FxHashMap<NodeIncarnation, Count>,
        store: &Arc<str>,
        nodes: Bodies<'a>,
    ) -> Vec<(&'a NodeIncarnation, Bytes)> {
        let bodies = nodes.0.into_iter().flat_map(|(node, all)| all.into_iter().map(move |one| (node, one)));
        let envelopes = bodies.map(|(node, (body, _))| {
            let count = numbers.entry(node.clone()).or_default();
            count.sent += 1;
            let head = Envelope {
                store: store.to_string(),
                origin: self.origin.clone(),
                number: count.sent,
                ..Envelope::default()
            };
            let mut envelope = BytesMut::with_capacity(head.encoded_len() + body.len());
            // It has room.
            let _ = head.encode(&mut envelope);
            envelope.extend_from_slice(&body);
            (node, envelope.freeze())
        });
        envelopes.collect()
    }

    /// Tells every node how many envelopes it was sent, so that it notices when
    /// the last one was lost, and when this router is gone. Forgets nodes that
    /// are gone.
    ///
    /// With a doubt whether something was written that nobody was told of, it
    /// counts one more than it sent: every node reads from the log.
    pub(super) async fn counts(
        &self,
        store: &Arc<str>,
        live: &FxHashSet<NodeIncarnation>,
        doubt: bool,
    ) -> Result<()> {
        let mut numbers = self.numbers.lock().await;
        for node in live {
            if !numbers.contains_key(node) {
                numbers.insert(node.clone(), Count::default());
            }
        }
        for (node, count) in numbers.iter_mut() {
            count.absent = if live.contains(node) { 0 } else { count.absent + 1 };
            count.sent += u64::from(doubt);
        }
        // Not at once: the node may have come after `live` was read.
        numbers.retain(|_, count| count.absent < GONE);
        self.tell_counts(store, numbers, false).await
    }

    /// Tells every node that this router has ended as it should: nothing more
    /// will come, and nothing is missing.
    pub(super) async fn farewell(&self) -> Result<()> {
        let numbers = self.numbers.lock().await;
        self.tell_counts("", numbers, true).await
    }

    async fn tell_counts(
        &self,
        store: &str,
        numbers: MutexGuard<'_, FxHashMap<NodeIncarnation, Count>>,
        farewell: bool,
    ) -> Result<()> {
        let sends = numbers.iter().map(|(node, count)| {
            let envelope = Envelope {
                store: store.to_string(),
                origin: self.origin.clone(),
                count: count.sent,
                farewell,
                ..Envelope::default()
            };
            let (connection, node) = (&self.connection, node.clone());
            async move { connection.publish(node.as_str(), envelope.encode_to_vec().into()).await }
        });
        all_sent(sends.collect(), numbers).await
    }
}

/// Waits until everything was passed on. The numbers are free as soon as all is on
/// its way: what is numbered next goes out behind it.
async fn all_sent<T>(sends: Vec<impl Future<Output = Result<()>>>, numbers: T) -> Result<()> {
    let mut sends = join_all(sends);
    let sent = std::future::poll_fn(|task| Poll::Ready(Pin::new(&mut sends).poll(task))).await;
    drop(numbers);
    let sent = match sent {
        Poll::Ready(sent) => sent,
        Poll::Pending => sends.await,
    };
    sent.into_iter().collect()
}

/// Writes `Announcement.targets`. Written by hand, since the entry beside it is
/// passed on without being decoded.
fn put_target(into: &mut BytesMut, user: &UserId, position: u64) {
    let target = proto::wire::Target { user: user.to_string(), position };
    prost::encoding::message::encode(4, &target, into);
}

/// Writes `Envelope.announcements`.
fn put_announcement(into: &mut BytesMut, event: &PendingAnnouncement, targets: &[u8]) {
    let mut head = BytesMut::new();
    prost::encoding::string::encode(1, &event.conversation.to_string(), &mut head);
    if event.seq.0 > 0 {
        prost::encoding::uint64::encode(2, &event.seq.0, &mut head);
    }
    let entry = event.entry.len();
    let trace = trace_field(&event.trace);
    let length = head.len() + 1 + encoded_len_varint(entry as u64) + entry + targets.len() + trace.len();
    encode_key(4, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
    into.put_slice(&head);
    encode_key(3, WireType::LengthDelimited, into);
    encode_varint(entry as u64, into);
    into.put_slice(&event.entry);
    into.put_slice(targets);
    into.put_slice(&trace);
}

/// The encoded field `Announcement.trace`; empty for what is not traced.
fn trace_field(trace: &Bytes) -> Bytes {
    if trace.is_empty() {
        return Bytes::new();
    }
    let mut field = BytesMut::new();
    prost::encoding::bytes::encode(5, trace, &mut field);
    field.freeze()
}

/// Writes `Envelope.publications`.
fn put_publication(into: &mut BytesMut, publication: &PendingPublication) {
    let mut head = BytesMut::new();
    prost::encoding::string::encode(1, &publication.channel.to_string(), &mut head);
    prost::encoding::uint64::encode(2, &publication.seq.0, &mut head);
    let entry = publication.entry.len();
    let length = head.len() + 1 + encoded_len_varint(entry as u64) + entry;
    encode_key(8, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
    into.put_slice(&head);
    encode_key(3, WireType::LengthDelimited, into);
    encode_varint(entry as u64, into);
    into.put_slice(&publication.entry);
}

#[cfg(test)]
mod tests {
    use proto::wire::{Announcement, Entry, Publication, Target};

    use super::*;

    #[test]
    fn an_announcement_put_together_by_hand_is_the_one_of_the_contract() {
        let entry = Entry { fingerprint: 7, time: 9, by: "alice".into(), what: None };
        let node = NodeIncarnation::parse("gw").unwrap();
        let bob = UserId::parse("bob").unwrap();
        let event = PendingAnnouncement {
            conversation: ConversationId::parse("alice~bob").unwrap(),
            seq: Seq(300),
            entry: entry.encode_to_vec().into(),
            trace: Bytes::from_static(b"trace"),
            targets: vec![(node, bob.clone(), 5)],
        };
        let mut targets = BytesMut::new();
        put_target(&mut targets, &bob, 5);
        let mut bytes = BytesMut::new();
        put_announcement(&mut bytes, &event, &targets);
        let announcement = Announcement {
            conversation: "alice~bob".into(),
            seq: 300,
            entry: Some(entry),
            targets: vec![Target { user: "bob".into(), position: 5 }],
            trace: Bytes::from_static(b"trace"),
        };
        let expected = Envelope { announcements: vec![announcement], ..Envelope::default() };
        assert_eq!(Envelope::decode(bytes.freeze()).unwrap(), expected);
    }

    #[test]
    fn a_publication_put_together_by_hand_is_the_one_of_the_contract() {
        let entry = Entry { fingerprint: 7, time: 9, by: "alice".into(), what: None };
        let published = PendingPublication {
            channel: ChannelId::parse("c_news").unwrap(),
            seq: Seq(300),
            entry: entry.encode_to_vec().into(),
            nodes: Vec::new(),
        };
        let mut bytes = BytesMut::new();
        put_publication(&mut bytes, &published);
        let publication = Publication { channel: "c_news".into(), seq: 300, entry: Some(entry) };
        let expected = Envelope { publications: vec![publication], ..Envelope::default() };
        assert_eq!(Envelope::decode(bytes.freeze()).unwrap(), expected);
    }
}
