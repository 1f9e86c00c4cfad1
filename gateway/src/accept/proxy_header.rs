//! The header with which a proxy begins a connection: version 2 of the PROXY
//! protocol (haproxy's `proxy-protocol.txt`, §2.2). Version 1, which is text, is
//! not read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;
/// The most bytes behind those, for addresses and what else a proxy says: its
/// own certificate's fields take a few hundred.
const MOST: usize = 2_048;

/// Whom a proxy has a connection from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The connection is this client's.
    Client(SocketAddr),
    /// The proxy itself, to look whether the server is there (`LOCAL`); or
    /// somebody without an internet address. The peer's address stands.
    Peer,
}

/// Reads the header, and not one byte more. Fails where the connection begins
/// with anything else.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Source> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let (form, length) =
        parse_fixed(&fixed).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))?;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    form.source(&rest)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "addresses that are too short"))
}

/// What the bytes behind the fixed ones are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Ipv4,
    Ipv6,
    /// Addresses that are skipped.
    Skipped,
}

fn parse_fixed(fixed: &[u8; FIXED]) -> Result<(Form, usize), &'static str> {
    if fixed[..12] != SIGNATURE {
        return Err("no PROXY protocol, version 2");
    }
    let local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err("another version or command than those of PROXY protocol 2"),
    };
    let form = match (fixed[13] >> 4, fixed[13] & 0xf) {
        _ if local => Form::Skipped,
        // Whether over TCP (1) or UDP (2).
        (1, 1 | 2) => Form::Ipv4,
        (2, 1 | 2) => Form::Ipv6,
        // UNSPEC, and Unix sockets.
        (0, 0) | (3, 1 | 2) => Form::Skipped,
        _ => return Err("a family or protocol of addresses that there is not"),
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MOST {
        return Err("a PROXY header that is too long");
    }
    Ok((form, length))
}

impl Form {
    /// `None` if there are fewer bytes than the addresses have.
    fn source(self, rest: &[u8]) -> Option<Source> {
        let (ip, ports): (IpAddr, _) = match self {
            Self::Skipped => return Some(Source::Peer),
            Self::Ipv4 => (Ipv4Addr::from(*rest.first_chunk::<4>()?).into(), rest.get(8..12)?),
            Self::Ipv6 => (Ipv6Addr::from(*rest.first_chunk::<16>()?).into(), rest.get(32..36)?),
        };
        Some(Source::Client(SocketAddr::new(ip, u16::from_be_bytes([ports[0], ports[1]]))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    /// What is read of these bytes, and what is left of them.
    async fn read_all(mut bytes: &[u8]) -> (io::Result<Source>, usize) {
        let source = read(&mut bytes).await;
        (source, bytes.len())
    }

    #[tokio::test]
    async fn the_client_s_address_is_read_and_nothing_behind_it() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        v6[15] = 1;
        v6[32..34].copy_from_slice(&[0, 99]);
        for (rest, family, client) in [(&v4[..], 0x11, "192.0.2.1:4660"), (&v6, 0x21, "[2001:db8::1]:99")] {
            // With what else a proxy may say behind the addresses.
            for more in [&b""[..], &[4, 0, 1, 0]] {
                let mut bytes = header(0x21, family, &[rest, more].concat());
                bytes.extend(b"GET");
                let (source, left) = read_all(&bytes).await;
                assert_eq!((source.unwrap(), left), (Source::Client(client.parse().unwrap()), 3));
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        for bytes in [
            header(0x20, 0, b""),
            header(0x20, 0x11, &[1; 12]),
            header(0x21, 0, b""),
            header(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(read_all(&bytes).await.0.unwrap(), Source::Peer, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for bytes in [
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x41, &[0; 12]),
            header(0x21, 0x13, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x21, 0x11, &vec![0; MOST + 1]),
            header(0x21, 0x11, &[0; 12])[..20].to_vec(),
            Vec::new(),
        ] {
            assert!(read_all(&bytes).await.0.is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_any_harm(bytes: Vec<u8>, command: u8, family: u8) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let _ = read_all(&bytes).await;
                let _ = read_all(&header(command, family, &bytes)).await;
            });
        }
    }
}
