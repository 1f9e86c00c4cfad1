//! Commands from protobuf: reads their fields, which are then checked like
//! those of JSON.

use bytes::Bytes;
use prost::Message as _;
use proto::wire::client::{self, command};
use proto::{CommandKind, scanner};
use serde::de::IgnoredAny;

use crate::protocol::failure::Failure;
use crate::protocol::fields::{Fields, check_depth};

/// A command's `type` and fields, to be checked like those of a JSON frame;
/// `ref` and `as` are among them.
pub fn decode(bytes: &[u8]) -> Result<(CommandKind, Fields<'static>), Failure> {
    let command = client::Command::decode(bytes)
        .map_err(|error| Failure::bad_request(format!("not a protobuf Command: {error}")))?;
    let mut fields = Fields::empty();
    if let Some(reference) = &command.r#ref {
        fields.set_json("ref", json(reference));
    }
    set(&mut fields, "as", command.r#as);
    let kind = match command.command {
        Some(command) => fill(&mut fields, command)?,
        None => return Err(Failure::bad_request("the Command has no command that is known here")),
    };
    Ok((kind, fields))
}

/// Whether a command of this kind may come over HTTP as its own message.
pub fn comes_alone(kind: CommandKind) -> bool {
    matches!(kind, CommandKind::Send | CommandKind::Publish)
}

/// The fields of such a command, as HTTP has it.
pub fn decode_alone<'a>(kind: CommandKind, bytes: &[u8]) -> Result<Fields<'a>, Failure> {
    let wrong =
        |error| Failure::bad_request(format!("not the protobuf message of `{}`: {error}", kind.as_str()));
    let command = match kind {
        CommandKind::Send => command::Command::Send(client::Send::decode(bytes).map_err(wrong)?),
        CommandKind::Publish => command::Command::Publish(client::Publish::decode(bytes).map_err(wrong)?),
        _ => {
            let name = kind.as_str();
            return Err(Failure::bad_request(format!("`{name}` does not come as protobuf")));
        }
    };
    let mut fields = Fields::empty();
    fill(&mut fields, command)?;
    Ok(fields)
}

fn fill(fields: &mut Fields<'_>, command: command::Command) -> Result<CommandKind, Failure> {
    use command::Command;
    Ok(match command {
        Command::Send(send) => {
            if !send.to_many.is_empty() {
                if send.to.is_some() {
                    return Err(Failure::bad_request("give `to` or `to_many`, not both"));
                }
                fields.set_json("to", json(&send.to_many));
            }
            set(fields, "to", send.to);
            set(fields, "conversation", send.conversation);
            set(fields, "client_msg_id", send.client_msg_id);
            set_body(fields, send.body)?;
            CommandKind::Send
        }
        Command::Ack(ack) => {
            set(fields, "cursor", Some(ack.cursor));
            CommandKind::Ack
        }
        Command::Read(read) => {
            set(fields, "conversation", Some(read.conversation));
            set(fields, "seq", Some(read.seq));
            CommandKind::Read
        }
        Command::Typing(typing) => {
            set(fields, "conversation", Some(typing.conversation));
            CommandKind::Typing
        }
        Command::History(history) => {
            set(fields, "conversation", Some(history.conversation));
            set(fields, "before", history.before);
            set(fields, "after", history.after);
            set(fields, "limit", history.limit);
            CommandKind::History
        }
        Command::Conversations(conversations) => {
            set(fields, "limit", conversations.limit);
            set(fields, "page", conversations.page);
            CommandKind::Conversations
        }
        Command::CreateGroup(group) => {
            set(fields, "name", Some(group.name));
            fields.set_json("members", json(&group.members));
            set(fields, "role", group.role);
            CommandKind::CreateGroup
        }
        Command::Members(members) => {
            set(fields, "conversation", Some(members.conversation));
            CommandKind::Members
        }
        Command::AddMembers(added) => {
            set(fields, "conversation", Some(added.conversation));
            fields.set_json("members", json(&added.members));
            set(fields, "role", added.role);
            CommandKind::AddMembers
        }
        Command::RemoveMember(removed) => {
            set(fields, "conversation", Some(removed.conversation));
            set(fields, "user", Some(removed.user));
            CommandKind::RemoveMember
        }
        Command::SetRole(given) => {
            set(fields, "conversation", Some(given.conversation));
            set(fields, "user", Some(given.user));
            set(fields, "role", Some(given.role));
            CommandKind::SetRole
        }
        Command::Rename(rename) => {
            set(fields, "conversation", Some(rename.conversation));
            set(fields, "name", Some(rename.name));
            CommandKind::Rename
        }
        Command::Edit(edit) => {
            set(fields, "conversation", Some(edit.conversation));
            set(fields, "seq", Some(edit.seq));
            set_body(fields, edit.body)?;
            CommandKind::Edit
        }
        Command::Recall(recall) => {
            set(fields, "conversation", Some(recall.conversation));
            set(fields, "seq", Some(recall.seq));
            CommandKind::Recall
        }
        Command::React(react) => {
            set(fields, "conversation", Some(react.conversation));
            set(fields, "seq", Some(react.seq));
            set(fields, "emoji", Some(react.emoji));
            set(fields, "on", react.on);
            CommandKind::React
        }
        Command::Presence(presence) => {
            fields.set_json("users", json(&presence.users));
            set(fields, "watch", presence.watch);
            CommandKind::Presence
        }
        Command::Subscribe(subscribe) => {
            set(fields, "channel", Some(subscribe.channel));
            set(fields, "after", subscribe.after);
            CommandKind::Subscribe
        }
        Command::Unsubscribe(unsubscribe) => {
            set(fields, "channel", Some(unsubscribe.channel));
            CommandKind::Unsubscribe
        }
        Command::Publish(publish) => {
            set(fields, "channel", Some(publish.channel));
            set(fields, "client_msg_id", publish.client_msg_id);
            set_body(fields, publish.body)?;
            CommandKind::Publish
        }
        Command::Auth(auth) => {
            set(fields, "token", Some(auth.token));
            CommandKind::Auth
        }
        Command::Ping(_) => CommandKind::Ping,
    })
}

fn set(fields: &mut Fields<'_>, name: &'static str, value: Option<impl ToString>) {
    if let Some(value) = value {
        fields.set(name, value.to_string());
    }
}

fn set_body(fields: &mut Fields<'_>, body: Option<Bytes>) -> Result<(), Failure> {
    if let Some(body) = body {
        fields.set_json("body", body_json(&body)?.to_owned());
    }
    Ok(())
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and lists of texts are always JSON")
}

/// A body must be JSON in protobuf, too, since readers on other transports get
/// it unchanged.
fn body_json(body: &[u8]) -> Result<&str, Failure> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::bad_request("`body` is not valid UTF-8"))?;
    if let Some(json) = scanner::value(text) {
        return Ok(json.text);
    }
    check_depth(text)?;
    // By a parser that says where it stopped.
    let why = serde_json::from_str::<IgnoredAny>(text).err().map(|error| error.to_string());
    Err(Failure::bad_request(format!("`body` is not valid JSON: {}", why.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use proto::Seq;

    use super::*;
    use crate::protocol::command::{Command, Recipient};

    fn send(body: &'static [u8]) -> Vec<u8> {
        let send = client::Send {
            to: Some("bob".into()),
            body: Some(Bytes::from_static(body)),
            ..Default::default()
        };
        let command = Some(command::Command::Send(send));
        client::Command { r#ref: Some("r".into()), command, ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn a_command_is_read_by_the_same_rules_as_json() {
        let bytes = send(b" {\"a\":1}\n");
        let (kind, fields) = decode(&bytes).unwrap();
        let command = Command::of(kind, &fields).unwrap();
        let expected = Command::Send {
            to: Recipient::User("bob".parse().unwrap()),
            body: "{\"a\":1}".into(),
            client_msg_id: None,
        };
        assert_eq!(command, expected);
        assert_eq!(fields.reference().unwrap().as_deref(), Some("\"r\""));
    }

    fn parsed(command: command::Command) -> Result<Command, Failure> {
        let bytes = client::Command { command: Some(command), ..Default::default() }.encode_to_vec();
        let (kind, fields) = decode(&bytes)?;
        Command::of(kind, &fields)
    }

    #[test]
    fn texts_and_lists_keep_the_rules_of_json() {
        use command::Command as Wire;
        let refusal = |command| parsed(command).unwrap_err().message;
        let group = client::CreateGroup { name: "a\u{1b}b".into(), members: vec![], role: None };
        assert!(refusal(Wire::CreateGroup(group)).starts_with("`name` must have"));
        let react = client::React { conversation: "a~b".into(), seq: 3, emoji: "a\0".into(), on: Some(true) };
        assert!(refusal(Wire::React(react)).starts_with("`emoji` must have"));
        let many = |to_many: &[&str], to: Option<&str>| {
            Wire::Send(client::Send {
                to: to.map(str::to_owned),
                to_many: to_many.iter().map(|user| (*user).to_owned()).collect(),
                body: Some(Bytes::from_static(b"1")),
                ..Default::default()
            })
        };
        let (bob, carol) = ("bob".parse().unwrap(), "carol".parse().unwrap());
        let expected = Command::SendToMany { to: vec![bob, carol], body: "1".into(), client_msg_id: None };
        assert_eq!(parsed(many(&["bob", "carol"], None)), Ok(expected));
        assert!(refusal(many(&["bob", "bob"], None)).contains("twice"));
        assert!(refusal(many(&["bob"], Some("carol"))).contains("not both"));
    }

    #[test]
    fn the_rest_of_the_vocabulary_is_read_alike() {
        use command::Command as Wire;
        let (conversation, channel) = (|| "a~b".to_owned(), || "c_news".to_owned());
        let body = || Some(Bytes::from_static(b"[1]"));
        let (id, news) = ("a~b".parse().unwrap(), "c_news".parse().unwrap());
        let edit = client::Edit { conversation: conversation(), seq: 3, body: body() };
        assert_eq!(parsed(Wire::Edit(edit)), Ok(Command::Edit("a~b".parse().unwrap(), Seq(3), "[1]".into())));
        let recall = client::Recall { conversation: conversation(), seq: 3 };
        assert_eq!(parsed(Wire::Recall(recall)), Ok(Command::Recall("a~b".parse().unwrap(), Seq(3))));
        let react =
            client::React { conversation: conversation(), seq: 3, emoji: "👍".into(), on: Some(false) };
        let expected = Command::React { conversation: id, seq: Seq(3), emoji: "👍".into(), on: false };
        assert_eq!(parsed(Wire::React(react)), Ok(expected));
        let ask = client::AskPresence { users: vec!["b".into(), "a".into()], watch: Some(true) };
        let users = vec!["b".parse().unwrap(), "a".parse().unwrap()];
        assert_eq!(parsed(Wire::Presence(ask)), Ok(Command::Presence { users, watch: true }));
        let subscribe = client::Subscribe { channel: channel(), after: Some(0) };
        let expected = Command::Subscribe { channel: "c_news".parse().unwrap(), after: Some(Seq(0)) };
        assert_eq!(parsed(Wire::Subscribe(subscribe)), Ok(expected));
        let unsubscribe = client::Unsubscribe { channel: channel() };
        assert_eq!(
            parsed(Wire::Unsubscribe(unsubscribe)),
            Ok(Command::Unsubscribe("c_news".parse().unwrap()))
        );
        let publish = client::Publish { channel: channel(), body: body(), client_msg_id: None };
        let expected = Command::Publish { channel: news, body: "[1]".into(), client_msg_id: None };
        assert_eq!(parsed(Wire::Publish(publish)), Ok(expected));
    }

    #[test]
    fn what_must_be_there_must_be_there_in_protobuf_too() {
        use command::Command as Wire;
        let refused = |command| parsed(command).unwrap_err().message;
        let react = client::React { conversation: "a~b".into(), seq: 1, emoji: "+".into(), on: None };
        assert_eq!(refused(Wire::React(react)), "`on` is missing");
        let edit = client::Edit { conversation: "a~b".into(), seq: 1, body: None };
        assert_eq!(refused(Wire::Edit(edit)), "`body` is missing");
        assert!(refused(Wire::Presence(client::AskPresence::default())).contains("1 to 500"));
    }

    #[test]
    fn fields_that_are_not_known_are_skipped() {
        let mut bytes = send(b"1");
        // Field 100, length-delimited, three bytes.
        bytes.extend([0xa2, 0x06, 3, 1, 2, 3]);
        assert!(decode(&bytes).is_ok());
    }

    #[test]
    fn a_body_that_is_no_json_is_refused() {
        for body in [&b"{"[..], b"", b"\xff", b"1 2"] {
            assert!(decode(&send(body)).unwrap_err().message.starts_with("`body` is not valid"), "{body:?}");
        }
        assert!(decode(b"\xff\xff").unwrap_err().message.starts_with("not a protobuf Command"));
    }
}
