//! The answers of one link between the commands and the stream. A [`Responder`]
//! is made for each request and puts its answer into the queue; the link takes
//! what has gathered, a frame at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daemon::trace::{self, KeyValue, Span};
use prost::Message as _;
use proto::weight::{Bound, FRAME};
use proto::wire::{Reply, reply};
use tokio::sync::{Notify, mpsc};

use crate::error::{Error, Result};
use crate::metrics;

/// Requests under way on one stream. Each has room reserved in the queue of
/// answers, so that answering never waits. When no room is left, the link reads
/// no more requests until answers have been written.
const UNDER_WAY: usize = 8_192;
/// Answers that wait to be written on one stream. Beyond this the link reads no
/// more requests: pages are large, and what a gateway does not read would fill
/// this router's memory.
const UNWRITTEN: Bound = Bound::new(32 << 20, UNDER_WAY);

/// The queue of one link's answers: where they go in, and where they come out.
pub(crate) fn queue() -> (AnswerSender, AnswerReceiver) {
    let (replies, queue) = mpsc::channel(UNDER_WAY);
    let backlog = Arc::new(Backlog::default());
    let sender = AnswerSender { replies, backlog: backlog.clone() };
    (sender, AnswerReceiver { queue, gathered: VecDeque::new(), backlog })
}

struct QueuedReply {
    reply: Reply,
    /// Its size in a frame.
    bytes: usize,
}

/// The answers that wait to be written on a stream.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    /// Notified when answers have been taken to be written.
    less: Notify,
}

/// Makes responders. The receiver ends when this and all of them are gone.
pub(crate) struct AnswerSender {
    replies: mpsc::Sender<QueuedReply>,
    backlog: Arc<Backlog>,
}

impl AnswerSender {
    /// Waits for room among the requests under way. `None` when the receiver is gone.
    pub(crate) async fn responder(&self, id: u64) -> Option<Responder> {
        let room = self.replies.clone().reserve_owned().await.ok()?;
        Some(Responder {
            room: Some(room),
            backlog: self.backlog.clone(),
            id,
            command: "unknown",
            span: Span::NONE,
        })
    }

    /// Ends when nobody is there to read answers.
    pub(crate) async fn closed(&self) {
        self.replies.closed().await;
    }

    /// Whether so many bytes wait that no further request should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog.bytes.load(Ordering::Relaxed) > UNWRITTEN.bytes
    }

    /// Ends when some answers have been taken since the last time.
    pub(crate) async fn less(&self) {
        self.backlog.less.notified().await;
    }
}

/// Where the answer to one request goes; to be used once. Dropped unused (a
/// task that panicked), it answers `internal`.
pub(crate) struct Responder {
    room: Option<mpsc::OwnedPermit<QueuedReply>>,
    backlog: Arc<Backlog>,
    id: u64,
    command: &'static str,
    /// Of the request, if it is traced.
    span: Span,
}

impl Responder {
    pub(crate) fn answer(mut self, outcome: Result<reply::Result>) {
        self.send(outcome);
    }

    /// Says which command it is, and which trace it belongs to (empty: none).
    pub(crate) fn command(&mut self, name: &'static str, trace: &[u8]) {
        self.command = name;
        if let Some(parent) = trace::SpanContext::of(trace) {
            self.span = span_of(parent, name);
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    fn send(&mut self, outcome: Result<reply::Result>) {
        let Some(room) = self.room.take() else { return };
        let code = outcome.as_ref().map_or_else(|error| error.code().as_str(), |_| "ok");
        metrics::COMMANDS.add(&[self.command, code], 1);
        if let Err(error) = &outcome {
            self.span.failed(error.code().as_str());
        }
        let result = outcome.unwrap_or_else(Into::into);
        let reply = Reply { id: self.id, result: Some(result) };
        let bytes = proto::weight::in_list(reply.encoded_len());
        self.backlog.bytes.fetch_add(bytes, Ordering::Relaxed);
        room.send(QueuedReply { reply, bytes });
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.send(Err(Error::Internal));
    }
}

fn span_of(parent: trace::SpanContext, command: &'static str) -> Span {
    Span::of(parent, "switchboard.v1.Router/Link", trace::Kind::Server, Vec::new(), || {
        vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", "switchboard.v1.Router"),
            KeyValue::new("rpc.method", "Link"),
            KeyValue::new("switchboard.command", command),
        ]
    })
}

/// The end of the queue that the stream reads.
pub(crate) struct AnswerReceiver {
    queue: mpsc::Receiver<QueuedReply>,
    /// Out of the queue, and not yet in a frame.
    gathered: VecDeque<QueuedReply>,
    backlog: Arc<Backlog>,
}

impl AnswerReceiver {
    /// Waits for answers and gives as many as one frame takes. `None` when all
    /// are written and no more can come. Loses nothing when it is cancelled.
    pub(crate) async fn frame(&mut self) -> Option<Vec<Reply>> {
        if self.gathered.is_empty() {
            let mut some = Vec::new();
            if self.queue.recv_many(&mut some, FRAME.entries).await == 0 {
                return None;
            }
            self.gathered = some.into();
        }
        let count = FRAME.fitting(self.gathered.iter().map(|answer| answer.bytes));
        let frame: Vec<QueuedReply> = self.gathered.drain(..count).collect();
        let bytes = frame.iter().map(|answer| answer.bytes).sum();
        self.backlog.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.backlog.less.notify_one();
        Some(frame.into_iter().map(|answer| answer.reply).collect())
    }
}
