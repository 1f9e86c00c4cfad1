//! Our own connection to one Redis server. Callers write commands into its buffer,
//! all that gathers there is written at once, and replies come in the order of the
//! commands. A server that is alone is known. Behind Sentinel fred says which one it
//! is: whenever fred has connected, this connection is made anew, to the same server.
//!
//! ```text
//! call, tell ──▶ unwritten ──▶ Exchange ──▶ redis
//!      ◀── oneshot ◀── waiting ◀──┘    ◀──┘
//! ```

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use fred::types::config::Server;
use futures_util::task::AtomicWaker;
use proto::Bound;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::dial::{Stream, dial};
use super::reconnect::Reconnect;
use super::resp::{Decoder, Reply, put_command, put_word};
use crate::trouble::Trouble;
use crate::{Error, Result};

/// Commands that wait for their reply, and their bytes. One more fails at once.
const WAITING: Bound = Bound::new(64 << 20, 16_384);
/// How long making a connection may take.
const DIAL: Duration = Duration::from_secs(2);
/// How long fred may take to name the server after a connection was given up. Then
/// the last one is tried again.
const NAMING: Duration = Duration::from_secs(4);
/// Room that is kept for reading, and for writing.
const BUFFER: usize = 16 << 10;
/// A buffer that has grown beyond this is given back when it is empty.
const LARGE: usize = 1 << 20;

/// What nobody waits for, in what is said of trouble.
const TOLD: &str = "publish";

/// Redis replies so when it is not the primary, or not yet ready: another server
/// may be.
const WRONG_SERVER: [&[u8]; 4] = [b"READONLY", b"LOADING", b"MASTERDOWN", b"CLUSTERDOWN"];

/// The reply to a command, or why there is none: Redis may have done it.
pub(super) type Outcome = std::result::Result<Reply, String>;

/// The handle: cheap to clone.
#[derive(Clone)]
pub(super) struct Pipeline(Arc<Shared>);

struct Shared {
    /// Protects what goes to and fro; locked for a few lines.
    queue: Mutex<Queue>,
    /// Woken when something was queued, or the connection is to end.
    work: AtomicWaker,
    /// The server of the connection that there is.
    open: watch::Sender<Option<Server>>,
    /// Notified when fred should connect anew, since the server is the wrong one.
    doubtful: Notify,
    trouble: &'static Trouble,
}

#[derive(Default)]
struct Queue {
    open: bool,
    /// Connections so far.
    made: u64,
    /// Why the connection is to be given up, once it is.
    cut: Option<&'static str>,
    unwritten: BytesMut,
    /// Written or not; in the order of the commands.
    waiting: VecDeque<Waiting>,
    /// Bytes of all that waits.
    bytes: usize,
    /// Redis has answered since somebody last looked.
    answered: bool,
}

struct Waiting {
    bytes: usize,
    /// Nobody: then only a refusal is of interest.
    asker: Option<oneshot::Sender<Outcome>>,
}

/// Why a connection ended.
enum End {
    /// The connection broke, and why.
    Broken(String),
    /// This server is not the one to write to.
    Wrong(String),
    /// It was given up.
    Cut(&'static str),
}

impl Pipeline {
    /// A pipeline that is not connected; [`Self::run`] connects it.
    pub(super) fn new(trouble: &'static Trouble) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            work: AtomicWaker::new(),
            open: watch::Sender::new(None),
            doubtful: Notify::new(),
            trouble,
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic between two lines leaves the queue consistent.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a command, which `encode` writes. The receiver gets the reply; when
    /// it is dropped, the command is done all the same. Fails when there is no
    /// connection or too much waits: then the command is never done.
    pub(super) fn call(&self, encode: impl FnOnce(&mut BytesMut)) -> Result<oneshot::Receiver<Outcome>> {
        let (asker, receiver) = oneshot::channel();
        self.put(Some(asker), encode)?;
        Ok(receiver)
    }

    /// The same where nobody waits for the reply. A refusal is noted as trouble.
    pub(super) fn tell(&self, encode: impl FnOnce(&mut BytesMut)) -> Result<()> {
        self.put(None, encode)
    }

    fn put(&self, asker: Option<oneshot::Sender<Outcome>>, encode: impl FnOnce(&mut BytesMut)) -> Result<()> {
        let mut queue = self.queue();
        if !queue.open {
            return Err(Error::Unavailable("not connected".into()));
        }
        let before = queue.unwritten.len();
        encode(&mut queue.unwritten);
        let bytes = queue.unwritten.len() - before;
        let full = queue.waiting.len() >= WAITING.entries || queue.bytes + bytes > WAITING.bytes;
        if full && !queue.waiting.is_empty() {
            queue.unwritten.truncate(before);
            return Err(Error::Unavailable("too much waits for redis".into()));
        }
        queue.bytes += bytes;
        queue.waiting.push_back(Waiting { bytes, asker });
        drop(queue);
        self.0.work.wake();
        Ok(())
    }

    /// Fails unless Redis answers a PING. Waits as long as the connection lasts.
    pub(super) async fn ping(&self) -> Result<()> {
        let reply = self.call(|into| {
            put_command(into, 1);
            put_word(into, b"PING");
        })?;
        match reply.await {
            Ok(Ok(Reply::Refusal(text))) => {
                Err(Error::Unavailable(String::from_utf8_lossy(&text).into_owned()))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(Error::Unavailable(why)),
            Err(_) => Err(Error::Unavailable("the connection ended".into())),
        }
    }

    /// Whether Redis has answered something, other than with a refusal, since the last
    /// call.
    pub(super) fn has_answered(&self) -> bool {
        std::mem::take(&mut self.queue().answered)
    }

    pub(super) fn is_open(&self) -> bool {
        self.queue().open
    }

    /// Returns once there is a connection.
    pub(super) async fn opened(&self) {
        // The sender is in `self`.
        let _ = self.0.open.subscribe().wait_for(Option::is_some).await;
    }

    /// The server of the connection that there is, as it changes.
    pub(super) fn server(&self) -> watch::Receiver<Option<Server>> {
        self.0.open.subscribe()
    }

    /// How many connections were made so far. It rises before the first command of
    /// a connection is taken.
    pub(super) fn made(&self) -> u64 {
        self.queue().made
    }

    /// Gives the connection up, if there is one. Behind Sentinel the next is made when
    /// fred has connected.
    pub(super) fn cut(&self, why: &'static str) {
        let mut queue = self.queue();
        if queue.open {
            queue.cut = Some(why);
        }
        drop(queue);
        self.0.work.wake();
    }

    /// Returns when fred should look for the primary again.
    pub(super) async fn doubtful(&self) {
        self.0.doubtful.notified().await;
    }

    /// Keeps a connection to the server that is named, until `shutdown`.
    pub(super) async fn run(self, address: Address, mut names: Names, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep_connected(&address, &mut names) => {}
        }
        self.close("this process ends");
    }

    /// Ends when fred has ended.
    async fn keep_connected(&self, address: &Address, names: &mut Names) {
        let Some(mut server) = names.first().await else { return };
        let mut reconnect = Reconnect::new();
        loop {
            reconnect.begin();
            let end = tokio::select! {
                end = self.connect(address, &server) => end,
                newer = names.next() => {
                    // fred says itself what was wrong.
                    self.close("fred has connected anew");
                    match newer {
                        Some(newer) => server = newer,
                        None => return,
                    }
                    reconnect.forget();
                    continue;
                }
            };
            let why = end.text();
            self.close(why);
            self.0.trouble.no_connection(why);
            if matches!(end, End::Wrong(_)) {
                self.0.doubtful.notify_one();
            }
            let pause = reconnect.wait();
            let newer = match (&end, &*names) {
                (End::Broken(_), _) | (_, Names::Alone(_)) => timeout(pause, names.next()).await,
                (End::Wrong(_) | End::Cut(_), Names::Fred(_)) => {
                    tokio::time::sleep(pause).await;
                    timeout(NAMING, names.next()).await
                }
            };
            match newer {
                Ok(Some(newer)) => server = newer,
                Ok(None) => return,
                // fred has not connected since: it is still this one.
                Err(_) => {}
            }
        }
    }

    /// One connection, from its beginning to its end.
    async fn connect(&self, address: &Address, server: &Server) -> End {
        let stream = match timeout(DIAL, dial(address, server)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(why)) => return End::Broken(why),
            Err(_) => return End::Broken(format!("no answer within {DIAL:?} while connecting")),
        };
        {
            let mut queue = self.queue();
            queue.open = true;
            queue.made += 1;
        }
        self.0.open.send_replace(Some(server.clone()));
        let mut exchange = Exchange::new(stream);
        std::future::poll_fn(|task| exchange.poll(self, task)).await
    }

    /// There is no connection any more: whoever waits is told why.
    fn close(&self, why: &str) {
        let waiting = {
            let mut queue = self.queue();
            (queue.open, queue.cut, queue.bytes, queue.answered) = (false, None, 0, false);
            queue.unwritten = BytesMut::new();
            std::mem::take(&mut queue.waiting)
        };
        self.0.open.send_replace(None);
        for asker in waiting.into_iter().filter_map(|waiting| waiting.asker) {
            // Whoever asked may be gone.
            let _ = asker.send(Err(format!("the connection to redis ended: {why}")));
        }
    }
}

/// Who says which server it is.
pub(super) enum Names {
    /// It is always this one.
    Alone(Server),
    /// fred, each time that it has connected.
    Fred(Receiver<Server>),
}

impl Names {
    async fn first(&mut self) -> Option<Server> {
        match self {
            Self::Alone(server) => Some(server.clone()),
            Self::Fred(_) => self.next().await,
        }
    }

    /// The next server that is named; nothing when fred has ended.
    async fn next(&mut self) -> Option<Server> {
        let Self::Fred(named) = self else { return std::future::pending().await };
        loop {
            match named.recv().await {
                Ok(server) => return Some(server),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl End {
    fn text(&self) -> &str {
        match self {
            Self::Broken(why) | Self::Wrong(why) => why,
            Self::Cut(why) => why,
        }
    }
}

/// One connection: what goes over it, in both directions.
struct Exchange {
    stream: Box<dyn Stream>,
    writing: BytesMut,
    /// Something was written that TLS may still hold.
    unflushed: bool,
    reading: BytesMut,
    decoder: Decoder,
    /// Read, and not yet handed on.
    replies: Vec<Reply>,
}

impl Exchange {
    fn new(stream: Box<dyn Stream>) -> Self {
        let (writing, reading) = (BytesMut::new(), BytesMut::with_capacity(BUFFER));
        Self { stream, writing, unflushed: false, reading, decoder: Decoder::default(), replies: Vec::new() }
    }

    /// Does what can be done now. Ready when the connection has ended.
    fn poll(&mut self, pipeline: &Pipeline, task: &mut Context<'_>) -> Poll<End> {
        // First, so that nothing that is queued from now on is overlooked.
        pipeline.0.work.register(task.waker());
        if let Some(end) = self.write(pipeline, task) {
            return Poll::Ready(end);
        }
        self.read(pipeline, task)
    }

    fn write(&mut self, pipeline: &Pipeline, task: &mut Context<'_>) -> Option<End> {
        loop {
            {
                let mut queue = pipeline.queue();
                if let Some(why) = queue.cut {
                    return Some(End::Cut(why));
                }
                if self.writing.is_empty() {
                    if self.writing.capacity() > LARGE {
                        self.writing = BytesMut::new();
                    }
                    std::mem::swap(&mut queue.unwritten, &mut self.writing);
                }
            }
            if self.writing.is_empty() {
                break;
            }
            match Pin::new(&mut self.stream).poll_write(task, &self.writing) {
                Poll::Ready(Ok(0)) => return Some(End::Broken("redis takes no more bytes".into())),
                Poll::Ready(Ok(written)) => {
                    self.writing.advance(written);
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Some(End::Broken(error.to_string())),
                Poll::Pending => break,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(task) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Some(End::Broken(error.to_string())),
                Poll::Pending => {}
            }
        }
        None
    }

    fn read(&mut self, pipeline: &Pipeline, task: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.reading.capacity() - self.reading.len() < BUFFER / 4 {
                self.reading.reserve(BUFFER);
            }
            match pin!(self.stream.read_buf(&mut self.reading)).poll(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(End::Broken("redis closed the connection".into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(End::Broken(error.to_string())),
            }
            let nonsense = loop {
                match self.decoder.next(&mut self.reading) {
                    Ok(Some(reply)) => self.replies.push(reply),
                    Ok(None) => break None,
                    Err(nonsense) => break Some(nonsense),
                }
            };
            // What came before the nonsense still counts.
            if let Some(end) = self.hand_on(pipeline) {
                return Poll::Ready(end);
            }
            if let Some(nonsense) = nonsense {
                return Poll::Ready(End::Broken(nonsense.to_string()));
            }
        }
    }

    /// Gives the replies to whoever waits for them.
    fn hand_on(&mut self, pipeline: &Pipeline) -> Option<End> {
        let mut end = None;
        for reply in self.replies.drain(..) {
            let waiting = {
                let mut queue = pipeline.queue();
                queue.answered |= !matches!(reply, Reply::Refusal(_));
                let waiting = queue.waiting.pop_front();
                queue.bytes -= waiting.as_ref().map_or(0, |waiting| waiting.bytes);
                waiting
            };
            let Some(Waiting { asker, .. }) = waiting else {
                return Some(End::Broken("redis sent a reply that nobody asked for".into()));
            };
            if let Reply::Refusal(text) = &reply
                && WRONG_SERVER.iter().any(|code| text.starts_with(code))
            {
                end = Some(End::Wrong(String::from_utf8_lossy(text).into_owned()));
            }
            match (asker, reply) {
                // Whoever asked may be gone.
                (Some(asker), reply) => drop(asker.send(Ok(reply))),
                (None, Reply::Refusal(text)) => {
                    pipeline.0.trouble.refused(TOLD, &String::from_utf8_lossy(&text));
                }
                (None, _) => pipeline.0.trouble.done(TOLD),
            }
        }
        end
    }
}

#[cfg(test)]
mod tests;
