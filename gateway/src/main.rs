//! The gateway as a process: reads its flags, connects, serves, drains.

use std::process::ExitCode;

use anyhow::Context as _;
use daemon::{Process, Program, Tasks};
use gateway::caller::auth::token::TokenArgs;
use gateway::cli::check_token::CheckTokenArgs;
use gateway::cli::{self, Task};
use gateway::config::{Config, GatewayArgs, Wrong};
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
        "The gateway holds clients' connections and carries messages between them and the routers. Every flag is also \
         an environment variable of the same name: --store is SWITCHBOARD_STORE",
    );
    let done = match cli::parse::<Args, TokenArgs, CheckTokenArgs>(program, |command| command) {
        Task::Serve(args) => serve(args),
        Task::Check(args) => check(&args),
        Task::Healthcheck(healthcheck) => Ok(healthcheck.run()),
        Task::Token(token) => token.print(),
        Task::CheckToken(token) => token.auth.check().and_then(|auth| token.run(&auth)),
    };
    done.unwrap_or_else(|reason| cli::wrong("gateway", &reason))
}

fn serve(args: Args) -> Result<ExitCode, Wrong> {
    let config = args.gateway.check()?;
    let program = Program::new("gateway", &config.node);
    Ok(daemon::run(program, &args.daemon.clone(), |process| run(args, config, process)))
}

fn check(args: &Args) -> Result<ExitCode, Wrong> {
    args.gateway.check_store()?;
    let mut checks = cli::check::gateway(&args.gateway)?;
    checks.process(args.gateway.listen, &args.daemon, false);
    Ok(checks.run())
}

async fn run(args: Args, config: Config, process: Process) -> anyhow::Result<()> {
    let reserved = daemon::run::reserve(args.gateway.listen, "--listen")?;
    let address = reserved.address;
    // The bus lives on through the drain.
    let bus_tasks = Tasks::new("the bus");
    let store = args.gateway.store().clone();
    let bus =
        store::open_bus(&store::Config::new(store.clone()), bus_tasks.tracker(), bus_tasks.stop().clone())
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
    tracing::info!(%address, node = name, %store, form = %proto::FORM, "gateway listens");
    node.serve(listener, axum::Router::new(), args.daemon.drain, process.shutdown).await;
    bus_tasks.end().await;
    Ok(())
}
