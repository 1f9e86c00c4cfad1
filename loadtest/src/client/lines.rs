//! An HTTP answer that does not end by itself, read line by line: what SSE,
//! NDJSON and the iframe have in common.

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinSet;

use super::error::{Close, Error, Refusal, Result};
use super::{Account, socket};

/// The longest line that is waited for: beyond all that frames may hold.
const LONGEST: usize = 4 << 20;
/// Bytes that are read ahead, so that a reader that stops does stop.
const READ_AHEAD: usize = 64 * 1024;

/// The lines of one answer.
#[derive(Debug)]
pub struct Lines {
    headers: HeaderMap,
    body: Incoming,
    buffer: BytesMut,
    /// No line ends before here.
    searched: usize,
    /// Drives the connection, which is cut when this value is dropped.
    _driver: JoinSet<()>,
}

impl Lines {
    /// `GET path` (with its query) of the account's gateway. Fails with the
    /// refusal when the status is not 200.
    pub async fn open(account: &Account, path: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let authority = account.authority()?;
        let stream = socket::open(authority, account.receive_buffer).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_AHEAD);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(Error::broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its failure is the body's failure too.
            let _ = connection.await;
        });
        let mut request = Request::get(path).header(HOST, authority);
        if !account.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", account.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(Error::broken)?;
        let (head, body) = sender.send_request(request).await.map_err(Error::broken)?.into_parts();
        let status = head.status.as_u16();
        if status != 200 {
            let body = body.collect().await.map_err(Error::broken)?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            return Err(Error::Refused(Refusal::read(status, &body)));
        }
        Ok(Self { headers: head.headers, body, buffer: BytesMut::new(), searched: 0, _driver: driver })
    }

    /// The answer's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next line without its end. Waits for as long as it takes; safe to
    /// drop half way.
    pub async fn next(&mut self) -> Result<String> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                line.truncate(line.len() - 1);
                return String::from_utf8(line.to_vec()).map_err(Error::broken);
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                return Err(Error::broken("a line without end"));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => {
                    return Err(Error::Closed(Close { code: None, reason: String::new() }));
                }
                None => return Err(Error::broken("the stream ended within a line")),
                Some(frame) => {
                    let bytes = frame.map_err(Error::broken)?.into_data();
                    self.buffer.extend_from_slice(&bytes.unwrap_or_default());
                }
            }
        }
    }
}
