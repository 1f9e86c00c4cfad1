//! A router's address as the flag gives it.

use std::fmt;
use std::str::FromStr;

use super::address;

/// The port of a router when its URL names none.
const DEFAULT_PORT: u16 = 7100;

/// `http://HOST[:PORT]`, or https; a DNS name stands for all of its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouterUrl {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl FromStr for RouterUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text)
            .map_err(|error| format!("must be a URL such as http://router:7100 ({error})"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err("must begin with http:// or https://".to_owned()),
        };
        let host = address::host(&url).ok_or("has no host")?;
        if !address::is_bare(&url) {
            return Err("must be only http://HOST:PORT or https://HOST:PORT".to_owned());
        }
        // `Url` leaves out the scheme's own port, so `http://router:80` is
        // looked for in the text.
        let own = if tls { 443 } else { 80 };
        let is_own = text.trim_end_matches('/').ends_with(&format!(":{own}"));
        let port = url.port().unwrap_or(if is_own { own } else { DEFAULT_PORT });
        Ok(Self { host, port, tls })
    }
}

impl fmt::Display for RouterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        address::write(f, if self.tls { "https" } else { "http" }, &self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_a_host_and_a_port() {
        let shown = |text: &str| text.parse::<RouterUrl>().map(|url| url.to_string());
        assert_eq!(shown("http://router").as_deref(), Ok("http://router:7100"));
        assert_eq!(shown("http://10.0.0.1:80/").as_deref(), Ok("http://10.0.0.1:80"));
        assert_eq!(shown("http://[::1]:7100").as_deref(), Ok("http://[::1]:7100"));
        assert_eq!(shown("https://router").as_deref(), Ok("https://router:7100"));
        assert_eq!(shown("https://router:443").as_deref(), Ok("https://router:443"));
        assert_eq!(shown("https://router:80").as_deref(), Ok("https://router:80"));
        for wrong in ["router:7100", "grpc://router", "http://router/path", "http://u@router", ""] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
