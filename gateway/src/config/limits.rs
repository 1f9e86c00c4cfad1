//! What one gateway takes on: every bound has a flag.

use std::time::Duration;

use daemon::args::heading;
use daemon::duration;

use super::wrong::{Wrong, between, within};

/// The flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = heading::GATEWAY_LIMITS)]
pub struct LimitArgs {
    /// Connections at once; further ones are answered 503.
    ///
    /// From 1 to 10000000. The process needs as many file descriptors.
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS", default_value_t = 200_000, value_name = "N")]
    pub max_connections: usize,

    /// What one client's address holds open at once; 0: no limit.
    ///
    /// At most so many connections, so many requests and WebSockets under way, and
    /// so many sessions of Socket.IO, SockJS and polls between requests. Of IPv6 a
    /// whole /64 counts as one address. Behind a proxy leave it 0, or give
    /// --trusted-proxies: otherwise all clients have the proxy's address.
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 0, value_name = "N")]
    pub max_connections_per_address: usize,

    /// The time from connecting to the end of the first request's header.
    ///
    /// It includes the TLS handshake. A slower connection is closed. From 100ms
    /// to 10m.
    #[arg(long, env = "SWITCHBOARD_HANDSHAKE_TIMEOUT", default_value = "10s", value_parser = duration::parse,
          value_name = "DURATION")]
    pub handshake_timeout: Duration,

    /// The time from one request to the end of the next one's header.
    ///
    /// So it is also how long a connection may stay idle. Over HTTP/2 only requests
    /// that are allowed count: a connection that has none for so long ends. From 100ms
    /// to 10m.
    #[arg(long, env = "SWITCHBOARD_HEADER_TIMEOUT", default_value = "10s", value_parser = duration::parse,
          value_name = "DURATION")]
    pub header_timeout: Duration,

    /// Bytes of one request's header with its URL; a larger one is answered 431.
    ///
    /// From 8192 to 1048576.
    #[arg(long, env = "SWITCHBOARD_MAX_HEADER_BYTES", default_value_t = 16_384, value_name = "BYTES")]
    pub max_header_bytes: usize,

    /// Bytes of requests and frames that have come in part, of all clients.
    ///
    /// One user may have an eighth of them. What is beyond it is refused. From
    /// 4194304 (4 MiB) to 1099511627776; the default is 64 MiB.
    #[arg(long, env = "SWITCHBOARD_MAX_REQUEST_BYTES_HELD", default_value_t = 64 << 20, value_name = "BYTES")]
    pub max_request_bytes_held: usize,

    /// Frames that wait for one session to take them.
    ///
    /// When there are more, they are dropped here, and the session reads on from
    /// the stored log: nothing is lost. From 1 to 65536.
    #[arg(long, env = "SWITCHBOARD_SESSION_QUEUE", default_value_t = 256, value_name = "N")]
    pub session_queue: usize,

    /// Channels that one session subscribes to; one more is a `conflict`.
    ///
    /// From 1 to 4096.
    #[arg(long, env = "SWITCHBOARD_MAX_SUBSCRIPTIONS", default_value_t = 64, value_name = "N")]
    pub max_subscriptions: usize,

    /// Users whose presence one session watches; one more is a `bad_request`.
    ///
    /// From 1 to 1000000.
    #[arg(long, env = "SWITCHBOARD_MAX_WATCHED", default_value_t = 5_000, value_name = "N")]
    pub max_watched: usize,

    /// Commands of one connection that are not answered yet.
    ///
    /// When there are so many, no more are read from its socket until one is
    /// answered. From 1 to 65536.
    #[arg(long, env = "SWITCHBOARD_COMMANDS_IN_FLIGHT", default_value_t = 64, value_name = "N")]
    pub commands_in_flight: usize,

    /// Sessions that begin at the same time; the others wait in line.
    ///
    /// From 1 to 65536.
    #[arg(long, env = "SWITCHBOARD_ATTACHES_AT_ONCE", default_value_t = 256, value_name = "N")]
    pub attaches_at_once: usize,

    /// The time for one command, over all tries on all routers.
    ///
    /// After it the command is answered `unavailable`. From 100ms to 10m.
    #[arg(long, env = "SWITCHBOARD_COMMAND_TIMEOUT", default_value = "8s", value_parser = duration::parse,
          value_name = "DURATION")]
    pub command_timeout: Duration,

    /// The time that a command may have to wait for routers.
    ///
    /// Where more is asked than they do in that time, what is beyond it is refused at
    /// once as `rate_limited`, first of users who have something under way already.
    /// From 50ms to 10m; as long as --command-timeout: nothing is refused.
    #[arg(long, env = "SWITCHBOARD_OVERLOAD_WAIT", default_value = "500ms", value_parser = duration::parse,
          value_name = "DURATION")]
    pub overload_wait: Duration,

    /// How late this gateway's own clock may be.
    ///
    /// That is how long a command waits for this gateway's processor. While the clock is
    /// later several times in a row, some commands are refused at once as `rate_limited`,
    /// first of users who have something under way already. From 10ms to 10m.
    #[arg(long, env = "SWITCHBOARD_OVERLOAD_LATENESS", default_value = "100ms", value_parser = duration::parse,
          value_name = "DURATION")]
    pub overload_lateness: Duration,
}

/// The checked bounds; the flags of the same names say what each is.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `--max-connections`.
    pub max_connections: usize,
    /// `--max-connections-per-address`; nothing: no limit.
    pub max_connections_per_address: Option<usize>,
    /// `--header-timeout`.
    pub header_timeout: Duration,
    /// `--handshake-timeout`.
    pub handshake_timeout: Duration,
    /// `--max-header-bytes`.
    pub max_header_bytes: usize,
    /// `--max-request-bytes-held`.
    pub max_request_bytes_held: usize,
    /// `--session-queue`.
    pub session_queue: usize,
    /// `--max-subscriptions`.
    pub max_subscriptions: usize,
    /// `--max-watched`.
    pub max_watched: usize,
    /// `--commands-in-flight`.
    pub commands_in_flight: usize,
    /// `--attaches-at-once`.
    pub attaches_at_once: usize,
    /// `--command-timeout`.
    pub command_timeout: Duration,
    /// `--overload-wait`.
    pub overload_wait: Duration,
    /// `--overload-lateness`.
    pub overload_lateness: Duration,
}

impl LimitArgs {
    pub(super) fn check(&self) -> Result<Limits, Wrong> {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(600));
        Ok(Limits {
            max_connections: within("--max-connections", self.max_connections, 1, 10_000_000)?,
            max_connections_per_address: (self.max_connections_per_address > 0)
                .then_some(self.max_connections_per_address),
            header_timeout: between("--header-timeout", self.header_timeout, least, most)?,
            handshake_timeout: between("--handshake-timeout", self.handshake_timeout, least, most)?,
            // hyper's buffer has 8 KiB at least, and tokens in URLs need the room.
            max_header_bytes: within("--max-header-bytes", self.max_header_bytes, 8_192, 1 << 20)?,
            // So that an eighth of it is more than the largest frame.
            max_request_bytes_held: within(
                "--max-request-bytes-held",
                self.max_request_bytes_held,
                4 << 20,
                1 << 40,
            )?,
            session_queue: within("--session-queue", self.session_queue, 1, 65_536)?,
            max_subscriptions: within("--max-subscriptions", self.max_subscriptions, 1, 4_096)?,
            max_watched: within("--max-watched", self.max_watched, 1, 1_000_000)?,
            commands_in_flight: within("--commands-in-flight", self.commands_in_flight, 1, 65_536)?,
            attaches_at_once: within("--attaches-at-once", self.attaches_at_once, 1, 65_536)?,
            command_timeout: between("--command-timeout", self.command_timeout, least, most)?,
            overload_wait: between("--overload-wait", self.overload_wait, least / 2, most)?,
            overload_lateness: between("--overload-lateness", self.overload_lateness, least / 10, most)?,
        })
    }
}
