//! Which store, and the limits of what it keeps.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use proto::SecretUrl;

use crate::Dialer;

/// The address of a store.
#[derive(Clone, PartialEq, Eq)]
pub enum Url {
    /// `embedded:PATH`: one file in this folder.
    Embedded(PathBuf),
    /// `redis://`, `rediss://` (TLS), `redis-cluster://`, `rediss-cluster://`,
    /// `redis-sentinel://`, `rediss-sentinel://`, with user and password.
    Redis(SecretUrl),
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("embedded:") {
            if path.is_empty() {
                return Err("`embedded:` needs a folder, for example embedded:./switchboard-data".into());
            }
            return Ok(Self::Embedded(path.into()));
        }
        let url: SecretUrl = text.parse().map_err(|wrong| format!("not a store's URL: {wrong}"))?;
        match url.url().scheme() {
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
            | "rediss-sentinel" => Ok(Self::Redis(url)),
            // The scheme is not quoted: what stands before a colon may be a
            // user's name or a password.
            _ => Err(
                "no store's URL: there are redis, rediss, redis-cluster, rediss-cluster, redis-sentinel, \
                      rediss-sentinel and embedded"
                    .into(),
            ),
        }
    }
}

/// Shows neither user nor password nor anything else that a [`SecretUrl`]
/// hides; for logs.
impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "embedded:{}", path.display()),
            Self::Redis(url) => write!(f, "{url}"),
        }
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The limits of what is kept. When one is reached, the oldest is removed, if
/// nothing else is said.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most events in one inbox.
    pub inbox_events: u64,
    /// The age at which an event leaves inboxes, if that is before `age`: its
    /// conversation still has it.
    pub inbox_age: Duration,
    /// The most messages in one conversation.
    pub conversation_messages: u64,
    /// The age at which an event, message or publication is removed.
    pub age: Duration,
    /// The most publications in one channel's log.
    pub channel_messages: u64,
    /// The most reactions to one message, all emoji together.
    pub reactions: u64,
    /// The most sessions of one user at once, at least 1. The oldest are
    /// replaced.
    pub sessions: usize,
    /// In groups with more members than this, nobody is told of the others'
    /// marks.
    pub receipt_members: u64,
    /// The most messages that wait to be reported for members without a session
    /// ([`crate::Store::take_unheard`]); 0: none are kept.
    pub unheard: u64,
    /// The most revocations of tokens; one more is refused, since the oldest still
    /// counts.
    pub revocations: u64,
}

impl Bounds {
    /// The age in ms at which messages and publications are removed.
    pub(crate) fn age_ms(&self) -> u64 {
        millis(self.age)
    }

    /// The age in ms at which events leave inboxes.
    pub(crate) fn inbox_age_ms(&self) -> u64 {
        millis(self.inbox_age.min(self.age))
    }
}

/// As scripts can count with it: they have doubles.
fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            inbox_events: 10_000,
            inbox_age: Duration::from_secs(7 * 24 * 3600),
            conversation_messages: 100_000,
            age: Duration::from_secs(90 * 24 * 3600),
            channel_messages: 1_000,
            reactions: 1_000,
            sessions: 100,
            receipt_members: 100,
            unheard: 0,
            revocations: 100_000,
        }
    }
}

/// The address of an archive: `postgres://USER:PASSWORD@HOST/DATABASE`.
#[derive(Clone, PartialEq, Eq)]
pub struct ArchiveUrl(SecretUrl);

impl ArchiveUrl {
    /// The URL itself, for connecting.
    pub(crate) fn secret(&self) -> &SecretUrl {
        &self.0
    }
}

impl FromStr for ArchiveUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: SecretUrl = text.parse().map_err(|wrong| format!("not an archive's URL: {wrong}"))?;
        crate::archive::check(&url)?;
        Ok(Self(url))
    }
}

/// Shows scheme, host and port only; for logs.
impl std::fmt::Display for ArchiveUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl std::fmt::Debug for ArchiveUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// Where old messages go, and when.
#[derive(Debug, Clone)]
pub struct ArchiveConfig {
    /// The address of a PostgreSQL.
    pub url: ArchiveUrl,
    /// The age from which messages and changes are copied there and trimmed from
    /// Redis.
    pub after: Duration,
    /// Connections of this process at most, at least 1.
    pub connections: usize,
    /// Entries that are copied together at most, at least 1.
    pub batch: usize,
}

impl ArchiveConfig {
    /// The default configuration for the archive at `url`.
    pub fn new(url: ArchiveUrl) -> Self {
        Self { url, after: Duration::from_secs(3600), connections: 4, batch: 1_000 }
    }
}

/// The configuration of a process's store.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address of the store.
    pub url: Url,
    /// The limits of what it keeps.
    pub bounds: Bounds,
    /// Where messages go that are too old for memory; nothing: they stay until
    /// the bounds remove them.
    pub archive: Option<ArchiveConfig>,
    /// How many replicas must confirm a write before it counts (`WAIT`); 0:
    /// none.
    pub replicas: u32,
    /// A call that takes longer than this fails as `Unavailable`.
    pub timeout: Duration,
    /// A random name of this process, in envelopes and locks; new at each
    /// start.
    pub origin: String,
    /// Makes the connections to a Redis that is alone; nothing: the kernel's TCP does.
    pub dialer: Option<Arc<dyn Dialer>>,
    /// For tests of crashes: the process ends itself when it gets here. Only
    /// in builds with debug assertions; see [`crate::Step`].
    pub fail_at: Option<crate::Step>,
}

impl Config {
    /// The default configuration for the store at `url`.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            bounds: Bounds::default(),
            archive: None,
            replicas: 0,
            timeout: Duration::from_secs(4),
            origin: format!("{:016x}", rand::random::<u64>()),
            dialer: None,
            fail_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown_wherever_it_stands() {
        for text in
            ["rediss://user:secret@host:6379", "redis-sentinel://host?service=main&sentinelPassword=secret"]
        {
            let config = Config::new(text.parse().unwrap());
            assert!(!format!("{} {config:?}", config.url).contains("secret"));
        }
    }

    #[test]
    fn a_url_that_is_no_store_says_what_there_is() {
        assert!("http://host".parse::<Url>().unwrap_err().contains("redis-cluster"));
        assert!("embedded:".parse::<Url>().is_err());
        assert!("".parse::<Url>().is_err());
    }
}
