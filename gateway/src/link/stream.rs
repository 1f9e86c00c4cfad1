//! The stream to one router. It is opened, its replies are read, and it is opened again
//! when it has ended.

use std::sync::Arc;
use std::time::Duration;

use daemon::Backoff;
use proto::wire::Replies;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Streaming;

use super::Routers;
use super::dial::Dial;
use super::outbound::Link;

/// Pauses between tries to reach a router that is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long a draining stream is read on.
const DRAIN: Duration = Duration::from_secs(30);

impl Routers {
    /// Keeps a stream to the router behind `dial` until `retire`.
    pub fn add(&self, dial: Arc<dyn Dial>, tracker: &TaskTracker, retire: CancellationToken) {
        tracker.spawn(run(self.clone(), dial, tracker.clone(), retire));
    }
}

/// Keeps a stream to one router until `retire`: opens it, completes what is
/// answered, and opens it again when it ends (after a pause) or drains (beside
/// the old one, which is read to its end).
async fn run(routers: Routers, dial: Arc<dyn Dial>, tasks: TaskTracker, retire: CancellationToken) {
    // The pauses differ, so that not all gateways come to a restarted router at once.
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while !retire.is_cancelled() {
        let (link, outbound) = Link::new(dial.name());
        let link = Arc::new(link);
        let opened = tokio::select! {
            () = retire.cancelled() => break,
            opened = tokio::time::timeout(Duration::from_secs(3), dial.dial(outbound)) => opened,
        };
        match opened {
            Ok(Ok(mut replies)) => {
                tracing::info!(router = %link.name, "connected to a router");
                backoff.reset();
                routers.opened(&link);
                let ended = tokio::select! {
                    ended = read(&routers, &link, &mut replies, Until::Draining) => ended,
                    () = link.beat() => None,
                    () = retire.cancelled() => None,
                };
                match ended {
                    Some(reason) => {
                        tracing::info!(router = %link.name, reason, "the stream to a router has ended");
                        routers.broke(&link);
                    }
                    // Other streams take new requests. This one is read to its end.
                    None => {
                        routers.draining(&link);
                        link.finish();
                        tasks.spawn(drain(routers.clone(), link, replies));
                    }
                }
            }
            Ok(Err(status)) => {
                tracing::warn!(router = %link.name, code = ?status.code(), reason = status.message(), "a router cannot be reached");
            }
            Err(_) => tracing::warn!(router = %link.name, "a router does not answer"),
        }
        tokio::select! {
            () = retire.cancelled() => break,
            () = tokio::time::sleep(backoff.pause()) => {}
        }
    }
}

/// Reads a stream that takes no more requests to its end.
async fn drain(routers: Routers, link: Arc<Link>, mut replies: Streaming<Replies>) {
    // Requests that are not answered by then are sent to another router anyway.
    let ended = tokio::time::timeout(DRAIN, read(&routers, &link, &mut replies, Until::End)).await;
    let reason = ended.ok().flatten().unwrap_or_else(|| "no end in time".into());
    tracing::info!(router = %link.name, reason, "a draining stream to a router has ended");
    routers.closed(&link);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The router says that it drains; or the stream ends.
    Draining,
    End,
}

/// Reads replies until the stream ends, and returns why it did; or until the router
/// says that it drains, and returns `None`.
async fn read(
    routers: &Routers,
    link: &Link,
    replies: &mut Streaming<Replies>,
    until: Until,
) -> Option<String> {
    loop {
        match replies.message().await {
            Ok(Some(frame)) => {
                routers.counted(frame.gateways);
                let now = Instant::now();
                link.punctuality.heard(now);
                for reply in frame.replies {
                    routers.answered(reply, now);
                }
                if frame.draining && until == Until::Draining {
                    return None;
                }
            }
            Ok(None) => return Some("closed by the router".into()),
            Err(status) => return Some(status.message().to_owned()),
        }
    }
}
