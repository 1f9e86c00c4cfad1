//! Commands on their way to a router and their answers on the way back: for
//! HTTP, where one waits for the answer, and for sessions, where it joins the
//! frames. What only the gateway knows of a command is decided here.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use daemon::trace::{self, KeyValue, Span};
use proto::wire::{self, reply, request};
use proto::{ChannelId, ConversationId, DeviceId, ErrorCode, Seq, UserId};

use crate::caller::typing::TypingPass;
use crate::channels;
use crate::gateway::Gateway;
use crate::link::Outcome;
use crate::link::many;
use crate::protocol::answer::{Answer, Destination};
use crate::protocol::command::{Command, Recipient};
use crate::protocol::event::Event;
use crate::protocol::failure::Failure;
use crate::protocol::frame::{Frame, Reference};
use crate::protocol::scopes::Scopes;
use crate::session::presence;
use crate::session::{CatchUp, Session};

/// Does a command for `user` and waits for its answer. The caller has seen that
/// the `scopes` permit it.
pub async fn execute(
    gateway: &Gateway,
    user: &UserId,
    device: &DeviceId,
    scopes: Scopes,
    command: Command,
) -> Result<Answer, Failure> {
    let command = match command {
        Command::SendToMany { to, body, client_msg_id } => {
            return Ok(many::send(gateway, user, to, body, client_msg_id).await);
        }
        command => command,
    };
    let kind = command.kind();
    let typing = match typing(gateway, "", user, &command) {
        Typing::Dropped => {
            gateway.metrics.command(kind, None);
            return Ok(Answer::Done);
        }
        Typing::Passes(pass) => pass,
    };
    // A kick is about another user than the one who asks for it.
    let kicked = match &command {
        Command::Kick { user, .. } => Some(user.clone()),
        _ => None,
    };
    let user = kicked.as_ref().unwrap_or(user);
    let result = match prepare(user, device, None, scopes, command) {
        Ok(Prepared { command, destination, hidden_id, .. }) => {
            let result = gateway.routers.call(user, command).await;
            result.and_then(|reply| Answer::from_reply(unhide(reply, hidden_id), destination))
        }
        Err(failure) => Err(failure),
    };
    if let (Err(_), Some(pass)) = (&result, typing) {
        gateway.typing.forget(pass);
    }
    gateway.metrics.command(kind, result.as_ref().err().map(|failure| failure.code));
    result
}

/// Begins a command of a session; the answer joins its frames. `user` is
/// another one than the session's when a backend acts for somebody.
///
/// The caller has counted the command with [`Session::command_begins`]; an
/// error is the caller's to answer.
pub fn begin(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    user: &UserId,
    scopes: Scopes,
    command: Command,
    reference: Reference,
) -> Result<(), Failure> {
    let command = match command {
        Command::Subscribe { channel, after } => {
            return channels::subscribe(gateway, session, channel, after, reference);
        }
        Command::Unsubscribe(channel) => {
            channels::unsubscribe(gateway, session, &channel, reference);
            return Ok(());
        }
        Command::SendToMany { to, body, client_msg_id } => {
            let (gateway, session, user) = (gateway.clone(), session.clone(), user.clone());
            gateway.tracker.clone().spawn(async move {
                let answer = many::send(&gateway, &user, to, body, client_msg_id).await;
                session.answer(Frame::Ok(reference, Box::new(answer)));
            });
            return Ok(());
        }
        command => command,
    };
    if let Command::Presence { users, watch: true } = command {
        return presence::watch(gateway, session, users, reference);
    }
    let kind = command.kind();
    let span = span_of(kind);
    let _entered = span.enter();
    let typing = match typing(gateway, session.id.as_str(), user, &command) {
        Typing::Dropped => {
            gateway.metrics.command(kind, None);
            session.answer(Frame::Ok(reference, Box::new(Answer::Done)));
            return Ok(());
        }
        Typing::Passes(pass) => pass,
    };
    let own = *user == session.user;
    let prepared = prepare(user, &session.device, own.then_some(&**session), scopes, command);
    let Prepared { command, destination, message, hidden_id } = prepared.inspect_err(|failure| {
        gateway.metrics.command(kind, Some(failure.code));
    })?;
    let (to, session) = (gateway.clone(), session.clone());
    let own_message = message.filter(|_| own);
    let completion = move |outcome: Outcome| {
        let repeated = outcome.repeated;
        let answer =
            outcome.result.and_then(|reply| Answer::from_reply(unhide(reply, hidden_id), destination));
        to.metrics.command(kind, answer.as_ref().err().map(|failure| failure.code));
        if span.is_some() {
            say_outcome(&span, &answer);
        }
        if let (Err(_), Some(pass)) = (&answer, typing) {
            to.typing.forget(pass);
        }
        // An earlier try may have filed the message without this session being
        // told: then it is a hole that only the log can fill.
        let uncertain = match &answer {
            Ok(Answer::Sent(_, sent)) => sent.position == 0 && repeated,
            Err(failure) => failure.code == ErrorCode::Unavailable,
            Ok(_) => false,
        };
        match (answer, own_message) {
            (Ok(Answer::Sent(conversation, sent)), Some(message)) => {
                let event = Event::own(&conversation, &sent, session.user.as_str(), message);
                if let Some(mark) = event.mark() {
                    to.newest.admits(&mark);
                }
                let offered = session.offer_own(reference, conversation.as_str(), sent, event, to.store());
                to.hub.settle(&session, offered);
                if uncertain {
                    session.catch_up(CatchUp::Hole);
                }
            }
            (Ok(Answer::Sent(conversation, sent)), None) => session.answer(Frame::Sent {
                reference,
                conversation: conversation.as_str().into(),
                sent: Box::new(sent),
                cursor: None,
            }),
            (Ok(Answer::Published(channel, sent)), _) => {
                session.answer(Frame::Published { reference, channel, sent: Box::new(sent) });
            }
            (Ok(answer), _) if kind == "ack" => {
                if session.answer_late(Frame::Ok(reference, Box::new(answer))) {
                    to.hub.hurry_later(session);
                }
            }
            (Ok(answer), _) => session.answer(Frame::Ok(reference, Box::new(answer))),
            (Err(failure), message) => {
                session.answer(Frame::Error(reference, Box::new(failure)));
                if uncertain && message.is_some() {
                    session.catch_up(CatchUp::Hole);
                }
            }
        }
    };
    gateway.routers.submit(user, command, Box::new(completion));
    Ok(())
}

/// A frame with a command begins a trace, if this one is wanted.
fn span_of(kind: &'static str) -> Span {
    Span::begin(kind, trace::Kind::Server, || {
        vec![
            KeyValue::new("network.protocol.name", "websocket"),
            KeyValue::new("messaging.system", "switchboard"),
            KeyValue::new("messaging.operation.name", kind),
            KeyValue::new("switchboard.command", kind),
        ]
    })
}

fn say_outcome(span: &Span, answer: &Result<Answer, Failure>) {
    match answer {
        Ok(Answer::Sent(conversation, sent)) => {
            span.set("messaging.destination.name", conversation.to_string());
            span.set("messaging.message.id", sent.seq.to_string());
        }
        Ok(_) => {}
        Err(failure) => span.failed(failure.code.as_str()),
    }
}

/// Whether a command is passed on, as far as `typing` is concerned.
enum Typing {
    /// It is; and with what, if it is `typing`.
    Passes(Option<TypingPass>),
    /// Too soon after the last: done, as far as the client can tell.
    Dropped,
}

fn typing(gateway: &Gateway, session: &str, user: &UserId, command: &Command) -> Typing {
    let Command::Typing(conversation) = command else { return Typing::Passes(None) };
    let pass = gateway.typing.admit(session, user, conversation, Instant::now());
    pass.map_or(Typing::Dropped, |pass| Typing::Passes(Some(pass)))
}

/// A command as routers take it.
struct Prepared {
    command: request::Command,
    /// Where it writes something that gets a number.
    destination: Option<Destination>,
    /// What others will see of a message.
    message: Option<wire::Message>,
    /// The message's id is the gateway's own.
    hidden_id: bool,
}

impl From<request::Command> for Prepared {
    fn from(command: request::Command) -> Self {
        Self { command, destination: None, message: None, hidden_id: false }
    }
}

fn prepare(
    user: &UserId,
    device: &DeviceId,
    session: Option<&Session>,
    scopes: Scopes,
    command: Command,
) -> Result<Prepared, Failure> {
    use request::Command as Wire;
    let id = |conversation: ConversationId| conversation.to_string();
    let command = match command {
        Command::Send { to, body, client_msg_id } => {
            let conversation = match to {
                Recipient::User(peer) => ConversationId::direct(user, &peer),
                Recipient::Conversation(conversation) => conversation,
            };
            return Ok(send(session, conversation, body, client_msg_id.map(String::from)));
        }
        Command::Ack(cursor) => {
            Wire::Ack(wire::Ack { device: device.to_string(), cursor: Some(cursor.into()) })
        }
        Command::Read(conversation, Seq(seq)) => {
            Wire::Read(wire::Read { conversation: id(conversation), seq })
        }
        Command::Typing(conversation) => Wire::Typing(wire::SayTyping { conversation: id(conversation) }),
        Command::History { conversation, before, after, limit } => Wire::History(wire::History {
            conversation: id(conversation),
            before: before.map(|seq| seq.0),
            after: after.map(|seq| seq.0),
            limit,
        }),
        Command::Conversations { limit, page } => {
            Wire::Conversations(wire::Conversations { limit, page: page.unwrap_or_default() })
        }
        Command::CreateGroup { name, members } => Wire::CreateGroup(wire::CreateGroup {
            name,
            members: members.into_iter().map(String::from).collect(),
            conversation: id(ConversationId::new_group(now_ms())),
            service: scopes.service,
        }),
        Command::Members(conversation) => Wire::Members(wire::Members { conversation: id(conversation) }),
        Command::AddMembers(conversation, members) => Wire::AddMembers(wire::AddMembers {
            conversation: id(conversation),
            members: members.into_iter().map(String::from).collect(),
            service: scopes.service,
        }),
        Command::RemoveMember(conversation, user) => {
            Wire::RemoveMember(wire::RemoveMember { conversation: id(conversation), user: user.to_string() })
        }
        Command::Rename(conversation, name) => {
            Wire::Rename(wire::Rename { conversation: id(conversation), name })
        }
        Command::Edit(conversation, seq, body) => {
            Wire::Edit(wire::Edit { conversation: id(conversation), seq: seq.0, body, key: random_key() })
        }
        Command::Recall(conversation, seq) => {
            Wire::Recall(wire::Recall { conversation: id(conversation), seq: seq.0 })
        }
        Command::React { conversation, seq, emoji, on } => {
            Wire::React(wire::React { conversation: id(conversation), seq: seq.0, emoji, on })
        }
        Command::Presence { users, watch: false } => Wire::Presence(wire::AskPresence {
            users: users.into_iter().map(String::from).collect(),
            node: String::new(),
        }),
        Command::Publish { channel, body, client_msg_id } => {
            return Ok(publish(channel, body, client_msg_id.map(String::from)));
        }
        Command::Kick { user: _, device } => {
            Wire::Kick(wire::Kick { device: device.map(String::from).unwrap_or_default() })
        }
        Command::Presence { watch: true, .. } => {
            return Err(Failure::bad_request("`watch` is for two-way transports"));
        }
        Command::Subscribe { .. } | Command::Unsubscribe(_) => {
            return Err(Failure::bad_request(
                "`subscribe` and `unsubscribe` are for two-way transports; others take `channels` in the query",
            ));
        }
        Command::SendToMany { .. } => return Err(Failure::internal("a send to many is done one by one")),
        Command::Auth(_) | Command::Ping => {
            return Err(Failure::bad_request("`auth` and `ping` are for two-way transports"));
        }
    };
    Ok(command.into())
}

/// Every message has an id that repeats are known by, so that the gateway may
/// try again on another router; the client's, or one that nobody sees.
fn send(
    session: Option<&Session>,
    conversation: ConversationId,
    body: Bytes,
    client_msg_id: Option<String>,
) -> Prepared {
    let hidden_id = client_msg_id.is_none();
    let shown = client_msg_id.clone().unwrap_or_default();
    let command = request::Command::Send(wire::Send {
        conversation: conversation.to_string(),
        body: body.clone(),
        client_msg_id: client_msg_id.unwrap_or_else(random_key),
        hidden_id,
        session: session.map(|session| session.id.to_string()).unwrap_or_default(),
    });
    let message = wire::Message { body, client_msg_id: shown };
    let destination = Some(Destination::Conversation(conversation));
    Prepared { command, destination, message: Some(message), hidden_id }
}

/// The same for what is published.
fn publish(channel: ChannelId, body: Bytes, client_msg_id: Option<String>) -> Prepared {
    let hidden_id = client_msg_id.is_none();
    let command = request::Command::Publish(wire::Publish {
        channel: channel.to_string(),
        body,
        client_msg_id: client_msg_id.unwrap_or_else(random_key),
        hidden_id,
    });
    Prepared { command, destination: Some(Destination::Channel(channel)), message: None, hidden_id }
}

/// What repeats are known by where the client gave nothing.
pub(crate) fn random_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A repeat that only the gateway made is none to the client.
fn unhide(mut reply: reply::Result, hidden_id: bool) -> reply::Result {
    if let reply::Result::Sent(sent) = &mut reply
        && hidden_id
    {
        sent.duplicate = false;
    }
    reply
}

/// The present, in Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
