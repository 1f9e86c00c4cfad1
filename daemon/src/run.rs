//! From `main` to the exit code: starts the runtime, logs, telemetry and
//! signals, runs the program, and prints one line when it fails.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, ReadinessCheck};
use crate::args::Args;
use crate::log_limit::LogLimit;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::telemetry::{self, Program, Telemetry};
use crate::{environment, logs, signals};

/// How long the last export may take when the program has ended; never longer
/// than `--drain`.
const LAST_EXPORT: Duration = Duration::from_secs(3);

/// The most connections that wait to be accepted; the system's own limit may be
/// lower.
const BACKLOG: u32 = 4_096;
/// The time between two checks whether the process is ready.
const LOOK: Duration = Duration::from_millis(10);
/// A start that takes longer than this is logged.
const PATIENCE: Duration = Duration::from_secs(1);
/// Seconds between two log lines about a start that takes longer.
const WAITING_EVERY_SECONDS: u64 = 30;

/// What [`run`] gives to a program.
#[derive(Debug, Clone)]
pub struct Process {
    /// Cancelled by the first SIGTERM or SIGINT.
    pub shutdown: CancellationToken,
    telemetry: Telemetry,
    /// The admin server, which goes on through the drain.
    admin: Arc<Tasks>,
}

/// Runs a program; `main` returns the exit code that this returns. The future
/// of `serve` ends when the program has drained; its error is printed in one
/// line, with exit code 1.
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
        telemetry::start(program, &settings, &args.otlp_headers_file.clone().unwrap_or_default())?
    };
    logs::start_with(&args.log, telemetry.loggers())?;
    for warning in environment::warnings() {
        tracing::warn!("{warning}");
    }
    let outcome = runtime.block_on(async {
        // Not waited for: a second signal counts until the process has ended.
        let listening = TaskTracker::new();
        let shutdown = signals::shutdown(&listening).context("cannot listen for signals")?;
        let admin = Arc::new(Tasks::new("the admin server"));
        let process = Process { shutdown, telemetry: telemetry.clone(), admin: admin.clone() };
        // Boxed: the future is large, and block_on would keep it on the stack.
        let outcome = Box::pin(serve(process)).await;
        admin.end().await;
        outcome
    });
    telemetry.stop(LAST_EXPORT.min(args.drain));
    // Tasks that hang must not keep a drained process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

impl Process {
    /// Starts the admin server at `--admin-listen`. `/readyz` says what `ready`
    /// says, and `draining` from the first signal on. Fails when it cannot
    /// listen there.
    pub async fn serve_admin(&self, args: &Args, ready: ReadinessCheck) -> anyhow::Result<()> {
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
        let serving = admin::serve(listener, ready, self.telemetry.clone(), self.admin.stop().clone());
        self.admin.tracker().spawn(serving);
        Ok(())
    }
}

/// An address that is bound, but not listened on: connects are refused until
/// [`Self::listen`].
#[derive(Debug)]
pub struct ReservedAddress {
    socket: TcpSocket,
    flag: &'static str,
    listening: Arc<AtomicBool>,
    /// The address, with the real port if the flag said 0.
    pub address: SocketAddr,
}

/// Binds an address for later. Fails when it is in use; the error names the
/// flag.
pub fn reserve(address: SocketAddr, flag: &'static str) -> anyhow::Result<ReservedAddress> {
    let taken = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of the previous process may still be closing.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok::<_, std::io::Error>(ReservedAddress { socket, flag, listening: Arc::default(), address })
    };
    taken().with_context(|| format!("{flag}: cannot listen on {address}"))
}

impl ReservedAddress {
    /// The same as `ready`, but not ready until [`Self::listen`] was called.
    /// For `/readyz`.
    pub fn ready(&self, ready: ReadinessCheck) -> ReadinessCheck {
        let listening = self.listening.clone();
        admin::ready(move || {
            let (ask, listens) = (ready(), listening.load(Ordering::Acquire));
            async move {
                let answer = ask.await;
                match answer {
                    Ok(_) if !listens => Err(vec!["not listening for clients yet".to_owned()]),
                    answer => answer,
                }
            }
        })
    }

    /// Starts to listen. Fails when another process has taken the port
    /// meanwhile.
    pub fn listen(self) -> anyhow::Result<TcpListener> {
        let Self { socket, flag, listening, address } = self;
        let listener =
            socket.listen(BACKLOG).with_context(|| format!("{flag}: cannot listen on {address}"))?;
        listening.store(true, Ordering::Release);
        Ok(listener)
    }

    /// Waits until `ready` says yes, then listens; logs once in a while why it
    /// still waits. When the process is told to stop it listens at once: the
    /// caller then drains as usual.
    pub async fn listen_when(
        self,
        ready: &ReadinessCheck,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<TcpListener> {
        let begun = Instant::now();
        let limit = LogLimit::new(WAITING_EVERY_SECONDS);
        while !shutdown.is_cancelled() {
            let Err(reasons) = ready().await else { break };
            if begun.elapsed() >= PATIENCE && limit.allow().is_some() {
                let reasons = reasons.join("; ");
                tracing::warn!(address = %self.address, reasons, "not ready, and so not listening for clients yet");
            }
            tokio::time::sleep(LOOK).await;
        }
        self.listen()
    }
}

/// Binds a listening socket. Fails when it cannot; the error names the flag.
pub async fn bind(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag}: cannot listen on {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_not_ready_before_clients_can_connect() {
        let reserved = reserve(([127, 0, 0, 1], 0).into(), "--listen").unwrap();
        let (address, ready) = (reserved.address, reserved.ready(admin::ready(|| async { Ok(Vec::new()) })));
        assert!(ready().await.is_err() && tokio::net::TcpStream::connect(address).await.is_err());
        let _listener = reserved.listen().unwrap();
        assert!(ready().await.is_ok() && tokio::net::TcpStream::connect(address).await.is_ok());
    }
}
