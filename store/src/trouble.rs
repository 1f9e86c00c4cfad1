//! Why the store cannot be reached or refuses a call: for the log, `/readyz`
//! and a metric. It never has a URL with its password, and no stored data.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

/// The time after which the same reason is logged again.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// A refused call counts as trouble for this long, unless the same call
/// succeeds before.
const REFUSAL_LASTS: Duration = Duration::from_secs(60);

/// The trouble of calls to the store.
pub(crate) static STORE: Trouble = Trouble::new("the store");
/// The trouble of the gateways' subscription.
pub(crate) static BUS: Trouble = Trouble::new("the store's bus");

/// What is wrong with the store, in one line; `None` when nothing is.
pub fn store_trouble() -> Option<String> {
    STORE.now()
}

/// What is wrong with the bus, in one line; `None` when nothing is.
pub fn bus_trouble() -> Option<String> {
    BUS.now()
}

/// How many calls to the store have failed for this reason.
pub fn store_errors(reason: Reason) -> u64 {
    STORE.count(reason)
}

/// How often the bus has failed for this reason.
pub fn bus_errors(reason: Reason) -> u64 {
    BUS.count(reason)
}

/// The kinds of trouble that an operator handles differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The host's name cannot be resolved.
    Name,
    /// The connection was refused: no process listens there.
    Refused,
    /// Wrong user or password, or none where one is needed.
    Credentials,
    /// The Redis user may not use a command, a key or a channel (ACL).
    Permission,
    /// Redis has no memory left.
    Memory,
    /// The disk is full, or cannot be written to.
    Disk,
    /// A replica replied where a primary is needed.
    ReadOnly,
    /// Redis is still loading its data, or busy with a script.
    Loading,
    /// The TLS handshake fails.
    Tls,
    /// No reply in time.
    Timeout,
    /// Trouble of another kind.
    Other,
}

impl Reason {
    /// All reasons, in the order of the variants.
    pub const ALL: [Self; 11] = [
        Self::Name,
        Self::Refused,
        Self::Credentials,
        Self::Permission,
        Self::Memory,
        Self::Disk,
        Self::ReadOnly,
        Self::Loading,
        Self::Tls,
        Self::Timeout,
        Self::Other,
    ];

    /// The words of all of them, in the same order: the values of metrics' labels.
    pub const WORDS: &[&str] = &{
        let mut words = [""; Self::ALL.len()];
        let mut index = 0;
        while index < words.len() {
            words[index] = Self::ALL[index].as_str();
            index += 1;
        }
        words
    };

    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Refused => "refused",
            Self::Credentials => "credentials",
            Self::Permission => "permission",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::ReadOnly => "read_only",
            Self::Loading => "loading",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }

    /// The reason in words, with what the operator can check or change.
    fn words(self) -> &'static str {
        match self {
            Self::Name => "its host name cannot be resolved: check --store and the DNS",
            Self::Refused => "nobody listens there: check that Redis runs, and the port in --store",
            Self::Credentials => "it rejects the user or password: check those in --store",
            Self::Permission => {
                "its user lacks a permission: widen the user's ACL (commands, keys, channels)"
            }
            Self::Memory => "it is out of memory: raise maxmemory, or shorten what is kept",
            Self::Disk => "its disk is full or cannot be written to: make room",
            Self::ReadOnly => "a replica answers instead of the primary",
            Self::Loading => "it is still loading its data, or busy with a script",
            Self::Tls => "the TLS handshake fails: check its certificate and the scheme of --store",
            Self::Timeout => "it does not reply in time",
            Self::Other => "it cannot be reached, or fails",
        }
    }

    /// Finds the reason in an error text of Redis, of its client library or of
    /// the operating system.
    pub(crate) fn of(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match () {
            () if has(&[
                "noauth",
                "wrongpass",
                "invalid username-password",
                "invalid password",
                "auth error",
            ]) =>
            {
                Self::Credentials
            }
            () if has(&["noperm", "acl failure", "no permissions", "user executing the script"]) => {
                Self::Permission
            }
            () if text.starts_with("oom") || has(&[" oom command", "'maxmemory'"]) => Self::Memory,
            () if has(&["misconf", "no space left", "file too large", "disk", "quota"]) => Self::Disk,
            () if has(&["readonly", "masterdown", "replica answers"]) => Self::ReadOnly,
            () if text.starts_with("loading")
                || text.starts_with("busy")
                || has(&["loading the dataset"]) =>
            {
                Self::Loading
            }
            () if has(&["refused"]) => Self::Refused,
            () if has(&["lookup", "resolve", "name or service", "no such host", "name resolution"]) => {
                Self::Name
            }
            () if has(&["tls", "certificate", "handshake"]) => Self::Tls,
            () if has(&["no answer", "timeout", "timed out", "unresponsive"]) => Self::Timeout,
            () => Self::Other,
        }
    }
}

/// The present trouble with the store, or with its bus.
pub(crate) struct Trouble {
    who: &'static str,
    state: Mutex<State>,
    /// Whether there may be trouble. Read after each call that worked.
    some: AtomicBool,
    counts: [AtomicU64; Reason::ALL.len()],
}

#[derive(Debug)]
struct State {
    connection: Option<Failure>,
    /// The last call that was refused.
    call: Option<(&'static str, Failure)>,
    said: Option<(Reason, Instant)>,
}

#[derive(Debug)]
struct Failure {
    reason: Reason,
    text: String,
    at: Instant,
}

impl Failure {
    fn new(text: &str) -> Self {
        // An error's text may come from anywhere: 200 characters are enough.
        let text: String = text.chars().filter(|char| !char.is_control()).take(200).collect();
        Self { reason: Reason::of(&text), text, at: Instant::now() }
    }

    fn line(&self, who: &str) -> String {
        format!("{who}: {self}")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}: {})", self.reason.words(), self.reason.as_str(), self.text)
    }
}

/// What somebody can change about an error that a store gave, and the error.
pub(crate) fn explained(error: &Error) -> String {
    match error {
        Error::Config(text) => text.clone(),
        Error::Corrupt(_) | Error::Archive(_) => error.to_string(),
        Error::Unavailable(text) => {
            // A line of `Trouble` is explained already.
            let line =
                [&STORE, &BUS].iter().find_map(|trouble| text.strip_prefix(trouble.who)?.strip_prefix(": "));
            line.map_or_else(|| Failure::new(text).to_string(), str::to_owned)
        }
    }
}

impl Trouble {
    const fn new(who: &'static str) -> Self {
        Self {
            who,
            state: Mutex::new(State { connection: None, call: None, said: None }),
            some: AtomicBool::new(false),
            counts: [const { AtomicU64::new(0) }; Reason::ALL.len()],
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two lines leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is no connection, for this reason.
    pub(crate) fn no_connection(&self, text: &str) {
        let seen = Failure::new(text);
        let mut state = self.state();
        self.note(&mut state, &seen);
        // A precise reason stays: reconnecting often fails with a vague one
        // afterwards.
        let vague = matches!(seen.reason, Reason::Other | Reason::Timeout);
        if !vague || state.connection.is_none() {
            state.connection = Some(seen);
        }
    }

    /// There is a connection, and it works.
    pub(crate) fn connected(&self) {
        if !self.some.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        if state.connection.take().is_some() {
            state.said = None;
            tracing::info!("{} can be reached again", self.who);
        }
        self.some.store(state.call.is_some(), Ordering::Relaxed);
    }

    /// A call was refused, or got no reply.
    pub(crate) fn refused(&self, call: &'static str, text: &str) {
        let seen = Failure::new(text);
        let mut state = self.state();
        self.note(&mut state, &seen);
        state.call = Some((call, seen));
    }

    /// A call worked.
    pub(crate) fn done(&self, call: &'static str) {
        if !self.some.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        if state.call.as_ref().is_some_and(|(refused, _)| *refused == call) {
            (state.call, state.said) = (None, None);
            tracing::info!(call, "{} accepts calls again", self.who);
        }
        self.some.store(state.call.is_some() || state.connection.is_some(), Ordering::Relaxed);
    }

    fn note(&self, state: &mut State, seen: &Failure) {
        self.some.store(true, Ordering::Relaxed);
        self.counts[seen.reason as usize].fetch_add(1, Ordering::Relaxed);
        let again = state.said.is_some_and(|(reason, at)| reason == seen.reason && at.elapsed() < LOG_EVERY);
        if !again {
            state.said = Some((seen.reason, seen.at));
            tracing::warn!(reason = seen.reason.as_str(), "{}", seen.line(self.who));
        }
    }

    pub(crate) fn now(&self) -> Option<String> {
        let state = self.state();
        let call = state.call.as_ref().map(|(_, seen)| seen).filter(|seen| seen.at.elapsed() < REFUSAL_LASTS);
        state.connection.as_ref().or(call).map(|seen| seen.line(self.who))
    }

    fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_and_the_system_say_is_told_apart() {
        for (text, reason) in [
            ("WRONGPASS invalid username-password pair or user is disabled.", Reason::Credentials),
            ("NOAUTH Authentication required.", Reason::Credentials),
            ("NOPERM User store has no permissions to run the 'info' command", Reason::Permission),
            ("ERR The user executing the script can't run this command or subcommand", Reason::Permission),
            (
                "ERR ACL failure in script: User store has no permissions to run the 'hset' command",
                Reason::Permission,
            ),
            ("OOM command not allowed when used memory > 'maxmemory'. script: a", Reason::Memory),
            ("MISCONF Redis is configured to save RDB snapshots, but it's currently", Reason::Disk),
            ("I/O error: No space left on device (os error 28)", Reason::Disk),
            ("READONLY You can't write against a read only replica.", Reason::ReadOnly),
            ("LOADING Redis is loading the dataset in memory", Reason::Loading),
            ("Connection refused (os error 111)", Reason::Refused),
            ("failed to lookup address information: Name or service not known", Reason::Name),
            ("invalid peer certificate: UnknownIssuer", Reason::Tls),
            ("no answer within 4s", Reason::Timeout),
            ("something new", Reason::Other),
        ] {
            assert_eq!(Reason::of(text), reason, "{text}");
        }
    }

    #[test]
    fn each_reason_counts_for_itself() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn trouble_is_over_when_the_same_call_is_done_or_the_connection_answers() {
        let trouble = Trouble::new("the store");
        trouble.refused("post", "OOM command not allowed");
        trouble.done("head");
        assert!(trouble.now().unwrap().contains("memory"));
        trouble.done("post");
        assert_eq!(trouble.now(), None);
        trouble.no_connection("WRONGPASS invalid username-password pair");
        trouble.no_connection("the connection ended");
        assert!(trouble.now().unwrap().contains("credentials"), "{:?}", trouble.now());
        trouble.connected();
        assert_eq!((trouble.now(), trouble.count(Reason::Memory)), (None, 1));
    }
}
