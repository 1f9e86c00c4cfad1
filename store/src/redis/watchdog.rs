//! Watches over a connection: notes why there is none, pings the primaries, and
//! connects anew when one hangs.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Server;
use futures_util::future::try_join_all;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::pipeline::Pipeline;
use crate::trouble::Trouble;

/// A primary that does not answer a PING within this time is given up: its
/// connections are made again, to whichever is the primary then.
const HUNG: Duration = Duration::from_secs(2);

/// Waits until a client is connected.
pub(super) async fn connected(client: &impl ClientLike) {
    while !client.is_connected() {
        // fred's own wait misses a connection made between its check of the
        // state and its subscription to the event.
        let _ = timeout(Duration::from_millis(50), client.wait_for_connect()).await;
        tokio::task::yield_now().await;
    }
}

pub(super) async fn ping_all(client: &Client) -> std::result::Result<(), fred::error::Error> {
    if !client.is_clustered() {
        return client.ping::<()>(None).await;
    }
    let nodes = client.active_connections();
    try_join_all(
        nodes.into_iter().map(|node| async move { client.with_cluster_node(node).ping::<()>(None).await }),
    )
    .await?;
    Ok(())
}

/// Notes why there is no connection, until `shutdown`.
pub(super) async fn note_errors(
    mut errors: Receiver<(fred::error::Error, Option<Server>)>,
    trouble: &'static Trouble,
    shutdown: CancellationToken,
) {
    loop {
        let error = tokio::select! {
            () = shutdown.cancelled() => return,
            error = errors.recv() => error,
        };
        match error {
            Ok((error, _)) => trouble.no_connection(error.details()),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Pings a server that is alone, and gives the connection up when it hangs.
pub(super) async fn watch_alone(pipeline: Pipeline, trouble: &'static Trouble, shutdown: CancellationToken) {
    let mut tick = ticks();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let own = tokio::select! {
            () = shutdown.cancelled() => return,
            own = ping_pipeline(Some(&pipeline)) => own,
        };
        judge(None, own, Some(&pipeline), trouble);
    }
}

fn ticks() -> tokio::time::Interval {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

/// Pings the primaries, and connects again when one hangs. fred's own timer is
/// restarted by every write, so it never fires while something is written to the
/// primary that hangs.
///
/// A pipeline is watched beside fred. When either hangs, or the pipeline's server
/// turns out not to be the primary, fred looks for the primary again, and the
/// pipeline follows it.
pub(super) async fn watch(
    client: Client,
    pipeline: Option<Pipeline>,
    trouble: &'static Trouble,
    shutdown: CancellationToken,
) {
    let mut tick = ticks();
    loop {
        let wrong = async {
            match &pipeline {
                Some(pipeline) => pipeline.doubtful().await,
                None => std::future::pending().await,
            }
        };
        let hung = tokio::select! {
            () = shutdown.cancelled() => break,
            () = wrong => true,
            _ = tick.tick() => is_hung(&client, pipeline.as_ref(), trouble).await,
        };
        if hung {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = timeout(HUNG * 2, client.force_reconnection()) => {}
            }
        }
    }
    // The connection ends with the client; nobody waits for what is lost.
    let _ = timeout(Duration::from_millis(200), client.quit()).await;
}

/// Pings what is connected. What does not answer is given up.
async fn is_hung(client: &Client, pipeline: Option<&Pipeline>, trouble: &'static Trouble) -> bool {
    let fred = async {
        match client.is_connected() {
            true => Some(timeout(HUNG, ping_all(client)).await.map(|done| done.is_ok())),
            false => None,
        }
    };
    let (fred, own) = tokio::join!(fred, ping_pipeline(pipeline));
    judge(Some(fred), own, pipeline, trouble)
}

/// What became of a ping: whether it was answered well; an error where it was not
/// answered in time. Nothing where there is no connection.
type Pinged = Option<std::result::Result<bool, Elapsed>>;

/// Asks nothing where Redis has answered something since the last time: that says as
/// much as a ping.
async fn ping_pipeline(pipeline: Option<&Pipeline>) -> Pinged {
    let pipeline = pipeline.filter(|pipeline| pipeline.is_open())?;
    if pipeline.has_answered() {
        return Some(Ok(true));
    }
    Some(timeout(HUNG, pipeline.ping()).await.map(|done| done.is_ok()))
}

/// Notes what pings say, and gives up a pipeline when something hangs: then true.
/// `fred` and `pipeline`: those that there are.
fn judge(fred: Option<Pinged>, own: Pinged, pipeline: Option<&Pipeline>, trouble: &'static Trouble) -> bool {
    let is_well = |pinged: &Pinged| matches!(pinged, Some(Ok(true)));
    if fred.as_ref().is_none_or(is_well) && (pipeline.is_none() || is_well(&own)) {
        trouble.connected();
    }
    let hung = matches!(fred, Some(Some(Err(_)))) || matches!(own, Some(Err(_)));
    if hung {
        trouble.no_connection("no answer to a ping");
        tracing::warn!(after = ?HUNG, "redis does not answer: connecting anew");
        if let Some(pipeline) = pipeline {
            pipeline.cut("no answer to a ping");
        }
    }
    hung
}
