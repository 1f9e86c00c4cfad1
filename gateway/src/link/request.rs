//! A command as routers take it.

use bytes::Bytes;
use proto::wire::{self, reply, request};
use proto::{ChannelId, ConversationId, DeviceId, Role, Seq, SessionId, Time, UserId};

use crate::protocol::answer::Destination;
use crate::protocol::command::{Command, Recipient};
use crate::protocol::failure::Failure;
use crate::protocol::scopes::Scopes;

/// A command as routers take it.
pub(crate) struct Prepared {
    pub(crate) command: request::Command,
    /// The conversation or channel in which it writes, if it writes something that
    /// gets a number.
    pub(crate) destination: Option<Destination>,
    /// What others will see of the message, if it is one.
    pub(crate) message: Option<wire::Message>,
    /// Whether the gateway has chosen the message's id.
    pub(crate) hidden_id: bool,
}

impl From<request::Command> for Prepared {
    fn from(command: request::Command) -> Self {
        Self { command, destination: None, message: None, hidden_id: false }
    }
}

/// The role of those who are added; that of members like others is not said.
fn of_new(role: Role) -> String {
    if role == Role::Member { String::new() } else { role.to_string() }
}

/// Writes a command of `user`. `session` is the session that gives the command, if it
/// is one of this user. Fails for commands that only a two-way transport can do.
pub(crate) fn prepare(
    user: &UserId,
    device: &DeviceId,
    session: Option<&SessionId>,
    scopes: Scopes,
    command: Command,
) -> Result<Prepared, Failure> {
    use request::Command as Wire;
    let id = |conversation: ConversationId| conversation.as_str().to_owned();
    let command = match command {
        Command::Send { to, body, client_msg_id } => {
            let conversation = match to {
                Recipient::User(peer) => ConversationId::direct(user, &peer),
                Recipient::Conversation(conversation) => conversation,
            };
            return Ok(send(session, conversation, body, client_msg_id.map(String::from)));
        }
        Command::Ack(cursor) => {
            let (device, cursor) = (device.as_str().to_owned(), Some(cursor.into()));
            Wire::Ack(wire::Ack { device, cursor, handed_out: None })
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
        Command::CreateGroup { name, members, role } => Wire::CreateGroup(wire::CreateGroup {
            name,
            role: of_new(role),
            members: members.into_iter().map(String::from).collect(),
            conversation: id(ConversationId::new_group(Time::now())),
            service: scopes.service,
        }),
        Command::Members(conversation) => Wire::Members(wire::Members { conversation: id(conversation) }),
        Command::AddMembers(conversation, members, role) => Wire::AddMembers(wire::AddMembers {
            role: of_new(role),
            conversation: id(conversation),
            members: members.into_iter().map(String::from).collect(),
            service: scopes.service,
        }),
        Command::RemoveMember(conversation, user) => {
            Wire::RemoveMember(wire::RemoveMember { conversation: id(conversation), user: user.to_string() })
        }
        Command::SetRole(conversation, user, role) => Wire::SetRole(wire::SetRole {
            conversation: id(conversation),
            user: user.to_string(),
            role: role.to_string(),
        }),
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
        Command::Revoke { .. } => return Err(Failure::internal("a revocation is made elsewhere")),
        Command::Auth(_) | Command::Ping => {
            return Err(Failure::bad_request("`auth` and `ping` are for two-way transports"));
        }
    };
    Ok(command.into())
}

/// Gives a message an id by which repeats are known, so that the gateway may send it
/// to another router as well: the client's id, or one that nobody sees.
fn send(
    session: Option<&SessionId>,
    conversation: ConversationId,
    body: Bytes,
    client_msg_id: Option<String>,
) -> Prepared {
    let hidden_id = client_msg_id.is_none();
    let shown = client_msg_id.clone().unwrap_or_default();
    let command = request::Command::Send(wire::Send {
        conversation: conversation.as_str().to_owned(),
        body: body.clone(),
        client_msg_id: client_msg_id.unwrap_or_else(random_key),
        hidden_id,
        session: session.map(|session| session.as_str().to_owned()).unwrap_or_default(),
    });
    let message = wire::Message { body, client_msg_id: shown };
    let destination = Some(Destination::Conversation(conversation));
    Prepared { command, destination, message: Some(message), hidden_id }
}

/// The same for a publication.
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

/// An id for a client that gave none.
pub(crate) fn random_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Hides from the client that a message was repeated, if only the gateway repeated
/// it.
pub(crate) fn unhide(mut reply: reply::Result, hidden_id: bool) -> reply::Result {
    if let reply::Result::Sent(sent) = &mut reply
        && hidden_id
    {
        sent.duplicate = false;
    }
    reply
}
