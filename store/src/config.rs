//! Which store, and the bounds of what it keeps.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use proto::SecretUrl;

/// Where the store is.
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
            // What stands before a colon may be a user's name, or a password.
            _ => Err(
                "no store's URL: there are redis, rediss, redis-cluster, rediss-cluster, redis-sentinel, \
                      rediss-sentinel and embedded"
                    .into(),
            ),
        }
    }
}

/// Without user, password and whatever else a [`SecretUrl`] hides: for logs.
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

/// What is kept at most; the oldest goes first.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Events in one inbox.
    pub inbox_events: u64,
    /// Messages in one conversation.
    pub conversation_messages: u64,
    /// Age of an event or message.
    pub age: Duration,
    /// Publications in one channel's log.
    pub channel_messages: u64,
    /// Reactions of one message, all emoji together.
    pub reactions: u64,
    /// Sessions of one user at once; 1 at least. The oldest go first.
    pub sessions: usize,
    /// Members of the largest group in which marks are noted for others.
    pub receipt_members: u64,
    /// Messages for members without a session that wait to be told; 0: they
    /// are not kept. The oldest go first.
    pub unheard: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            inbox_events: 10_000,
            conversation_messages: 100_000,
            age: Duration::from_secs(90 * 24 * 3600),
            channel_messages: 1_000,
            reactions: 1_000,
            sessions: 100,
            receipt_members: 100,
            unheard: 0,
        }
    }
}

/// How a process uses its store.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it is.
    pub url: Url,
    /// What it keeps.
    pub bounds: Bounds,
    /// Replicas that must have a write before it counts (`WAIT`); 0: none.
    pub replicas: u32,
    /// After this long without an answer a call is `Unavailable`.
    pub timeout: Duration,
    /// Names this process in envelopes and locks; new with each start.
    pub origin: String,
    /// For tests of crashes: the process ends itself when it gets here. Only
    /// in builds with debug assertions; see [`crate::redis::Step`].
    pub fail_at: Option<crate::redis::Step>,
}

impl Config {
    /// The defaults, for the store at `url`.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            bounds: Bounds::default(),
            replicas: 0,
            timeout: Duration::from_secs(4),
            origin: format!("{:016x}", rand::random::<u64>()),
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
