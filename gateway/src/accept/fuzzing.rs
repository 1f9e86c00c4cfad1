//! What fuzzing holds HTTP below the routes to: the scan of requests understands
//! them as httparse does, which hyper reads with; what is written is read again as
//! it was meant; and of proxies no more is believed than they may say.

use std::net::{IpAddr, SocketAddr};

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};

use super::forwarded;
use super::long_response_writer::{head, write_chunk};
use super::proxy_header::{self, Source};
use super::scan::{Scan, Verdict};
use super::strict::{self, Refusal};
use crate::config::{Network, Networks};

/// Headers of one message at most.
const HEADERS: usize = 64;

/// Requests on a connection. The first byte says into which pieces the bytes fall:
/// that makes no difference.
pub fn http_heads(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let (whole, split) = (Verdict::default(), Verdict::default());
    let (mut at_once, mut in_pieces) = (Scan::default(), Scan::default());
    at_once.see(bytes, &whole);
    bytes.chunks(usize::from(*piece).max(1)).for_each(|piece| in_pieces.see(piece, &split));
    assert_eq!(whole.refusal(), split.refusal());
    assert_eq!(whole.is_over(), split.is_over());
    assert_eq!(at_once.is_amid_request(), in_pieces.is_amid_request());
    match understood(bytes) {
        Understood::Refused(refusal) => assert_eq!(whole.refusal(), Some(refusal)),
        Understood::Whole => assert_eq!((whole.refusal(), at_once.is_amid_request()), (None, false)),
        Understood::AmidBody => assert_eq!((whole.refusal(), at_once.is_amid_request()), (None, true)),
        Understood::Otherwise => {}
    }
}

/// How httparse understands requests.
enum Understood {
    /// One of them is to be refused for this.
    Refused(Refusal),
    /// The last one is complete.
    Whole,
    /// The last one's body is not.
    AmidBody,
    /// A header is incomplete, or hyper refuses it.
    Otherwise,
}

fn understood(mut rest: &[u8]) -> Understood {
    loop {
        if rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Understood::Whole;
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = request.parse(rest) else {
            return Understood::Otherwise;
        };
        check_strict(&request);
        let named = |name: &'static str| {
            let found = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| header.value)
        };
        let lengths: Vec<&[u8]> = named("content-length").collect();
        let chunked = named("transfer-encoding").next().is_some();
        if chunked && !lengths.is_empty() {
            return Understood::Refused(Refusal::BothFramings);
        }
        if lengths.len() > 1 {
            return Understood::Refused(Refusal::TwoLengths);
        }
        rest = &rest[length..];
        if chunked {
            match behind_chunks(rest) {
                Some(behind) => rest = behind,
                None => return Understood::Otherwise,
            }
            continue;
        }
        let Some(length) = lengths.first() else { continue };
        // Blanks within a number are none of httparse's business.
        let plain = (1..=20).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(length).ok().and_then(|text| text.parse::<u64>().ok());
        let Some(length) = number.filter(|_| plain) else {
            return match length.iter().any(|byte| matches!(byte, b' ' | b'\t')) {
                true => Understood::Otherwise,
                false => Understood::Refused(Refusal::OddLength),
            };
        };
        match usize::try_from(length).ok().and_then(|length| rest.get(length..)) {
            Some(behind) => rest = behind,
            None => return Understood::AmidBody,
        }
    }
}

/// What follows chunks and trailers (RFC 9112 §7.1); nothing where they are not
/// complete or not of that form, and where a size is longer than a gateway takes.
fn behind_chunks(mut rest: &[u8]) -> Option<&[u8]> {
    fn line(rest: &[u8]) -> Option<(&[u8], &[u8])> {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let line = &rest[..end];
        (!line.iter().any(|byte| matches!(byte, b'\r' | b'\n'))).then_some((line, &rest[end + 2..]))
    }
    loop {
        let (size, behind) = line(rest)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (number, extension) = size.split_at(digits);
        if !(1..=16).contains(&number.len()) || !(extension.is_empty() || extension.starts_with(b";")) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(number).ok()?, 16).ok()?;
        rest = behind;
        if size == 0 {
            loop {
                let (trailer, behind) = line(rest)?;
                rest = behind;
                if trailer.is_empty() {
                    return Some(rest);
                }
            }
        }
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// What passes the checks of a request's header has one host, which is one.
fn check_strict(parsed: &httparse::Request<'_, '_>) {
    let (Some(method), Some(path)) = (parsed.method, parsed.path) else { return };
    let mut request = Request::builder().method(method).uri(path);
    for header in parsed.headers.iter() {
        request = request.header(header.name, header.value);
    }
    let Ok(request) = request.body(()) else { return };
    if strict::wrong(&request).is_some() {
        return;
    }
    let hosts: Vec<&HeaderValue> = request.headers().get_all("host").iter().collect();
    assert_eq!(hosts.len(), 1);
    let host = hosts[0].to_str().expect("a host is a text");
    let authority: http::uri::Authority = host.parse().expect("a host is an authority");
    assert_eq!(authority.as_str(), host);
    assert!(request.headers().get_all("content-length").iter().count() <= 1);
}

/// Headers of a response, a line each, and behind an empty line what its chunks are
/// made of: httparse reads the header as it was meant, and the scan finds where the
/// chunks end.
pub fn response_heads(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let at = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let (lines, body) = (&bytes[..at], bytes.get(at + 2..).unwrap_or_default());
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(HEADERS / 2) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let status = StatusCode::from_u16(100 + u16::from(*first) * 3).unwrap_or(StatusCode::OK);
    let keeps = first % 2 == 0;
    let written = head(status, &headers, keeps);
    let mut found = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut found);
    assert_eq!(response.parse(&written), Ok(httparse::Status::Complete(written.len())));
    assert_eq!((response.version, response.code), (Some(1), Some(status.as_u16())));
    let trimmed = |value: &[u8]| value.trim_ascii().to_vec();
    let read: Vec<_> = response.headers.iter().map(|one| (one.name.to_owned(), trimmed(one.value))).collect();
    let meant = headers.iter().map(|(name, value)| (name.to_string(), trimmed(value.as_bytes())));
    assert_eq!(read[..headers.len()], meant.collect::<Vec<_>>());
    assert_eq!(read.len(), headers.len() + 1 + usize::from(!keeps));

    let mut request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let pieces = usize::from(*first).max(1);
    body.chunks(pieces).for_each(|piece| write_chunk(piece, &mut request));
    let (mut scan, verdict) = (Scan::default(), Verdict::default());
    scan.see(&request, &verdict);
    assert!(scan.is_amid_request() && verdict.refusal().is_none());
    scan.see(b"0\r\n\r\n", &verdict);
    assert!(!scan.is_amid_request() && verdict.refusal().is_none());
}

/// The beginning of a connection behind a proxy: exactly the header is taken.
pub fn proxy_headers(bytes: &[u8]) {
    let mut rest = bytes;
    let read = proxy_header::read(&mut rest).now_or_never().expect("all bytes are there");
    let taken = bytes.len() - rest.len();
    let Ok(source) = read else { return };
    assert_eq!(&bytes[..12], b"\r\n\r\n\0\r\nQUIT\n");
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    assert_eq!(taken, 16 + length);
    assert!(length <= 2_048 && matches!(bytes[12], 0x20 | 0x21));
    let addresses = &bytes[16..taken];
    match source {
        Source::Peer => assert!(bytes[12] == 0x20 || matches!(bytes[13] >> 4, 0 | 3)),
        Source::Client(client) => {
            assert_eq!(bytes[12], 0x21);
            let (ip, port) = if client.is_ipv4() { (4, 8) } else { (16, 32) };
            let octets = match client.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            assert_eq!(
                (&octets[..], client.port().to_be_bytes()),
                (&addresses[..ip], [addresses[port], addresses[port + 1]])
            );
        }
    }
}

/// `X-Forwarded-For`, one header a line: whoever is named right of what a client
/// wrote itself is a trusted proxy.
pub fn forwarded(bytes: &[u8]) {
    let trusted: Vec<Network> =
        ["10.0.0.0/8", "2001:db8::/32"].iter().filter_map(|text| text.parse().ok()).collect();
    let trusted = Networks::new(trusted);
    let mut headers = HeaderMap::new();
    let mut all = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').take(HEADERS) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            all.extend(
                String::from_utf8_lossy(value.as_bytes())
                    .split(',')
                    .map(|one| one.trim_matches([' ', '\t']).to_owned()),
            );
            headers.append("x-forwarded-for", value);
        }
    }
    let peer = SocketAddr::from(([10, 0, 0, 1], 443));
    let read = forwarded::client(peer, &headers, &trusted);
    // From the right: proxies, and then the client.
    let mut proxies = 0;
    for text in all.iter().rev() {
        let Some(ip) = ip_of(text) else {
            assert!(read.is_err(), "{text} is no address");
            return;
        };
        if !trusted.contains(ip) {
            assert_eq!(read.map(|client| client.ip()), Ok(ip));
            return;
        }
        proxies += 1;
    }
    let farthest = all.first().and_then(|text| ip_of(text)).unwrap_or(peer.ip());
    assert_eq!(read.map(|client| client.ip()), Ok(farthest), "{proxies} proxies");
    // What a client writes left of its own address changes nothing.
    let mut more = HeaderMap::new();
    more.append("x-forwarded-for", HeaderValue::from_static("9.9.9.9, 198.51.100.7"));
    for (name, value) in &headers {
        more.append(name, value.clone());
    }
    assert_eq!(
        forwarded::client(peer, &more, &trusted).map(|client| client.ip()),
        Ok(IpAddr::from([198, 51, 100, 7]))
    );
}

fn ip_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ipv6 = bare.and_then(|text| text.parse::<std::net::Ipv6Addr>().ok());
    text.parse()
        .ok()
        .or(ipv6.map(IpAddr::V6))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
