//! The admin server: `/healthz` (the process runs), `/readyz` (it should get
//! traffic), `/metrics` (Prometheus text). It goes on during a drain, so that
//! `/readyz` can say that the process drains.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::Telemetry;

/// The most connections at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 128;
/// The time that a client has for sending its request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Reasons in words, one line each, for an operator.
pub type Reasons = Vec<String>;

/// Called for each request of `/readyz`.
pub type ReadinessCheck = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Readiness> + Send>> + Send + Sync>;

/// Whether the process should get traffic. `Ok`: yes, with notes that `/readyz`
/// shows below its `ok`. `Err`: no, with the reasons.
pub type Readiness = Result<Reasons, Reasons>;

/// Makes a [`ReadinessCheck`] from an asynchronous closure.
pub fn ready<F, Fut>(ask: F) -> ReadinessCheck
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Readiness> + Send + 'static,
{
    Arc::new(move || Box::pin(ask()))
}

/// Serves until `stop` is cancelled; requests under way are dropped then.
pub async fn serve(
    listener: TcpListener,
    ready: ReadinessCheck,
    telemetry: Telemetry,
    stop: CancellationToken,
) {
    let routes = axum::Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(ready))
        .route("/metrics", get(metrics).with_state(telemetry));
    let connections = TaskTracker::new();
    stop.run_until_cancelled(accept(listener, routes, &connections, &stop)).await;
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: TcpListener,
    routes: axum::Router,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most often the process is out of file descriptors: wait until
                // some are free.
                tracing::warn!(%error, "the admin server could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
                tracing::debug!(%error, "an admin connection broke");
            }
            drop(slot);
        });
    }
}

async fn readyz(State(ready): State<ReadinessCheck>) -> impl IntoResponse {
    match ready().await {
        Ok(notes) => {
            let lines: Vec<String> = std::iter::once("ok".to_owned()).chain(notes).collect();
            (StatusCode::OK, lines.join("\n") + "\n")
        }
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}

async fn metrics(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    match telemetry.prometheus_text() {
        Ok(text) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
        }
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new())
        }
    }
}
