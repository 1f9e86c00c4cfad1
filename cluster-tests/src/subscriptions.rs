//! The channels of a device. On a one-way transport its request names them, and
//! its cursor resumes them. On a two-way one they are subscribed to in every
//! session, each after the last seq that the device had.

use std::collections::BTreeMap;

use loadtest::client::{Account, Frame, Transport};
use serde_json::{Value, json};

/// Channels that are subscribed to with commands.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    channels: BTreeMap<String, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    /// The last seq that the device had.
    seq: u64,
    /// The `ref` of the command that is under way.
    asked: Option<u64>,
    done: bool,
}

impl Subscriptions {
    /// Those that the account names, as `c_news:41,c_sport`.
    pub(crate) fn of(transport: Transport, account: &Account) -> Self {
        let names = account.channels.iter().filter(|_| transport.is_two_way());
        let names = names.flat_map(|list| list.split(','));
        let channels = names.map(|name| {
            let (name, seq) = name.split_once(':').unwrap_or((name, "0"));
            let seq = seq.parse().unwrap_or_default();
            (name.to_owned(), Subscription { seq, asked: None, done: false })
        });
        Self { channels: channels.collect() }
    }

    /// A session begins, which knows of none.
    pub(crate) fn begin(&mut self) {
        for channel in self.channels.values_mut() {
            (channel.asked, channel.done) = (None, false);
        }
    }

    /// The commands that are still to be sent in this session.
    pub(crate) fn due(&self) -> Vec<Value> {
        let due = self.channels.iter().filter(|(_, channel)| !channel.done && channel.asked.is_none());
        due.map(|(name, channel)| json!({"type": "subscribe", "channel": name, "after": channel.seq}))
            .collect()
    }

    /// The command is under way with this `ref`.
    pub(crate) fn asked(&mut self, reference: u64, command: &Value) {
        let name = command["channel"].as_str().unwrap_or_default();
        if let Some(channel) = self.channels.get_mut(name) {
            channel.asked = Some(reference);
        }
    }

    /// What a frame publishes, in order; nothing for a frame that is neither a
    /// publication nor the answer to a command of these.
    pub(crate) fn take(&mut self, frame: &Frame) -> Option<Vec<Frame>> {
        if frame.kind() == "publication" {
            self.reached(frame.text("channel").unwrap_or_default(), frame.number("seq").unwrap_or_default());
            return Some(vec![frame.clone()]);
        }
        if frame.kind() == "channel_reset" {
            self.reached(frame.text("channel").unwrap_or_default(), frame.number("seq").unwrap_or_default());
            return None;
        }
        let reference = frame.answers()?;
        let (name, channel) =
            self.channels.iter_mut().find(|(_, channel)| channel.asked == Some(reference))?;
        channel.asked = None;
        channel.done = frame.kind() == "ok";
        let publications = frame.0["publications"].as_array().into_iter().flatten();
        let publications = publications.map(|fields| {
            let mut fields = fields.clone();
            fields["channel"] = json!(name);
            Frame(fields)
        });
        let publications: Vec<_> = publications.collect();
        if let Some(seq) = publications.last().and_then(|last| last.number("seq")) {
            channel.seq = seq;
        }
        Some(publications)
    }

    fn reached(&mut self, channel: &str, seq: u64) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.seq = seq;
        }
    }
}
