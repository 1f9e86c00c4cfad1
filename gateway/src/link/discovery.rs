//! Which routers there are: addresses given, each a name that stands for all
//! its addresses and is looked up again as they change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proto::weight::FRAME_LIMIT;
use proto::wire::Replies;
use proto::wire::router_client::RouterClient;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

use super::Routers;
use super::dial::Dial;
use super::outbound::Outbound;
use crate::config::RouterUrl;

/// How often names are looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(3);

/// A router at one address.
struct Remote {
    name: String,
    endpoint: Endpoint,
}

impl Remote {
    fn new(address: SocketAddr) -> Self {
        Self { name: address.to_string(), endpoint: endpoint(address) }
    }
}

/// How a router at this address is connected to.
pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("a socket address makes a URL")
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(2))
        // A router whose machine is gone is noticed within seconds.
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
}

#[async_trait]
impl Dial for Remote {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn dial(&self, outbound: Outbound) -> Result<Streaming<Replies>, Status> {
        let channel =
            self.endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = RouterClient::new(channel)
            .max_decoding_message_size(FRAME_LIMIT)
            .max_encoding_message_size(FRAME_LIMIT);
        Ok(client.link(outbound).await?.into_inner())
    }
}

impl Routers {
    /// Keeps streams to all routers that the names stand for, as they come
    /// and go.
    pub fn discover(&self, urls: Vec<RouterUrl>, tracker: &TaskTracker, shutdown: CancellationToken) {
        tracker.spawn(run(self.clone(), urls, tracker.clone(), shutdown));
    }
}

/// Looks the addresses up until `shutdown`, and keeps one stream to each.
async fn run(routers: Routers, urls: Vec<RouterUrl>, tracker: TaskTracker, shutdown: CancellationToken) {
    let mut known: BTreeMap<SocketAddr, CancellationToken> = BTreeMap::new();
    loop {
        // A name that cannot be looked up now keeps the addresses that it had:
        // a resolver that is away is no reason to drop routers that answer.
        if let Some(found) = look_up_all(&urls).await {
            known.retain(|address, retire| {
                let stays = found.contains(address);
                if !stays {
                    tracing::info!(router = %address, "a router has left its name");
                    retire.cancel();
                }
                stays
            });
            for address in found {
                known.entry(address).or_insert_with(|| {
                    let retire = shutdown.child_token();
                    routers.add(Arc::new(Remote::new(address)), &tracker, retire.clone());
                    retire
                });
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_UP_EVERY) => {}
        }
    }
}

/// Every address of every name; nothing when one of them cannot be looked up.
async fn look_up_all(urls: &[RouterUrl]) -> Option<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for url in urls {
        match look_up(url).await {
            Ok(these) => found.extend(these),
            Err(error) => {
                tracing::warn!(host = url.host, %error, "a router's name cannot be looked up");
                return None;
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Every address of a name. Fails when it cannot be looked up.
pub async fn look_up(url: &RouterUrl) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((url.host.as_str(), url.port)).await?.collect())
}
