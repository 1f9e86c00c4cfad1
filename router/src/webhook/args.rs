//! The webhook's flags.

use std::str::FromStr;
use std::time::Duration;

use daemon::args::{heading, hidden, in_file};
use http::Uri;
use proto::SecretUrl;

/// Bytes of the secret at least.
const MIN_SECRET_BYTES: usize = 32;

/// The flags. Every router of a store must be given the same ones: each keeps
/// what it files, and posts what any of them has kept.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = heading::WEBHOOK)]
pub struct WebhookArgs {
    /// Post messages for users without a session to this URL; needs
    /// --webhook-secret or --webhook-secret-file.
    ///
    /// http or https. Signed JSON, each message at least once. A user who
    /// connects at that moment may be among them. Every router of one store must
    /// have the same --webhook flags.
    #[arg(
        long,
        env = "SWITCHBOARD_WEBHOOK_URL",
        value_name = "URL",
        value_parser = hidden::<WebhookUrl>(),
        requires = "webhook_key"
    )]
    pub webhook_url: Option<WebhookUrl>,

    /// The same URL, read from a file: for one with a password or a key.
    ///
    /// One line's end at the end of the file is not part of it.
    #[arg(long, env = "SWITCHBOARD_WEBHOOK_URL_FILE", value_name = "FILE", value_parser = in_file::<WebhookUrl>(),
          conflicts_with = "webhook_url", requires = "webhook_key")]
    pub webhook_url_file: Option<WebhookUrl>,

    /// The secret that signs what is posted (HMAC-SHA256).
    ///
    /// Raw bytes, 32 at least. `openssl rand -hex 32` makes one.
    #[arg(long, env = "SWITCHBOARD_WEBHOOK_SECRET", value_name = "SECRET", group = "webhook_key")]
    pub webhook_secret: Option<WebhookSecret>,

    /// The same secret, read from a file.
    ///
    /// One line's end at the end of the file is not part of the secret.
    #[arg(long, env = "SWITCHBOARD_WEBHOOK_SECRET_FILE", value_name = "FILE",
          value_parser = in_file::<WebhookSecret>(), group = "webhook_key")]
    pub webhook_secret_file: Option<WebhookSecret>,

    /// Messages in the store that are not posted yet; the oldest go first.
    ///
    /// 1 at least.
    #[arg(long, env = "SWITCHBOARD_WEBHOOK_QUEUE", default_value_t = 100_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub webhook_queue: u64,

    /// Messages in one request.
    ///
    /// From 1 to 10000.
    #[arg(long, env = "SWITCHBOARD_WEBHOOK_BATCH", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub webhook_batch: u32,

    /// The time for one request; without an answer it is sent again.
    ///
    /// From 100ms to 10m.
    #[arg(long, env = "SWITCHBOARD_WEBHOOK_TIMEOUT", default_value = "10s",
          value_parser = daemon::duration::between("100ms", "10m"), value_name = "DURATION")]
    pub webhook_timeout: Duration,
}

impl WebhookArgs {
    /// The flag and what is wrong with it, without its value.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (secret, flag) = match (&self.webhook_secret, &self.webhook_secret_file) {
            (None, secret) => (secret, "--webhook-secret-file"),
            (secret, _) => (secret, "--webhook-secret"),
        };
        if let Some(WebhookSecret(secret)) = secret
            && secret.len() < MIN_SECRET_BYTES
        {
            return Err(format!(
                "{flag}: has {} bytes and needs at least {MIN_SECRET_BYTES} (for example from: openssl \
                 rand -hex 32)",
                secret.len()
            ));
        }
        Ok(())
    }

    /// Where to post, wherever that was given.
    pub(crate) fn url(&self) -> Option<&WebhookUrl> {
        self.webhook_url.as_ref().or(self.webhook_url_file.as_ref())
    }

    /// Messages that the store keeps for the webhook; 0 without one.
    pub(crate) fn unheard(&self) -> u64 {
        self.url().map_or(0, |_| self.webhook_queue)
    }

    pub(crate) fn webhook(&self) -> Option<Webhook> {
        let secret = self.webhook_secret.as_ref().or(self.webhook_secret_file.as_ref())?.clone();
        let url = self.url()?.clone();
        Some(Webhook {
            url,
            secret,
            batch: self.webhook_batch as usize,
            timeout: self.webhook_timeout,
            pace: Pace::default(),
        })
    }
}

/// Who is told, and how.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where requests go.
    pub url: WebhookUrl,
    /// The secret with which requests are signed.
    pub secret: WebhookSecret,
    /// Messages in one request at most.
    pub batch: usize,
    /// From connecting to the last byte of the answer.
    pub timeout: Duration,
    /// When it is looked, and tried again.
    pub pace: Pace,
}

/// When the queue is looked at, and failed requests are repeated.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks when nothing waits.
    pub look: Duration,
    /// After the first failure; twice as long after each further one.
    pub retry: Duration,
    /// The longest time between two tries.
    pub longest_retry: Duration,
    /// How long a batch is held in the store, beyond one request's timeout.
    pub hold: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(5 * 60),
            hold: Duration::from_secs(30),
        }
    }
}

/// An http or https URL. Not shown beyond its host: what follows may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(SecretUrl);

impl WebhookUrl {
    /// The whole, to post to.
    pub(super) fn uri(&self) -> Result<Uri, String> {
        // A URL's own form is what a URI allows.
        self.0
            .url()
            .as_str()
            .parse()
            .map_err(|_| "the webhook's URL has no form that can be asked".to_owned())
    }
}

impl WebhookUrl {
    /// The host and port that are connected to.
    pub fn peer(&self) -> (String, u16) {
        let url = self.0.url();
        // An IPv6 address stands in brackets in a URL.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        (host, url.port_or_known_default().unwrap_or_default())
    }
}

impl FromStr for WebhookUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let secret: SecretUrl = text.parse()?;
        let url = secret.url();
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must be http://HOST… or https://HOST…".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("user and password in it are not sent: the signature says who posts".to_owned());
        }
        Ok(Self(secret))
    }
}

impl std::fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// Bytes that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(pub(super) Vec<u8>);

impl FromStr for WebhookSecret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.as_bytes().to_vec()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_says_what_is_wrong() {
        for wrong in ["", "host", "ftp://host", "/path", "https://user:password@host/"] {
            assert!(wrong.parse::<WebhookUrl>().is_err(), "{wrong}");
        }
        let url: WebhookUrl = "https://example.com:8443/hook?key=secret".parse().unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://example.com:8443/… WebhookUrl(https://example.com:8443/…)"
        );
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret: WebhookSecret = "secret".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "***");
    }
}
