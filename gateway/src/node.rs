//! A gateway from start to drain: the one function that binaries, standalone
//! and tests call.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use daemon::Tasks;
use daemon::internal_tls::InternalTls;
use daemon::stream::Listener;
use proto::NodeIncarnation;
use store::Bus;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::caller::auth::Authenticator;
use crate::config::{Config, Page, Peer, RouterUrl};
use crate::gateway::Gateway;
use crate::link::{Dial, LinkConfig, Routers};
use crate::peer::port::Port;
use crate::peer::{self, OtherGateways, RelayConfig};
use crate::session::farewell::{self, Departure};
use crate::session::{between_polls, bus_reader, gathered_acks, presence, revocations};
use crate::transport::TRANSPORTS;

/// Between two tries to reach the store's bus.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two times that the store is told where this node is reached.
const ANNOUNCE: Duration = Duration::from_secs(5);
/// Between two looks whether all sessions have left.
const LOOK: Duration = Duration::from_millis(100);

/// Where the routers are.
pub enum RouterSource {
    /// At these URLs.
    Urls(Vec<RouterUrl>),
    /// In this process.
    Local(Arc<dyn Dial>),
    /// Those that are dialled so: where they are reached in another way than over the
    /// kernel's TCP.
    Dialled(Vec<Arc<dyn Dial>>),
}

/// A gateway that has been put together and connects to its surroundings.
pub struct Node {
    /// The gateway itself.
    pub gateway: Arc<Gateway>,
    /// The only gateway: its router is in this process.
    alone: bool,
    /// For other gateways.
    port: Option<TcpListener>,
    /// All tasks of the gateway, those too that must outlive the drain: the
    /// reader of the bus and the links to the routers.
    tasks: Tasks,
}

impl Node {
    /// Builds a gateway and begins to connect: it is ready when
    /// [`Gateway::not_ready`] is empty.
    pub fn start(config: Config, bus: Arc<dyn Bus>, source: RouterSource) -> anyhow::Result<Self> {
        let node =
            NodeIncarnation::new(&config.node).map_err(|rule| anyhow::anyhow!("--node: the name {rule}"))?;
        let tasks = Tasks::new("the gateway");
        let (tracker, stop) = (tasks.tracker().clone(), tasks.stop().clone());
        let link = LinkConfig {
            timeout: config.limits.command_timeout,
            overload_wait: config.limits.overload_wait,
            overload_lateness: config.limits.overload_lateness,
            ..LinkConfig::default()
        };
        let routers = Routers::new(link, &tracker, stop.clone());
        let alone = matches!(source, RouterSource::Local(_));
        match source {
            RouterSource::Urls(urls) => {
                routers.discover(urls, config.internal_tls.clone(), &tracker, stop.clone())
            }
            RouterSource::Local(dial) => routers.add(dial, &tracker, stop.clone()),
            RouterSource::Dialled(all) => {
                all.into_iter().for_each(|dial| routers.add(dial, &tracker, stop.clone()));
            }
        }
        config.warn();
        let auth = Authenticator::new(&config.auth)?;
        let class_of = crate::http::catalogue::class_of;
        let draining = stop.child_token();
        let peers = config.peer.as_ref();
        let tls = config.internal_tls.clone();
        let peers =
            peers.map(|peer| open_peers(peer, tls.clone(), &node, &*bus, &tasks, &draining)).transpose()?;
        if let Some(tls) = tls {
            tasks.spawn_until_stop(tls.follow());
        }
        let (others, port) = peers.unzip();
        let gateway = Gateway::new(config, node, auth, routers, tracker, draining, class_of, others);
        let (context, sessions) = (&gateway.context, &gateway.sessions);
        tasks.spawn_until_stop(gateway.callers.believed.auth.clone().keep_fresh());
        if let Some(peer) = gateway.config.peer.clone() {
            tasks.spawn_until_stop(keep_announcing(gateway.clone(), peer, bus.clone()));
        }
        tasks.spawn_until_stop(listen(gateway.clone(), bus, stop));
        tasks.spawn_until_stop(presence::run(sessions.clone()));
        let hurrying = sessions.clone();
        tasks.spawn_until_stop(async move { hurrying.hub.hurry().await });
        let gathering = sessions.clone();
        tasks.spawn_until_stop(async move { gathered_acks::run(&gathering).await });
        let (counting, routers) = (gateway.callers.rates.clone(), context.routers.clone());
        tasks.spawn_until_stop(async move { counting.run(routers).await });
        tasks.spawn_until_stop(farewell::run(sessions.clone()));
        tasks.spawn_until_stop(revocations::keep(sessions.clone()));
        tasks.spawn_until_stop(revocations::enforce(sessions.clone()));
        context.tracker.spawn(between_polls::sweep(Arc::downgrade(sessions)));
        Ok(Self { gateway, alone, port, tasks })
    }

    /// Serves clients on `listener` until `shutdown`, then drains: not ready at
    /// once, `goaway` to every session, each served until its client has gone
    /// elsewhere or its time is over, what is under way answered, and everything
    /// closed within `drain`. `more` are routes beside the gateway's own.
    pub async fn serve(
        self,
        listener: impl Into<Listener>,
        more: Router<Arc<Gateway>>,
        drain: Duration,
        shutdown: CancellationToken,
    ) {
        let gateway = self.gateway;
        let page = match gateway.config.page {
            Page::On => crate::http::page::routes(),
            Page::Off => Router::new(),
        };
        let routes = TRANSPORTS.iter().fold(
            crate::http::resources::routes()
                .merge(crate::http::tickets::routes())
                .merge(crate::http::openapi::routes())
                .merge(page)
                .merge(more),
            |routes, transport| routes.merge(transport()),
        );
        let config = &gateway.config;
        let foreign = crate::transport::foreign(&gateway, self.tasks.stop().clone());
        let routes = crate::http::layers::layers(routes, foreign.clients, &gateway);
        if let (Some(listener), Some(peer)) = (self.port, &config.peer) {
            let port = Port {
                node: config.node.clone(),
                routes: foreign.peers.with_state(gateway.clone()),
                requests: peer.requests,
                max_header_bytes: config.limits.max_header_bytes,
                tls: config.internal_tls.clone(),
            };
            let (tracker, stop) = (self.tasks.tracker().clone(), self.tasks.stop().clone());
            self.tasks.tracker().spawn(peer::port::serve(listener, port, tracker, stop));
        }
        let proxies = config.proxies.clone();
        let acceptor = Acceptor::new(routes, &config.limits, proxies, config.heartbeat, config.tls.clone());
        acceptor.run(listener, &shutdown).await;

        tracing::info!(sessions = gateway.sessions.hub.len(), "draining");
        gateway.context.draining.cancel();
        // A session that is opened in this moment is ended by its own opening.
        let over = Instant::now() + drain;
        let last_requests = async {
            acceptor.last_requests().await;
            // Those have no connection here that other gateways pass on.
            while gateway.others.is_some() && !gateway.sessions.hub.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = last_requests => {}
            () = Departure::within(drain, self.alone).run(&gateway.sessions) => {}
        }
        acceptor.finish(over.saturating_duration_since(Instant::now())).await;
        self.tasks.end().await;
        tracing::info!("stopped");
    }
}

/// The way to the other gateways, and from them. Fails where the port cannot be had.
fn open_peers(
    peer: &Peer,
    tls: Option<InternalTls>,
    node: &NodeIncarnation,
    bus: &dyn Bus,
    tasks: &Tasks,
    draining: &CancellationToken,
) -> anyhow::Result<(OtherGateways, TcpListener)> {
    let port = std::net::TcpListener::bind(peer.listen)
        .and_then(|port| port.set_nonblocking(true).map(|()| port))
        .and_then(TcpListener::from_std)
        .with_context(|| format!("--peer-listen: cannot listen on {}", peer.listen))?;
    let (draining, stop) = (draining.clone(), tasks.stop().clone());
    let config = RelayConfig { requests: peer.requests, draining, stop, tls };
    let others = OtherGateways::new(node.node(), bus.peers(), config, tasks.tracker().clone());
    tasks.spawn_until_stop(others.claims.clone().keep());
    tracing::info!(listen = %peer.listen, address = %peer.address, "serves other gateways");
    Ok((others, port))
}

/// Subscribes, however long that takes, and feeds the sessions.
async fn listen(gateway: Arc<Gateway>, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    let sessions = gateway.sessions.clone();
    loop {
        // Before there can be sessions that others look for.
        if let Some(peer) = &gateway.config.peer
            && let Err(error) = announce(&gateway, peer, &*bus).await
        {
            tracing::warn!(%error, "cannot say yet where other gateways reach this one");
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        match bus.subscribe(sessions.context.node.clone()).await {
            Ok(subscription) => {
                sessions.hears(subscription.health());
                return bus_reader::run(sessions, subscription, shutdown).await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot subscribe to the bus yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn announce(gateway: &Gateway, peer: &Peer, bus: &dyn Bus) -> store::Result<()> {
    bus.peers().announce(&gateway.context.node, &peer.address.to_string()).await
}

/// Says it again and again: a failover may have lost it.
async fn keep_announcing(gateway: Arc<Gateway>, peer: Peer, bus: Arc<dyn Bus>) {
    loop {
        tokio::time::sleep(ANNOUNCE).await;
        if let Err(error) = announce(&gateway, &peer, &*bus).await {
            tracing::debug!(%error, "cannot say where other gateways reach this one");
        }
    }
}
