//! What URLs have in common that name a host and a port and nothing else.

use std::fmt;

use url::{Host, Url};

/// The host of a URL, an IPv6 address without its brackets; nothing where there is
/// none.
pub(super) fn host(url: &Url) -> Option<String> {
    Some(match url.host()? {
        Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    })
}

/// Whether a URL has nothing but a scheme, a host and perhaps a port.
pub(super) fn is_bare(url: &Url) -> bool {
    matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty()
}

/// Writes such a URL.
pub(super) fn write(f: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') {
        write!(f, "{scheme}://[{host}]:{port}")
    } else {
        write!(f, "{scheme}://{host}:{port}")
    }
}
