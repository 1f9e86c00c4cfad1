//! A session that is spoken inside another protocol's framing: its commands one
//! way, its frames the other, its token's end, and its end. How both are written is
//! for whoever has one of these.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use http::StatusCode;
use proto::{End, TokenEnd};
use tokio::time::{Instant, Sleep, sleep_until};

use super::opening::{self, OpenSession};
use crate::caller::half_sent::Part;
use crate::caller::identity::{Caller, Identity};
use crate::gateway::Gateway;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::session::expiry;
use crate::session::tail::{StartAt, Tail};
use crate::transport::inside::Refusal;
use crate::transport::uplink::Uplink;

/// One session. Its commands and its frames may be asked for by two tasks, one
/// after the other under a lock.
pub(super) struct TwoWay {
    tail: Tail,
    uplink: Uplink,
    /// The end of the token that `tick` counts with, in Unix seconds.
    token_end: TokenEnd,
    /// When there is next something to see to by the clock.
    tick: Pin<Box<Sleep>>,
    held: Part,
    /// Who waits until one more command may be taken.
    ready: Option<Waker>,
    /// The session has been ended here: by when the answers must have come.
    last: Option<Instant>,
    _open: OpenSession,
    gateway: Arc<Gateway>,
}

impl TwoWay {
    /// Opens a session of the caller's that begins at `from`. `name` is the
    /// transport's in metrics; what is half sent counts for the credential's user.
    pub(super) async fn open(
        gateway: &Arc<Gateway>,
        name: &'static str,
        caller: &Caller,
        from: StartAt,
    ) -> Result<Self, Failure> {
        let tail = opening::open(gateway, caller, from).await?;
        let Identity { user: payer, permissions, .. } = &caller.identity;
        Ok(Self {
            uplink: Uplink::new(gateway.clone(), tail.session.clone(), permissions.clone(), name),
            token_end: tail.session.token_end(),
            tick: Box::pin(sleep_until(expiry::of(&tail.session))),
            held: Part::new(&gateway.half_sent, payer),
            ready: None,
            last: None,
            _open: OpenSession::new(name, &tail.session),
            gateway: gateway.clone(),
            tail,
        })
    }

    /// Waits until one more command may be taken. Once the session has ended any
    /// may, and has no effect.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let most = self.gateway.config.limits.commands_in_flight;
        let session = &self.tail.session;
        let has_room = session.has_ended().is_some() || session.room_for_commands(most) > 0;
        if self.poll_held(cx).is_ready() && has_room {
            return Poll::Ready(());
        }
        self.ready = Some(cx.waker().clone());
        Poll::Pending
    }

    /// How many commands may be given before [`Self::poll_ready`] is asked again.
    pub(super) fn room(&self) -> usize {
        let most = self.gateway.config.limits.commands_in_flight;
        if self.uplink.is_holding() { 0 } else { self.tail.session.room_for_commands(most) }
    }

    /// Gives the session a command, or something that is none. What comes after its
    /// end is not begun, and so it is not answered.
    pub(super) fn hear(&mut self, give: impl FnOnce(&mut Uplink) -> Option<End>) {
        if self.tail.session.has_ended().is_none()
            && let Some(end) = give(&mut self.uplink)
        {
            self.end(end);
        }
    }

    /// Waits for the frames that come next, or for the end after the last of them.
    pub(super) fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Frame>,
        most: usize,
    ) -> Poll<Result<(), End>> {
        let held = self.uplink.is_holding();
        // Decided or not: what becomes of it comes as a frame.
        let decided = self.poll_held(cx).is_ready() && held;
        let mut next = self.tail.poll_next(cx, out, most);
        if next.is_pending()
            && let Some(end) = self.poll_tick(cx)
        {
            next = Poll::Ready(Err(end));
        }
        if (decided || next.is_ready())
            && let Some(waker) = self.ready.take()
        {
            // Answers that have gone make room for commands.
            waker.wake();
        }
        next
    }

    /// So many bytes are held now that are not heard yet. Fails when there is no room
    /// for them.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        self.held.hold(bytes)
    }

    /// Tells the client of a failure that is of no command.
    pub(super) fn answer(&self, failure: Failure) {
        self.tail.session.command_begins();
        self.tail.session.answer(Frame::Error(None, Box::new(failure)));
    }

    /// Waits until only the goodbye is left, while no frames can be written.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_tick(cx).is_some() {
            return Poll::Ready(());
        }
        if self.tail.session.poll_over(cx).is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ends here: the client is silent, or has not taken what it was told. Returns why:
    /// the session may have ended before.
    pub(super) fn lose(&mut self) -> End {
        let session = &self.tail.session;
        session.end(End::HeartbeatMissed);
        session.has_ended().unwrap_or(End::HeartbeatMissed)
    }

    /// Ends the session, once what has begun is answered.
    pub(super) fn end(&mut self, end: End) {
        self.tail.session.end(end);
        let within = self.gateway.config.limits.command_timeout * 2;
        self.last.get_or_insert_with(|| Instant::now() + within);
    }

    /// Waits until no command is held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.uplink.is_holding() {
            if let Some(end) = ready!(self.uplink.poll_held(cx)) {
                self.end(end);
            }
        }
        Poll::Ready(())
    }

    /// Looks at the clock; says when it is over.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let session = &self.tail.session;
        if self.token_end != session.token_end() || self.last.is_some_and(|last| last < self.tick.deadline())
        {
            self.token_end = session.token_end();
            let due = self.last.unwrap_or_else(|| expiry::of(session));
            self.tick.as_mut().reset(due);
        }
        while self.tick.as_mut().poll(cx).is_ready() {
            if self.last.is_some_and(|last| Instant::now() >= last) {
                return Some(session.has_ended().unwrap_or(End::Bye));
            }
            expiry::check(session);
            let due = self.last.unwrap_or_else(|| expiry::of(session));
            self.tick.as_mut().reset(due);
        }
        None
    }
}

/// A refused command, as the answer of another protocol.
pub(super) fn refusal(failure: Failure) -> Refusal {
    Refusal {
        status: StatusCode::from_u16(failure.code.status()).expect("the codes' statuses are valid"),
        retry_after: failure.retry_after_ms.map(|milliseconds| milliseconds.div_ceil(1_000).max(1)),
        message: failure.message,
    }
}
