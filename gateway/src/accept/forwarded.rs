//! The address of a client behind proxies, as `X-Forwarded-For` says it: each
//! proxy adds at the right end the address that it was asked from. So the
//! right-most address that is no proxy of ours is the client's, and what stands
//! left of it is whatever the client wrote.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::config::Networks;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An address in the header that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The client's address, for a request of a peer that is a trusted proxy. A port
/// that is not said is 0. Several headers are read as one, in their order.
/// Without the header the peer's address stands; if all addresses are those of
/// trusted proxies, the one farthest away.
pub(super) fn client(
    peer: SocketAddr,
    headers: &HeaderMap,
    trusted: &Networks,
) -> Result<SocketAddr, Malformed> {
    let mut farthest = peer;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for bytes in value.as_bytes().rsplit(|byte| *byte == b',') {
            let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
            farthest = address(text.trim_matches([' ', '\t'])).ok_or(Malformed)?;
            if !trusted.contains(farthest.ip()) {
                return Ok(farthest);
            }
        }
    }
    Ok(farthest)
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    Some(SocketAddr::new(inside.parse::<Ipv6Addr>().ok()?.into(), 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Result<String, Malformed> {
        let trusted = Networks::new(["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into());
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        client("10.0.0.1:5000".parse().unwrap(), &headers, &trusted).map(|client| client.to_string())
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client_s() {
        for (values, client) in [
            (&["192.0.2.1"][..], "192.0.2.1:0"),
            (&["192.0.2.9, 192.0.2.1"], "192.0.2.1:0"),
            (&["192.0.2.1:4711 ,\t10.9.9.9"], "192.0.2.1:4711"),
            (&["192.0.2.1", "10.9.9.9,[fd00::1]:80"], "192.0.2.1:0"),
            (&["192.0.2.1,2001:db8::1"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]:443,::ffff:10.0.0.7"], "[2001:db8::1]:443"),
            // What a client wrote, however wrong, stands left of its address.
            (&["unknown, <script>,,192.0.2.1"], "192.0.2.1:0"),
            (&[], "10.0.0.1:5000"),
            (&["10.2.2.2,10.3.3.3"], "10.2.2.2:0"),
        ] {
            assert_eq!(of(values).as_deref(), Ok(client), "{values:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_left_of_the_client_change_nothing() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, http::HeaderValue::from_bytes(b"\xff\xeb, 192.0.2.1").unwrap());
        let trusted = Networks::new(Vec::new());
        let read = client("10.0.0.1:5000".parse().unwrap(), &headers, &trusted);
        assert_eq!(read, Ok("192.0.2.1:0".parse().unwrap()));
    }

    #[test]
    fn an_address_that_is_none_is_not_guessed() {
        for value in [
            "",
            "unknown",
            "192.0.2.1,",
            "192.0.2.1;10.0.0.1",
            "192.0.2",
            "[192.0.2.1]",
            "_x",
            "1.2.3.4:99999",
        ] {
            assert_eq!(of(&[value]), Err(Malformed), "{value}");
        }
        assert_eq!(of(&["192.0.2.1", "nonsense"]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_text_left_of_the_client_changes_nothing(text in "[ -~\t]{0,200}") {
            let whole = format!("{text},192.0.2.1, 10.0.0.2");
            prop_assert_eq!(of(&[&text, &whole]).unwrap(), "192.0.2.1:0");
            let _ = of(&[&text]);
        }
    }
}
