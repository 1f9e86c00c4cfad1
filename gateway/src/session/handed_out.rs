//! What a session has handed out and its client has not acknowledged: so an `ack`
//! names the marks to set, and the store need not read the inbox for it.
//!
//! Invariant: what is named is everything after a cursor up to which all marks
//! are known to be set. That is known where a router said so: when the session
//! attached at an acknowledged cursor, or when it answered an `ack`. Where it is
//! not known, the `ack` names nothing, and the router looks the marks up.

use std::collections::VecDeque;
use std::sync::Arc;

use proto::wire;
use proto::{Cursor, Position, StoreIncarnation};

use super::Session;
use super::gathered_acks::HeldAck;
use super::state::Feed;
use crate::protocol::event::Event;
use crate::protocol::frame::Frame;

/// The bytes that are remembered at most. Beyond them all of it is forgotten,
/// until the client acknowledges something.
const HELD: usize = 8 << 10;
/// The acknowledged position is told after this many events, and when the session
/// ends: it only says where looking up begins.
const TELL_EVERY: u64 = 64;

const _: () = assert!(HELD / size_of::<Delivery>() <= proto::limits::MAX_NAMED_MARKS);

#[derive(Debug)]
pub(super) struct HandedOut {
    user: Box<str>,
    /// What follows in `log` comes after this.
    after: Cursor,
    /// The incarnation of the store in which everything up to `after` is known to
    /// be marked; 0: it is not known.
    known: StoreIncarnation,
    /// The acknowledged position, as it was last told.
    told: Position,
    /// What was handed out after `after`, in order.
    log: VecDeque<Delivery>,
    bytes: usize,
    mode: Mode,
    /// Acknowledgements that wait for others of their group.
    pub(super) held: Vec<HeldAck>,
}

/// Whether it remembers. Where it does not, `after` goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Remembers,
    /// It was too much. The next `ack` begins anew.
    Full,
    /// The history may have become another one: until the session has compared
    /// its position, what is handed out may be of the one before.
    Doubts,
}

/// An event that was handed out.
#[derive(Debug)]
struct Delivery {
    cursor: Cursor,
    /// The conversation and seq of a message by somebody else.
    message: Option<(Arc<str>, u64)>,
}

/// An `ack` without an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AckClaim {
    cursor: Cursor,
    /// The store's incarnation, as it was known before; 0: the answer says nothing.
    store: StoreIncarnation,
    /// Whether it moves the acknowledged position.
    position: bool,
}

impl Session {
    /// From now on it remembers what it hands out: called once, for a transport
    /// over which the client can acknowledge.
    pub(crate) fn remember(&self) {
        let mut state = self.lock();
        let after = state.inbox.handed;
        let known = state.acknowledged.filter(|(cursor, _)| *cursor == after).map(|(_, store)| store);
        let live = matches!(state.feed, Feed::Live(_)) || !state.doubted;
        state.handed_out = Some(Box::new(HandedOut {
            user: self.user.as_str().into(),
            after,
            known: known.unwrap_or_default(),
            told: known.map_or(Position(0), |_| after.position),
            log: VecDeque::new(),
            bytes: 0,
            mode: if live { Mode::Remembers } else { Mode::Doubts },
            held: Vec::new(),
        }));
    }

    /// Everything up to this cursor, at which it begins, is acknowledged. `store` is
    /// the incarnation that this node knew before the session attached.
    pub(crate) fn begins_acknowledged(&self, cursor: Cursor, store: StoreIncarnation) {
        let mut state = self.lock();
        state.acknowledged = Some((cursor, store));
        if let Some(handed_out) = &mut state.handed_out {
            handed_out.acknowledged(AckClaim { cursor, store, position: true });
        }
    }

    /// Its client acknowledges this cursor. `store` is the incarnation that this
    /// node knows, read before: whatever is remembered was handed out in it.
    /// Returns what the request names, and what to give to
    /// [`Session::acknowledged`].
    pub(crate) fn acknowledges(
        &self,
        cursor: Cursor,
        store: StoreIncarnation,
    ) -> (Option<wire::HandedOut>, Option<AckClaim>) {
        let mut state = self.lock();
        let named = state.handed_out.as_mut().map(|handed_out| handed_out.name(cursor, store));
        let (handed_out, claim) = named.unzip();
        (handed_out.flatten(), claim)
    }

    /// A router has answered an `ack`: all its marks are set.
    pub(crate) fn acknowledged(&self, claim: AckClaim) {
        if let Some(handed_out) = &mut self.lock().handed_out {
            handed_out.acknowledged(claim);
        }
    }

    /// What is to be said of the acknowledged position when it ends, if anything.
    pub(crate) fn last_position(&self, store: StoreIncarnation) -> Option<(Cursor, wire::HandedOut)> {
        let state = self.lock();
        let handed_out = state.handed_out.as_ref()?;
        let says = handed_out.knows(store) && handed_out.after.position > handed_out.told;
        says.then(|| {
            (handed_out.after, wire::HandedOut { store: store.0, marks: Vec::new(), position: true })
        })
    }
}

impl HandedOut {
    /// The transport was given a frame.
    pub(super) fn note(&mut self, frame: &Frame) {
        match frame {
            Frame::Event(position, event) => self.push(event.cursor(*position), Some(event)),
            Frame::Sent { cursor: Some(cursor), .. } => self.push(*cursor, None),
            Frame::Reset(_, cursor) => self.forget(*cursor, self.mode),
            _ => {}
        }
    }

    /// The history may have become another one. `handed` is what the client was
    /// given last.
    pub(super) fn doubt(&mut self, handed: Cursor) {
        self.forget(handed, Mode::Doubts);
    }

    /// The session has compared its position with the log.
    pub(super) fn trust(&mut self) {
        if self.mode == Mode::Doubts {
            self.mode = Mode::Remembers;
        }
    }

    fn forget(&mut self, after: Cursor, mode: Mode) {
        let (user, held) = (std::mem::take(&mut self.user), std::mem::take(&mut self.held));
        *self = Self {
            user,
            held,
            after,
            known: StoreIncarnation::default(),
            told: Position(0),
            log: VecDeque::new(),
            bytes: 0,
            mode,
        };
    }

    fn knows(&self, store: StoreIncarnation) -> bool {
        store != StoreIncarnation::default() && self.known == store
    }

    fn push(&mut self, cursor: Cursor, event: Option<&Event>) {
        if self.mode != Mode::Remembers {
            self.after = cursor;
            return;
        }
        // Who sends a message has read up to it: no mark is needed.
        let mark = event.and_then(Event::mark).filter(|mark| mark.user != &*self.user);
        let message = mark.map(|mark| {
            let same = self.log.iter().rev().filter_map(|delivery| delivery.message.as_ref()).next();
            let same = same.filter(|(conversation, _)| **conversation == *mark.conversation);
            let conversation = same.map_or_else(|| mark.conversation.into(), |(same, _)| same.clone());
            (conversation, mark.seq)
        });
        let delivery = Delivery { cursor, message };
        self.bytes += delivery.weight();
        self.log.push_back(delivery);
        if self.bytes > HELD {
            self.forget(cursor, Mode::Full);
        }
    }

    /// How many deliveries reach up to this cursor; `None` if it was not handed
    /// out after `after`.
    fn count(&self, cursor: Cursor) -> Option<usize> {
        if cursor == self.after {
            return Some(0);
        }
        let at = self.log.binary_search_by_key(&cursor.position, |delivery| delivery.cursor.position).ok()?;
        (self.log[at].cursor == cursor).then_some(at + 1)
    }

    fn name(&mut self, cursor: Cursor, store: StoreIncarnation) -> (Option<wire::HandedOut>, AckClaim) {
        if self.mode == Mode::Full {
            self.mode = Mode::Remembers;
        }
        let says = if self.mode == Mode::Doubts { StoreIncarnation::default() } else { store };
        let mut claim = AckClaim { cursor, store: says, position: true };
        let count = self.count(cursor).filter(|_| self.knows(says));
        let named = count.map(|count| {
            let mut marks: Vec<wire::DeliveredMark> = Vec::new();
            // The newest of each conversation; most often there is one.
            for (conversation, seq) in self.log.range(..count).rev().filter_map(|one| one.message.as_ref()) {
                if marks.iter().all(|mark| mark.conversation != **conversation) {
                    marks.push(wire::DeliveredMark { conversation: conversation.to_string(), seq: *seq });
                }
            }
            claim.position = cursor.position.0 >= self.told.0 + TELL_EVERY;
            wire::HandedOut { store: store.0, marks, position: claim.position }
        });
        (named, claim)
    }

    fn acknowledged(&mut self, claim: AckClaim) {
        let says = claim.store != StoreIncarnation::default() && self.mode != Mode::Doubts;
        let Some(count) = self.count(claim.cursor).filter(|_| says) else { return };
        self.bytes -= self.log.drain(..count).map(|delivery| delivery.weight()).sum::<usize>();
        if self.log.is_empty() {
            self.log.shrink_to(16);
        }
        (self.after, self.known) = (claim.cursor, claim.store);
        if claim.position {
            self.told = claim.cursor.position.max(self.told);
        }
    }
}

impl Delivery {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.message.as_ref().map_or(0, |(conversation, _)| conversation.len())
    }
}

#[cfg(test)]
mod tests;
