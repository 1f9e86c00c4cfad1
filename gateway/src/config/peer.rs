//! How gateways reach each other: each listens for the others, and says to the store
//! where.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use daemon::args::heading;
use daemon::internal_tls::{self, InternalTlsArgs};
use url::Url;

use super::address;
use super::wrong::{Wrong, within};

/// The flags.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = heading::PEERS)]
pub struct PeerArgs {
    /// The address and port for other gateways.
    ///
    /// A request of a Socket.IO or SockJS session may come to any gateway. Over
    /// this port it is passed on to the one that has the session. Without it such
    /// clients need affinity in the load balancer, unless they use WebSocket alone.
    #[arg(long, env = "SWITCHBOARD_PEER_LISTEN", value_name = "ADDRESS",
          value_parser = daemon::args::listen_address)]
    pub peer_listen: Option<SocketAddr>,

    /// The URL at which other gateways reach --peer-listen [default: see --help].
    ///
    /// Such as http://gw-1:7200; https where --internal-tls-cert is given. It is of
    /// this gateway alone: a name that stands for several is none. By default it has
    /// the address of --peer-listen, or the host's name where that is every address.
    #[arg(long, env = "SWITCHBOARD_PEER_ADDRESS", value_name = "URL", requires = "peer_listen")]
    pub peer_address: Option<String>,

    /// Requests and WebSockets that are passed on at once; more are answered 503.
    ///
    /// Of one other gateway as many are served. Each may hold 64 KiB. From 1 to
    /// 10000000.
    #[arg(long, env = "SWITCHBOARD_PEER_REQUESTS", default_value_t = 50_000, value_name = "N")]
    pub peer_requests: usize,
}

/// Both sides of the way between gateways.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where this one listens.
    pub listen: SocketAddr,
    /// What the others call.
    pub address: PeerAddress,
    /// `--peer-requests`.
    pub requests: usize,
}

/// Where a gateway is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port at which other gateways reach this one.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl PeerArgs {
    /// Checks the flags, of a gateway with this TLS; nothing where it has no peers.
    pub fn check(&self, tls: &InternalTlsArgs) -> Result<Option<Peer>, Wrong> {
        // Clap does not let an address come alone.
        let Some(listen) = self.peer_listen else { return Ok(None) };
        let requests = within("--peer-requests", self.peer_requests, 1, 10_000_000)?;
        let address: PeerAddress = match &self.peer_address {
            Some(address) => address.parse().map_err(|wrong| Wrong(format!("--peer-address: {wrong}")))?,
            None => PeerAddress::of(listen, tls.is_given())?,
        };
        if address.tls != tls.is_given() {
            let wrong = internal_tls::wrong_scheme(address.tls);
            return Err(Wrong(format!("--peer-address: {address} {wrong}")));
        }
        tls.check_port("--peer-listen", listen).map_err(Wrong)?;
        Ok(Some(Peer { listen, address, requests }))
    }
}

impl PeerAddress {
    /// Of whoever listens here.
    fn of(listen: SocketAddr, tls: bool) -> Result<Self, Wrong> {
        let host = match listen.ip() {
            ip if ip.is_unspecified() => nix::unistd::gethostname()
                .map_err(|error| error.to_string())
                .and_then(|host| host.into_string().map_err(|_| "it is not UTF-8".to_owned()))
                .map_err(|why| {
                    Wrong(format!("--peer-address: not given, and the host has no name: {why}"))
                })?,
            ip => ip.to_string(),
        };
        Ok(Self { host, port: listen.port(), tls })
    }

    /// A URL with this path, which begins with a slash.
    pub fn uri(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl FromStr for PeerAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be a URL such as http://gw-1:7200";
        let url = Url::parse(text).map_err(|_| FORM)?;
        let host = address::host(&url).ok_or(FORM)?;
        if !matches!(url.scheme(), "http" | "https") || !address::is_bare(&url) {
            return Err(FORM);
        }
        let tls = url.scheme() == "https";
        Ok(Self { host, port: url.port_or_known_default().ok_or(FORM)?, tls })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        address::write(f, scheme, &self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let shown = |text: &str| text.parse::<PeerAddress>().map(|address| address.to_string());
        assert_eq!(shown("http://gw-1:7200/").as_deref(), Ok("http://gw-1:7200"));
        assert_eq!(shown("http://[::1]:7200").as_deref(), Ok("http://[::1]:7200"));
        assert_eq!(shown("http://10.0.0.1").as_deref(), Ok("http://10.0.0.1:80"));
        assert_eq!(shown("https://gw-1:7200").as_deref(), Ok("https://gw-1:7200"));
        for wrong in ["gw-1:7200", "ftp://gw-1", "http://gw-1/path", "http://u@gw-1", ""] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
