//! The protocol over server-sent events, read as an EventSource reads them
//! (WHATWG HTML §9.2), and held to what the server promises beyond that.

use super::error::{Error, Result};
use super::one_way::{Framing, OneWay};
use super::{Account, Frame};

/// Opens `GET /v1/sse`. The position to go on from is given as an EventSource
/// gives it, in `Last-Event-ID`.
pub(super) async fn connect(account: &Account) -> Result<OneWay> {
    let mut account = account.clone();
    let last = account.cursor.take().unwrap_or_default();
    let path = format!("/v1/sse{}", account.query());
    let mut headers = vec![("accept", "text/event-stream")];
    if !last.is_empty() {
        headers.push(("last-event-id", last.as_str()));
    }
    OneWay::open(&account, &path, &headers, Events::default()).await
}

/// The event that is being read.
#[derive(Debug, Default)]
struct Events {
    kind: Option<String>,
    id: Option<String>,
    data: Option<String>,
}

impl Framing for Events {
    fn line(&mut self, line: &str) -> Result<Option<Frame>> {
        if line.is_empty() {
            return self.event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        let before = match field {
            // A comment: the heartbeat.
            "" => None,
            "event" => self.kind.replace(value),
            "id" => self.id.replace(value),
            "data" => self.data.replace(value),
            "retry" if value.parse::<u32>().is_ok() => None,
            _ => return Err(Error::broken(format!("a line that no event has: {line}"))),
        };
        match before {
            None => Ok(None),
            Some(_) => Err(Error::broken(format!("an event with two lines of `{field}`"))),
        }
    }
}

impl Events {
    fn event(&mut self) -> Result<Option<Frame>> {
        let Self { kind, id, data } = std::mem::take(self);
        // Some parsers would make an empty event of it.
        let Some(data) = data else { return Err(Error::broken("an event without data")) };
        let frame = Frame::parse(data.as_bytes())?;
        if kind.as_deref() != Some(frame.kind()) {
            return Err(Error::broken(format!("`event: {kind:?}` with a frame `{}`", frame.kind())));
        }
        if id.as_deref() != frame.cursor() {
            return Err(Error::broken(format!("`id: {id:?}` with the cursor {:?}", frame.cursor())));
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Frame>> {
        let mut events = Events::default();
        let frames = text.lines().filter_map(|line| events.line(line).transpose());
        frames.collect()
    }

    #[test]
    fn an_event_is_its_lines_up_to_an_empty_one() {
        let text = "event: welcome\nretry: 5\ndata: {\"type\":\"welcome\"}\n\n:\nevent: message\nid: 1.a\ndata: {\"type\":\"message\",\"cursor\":\"1.a\"}\n\n";
        let frames = read(text).unwrap();
        assert_eq!((frames.len(), frames[1].cursor()), (2, Some("1.a")));
        assert!(read("event: message\ndata: {\"type\":\"message\"}\n").unwrap().is_empty());
    }

    #[test]
    fn what_the_frame_and_its_event_say_must_agree() {
        for text in [
            "event: typing\ndata: {\"type\":\"message\"}\n\n",
            "event: message\nid: 1.b\ndata: {\"type\":\"message\",\"cursor\":\"1.a\"}\n\n",
            "event: message\nid: 1.b\ndata: {\"type\":\"message\"}\n\n",
            "event: message\ndata: {\"type\":\ndata: \"message\"}\n\n",
            ":\n\n",
            "<script>\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
