//! The service on its port: gRPC with health and keep-alive. At the end it answers
//! what is under way.

use std::future::pending;
use std::time::Duration;

use daemon::stream::Listener;
use futures_util::stream::unfold;
use proto::wire::router_server::RouterServer;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::port::{self, Port};
use crate::service::Service;

/// A gateway that is gone without closing its connection is noticed after the sum
/// of these.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Flow control: bytes that may be on their way to a reader that does not read.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Calls of one connection at once. A gateway makes one; who looks at the health
/// makes another.
const CALLS: u32 = 16;

/// Serves gateways on `listener` until `shutdown`, which should be the token that
/// the service was made with. Then it answers what is under way and returns, after
/// the configured drain at the latest. Fails when the listener does.
pub async fn serve(
    listener: impl Into<Listener>,
    port: Port,
    service: Service,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RouterServer<Service>>().await;
    let tls = port.tls.clone();
    let connections = port::listen(listener.into(), port, service.tracker(), shutdown.clone());
    let incoming = unfold(connections, async |mut connections| {
        let connection = connections.recv().await?;
        Some((connection, connections))
    });
    let mut builder = Server::builder()
        .max_concurrent_streams(CALLS)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    if let Some(age) = service.config().link_age {
        // Without a grace: tonic would then cut the connection where its links
        // still answer. They end by themselves, at about the same age.
        builder = builder.max_connection_age(age);
    }
    let server = builder
        .add_service(health_service)
        .add_service(service.server())
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let mut server = Box::pin(server);
    let follow = async {
        match tls {
            Some(tls) => tls.follow().await,
            None => pending().await,
        }
    };
    tokio::select! {
        ended = &mut server => return ended,
        () = follow => {}
        () = shutdown.cancelled() => {}
    }
    health.set_not_serving::<RouterServer<Service>>().await;
    let drain = service.config().drain;
    let ended = tokio::time::timeout(drain, async {
        service.drained().await;
        server.await
    });
    match ended.await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!(?drain, "not everything had ended when the drain was over");
            Ok(())
        }
    }
}
