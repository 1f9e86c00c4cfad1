//! Where SockJS's iframe page gets the client from (`--sockjs-client-url`).

/// Where the client comes from: a URL that is safe in the page and in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientUrl {
    url: Box<str>,
    source: Box<str>,
}

impl ClientUrl {
    /// As it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As a source of a Content-Security-Policy.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl std::str::FromStr for ClientUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str =
            "must be an http or https URL, or a path of this server that begins with one slash";
        let plain = |b: u8| {
            b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'&' | b'\\' | b';' | b',')
        };
        if !text.bytes().all(plain) {
            return Err(RULE);
        }
        if text.starts_with('/') && !text.starts_with("//") {
            return Ok(Self { url: text.into(), source: "'self'".into() });
        }
        let mut url = url::Url::parse(text).map_err(|_| RULE)?;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some()
        {
            return Err(RULE);
        }
        // A source has neither (CSP 3 §2.3.1).
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { url: text.into(), source: url.as_str().into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_comes_from_where_nothing_can_be_added_to_the_page() {
        for text in ["https://cdn.test/sockjs.min.js", "http://localhost:8080/a?v=1", "/sockjs.js"] {
            assert!(text.parse::<ClientUrl>().is_ok(), "{text}");
        }
        for text in [
            "",
            "sockjs.js",
            "//cdn.test/a.js",
            "javascript:alert(1)",
            "https://u@cdn.test/a",
            "https://a/\"",
            "/a b",
            "https://cdn.test/a;script-src",
            "https://cdn.test/a,b",
            "/a'b",
            "/<",
            "ftp://a/b",
        ] {
            assert!(text.parse::<ClientUrl>().is_err(), "{text}");
        }
    }
}
