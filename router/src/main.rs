//! The router as a process: reads its flags, opens the store, serves, drains.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args as _, CommandFactory as _, FromArgMatches as _};
use daemon::healthcheck::{self, Healthcheck};
use daemon::{Process, Program, Tasks};
use router::{Args, Service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let telemetry = |command: clap::Command| command.after_long_help(daemon::args::ABOUT_TELEMETRY);
    let command = telemetry(Args::command())
        .subcommand(daemon::check::subcommand(|check| telemetry(Args::augment_args(check))))
        .subcommand(healthcheck::subcommand())
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true);
    let mut command = daemon::args::with_help(command);
    let matches = command.get_matches_mut();
    let done = match matches.subcommand() {
        Some((healthcheck::NAME, asked)) => Healthcheck::from_arg_matches(asked).map(|asked| asked.run()),
        Some((_, flags)) => Args::from_arg_matches(flags).map(|args| check(&args)),
        None => Args::from_arg_matches(&matches).map(serve),
    };
    done.unwrap_or_else(|error| error.format(&mut command).exit())
}

fn check(args: &Args) -> ExitCode {
    match router::check::check(args) {
        Ok(checks) => checks.run(),
        Err(wrong) => {
            eprintln!("router: {wrong}");
            ExitCode::from(2)
        }
    }
}

fn serve(args: Args) -> ExitCode {
    let program = Program::on_port("router", args.listen.port());
    daemon::run(program, &args.daemon.clone(), |process| run(args, process))
}

async fn run(args: Args, process: Process) -> anyhow::Result<()> {
    args.check().map_err(anyhow::Error::msg)?;
    let port = args.port().map_err(anyhow::Error::msg)?;
    for warning in daemon::internal_tls::warnings(port.tls.as_ref(), Some(args.listen)) {
        tracing::warn!("{warning}");
    }
    let listener = daemon::run::bind(&args.listen.to_string(), "--listen").await?;
    let address = listener.local_addr()?;
    // The store lives on through the drain.
    let store_tasks = Tasks::new("the store");
    let config = args.options.store_config(args.store().clone());
    let store = store::open(config, store_tasks.tracker(), store_tasks.stop().clone())
        .await
        .with_context(|| format!("--store {}", args.store()))?;
    let service = Service::new(store, args.config(), process.shutdown.clone());
    let ready = {
        let service = service.clone();
        daemon::admin::ready(move || {
            let service = service.clone();
            async move { service.ready().await }
        })
    };
    process.serve_admin(&args.daemon, ready).await?;
    tracing::info!(%address, store = %args.store(), form = %proto::FORM, "router listens");
    router::serve(listener, port, service, process.shutdown).await.context("the gRPC server failed")?;
    store_tasks.end().await;
    tracing::info!("router has drained");
    Ok(())
}
