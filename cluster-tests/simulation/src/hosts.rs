//! What runs on the hosts: gateways and routers as their programs put them together,
//! with the flags of the programs, and what stands in for Redis.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use clap::Parser;
use daemon::Tasks;
use daemon::stream::Listener;
use gateway::config::GatewayArgs;
use gateway::link::{Dial, Elsewhere};
use gateway::{Node, RouterSource};
use router::Service;
use store::{Dialer, Stream};
use testbed::stand_in::{Database, Faults, StandIn};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::machine;
use crate::network::{self, HostId};
use crate::world::Program;

pub(crate) const REDIS: HostId = HostId(1);
pub(crate) const ROUTERS: [HostId; 2] = [HostId(11), HostId(12)];
pub(crate) const GATEWAYS: [HostId; 2] = [HostId(21), HostId(22)];
pub(crate) const PEOPLE: HostId = HostId(31);

/// What the gateways sign tokens with, as the people know, too.
pub(crate) const SECRET: &str = "a secret that only the simulation knows";

/// How the store is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    AtOnce,
    StepByStep,
}

impl Writing {
    fn url(self) -> String {
        let steps = if self == Self::StepByStep { "?steps=separate" } else { "" };
        let address = REDIS.address();
        format!("redis://{address}{steps}")
    }
}

/// Over the simulation's network.
#[derive(Debug)]
struct Simulated;

#[async_trait]
impl Dialer for Simulated {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let host = host.parse().map_err(|_| io::Error::other("the simulation has no names"))?;
        Ok(Box::new(network::connect(SocketAddr::new(host, port)).await?))
    }
}

/// Redis: its data outlives it, as with an append-only file that is written at each
/// command; its scripts do not.
pub(crate) fn redis(
    database: Rc<RefCell<Database>>,
    faults: impl Fn() -> Box<dyn Faults> + 'static,
) -> impl Fn() -> Program {
    move || {
        let (database, faults) = (database.clone(), faults());
        let connections = ReceiverStream::new(network::listen(REDIS));
        let history = format!("{:040x}", rand::random::<u128>());
        database.borrow_mut().restarted(&history);
        Box::pin(async move {
            let served = StandIn::new(database, faults);
            match served {
                Ok(stand_in) => stand_in.serve(connections.map(|(stream, _)| stream)).await,
                Err(error) => panic!("no stand-in: {error:#}"),
            }
        })
    }
}

/// An empty database with the simulation's clock.
pub(crate) fn database() -> Rc<RefCell<Database>> {
    Rc::new(RefCell::new(Database::new(Box::new(machine::now), "0")))
}

/// A router with the flags that it has by default.
pub(crate) fn router(id: HostId, writing: Writing) -> impl Fn() -> Program {
    move || {
        let given = network::listen(id);
        Box::pin(async move {
            if let Err(error) = run_router(writing, Listener::Given(given)).await {
                panic!("a router ended: {error:#}");
            }
        })
    }
}

async fn run_router(writing: Writing, listener: Listener) -> Result<()> {
    let args =
        router::Args::try_parse_from(["router", "--store", &writing.url(), "--listen", "127.0.0.1:0"])?;
    args.check().map_err(anyhow::Error::msg)?;
    let port = args.port().map_err(anyhow::Error::msg)?;
    let tasks = Tasks::new("the store");
    let mut config = args.options.store_config(args.store().clone());
    config.dialer = Some(Arc::new(Simulated));
    let store = store::open(config, tasks.tracker(), tasks.stop().clone()).await?;
    let shutdown = CancellationToken::new();
    let service = Service::new(store, args.config(), shutdown.clone());
    router::serve(listener, port, service, shutdown).await.context("the gRPC server failed")
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// A gateway with the flags that it has by default, so many events that wait for a
/// session, and heartbeats that let clients
/// notice within seconds that it is gone.
pub(crate) fn gateway(id: HostId, writing: Writing, queue: usize) -> impl Fn() -> Program {
    move || {
        let given = network::listen(id);
        Box::pin(async move {
            if let Err(error) = run_gateway(id, writing, queue, Listener::Given(given)).await {
                panic!("a gateway ended: {error:#}");
            }
        })
    }
}

async fn run_gateway(id: HostId, writing: Writing, queue: usize, listener: Listener) -> Result<()> {
    let (store, node, queue) = (writing.url(), format!("gw-{}", id.0), queue.to_string());
    let flags = Flags::try_parse_from([
        "gateway",
        "--store",
        &store,
        "--node",
        &node,
        "--router",
        "http://10.0.0.11:7000",
        "--jwt-secret",
        SECRET,
        "--heartbeat",
        "2s",
        "--session-queue",
        &queue,
        "--listen",
        "127.0.0.1:0",
    ])?;
    let config = flags.gateway.check().map_err(|wrong| anyhow::anyhow!("{wrong}"))?;
    let tasks = Tasks::new("the bus");
    let mut store = store::Config::new(flags.gateway.store().clone());
    store.dialer = Some(Arc::new(Simulated));
    let bus = store::open_bus(&store, tasks.tracker(), tasks.stop().clone())?;
    let routers = ROUTERS
        .map(|router| Arc::new(Elsewhere::new(router.address(), network::connect)) as Arc<dyn Dial>)
        .to_vec();
    let drain = std::time::Duration::from_secs(5);
    let node = Node::start(config, bus, RouterSource::Dialled(routers))?;
    node.serve(listener, axum::Router::new(), drain, CancellationToken::new()).await;
    Ok(())
}
