//! Frames to clients (PROTOCOL.md §4) and their JSON form.

use std::sync::Arc;

use proto::wire;
use proto::{ChannelId, Cursor, End, Position, ResetReason, Seq};

use crate::protocol::answer::Answer;
use crate::protocol::event::Event;
use crate::protocol::failure::Failure;
use crate::protocol::json::{Piece, member, put};
use crate::protocol::jump::Jump;
use crate::protocol::parts::{write_presence, write_published, write_sent};
use crate::protocol::publication::Publication;
use crate::protocol::receipt::Receipt;

/// A `ref` as JSON, to be echoed.
pub type Reference = Option<Box<str>>;

/// One frame on its way to a client.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The first of every stream.
    Welcome(Arc<Welcome>),
    /// An event at its place in the reader's inbox.
    Event(Position, Arc<Event>),
    /// Something published to a channel that the session is subscribed to.
    Publication(Arc<Publication>),
    /// What comes next of a channel is not what comes after the last.
    ChannelReset(Box<Jump>),
    /// A message has been taken; with a cursor it stands at that place.
    Sent {
        /// Of the command.
        reference: Reference,
        /// Where it was written.
        conversation: Box<str>,
        /// The router's answer.
        sent: Box<wire::Sent>,
        /// Set when this takes the place of the sender's own copy.
        cursor: Option<Cursor>,
    },
    /// Something has been published; to clients a `sent`, too.
    Published {
        /// Of the command.
        reference: Reference,
        /// The channel that it was published in.
        channel: ChannelId,
        /// The router's answer.
        sent: Box<wire::Sent>,
    },
    /// A command has been done.
    Ok(Reference, Box<Answer>),
    /// A command was refused.
    Error(Reference, Box<Failure>),
    /// The answer to a ping.
    Pong(Reference),
    /// Somebody is typing.
    Typing(Arc<wire::Typing>),
    /// A mark has moved.
    Receipt(Arc<Receipt>),
    /// Somebody has come or gone.
    Presence(Arc<wire::Presence>),
    /// The place that the client had is gone.
    Reset(ResetReason, Cursor),
    /// The session ends; in so many milliseconds one may come back, if at all.
    Goaway(End, Option<u64>),
}

/// What a session begins with.
#[derive(Debug)]
pub struct Welcome {
    /// The user whose session it is.
    pub user: String,
    /// Of which device.
    pub device: String,
    /// The session's id.
    pub session: String,
    /// The gateway that has the session.
    pub node: String,
    /// Where reading starts.
    pub cursor: Cursor,
    /// A cursor was given and accepted.
    pub resumed: bool,
    /// The time between two heartbeats, in ms.
    pub heartbeat_ms: u64,
}

impl Frame {
    /// The `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Event(_, event) => event.kind(),
            Self::Publication(_) => "publication",
            Self::ChannelReset(_) => "channel_reset",
            Self::Sent { .. } | Self::Published { .. } => "sent",
            Self::Ok(..) => "ok",
            Self::Error(..) => "error",
            Self::Pong(_) => "pong",
            Self::Typing(_) => "typing",
            Self::Receipt(_) => "receipt",
            Self::Presence(_) => "presence",
            Self::Reset(..) => "reset",
            Self::Goaway(..) => "goaway",
        }
    }

    /// The place that the client is at once it has this frame.
    pub fn cursor(&self) -> Option<Cursor> {
        match self {
            Self::Welcome(welcome) => Some(welcome.cursor),
            Self::Event(position, event) => Some(event.cursor(*position)),
            Self::Sent { cursor, .. } => *cursor,
            Self::Reset(_, cursor) => Some(*cursor),
            _ => None,
        }
    }

    /// The place in a channel that the client is at once it has this frame.
    pub(crate) fn position_in_channel(&self) -> Option<(&str, Seq)> {
        match self {
            Self::Publication(publication) => Some((publication.channel(), publication.seq())),
            Self::ChannelReset(jump) => Some((jump.channel.as_str(), jump.seq)),
            _ => None,
        }
    }

    /// Bytes that it takes while it waits, nearly. Answers are counted as small:
    /// they are bounded by the commands in flight.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Event(_, event) => event.weight(),
            Self::Publication(publication) => publication.size(),
            _ => 128,
        }
    }

    /// Whether it may be dropped from the queue of a slow reader: the log has
    /// it, or nobody misses it. Answers are not, and neither are marks and
    /// states, which stand for the newest.
    pub fn is_feed(&self) -> bool {
        matches!(self, Self::Event(..) | Self::Typing(_) | Self::Publication(_) | Self::ChannelReset(_))
    }

    /// Whether it answers a command: exactly one such frame a command.
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Sent { .. } | Self::Published { .. } | Self::Ok(..) | Self::Error(..) | Self::Pong(_)
        )
    }

    /// The `ref` of an answer, set or not; nothing for what answers no command.
    pub(crate) fn reference_mut(&mut self) -> Option<&mut Reference> {
        match self {
            Self::Sent { reference, .. } | Self::Published { reference, .. } => Some(reference),
            Self::Ok(reference, _) | Self::Error(reference, _) | Self::Pong(reference) => Some(reference),
            _ => None,
        }
    }

    /// Appends the JSON object.
    pub fn write_json(&self, out: &mut String) {
        self.write(out, self.cursor());
    }

    /// As [`Frame::write_json`], with a cursor that has more in it than the
    /// frame knows.
    pub fn write_json_at(&self, out: &mut String, cursor: Option<&str>) {
        self.write(out, cursor);
    }

    fn write(&self, out: &mut String, cursor: Option<impl Piece>) {
        put!(out, r#"{"type":""#, self.kind(), "\"");
        match self {
            Self::Welcome(welcome) => {
                write_welcome(out, welcome);
                write_cursor(out, cursor);
            }
            Self::Event(_, event) => {
                write_cursor(out, cursor);
                put!(out, ",", event.json());
                return;
            }
            Self::Publication(publication) => {
                write_cursor(out, cursor);
                put!(out, ",", publication.json());
                return;
            }
            Self::ChannelReset(jump) => {
                write_cursor(out, cursor);
                let Jump { channel, seq: Seq(seq), reason } = &**jump;
                put!(out, r#","channel":""#, channel.as_str(), r#"","seq":"#, seq);
                put!(out, r#","reason":""#, reason.as_str(), "\"");
            }
            Self::Sent { reference, conversation, sent, .. } => {
                write_reference(out, reference);
                write_cursor(out, cursor);
                out.push(',');
                write_sent(out, conversation, sent);
            }
            Self::Published { reference, channel, sent } => {
                write_reference(out, reference);
                out.push(',');
                write_published(out, channel.as_str(), sent);
            }
            Self::Ok(reference, answer) => {
                write_reference(out, reference);
                answer.write_members(out);
            }
            Self::Error(reference, failure) => {
                write_reference(out, reference);
                out.push(',');
                failure.write_members(out);
            }
            Self::Pong(reference) => write_reference(out, reference),
            Self::Typing(typing) => {
                put!(out, r#","conversation":""#, typing.conversation, r#"","user":""#, typing.user, "\"");
            }
            Self::Receipt(receipt) => {
                out.push_str(receipt.json());
                return;
            }
            Self::Presence(presence) => {
                out.push(',');
                write_presence(out, presence);
            }
            Self::Reset(reason, _) => {
                put!(out, r#","reason":""#, reason.as_str(), "\"");
                write_cursor(out, cursor);
            }
            Self::Goaway(end, reconnect_in_ms) => {
                put!(out, r#","reason":""#, end.as_str(), "\"");
                if let Some(milliseconds) = reconnect_in_ms {
                    put!(out, r#","reconnect_in_ms":"#, milliseconds);
                }
            }
        }
        out.push('}');
    }

    /// That a channel goes on elsewhere, if it does.
    pub(crate) fn of_jump(jump: Option<Jump>) -> Option<Self> {
        jump.map(|jump| Self::ChannelReset(Box::new(jump)))
    }

    /// The JSON object.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(192);
        self.write_json(&mut out);
        out
    }
}

fn write_cursor(out: &mut String, cursor: Option<impl Piece>) {
    if let Some(cursor) = cursor {
        put!(out, r#","cursor":""#, cursor, "\"");
    }
}

fn write_reference(out: &mut String, reference: &Reference) {
    if let Some(json) = reference {
        put!(out, r#","ref":"#, &**json);
    }
}

fn write_welcome(out: &mut String, welcome: &Welcome) {
    for (name, text) in [
        ("user", &welcome.user),
        ("device", &welcome.device),
        ("session", &welcome.session),
        ("node", &welcome.node),
    ] {
        member(out, name, text);
    }
    put!(out, r#","resumed":"#, welcome.resumed, r#","heartbeat_ms":"#, welcome.heartbeat_ms);
    put!(out, r#","max_body_bytes":"#, proto::limits::MAX_BODY_BYTES as u64);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proto::Fingerprint;
    use proto::wire::{Entry, Message, entry::What};

    use super::*;

    fn message(client_msg_id: &str) -> Event {
        let what = What::Message(Message {
            body: Bytes::from_static(br#"{"text":"hi"}"#),
            client_msg_id: client_msg_id.into(),
        });
        let entry = Entry { fingerprint: 40, time: 7, by: "alice".into(), what: Some(what) };
        Event::new("alice~bob".into(), Seq(3), entry)
    }

    #[test]
    fn a_message_has_the_fields_of_the_protocol() {
        let frame = Frame::Event(Position(8), Arc::new(message(r#"a"\b"#)));
        assert_eq!(
            frame.to_json(),
            r#"{"type":"message","cursor":"8.14","conversation":"alice~bob","seq":3,"from":"alice","time":7,"body":{"text":"hi"},"client_msg_id":"a\"\\b"}"#
        );
        let cursor = Cursor { position: Position(8), fingerprint: Fingerprint(40) };
        assert_eq!(frame.cursor(), Some(cursor));
    }

    #[test]
    fn sent_says_duplicate_and_cursor_only_when_they_are_so() {
        let frame = |duplicate, cursor| Frame::Sent {
            reference: Some("\"r\"".into()),
            conversation: "a~b".into(),
            sent: Box::new(wire::Sent { seq: 1, time: 2, duplicate, ..Default::default() }),
            cursor,
        };
        assert_eq!(
            frame(true, None).to_json(),
            r#"{"type":"sent","ref":"r","conversation":"a~b","seq":1,"time":2,"duplicate":true}"#
        );
        assert_eq!(
            frame(false, Some(Cursor::ORIGIN)).to_json(),
            r#"{"type":"sent","ref":"r","cursor":"0.0","conversation":"a~b","seq":1,"time":2}"#
        );
    }

    #[test]
    fn what_was_published_is_sent_to_its_channel() {
        let frame = Frame::Published {
            reference: Some("4".into()),
            channel: ChannelId::parse("c_news").unwrap(),
            sent: Box::new(wire::Sent { seq: 1, time: 2, duplicate: true, ..Default::default() }),
        };
        assert_eq!(
            frame.to_json(),
            r#"{"type":"sent","ref":4,"channel":"c_news","seq":1,"time":2,"duplicate":true}"#
        );
        assert!(frame.is_answer() && frame.cursor().is_none());
    }

    #[test]
    fn a_jump_in_a_channel_says_where_it_goes_on_and_why() {
        let channel = ChannelId::parse("c_news").unwrap();
        let frame =
            Frame::ChannelReset(Box::new(Jump { channel, seq: Seq(41), reason: ResetReason::Trimmed }));
        let members = r#""channel":"c_news","seq":41,"reason":"trimmed"}"#;
        assert_eq!(frame.to_json(), format!(r#"{{"type":"channel_reset",{members}"#));
        let mut with_a_cursor = String::new();
        frame.write_json_at(&mut with_a_cursor, Some("1.2.3.4"));
        assert_eq!(with_a_cursor, format!(r#"{{"type":"channel_reset","cursor":"1.2.3.4",{members}"#));
        assert!(frame.cursor().is_none() && !frame.is_answer());
    }

    #[test]
    fn only_those_who_are_gone_were_last_seen() {
        let presence = |online, last_seen| {
            Frame::Presence(Arc::new(wire::Presence { user: "bob".into(), online, last_seen })).to_json()
        };
        assert_eq!(presence(true, 7), r#"{"type":"presence","user":"bob","online":true}"#);
        assert_eq!(presence(false, 7), r#"{"type":"presence","user":"bob","online":false,"last_seen":7}"#);
        assert_eq!(presence(false, 0), r#"{"type":"presence","user":"bob","online":false}"#);
    }

    #[test]
    fn every_frame_is_valid_json() {
        let frames = [
            Frame::Error(None, Box::new(Failure::rate_limited("a \"quoted\"\nline", 20))),
            Frame::Pong(Some("7".into())),
            Frame::Reset(ResetReason::Trimmed, Cursor::ORIGIN),
            Frame::Goaway(End::Shutdown, Some(150)),
            Frame::Goaway(End::Kicked, None),
            Frame::Ok(None, Box::new(Answer::Done)),
            Frame::Receipt(Arc::new(wire::Receipt::default().into())),
        ];
        for frame in frames {
            let value: serde_json::Value = serde_json::from_str(&frame.to_json()).unwrap();
            assert_eq!(value["type"], frame.kind());
        }
    }
}
