//! One gateway's stream. Requests go on to where they belong as they come;
//! answers gather while the last frame is being written and leave in the next
//! one. No timers, no delay when idle.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::trace::{self, KeyValue, Span};
use futures_util::Stream;
use prost::Message as _;
use proto::wire::{Replies, Reply, Request, Requests, reply};
use tokio::sync::mpsc;
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
/// Answers taken from the queue at once.
const GATHER: usize = 1_024;
/// What a frame of answers may hold before it is closed; a single larger
/// answer (a page) goes out with those before it.
const FRAME_BYTES: usize = 1 << 20;
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
    let answers = Answers {
        queue,
        gathered: Vec::new(),
        draining: draining.clone(),
        told: false,
        open: OpenLink::new(&core),
    };
    tasks.spawn(read(core, requests, replies, draining));
    futures_util::stream::unfold(answers, |mut answers| async move {
        let frame = answers.next().await?;
        Some((Ok(frame), answers))
    })
}

/// Where the answer to one request goes; to be used once. Dropped unused (a
/// task that panicked), it answers `internal`.
pub(crate) struct Responder {
    place: Option<mpsc::OwnedPermit<Reply>>,
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
        place.send(Reply { id: self.id, result: Some(result) });
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
async fn read(
    core: Arc<Core>,
    mut requests: Streaming<Requests>,
    replies: mpsc::Sender<Reply>,
    draining: CancellationToken,
) {
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
            () = replies.closed() => return,
            () = &mut last_call => return,
            () = &mut grown_old, if !draining.is_cancelled() => draining.cancel(),
            frame = requests.message() => match frame {
                Ok(Some(_)) if core.pauses.count() != pauses => {
                    // It may be long ago that this was asked, and all of it has
                    // been asked of others since.
                    draining.cancel();
                    return;
                }
                Ok(Some(frame)) => {
                    for request in frame.requests {
                        if !take(&core, request, &replies).await {
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
async fn take(core: &Arc<Core>, request: Request, replies: &mpsc::Sender<Reply>) -> bool {
    let Ok(place) = replies.clone().reserve_owned().await else {
        return false;
    };
    let responder = Responder {
        place: Some(place),
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
    queue: mpsc::Receiver<Reply>,
    /// Taken from the queue, not yet in a frame.
    gathered: Vec<Reply>,
    draining: CancellationToken,
    told: bool,
    open: OpenLink,
}

impl Answers {
    async fn next(&mut self) -> Option<Replies> {
        if self.gathered.is_empty() {
            tokio::select! {
                biased;
                () = self.draining.cancelled(), if !self.told => {
                    self.told = true;
                    return Some(self.frame(Vec::new(), true));
                }
                count = self.queue.recv_many(&mut self.gathered, GATHER) => if count == 0 {
                    return None;
                },
            }
        }
        let mut bytes = 0;
        let fits = self.gathered.iter().take_while(|reply| {
            let room = bytes < FRAME_BYTES;
            bytes += weight(reply);
            room
        });
        let later = self.gathered.split_off(fits.count());
        let replies = std::mem::replace(&mut self.gathered, later);
        Some(self.frame(replies, false))
    }

    fn frame(&self, replies: Vec<Reply>, draining: bool) -> Replies {
        Replies { replies, draining, gateways: self.open.links.load(Ordering::Relaxed) }
    }
}

/// About how many bytes it takes. Measuring every small answer would be a
/// second pass over what is encoded right after.
fn weight(reply: &Reply) -> usize {
    match &reply.result {
        Some(
            reply::Result::Inbox(_)
            | reply::Result::History(_)
            | reply::Result::Conversations(_)
            | reply::Result::Members(_),
        ) => reply.encoded_len(),
        _ => 64,
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
