//! One event as this node passes it on: decoded once, encoded once per wire
//! form, shared by all its sessions.

use std::sync::{Arc, OnceLock};

use daemon::trace::{self, KeyValue, Span};
use prost::Message as _;
use proto::wire::{self, Edited, Reaction, Recalled, client, entry::What};
use proto::{ConversationId, Cursor, Fingerprint, Position, Seq};

use crate::protocol::binary::entry_frame;
use crate::protocol::json::{escape, member, put};
use crate::protocol::mark::Mark;
use crate::protocol::parts::change_word;
use crate::protocol::receipt::Receipt;

/// An entry at its place in a conversation. Where it is in whose inbox is said
/// beside it: that differs from reader to reader.
#[derive(Debug)]
pub struct Event {
    conversation: String,
    seq: Seq,
    entry: wire::Entry,
    /// Bytes of both.
    weight: usize,
    /// What follows the cursor in the JSON frame, up to the closing brace.
    json: OnceLock<Box<str>>,
    /// The protobuf frame without a cursor.
    protobuf: OnceLock<Box<[u8]>>,
    /// What goes before a message.
    receipt: OnceLock<Arc<Receipt>>,
    /// It is handed out as it happens, not read by somebody who was away.
    live: bool,
    /// From hearing of it until the last session of this node has handed it
    /// over, if it is traced.
    span: Span,
}

impl Event {
    /// As it came from the bus or from a router.
    pub fn new(conversation: String, seq: Seq, entry: wire::Entry) -> Self {
        let (json, protobuf, receipt) = Default::default();
        let weight = conversation.len() + entry.encoded_len();
        Self { conversation, seq, entry, weight, json, protobuf, receipt, live: true, span: Span::NONE }
    }

    /// Bytes that it takes, about.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// As it is read from the log: live for whoever only missed hearing of it.
    pub(crate) fn read(event: wire::Event, live: bool) -> Self {
        Self { live, ..Self::from(event) }
    }

    /// Goes on with its trace: a part of what its sender has begun, and linked
    /// to it, since it goes out to many.
    pub(crate) fn follow(&mut self, place: trace::SpanContext) {
        self.span = Span::of(place.clone(), "deliver", trace::Kind::Consumer, vec![place], || {
            vec![
                KeyValue::new("messaging.system", "switchboard"),
                KeyValue::new("messaging.operation.name", "deliver"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.destination.name", self.conversation.clone()),
                KeyValue::new("messaging.message.id", self.seq.0.to_string()),
                KeyValue::new("switchboard.type", self.kind()),
            ]
        });
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// When it was written, in Unix milliseconds, if it is live.
    pub(crate) fn live_since(&self) -> Option<u64> {
        self.live.then_some(self.entry.time)
    }

    /// The one that a session sent itself, as all others will see it.
    pub fn own(conversation: &ConversationId, sent: &wire::Sent, by: &str, message: wire::Message) -> Self {
        let entry = wire::Entry {
            fingerprint: sent.fingerprint,
            time: sent.time,
            by: by.to_owned(),
            what: Some(What::Message(message)),
        };
        Self::new(conversation.as_str().to_owned(), Seq(sent.seq), entry)
    }

    /// The cursor of this event at its place in an inbox.
    pub fn cursor(&self, position: Position) -> Cursor {
        Cursor { position, fingerprint: Fingerprint(self.entry.fingerprint) }
    }

    /// What a message says of whoever wrote it.
    pub(crate) fn mark(&self) -> Option<Mark<'_>> {
        Mark::of_message(&self.conversation, self.seq.0, &self.entry)
    }

    /// The same as it is told.
    pub(crate) fn receipt(&self) -> Option<&Arc<Receipt>> {
        let mark = self.mark()?;
        Some(self.receipt.get_or_init(|| Arc::new(mark.receipt().into())))
    }

    /// What stood there in the log cannot be read, or is of a kind that this release
    /// does not know: there is nothing to show.
    pub(crate) fn is_nothing(&self) -> bool {
        self.entry.what.is_none()
    }

    /// The latter: somebody wrote it.
    pub(crate) fn is_of_a_later_release(&self) -> bool {
        self.is_nothing() && !self.entry.by.is_empty()
    }

    /// Where it is.
    pub(crate) fn conversation(&self) -> &str {
        &self.conversation
    }

    /// The frame's `type`.
    pub fn kind(&self) -> &'static str {
        match self.entry.what {
            Some(What::Change(_)) => "conversation",
            Some(What::Edited(_)) => "edited",
            Some(What::Recalled(_)) => "recalled",
            Some(What::Reaction(_)) => "reaction",
            Some(What::Message(_)) | None => "message",
        }
    }

    /// The frame's members after `type` and `cursor`, with the closing brace.
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let mut out = String::with_capacity(self.weight + 96);
            write_logged(&mut out, &self.conversation, self.seq.0, &self.entry);
            out.push('}');
            out.into_boxed_str()
        })
    }

    /// The protobuf frame, to be followed or preceded by a cursor.
    pub fn protobuf(&self) -> &[u8] {
        self.protobuf.get_or_init(|| {
            let frame = client::Frame { frame: Some(self.message()), ..Default::default() };
            frame.encode_to_vec().into_boxed_slice()
        })
    }

    /// As a protobuf message.
    pub fn message(&self) -> client::frame::Frame {
        entry_frame(&self.conversation, self.seq.0, &self.entry)
    }
}

impl From<wire::Event> for Event {
    fn from(event: wire::Event) -> Self {
        Self::new(event.conversation, Seq(event.seq), event.entry.unwrap_or_default())
    }
}

/// The members of a `message` or `conversation` frame, without `type` and
/// `cursor`: what `history` shows, too.
pub fn write_logged(out: &mut String, conversation: &str, seq: u64, entry: &wire::Entry) {
    let by = &entry.by;
    let time = entry.time;
    match &entry.what {
        Some(What::Change(change)) => {
            let word = change_word(change.kind());
            put!(out, r#""conversation":""#, conversation, r#"","change":""#, word);
            put!(out, r#"","by":""#, by, r#"","time":"#, time);
            if !change.name.is_empty() {
                member(out, "name", &change.name);
            }
            if !change.members.is_empty() {
                out.push_str(r#","members":"#);
                list(out, &change.members);
            }
            if !change.user.is_empty() {
                member(out, "user", &change.user);
            }
            if !change.role.is_empty() {
                member(out, "role", &change.role);
            }
        }
        Some(What::Message(message)) => {
            write_message(out, (conversation, seq), entry, message, true);
        }
        Some(What::Edited(Edited { seq, body })) => {
            put!(
                out,
                r#""conversation":""#,
                conversation,
                r#"","seq":"#,
                seq,
                r#","body":"#,
                body_text(body)
            );
            put!(out, r#","time":"#, time, r#","by":""#, by, "\"");
        }
        Some(What::Recalled(Recalled { seq })) => {
            put!(out, r#""conversation":""#, conversation, r#"","seq":"#, seq);
            put!(out, r#","time":"#, time, r#","by":""#, by, "\"");
        }
        Some(What::Reaction(Reaction { seq, emoji, on })) => {
            put!(out, r#""conversation":""#, conversation, r#"","seq":"#, seq, r#","user":""#, by, "\"");
            member(out, "emoji", emoji);
            put!(out, r#","on":"#, on, r#","time":"#, time);
        }
        None => write_head(out, (conversation, seq), entry),
    }
}

/// A message in its present state, as `history` shows it: with `edited`,
/// `recalled` (and then no body) and `reactions` where there are any.
pub fn write_present(out: &mut String, event: &wire::Event) {
    let Some(entry) = &event.entry else { return };
    let (Some(state), Some(What::Message(message))) = (&event.state, &entry.what) else {
        return write_logged(out, &event.conversation, event.seq, entry);
    };
    let recalled = state.recalled > 0;
    write_message(out, (&event.conversation, event.seq), entry, message, !recalled);
    if recalled {
        put!(out, r#","recalled":"#, state.recalled);
    } else if state.edited > 0 {
        put!(out, r#","edited":"#, state.edited);
    }
    for (index, reactions) in state.reactions.iter().enumerate() {
        out.push_str(if index == 0 { r#","reactions":{"# } else { "," });
        escape(out, &reactions.emoji);
        out.push(':');
        list(out, &reactions.users);
    }
    if !state.reactions.is_empty() {
        out.push('}');
    }
}

/// What was published, without `type`.
pub fn write_publication(out: &mut String, publication: &wire::Publication) {
    let entry = publication.entry.as_ref();
    let (by, time) = entry.map_or(("", 0), |entry| (entry.by.as_str(), entry.time));
    put!(out, r#""channel":""#, publication.channel, r#"","seq":"#, publication.seq);
    put!(out, r#","from":""#, by, r#"","time":"#, time, r#","body":"#);
    out.push_str(match entry.and_then(|entry| entry.what.as_ref()) {
        Some(What::Message(message)) => body_text(&message.body),
        _ => "null",
    });
}

fn write_message(
    out: &mut String,
    (conversation, seq): (&str, u64),
    entry: &wire::Entry,
    message: &wire::Message,
    with_body: bool,
) {
    write_head(out, (conversation, seq), entry);
    if with_body {
        put!(out, r#","body":"#, body_text(&message.body));
    }
    if !message.client_msg_id.is_empty() {
        member(out, "client_msg_id", &message.client_msg_id);
    }
}

fn write_head(out: &mut String, (conversation, seq): (&str, u64), entry: &wire::Entry) {
    put!(out, r#""conversation":""#, conversation, r#"","seq":"#, seq);
    put!(out, r#","from":""#, entry.by, r#"","time":"#, entry.time);
}

/// Bodies are checked to be JSON, and so UTF-8, where they come in.
fn body_text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap_or("null")
}

fn list(out: &mut String, texts: &[String]) {
    out.push('[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        escape(out, text);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use proto::wire::{Entry, Message, Reactions, State};

    use super::*;

    fn entry(what: What) -> Entry {
        Entry { fingerprint: 40, time: 7, by: "alice".into(), what: Some(what) }
    }

    fn message(state: Option<State>) -> wire::Event {
        let message = Message { body: "\"hi\"".into(), client_msg_id: "m1".into() };
        wire::Event { conversation: "a~b".into(), seq: 3, entry: Some(entry(What::Message(message))), state }
    }

    fn present(state: Option<State>) -> String {
        let mut out = String::new();
        write_present(&mut out, &message(state));
        out
    }

    const START: &str = r#""conversation":"a~b","seq":3,"from":"alice","time":7"#;

    #[test]
    fn amendments_are_events_about_a_message() {
        let json = |what| Event::new("a~b".into(), Seq(0), entry(what)).json().to_owned();
        assert_eq!(
            json(What::Edited(Edited { seq: 3, body: "[1]".into() })),
            r#""conversation":"a~b","seq":3,"body":[1],"time":7,"by":"alice"}"#
        );
        assert_eq!(
            json(What::Recalled(Recalled { seq: 3 })),
            r#""conversation":"a~b","seq":3,"time":7,"by":"alice"}"#
        );
        assert_eq!(
            json(What::Reaction(Reaction { seq: 3, emoji: "\"".into(), on: false })),
            r#""conversation":"a~b","seq":3,"user":"alice","emoji":"\"","on":false,"time":7}"#
        );
    }

    #[test]
    fn a_message_that_nobody_has_changed_is_shown_as_it_was_sent() {
        let expected = format!(r#"{START},"body":"hi","client_msg_id":"m1""#);
        assert_eq!(present(None), expected);
        assert_eq!(present(Some(State::default())), expected);
    }

    #[test]
    fn an_edited_message_says_when_and_who_has_reacted() {
        let reactions = |emoji: &str, users: &[&str]| Reactions {
            emoji: emoji.into(),
            users: users.iter().map(|user| (*user).to_owned()).collect(),
        };
        let state = State {
            edited: 9,
            recalled: 0,
            reactions: vec![reactions("👍", &["bob", "carol"]), reactions("\"", &["bob"])],
        };
        assert_eq!(
            present(Some(state)),
            format!(
                r#"{START},"body":"hi","client_msg_id":"m1","edited":9,"reactions":{{"👍":["bob","carol"],"\"":["bob"]}}"#
            )
        );
    }

    #[test]
    fn a_recalled_message_has_no_body() {
        let state = State { edited: 9, recalled: 11, reactions: Vec::new() };
        assert_eq!(present(Some(state)), format!(r#"{START},"client_msg_id":"m1","recalled":11"#));
    }

    #[test]
    fn what_is_published_has_its_channel_and_number() {
        let what = What::Message(Message { body: "{}".into(), client_msg_id: "m".into() });
        let publication = wire::Publication { channel: "c_news".into(), seq: 4, entry: Some(entry(what)) };
        let mut out = String::new();
        write_publication(&mut out, &publication);
        assert_eq!(out, r#""channel":"c_news","seq":4,"from":"alice","time":7,"body":{}"#);
    }
}
