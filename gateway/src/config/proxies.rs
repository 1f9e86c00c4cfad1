//! The proxies in front of gateways: whom a gateway believes when it is told a
//! client's address.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use daemon::args::heading;

/// The flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = heading::PROXIES)]
pub struct ProxyArgs {
    /// Proxies that say whom a request is from: addresses, or ranges of them.
    ///
    /// Such as 10.0.0.0/8 or 2001:db8::7. Where the peer of a connection is one of
    /// them, the client's address is the right-most one of X-Forwarded-For that is
    /// none of them. WITHOUT this flag everybody behind a proxy has the proxy's
    /// address. May be given several times, or as a list with commas.
    #[arg(long, env = "SWITCHBOARD_TRUSTED_PROXIES", value_delimiter = ',', value_name = "ADDRESS|RANGE")]
    pub trusted_proxies: Vec<Network>,

    /// Whether each connection begins with a PROXY protocol header, version 2.
    ///
    /// `on`: a connection without one is closed, and so is one of a peer that is
    /// none of --trusted-proxies, where those are given. Version 1 is not read. TLS,
    /// if there is any, begins behind the header.
    #[arg(long, env = "SWITCHBOARD_PROXY_PROTOCOL", default_value = "off", value_name = "on|off")]
    pub proxy_protocol: ProxyProtocol,
}

/// Whether connections begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyProtocol {
    /// Every one of them.
    On,
    /// None: such a header is a malformed request.
    Off,
}

/// The checked flags.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// `--trusted-proxies`.
    pub trusted: Networks,
    /// `--proxy-protocol`.
    pub protocol: ProxyProtocol,
}

impl Proxies {
    /// No proxy: a peer is a client.
    pub fn none() -> Self {
        Self { trusted: Networks::new(Vec::new()), protocol: ProxyProtocol::Off }
    }

    /// What works, but not as one may think.
    pub(super) fn warning(&self) -> Option<&'static str> {
        (self.protocol == ProxyProtocol::On && self.trusted.is_empty()).then_some(
            "--proxy-protocol without --trusted-proxies: whoever reaches this port says which address it has",
        )
    }
}

impl ProxyArgs {
    pub(super) fn check(&self) -> Proxies {
        Proxies { trusted: Networks::new(self.trusted_proxies.clone()), protocol: self.proxy_protocol }
    }
}

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// An IPv4 address as IPv6 writes it.
    bits: u128,
    mask: u128,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        mapped(address) & self.mask == self.bits
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const RULE: &str = "must be an IP address such as 10.0.0.5, or a range such as 10.0.0.0/8";
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| RULE)?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => whole,
            Some(length) if length.bytes().all(|b| b.is_ascii_digit()) => length.parse().map_err(|_| RULE)?,
            Some(_) => return Err(RULE.to_owned()),
        };
        if length > whole {
            return Err(format!("a range of these addresses has at most {whole} fixed bits"));
        }
        let mask = u128::MAX.checked_shl(whole - length).unwrap_or(0);
        let bits = mapped(address);
        if bits & mask != bits {
            return Err(format!("the address has bits beyond the first {length}: is another range meant?"));
        }
        Ok(Self { bits, mask })
    }
}

/// Several of them; cheap to clone.
#[derive(Debug, Clone)]
pub struct Networks(Arc<[Network]>);

impl Networks {
    /// Those of the list.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }

    /// Whether one of them has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_has_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "::ffff:192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            assert!(contains(network, inside), "{network} {inside}");
            assert!(!contains(network, outside), "{network} {outside}");
        }
        assert!(contains("::/0", "10.0.0.1"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "proxy.example.com",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "10.0/8",
            "/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
