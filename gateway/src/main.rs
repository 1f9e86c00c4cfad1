//! The gateway as a process: reads its flags, connects, serves, drains.

use std::process::ExitCode;

use anyhow::Context as _;
use daemon::{Process, Program};
use gateway::caller::auth::token::TokenArgs;
use gateway::cli::{self, Task};
use gateway::config::{Config, GatewayArgs};
use gateway::{Node, RouterSource};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, clap::Args)]
// Its name is that of daemon's, too.
#[group(skip)]
struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    daemon: daemon::Args,
}

fn main() -> ExitCode {
    let program = clap::Command::new("gateway").version(env!("CARGO_PKG_VERSION")).about(
        "Holds clients' connections and carries messages between them and the routers. Every flag is also an \
         environment variable of the same name: --store is SWITCHBOARD_STORE",
    );
    let args = match cli::parse::<Args, TokenArgs>(program, |command| command) {
        Task::Serve(args) => args,
        Task::Healthcheck(healthcheck) => return healthcheck.run(),
        Task::Token(token) => match token.mint() {
            Ok(token) => {
                println!("{token}");
                return ExitCode::SUCCESS;
            }
            Err(reason) => return cli::wrong("gateway", &reason),
        },
    };
    if let store::Url::Embedded(_) = args.gateway.store {
        return cli::wrong(
            "gateway",
            &"--store: the embedded store is for standalone only; gateways share a Redis",
        );
    }
    match args.gateway.front.check() {
        Ok(config) => {
            let program = Program::new("gateway", &config.node);
            daemon::run(program, &args.daemon.clone(), |process| run(args, config, process))
        }
        Err(reason) => cli::wrong("gateway", &reason),
    }
}

async fn run(args: Args, config: Config, process: Process) -> anyhow::Result<()> {
    let reserved = daemon::run::reserve(args.gateway.listen, "--listen")?;
    let address = reserved.address;
    // The bus lives on through the drain.
    let bus_stop = tokio_util::sync::CancellationToken::new();
    let _stop_bus_at_end = bus_stop.clone().drop_guard();
    let store = args.gateway.store;
    let bus = store::open_bus(&store::Config::new(store.clone()), bus_stop)
        .with_context(|| format!("--store {store}"))?;
    let name = config.node.clone();
    let node = Node::start(config, bus, RouterSource::Urls(args.gateway.routers))?;
    let gateway = node.gateway.clone();
    let ready = daemon::admin::ready(move || {
        let reasons = gateway.not_ready();
        async move { if reasons.is_empty() { Ok(Vec::new()) } else { Err(reasons) } }
    });
    process.serve_admin(&args.daemon, reserved.ready(ready.clone())).await?;
    let listener = reserved.listen_when(&ready, &process.shutdown).await?;
    tracing::info!(%address, node = name, %store, "gateway listens");
    node.serve(listener, axum::Router::new(), args.daemon.drain, process.shutdown).await;
    Ok(())
}
