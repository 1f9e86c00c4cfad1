//! Which routers there are: addresses given, each a name that stands for all
//! its addresses and is looked up again as they change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use daemon::causes::with_causes;
use daemon::internal_tls::InternalTls;
use http::Uri;
use hyper_util::rt::TokioIo;
use proto::weight::FRAME_LIMIT;
use proto::wire::Replies;
use proto::wire::router_client::RouterClient;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tower::service_fn;

use super::Routers;
use super::dial::Dial;
use super::greeting::{greeted, greeting};
use super::outbound::Outbound;
use crate::config::RouterUrl;
use crate::metrics;

/// How often names are looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(3);

/// A router at one address.
struct Remote {
    address: SocketAddr,
    tls: Option<InternalTls>,
}

/// Connects to the router at this address, over TLS where it is given.
pub(super) async fn connect(
    address: SocketAddr,
    tls: Option<&InternalTls>,
) -> Result<Channel, tonic::transport::Error> {
    let Some(tls) = tls.cloned() else { return endpoint(address).connect().await };
    let connect = move |_: Uri| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream = tls.connect(stream).await.inspect_err(|_| metrics::router_refused())?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    };
    endpoint(address).connect_with_connector(service_fn(connect)).await
}

fn endpoint(address: SocketAddr) -> Endpoint {
    // What is above TLS says http, too: the connector is ours.
    Endpoint::from_shared(format!("http://{address}"))
        .expect("a socket address makes a URL")
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(2))
        // A router whose machine is gone is noticed within five seconds, with something
        // over: a gateway that reaches none must not call itself ready for longer.
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_millis(2_500))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
}

#[async_trait]
impl Dial for Remote {
    fn name(&self) -> String {
        self.address.to_string()
    }

    async fn dial(&self, outbound: Outbound) -> Result<Streaming<Replies>, Status> {
        open(connect(self.address, self.tls.as_ref()).await, outbound).await
    }
}

async fn open(
    channel: Result<Channel, tonic::transport::Error>,
    outbound: Outbound,
) -> Result<Streaming<Replies>, Status> {
    let channel = channel.map_err(|error| Status::unavailable(with_causes(&error)))?;
    let mut client = RouterClient::new(channel)
        .max_decoding_message_size(FRAME_LIMIT)
        .max_encoding_message_size(FRAME_LIMIT);
    let opened = client.link(greeting(outbound)).await;
    // A router that refuses our certificate says so behind the handshake.
    let opened = opened.map_err(|status| Status::new(status.code(), with_causes(&status)));
    greeted(opened?)
}

/// A router at an address of another network than the kernel's.
pub struct Elsewhere<C> {
    address: SocketAddr,
    connect: C,
}

impl<C> Elsewhere<C> {
    /// `connect` makes a connection to an address.
    pub fn new(address: SocketAddr, connect: C) -> Self {
        Self { address, connect }
    }
}

#[async_trait]
impl<C, F, S> Dial for Elsewhere<C>
where
    C: Fn(SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = std::io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn name(&self) -> String {
        self.address.to_string()
    }

    async fn dial(&self, outbound: Outbound) -> Result<Streaming<Replies>, Status> {
        let (address, connect) = (self.address, self.connect.clone());
        let connector = service_fn(move |_: Uri| {
            let connected = connect(address);
            async move { Ok::<_, std::io::Error>(TokioIo::new(connected.await?)) }
        });
        open(endpoint(address).connect_with_connector(connector).await, outbound).await
    }
}

impl Routers {
    /// Keeps streams to all routers that the names stand for, as they come
    /// and go; over TLS where it is given.
    pub fn discover(
        &self,
        urls: Vec<RouterUrl>,
        tls: Option<InternalTls>,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) {
        tracker.spawn(run(self.clone(), urls, tls, tracker.clone(), shutdown));
    }
}

/// Looks the addresses up until `shutdown`, and keeps one stream to each.
async fn run(
    routers: Routers,
    urls: Vec<RouterUrl>,
    tls: Option<InternalTls>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
) {
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
                    let remote = Remote { address, tls: tls.clone() };
                    routers.add(Arc::new(remote), &tracker, retire.clone());
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
