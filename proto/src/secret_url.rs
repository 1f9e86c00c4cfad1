//! A URL that may hold secrets, as flags give it: a password, a key in the
//! query, or a path that only two parties know.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// A URL whose `Display` and `Debug` show only scheme, host and port, so that
/// it may stand in a log or an error. Code that connects calls
/// [`Self::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    text: Box<str>,
}

impl SecretUrl {
    /// The whole text, for connecting; never for a log.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The whole URL, parsed; as secret as [`Self::reveal`].
    pub fn url(&self) -> Url {
        Url::parse(&self.text).expect("it was parsed when it was made")
    }
}

impl FromStr for SecretUrl {
    type Err = String;

    /// Fails for what is no URL or has no host. The error does not quote the
    /// text.
    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("not a URL ({error})"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err("has no host".to_owned());
        }
        Ok(Self { text: text.into() })
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url();
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        let more = !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
        f.write_str(if more { "/…" } else { "" })
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_are_shown() {
        for (text, shown) in [
            ("redis://user:hidden@host:6380/3", "redis://host:6380/…"),
            ("redis-sentinel://:hidden@[::1]?sentinelPassword=hidden", "redis-sentinel://[::1]/…"),
            ("https://hidden@example.com/", "https://example.com"),
            ("https://example.com/hook/hidden#hidden", "https://example.com/…"),
            ("http://example.com:8080", "http://example.com:8080"),
        ] {
            let url: SecretUrl = text.parse().unwrap();
            assert_eq!((format!("{url}"), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(url.reveal(), text);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_quoted() {
        for text in ["hidden", "http://", "redis://user:hidden@:6379", "http://a:hidden", "mailto:hidden", ""]
        {
            let wrong = text.parse::<SecretUrl>().unwrap_err();
            assert!(!wrong.contains("hidden"), "{wrong}");
        }
    }
}
