//! The protocol over HTTP streaming: a frame a line.

use super::error::Result;
use super::one_way::{Framing, OneWay};
use super::{Account, Frame};

/// Opens `GET /v1/stream`.
pub(super) async fn connect(account: &Account) -> Result<OneWay> {
    let path = format!("/v1/stream{}", account.query());
    OneWay::open(account, &path, &[], JsonLines).await
}

#[derive(Debug)]
struct JsonLines;

impl Framing for JsonLines {
    fn line(&mut self, line: &str) -> Result<Option<Frame>> {
        // Heartbeats are empty, the padding is blanks.
        if line.bytes().all(|byte| byte == b' ') {
            return Ok(None);
        }
        Frame::parse(line.as_bytes()).map(Some)
    }
}
