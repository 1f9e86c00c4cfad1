//! One look at a router, for a check of a configuration: whether it can be
//! reached and says that it serves. No stream is opened.

use std::net::SocketAddr;
use std::time::Duration;

use daemon::causes::with_causes;
use daemon::internal_tls::InternalTls;
use proto::wire::router_server;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::discovery::connect;

/// The time to connect and to get the answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whether a router serves at this address; or what to change. Takes four
/// seconds at most.
pub async fn look(address: SocketAddr, tls: Option<&InternalTls>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, ask(address, tls))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}: check the network between them")))
}

async fn ask(address: SocketAddr, tls: Option<&InternalTls>) -> Result<(), String> {
    let channel = connect(address, tls).await.map_err(|error| {
        format!("{}: check that the router runs, and the port in --router", with_causes(&error))
    })?;
    let request = HealthCheckRequest { service: router_server::SERVICE_NAME.to_owned() };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
        Ok(_) => Err("it is stopping".to_owned()),
        Err(status) if status.code() == Code::Unimplemented || status.code() == Code::NotFound => {
            Err("another program answers there: check the port in --router".to_owned())
        }
        Err(status) => Err(format!("{}: check that a router listens there", with_causes(&status))),
    }
}
