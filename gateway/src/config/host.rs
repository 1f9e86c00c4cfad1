//! The host that a request names as its server: who sent it there cannot be told
//! from a name, for whoever owns a name may point it at any address, this one too
//! (DNS rebinding). An address and `localhost` are nobody's to point.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, header};

/// HTTP/2's `:authority`, else `Host`; `strict` has seen that they agree.
pub fn of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let authority = uri.authority().map(http::uri::Authority::as_str);
    authority.or_else(|| headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default()))
}

/// Whether it stands for one server, whoever owns which names.
pub fn cannot_be_rebound(host: &str) -> bool {
    let name = name(host);
    is_localhost(name) || name.parse::<Ipv4Addr>().is_ok() || ipv6(name).is_some()
}

/// Whether it stands for this machine.
pub fn is_loopback(host: &str) -> bool {
    let name = name(host);
    is_localhost(name)
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || ipv6(name).is_some_and(|address| address.is_loopback())
}

/// Whether this has the form of a `Host` (RFC 9110 §7.2): a name or an address,
/// and perhaps a port. Names may have more characters than [`is_name`] lets in:
/// those of containers have underscores.
pub fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, behind)) = rest.split_once(']') else { return false };
            if address.parse::<Ipv6Addr>().is_err() || !(behind.is_empty() || behind.starts_with(':')) {
                return false;
            }
            ("address", behind.strip_prefix(':').unwrap_or(behind))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    (1..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && (port.is_empty() || port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether this may be the name of a server (RFC 1123 §2.1): labels of letters,
/// digits and hyphens, which neither begin nor end with a hyphen.
pub fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Without the port.
fn name(host: &str) -> &str {
    host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(name, _)| name)
}

/// Names below it are the machine's own, too (RFC 6761 §6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.strip_suffix(".localhost").is_some_and(is_name)
}

fn ipv6(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_cannot_be_rebound() {
        for host in
            ["localhost", "LOCALHOST:80", "app.localhost:8080", "10.0.0.5:8080", "[fd00::1]:8080", "[::1]"]
        {
            assert!(cannot_be_rebound(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com:80",
            "10.0.0.5.example.com",
            "[nonsense]",
            "-.localhost",
        ] {
            assert!(!cannot_be_rebound(host), "{host}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for host in ["localhost:8080", "127.0.0.1", "127.9.9.9:80", "[::1]:8080"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.5", "[fd00::1]", "127.0.0.1.example", "rebound.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in ["a", "a.b.", "gateway_1:8080", "a:", "10.0.0.1:80", "[::1]", "[fd00::1]:8080"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a,b",
            "a/b",
            "u@a",
            "a:b",
            "a:+1",
            "a:65536",
            "a:1:2",
            "[::1",
            "::1",
            "[a]",
            "[::1]x",
            "[::1]::80",
            "ä",
            "<a>",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(&[b'a'; 256]) && !is_host(&[0xff]));
    }

    #[test]
    fn names_are_labels() {
        for name in ["a", "a.b", "a-b.c9.d", "xn--bcher-kva.example"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "-",
            "-a.b",
            "a-.b",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "a/b",
            "ä",
            &"a".repeat(64),
            &"a.".repeat(127),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
