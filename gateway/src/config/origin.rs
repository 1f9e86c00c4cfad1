//! Which web pages may use this server (`--allow-origin`).

use std::str::FromStr;

use http::HeaderValue;

use crate::config::host;

/// One origin as the flag gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `*`: every page.
    Any,
    /// `https://app.example.com`: this page, in lower case.
    Exact(Box<str>),
    /// `https://*.example.com`: every name below it, not itself.
    Below {
        /// With the slashes: `https://`.
        scheme: Box<str>,
        /// With the dot and the port: `.example.com:8443`.
        suffix: Box<str>,
    },
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const RULE: &str = "must be `*`, an origin such as https://app.example.com, or https://*.example.com";
        if text == "*" {
            return Ok(Self::Any);
        }
        let text = text.to_ascii_lowercase();
        // Browsers' origins have a scheme: a name alone would be none of them.
        let (scheme, host) = text.split_once("://").ok_or(RULE)?;
        if scheme != "http" && scheme != "https" {
            return Err(RULE.to_owned());
        }
        let below = host.strip_prefix("*.");
        let plain = below.unwrap_or(host);
        let parsed = url::Url::parse(&format!("{scheme}://{plain}")).map_err(|_| RULE)?;
        let origin = parsed.origin().ascii_serialization();
        // A path, a user or the scheme's own port would never be equal to what
        // browsers send.
        if origin != format!("{scheme}://{plain}") {
            return Err(RULE.to_owned());
        }
        let name = match parsed.host() {
            Some(url::Host::Domain(name)) => host::is_name(name),
            // An address has no names below it.
            Some(_) => below.is_none(),
            None => false,
        };
        if !name {
            return Err(RULE.to_owned());
        }
        Ok(match below {
            None => Self::Exact(origin.into()),
            Some(name) => {
                Self::Below { scheme: format!("{scheme}://").into(), suffix: format!(".{name}").into() }
            }
        })
    }
}

impl Origin {
    /// As the flag gave it; also a source of `frame-ancestors` (CSP 3 §2.3.1).
    fn text(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Exact(exact) => exact.to_string(),
            Self::Below { scheme, suffix } => format!("{scheme}*{suffix}"),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *origin,
            Self::Below { scheme, suffix } => {
                let names = origin.strip_prefix(&**scheme).and_then(|host| host.strip_suffix(&**suffix));
                // The flag allows names of servers, and nothing else in their place.
                names.is_some_and(host::is_name)
            }
        }
    }
}

/// Every origin that is allowed; cheap to clone.
#[derive(Debug, Clone)]
pub struct Origins(std::sync::Arc<[Origin]>);

impl Origins {
    /// Those of the list.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self(origins.into())
    }

    /// Whether every page is allowed.
    pub fn any(&self) -> bool {
        self.0.contains(&Origin::Any)
    }

    /// The pages that may frame this server's own, as a
    /// `Content-Security-Policy`; nothing where every page may.
    pub fn frame_policy(&self) -> Option<HeaderValue> {
        if self.any() {
            return None;
        }
        let sources: Vec<_> = self.0.iter().map(Origin::text).collect();
        let policy = format!("frame-ancestors 'self' {}", sources.join(" "));
        Some(HeaderValue::try_from(policy).expect("origins are visible ASCII: they were parsed as URLs"))
    }

    /// Whether pages with this `Origin` header are allowed.
    pub fn allows(&self, origin: &str) -> bool {
        self.0.iter().any(|one| one.allows(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Origins {
        Origins::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn exact_and_below_and_any() {
        let some = origins(&["https://app.example.com", "http://*.test:8000"]);
        for allowed in ["https://app.example.com", "http://a.test:8000", "http://a.b.test:8000"] {
            assert!(some.allows(allowed), "{allowed}");
        }
        for refused in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.org",
            "http://test:8000",
            "http://.test:8000",
            "http://evil/.test:8000",
            "http://-.test:8000",
            "http://-a.test:8000",
            "http://a-.test:8000",
            "http://a..test:8000",
            "http://a_b.test:8000",
            "http://u@a.test:8000",
            "http://a:80.test:8000",
            "http://a.test",
            "null",
            "",
        ] {
            assert!(!some.allows(refused), "{refused}");
        }
        assert!(origins(&["*"]).allows("null") && origins(&["*"]).any() && !some.any());
    }

    #[test]
    fn whoever_may_use_it_may_frame_it() {
        let policy = origins(&["https://app.example.com", "http://*.test:8000"]).frame_policy().unwrap();
        assert_eq!(policy, "frame-ancestors 'self' https://app.example.com http://*.test:8000");
        assert_eq!(origins(&["*"]).frame_policy(), None);
    }

    #[test]
    fn what_no_browser_would_send_is_refused() {
        for text in [
            "",
            "example.com",
            "https://example.com/",
            "https://example.com:443",
            "https://*.*.com",
            "ftp://a",
            "https://u@a",
            "https://-.com",
            "https://a_b.com",
            "https://*.10.0.0.1",
            "https://*.*",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
