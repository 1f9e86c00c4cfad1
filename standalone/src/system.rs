//! The parts put together: the store first and last, the router on it, the
//! gateway on both.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use daemon::Tasks;
use gateway::link::InProcess;
use gateway::{Node, RouterSource};
use router::Service;
use store::embedded::Embedded;
use store::{Bus, Store, Url};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::Config;
use crate::dev;

/// The time for router and store to end, one after the other, after the gateway:
/// by then they have nothing left to do.
const END: Duration = Duration::from_secs(5);

/// A system that is not ready after this time ends with an error, so that nobody
/// takes it for one that serves.
const BEGIN: Duration = Duration::from_secs(10);
/// Between two looks whether it is ready.
const LOOK: Duration = Duration::from_millis(20);

/// A whole system that runs.
pub struct System {
    node: Node,
    router: Service,
    router_stop: CancellationToken,
    store: Opened,
    config: Config,
}

/// An open store, and what closes it.
struct Opened {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    embedded: Option<Arc<Embedded>>,
    tasks: Tasks,
}

/// Runs a system from start to drain.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    System::start(config).await?.serve(listener, shutdown).await;
    Ok(())
}

impl System {
    /// Opens the store and starts router and gateway.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let store =
            Opened::open(&config.store).await.with_context(|| format!("--store {}", config.store.url))?;
        let router_stop = CancellationToken::new();
        let router = Service::new(store.store.clone(), config.router.clone(), router_stop.clone());
        let dial = Arc::new(InProcess::new(router.server()));
        let node = Node::start(config.gateway.clone(), store.bus.clone(), RouterSource::Local(dial))?;
        Ok(Self { node, router, router_stop, store, config })
    }

    /// For `/readyz`.
    pub fn ready(&self) -> daemon::admin::ReadinessCheck {
        let (gateway, router) = (self.node.gateway.clone(), self.router.clone());
        daemon::admin::ready(move || {
            let (mut reasons, router) = (gateway.not_ready(), router.clone());
            async move {
                let notes = match router.ready().await {
                    Ok(notes) => notes,
                    Err(more) => {
                        reasons.extend(more);
                        Vec::new()
                    }
                };
                if reasons.is_empty() { Ok(notes) } else { Err(reasons) }
            }
        })
    }

    /// Waits until it is ready. Fails after [`BEGIN`] with what is missing.
    pub async fn becomes_ready(&self) -> anyhow::Result<()> {
        let ready = self.ready();
        let mut tick = tokio::time::interval(LOOK);
        let last = tokio::time::Instant::now() + BEGIN;
        loop {
            let late = tick.tick().await >= last;
            match ready().await {
                Ok(_) => return Ok(()),
                Err(reasons) if late => {
                    let store = &self.config.store.url;
                    anyhow::bail!("--store {store}: it is not ready after {BEGIN:?}: {}", reasons.join("; "));
                }
                Err(_) => {}
            }
        }
    }

    /// Serves clients until `shutdown`, then ends the parts in the order in
    /// which they need each other.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let Self { node, router, router_stop, store, config } = self;
        let ttl = dev::TTL.min(config.gateway.auth.max_token_life);
        let more = config.dev.map(|secret| dev::routes(secret, ttl)).unwrap_or_default();
        node.serve(listener, more, config.router.drain, shutdown).await;
        router_stop.cancel();
        if tokio::time::timeout(END, router.drained()).await.is_err() {
            tracing::warn!("the router did not end in time");
        }
        store.close().await;
    }
}

impl Opened {
    async fn open(config: &store::Config) -> store::Result<Self> {
        let tasks = Tasks::new("the store");
        let stop = tasks.stop().clone();
        match config.url {
            Url::Embedded(_) => {
                let embedded = Embedded::open(config.clone(), stop).await?;
                Ok(Self { store: embedded.clone(), bus: embedded.clone(), embedded: Some(embedded), tasks })
            }
            Url::Redis(_) => {
                let store = store::open(config.clone(), tasks.tracker(), stop.clone()).await?;
                let bus = store::open_bus(config, tasks.tracker(), stop)?;
                Ok(Self { store, bus, embedded: None, tasks })
            }
        }
    }

    async fn close(self) {
        self.tasks.end().await;
        let Some(embedded) = self.embedded else { return };
        if tokio::time::timeout(END, embedded.closed()).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
    }
}
