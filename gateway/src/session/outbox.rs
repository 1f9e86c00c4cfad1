//! The frames that wait for a session's transport, and their weight.

use std::collections::VecDeque;

use proto::weight::PAGE;
use proto::{Bound, Load};

use crate::protocol::frame::Frame;

/// The most bytes of events and publications that wait in one session: a page,
/// and as many that come meanwhile.
const BYTES: usize = 2 * PAGE.bytes;

/// Frames in order. Those of the bus are limited here, answers by the commands
/// in flight.
#[derive(Debug)]
pub(super) struct Outbox {
    frames: VecDeque<Frame>,
    load: Load,
}

impl Outbox {
    /// An outbox of at most this many frames.
    pub(super) fn new(frames: usize) -> Self {
        Self { frames: VecDeque::new(), load: Bound::new(BYTES, frames).load() }
    }

    pub(super) fn push_back(&mut self, frame: Frame) {
        self.load.take(frame.weight(), 1);
        self.frames.push_back(frame);
    }

    pub(super) fn push_front(&mut self, frame: Frame) {
        self.load.take(frame.weight(), 1);
        self.frames.push_front(frame);
    }

    pub(super) fn extend(&mut self, frames: impl IntoIterator<Item = Frame>) {
        frames.into_iter().for_each(|frame| self.push_back(frame));
    }

    pub(super) fn pop_front(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.load.remove(frame.weight());
        // An idle session does not keep the memory of an earlier burst.
        if self.frames.is_empty() && self.frames.capacity() > 32 {
            self.frames = VecDeque::new();
        }
        Some(frame)
    }

    /// Leaves out those that are not to be kept, which may be changed in a way
    /// that does not change what they weigh.
    pub(super) fn retain_mut(&mut self, mut keep: impl FnMut(&mut Frame) -> bool) {
        let load = &mut self.load;
        self.frames.retain_mut(|frame| {
            let kept = keep(frame);
            if !kept {
                load.remove(frame.weight());
            }
            kept
        });
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether there is no room for more frames of the bus.
    pub(super) fn is_full(&self) -> bool {
        self.load.is_full()
    }

    /// Whether there is more than allowed.
    pub(super) fn is_over(&self) -> bool {
        self.load.is_over()
    }
}
