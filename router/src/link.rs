//! One gateway's stream. Requests go on to where they belong as they come;
//! answers gather while the last frame is being written and leave in the next
//! one. No timers, no delay when idle.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use daemon::trace::{self, KeyValue, Span};
use futures_util::Stream;
use prost::Message as _;
use proto::weight::{Bound, FRAME};
use proto::wire::{Replies, Reply, Request, Requests, reply};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use crate::dispatch::Core;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Requests under way on one stream. Each holds a place in the queue of
/// answers, so that answering never waits; when there is none left, nothing
/// more is read until answers have been written.
const UNDER_WAY: usize = 8_192;
/// Answers that wait to be written on one stream. With more, nothing further is
/// read until some have been: pages are large, and what a gateway does not take
/// would fill this router's memory.
const UNWRITTEN: Bound = Bound::new(32 << 20, UNDER_WAY);
/// How long a draining stream is read on, for what its gateway had sent
/// before it heard of the drain.
const LINGER: Duration = Duration::from_secs(1);

/// Opens a link: reads requests in a task of `tasks` and returns the answers.
/// When `shutdown` is cancelled, or the link has its age, it says so, answers
/// what has come, and ends.
pub(crate) fn open(
    core: Arc<Core>,
    requests: Streaming<Requests>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> impl Stream<Item = std::result::Result<Replies, Status>> + Send + 'static {
    let (replies, queue) = mpsc::channel(UNDER_WAY);
    let draining = shutdown.child_token();
    let unwritten = Arc::new(Unwritten::default());
    let answers = Answers {
        queue,
        gathered: VecDeque::new(),
        unwritten: unwritten.clone(),
        draining: draining.clone(),
        told: false,
        open: OpenLink::new(&core),
    };
    tasks.spawn(read(core, requests, Way { replies, unwritten }, draining));
    futures_util::stream::unfold(answers, |mut answers| async move {
        let frame = answers.next().await?;
        Some((Ok(frame), answers))
    })
}

/// An answer, and the bytes that it takes in a frame.
struct Weighed {
    reply: Reply,
    bytes: usize,
}

/// Bytes of the answers that wait to be written on a stream.
#[derive(Default)]
struct Unwritten {
    bytes: AtomicUsize,
    /// Some have been written.
    less: Notify,
}

/// Where the answers of a stream go.
struct Way {
    replies: mpsc::Sender<Weighed>,
    unwritten: Arc<Unwritten>,
}

/// Where the answer to one request goes; to be used once. Dropped unused (a
/// task that panicked), it answers `internal`.
pub(crate) struct Responder {
    place: Option<mpsc::OwnedPermit<Weighed>>,
    unwritten: Arc<Unwritten>,
    id: u64,
    command: &'static str,
    metrics: Metrics,
    /// Of the request, if it is traced.
    span: Span,
}

impl Responder {
    pub(crate) fn answer(mut self, outcome: Result<reply::Result>) {
        self.send(outcome);
    }

    /// Which command it is, and what it is a part of if that is traced.
    pub(crate) fn command(&mut self, name: &'static str, trace: &[u8]) {
        self.command = name;
        if let Some(parent) = trace::Place::of(trace) {
            self.span = span_of(parent, name);
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    fn send(&mut self, outcome: Result<reply::Result>) {
        let Some(place) = self.place.take() else { return };
        let code = outcome.as_ref().map_or_else(|error| error.code().as_str(), |_| "ok");
        self.metrics.command(self.command, code);
        if let Err(error) = &outcome {
            self.span.failed(error.code().as_str());
        }
        let result = outcome.unwrap_or_else(Into::into);
        let reply = Reply { id: self.id, result: Some(result) };
        let bytes = proto::weight::in_list(reply.encoded_len());
        self.unwritten.bytes.fetch_add(bytes, Ordering::Relaxed);
        place.send(Weighed { reply, bytes });
    }
}

fn span_of(parent: trace::Place, command: &'static str) -> Span {
    Span::of(parent, "switchboard.v1.Router/Link", trace::Kind::Server, Vec::new(), || {
        vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", "switchboard.v1.Router"),
            KeyValue::new("rpc.method", "Link"),
            KeyValue::new("switchboard.command", command),
        ]
    })
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.send(Err(Error::Internal));
    }
}

/// Ends by dropping its sender of replies: the answers end when the last
/// request under way has been answered.
async fn read(core: Arc<Core>, mut requests: Streaming<Requests>, way: Way, draining: CancellationToken) {
    let pauses = core.pauses.count();
    let linger = LINGER.min(core.config.drain / 4);
    let age = core.config.link_age.map(|age| age.mul_f64(rand::random_range(1.0..1.2)));
    let mut grown_old = Box::pin(async move {
        match age {
            Some(age) => tokio::time::sleep(age).await,
            None => pending().await,
        }
    });
    let told = draining.clone();
    let mut last_call = Box::pin(async move {
        told.cancelled().await;
        tokio::time::sleep(linger).await;
    });
    loop {
        tokio::select! {
            biased;
            // Nobody is there to read answers.
            () = way.replies.closed() => return,
            () = &mut last_call => return,
            () = &mut grown_old, if !draining.is_cancelled() => draining.cancel(),
            () = way.unwritten.less.notified(), if way.unwritten.too_much() => {}
            frame = requests.message(), if !way.unwritten.too_much() => match frame {
                Ok(Some(_)) if core.pauses.count() != pauses => {
                    // It may be long ago that this was asked, and all of it has
                    // been asked of others since.
                    draining.cancel();
                    return;
                }
                Ok(Some(frame)) => {
                    for request in frame.requests {
                        if !take(&core, request, &way).await {
                            return;
                        }
                    }
                }
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(%status, "a link broke");
                    return;
                }
            },
        }
    }
}

/// Waits for a place among those under way; false when the reader of the
/// answers is gone.
async fn take(core: &Arc<Core>, request: Request, way: &Way) -> bool {
    let Ok(place) = way.replies.clone().reserve_owned().await else {
        return false;
    };
    let responder = Responder {
        place: Some(place),
        unwritten: way.unwritten.clone(),
        id: request.id,
        command: "unknown",
        metrics: core.metrics.clone(),
        span: Span::NONE,
    };
    core.dispatch(request, responder);
    true
}

/// The answers of one link, as frames.
struct Answers {
    queue: mpsc::Receiver<Weighed>,
    /// Taken from the queue, not yet in a frame.
    gathered: VecDeque<Weighed>,
    unwritten: Arc<Unwritten>,
    draining: CancellationToken,
    told: bool,
    open: OpenLink,
}

impl Answers {
    async fn next(&mut self) -> Option<Replies> {
        if self.gathered.is_empty() {
            let mut some = Vec::new();
            tokio::select! {
                biased;
                () = self.draining.cancelled(), if !self.told => {
                    self.told = true;
                    return Some(self.frame(Vec::new(), true));
                }
                count = self.queue.recv_many(&mut some, FRAME.entries) => if count == 0 {
                    return None;
                },
            }
            self.gathered = some.into();
        }
        let count = FRAME.fitting(self.gathered.iter().map(|answer| answer.bytes));
        let frame: Vec<Weighed> = self.gathered.drain(..count).collect();
        self.unwritten.written(frame.iter().map(|answer| answer.bytes).sum());
        Some(self.frame(frame.into_iter().map(|answer| answer.reply).collect(), false))
    }

    fn frame(&self, replies: Vec<Reply>, draining: bool) -> Replies {
        Replies { replies, draining, gateways: self.open.links.load(Ordering::Relaxed) }
    }
}

impl Unwritten {
    fn too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > UNWRITTEN.bytes
    }

    fn written(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.less.notify_one();
    }
}

/// Counts a link for as long as it is open.
struct OpenLink {
    /// All that are.
    links: Arc<AtomicU64>,
    metrics: Metrics,
}

impl OpenLink {
    fn new(core: &Core) -> Self {
        core.links.fetch_add(1, Ordering::Relaxed);
        core.metrics.links(1);
        Self { links: core.links.clone(), metrics: core.metrics.clone() }
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.links.fetch_sub(1, Ordering::Relaxed);
        self.metrics.links(-1);
    }
}
