//! The gateway's configuration: flags with environment variables of the same
//! names, and what they mean once they are checked.
//!
//! [`GatewayArgs`] is what the gateway binary takes, [`FrontArgs`] the part of
//! it that a whole system in one process takes too. `check` turns flags into
//! the configuration, or says in one line what is wrong with which flag.

mod auth;
pub mod host;
mod limits;
mod node;
mod origin;
mod peer;
mod rates;
mod router;
mod tls;

pub use auth::{AuthArgs, AuthConfig, JwksUrl, MAX_TOKEN_LIFE, MIN_SECRET_BYTES, PublicKey, Secret, secret};
pub use limits::{LimitArgs, Limits};
pub use origin::{Origin, Origins};
pub use peer::Peer;
pub use rates::{RateArgs, RateLimitConfig};
pub use router::RouterUrl;
pub use tls::{Fingerprint, Pem, Tls, TlsArgs, TlsFiles};

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use daemon::duration;

/// The flags of the gateway binary.
#[derive(Debug, Clone, clap::Args)]
pub struct GatewayArgs {
    /// Where clients connect.
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS",
          value_parser = daemon::args::listen_address)]
    pub listen: SocketAddr,

    /// The routers, for example http://router:7100. A DNS name stands for all
    /// of its addresses; several are separated by commas.
    #[arg(
        long = "router",
        env = "SWITCHBOARD_ROUTER",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = daemon::args::hidden::<RouterUrl>(),
        required = true
    )]
    pub routers: Vec<RouterUrl>,

    /// The store whose bus this node listens to: redis://, rediss:// (TLS),
    /// redis-cluster://, redis-sentinel://, with user and password.
    #[arg(long, env = "SWITCHBOARD_STORE", value_name = "URL", value_parser = daemon::args::hidden::<store::Url>())]
    pub store: store::Url,

    /// All that a gateway has wherever it runs.
    #[command(flatten)]
    pub front: FrontArgs,
}

/// The flags of a gateway wherever it runs.
#[derive(Debug, Clone, clap::Args)]
pub struct FrontArgs {
    /// This node's name, shown to clients in `welcome`. Each gateway of a
    /// cluster has its own [default: the host's name]
    #[arg(long, env = "SWITCHBOARD_NODE", value_name = "NAME")]
    pub node: Option<String>,

    /// Whose tokens are believed.
    #[command(flatten)]
    pub auth: AuthArgs,

    /// The certificate that clients see.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// What one user may do.
    #[command(flatten)]
    pub rates: RateArgs,

    /// Time between two heartbeats; a client that stays silent for two is
    /// dropped.
    #[arg(long, env = "SWITCHBOARD_HEARTBEAT", default_value = "25s", value_parser = duration::parse, value_name = "DURATION")]
    pub heartbeat: Duration,

    /// Web origins that may use this server: `*`, https://app.example.com, or
    /// https://*.example.com. May be repeated, or separated by commas. Without
    /// `*` a page from elsewhere is refused; the server's own page too, unless it
    /// is opened by an address or as localhost, or its origin is in the list.
    #[arg(
        long,
        env = "SWITCHBOARD_ALLOW_ORIGIN",
        default_value = "*",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub allow_origin: Vec<Origin>,

    /// Does nothing yet: gateways do not talk to each other in this version. It
    /// will be the address to listen on for other gateways.
    #[arg(long, env = "SWITCHBOARD_PEER_LISTEN", value_name = "ADDRESS", requires = "peer_address",
          value_parser = daemon::args::listen_address)]
    pub peer_listen: Option<SocketAddr>,

    /// Does nothing yet, like --peer-listen. It will be the URL by which other
    /// gateways reach this one, for example http://gw-1:7200.
    #[arg(long, env = "SWITCHBOARD_PEER_ADDRESS", value_name = "URL", requires = "peer_listen")]
    pub peer_address: Option<String>,

    /// Whether the chat page is served at `/`.
    #[arg(long, env = "SWITCHBOARD_PAGE", default_value = "on", value_name = "on|off")]
    pub page: Page,

    /// What one gateway takes on.
    #[command(flatten)]
    pub limits: LimitArgs,
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
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Which pages may use this server.
    pub origins: Origins,
    /// How other gateways reach this one.
    pub peer: Option<Peer>,
    /// Whether the chat page is served.
    pub page: Page,
    /// What one gateway takes on.
    pub limits: Limits,
}

/// What is wrong with the flags, in one line that names the flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

impl FrontArgs {
    /// Reads what the flags name and checks all that clap could not.
    pub fn check(&self) -> Result<Config, Wrong> {
        let auth = self.auth.check()?;
        self.check_with(auth)
    }

    /// The same with credentials from elsewhere than the flags.
    pub fn check_with(&self, auth: AuthConfig) -> Result<Config, Wrong> {
        Ok(Config {
            node: node::name(self.node.as_deref())?,
            auth,
            tls: self.tls.check()?,
            rates: self.rates.check()?,
            heartbeat: limits::between(
                "--heartbeat",
                self.heartbeat,
                Duration::from_millis(100),
                Duration::from_secs(3_600),
            )?,
            origins: Origins::new(self.allow_origin.clone()),
            peer: Peer::check(self.peer_listen, self.peer_address.as_deref())?,
            page: self.page,
            limits: self.limits.check()?,
        })
    }
}

impl Config {
    /// Warns of what works, but not as one may think. To be called when logs are
    /// there.
    pub fn warn(&self) {
        if self.peer.is_some() {
            tracing::warn!(
                "--peer-listen and --peer-address do nothing in this version: gateways do not talk to each other"
            );
        }
        let key = self.tls.as_ref().map(|tls| ("--tls-key", tls.files.key()));
        let secret = self.auth.secret_file.as_deref().map(|file| ("--jwt-secret-file", file));
        for (flag, file) in [key, secret].into_iter().flatten() {
            // What is no file any more is another's to say.
            let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
            if mode & 0o007 != 0 {
                let file = file.display();
                tracing::warn!("{flag}: every user of this machine may read {file}: chmod o= it");
            }
        }
    }
}

#[cfg(test)]
mod tests;
