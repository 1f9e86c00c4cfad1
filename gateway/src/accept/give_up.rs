//! The end of all connections. Every wait for a socket also waits for it, so a look
//! at it must be cheap: a token's own look takes its lock each time.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// For all connections of a node.
#[derive(Debug, Default)]
pub(super) struct GiveUp {
    /// Set before the token is cancelled.
    given_up: Arc<AtomicBool>,
    token: CancellationToken,
}

/// One socket's.
#[derive(Debug)]
pub(super) struct SocketGiveUp {
    given_up: Arc<AtomicBool>,
    /// Wakes whoever asked last.
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    asked: Option<Waker>,
}

impl GiveUp {
    /// All connections close.
    pub(super) fn cancel(&self) {
        self.given_up.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(super) async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// For one socket. It has a token of its own: sockets must not contend for one.
    pub(super) fn for_socket(&self) -> SocketGiveUp {
        let cancelled = Box::pin(self.token.child_token().cancelled_owned());
        SocketGiveUp { given_up: self.given_up.clone(), cancelled, asked: None }
    }
}

impl SocketGiveUp {
    /// Waits for the end, together with something else of the same task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given_up.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if !self.asked.as_ref().is_some_and(|asked| asked.will_wake(cx.waker())) {
            ready!(self.cancelled.as_mut().poll(cx));
            self.asked = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_waited_last_is_woken_and_whoever_comes_later_need_not_wait() {
        let all = GiveUp::default();
        let mut socket = all.for_socket();
        let tasks: [Arc<Woken>; 3] = Default::default();
        let mut wait =
            |task: &Arc<Woken>| socket.poll(&mut Context::from_waker(&task.clone().into())).is_ready();
        // Whoever owned the socket before, and the owner now, who asks again.
        assert_eq!([0, 1, 1].map(|place| wait(&tasks[place])), [false; 3]);
        all.cancel();
        assert_eq!(tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed)), [0, 1, 0]);
        assert_eq!([1, 2].map(|place| wait(&tasks[place])), [true; 2]);
        assert!(all.for_socket().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
