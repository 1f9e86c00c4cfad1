//! The flags: the gateway's and the router's together, with defaults for one's
//! own machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gateway::caller::auth::token::TokenArgs;
use gateway::config::{AuthConfig, FrontArgs, Secret, Wrong};
use store::Url;

use crate::secret;

/// The admin server's default: not to be reached from elsewhere.
pub const ADMIN_LISTEN: &str = "127.0.0.1:9090";
/// Where the data is when the store is not a folder itself.
const DATA: &str = "./switchboard-data";

/// The flags of serving.
#[derive(Debug, Clone, clap::Args)]
// Its name is that of daemon's, too.
#[group(skip)]
pub struct Args {
    /// Where clients connect.
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS",
          value_parser = daemon::args::listen_address)]
    pub listen: SocketAddr,

    /// The store: a folder (embedded:PATH), or a Redis, as for gateway and
    /// router.
    #[arg(
        long,
        env = "SWITCHBOARD_STORE",
        default_value = "embedded:./switchboard-data",
        value_parser = daemon::args::hidden::<Url>(),
        value_name = "URL"
    )]
    pub store: Url,

    /// The gateway's.
    #[command(flatten)]
    pub front: FrontArgs,

    /// The router's.
    #[command(flatten)]
    pub router: router::Options,

    /// Admin server, drain and logs.
    #[command(flatten)]
    pub daemon: daemon::Args,
}

/// The flags of `token`.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenCommand {
    /// What it says.
    #[command(flatten)]
    pub token: TokenArgs,

    /// The --store of the server that shall believe the token: without
    /// --jwt-secret it is signed with the secret in that folder.
    #[arg(
        long,
        env = "SWITCHBOARD_STORE",
        default_value = "embedded:./switchboard-data",
        value_parser = daemon::args::hidden::<Url>(),
        value_name = "URL"
    )]
    pub store: Url,
}

/// The checked configuration of a whole system.
#[derive(Debug, Clone)]
pub struct Config {
    /// Of the gateway.
    pub gateway: gateway::config::Config,
    /// Of the router.
    pub router: router::Config,
    /// Of the store.
    pub store: store::Config,
    /// Set where the system made its own secret: it then gives tokens to whoever
    /// asks.
    pub dev: Option<Secret>,
}

impl Args {
    /// Checks the flags, and makes a secret where there is none.
    pub fn check(&self) -> Result<Config, Wrong> {
        self.router.check().map_err(Wrong)?;
        let (gateway, dev) = if self.front.auth.is_empty() {
            if !self.listen.ip().is_loopback() {
                return Err(Wrong(format!(
                    "--listen: without --jwt-secret, --jwt-public-key or --jwks-url anybody gets a token for the \
                     asking, so only loopback addresses are possible, not {}",
                    self.listen
                )));
            }
            // Whatever else is asked of tokens would refuse those given here.
            let secret = secret::read_or_make(data_folder(&self.store))?;
            let max_token_life = self.front.auth.life()?;
            let auth = AuthConfig { secret: Some(secret.clone()), max_token_life, ..AuthConfig::default() };
            (self.front.check_with(auth)?, Some(secret))
        } else {
            (self.front.check()?, None)
        };
        Ok(Config {
            gateway,
            router: self.router.config(self.daemon.drain),
            store: self.router.store_config(self.store.clone()),
            dev,
        })
    }

    /// Whether nobody asked for an admin server at this address: then it may as
    /// well be missing.
    pub fn admin_is_optional(&self) -> bool {
        self.daemon.admin_listen.to_string() == ADMIN_LISTEN
    }
}

impl TokenCommand {
    /// The token, signed with the secret given or with the folder's.
    pub fn mint(&self) -> Result<String, Wrong> {
        if let Some(secret) = self.token.secret()? {
            return self.token.mint_with(&secret);
        }
        let secret = secret::read(data_folder(&self.store))?.ok_or_else(|| {
            Wrong(format!(
                "--jwt-secret: not given, and {} has none yet: start standalone first",
                data_folder(&self.store).display()
            ))
        })?;
        self.token.mint_with(&secret)
    }
}

fn data_folder(store: &Url) -> &Path {
    match store {
        Url::Embedded(folder) => folder,
        Url::Redis(_) => Path::new(DATA),
    }
}

/// For tests and tools: a system in this folder that makes its own secret.
pub fn in_folder(folder: impl Into<PathBuf>) -> Result<Config, Wrong> {
    use clap::{Args as _, FromArgMatches as _};
    let command = Args::augment_args(clap::Command::new("standalone"));
    let mut args = command
        .try_get_matches_from(["standalone"])
        .and_then(|matches| Args::from_arg_matches(&matches))
        .map_err(|error| Wrong(error.to_string()))?;
    args.store = Url::Embedded(folder.into());
    args.check()
}
