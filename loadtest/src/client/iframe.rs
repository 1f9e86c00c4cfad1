//! The protocol over the forever iframe: a script a line, which is read
//! without a browser, and held to what a browser needs of it.

use super::error::{Error, Result};
use super::one_way::{Framing, OneWay};
use super::{Account, Frame};

/// The function that each frame is given to.
const CALLBACK: &str = "parent.onFrame";

/// Opens `GET /v1/iframe`.
pub(super) async fn connect(account: &Account) -> Result<OneWay> {
    let query = account.query();
    let separator = if query.is_empty() { '?' } else { '&' };
    let path = format!("/v1/iframe{query}{separator}callback={CALLBACK}");
    OneWay::open(account, &path, &[], Scripts { in_page: false }).await
}

#[derive(Debug)]
struct Scripts {
    /// The page's beginning has been read.
    in_page: bool,
}

impl Framing for Scripts {
    fn line(&mut self, line: &str) -> Result<Option<Frame>> {
        if !self.in_page {
            self.in_page = true;
            return match line.starts_with("<!doctype html>") {
                true => Ok(None),
                false => Err(Error::broken(format!("a page that begins with {line}"))),
            };
        }
        if line.is_empty() {
            return Ok(None);
        }
        let call = line.strip_prefix("<script>").and_then(|rest| rest.strip_suffix(")</script>"));
        let json = call.and_then(|call| call.strip_prefix(CALLBACK)?.strip_prefix('('));
        let json = json.ok_or_else(|| Error::broken(format!("a line that is no call: {line}")))?;
        // `<` may end the script or begin a comment in it; the separators end a
        // line in older engines (ECMA-262 before 2019).
        if json.contains(['<', '\u{2028}', '\u{2029}']) {
            return Err(Error::broken(format!("not safe within a script: {json}")));
        }
        Frame::parse(json.as_bytes()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Frame>> {
        Scripts { in_page: true }.line(line)
    }

    #[test]
    fn a_frame_is_one_call_in_one_script() {
        let frame = read(r#"<script>parent.onFrame({"type":"pong"})</script>"#).unwrap().unwrap();
        assert_eq!(frame.kind(), "pong");
        assert_eq!(read("").unwrap(), None);
        for line in [
            "parent.onFrame({\"type\":\"pong\"})",
            "<script>parent.other({\"type\":\"pong\"})</script>",
            "<script>parent.onFrame({\"type\":\"pong\",\"body\":\"</script>\"})</script>",
            "<script>parent.onFrame({\"type\":\"pong\",\"body\":\"\u{2028}\"})</script>",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
