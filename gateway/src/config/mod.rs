//! The gateway's configuration: flags with environment variables of the same
//! names, and what they mean once they are checked.
//!
//! [`GatewayArgs`] are the flags of the gateway binary, [`FrontArgs`] those of
//! them that standalone has, too. `check` turns flags into the configuration, or
//! says in one line what is wrong with which flag.

mod address;
mod auth;
pub mod host;
mod limits;
mod node;
mod origin;
mod peer;
mod proxies;
mod rates;
mod router;
mod sockjs;
mod tls;
mod wrong;

pub use auth::{
    AuthArgs, AuthConfig, JwksUrl, MAX_TOKEN_LIFE, MIN_SECRET_BYTES, PublicKey, Secret, TOKEN_LEEWAY, secret,
};
pub use limits::{LimitArgs, Limits};
pub use origin::{Origin, Origins};
pub use peer::{Peer, PeerAddress, PeerArgs};
pub use proxies::{Network, Networks, Proxies, ProxyArgs, ProxyProtocol};
pub use rates::{RateArgs, RateLimitConfig};
pub use router::RouterUrl;
pub use sockjs::ClientUrl;
pub use tls::{Tls, TlsArgs};
pub use wrong::Wrong;

use std::net::SocketAddr;
use std::time::Duration;

use daemon::args::heading;
use daemon::duration;
use daemon::internal_tls::{self, InternalTls, InternalTlsArgs};
use daemon::pem_files::readable_by_all;
use daemon::validity::Untimely;

/// The flags of the gateway binary.
#[derive(Debug, Clone, clap::Args)]
pub struct GatewayArgs {
    /// The address and port for clients.
    ///
    /// An IP address or a name, and a port: 0.0.0.0:8080, or
    /// localhost:8080.
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS",
          value_parser = daemon::args::listen_address, help_heading = heading::NEEDED)]
    pub listen: SocketAddr,

    /// The routers, such as http://router:7100.
    ///
    /// https://router:7100 where --internal-tls-cert is given. A name stands for all
    /// of its addresses, and is looked up every 3 seconds. Without a port it is 7100.
    /// May be given several times, or as a list with commas.
    #[arg(
        long = "router",
        env = "SWITCHBOARD_ROUTER",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = daemon::args::hidden::<RouterUrl>(),
        required = true,
        help_heading = heading::NEEDED
    )]
    pub routers: Vec<RouterUrl>,

    /// The store, the same as the routers' --store, such as redis://redis:6379.
    ///
    /// redis://HOST:PORT, redis-sentinel://HOST:PORT?service=NAME or
    /// redis-cluster://HOST:PORT. With TLS: rediss, rediss-sentinel,
    /// rediss-cluster. User and password stand before the host:
    /// redis://USER:PASSWORD@HOST.
    #[arg(long, env = "SWITCHBOARD_STORE", required_unless_present = "store_file", value_name = "URL",
          value_parser = daemon::args::hidden::<store::Url>(), help_heading = heading::NEEDED)]
    pub store: Option<store::Url>,

    /// The same URL, read from a file: for one with a password.
    ///
    /// One line's end at the end of the file is not part of it.
    #[arg(long, env = "SWITCHBOARD_STORE_FILE", value_name = "FILE", value_parser = daemon::args::in_file::<store::Url>(),
          conflicts_with = "store", help_heading = heading::NEEDED)]
    pub store_file: Option<store::Url>,

    /// The way to the other gateways.
    #[command(flatten)]
    pub peers: PeerArgs,

    /// TLS on the ways to routers and to the other gateways.
    #[command(flatten)]
    pub internal_tls: InternalTlsArgs,

    /// The flags that standalone has, too.
    #[command(flatten)]
    pub front: FrontArgs,
}

/// The flags of a gateway that standalone has, too.
#[derive(Debug, Clone, clap::Args)]
pub struct FrontArgs {
    /// Whose tokens are believed.
    #[command(flatten)]
    pub auth: AuthArgs,

    /// The certificate that clients see.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// Web pages that may use this server, by origin.
    ///
    /// `*` is every page. Otherwise an origin, such as https://app.example.com,
    /// or all names below one: https://*.example.com. May be given several
    /// times, or as a list with commas. Pages of other origins are refused. The
    /// server's own page is refused, too, unless it is opened by an IP address,
    /// as localhost, or by an origin of the list.
    #[arg(
        long,
        env = "SWITCHBOARD_ALLOW_ORIGIN",
        default_value = "*",
        value_delimiter = ',',
        value_name = "ORIGIN",
        help_heading = heading::BROWSERS
    )]
    pub allow_origin: Vec<Origin>,

    /// Whether the chat page is served at `/`.
    #[arg(long, env = "SWITCHBOARD_PAGE", default_value = "on", value_name = "on|off",
          help_heading = heading::BROWSERS)]
    pub page: Page,

    /// Where the page for SockJS's iframes loads the client from.
    ///
    /// The script must be of the version that the pages use, for example
    /// https://cdn.example.com/sockjs.min.js. Without it there is no such page, and
    /// old browsers use JSONP instead.
    #[arg(long, env = "SWITCHBOARD_SOCKJS_CLIENT_URL", value_name = "URL", help_heading = heading::BROWSERS)]
    pub sockjs_client_url: Option<ClientUrl>,

    /// What one user may do.
    #[command(flatten)]
    pub rates: RateArgs,

    /// Whom a gateway believes a client's address.
    #[command(flatten)]
    pub proxies: ProxyArgs,

    /// What one gateway takes on.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// The time between two heartbeats of a connection.
    ///
    /// A client that sends nothing for two heartbeats is dropped. From 100ms to
    /// 1h.
    #[arg(long, env = "SWITCHBOARD_HEARTBEAT", default_value = "25s", value_parser = duration::parse,
          value_name = "DURATION", help_heading = heading::GATEWAY_LIMITS)]
    pub heartbeat: Duration,

    /// This node's name [default: the host's name].
    ///
    /// Each gateway of a cluster has its own. Clients see it in `welcome`. 1 to
    /// 64 characters of A-Z a-z 0-9 . _ -
    #[arg(long, env = "SWITCHBOARD_NODE", value_name = "NAME", help_heading = heading::PROCESS)]
    pub node: Option<String>,
}

/// Whether the chat page and the JavaScript client are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Page {
    /// At `/`, `/page.js`, `/page.css` and `/switchboard.min.js`.
    On,
    /// Those paths are not found.
    Off,
}

/// The checked configuration of a gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// Whose tokens are believed.
    pub auth: AuthConfig,
    /// The certificate that clients see; nothing: they come without TLS.
    pub tls: Option<Tls>,
    /// What one user may do.
    pub rates: RateLimitConfig,
    /// The time between two heartbeats of a connection.
    pub heartbeat: Duration,
    /// Which pages may use this server.
    pub origins: Origins,
    /// How other gateways reach this one; nothing: it passes nothing on.
    pub peer: Option<Peer>,
    /// TLS on the ways to routers and to the other gateways; nothing: without.
    pub internal_tls: Option<InternalTls>,
    /// Whether the chat page is served.
    pub page: Page,
    /// Where SockJS's iframes get the client from.
    pub sockjs_client: Option<ClientUrl>,
    /// Whom it believes a client's address.
    pub proxies: Proxies,
    /// What one gateway takes on.
    pub limits: Limits,
}

impl GatewayArgs {
    /// Reads the files that the flags name and checks all that clap could not.
    /// Fails with the first flag that is wrong.
    pub fn check(&self) -> Result<Config, Wrong> {
        self.check_store()?;
        let internal_tls = self.internal_tls.check().map_err(Wrong)?;
        self.check_routers()?;
        let peer = self.peers.check(&self.internal_tls)?;
        Ok(Config { peer, internal_tls, ..self.front.check()? })
    }

    /// Fails for a router's URL that says TLS where there is none, or none where
    /// there is.
    pub fn check_routers(&self) -> Result<(), Wrong> {
        let wrong = |url: &&RouterUrl| url.tls != self.internal_tls.is_given();
        self.routers.iter().find(wrong).map_or(Ok(()), |url| {
            Err(Wrong(format!("--router: {url} {}", internal_tls::wrong_scheme(url.tls))))
        })
    }

    /// The store, wherever its URL was given.
    pub fn store(&self) -> &store::Url {
        self.store.as_ref().or(self.store_file.as_ref()).expect("clap asks for one of the two")
    }

    /// Fails for a store that only one process can use.
    pub fn check_store(&self) -> Result<(), Wrong> {
        match self.store() {
            store::Url::Embedded(_) => Err(Wrong(
                "--store: the embedded store is for standalone only; gateways share a Redis".to_owned(),
            )),
            store::Url::Redis(_) => Ok(()),
        }
    }
}

impl FrontArgs {
    /// Reads the files that the flags name and checks all that clap could not.
    /// Fails with the first flag that is wrong.
    pub fn check(&self) -> Result<Config, Wrong> {
        let auth = self.auth.check()?;
        self.check_with(auth)
    }

    /// The same with credentials from elsewhere than the flags.
    pub fn check_with(&self, auth: AuthConfig) -> Result<Config, Wrong> {
        self.check_values(auth, self.tls.check()?)
    }

    /// Checks the flags that name no file. Fails with the first one that is
    /// wrong.
    pub fn check_values(&self, auth: AuthConfig, tls: Option<Tls>) -> Result<Config, Wrong> {
        Ok(Config {
            node: node::name(self.node.as_deref())?,
            auth,
            tls,
            rates: self.rates.check()?,
            heartbeat: wrong::between(
                "--heartbeat",
                self.heartbeat,
                Duration::from_millis(100),
                Duration::from_secs(3_600),
            )?,
            origins: Origins::new(self.allow_origin.clone()),
            peer: None,
            internal_tls: None,
            page: self.page,
            sockjs_client: self.sockjs_client_url.clone(),
            proxies: self.proxies.check(),
            limits: self.limits.check()?,
        })
    }
}

impl Config {
    /// Logs what works, but not as one may think. Called once at start.
    pub fn warn(&self) {
        let peers = self.peer.as_ref().map(|peer| peer.listen);
        for warning in internal_tls::warnings(self.internal_tls.as_ref(), peers) {
            tracing::warn!("{warning}");
        }
        if let Some(warning) = self.proxies.warning() {
            tracing::warn!("{warning}");
        }
        if let Some(Untimely::Refused(why) | Untimely::EndsSoon(why)) =
            self.tls.as_ref().and_then(Tls::untimely)
        {
            tracing::warn!("--tls-cert: the certificate {why}");
        }
        let key = self.tls.as_ref().and_then(|tls| readable_by_all(tls.key()));
        for warning in key.map(|why| format!("--tls-key: {why}")).into_iter().chain(self.auth.warnings()) {
            tracing::warn!("{warning}");
        }
    }
}

#[cfg(test)]
mod tests;
