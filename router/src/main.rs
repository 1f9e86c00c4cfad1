//! The router as a process: reads its flags, opens the store, serves, drains.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _};
use daemon::{Process, Program, healthcheck};
use router::{Args, Service};
use store::Url;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = Args::command()
        .subcommand(healthcheck::subcommand())
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true);
    let mut command = daemon::args::without_values(command);
    let matches = command.get_matches_mut();
    if let Some(asked) = healthcheck::asked(&matches) {
        return asked.unwrap_or_else(|error| error.format(&mut command).exit()).run();
    }
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    let program = Program::on_port("router", args.listen.port());
    daemon::run(program, &args.daemon.clone(), |process| run(args, process))
}

async fn run(args: Args, process: Process) -> anyhow::Result<()> {
    if let Url::Embedded(_) = args.store {
        anyhow::bail!("--store: the embedded store is for standalone only; routers share a Redis");
    }
    args.options.check().map_err(anyhow::Error::msg)?;
    let listener = daemon::run::bind(&args.listen.to_string(), "--listen").await?;
    let address = listener.local_addr()?;
    // The store lives on through the drain and ends with the process.
    let store_stop = tokio_util::sync::CancellationToken::new();
    let _stop_store_at_end = store_stop.clone().drop_guard();
    let store = store::open(args.options.store_config(args.store.clone()), store_stop)
        .await
        .with_context(|| format!("--store {}", args.store))?;
    let service = Service::new(store, args.config(), process.shutdown.clone());
    let ready = {
        let service = service.clone();
        daemon::admin::ready(move || {
            let service = service.clone();
            async move { service.ready().await }
        })
    };
    process.serve_admin(&args.daemon, ready).await?;
    tracing::info!(%address, store = %args.store, "router listens");
    router::serve(listener, service, process.shutdown).await.context("the gRPC server failed")?;
    tracing::info!("router has drained");
    Ok(())
}
