//! From `main` to the exit code: starts the runtime, logs, metrics and signals,
//! runs the program, and says in one clear line why it could not.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Ready};
use crate::args::Args;
use crate::settings::Settings;
use crate::telemetry::{self, Program, Telemetry};
use crate::{logs, signals};

/// What is not exported when the program has ended has so long to leave; a
/// drain that is shorter than that counts.
const LAST_EXPORT: Duration = Duration::from_secs(3);

/// What a running program has from its surroundings.
#[derive(Debug, Clone)]
pub struct Process {
    /// Cancelled by the first SIGTERM or SIGINT.
    pub shutdown: CancellationToken,
    telemetry: Telemetry,
    tasks: TaskTracker,
    stopped: CancellationToken,
}

/// Runs a program; `main` returns what this returns. The future of `serve` ends
/// when it has drained; an error is printed in one line, with exit code 1.
pub fn run<F, Fut>(program: Program, args: &Args, serve: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    match try_run(&program, args, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", program.name);
            ExitCode::FAILURE
        }
    }
}

fn try_run<F, Fut>(program: &Program, args: &Args, serve: F) -> anyhow::Result<()>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let settings = Settings::from_env()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.worker_threads {
        runtime.worker_threads(threads.get());
    }
    let runtime = runtime.enable_all().build().context("the async runtime did not start")?;
    let telemetry = {
        let _inside = runtime.enter();
        telemetry::start(program, &settings)?
    };
    logs::start_with(&args.log, telemetry.loggers())?;
    let outcome = runtime.block_on(async {
        let tasks = TaskTracker::new();
        let shutdown = signals::shutdown(&tasks).context("cannot listen for signals")?;
        let stopped = CancellationToken::new();
        let process = Process { shutdown, telemetry: telemetry.clone(), tasks, stopped: stopped.clone() };
        // Boxed: the program is large and block_on would keep it on the stack.
        let outcome = Box::pin(serve(process)).await;
        stopped.cancel();
        outcome
    });
    telemetry.stop(LAST_EXPORT.min(args.drain));
    // Tasks that hang must not keep a drained process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

impl Process {
    /// Starts the admin server at `--admin-listen`. Until the drain `/readyz`
    /// says what `ready` says.
    pub async fn serve_admin(&self, args: &Args, ready: Ready) -> anyhow::Result<()> {
        let listener = bind(&args.admin_listen.to_string(), "--admin-listen").await?;
        let shutdown = self.shutdown.clone();
        let ready = admin::ready(move || {
            let ask = if shutdown.is_cancelled() { None } else { Some(ready()) };
            async move {
                match ask {
                    Some(ask) => ask.await,
                    None => Err(vec!["draining".to_owned()]),
                }
            }
        });
        tracing::info!(address = %listener.local_addr()?, "admin server listens");
        self.tasks.spawn(admin::serve(listener, ready, self.telemetry.clone(), self.stopped.clone()));
        Ok(())
    }
}

/// Binds a listening socket; the error names the flag that gave the address.
pub async fn bind(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag}: cannot listen on {address}"))
}
