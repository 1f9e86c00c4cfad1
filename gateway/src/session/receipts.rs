//! The receipts that follow from messages: who writes a message has read
//! everything up to it. Nothing is stored or announced for that: a gateway
//! makes the `receipt` when it hands a message out (PROTOCOL.md §4; ADR 0015).
//!
//! The receipt comes right after its message. If a connection breaks between
//! the two, it is not sent again: the client has the message, which implies it.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::protocol::frame::Frame;
use crate::protocol::mark::Mark;
use crate::session::newest_marks::Newest;

/// Adds the receipts of messages that are handed out: of several by one user in
/// one conversation only for the last. None where `newest` knows a higher mark:
/// the session hears of that.
pub(crate) fn add_receipts(newest: &Newest, frames: &mut Vec<Frame>, from: usize) {
    // Usually one, which needs no allocation.
    let mut places: SmallVec<[usize; 4]> = SmallVec::new();
    for (place, frame) in frames.iter().enumerate().skip(from).rev() {
        let Some(mark) = mark(frame) else { continue };
        let said = || places.iter().filter_map(|place| self::mark(frames.get(*place)?));
        if !said().any(|later| later.covers(&mark)) && newest.is_newest(&mark) {
            places.push(place);
        }
    }
    // From the last to the first, so that earlier indexes stay valid.
    for place in places {
        if let Some(Frame::Event(_, event)) = frames.get(place)
            && let Some(receipt) = event.receipt()
        {
            frames.insert(place + 1, Frame::Receipt(Arc::clone(receipt)));
        }
    }
}

/// Removes the last of these receipts if a response would have more than `most`
/// frames: it must hold as many events as were asked for.
pub(crate) fn leave_room(frames: &mut Vec<Frame>, most: usize) {
    let mut place = frames.len();
    while frames.len() > most && place > 1 {
        place -= 1;
        if let [Frame::Event(_, event), Frame::Receipt(receipt)] = &frames[place - 1..=place]
            && event.mark().is_some_and(|mark| mark == receipt.mark())
        {
            frames.remove(place);
        }
    }
}

fn mark(frame: &Frame) -> Option<Mark<'_>> {
    match frame {
        Frame::Event(_, event) => event.mark(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proto::Position;
    use proto::wire::entry::What;
    use proto::wire::{self, Entry, Message};

    use super::*;
    use crate::protocol::event::Event;

    fn message(by: &str, seq: u64) -> Frame {
        let what = What::Message(Message::default());
        let entry = Entry { by: by.into(), what: Some(what), ..Entry::default() };
        let event = wire::Event { conversation: "a~b".into(), seq, entry: Some(entry), state: None };
        Frame::Event(Position(seq), Arc::new(Event::from(event)))
    }

    fn words(frames: &[Frame]) -> Vec<String> {
        let word = |frame: &Frame| match frame {
            Frame::Receipt(receipt) => format!("{} read {}", receipt.user, receipt.seq),
            other => format!("{} {}", other.kind(), mark(other).map_or(0, |mark| mark.seq)),
        };
        frames.iter().map(word).collect()
    }

    #[test]
    fn a_receipt_stands_right_behind_the_last_message_of_each_sender() {
        let newest = Newest::new();
        let mut frames = vec![message("a", 1), Frame::Pong(None)];
        frames.extend([message("a", 2), message("b", 3), message("b", 4)]);
        add_receipts(&newest, &mut frames, 1);
        let expected = ["message 1", "pong 0", "message 2", "a read 2", "message 3", "message 4", "b read 4"];
        assert_eq!(words(&frames), expected);
        leave_room(&mut frames, 6);
        assert_eq!(words(&frames), expected[..6]);
        leave_room(&mut frames, 5);
        assert_eq!(words(&frames), ["message 1", "pong 0", "message 2", "message 3", "message 4"]);
    }

    #[test]
    fn nothing_is_said_where_more_is_known() {
        let newest = Newest::new();
        let read = |seq| wire::Receipt { conversation: "a~b".into(), user: "a".into(), kind: 2, seq };
        newest.admits(&(&read(7)).into());
        for (seq, count) in [(6, 1), (7, 2), (8, 2)] {
            let mut frames = vec![message("a", seq)];
            add_receipts(&newest, &mut frames, 0);
            assert_eq!(frames.len(), count, "{seq}");
        }
    }
}
