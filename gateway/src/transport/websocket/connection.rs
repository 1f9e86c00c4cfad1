//! Drives one WebSocket: both directions in turn, signs of life, peers that take no
//! data, and the close frames. What is said is the [`Subprotocol`]'s.

use std::borrow::Cow;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::codec::{self, Message};
use super::socket::Socket;
use crate::transport::inside::Close;

/// Messages of one peer that are taken before others of its thread have their turn:
/// who sends much must not hold up who sends little.
const TURN: usize = 32;
/// How long a peer may take to read our close frame and close its side.
const CLOSING: Duration = Duration::from_secs(2);
/// The most bytes read of a peer meanwhile.
const CLOSING_BYTES: usize = 16 << 20;
/// For a peer whose half-sent frames there is no room for ("try again later" in
/// IANA's registry of close codes).
const NO_ROOM: Close = Close::new(1013, "too much is half sent here");

/// What is spoken over a WebSocket. The connection asks it when the peer can take or
/// has sent something. Dropped before the close frame is sent: a peer that closes
/// slowly is not there any more.
pub(in crate::transport) trait Subprotocol: Send {
    /// Waits for what the peer is told next, and writes it. An error comes after the
    /// last of it.
    fn poll_say(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), Ending>>;

    /// Waits until it takes messages: this many, unless [`Self::hear`] says otherwise.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Ending>>;

    /// One message of the peer's; returns whether it takes another at once.
    fn hear(&mut self, cx: &mut Context<'_>, heard: PeerMessage<'_>) -> Result<bool, Ending>;

    /// So many bytes of the peer's are held now: of frames that are not whole or must
    /// wait. Fails when there is no room for them.
    fn hold(&mut self, bytes: usize) -> Result<(), NoRoom>;

    /// The peer has closed or broken the rules, and nothing more is heard of it.
    /// Returns whether something is still to be said before the close frame.
    fn finish(&mut self) -> bool {
        false
    }

    /// Waits until nothing but the close frame is left to say, while the peer takes no
    /// data.
    fn poll_over(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// It has ended with this: writes what is to go before the close frame, and returns
    /// that one.
    fn end(&mut self, close: Close, _socket: &mut Socket) -> Close {
        close
    }

    /// The peer is silent or has taken no data for too long: writes what is to go
    /// before the close frame, in case the peer takes it after all, and returns that.
    fn lose(&mut self, blocked: bool, socket: &mut Socket) -> Close;

    /// Asks the peer for a sign of life.
    fn ask(&mut self, socket: &mut Socket) {
        socket.push(codec::PING, &[]);
    }
}

/// A message of the peer's.
pub(in crate::transport) enum PeerMessage<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
}

/// The subprotocol has come to its end.
pub(in crate::transport) enum Ending {
    /// The socket takes nothing any more.
    Gone,
    /// The same, since its peer has shown no sign of life for too long.
    Lost,
    /// With this code and reason.
    Closed(Close),
}

impl Ending {
    /// Of a socket that has failed so.
    pub(in crate::transport) fn of(error: &io::Error) -> Self {
        // The kernel gives up a peer that has taken nothing for as long as it may be
        // silent.
        if error.kind() == io::ErrorKind::TimedOut { Self::Lost } else { Self::Gone }
    }
}

/// There is no room for bytes that are half sent.
pub(in crate::transport) struct NoRoom;

/// What a WebSocket is driven with.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport) struct Terms {
    /// Between two signs of life that it is asked for.
    pub(in crate::transport) interval: Duration,
    /// A peer that is silent for so long, or takes nothing, is dropped.
    pub(in crate::transport) silence: Duration,
    /// Bytes of one message at most.
    pub(in crate::transport) most: usize,
}

/// One WebSocket, and what is spoken over it.
pub(super) struct Connection<S> {
    socket: Socket,
    subprotocol: S,
    terms: Terms,
    /// When the peer last sent something, or took what it had not taken.
    heard: Instant,
    /// Messages heard in this turn.
    count: usize,
    /// When it is next asked for a sign of life.
    ask: Instant,
    /// While it does not take what is written: until when it may.
    blocked: Option<Instant>,
    /// Bytes that the subprotocol counts as held.
    held: usize,
    /// The last frame to a peer that has closed or broken the rules. From then on
    /// nothing is heard.
    farewell: Option<Farewell>,
}

/// The last frame to a peer.
enum Farewell {
    /// The reply to the peer's close frame, with the peer's code (RFC 6455 §5.5.1).
    Answer(Option<u16>),
    /// Our close frame, to which the peer must reply.
    Close(Close),
}

/// Why a connection is over.
enum Over {
    Ending(Ending),
    /// The peer has closed or broken the rules, and there is nothing more to say.
    Dismissed(Farewell),
    /// The peer is silent, or takes nothing.
    Lost,
}

impl From<Ending> for Over {
    fn from(ended: Ending) -> Self {
        Self::Ending(ended)
    }
}

impl<S: Subprotocol> Connection<S> {
    /// Asks for the first sign of life at `ask`; `held` bytes are counted already.
    pub(super) fn new(socket: Socket, subprotocol: S, terms: Terms, ask: Instant, held: usize) -> Self {
        let heard = Instant::now();
        Self { socket, subprotocol, terms, heard, count: 0, ask, blocked: None, held, farewell: None }
    }

    /// Drives it until one side ends it.
    pub(super) async fn serve(mut self) {
        let mut tick = pin!(sleep_until(self.next_tick()));
        let over = poll_fn(|cx| self.turn(cx, tick.as_mut())).await;
        let (blocked, socket) = (self.blocked.is_some(), &mut self.socket);
        let farewell = match (over, self.farewell) {
            (Over::Ending(Ending::Gone), _) => return,
            (Over::Dismissed(farewell), _) | (Over::Ending(Ending::Closed(_)), Some(farewell)) => farewell,
            (Over::Ending(Ending::Closed(close)), None) => {
                Farewell::Close(self.subprotocol.end(close, socket))
            }
            (Over::Lost | Over::Ending(Ending::Lost), farewell) => {
                let ours = self.subprotocol.lose(blocked, socket);
                farewell.unwrap_or(Farewell::Close(ours))
            }
        };
        drop(self.subprotocol);
        close(&mut self.socket, farewell).await;
    }

    /// Does everything that is possible now, in both directions in turn: a flood in
    /// one must not stop the other.
    fn turn(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<Over> {
        self.count = 0;
        // Once there is nothing to hear, whatever comes wakes the task.
        let mut hears = true;
        loop {
            // Data that the peer has not taken goes first; until then nothing else is
            // written.
            let flushed = match self.socket.poll_flush(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => return Poll::Ready(Ending::of(&error).into()),
                Poll::Pending => false,
            };
            let mut idle = true;
            if flushed {
                if self.blocked.take().is_some() {
                    // Nothing was read meanwhile, but taking data is a sign of life, too.
                    self.heard = Instant::now();
                }
                match self.subprotocol.poll_say(cx, &mut self.socket) {
                    Poll::Ready(Ok(())) => idle = false,
                    Poll::Ready(Err(ended)) => return Poll::Ready(ended.into()),
                    Poll::Pending => {}
                }
                if hears {
                    match self.hear(cx) {
                        Poll::Ready(Ok(())) => idle = false,
                        Poll::Ready(Err(over)) => return Poll::Ready(over),
                        Poll::Pending => hears = false,
                    }
                }
            } else {
                let now = Instant::now();
                let until = self.blocked.unwrap_or(now + self.terms.silence);
                // The last frames wait only for this long for a peer that takes no data.
                let over = self.subprotocol.poll_over(cx).is_ready();
                self.blocked = Some(if over { until.min(now + CLOSING) } else { until });
            }
            if idle && ready!(self.tick(cx, tick.as_mut())) {
                return Poll::Ready(Over::Lost);
            }
        }
    }

    /// Reads messages from the socket; while too many wait for an answer they stay
    /// there.
    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        if self.farewell.is_some() {
            return Poll::Pending;
        }
        let free = ready!(self.subprotocol.poll_ready(cx))?;
        if self.count >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut free = free.min(TURN - self.count);
        let mut bytes = match ready!(self.socket.poll_read(cx)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Poll::Ready(Err(Over::Ending(Ending::Gone))),
            Err(error) => return Poll::Ready(Err(Ending::of(&error).into())),
        };
        self.heard = Instant::now();
        let (mut whole, mut result) = (true, Ok(()));
        while whole && free > 0 && result.is_ok() {
            self.count += 1;
            free -= 1;
            let heard = match self.socket.decode(&mut bytes) {
                Ok(Some(Message::Text(text))) => PeerMessage::Text(text),
                Ok(Some(Message::Binary(bytes))) => PeerMessage::Binary(bytes),
                Ok(Some(Message::Ping(payload))) => {
                    self.socket.push(codec::PONG, payload);
                    continue;
                }
                Ok(Some(Message::Pong | Message::Part)) => continue,
                Ok(Some(Message::Close(code))) => {
                    result = self.dismiss(Farewell::Answer(code));
                    break;
                }
                Ok(None) => {
                    whole = false;
                    break;
                }
                Err(wrong) => {
                    let (code, reason) = wrong.close();
                    result = self.dismiss(Farewell::Close(Close::new(code, reason)));
                    break;
                }
            };
            match self.subprotocol.hear(cx, heard) {
                Ok(true) => {}
                Ok(false) => free = 0,
                Err(ended) => result = Err(ended.into()),
            }
        }
        self.socket.keep(bytes, whole);
        result?;
        Poll::Ready(self.weigh())
    }

    /// Hears nothing more, and ends with this frame. An error when nothing is to be said
    /// before it.
    fn dismiss(&mut self, with: Farewell) -> Result<(), Over> {
        if !self.subprotocol.finish() {
            return Err(Over::Dismissed(with));
        }
        self.farewell = Some(with);
        Ok(())
    }

    /// Counts the bytes of what is not whole; without room for it the connection ends.
    fn weigh(&mut self) -> Result<(), Over> {
        let bytes = if self.farewell.is_some() { 0 } else { self.socket.held() };
        if bytes != self.held {
            self.held = bytes;
            if self.subprotocol.hold(bytes).is_err() {
                return self.dismiss(Farewell::Close(NO_ROOM));
            }
        }
        Ok(())
    }

    /// Signs of life, and peers that take no data. Ready when there may be something to
    /// do; says whether the peer is lost.
    fn tick(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<bool> {
        let due = self.next_tick();
        if due < tick.deadline() {
            tick.as_mut().reset(due);
        }
        ready!(tick.as_mut().poll(cx));
        let now = Instant::now();
        if now >= self.lost_at() {
            return Poll::Ready(true);
        }
        if now >= self.ask {
            self.ask = now + self.terms.interval;
            if self.blocked.is_none() {
                self.subprotocol.ask(&mut self.socket);
            }
        }
        tick.reset(self.next_tick());
        Poll::Ready(false)
    }

    /// When the peer is lost unless it is heard, or takes data, before.
    fn lost_at(&self) -> Instant {
        self.blocked.unwrap_or(self.heard + self.terms.silence)
    }

    /// The time of the next check.
    fn next_tick(&self) -> Instant {
        self.ask.min(self.lost_at())
    }
}

/// Ends a WebSocket over which nothing is spoken.
pub(in crate::transport) async fn say_goodbye(socket: &mut Socket, with: Close) {
    close(socket, Farewell::Close(with)).await;
}

/// Sends the close frame and closes the sending half (RFC 6455 §7.1.1: the server
/// closes first). What the peer still sends is read for a moment: with unread bytes
/// the kernel would reset the connection, and the close frame would be lost.
async fn close(socket: &mut Socket, farewell: Farewell) {
    match farewell {
        Farewell::Answer(code) => socket.push_close(code, ""),
        Farewell::Close(with) => socket.push_close(Some(with.code), &with.reason),
    }
    let mut left = CLOSING_BYTES;
    let closed = async {
        poll_fn(|cx| socket.poll_flush(cx)).await?;
        poll_fn(|cx| socket.poll_shutdown(cx)).await?;
        poll_fn(|cx| socket.poll_drain(cx, &mut left)).await
    };
    // Whether the peer has gone or never closes makes no difference any more.
    let _ = tokio::time::timeout(CLOSING, closed).await;
}
