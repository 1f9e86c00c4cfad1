//! What one router itself publishes: notices, and step by step announcements,
//! in envelopes that it numbers for each node, and its counts.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use proto::weight::in_list;
use proto::wire::{Envelope, Notice};
use proto::{Bound, ChannelId, ConversationId, Load, NodeIncarnation, Seq, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Mutex;

use super::link::Link;
use crate::Result;

/// Looks without a lease after which a node is forgotten: an incarnation never
/// comes back.
const GONE: u32 = 60;

/// One envelope at most, but for a single field that is larger: a node that is
/// slow would lose its subscription over few that are large.
pub(crate) const ENVELOPE: Bound = Bound::new(1 << 20, 4_096);

/// What an announcement takes beside its entry and its targets, at most.
const BESIDE: usize = 512;

/// Numbers and publishes.
pub(super) struct Announcer {
    link: Link,
    origin: String,
    /// Held while publishing, so that numbers go out in order.
    numbers: Mutex<FxHashMap<NodeIncarnation, Count>>,
}

/// Envelopes sent to a node.
#[derive(Default)]
struct Count {
    sent: u64,
    /// Looks that have not found its lease.
    absent: u32,
}

/// One event and whom it is for, on each node.
pub(super) struct Announced {
    pub(super) conversation: ConversationId,
    /// 0 for a change.
    pub(super) seq: Seq,
    /// The encoded entry.
    pub(super) entry: Bytes,
    /// Of its post.
    pub(super) trace: Bytes,
    /// The node, the user, and the position in the user's inbox.
    pub(super) targets: Vec<(NodeIncarnation, UserId, u64)>,
}

/// Something published to a channel, and the nodes that are told.
pub(super) struct Published {
    pub(super) channel: ChannelId,
    pub(super) seq: Seq,
    /// The encoded entry.
    pub(super) entry: Bytes,
    pub(super) nodes: Vec<NodeIncarnation>,
}

/// The fields of envelopes to each node, in their order.
#[derive(Default)]
struct Bodies<'a>(FxHashMap<&'a NodeIncarnation, Vec<(BytesMut, Load)>>);

impl<'a> Bodies<'a> {
    /// Where a field of so many bytes goes.
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
    pub(super) fn new(link: Link, origin: String) -> Self {
        Self { link, origin, numbers: Mutex::default() }
    }

    /// Publishes one envelope to each node. A number is used up even when its
    /// envelope is lost: that is how the node hears of it.
    pub(super) async fn announce(
        &self,
        store: &Arc<str>,
        events: &[Announced],
        notices: &[(NodeIncarnation, Notice)],
    ) -> Result<()> {
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
        for (node, notice) in notices {
            let room = nodes.room(node, in_list(notice.encoded_len()));
            prost::encoding::message::encode(5, notice, room);
        }
        self.publish(store, nodes).await
    }

    /// The same for what was published to channels: once to each node of the
    /// audience.
    pub(super) async fn announce_publications(
        &self,
        store: &Arc<str>,
        published: &[Published],
    ) -> Result<()> {
        let mut nodes = Bodies::default();
        for publication in published {
            let mut bytes = BytesMut::new();
            put_publication(&mut bytes, publication);
            for node in &publication.nodes {
                nodes.room(node, bytes.len()).extend_from_slice(&bytes);
            }
        }
        self.publish(store, nodes).await
    }

    /// Numbers and publishes envelopes with these fields to each node.
    async fn publish(&self, store: &Arc<str>, nodes: Bodies<'_>) -> Result<()> {
        let mut numbers = self.numbers.lock().await;
        let mut sends = Vec::with_capacity(nodes.0.len());
        let bodies = nodes.0.into_iter().flat_map(|(node, all)| all.into_iter().map(move |one| (node, one)));
        for (node, (body, _)) in bodies {
            let count = numbers.entry(node.clone()).or_default();
            count.sent += 1;
            let head = Envelope {
                store: store.to_string(),
                origin: self.origin.clone(),
                number: count.sent,
                ..Envelope::default()
            };
            let mut envelope = BytesMut::from(head.encode_to_vec().as_slice());
            envelope.extend_from_slice(&body);
            sends.push(self.link.publish(node.as_str(), envelope.freeze()));
        }
        // Joined, they are written in this order on the one connection.
        for sent in futures_util::future::join_all(sends).await {
            sent?;
        }
        Ok(())
    }

    /// Tells every node how many envelopes there were, so that it hears of a
    /// lost last one; forgets nodes that are gone.
    pub(super) async fn counts(&self, store: &Arc<str>, live: &FxHashSet<NodeIncarnation>) -> Result<()> {
        let mut numbers = self.numbers.lock().await;
        for (node, count) in numbers.iter_mut() {
            count.absent = if live.contains(node) { 0 } else { count.absent + 1 };
        }
        // Not at once: the node may be newer than the look.
        numbers.retain(|_, count| count.absent < GONE);
        let sends = numbers.iter().map(|(node, count)| {
            let envelope = Envelope {
                store: store.to_string(),
                origin: self.origin.clone(),
                count: count.sent,
                ..Envelope::default()
            };
            self.link.publish(node.as_str(), envelope.encode_to_vec().into())
        });
        for sent in futures_util::future::join_all(sends).await {
            sent?;
        }
        Ok(())
    }
}

/// `Announcement.targets`: by hand, as the entry beside it is passed on
/// without being decoded.
fn put_target(into: &mut BytesMut, user: &UserId, position: u64) {
    let target = proto::wire::Target { user: user.to_string(), position };
    prost::encoding::message::encode(4, &target, into);
}

/// `Envelope.announcements`.
fn put_announcement(into: &mut BytesMut, event: &Announced, targets: &[u8]) {
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

/// `Announcement.trace`; nothing for what is not traced.
pub(super) fn trace_field(trace: &Bytes) -> Bytes {
    if trace.is_empty() {
        return Bytes::new();
    }
    let mut field = BytesMut::new();
    prost::encoding::bytes::encode(5, trace, &mut field);
    field.freeze()
}

/// `Envelope.publications`.
fn put_publication(into: &mut BytesMut, publication: &Published) {
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
        let event = Announced {
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
        let published = Published {
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
