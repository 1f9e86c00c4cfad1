//! Commands of PROTOCOL.md §5: turns the fields of a frame or of an HTTP
//! request into a checked value. Every rule on their form is here.

use bytes::Bytes;
use memchr::memchr2;
use proto::json::unreadable;
use proto::limits::MAX_PAGE;
use proto::role::ROLES_OF_NEW;
use proto::scanner::Json;
use proto::{
    ChannelId, Class, ClientMessageId, CommandKind, ConversationId, Cursor, DeviceId, FormError,
    RevokedTokens, Role, Seq, Time, TokenId, UserId, label,
};
use rustc_hash::FxHashSet;

use crate::protocol::failure::Failure;
use crate::protocol::fields::{Fields, missing};
use crate::protocol::scopes::Scopes;

pub use proto::limits::{MAX_BODY_BYTES, MAX_FRAME_BYTES, MAX_RECIPIENTS, MAX_USERS};

/// A command: what a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A message.
    Send {
        /// The recipient.
        to: Recipient,
        /// JSON on one line.
        body: Bytes,
        /// The client's id for repeats.
        client_msg_id: Option<ClientMessageId>,
    },
    /// The same message to many users, to each in the direct conversation.
    SendToMany {
        /// The recipients, each once; the answer has the same order.
        to: Vec<UserId>,
        /// JSON on one line.
        body: Bytes,
        /// The client's id for repeats, in each conversation.
        client_msg_id: Option<ClientMessageId>,
    },
    /// Acknowledges everything up to this cursor for this device.
    Ack(Cursor),
    /// Says that the user has read everything up to this seq.
    Read(ConversationId, Seq),
    /// The user is typing.
    Typing(ConversationId),
    /// Messages of a conversation.
    History {
        /// The conversation.
        conversation: ConversationId,
        /// Only messages before this seq.
        before: Option<Seq>,
        /// Only messages after this seq.
        after: Option<Seq>,
        /// The most messages of the page.
        limit: u32,
    },
    /// The user's conversations.
    Conversations {
        /// How many at most.
        limit: u32,
        /// `page` of the last answer.
        page: Option<String>,
    },
    /// A new group.
    CreateGroup {
        /// Its name.
        name: String,
        /// Its members, with or without the creator.
        members: Vec<UserId>,
        /// What they are.
        role: Role,
    },
    /// Asks for the members of a conversation.
    Members(ConversationId),
    /// New members for a group, and what they are.
    AddMembers(ConversationId, Vec<UserId>, Role),
    /// A member leaves or is removed.
    RemoveMember(ConversationId, UserId),
    /// Another role for a member.
    SetRole(ConversationId, UserId, Role),
    /// A new name for a group.
    Rename(ConversationId, String),
    /// Another body for a message.
    Edit(ConversationId, Seq, Bytes),
    /// A message loses its body.
    Recall(ConversationId, Seq),
    /// A reaction to a message.
    React {
        /// The message's conversation.
        conversation: ConversationId,
        /// The message's seq.
        seq: Seq,
        /// The emoji.
        emoji: String,
        /// True sets the reaction, false takes it back.
        on: bool,
    },
    /// Asks who is online.
    Presence {
        /// The users, in the order of the answer.
        users: Vec<UserId>,
        /// Whether to be told of changes from now on.
        watch: bool,
    },
    /// Subscribes to a channel.
    Subscribe {
        /// The channel.
        channel: ChannelId,
        /// Also return the publications after this seq.
        after: Option<Seq>,
    },
    /// Ends a subscription.
    Unsubscribe(ChannelId),
    /// Publishes to a channel.
    Publish {
        /// The channel.
        channel: ChannelId,
        /// JSON on one line.
        body: Bytes,
        /// The client's id for repeats.
        client_msg_id: Option<ClientMessageId>,
    },
    /// A backend ends a user's sessions; over HTTP only.
    Kick {
        /// The user whose sessions end.
        user: UserId,
        /// Only sessions of this device.
        device: Option<DeviceId>,
    },
    /// A backend revokes tokens; over HTTP only.
    Revoke {
        /// A user's, or one.
        tokens: RevokedTokens,
        /// Of a user's tokens those that were issued up to then.
        before: Option<Time>,
        /// When the one token ends.
        until: Option<Time>,
    },
    /// A new token for the session.
    Auth(String),
    /// Asks for a `pong`.
    Ping,
}

/// The recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// The direct conversation with this user.
    User(UserId),
    /// This conversation.
    Conversation(ConversationId),
}

impl Command {
    /// Reads the command of this `type` from the fields of a frame. Fails when there
    /// is no such command in frames, or a field is missing or has the wrong form.
    pub fn parse(name: &str, fields: &Fields<'_>) -> Result<Self, Failure> {
        match CommandKind::parse(name) {
            // Backends use HTTP for it.
            None | Some(CommandKind::Kick | CommandKind::Revoke) => {
                let shown: String = name.chars().take(40).collect();
                Err(Failure::bad_request(format!("`type` {shown:?} is not a command")))
            }
            Some(kind) => Self::of(kind, fields),
        }
    }

    /// Reads a command from its fields. Fails when a field is missing or has the
    /// wrong form.
    pub fn of(kind: CommandKind, fields: &Fields<'_>) -> Result<Self, Failure> {
        let conversation = || fields.required_id("conversation", ConversationId::parse);
        let seq = || fields.number("seq")?.map(Seq).ok_or_else(|| missing("seq"));
        let name = || fields.required_text("name").map(|name| name.into_owned());
        Ok(match kind {
            CommandKind::Send => {
                let client_msg_id = || fields.id("client_msg_id", ClientMessageId::parse);
                if fields.is_list("to") {
                    let (to, body) = (recipients(fields)?, body(fields)?);
                    Self::SendToMany { to, body, client_msg_id: client_msg_id()? }
                } else {
                    let (to, body) = (recipient(fields)?, body(fields)?);
                    Self::Send { to, body, client_msg_id: client_msg_id()? }
                }
            }
            CommandKind::Ack => Self::Ack(cursor(fields)?),
            CommandKind::Read => Self::Read(conversation()?, seq()?),
            CommandKind::Typing => Self::Typing(conversation()?),
            CommandKind::History => {
                let (before, after) = (fields.number("before")?.map(Seq), fields.number("after")?.map(Seq));
                if before.is_some() && after.is_some() {
                    return Err(Failure::bad_request("give `before` or `after`, not both"));
                }
                Self::History {
                    conversation: conversation()?,
                    before,
                    after,
                    limit: limit(fields, MAX_PAGE, 50)?,
                }
            }
            CommandKind::Conversations => Self::Conversations {
                limit: limit(fields, MAX_PAGE, 50)?,
                page: fields.text("page")?.map(|page| page.into_owned()),
            },
            CommandKind::CreateGroup => Self::CreateGroup {
                name: group_name(name()?)?,
                members: fields.ids("members", UserId::parse)?.ok_or_else(|| missing("members"))?,
                role: role_of_new(fields)?,
            },
            CommandKind::Members => Self::Members(conversation()?),
            CommandKind::AddMembers => Self::AddMembers(
                conversation()?,
                fields.ids("members", UserId::parse)?.ok_or_else(|| missing("members"))?,
                role_of_new(fields)?,
            ),
            CommandKind::RemoveMember => {
                Self::RemoveMember(conversation()?, fields.required_id("user", UserId::parse)?)
            }
            CommandKind::SetRole => Self::SetRole(
                conversation()?,
                fields.required_id("user", UserId::parse)?,
                role(fields)?.ok_or_else(|| missing("role"))?,
            ),
            CommandKind::Rename => Self::Rename(conversation()?, group_name(name()?)?),
            CommandKind::Edit => Self::Edit(conversation()?, seq()?, body(fields)?),
            CommandKind::Recall => Self::Recall(conversation()?, seq()?),
            CommandKind::React => Self::React {
                conversation: conversation()?,
                seq: seq()?,
                emoji: emoji(fields)?,
                on: fields.flag("on")?.ok_or_else(|| missing("on"))?,
            },
            CommandKind::Presence => {
                Self::Presence { users: users(fields)?, watch: fields.flag("watch")?.unwrap_or(false) }
            }
            CommandKind::Subscribe => Self::Subscribe {
                channel: fields.required_id("channel", ChannelId::parse)?,
                after: fields.number("after")?.map(Seq),
            },
            CommandKind::Unsubscribe => Self::Unsubscribe(fields.required_id("channel", ChannelId::parse)?),
            CommandKind::Publish => Self::Publish {
                channel: fields.required_id("channel", ChannelId::parse)?,
                body: body(fields)?,
                client_msg_id: fields.id("client_msg_id", ClientMessageId::parse)?,
            },
            CommandKind::Auth => Self::Auth(fields.required_text("token")?.into_owned()),
            CommandKind::Ping => Self::Ping,
            CommandKind::Kick => Self::Kick {
                user: fields.required_id("user", UserId::parse)?,
                device: fields.id("device", DeviceId::parse)?,
            },
            CommandKind::Revoke => revoke(fields)?,
        })
    }

    /// Fails unless a token with these scopes allows the command.
    pub fn permit(&self, scopes: Scopes) -> Result<(), Failure> {
        match self {
            Self::Publish { .. } if !scopes.service && !scopes.publish => {
                Err(Failure::forbidden("to publish the token needs the scope `publish` or `service`"))
            }
            Self::SendToMany { .. } if !scopes.service => {
                Err(Failure::forbidden("to send to many at once the token needs the scope `service`"))
            }
            Self::Kick { .. } if !scopes.service => {
                Err(Failure::forbidden("to end sessions the token needs the scope `service`"))
            }
            Self::Revoke { .. } if !scopes.service => {
                Err(Failure::forbidden("to revoke tokens the token needs the scope `service`"))
            }
            _ => Ok(()),
        }
    }

    /// Which command it is.
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Send { .. } | Self::SendToMany { .. } => CommandKind::Send,
            Self::Ack(_) => CommandKind::Ack,
            Self::Read(..) => CommandKind::Read,
            Self::Typing(_) => CommandKind::Typing,
            Self::History { .. } => CommandKind::History,
            Self::Conversations { .. } => CommandKind::Conversations,
            Self::CreateGroup { .. } => CommandKind::CreateGroup,
            Self::Members(_) => CommandKind::Members,
            Self::AddMembers(..) => CommandKind::AddMembers,
            Self::RemoveMember(..) => CommandKind::RemoveMember,
            Self::SetRole(..) => CommandKind::SetRole,
            Self::Rename(..) => CommandKind::Rename,
            Self::Edit(..) => CommandKind::Edit,
            Self::Recall(..) => CommandKind::Recall,
            Self::React { .. } => CommandKind::React,
            Self::Presence { .. } => CommandKind::Presence,
            Self::Subscribe { .. } => CommandKind::Subscribe,
            Self::Unsubscribe(_) => CommandKind::Unsubscribe,
            Self::Publish { .. } => CommandKind::Publish,
            Self::Kick { .. } => CommandKind::Kick,
            Self::Revoke { .. } => CommandKind::Revoke,
            Self::Auth(_) => CommandKind::Auth,
            Self::Ping => CommandKind::Ping,
        }
    }

    /// The class of limit that it counts for, unless a backend sends it.
    pub fn class(&self) -> Class {
        self.kind().class()
    }

    /// The units that it costs: 1, or the number of messages that it stands
    /// for.
    pub fn units(&self) -> u32 {
        match self {
            Self::SendToMany { to, .. } => u32::try_from(to.len()).unwrap_or(u32::MAX),
            _ => 1,
        }
    }
}

/// All tokens of a user, or one.
fn revoke(fields: &Fields<'_>) -> Result<Command, Failure> {
    let (user, jti) = (fields.id("user", UserId::parse)?, fields.id("jti", TokenId::parse)?);
    let (before, until) = (fields.number("before")?.map(Time), fields.number("until")?.map(Time));
    let tokens = match (user, jti) {
        (Some(_), None) if until.is_some() => {
            return Err(Failure::bad_request("`until` is the end of one token: it goes with `jti`"));
        }
        (None, Some(_)) if before.is_some() => {
            return Err(Failure::bad_request(
                "`before` is about all of a user's tokens: it goes with `user`",
            ));
        }
        (Some(user), None) => RevokedTokens::Of(user),
        (None, Some(id)) => RevokedTokens::One(id),
        _ => return Err(Failure::bad_request("give `user` or `jti`, one of them")),
    };
    Ok(Command::Revoke { tokens, before, until })
}

fn recipient(fields: &Fields<'_>) -> Result<Recipient, Failure> {
    let to = fields.id("to", UserId::parse)?;
    let conversation = fields.id("conversation", ConversationId::parse)?;
    match (to, conversation) {
        (Some(user), None) => Ok(Recipient::User(user)),
        (None, Some(conversation)) => Ok(Recipient::Conversation(conversation)),
        (Some(_), Some(_)) => Err(Failure::bad_request("give `to` or `conversation`, not both")),
        (None, None) => Err(Failure::bad_request("`to` or `conversation` is missing")),
    }
}

fn recipients(fields: &Fields<'_>) -> Result<Vec<UserId>, Failure> {
    if fields.text("conversation")?.is_some() {
        return Err(Failure::bad_request("give `to` or `conversation`, not both"));
    }
    let users = fields.ids("to", UserId::parse)?.unwrap_or_default();
    if !(1..=MAX_RECIPIENTS).contains(&users.len()) {
        return Err(Failure::bad_request(format!("`to` must name 1 to {MAX_RECIPIENTS} users")));
    }
    let mut seen = FxHashSet::default();
    match users.iter().find(|user| !seen.insert(*user)) {
        Some(twice) => Err(Failure::bad_request(format!("`to` names {twice} twice"))),
        None => Ok(users),
    }
}

fn body(fields: &Fields<'_>) -> Result<Bytes, Failure> {
    let Json { text, plain } = fields.json("body").ok_or_else(|| missing("body"))?;
    if text.len() > MAX_BODY_BYTES {
        return Err(Failure::too_large(format!(
            "`body` has {} bytes; at most {MAX_BODY_BYTES} are allowed",
            text.len()
        )));
    }
    if plain {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    if let Some(why) = unreadable(text) {
        return Err(Failure::bad_request(format!("`body` {why}")));
    }
    Ok(on_one_line(text))
}

/// Some transports send one frame on each line, so line breaks between JSON
/// tokens become blanks. JSON has none inside strings (RFC 8259 §7).
fn on_one_line(json: &str) -> Bytes {
    let mut bytes = json.as_bytes().to_vec();
    let mut from = 0;
    while let Some(at) = memchr2(b'\n', b'\r', &bytes[from..]) {
        from += at;
        bytes[from] = b' ';
    }
    Bytes::from(bytes)
}

fn emoji(fields: &Fields<'_>) -> Result<String, Failure> {
    let emoji = fields.required_text("emoji")?.into_owned();
    label::check_emoji(&emoji).map_err(|rule| Failure::field("emoji", &rule))?;
    Ok(emoji)
}

fn users(fields: &Fields<'_>) -> Result<Vec<UserId>, Failure> {
    let users = fields.ids("users", UserId::parse)?.ok_or_else(|| missing("users"))?;
    match users.len() {
        1..=MAX_USERS => Ok(users),
        _ => Err(Failure::bad_request(format!("`users` must name 1 to {MAX_USERS} users"))),
    }
}

fn cursor(fields: &Fields<'_>) -> Result<Cursor, Failure> {
    let text = fields.required_text("cursor")?;
    Cursor::parse(&text).map_err(|rule: FormError| Failure::field("cursor", &rule))
}

fn limit(fields: &Fields<'_>, most: u32, default: u32) -> Result<u32, Failure> {
    match fields.number("limit")? {
        None => Ok(default),
        Some(number) => u32::try_from(number)
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| Failure::bad_request(format!("`limit` must be from 1 to {most}"))),
    }
}

fn role(fields: &Fields<'_>) -> Result<Option<Role>, Failure> {
    let Some(name) = fields.text("role")? else { return Ok(None) };
    let role = Role::parse(&name);
    role.map(Some)
        .ok_or_else(|| Failure::bad_request(format!("`role` must be one of {}", Role::NAMES.join(", "))))
}

/// The role of those who are added.
fn role_of_new(fields: &Fields<'_>) -> Result<Role, Failure> {
    let role = role(fields)?.unwrap_or_default();
    match ROLES_OF_NEW.contains(&role) {
        true => Ok(role),
        false => Err(Failure::bad_request("`role` of those who are added must be member or reader")),
    }
}

fn group_name(name: String) -> Result<String, Failure> {
    label::check_name(&name).map_err(|rule| Failure::field("name", &rule))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Command, Failure> {
        let fields = Fields::from_text(json)?;
        let kind = fields.required_text("type")?;
        Command::parse(&kind, &fields)
    }

    fn refused(json: &str) -> String {
        parse(json).unwrap_err().message
    }

    #[test]
    fn a_body_is_kept_as_it_was_sent_on_one_line() {
        let command =
            parse("{\"type\":\"send\",\"to\":\"bob\",\"body\":{\"a\":\n1e40, \"b\":\"\\n\"}}").unwrap();
        let Command::Send { body, .. } = command else { panic!("not a send") };
        assert_eq!(body, "{\"a\": 1e40, \"b\":\"\\n\"}");
    }

    #[test]
    fn a_body_that_a_strict_reader_could_not_read_is_refused_with_the_reason() {
        for kind in [
            r#""type":"send","to":"bob""#,
            r#""type":"edit","conversation":"alice~bob","seq":1"#,
            r#""type":"publish","channel":"c_news""#,
        ] {
            assert!(refused(&format!(r#"{{{kind},"body":"\ud800"}}"#)).contains("half a surrogate pair"));
            assert!(refused(&format!(r#"{{{kind},"body":[1e999]}}"#)).contains("beyond what a double"));
        }
    }

    #[test]
    fn a_null_body_is_a_body_and_a_missing_one_is_not() {
        assert!(parse(r#"{"type":"send","to":"bob","body":null}"#).is_ok());
        assert_eq!(refused(r#"{"type":"send","to":"bob"}"#), "`body` is missing");
    }

    #[test]
    fn a_body_of_the_limit_passes_and_one_byte_more_does_not() {
        let send =
            |bytes: usize| format!(r#"{{"type":"send","to":"bob","body":"{}"}}"#, "x".repeat(bytes - 2));
        assert!(parse(&send(MAX_BODY_BYTES)).is_ok());
        let failure = parse(&send(MAX_BODY_BYTES + 1)).unwrap_err();
        assert_eq!(failure.code, proto::ErrorCode::TooLarge);
    }

    #[test]
    fn an_emoji_is_bounded_by_its_bytes() {
        let react = |emoji: String| {
            parse(&format!(r#"{{"type":"react","conversation":"a~b","seq":1,"emoji":"{emoji}","on":false}}"#))
        };
        assert!(react("🎉".repeat(16)).is_ok());
        assert!(react("🎉".repeat(16) + "x").unwrap_err().message.contains("64 bytes"));
    }

    #[test]
    fn a_message_to_many_names_each_once_and_needs_the_scope() {
        let send = |to: &str| parse(&format!(r#"{{"type":"send","to":{to},"body":1,"client_msg_id":"m"}}"#));
        let many = send(r#"["bob","carol"]"#).unwrap();
        let Command::SendToMany { to, .. } = &many else { panic!("{many:?}") };
        assert_eq!(to.iter().map(UserId::as_str).collect::<Vec<_>>(), ["bob", "carol"]);
        let none = Scopes::default();
        assert_eq!(many.permit(none).unwrap_err().code, proto::ErrorCode::Forbidden);
        assert_eq!(many.permit(Scopes { service: true, ..none }), Ok(()));
        let names = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("\"u{number}\"")).collect();
            format!("[{}]", names.join(","))
        };
        assert!(send(&names(MAX_RECIPIENTS)).is_ok());
        for (to, said) in [
            ("[]", "`to` must name 1 to 1000 users"),
            (&names(MAX_RECIPIENTS + 1), "`to` must name 1 to 1000 users"),
            (r#"["bob","carol","bob"]"#, "`to` names bob twice"),
            (r#"["bob","b c"]"#, "`to[1]` must be 1 to 64"),
            (r#"["bob",7]"#, "`to` must be a list of strings"),
        ] {
            let failure = send(to).unwrap_err();
            assert!(failure.message.starts_with(said), "{}", failure.message);
        }
        assert!(refused(r#"{"type":"send","to":["a"],"conversation":"a~b","body":1}"#).contains("not both"));
    }

    #[test]
    fn publishing_and_kicking_need_a_scope_and_the_rest_does_not() {
        let publish = parse(r#"{"type":"publish","channel":"c_news","body":1}"#).unwrap();
        let kick = Fields::from_text(r#"{"user":"bob","device":"phone"}"#).unwrap();
        let kick = Command::of(CommandKind::Kick, &kick).unwrap();
        let none = Scopes::default();
        let (publisher, backend) = (Scopes { publish: true, ..none }, Scopes { service: true, ..none });
        let permitted =
            |command: &Command| [none, publisher, backend].map(|scopes| command.permit(scopes).is_ok());
        assert_eq!(permitted(&publish), [false, true, true]);
        assert_eq!(permitted(&kick), [false, false, true]);
        assert_eq!(permitted(&Command::Ping), [true, true, true]);
        assert_eq!(kick.permit(publisher).unwrap_err().code, proto::ErrorCode::Forbidden);
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (json, message) in [
            (r"{}", "`type` is missing"),
            (r#"{"type":7}"#, "`type` must be a string"),
            (r#"{"type":"shout"}"#, "`type` \"shout\" is not a command"),
            (r#"{"type":"send","body":1}"#, "`to` or `conversation` is missing"),
            (r#"{"type":"send","to":"b c","body":1}"#, "`to` must be 1 to 64"),
            (r#"{"type":"send","conversation":"b~a","body":1}"#, "`conversation` must be a conversation id"),
            (r#"{"type":"send","to":"bob","body":1,"client_msg_id":""}"#, "`client_msg_id` must be"),
            (r#"{"type":"send","to":"bob","conversation":"a~bob","body":1}"#, "not both"),
            (r#"{"type":"ack"}"#, "`cursor` is missing"),
            (r#"{"type":"ack","cursor":"x"}"#, "`cursor` must be a cursor"),
            (r#"{"type":"read","conversation":"a~b","seq":"1"}"#, "`seq` must be a whole number"),
            (r#"{"type":"history","conversation":"a~b","limit":0}"#, "`limit` must be from 1 to 200"),
            (r#"{"type":"history","conversation":"a~b","before":1,"after":2}"#, "not both"),
            (r#"{"type":"create_group","name":"","members":[]}"#, "`name` must have"),
            (r#"{"type":"create_group","name":"a\nb","members":[]}"#, "`name` must have"),
            (r#"{"type":"create_group","name":"x","members":"bob"}"#, "`members` must be a list"),
            (r#"{"type":"auth","token":null}"#, "`token` is missing"),
            (r#"{"type":"edit","conversation":"a~b","seq":1}"#, "`body` is missing"),
            (r#"{"type":"recall","conversation":"a~b"}"#, "`seq` is missing"),
            (r#"{"type":"react","conversation":"a~b","seq":1,"emoji":"+"}"#, "`on` is missing"),
            (
                r#"{"type":"react","conversation":"a~b","seq":1,"emoji":"+","on":1}"#,
                "`on` must be true or false",
            ),
            (
                r#"{"type":"react","conversation":"a~b","seq":1,"emoji":"","on":true}"#,
                "`emoji` must have 1 to 64",
            ),
            (r#"{"type":"presence","users":[]}"#, "`users` must name 1 to 500"),
            (r#"{"type":"presence","users":["a b"]}"#, "`users[0]` must be"),
            (r#"{"type":"subscribe","channel":"news"}"#, "`channel` must be a channel id"),
            (r#"{"type":"unsubscribe"}"#, "`channel` is missing"),
            (r#"{"type":"publish","channel":"c_news"}"#, "`body` is missing"),
            (r#"{"type":"kick","user":"bob"}"#, "`type` \"kick\" is not a command"),
        ] {
            let refusal = refused(json);
            assert!(refusal.contains(message), "{json}: {refusal}");
        }
    }
}
