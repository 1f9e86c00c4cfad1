//! The URL of a Redis store: which kind of deployment it is, and how fred is to
//! connect to it.
//!
//! - `redis://[user:password@]host[:6379][/database]`
//! - `redis-sentinel://[user:password@]host[:26379]?service=NAME`, more sentinels
//!   as `&node=host:port`, their own credentials as `&sentinelUsername=…&sentinelPassword=…`
//! - `redis-cluster://[user:password@]host[:6379]`, more nodes as `?node=host:port`
//! - `rediss`, `rediss-sentinel`, `rediss-cluster`: the same over TLS
//! - `?steps=separate` makes a single server be written step by step, as a
//!   Cluster is

use std::sync::Arc;
use std::time::Duration;

use fred::types::RespVersion;
use fred::types::config::{
    Config as FredConfig, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, Server,
    ServerConfig, TcpConfig, TlsConnector, UnresponsiveConfig,
};

use crate::{Config, Dialer, Error, Result, Url};

/// The queue in which fred keeps the messages of a subscription. When it is
/// full, fred drops the oldest and reports that. We move messages at once to a
/// queue of our own, so this one only covers moments in which that task does
/// not run. fred allocates nine such queues for each connection, together about
/// 600 bytes for each message.
const UNREAD_MESSAGES: usize = 4_096;
/// The same queue of a connection for commands, which only gets notes of its
/// own reconnections.
const UNREAD_NOTES: usize = 64;
/// The most commands that wait to be written; further ones fail.
const WAITING_COMMANDS: usize = 16_384;

/// The address of Redis, and its kind of deployment.
#[derive(Clone)]
pub(super) struct Address {
    fred: FredConfig,
    timeout: Duration,
    separate: bool,
    dialer: Option<Arc<dyn Dialer>>,
}

impl Address {
    /// Where a store is, and how it is reached. Fails when the URL is wrong.
    pub(super) fn of(config: &Config) -> Result<Self> {
        Ok(Self { dialer: config.dialer.clone(), ..Self::parse(&config.url, config.timeout)? })
    }

    pub(super) fn parse(url: &Url, timeout: Duration) -> Result<Self> {
        let Url::Redis(secret) = url else {
            return Err(Error::Config(format!("{url} is no Redis")));
        };
        let parsed = secret.url();
        let separate = match parsed.query_pairs().find(|(key, _)| key == "steps").map(|(_, value)| value) {
            None => false,
            Some(value) if value == "separate" => true,
            Some(_) => return Err(Error::Config("`steps` of the store's URL can only be `separate`".into())),
        };
        // fred has another name for this parameter.
        let text = secret.reveal().replacen("?service=", "?sentinelServiceName=", 1).replacen(
            "&service=",
            "&sentinelServiceName=",
            1,
        );
        // fred's error may quote the URL.
        let mut fred = FredConfig::from_url(&text).map_err(|_| {
            Error::Config(format!(
                "{url}: not a URL that a Redis can be found by; a port is a number, a database too, and \
                 redis-sentinel needs `?service=NAME`"
            ))
        })?;
        // If Redis is away at the start, connecting goes on in the background.
        fred.fail_fast = false;
        Ok(Self { fred, timeout, separate, dialer: None })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.fred.server.is_clustered()
    }

    /// The server, where there is one alone: nobody has to look for the primary.
    pub(super) fn alone(&self) -> Option<&Server> {
        match &self.fred.server {
            ServerConfig::Centralized { server } => Some(server),
            _ => None,
        }
    }

    /// What makes connections instead of the kernel's TCP, if anything.
    pub(super) fn dialer(&self) -> Option<&dyn Dialer> {
        self.dialer.as_deref()
    }

    /// Whether the URL has `steps=separate`.
    pub(super) fn separate(&self) -> bool {
        self.separate
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// User and password. Without a password there is no user, either.
    pub(super) fn credentials(&self) -> Option<(Option<&str>, &str)> {
        let password = self.fred.password.as_deref()?;
        Some((self.fred.username.as_deref(), password))
    }

    /// The number of the database, if the URL has one.
    pub(super) fn database(&self) -> Option<u8> {
        self.fred.database
    }

    /// Nothing for an address without TLS.
    pub(super) fn tls(&self) -> Option<&TlsConnector> {
        self.fred.tls.as_ref().map(|tls| &tls.connector)
    }

    /// A client for commands, not connected yet.
    pub(super) fn client(&self) -> fred::clients::Client {
        fred::clients::Client::new(
            self.fred.clone(),
            Some(self.performance(UNREAD_NOTES)),
            Some(self.connection()),
            Some(policy()),
        )
    }

    /// A client for a subscription in a Cluster, not connected yet. It speaks RESP3,
    /// where a subscribed connection may send other commands, too.
    pub(super) fn subscriber(&self) -> fred::clients::SubscriberClient {
        let mut config = self.fred.clone();
        config.version = RespVersion::RESP3;
        fred::clients::SubscriberClient::new(
            config,
            Some(self.performance(UNREAD_MESSAGES)),
            Some(self.connection()),
            Some(policy()),
        )
    }

    fn performance(&self, unread: usize) -> PerformanceConfig {
        PerformanceConfig {
            default_command_timeout: self.timeout,
            broadcast_channel_capacity: unread,
            ..PerformanceConfig::default()
        }
    }

    fn connection(&self) -> ConnectionConfig {
        ConnectionConfig {
            connection_timeout: Duration::from_secs(2),
            internal_command_timeout: Duration::from_secs(2),
            // When a connection breaks, nobody knows whether the command was
            // done. The caller decides whether to repeat it.
            max_command_attempts: 1,
            // A slot that is being moved is served by nobody until it has moved: a
            // script that followed its first key (ASK) would find the other keys
            // missing and begin a new history. And fred takes the next reply on that
            // connection for the one to ASKING, even if it is another call's. After
            // MOVED fred learns the slots anew; the call fails, and is safe to repeat.
            max_redirections: 0,
            max_command_buffer_len: WAITING_COMMANDS,
            reconnect_on_auth_error: true,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(Duration::from_secs(4)),
                interval: Duration::from_secs(1),
            },
            reconnect_errors: vec![
                ReconnectError::ClusterDown,
                ReconnectError::Loading,
                ReconnectError::ReadOnly,
                ReconnectError::MasterDown,
            ],
            ..ConnectionConfig::default()
        }
    }
}

/// Reconnects for ever: the first time at once, then after at most two seconds.
fn policy() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::new_exponential(0, 50, 2_000, 2);
    policy.set_jitter(50);
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(&Url::Redis(text.parse().unwrap()), Duration::from_secs(1))
    }

    #[test]
    fn the_scheme_says_what_kind_of_deployment_it_is() {
        assert_eq!(parse("redis://localhost").unwrap().alone(), Some(&Server::new("localhost", 6379)));
        assert!(parse("redis-cluster://a:1?node=b:2").unwrap().is_cluster());
        let sentinel = parse("redis-sentinel://u:p@a:1?service=main&node=b:2").unwrap();
        assert!(sentinel.fred.server.is_sentinel() && sentinel.alone().is_none());
        assert_eq!(sentinel.fred.server.hosts().len(), 2);
        assert_eq!(sentinel.fred.username.as_deref(), Some("u"));
    }

    #[test]
    fn a_sentinel_without_a_service_is_refused_and_the_password_not_shown() {
        let error = parse("redis-sentinel://u:secret@a:1").err().unwrap();
        assert!(matches!(&error, Error::Config(text) if !text.contains("secret")), "{error}");
    }

    #[test]
    fn steps_can_be_asked_to_be_separate() {
        assert!(parse("redis://localhost?steps=separate").unwrap().separate());
        assert!(parse("redis://localhost?steps=none").is_err());
    }
}
