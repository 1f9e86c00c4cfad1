//! A gateway from start to drain: the one function that binaries, standalone
//! and tests call.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use daemon::Tasks;
use proto::NodeIncarnation;
use store::Bus;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::caller::auth::Authenticator;
use crate::config::{Config, Page, RouterUrl};
use crate::gateway::Gateway;
use crate::link::{Dial, LinkConfig, Routers};
use crate::session::farewell::{self, Departure};
use crate::session::{Sessions, between_polls, bus_reader, presence};
use crate::transport::TRANSPORTS;

/// Where the routers are.
pub enum RouterSource {
    /// At these URLs.
    Urls(Vec<RouterUrl>),
    /// In this process.
    Local(Arc<dyn Dial>),
}

/// A gateway that has been put together and connects to its surroundings.
pub struct Node {
    /// The gateway itself.
    pub gateway: Arc<Gateway>,
    /// The only gateway: its router is in this process.
    alone: bool,
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
        let link = LinkConfig { timeout: config.limits.command_timeout, ..LinkConfig::default() };
        let routers = Routers::new(link, &tracker, stop.clone());
        let alone = matches!(source, RouterSource::Local(_));
        match source {
            RouterSource::Urls(urls) => routers.discover(urls, &tracker, stop.clone()),
            RouterSource::Local(dial) => routers.add(dial, &tracker, stop.clone()),
        }
        config.warn();
        let auth = Authenticator::new(&config.auth)?;
        let class_of = crate::http::catalogue::class_of;
        let gateway = Gateway::new(config, node, auth, routers, tracker, stop.child_token(), class_of);
        let (context, sessions) = (&gateway.context, &gateway.sessions);
        tasks.spawn_until_stop(gateway.callers.auth.clone().keep_fresh());
        tasks.spawn_until_stop(listen(sessions.clone(), bus, stop));
        tasks.spawn_until_stop(presence::run(sessions.clone()));
        let hurrying = sessions.clone();
        tasks.spawn_until_stop(async move { hurrying.hub.hurry().await });
        let (counting, routers) = (gateway.callers.rates.clone(), context.routers.clone());
        tasks.spawn_until_stop(async move { counting.run(routers).await });
        tasks.spawn_until_stop(farewell::run(sessions.clone()));
        context.tracker.spawn(between_polls::sweep(Arc::downgrade(sessions)));
        Ok(Self { gateway, alone, tasks })
    }

    /// Serves clients on `listener` until `shutdown`, then drains: not ready at
    /// once, `goaway` to every session, each served until its client has gone
    /// elsewhere or its time is over, what is under way answered, and everything
    /// closed within `drain`. `more` are routes beside the gateway's own.
    pub async fn serve(
        self,
        listener: TcpListener,
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
        let routes = crate::http::layers::layers(routes, foreign, &gateway);
        let acceptor = Acceptor::new(routes, &config.limits, config.heartbeat, config.tls.clone());
        acceptor.run(listener, &shutdown).await;

        tracing::info!(sessions = gateway.sessions.hub.len(), "draining");
        gateway.context.draining.cancel();
        // A session that is opened in this moment is ended by its own opening.
        let over = Instant::now() + drain;
        tokio::select! {
            () = acceptor.last_requests() => {}
            () = Departure::within(drain, self.alone).run(&gateway.sessions) => {}
        }
        acceptor.finish(over.saturating_duration_since(Instant::now())).await;
        self.tasks.end().await;
        tracing::info!("stopped");
    }
}

/// Subscribes, however long that takes, and feeds the sessions.
async fn listen(sessions: Arc<Sessions>, bus: Arc<dyn Bus>, shutdown: CancellationToken) {
    loop {
        match bus.subscribe(sessions.context.node.clone()).await {
            Ok(subscription) => {
                sessions.hears(subscription.health());
                return bus_reader::run(sessions, subscription, shutdown).await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot subscribe to the bus yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}
