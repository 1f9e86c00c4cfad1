//! The stream between one gateway and this router. Requests are dispatched as
//! they come. Answers gather while the last frame is being written and leave in
//! the next one: there are no timers, and no delay when the link is idle.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::Stream;
use prost::Message as _;
use proto::weight::MOST_REQUESTS;
use proto::wire::{Replies, Reply, Request, Requests};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status, Streaming};

use crate::answers::{self, AnswerReceiver, AnswerSender};
use crate::core::Core;
use crate::dispatch::dispatch;
use crate::metrics;
use crate::port::LinkSlot;

/// How long requests are still read after the gateway was told of the drain:
/// for those that it had sent before it heard of it.
const LINGER: Duration = Duration::from_secs(1);

/// Opens a link: reads requests in a task of `tasks` and returns the answers.
/// When `shutdown` is cancelled, or the link has reached its age, it tells the
/// gateway, answers what has come, and ends.
pub(crate) fn open(
    core: Arc<Core>,
    requests: Streaming<Requests>,
    held: Option<LinkSlot>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> impl Stream<Item = Result<Replies, Status>> + Send + 'static {
    let (sender, receiver) = answers::queue();
    let draining = shutdown.child_token();
    let outgoing = Outgoing {
        receiver,
        draining: draining.clone(),
        drain_sent: false,
        open: OpenLink::new(&core, held),
    };
    tasks.spawn(read(core, requests, sender, draining));
    futures_util::stream::unfold(outgoing, |mut outgoing| async move {
        let frame = outgoing.next().await?;
        Some((Ok(frame), outgoing))
    })
}

/// Reads requests. The answers end when this has returned, which drops
/// `answers`, and the last request under way has been answered.
async fn read(
    core: Arc<Core>,
    mut requests: Streaming<Requests>,
    answers: AnswerSender,
    draining: CancellationToken,
) {
    let standstills = core.standstills.count();
    let linger = LINGER.min(core.config.drain / 4);
    let age = core.config.link_age.map(|age| age.mul_f64(rand::random_range(1.0..1.2)));
    let mut too_old = Box::pin(async move {
        match age {
            Some(age) => tokio::time::sleep(age).await,
            None => pending().await,
        }
    });
    let (silence, mut heard) = (core.config.link_silence, Instant::now());
    let mut silent = Box::pin(sleep(silence));
    let drain = draining.clone();
    let mut last_call = Box::pin(async move {
        drain.cancelled().await;
        tokio::time::sleep(linger).await;
    });
    loop {
        tokio::select! {
            biased;
            () = answers.closed() => return,
            () = &mut last_call => return,
            () = &mut too_old, if !draining.is_cancelled() => draining.cancel(),
            () = answers.less(), if answers.is_full() => heard = Instant::now(),
            frame = requests.message(), if !answers.is_full() => match frame {
                Ok(Some(_)) if core.standstills.count() != standstills => {
                    // The frame may be old, and the gateway has sent its
                    // requests to other routers since.
                    draining.cancel();
                    return;
                }
                Ok(Some(frame)) if frame.requests.len() > MOST_REQUESTS => {
                    tracing::warn!(requests = frame.requests.len(), "a link has ended: its frame has too many requests");
                    metrics::REFUSED.add(&["frame"], 1);
                    return;
                }
                Ok(Some(frame)) => {
                    heard = Instant::now();
                    for bytes in frame.requests {
                        let request = match Request::decode(bytes) {
                            Ok(request) => request,
                            Err(error) => {
                                tracing::warn!(%error, "a link has ended: it carried what is no request");
                                metrics::REFUSED.add(&["frame"], 1);
                                return;
                            }
                        };
                        let Some(responder) = answers.responder(request.id).await else { return };
                        dispatch(&core, request, responder);
                    }
                }
                Ok(None) => return,
                Err(status) => {
                    // More bytes than a frame may have.
                    if status.code() == Code::OutOfRange {
                        metrics::REFUSED.add(&["frame"], 1);
                    }
                    tracing::debug!(%status, "a link broke");
                    return;
                }
            },
            () = &mut silent, if !answers.is_full() => {
                if heard.elapsed() >= silence {
                    tracing::warn!(?silence, "a link has ended: its gateway has said nothing, or half a frame");
                    metrics::REFUSED.add(&["silent"], 1);
                    return;
                }
                silent.as_mut().reset(heard + silence);
            }
        }
    }
}

/// The frames that go to the gateway.
struct Outgoing {
    receiver: AnswerReceiver,
    draining: CancellationToken,
    /// The gateway has been told that this link drains.
    drain_sent: bool,
    open: OpenLink,
}

impl Outgoing {
    async fn next(&mut self) -> Option<Replies> {
        tokio::select! {
            biased;
            () = self.draining.cancelled(), if !self.drain_sent => {
                self.drain_sent = true;
                Some(self.frame(Vec::new(), true))
            }
            replies = self.receiver.frame() => replies.map(|replies| self.frame(replies, false)),
        }
    }

    fn frame(&self, replies: Vec<Reply>, draining: bool) -> Replies {
        Replies { replies, draining, gateways: self.open.links.load(Ordering::Relaxed) }
    }
}

/// Counts a link for as long as it is open.
struct OpenLink {
    /// How many links this router has open.
    links: Arc<AtomicU64>,
    /// On its connection.
    _held: Option<LinkSlot>,
}

impl OpenLink {
    fn new(core: &Core, held: Option<LinkSlot>) -> Self {
        core.links.fetch_add(1, Ordering::Relaxed);
        metrics::LINKS.add(&[], 1);
        Self { links: core.links.clone(), _held: held }
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        self.links.fetch_sub(1, Ordering::Relaxed);
        metrics::LINKS.add(&[], -1);
    }
}
