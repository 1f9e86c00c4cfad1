//! Answers to commands: the members of an `ok` frame, or the body of an HTTP
//! response.

use std::fmt::Write as _;
use std::sync::Arc;

use proto::wire::{self, reply};
use proto::{ChannelId, ConversationId, Cursor, Fingerprint, Position, Seq};

use crate::protocol::event::write_present;
use crate::protocol::failure::Failure;
use crate::protocol::json::{escape, member};
use crate::protocol::parts::{write_presence, write_published, write_sent};
use crate::protocol::publication::Publication;

/// The successful answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Success, without a result.
    Done,
    /// A message was sent.
    Sent(ConversationId, wire::Sent),
    /// A message was sent to many users: the result for each, in the order
    /// given.
    Results(Vec<Result<(ConversationId, wire::Sent), Failure>>),
    /// A publication.
    Published(ChannelId, wire::Sent),
    /// A new group's id.
    Created(String),
    /// Messages.
    History(wire::HistoryPage),
    /// The user's conversations.
    Conversations(wire::ConversationsPage),
    /// The members of a conversation.
    Members(wire::MemberList),
    /// The presence of users, in the order asked for.
    Presence(Vec<wire::Presence>),
    /// A new subscription.
    Subscribed {
        /// The channel's newest seq.
        seq: Seq,
        /// The publications after the seq that was given.
        publications: Vec<Arc<Publication>>,
    },
}

/// What a command writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A message.
    Conversation(ConversationId),
    /// A publication.
    Channel(ChannelId),
}

impl Answer {
    /// Converts a router's reply to a command; `destination` is what the
    /// command wrote to.
    pub fn from_reply(result: reply::Result, destination: Option<Destination>) -> Result<Self, Failure> {
        Ok(match (result, destination) {
            (reply::Result::Failure(failure), _) => return Err(failure.into()),
            (reply::Result::Done(_), _) => Self::Done,
            (reply::Result::Sent(sent), Some(Destination::Conversation(conversation))) => {
                Self::Sent(conversation, sent)
            }
            (reply::Result::Sent(sent), Some(Destination::Channel(channel))) => {
                Self::Published(channel, sent)
            }
            (reply::Result::Created(created), _) => Self::Created(created.conversation),
            (reply::Result::History(page), _) => Self::History(page),
            (reply::Result::Conversations(page), _) => Self::Conversations(page),
            (reply::Result::Members(list), _) => Self::Members(list),
            (reply::Result::Presences(list), _) => Self::Presence(list.presences),
            _ => return Err(Failure::internal("the router gave an answer of the wrong kind")),
        })
    }

    /// `,"name":value` for each member of the result.
    pub fn write_members(&self, out: &mut String) {
        match self {
            Self::Done => {}
            Self::Sent(conversation, sent) => {
                out.push(',');
                write_sent(out, conversation.as_str(), sent);
            }
            Self::Published(channel, sent) => {
                out.push(',');
                write_published(out, channel.as_str(), sent);
            }
            Self::Results(results) => {
                out.push_str(r#","results":"#);
                write_list(out, results, write_result);
            }
            Self::Created(conversation) => member(out, "conversation", conversation),
            Self::History(page) => write_history(out, page),
            Self::Conversations(page) => write_conversations(out, page),
            Self::Members(list) => write_members(out, list),
            Self::Subscribed { seq, publications } => {
                let _ = write!(out, r#","seq":{},"publications":"#, seq.0);
                write_list(out, publications, |out, publication| {
                    out.push('{');
                    out.push_str(publication.json());
                });
            }
            Self::Presence(list) => {
                out.push_str(r#","presence":"#);
                write_list(out, list, |out, one| {
                    out.push('{');
                    write_presence(out, one);
                    out.push('}');
                });
            }
        }
    }

    /// The body of an HTTP response.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{");
        self.write_members(&mut out);
        out.push('}');
        // The members begin with a comma, for frames that have more before.
        if out.starts_with("{,") {
            out.remove(1);
        }
        out
    }
}

/// The cursor of a message in the sender's own inbox, if the answer has it.
pub fn place(sent: &wire::Sent) -> Option<Cursor> {
    (sent.position > 0)
        .then_some(Cursor { position: Position(sent.position), fingerprint: Fingerprint(sent.fingerprint) })
}

fn write_event(out: &mut String, event: &wire::Event) {
    out.push('{');
    write_present(out, event);
    out.push('}');
}

/// Writes `items` between brackets.
fn write_list<T>(out: &mut String, items: &[T], write: fn(&mut String, &T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn write_result(out: &mut String, result: &Result<(ConversationId, wire::Sent), Failure>) {
    match result {
        Ok((conversation, sent)) => {
            out.push_str(r#"{"type":"sent","#);
            write_sent(out, conversation.as_str(), sent);
        }
        Err(failure) => {
            out.push_str(r#"{"type":"error","#);
            failure.write_members(out);
        }
    }
    out.push('}');
}

fn write_history(out: &mut String, page: &wire::HistoryPage) {
    out.push_str(r#","messages":"#);
    write_list(out, &page.messages, write_event);
    let _ = write!(out, r#","more":{}"#, page.more);
}

fn write_conversations(out: &mut String, page: &wire::ConversationsPage) {
    out.push_str(r#","conversations":"#);
    write_list(out, &page.conversations, write_summary);
    if !page.page.is_empty() {
        member(out, "page", &page.page);
    }
}

fn write_summary(out: &mut String, summary: &wire::Summary) {
    let direct = summary.conversation.contains('~');
    let kind = if direct { "direct" } else { "group" };
    let _ = write!(out, r#"{{"conversation":"{}","kind":"{kind}""#, summary.conversation);
    if !direct {
        member(out, "name", &summary.name);
    }
    let _ = write!(
        out,
        r#","head_seq":{},"read_seq":{},"unread":{}"#,
        summary.head_seq, summary.read_seq, summary.unread
    );
    if let Some(event) = &summary.last_message {
        out.push_str(r#","last_message":"#);
        write_event(out, event);
    }
    if direct {
        let _ = write!(
            out,
            r#","peer_delivered_seq":{},"peer_read_seq":{}"#,
            summary.peer_delivered_seq, summary.peer_read_seq
        );
    }
    out.push('}');
}

fn write_members(out: &mut String, list: &wire::MemberList) {
    if !list.owner.is_empty() {
        member(out, "owner", &list.owner);
    }
    out.push_str(r#","members":"#);
    write_list(out, &list.members, |out, one| {
        out.push_str(r#"{"user":"#);
        escape(out, &one.user);
        let _ = write!(
            out,
            r#","since":{},"delivered_seq":{},"read_seq":{}"#,
            one.since, one.delivered_seq, one.read_seq
        );
        if !one.role.is_empty() {
            member(out, "role", &one.role);
        }
        out.push('}');
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_an_empty_object_and_others_begin_without_a_comma() {
        assert_eq!(Answer::Done.to_json(), "{}");
        assert_eq!(Answer::Created("g_1".into()).to_json(), r#"{"conversation":"g_1"}"#);
        let page = wire::HistoryPage { messages: vec![wire::Event::default()], more: false };
        assert_eq!(Answer::History(page).to_json(), r#"{"messages":[{}],"more":false}"#);
    }
}
