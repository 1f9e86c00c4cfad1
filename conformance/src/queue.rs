//! What is heard and not said yet: bounded, and pulled by whoever says it.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Bytes in a queue beyond which nothing more is heard.
const MOST: usize = 1 << 20;
/// What an item takes beside its bytes, about.
const ITEM: usize = 64;

/// Items in their order.
pub(crate) struct Queue<T> {
    items: VecDeque<T>,
    /// The bytes of an item.
    size: fn(&T) -> usize,
    bytes: usize,
    /// Who waits until there is room, and who waits for an item.
    ready: Option<Waker>,
    say: Option<Waker>,
}

impl<T> Queue<T> {
    /// Nothing yet.
    pub(crate) fn new(size: fn(&T) -> usize) -> Self {
        Self { items: VecDeque::new(), size, bytes: 0, ready: None, say: None }
    }

    /// Waits until there is room.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes < MOST {
            return Poll::Ready(());
        }
        self.ready = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, item: T) {
        self.bytes += ITEM + (self.size)(&item);
        self.items.push_back(item);
        wake(&mut self.say);
    }

    /// Waits for items, and moves at most `most` to `out`.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>, out: &mut Vec<T>, most: usize) -> Poll<()> {
        if self.items.is_empty() {
            self.say = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for item in self.items.drain(..most.min(self.items.len())) {
            self.bytes -= ITEM + (self.size)(&item);
            out.push(item);
        }
        wake(&mut self.ready);
        Poll::Ready(())
    }
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
