//! One device's pen: takes the frames as they come and writes down those that
//! the promises are about.

use std::collections::HashMap;
use std::sync::Arc;

use super::fold::Got;
use super::marks::Receipt;
use super::{History, Line, Message, What};
use crate::client::Frame;

/// Writes what one device receives, over all of its sessions.
#[derive(Debug)]
pub struct DeviceLog {
    history: Arc<History>,
    index: usize,
    /// The ids behind answers that are still to come.
    own: HashMap<u64, String>,
}

impl DeviceLog {
    pub(super) fn new(history: Arc<History>, index: usize) -> Self {
        Self { history, index, own: HashMap::new() }
    }

    /// The device's user.
    pub fn user(&self) -> String {
        let log = self.history.log();
        log.name(log.devices[self.index].user).to_owned()
    }

    /// A session of this device began at this position of its inbox.
    pub fn began(&self, cursor: &str) {
        self.write(What::Began { cursor: cursor.into() });
    }

    /// Before the answer with this `ref` can come: it is about this message.
    pub fn expect_answer(&mut self, reference: u64, client_msg_id: &str) {
        self.own.insert(reference, client_msg_id.to_owned());
    }

    /// Any frame, in the order in which they come. A `sent` is taken for the
    /// answer that [`expect_answer`](Self::expect_answer) has named, and for
    /// the device's copy when it carries a cursor.
    pub fn frame(&mut self, frame: &Frame) {
        match frame.kind() {
            "sent" => self.sent(frame),
            "error" => {
                frame.answers().map(|reference| self.own.remove(&reference));
            }
            "reset" => self.write(What::Reset {
                cursor: frame.cursor().unwrap_or_default().into(),
                reason: frame.text("reason").unwrap_or_default().into(),
            }),
            "message" => self.event(frame, frame.text("client_msg_id")),
            "receipt" => self.receipt(frame),
            "channel_reset" => self.channel_reset(frame),
            "publication" => self.publication(frame, None),
            _ if frame.is_event() => {
                if frame.kind() == "edited" {
                    self.told_of_edit(frame);
                }
                self.write(What::Event { cursor: frame.cursor().unwrap_or_default().into(), message: None });
            }
            _ => {}
        }
    }

    fn receipt(&self, frame: &Frame) {
        let mut log = self.history.log();
        let receipt = Receipt {
            conversation: log.names.number(frame.text("conversation").unwrap_or_default()),
            user: log.names.number(frame.text("user").unwrap_or_default()),
            read: frame.text("kind") == Some("read"),
            seq: frame.number("seq").unwrap_or_default(),
        };
        log.devices[self.index].marks.receipt(receipt);
    }

    fn told_of_edit(&self, frame: &Frame) {
        let mut log = self.history.log();
        if log.fold.is_none()
            && let Some(id) = frame.text("body")
        {
            let id = log.names.number(id);
            log.devices[self.index].edits.insert(id);
        }
    }

    fn channel_reset(&self, frame: &Frame) {
        let channel = self.history.log().names.number(frame.text("channel").unwrap_or_default());
        let seq = frame.number("seq").unwrap_or_default();
        self.write(What::ChannelReset {
            channel,
            seq,
            reason: frame.text("reason").unwrap_or_default().into(),
        });
    }

    /// Something of a channel; `client_msg_id` where its body tells it.
    pub fn publication(&mut self, frame: &Frame, client_msg_id: Option<&str>) {
        let mut log = self.history.log();
        let conversation = log.names.number(frame.text("channel").unwrap_or_default());
        let seq = frame.number("seq").unwrap_or_default();
        if log.fold.is_some() {
            return log.fold_message(self.index, Got { conversation, seq, id: client_msg_id });
        }
        let id = client_msg_id.map(|id| log.names.number(id));
        let at = log.tick();
        let what = What::Publication { message: Message { conversation, seq, id } };
        log.devices[self.index].lines.push(Line { at, what });
    }

    /// The edit was answered with `ok`.
    pub fn edited(&self, id: &str) {
        self.history.edited(id);
    }

    /// The answer to a message that was sent without waiting elsewhere for it.
    pub fn sent_as(&mut self, frame: &Frame, client_msg_id: &str) {
        if let Some(seq) = frame.number("seq") {
            self.history.acknowledged(client_msg_id, seq);
        }
        if frame.is_event() {
            self.event(frame, Some(client_msg_id));
        }
    }

    fn sent(&mut self, frame: &Frame) {
        let id = frame.answers().and_then(|reference| self.own.remove(&reference));
        if let Some(id) = id {
            self.sent_as(frame, &id);
        } else if frame.is_event() {
            self.event(frame, None);
        }
    }

    fn event(&self, frame: &Frame, id: Option<&str>) {
        let mut log = self.history.log();
        let conversation = log.names.number(frame.text("conversation").unwrap_or_default());
        let seq = frame.number("seq").unwrap_or_default();
        let cursor = frame.cursor().unwrap_or_default();
        if log.fold.is_some() {
            log.fold_event(self.index, cursor);
            return log.fold_message(self.index, Got { conversation, seq, id });
        }
        let message = Message { conversation, seq, id: id.map(|id| log.names.number(id)) };
        let at = log.tick();
        let cursor = cursor.into();
        log.devices[self.index].lines.push(Line { at, what: What::Event { cursor, message: Some(message) } });
    }

    fn write(&self, what: What) {
        let mut log = self.history.log();
        if matches!(what, What::Reset { .. }) {
            log.devices[self.index].marks.reset();
        }
        if log.fold.is_some() {
            return match what {
                What::Began { cursor } => log.fold_began(self.index, &cursor),
                What::Reset { cursor, reason } => log.fold_reset(self.index, &cursor, &reason),
                What::ChannelReset { channel, seq, reason } => {
                    log.fold_channel_reset(self.index, (channel, seq), &reason);
                }
                What::Event { cursor, .. } => log.fold_event(self.index, &cursor),
                What::Publication { .. } => {}
            };
        }
        let at = log.tick();
        log.devices[self.index].lines.push(Line { at, what });
    }
}
