//! What fuzzing holds the envelopes of the bus to.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use proto::wire::{Announcement, Envelope, Publication};
use proto::{ChannelId, ConversationId, Seq, UserId};

use super::{PendingAnnouncement, PendingPublication, put_announcement, put_publication, put_target};
use crate::redis::tracking::Tracking;

/// Envelopes, each with its length (two bytes) before it. What routers put together
/// by hand is what the messages of protobuf say; and a hole is told exactly where
/// numbers have one.
pub fn envelopes(mut bytes: &[u8]) {
    let mut tracking = Tracking::default();
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (envelope, rest) = rest.split_at(length);
        bytes = rest;
        let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(envelope)) else { continue };
        envelope.announcements.iter().for_each(announced);
        envelope.publications.iter().for_each(published);
        assert_eq!(Envelope::decode(&*envelope.encode_to_vec()).as_ref(), Ok(&envelope));
        let store = tracking.store(&envelope);
        assert!(store.is_none() || tracking.store(&envelope).is_none(), "an incarnation is new once");
        let Envelope { origin, number, count, .. } = envelope.clone();
        let own = origin.is_empty() && number == 0 && count == 0;
        let before = newest.get(&origin).copied().unwrap_or_default();
        let hole = match number {
            0 => count > before,
            number => number.checked_sub(1) != Some(before),
        };
        assert_eq!(tracking.hole(&envelope), hole && !own, "{origin} {before} {number} {count}");
        if !own {
            newest.insert(origin, if number == 0 { count.max(before) } else { number });
        }
    }
}

fn announced(announcement: &Announcement) {
    let Ok(conversation) = ConversationId::parse(&announcement.conversation) else { return };
    let Some(entry) = &announcement.entry else { return };
    let mut targets = BytesMut::new();
    for target in &announcement.targets {
        let Ok(user) = UserId::parse(&target.user) else { return };
        put_target(&mut targets, &user, target.position);
    }
    let pending = PendingAnnouncement {
        conversation,
        seq: Seq(announcement.seq),
        entry: entry.encode_to_vec().into(),
        trace: announcement.trace.clone(),
        targets: Vec::new(),
    };
    let mut written = BytesMut::new();
    put_announcement(&mut written, &pending, &targets);
    let expected = Envelope { announcements: vec![announcement.clone()], ..Envelope::default() };
    assert_eq!(Envelope::decode(written.freeze()), Ok(expected));
}

fn published(publication: &Publication) {
    let Ok(channel) = ChannelId::parse(&publication.channel) else { return };
    let Some(entry) = &publication.entry else { return };
    let (seq, entry) = (Seq(publication.seq), entry.encode_to_vec().into());
    let mut written = BytesMut::new();
    put_publication(&mut written, &PendingPublication { channel, seq, entry, nodes: Vec::new() });
    let expected = Envelope { publications: vec![publication.clone()], ..Envelope::default() };
    assert_eq!(Envelope::decode(written.freeze()), Ok(expected));
}
