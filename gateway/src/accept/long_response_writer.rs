//! Writes a long response on an HTTP/1.1 connection without hyper, with only
//! the memory that it needs at the moment. Afterwards hyper serves the
//! connection again.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::socket::Socket;
use crate::accept::long_response::{self, Source};

/// The bytes of a body that are gathered before they are written, at least.
const GATHER: usize = 16 * 1024;

/// The time between two checks whether the data that a peer does not take is
/// still needed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A long response that has left hyper.
pub(super) struct Handed {
    pub(super) response: Response,
    /// Whether the connection stays open after this request.
    pub(super) keeps: bool,
}

/// Writes the response, however long that takes. Returns whether the connection
/// goes on. Fails when the client has gone, also while there is nothing to
/// write.
pub(super) async fn write(
    socket: &mut Socket,
    handed: Handed,
    last_request: &CancellationToken,
) -> io::Result<bool> {
    let Handed { mut response, keeps } = handed;
    let Some(later) = long_response::take_deferred(response.extensions_mut()) else {
        return write_endless(socket, response, keeps, last_request).await;
    };
    let answer = socket.unless_gone(later).await?;
    let keeps = keeps && !last_request.is_cancelled();
    // Boxed: needed for a moment only.
    Box::pin(write_whole(socket, long_response::merged(response, answer), keeps)).await?;
    Ok(keeps)
}

async fn write_whole(socket: &mut Socket, answer: Response, keeps: bool) -> io::Result<()> {
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    parts.headers.remove(header::CONTENT_LENGTH);
    if parts.status != StatusCode::NOT_MODIFIED {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let mut out = head(parts.status, &parts.headers, keeps);
    out.extend_from_slice(&body);
    put(socket, &out).await
}

async fn write_endless(
    socket: &mut Socket,
    response: Response,
    keeps: bool,
    last_request: &CancellationToken,
) -> io::Result<bool> {
    let (mut parts, mut body) = response.into_parts();
    let source = long_response::take_source(&mut parts.extensions);
    parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    let out = head(parts.status, &parts.headers, keeps);
    drop(parts);
    let written = write_body(socket, &mut body, out, &source).await;
    if let Err(error) = &written
        && error.kind() == io::ErrorKind::TimedOut
        && let Some(source) = &source
    {
        source.lost();
    }
    written.map(|()| keeps && !last_request.is_cancelled())
}

/// Writes a body that ends when its source does, behind what is in `out`.
async fn write_body(
    socket: &mut Socket,
    body: &mut Body,
    mut out: Vec<u8>,
    source: &Option<Arc<dyn Source>>,
) -> io::Result<()> {
    while let Some(data) = next(socket, body, &mut out, source).await? {
        write_chunk(&data, &mut out);
    }
    out.extend_from_slice(b"0\r\n\r\n");
    put_while_wanted(socket, &out, source).await
}

/// The next part of a body; `None` at its end. Before it waits, everything
/// gathered is written.
async fn next(
    socket: &mut Socket,
    body: &mut Body,
    out: &mut Vec<u8>,
    source: &Option<Arc<dyn Source>>,
) -> io::Result<Option<Bytes>> {
    loop {
        let ready = match out.len() < GATHER {
            true => body.frame().now_or_never(),
            false => None,
        };
        let frame = match ready {
            Some(frame) => frame,
            None => {
                if !out.is_empty() {
                    // Boxed: needed for a moment only.
                    Box::pin(put_while_wanted(socket, out, source)).await?;
                    // No buffer is kept while it waits.
                    *out = Vec::new();
                }
                socket.unless_gone(body.frame()).await?
            }
        };
        match frame {
            None => return Ok(None),
            // The missing last chunk tells the client that the body is
            // incomplete.
            Some(Err(error)) => return Err(io::Error::other(error)),
            Some(Ok(frame)) => {
                // An empty chunk would be the last one.
                if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
                    return Ok(Some(data));
                }
            }
        }
    }
}

pub(super) fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len() + 12);
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Status line and headers (RFC 9112 §2.1).
pub(super) fn head(status: StatusCode, headers: &HeaderMap, keeps: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())).as_bytes());
    if !keeps {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Writes; gives up when the peer takes no data and its session has ended.
async fn put_while_wanted(
    socket: &mut Socket,
    bytes: &[u8],
    source: &Option<Arc<dyn Source>>,
) -> io::Result<()> {
    let mut writing = pin!(put(socket, bytes));
    loop {
        match timeout(LOOK_AGAIN, writing.as_mut()).await {
            Ok(written) => return written,
            Err(_) if source.as_ref().is_some_and(|source| source.is_over()) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(_) => {}
        }
    }
}

async fn put(socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
    let mut socket = TokioIo::new(socket);
    socket.write_all(bytes).await?;
    socket.flush().await
}
