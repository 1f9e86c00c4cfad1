//! The flags: the gateway's and the router's together, with defaults for a
//! developer's own machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use daemon::args::heading;
use gateway::caller::auth::token::TokenArgs;
use gateway::cli::check_token::CheckTokenArgs;
use gateway::config::{AuthConfig, FrontArgs, Secret, Wrong};
use store::Url;

use crate::secret;

/// The admin server's default: on loopback, so that nobody else reaches it.
pub const ADMIN_LISTEN: &str = "127.0.0.1:9090";
/// The folder of the secret when the store is no folder.
const DATA: &str = "./switchboard-data";

/// The flags of serving.
#[derive(Debug, Clone, clap::Args)]
// Its name is that of daemon's, too.
#[group(skip)]
pub struct Args {
    /// The address and port for clients.
    ///
    /// An IP address or a name, and a port: 127.0.0.1:8080, or
    /// localhost:8080. Beyond loopback it needs --jwt-secret or another key.
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS",
          value_parser = daemon::args::listen_address, help_heading = heading::NEEDED)]
    pub listen: SocketAddr,

    /// The store: a folder on this machine, or a Redis.
    ///
    /// embedded:PATH is a folder, which is made if it is missing. A Redis as for
    /// gateway and router: redis://HOST:PORT,
    /// redis-sentinel://HOST:PORT?service=NAME, redis-cluster://HOST:PORT, or
    /// with TLS rediss, rediss-sentinel, rediss-cluster.
    /// A Redis needs a program that was built with `--features redis`.
    #[arg(
        long,
        env = "SWITCHBOARD_STORE",
        default_value = "embedded:./switchboard-data",
        value_parser = daemon::args::hidden::<Url>(),
        value_name = "URL",
        help_heading = heading::NEEDED
    )]
    pub store: Url,

    /// The same URL, read from a file: for one with a password.
    ///
    /// One line's end at the end of the file is not part of it.
    #[arg(long, env = "SWITCHBOARD_STORE_FILE", value_name = "FILE", value_parser = daemon::args::in_file::<Url>(),
          conflicts_with = "store", help_heading = heading::NEEDED)]
    pub store_file: Option<Url>,

    /// The gateway's flags.
    #[command(flatten)]
    pub front: FrontArgs,

    /// The router's flags.
    #[command(flatten)]
    pub router: router::Options,

    /// Admin server, drain and logs.
    #[command(flatten)]
    pub daemon: daemon::Args,
}

/// The flags of `token`.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenCommand {
    /// The flags that `gateway token` has, too.
    #[command(flatten)]
    pub token: TokenArgs,

    /// The --store of the running server.
    ///
    /// Without --jwt-secret the token is signed with the secret in that folder.
    #[arg(
        long,
        env = "SWITCHBOARD_STORE",
        default_value = "embedded:./switchboard-data",
        value_parser = daemon::args::hidden::<Url>(),
        value_name = "URL"
    )]
    pub store: Url,
}

/// The flags of `check-token`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckTokenCommand {
    /// The flags that `gateway check-token` has, too.
    #[command(flatten)]
    pub token: CheckTokenArgs,

    /// The --store of the running server.
    ///
    /// Without --jwt-secret or another key the token is checked with the secret
    /// in that folder.
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
        self.check_beside_files()?;
        let (gateway, dev) = if self.front.auth.is_empty() {
            // Whatever else is asked of tokens would refuse those given here.
            let secret = secret::read_or_make(data_folder(self.store()))?;
            let auth = AuthConfig { secret: Some(secret.clone()), ..self.front.auth.without_keys()? };
            (self.front.check_with(auth)?, Some(secret))
        } else {
            (self.front.check()?, None)
        };
        Ok(Config {
            gateway,
            router: self.router.config(self.daemon.drain),
            store: self.router.store_config(self.store().clone()),
            dev,
        })
    }

    /// The store, wherever its URL was given.
    pub fn store(&self) -> &Url {
        self.store_file.as_ref().unwrap_or(&self.store)
    }

    /// Checks the flags that name no file, and makes nothing. Fails with the
    /// first one that is wrong.
    pub fn check_values(&self) -> Result<(), Wrong> {
        self.check_beside_files()?;
        self.front.auth.without_keys()?;
        self.front.check_values(AuthConfig::default(), None).map(drop)
    }

    fn check_beside_files(&self) -> Result<(), Wrong> {
        self.router.check().map_err(Wrong)?;
        if matches!(self.store(), Url::Embedded(_)) && self.router.archive().is_some() {
            return Err(Wrong(
                "--archive: it is for a store on Redis; the embedded store keeps its history on disk already"
                    .to_owned(),
            ));
        }
        if self.front.auth.is_empty() && !self.listen.ip().is_loopback() {
            return Err(Wrong(format!(
                "--listen: without --jwt-secret, --jwt-public-key or --jwks-url anybody gets a token for the asking, \
                 so only loopback addresses are possible, not {}",
                self.listen
            )));
        }
        Ok(())
    }

    /// Whether the admin server's address is the default one, which nobody asked
    /// for: the system then serves without an admin server, too.
    pub fn admin_is_optional(&self) -> bool {
        self.daemon.admin_listen.to_string() == ADMIN_LISTEN
    }
}

impl TokenCommand {
    /// Prints the token, signed with the secret given or with the folder's. Fails
    /// where a flag is wrong, or the folder has no secret.
    pub fn print(&self) -> Result<ExitCode, Wrong> {
        let secret = match self.token.secret()? {
            Some(secret) => secret,
            None => secret_of(&self.store)?,
        };
        println!("{}", self.token.mint_with(&secret)?);
        Ok(ExitCode::SUCCESS)
    }
}

impl CheckTokenCommand {
    /// As [`CheckTokenArgs::run`], with the folder's secret where no key is given.
    pub fn run(&self) -> Result<ExitCode, Wrong> {
        let auth = if self.token.auth.is_empty() {
            AuthConfig { secret: Some(secret_of(&self.store)?), ..self.token.auth.without_keys()? }
        } else {
            self.token.auth.check()?
        };
        self.token.run(&auth)
    }
}

fn secret_of(store: &Url) -> Result<Secret, Wrong> {
    let folder = data_folder(store);
    secret::read(folder)?.ok_or_else(|| {
        Wrong(format!(
            "--jwt-secret: not given, and {} has none yet: start standalone first",
            folder.display()
        ))
    })
}

/// Where the system keeps its own secret.
pub(crate) fn data_folder(store: &Url) -> &Path {
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
