//! The router's flags, and the limits that its library takes.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use daemon::args::heading;
use daemon::internal_tls::InternalTlsArgs;
use store::Step;
use store::{ArchiveConfig, ArchiveUrl, Bounds, Url};

use crate::port::Port;
use crate::webhook::{Webhook, WebhookArgs};

/// Links are asked to begin anew after this long, so that gateways spread over
/// routers that came later.
const LINK_AGE: Duration = Duration::from_secs(30 * 60);

/// A gateway that says nothing for so long on its link counts as gone.
const LINK_SILENCE: Duration = Duration::from_secs(30);

/// The ages at which something may be forgotten or archived: what is younger is being
/// read anyway, and Redis takes no times that are much longer.
const AGES: (&str, &str) = ("1s", "36525d");

/// The router decides who may do what, and writes it to the store.
///
/// Any number of routers work on one store; gateways find them with --router.
/// Each flag is also an environment variable of the same name: --store is
/// SWITCHBOARD_STORE.
#[derive(Debug, Clone, Parser)]
#[command(name = "router", version)]
pub struct Args {
    /// The store, such as redis://redis:6379.
    ///
    /// redis://HOST:PORT, redis-sentinel://HOST:PORT?service=NAME or
    /// redis-cluster://HOST:PORT. With TLS: rediss, rediss-sentinel,
    /// rediss-cluster. User and password stand before the host:
    /// redis://USER:PASSWORD@HOST.
    #[arg(long, env = "SWITCHBOARD_STORE", required_unless_present = "store_file", value_name = "URL", value_parser = daemon::args::hidden::<Url>(),
          help_heading = heading::NEEDED)]
    pub store: Option<Url>,

    /// The same URL, read from a file: for one with a password.
    ///
    /// One line's end at the end of the file is not part of it.
    #[arg(long, env = "SWITCHBOARD_STORE_FILE", value_name = "FILE", value_parser = daemon::args::in_file::<Url>(),
          conflicts_with = "store", help_heading = heading::NEEDED)]
    pub store_file: Option<Url>,

    /// The address and port for gateways (gRPC).
    ///
    /// Whoever is let in can read and write everything: with --internal-tls-cert only
    /// gateways are. Beyond this machine it needs that, or --internal-insecure.
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "0.0.0.0:7100", value_name = "ADDRESS",
          value_parser = daemon::args::listen_address, help_heading = heading::NEEDED)]
    pub listen: SocketAddr,

    /// Connections of gateways at once; one more is closed.
    ///
    /// A gateway has one, and for a moment another one while the first is renewed.
    /// Each may hold 40 MiB while its gateway does not read. From 1 to 100000.
    #[arg(long, env = "SWITCHBOARD_MAX_LINKS", default_value_t = 1_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = heading::PROCESS)]
    pub max_links: u32,

    /// Limits and durability.
    #[command(flatten)]
    pub options: Options,

    /// TLS on the way from gateways.
    #[command(flatten)]
    pub internal_tls: InternalTlsArgs,

    /// Admin server, drain and logs.
    #[command(flatten)]
    pub daemon: daemon::Args,
}

/// The flags that standalone shares with the router.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Members of one group; one more is a `conflict`.
    ///
    /// 1 at least. A message to a group is written once for each member.
    #[arg(long, env = "SWITCHBOARD_MAX_GROUP_MEMBERS", default_value_t = 500, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..), help_heading = heading::MESSAGE_LIMITS)]
    pub max_group_members: u32,

    /// Who may add a user to a group, when it is made and later.
    ///
    /// Tokens with the scope `service` may add anybody, whatever is said here.
    #[arg(long, env = "SWITCHBOARD_ADD_TO_GROUPS", default_value = "anyone", value_enum, value_name = "WHO",
          help_heading = heading::MESSAGE_LIMITS)]
    pub add_to_groups: AddToGroups,

    /// Sessions of one user at once, on all devices and gateways.
    ///
    /// One more takes the place of the oldest, whose client is told `replaced`.
    /// From 1 to 10000.
    #[arg(long, env = "SWITCHBOARD_MAX_SESSIONS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = heading::MESSAGE_LIMITS)]
    pub max_sessions: u32,

    /// Reactions to one message, all emoji together; one more is a `conflict`.
    ///
    /// 1 at least.
    #[arg(long, env = "SWITCHBOARD_MAX_REACTIONS", default_value_t = 1_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..), help_heading = heading::MESSAGE_LIMITS)]
    pub max_reactions: u64,

    /// Revocations of tokens that are kept; one more is a `conflict`.
    ///
    /// Each is forgotten when the tokens that it is about have ended: a user's after
    /// --max-token-life of the gateways. Each gateway keeps all in memory, some 150
    /// bytes each. From 1 to 10000000.
    #[arg(long, env = "SWITCHBOARD_MAX_REVOCATIONS", default_value_t = 100_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=10_000_000), help_heading = heading::MESSAGE_LIMITS)]
    pub max_revocations: u64,

    /// How long messages and events are kept.
    ///
    /// From 1s to 36525d.
    #[arg(long, env = "SWITCHBOARD_MAX_AGE", default_value = "90d",
          value_parser = daemon::duration::between(AGES.0, AGES.1),          value_name = "DURATION", help_heading = heading::KEPT)]
    pub max_age: Duration,

    /// Messages in one conversation; the oldest go first.
    ///
    /// 1 at least.
    #[arg(long, env = "SWITCHBOARD_CONVERSATION_MESSAGES", default_value_t = 100_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..), help_heading = heading::KEPT)]
    pub conversation_messages: u64,

    /// Events in one user's inbox; the oldest go first.
    ///
    /// A client that was away for longer than its inbox reaches back is told
    /// `reset` and reads the history instead. 1 at least.
    #[arg(long, env = "SWITCHBOARD_INBOX_EVENTS", default_value_t = 10_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..), help_heading = heading::KEPT)]
    pub inbox_events: u64,

    /// How long events stay in inboxes, at most --max-age.
    ///
    /// A client that was away for longer is told `reset` and reads the history
    /// instead, which has everything for --max-age. From 1s to 36525d.
    #[arg(long, env = "SWITCHBOARD_INBOX_AGE", default_value = "7d",
          value_parser = daemon::duration::between(AGES.0, AGES.1),          value_name = "DURATION", help_heading = heading::KEPT)]
    pub inbox_age: Duration,

    /// Publications in one channel; the oldest go first.
    ///
    /// 1 at least.
    #[arg(long, env = "SWITCHBOARD_CHANNEL_MESSAGES", default_value_t = 1_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..), help_heading = heading::KEPT)]
    pub channel_messages: u64,

    /// A PostgreSQL for messages that are too old for memory.
    ///
    /// postgres://USER:PASSWORD@HOST:PORT/DATABASE, of version 15 or newer, for this
    /// alone. Every router of a cluster is given the same one. With
    /// ?sslmode=require over TLS: the server's certificate is checked by the machine's
    /// authorities, or by those in a file, with &sslrootcert=FILE. Without --archive
    /// all messages are kept in Redis.
    #[arg(long, env = "SWITCHBOARD_ARCHIVE", value_name = "URL", value_parser = daemon::args::hidden::<ArchiveUrl>(),
          help_heading = heading::KEPT)]
    pub archive: Option<ArchiveUrl>,

    /// The same URL, read from a file: for one with a password.
    ///
    /// One line's end at the end of the file is not part of it.
    #[arg(long, env = "SWITCHBOARD_ARCHIVE_FILE", value_name = "FILE", conflicts_with = "archive",
          value_parser = daemon::args::in_file::<ArchiveUrl>(), help_heading = heading::KEPT)]
    pub archive_file: Option<ArchiveUrl>,

    /// The age from which messages are in the archive and no longer in Redis.
    ///
    /// Each conversation's newest message stays in Redis. From 1s to 36525d.
    #[arg(long, env = "SWITCHBOARD_ARCHIVE_AFTER", default_value = "1h",
          value_parser = daemon::duration::between(AGES.0, AGES.1),          value_name = "DURATION", help_heading = heading::KEPT)]
    pub archive_after: Duration,

    /// Connections of this process to the archive.
    ///
    /// From 1 to 1000.
    #[arg(long, env = "SWITCHBOARD_ARCHIVE_CONNECTIONS", default_value_t = 4, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1_000), help_heading = heading::KEPT)]
    pub archive_connections: u16,

    /// Messages that are copied to the archive together.
    ///
    /// From 1 to 10000, and 4 MiB.
    #[arg(long, env = "SWITCHBOARD_ARCHIVE_BATCH", default_value_t = 1_000, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = heading::KEPT)]
    pub archive_batch: u16,

    /// Redis replicas that must have a message before it is acknowledged.
    ///
    /// Give the number of all replicas that may become the primary: with fewer,
    /// a failover may lose acknowledged messages. 0: the primary alone.
    #[arg(long, env = "SWITCHBOARD_STORE_REPLICAS", default_value_t = 0, value_name = "N",
          help_heading = heading::WRITING)]
    pub store_replicas: u32,

    /// The longest pause between batches of messages, under full load.
    ///
    /// Messages that come in a pause are written together, which saves CPU: a
    /// call of Redis costs as much as two messages in it. The pause follows the
    /// load: none up to 500 messages a second and router, the whole from 10000
    /// on, and in proportion between. 0s: a batch begins when the last one has
    /// ended. 1s at most.
    #[arg(long, env = "SWITCHBOARD_BATCH_PAUSE", default_value = "4ms",
          value_parser = daemon::duration::between("0s", "1s"),          value_name = "DURATION", help_heading = heading::WRITING)]
    pub batch_pause: Duration,

    /// Who is told of messages for users who are away.
    #[command(flatten)]
    pub webhook: WebhookArgs,

    /// For tests of crashes: the process ends itself at this step of a write.
    #[cfg(debug_assertions)]
    #[arg(long, env = "SWITCHBOARD_FAIL_AT", hide = true, value_name = "STEP")]
    pub fail_at: Option<Step>,
}

/// Who may add a user to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AddToGroups {
    /// Every user, as far as the command itself is allowed
    Anyone,
    /// Those with whom the user has a direct conversation in which both have
    /// written; its 32 newest and 32 oldest messages that are kept are looked at
    Contacts,
    /// Nobody but tokens with the scope `service`
    Service,
}

/// What the service needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Members of one group at most; one more is `conflict`.
    pub max_group_members: usize,
    /// Who may add a user to a group; others are `forbidden` to.
    pub add_to_groups: AddToGroups,
    /// The longest time from one batch of messages to the next, which many
    /// messages a second have.
    pub batch_pause: Duration,
    /// How long what is under way may take to end at shutdown.
    pub drain: Duration,
    /// A link older than this is asked to begin anew; nothing: never.
    pub link_age: Option<Duration>,
    /// A link on which no whole frame has come for so long is ended. Gateways say
    /// something every 5 s.
    pub link_silence: Duration,
    /// Whether the store has an archive, which this router copies old messages to.
    pub archives: bool,
    /// Told of messages for members without a session, if the store keeps them.
    pub webhook: Option<Webhook>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_group_members: 500,
            add_to_groups: AddToGroups::Anyone,
            batch_pause: Duration::ZERO,
            drain: Duration::from_secs(30),
            link_age: None,
            link_silence: LINK_SILENCE,
            archives: false,
            webhook: None,
        }
    }
}

impl Args {
    /// Checks what clap cannot. Fails with the flag and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if let Url::Embedded(_) = self.store() {
            return Err(
                "--store: the embedded store is for standalone only; routers share a Redis".to_owned()
            );
        }
        self.internal_tls.check_port("--listen", self.listen)?;
        self.options.check()
    }

    /// The store, wherever its URL was given.
    pub fn store(&self) -> &Url {
        self.store.as_ref().or(self.store_file.as_ref()).expect("clap asks for one of the two")
    }

    /// How gateways reach it. Fails with the flag of a file that cannot be used.
    pub fn port(&self) -> Result<Port, String> {
        let connections = usize::try_from(self.max_links).unwrap_or(usize::MAX);
        Ok(Port { tls: self.internal_tls.check()?, connections, ..Port::default() })
    }

    /// The limits of a router that serves sockets.
    pub fn config(&self) -> Config {
        Config { link_age: Some(LINK_AGE), ..self.options.config(self.daemon.drain) }
    }
}

impl Options {
    /// Checks what clap cannot without showing a secret. Fails with the flag and
    /// what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        self.webhook.check()
    }

    /// Where old messages go, if anywhere.
    pub fn archive(&self) -> Option<ArchiveConfig> {
        let url = self.archive.as_ref().or(self.archive_file.as_ref())?;
        let mut archive = ArchiveConfig::new(url.clone());
        archive.after = self.archive_after;
        archive.connections = self.archive_connections.into();
        archive.batch = self.archive_batch.into();
        Some(archive)
    }

    /// The store at `url`, with the bounds of these flags.
    pub fn store_config(&self, url: Url) -> store::Config {
        let mut config = store::Config::new(url);
        config.bounds = Bounds {
            inbox_events: self.inbox_events,
            inbox_age: self.inbox_age,
            conversation_messages: self.conversation_messages,
            age: self.max_age,
            reactions: self.max_reactions,
            channel_messages: self.channel_messages,
            unheard: self.webhook.unheard(),
            revocations: self.max_revocations,
            sessions: usize::try_from(self.max_sessions).unwrap_or(usize::MAX),
            ..Bounds::default()
        };
        config.archive = self.archive();
        config.replicas = self.store_replicas;
        config.fail_at = self.fail_at();
        config
    }

    /// The limits of a router in process, whose link never has to move.
    pub fn config(&self, drain: Duration) -> Config {
        Config {
            max_group_members: usize::try_from(self.max_group_members).unwrap_or(usize::MAX),
            add_to_groups: self.add_to_groups,
            batch_pause: self.batch_pause,
            drain,
            link_age: None,
            link_silence: LINK_SILENCE,
            archives: self.archive().is_some(),
            webhook: self.webhook.webhook(),
        }
    }

    #[cfg(debug_assertions)]
    fn fail_at(&self) -> Option<Step> {
        self.fail_at
    }

    #[cfg(not(debug_assertions))]
    fn fail_at(&self) -> Option<Step> {
        None
    }
}
