//! How other gateways reach this one.

use std::net::SocketAddr;

use url::Url;

use super::Wrong;

/// Both sides of the way between gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where this one listens.
    pub listen: SocketAddr,
    /// What the others call.
    pub address: Url,
}

impl Peer {
    pub(super) fn check(listen: Option<SocketAddr>, address: Option<&str>) -> Result<Option<Self>, Wrong> {
        // Clap lets neither come alone.
        let (Some(listen), Some(address)) = (listen, address) else { return Ok(None) };
        let address = Url::parse(address)
            .ok()
            .filter(|url| url.scheme() == "http" && url.has_host())
            .ok_or_else(|| Wrong("--peer-address: must be a URL such as http://gw-1:7200".to_owned()))?;
        Ok(Some(Self { listen, address }))
    }
}
