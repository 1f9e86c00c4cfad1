//! How users connect: one transport, or several by weight.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};

use crate::client::Transport;

/// The names that the command line knows.
const NAMES: [(&str, Transport); 12] = [
    ("websocket", Transport::WebSocket),
    ("websocket-protobuf", Transport::WebSocketProtobuf),
    ("sse", Transport::Sse),
    ("stream", Transport::Stream),
    ("iframe", Transport::Iframe),
    ("long-poll", Transport::LongPoll),
    ("long-poll-protobuf", Transport::LongPollProtobuf),
    ("short-poll", Transport::ShortPoll),
    ("socketio-websocket", Transport::SocketIoWebSocket),
    ("socketio-polling", Transport::SocketIoPolling),
    ("sockjs-websocket", Transport::SockJsWebSocket),
    ("sockjs-polling", Transport::SockJsPolling),
];

/// Transports by weight: `websocket`, or `websocket=70,sse=20,poll=10`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    parts: Vec<(Transport, usize)>,
}

impl Mix {
    /// All users on one.
    pub fn only(transport: Transport) -> Self {
        Self { parts: vec![(transport, 1)] }
    }

    /// How this user connects. Any users in a row have the shares of the mix,
    /// as nearly as their number allows.
    pub fn transport(&self, user: usize) -> Transport {
        let total: usize = self.parts.iter().map(|part| part.1).sum();
        // A step that has no factor in common with the total visits every
        // number below it once, and puts neighbours far apart.
        let step = (total * 618 / 1000..).find(|step| gcd(*step, total) == 1).unwrap_or(1);
        let mut number = (user % total) * (step % total.max(2)).max(1) % total;
        for (transport, weight) in &self.parts {
            if number < *weight {
                return *transport;
            }
            number -= weight;
        }
        self.parts[0].0
    }

    /// Whether any user connects so that commands have a way of their own.
    pub fn has_one_way(&self) -> bool {
        self.parts.iter().any(|part| !part.0.is_two_way())
    }
}

impl FromStr for Mix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts: Vec<(Transport, usize)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight: usize = weight.trim().parse().with_context(|| format!("`{weight}` is no weight"))?;
            ensure!(weight <= 1000, "a weight is at most 1000, not {weight}");
            let transport = transport(name.trim())?;
            if parts.iter().any(|known| known.0 == transport) {
                bail!("`{name}` is there twice");
            }
            if weight > 0 {
                parts.push((transport, weight));
            }
        }
        ensure!(!parts.is_empty(), "at least one transport needs a weight");
        Ok(Self { parts })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (transport, weight)) in self.parts.iter().enumerate() {
            let name = NAMES.iter().find(|known| known.1 == *transport).map_or("", |known| known.0);
            match (index, self.parts.len()) {
                (_, 1) => f.write_str(name)?,
                (0, _) => write!(f, "{name}={weight}")?,
                _ => write!(f, ",{name}={weight}")?,
            }
        }
        Ok(())
    }
}

fn transport(name: &str) -> Result<Transport> {
    let name = if name == "poll" { "long-poll" } else { name };
    let known = NAMES.iter().find(|known| known.0 == name);
    known.map(|known| known.1).with_context(|| {
        let names: Vec<_> = NAMES.iter().map(|known| known.0).collect();
        format!("`{name}` is no transport: {} are", names.join(", "))
    })
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_gives_each_transport_its_share_of_any_users_in_a_row() {
        let mix: Mix = "websocket=70,sse=20,poll=10".parse().unwrap();
        let count = |from: usize, many: usize, which| {
            (from..from + many).filter(|user| mix.transport(*user) == which).count()
        };
        assert_eq!(count(0, 1000, Transport::WebSocket), 700);
        assert_eq!(count(37, 100, Transport::Sse), 20);
        assert_eq!(count(0, 100, Transport::LongPoll), 10);
        assert!((5..=9).contains(&count(0, 10, Transport::WebSocket)));
        assert_eq!(mix.to_string(), "websocket=70,sse=20,long-poll=10");
    }

    #[test]
    fn one_name_alone_is_everybody() {
        let mix: Mix = "stream".parse().unwrap();
        assert_eq!((mix.transport(0), mix.transport(7)), (Transport::Stream, Transport::Stream));
        assert_eq!(mix.to_string(), "stream");
    }

    #[test]
    fn what_is_no_mix_is_refused_in_words() {
        for (text, part) in [
            ("carrier-pigeon", "`carrier-pigeon` is no transport: websocket,"),
            ("websocket=many", "`many` is no weight"),
            ("websocket=0", "at least one"),
            ("sse=1,sse=2", "twice"),
            ("poll=1,long-poll=2", "twice"),
            ("", "is no transport"),
            ("sse=99999", "at most 1000"),
        ] {
            let error = format!("{:#}", text.parse::<Mix>().unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
