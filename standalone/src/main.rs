//! The whole system as one program: `cargo run`.

use std::process::ExitCode;

use daemon::check::Checks;
use daemon::{Process, Program};
use gateway::cli::{self, Task};
use gateway::config::{Page, Wrong};
use standalone::args::{ADMIN_LISTEN, CheckTokenCommand, TokenCommand};
use standalone::{Args, Config, System, hints};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let program = clap::Command::new("standalone").version(env!("CARGO_PKG_VERSION")).about(
        "Switchboard in one process: gateway, router and store. Every flag is also an environment variable of the \
         same name: --store is SWITCHBOARD_STORE",
    );
    let admin =
        |command: clap::Command| command.mut_arg("admin_listen", |arg| arg.default_value(ADMIN_LISTEN));
    let done = match cli::parse::<Args, TokenCommand, CheckTokenCommand>(program, admin) {
        Task::Serve(args) => serve(args),
        Task::Check(args) => standalone::check::check(&args).map(Checks::run),
        Task::Healthcheck(healthcheck) => Ok(healthcheck.run()),
        Task::Token(token) => token.print(),
        Task::CheckToken(token) => token.run(),
    };
    done.unwrap_or_else(|reason| cli::wrong("standalone", &reason))
}

fn serve(args: Args) -> Result<ExitCode, Wrong> {
    let config = args.check()?;
    let program = Program::on_port("standalone", args.listen.port());
    Ok(daemon::run(program, &args.daemon.clone(), |process| run(args, config, process)))
}

async fn run(args: Args, config: Config, process: Process) -> anyhow::Result<()> {
    let reserved = daemon::run::reserve(args.listen, "--listen")?;
    let address = reserved.address;
    let place =
        hints::Place { address, tls: config.gateway.tls.is_some(), page: config.gateway.page == Page::On };
    let hints = config.dev.is_some().then(|| hints::text(place));
    let store = config.store.url.clone();
    let system = System::start(config).await?;
    match process.serve_admin(&args.daemon, reserved.ready(system.ready())).await {
        Err(error) if args.admin_is_optional() => {
            tracing::warn!(
                error = format!("{error:#}"),
                "no admin server: another program may have its port"
            );
        }
        other => other?,
    }
    tokio::select! {
        ready = system.becomes_ready() => ready?,
        () = process.shutdown.cancelled() => return Ok(()),
    }
    let listener = reserved.listen()?;
    tracing::info!(%address, %store, form = %proto::FORM, "standalone listens");
    if let Some(hints) = hints {
        println!("{hints}");
    }
    system.serve(listener, process.shutdown).await;
    Ok(())
}
