//! What a gateway sends is checked as what a client sends: each field of each kind of
//! request is spoiled, and nobody else notices.

use bytes::Bytes;
use prost::Message as _;
use proto::limits::MAX_BODY_BYTES;
use proto::wire::{self, Request, Requests, reply, request::Command};
use proto::{RequestKind, weight::MOST_REQUESTS};

use crate::gateway::{Running, soon};

/// One of each kind, with every field that it may have.
fn sound() -> Vec<Command> {
    let text = str::to_owned;
    let (conversation, group) = (text("alice~bob"), text("g_01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    let (node, channel) = (text("gw-1.abcdefghjkmn"), text("c_news"));
    let cursor = Some(wire::Cursor { position: 1, fingerprint: 7 });
    let body = Bytes::from_static(b"\"hi\"");
    let grant = wire::Grant {
        user: text("alice"),
        device: text("d1"),
        scopes: vec![text("service")],
        expires: 4_000_000_000,
        subscribe: vec![text("c_team.*")],
        presence: vec![text("*")],
        holder: text("backend"),
        issued: 1_790_000_000_000,
        jti: text("t-1"),
        bought: 1_790_000_000_000,
    };
    let revocation = |user: &str, jti: &str| {
        let (user, jti) = (text(user), text(jti));
        Some(wire::Revocation { user, jti, before: 1_790_000_000_000, until: 4_000_000_000_000 })
    };
    let mark = wire::DeliveredMark { conversation: conversation.clone(), seq: 1 };
    let spending =
        wire::Spending { user: text("alice"), class: 1, spent: 1.0, left: 2.0, per_second: 1.0, burst: 4.0 };
    vec![
        Command::Send(wire::Send {
            conversation: conversation.clone(),
            body: body.clone(),
            client_msg_id: text("m-1"),
            hidden_id: true,
            session: text("s1"),
        }),
        Command::Attach(wire::Attach {
            device: text("d1"),
            session: text("s1"),
            node: node.clone(),
            from: cursor.map(wire::attach::From::Cursor),
        }),
        Command::Detach(wire::Detach { session: text("s1") }),
        Command::ReadInbox(wire::ReadInbox {
            after: cursor,
            limit: 10,
            session: text("s1"),
            device: text("d1"),
            marks_since: cursor,
            marks_within_ms: Some(5),
            marks_after: 3,
        }),
        Command::Ack(wire::Ack {
            device: text("d1"),
            cursor,
            handed_out: Some(wire::HandedOut { store: 5, marks: vec![mark], position: true }),
        }),
        Command::Read(wire::Read { conversation: conversation.clone(), seq: 1 }),
        Command::Typing(wire::SayTyping { conversation: conversation.clone() }),
        Command::History(wire::History {
            conversation: conversation.clone(),
            before: Some(9),
            after: None,
            limit: 10,
        }),
        Command::History(wire::History {
            conversation: conversation.clone(),
            before: None,
            after: Some(9),
            limit: 10,
        }),
        Command::Conversations(wire::Conversations { limit: 10, page: text("7") }),
        Command::CreateGroup(wire::CreateGroup {
            name: text("tea"),
            members: vec![text("bob")],
            conversation: group.clone(),
            role: text("reader"),
            service: true,
        }),
        Command::Members(wire::Members { conversation: conversation.clone() }),
        Command::AddMembers(wire::AddMembers {
            conversation: group.clone(),
            members: vec![text("bob")],
            role: text("reader"),
            service: true,
        }),
        Command::RemoveMember(wire::RemoveMember { conversation: group.clone(), user: text("bob") }),
        Command::SetRole(wire::SetRole {
            conversation: group.clone(),
            user: text("bob"),
            role: text("admin"),
        }),
        Command::Rename(wire::Rename { conversation: group, name: text("tea") }),
        Command::IssueTicket(wire::IssueTicket { ticket: text("t1"), grant: Some(grant), life_ms: 1_000 }),
        Command::RedeemTicket(wire::RedeemTicket { ticket: text("t2"), by: text("b1") }),
        Command::ReturnTicket(wire::ReturnTicket { ticket: text("t2"), by: text("b1") }),
        Command::Edit(wire::Edit {
            conversation: conversation.clone(),
            seq: 1,
            body: body.clone(),
            key: text("k1"),
        }),
        Command::Recall(wire::Recall { conversation: conversation.clone(), seq: 3 }),
        Command::React(wire::React { conversation, seq: 1, emoji: text("x"), on: true }),
        Command::Presence(wire::AskPresence { users: vec![text("bob")], node: node.clone() }),
        Command::Unwatch(wire::Unwatch { users: vec![text("bob")], node: node.clone() }),
        Command::Kick(wire::Kick { device: text("d1") }),
        Command::Revoke(wire::Revoke { revocation: revocation("alice", "") }),
        Command::Revoke(wire::Revoke { revocation: revocation("", "t-1") }),
        Command::ReadRevocations(wire::ReadRevocations { after: 1 }),
        Command::Publish(wire::Publish {
            channel: channel.clone(),
            body,
            client_msg_id: text("m-1"),
            hidden_id: true,
        }),
        Command::JoinChannel(wire::JoinChannel { channel: channel.clone(), node: node.clone() }),
        Command::LeaveChannel(wire::LeaveChannel { channel: channel.clone(), node }),
        Command::ReadChannel(wire::ReadChannel { channel, after: 1, limit: 10 }),
        Command::CountRates(wire::CountRates { spendings: vec![spending] }),
    ]
}

/// A field of an encoded message: its number, its type, its tag and its value.
struct Field<'a> {
    number: u64,
    kind: u64,
    tag: &'a [u8],
    /// Without the length that stands before it.
    value: &'a [u8],
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let number = bytes[..length].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f));
    Some((number, &bytes[length..]))
}

fn fields(mut rest: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (key, after) = varint(rest)?;
        let tag = &rest[..rest.len() - after.len()];
        let (number, kind) = (key >> 3, key & 7);
        let (value, later) = match kind {
            0 => after.split_at(after.len() - varint(after)?.1.len()),
            1 => after.split_at_checked(8)?,
            2 => {
                let (length, after) = varint(after)?;
                after.split_at_checked(usize::try_from(length).ok()?)?
            }
            5 => after.split_at_checked(4)?,
            _ => return None,
        };
        found.push(Field { number, kind, tag, value });
        rest = later;
    }
    Some(found)
}

fn put(out: &mut Vec<u8>, tag: &[u8], kind: u64, value: &[u8]) {
    out.extend_from_slice(tag);
    if kind == 2 {
        prost::encoding::encode_varint(value.len() as u64, out);
    }
    out.extend_from_slice(value);
}

/// The message with each of its fields, and those of the messages in it, spoiled; and
/// which field it is.
fn spoil(message: &[u8]) -> Vec<(Vec<u64>, Vec<u8>)> {
    let fields = fields(message).unwrap();
    let mut spoiled = Vec::new();
    for (at, field) in fields.iter().enumerate() {
        let mut other = |path: Vec<u64>, value: &[u8]| {
            let mut out = Vec::new();
            for (index, field) in fields.iter().enumerate() {
                put(&mut out, field.tag, field.kind, if index == at { value } else { field.value });
            }
            spoiled.push((path, out));
        };
        let here = vec![field.number];
        match field.kind {
            0 => [u64::MAX, (1 << 53) + 1].iter().for_each(|number| {
                let mut value = Vec::new();
                prost::encoding::encode_varint(*number, &mut value);
                other(here.clone(), &value);
            }),
            1 | 5 => {
                // Numbers that are none, too.
                for byte in [0xff, 0x7f] {
                    other(here.clone(), &vec![byte; field.value.len()]);
                }
            }
            _ => {
                for text in
                    [&b""[..], b" ", b"\0", b"\n", b"~", b"\"", b"../{}*", &[b'['; 300], &[b'x'; 70_000]]
                {
                    other(here.clone(), text);
                }
                // Another message, perhaps: a field of a text can be read as one only by
                // chance.
                if self::fields(field.value).is_some_and(|inner| !inner.is_empty()) {
                    for (path, value) in spoil(field.value) {
                        other([here.clone(), path].concat(), &value);
                    }
                }
            }
        }
    }
    spoiled
}

/// What may be of any content, or empty: an answer other than a refusal is right.
fn is_free(kind: RequestKind, answer: &reply::Result, sent: &Command) -> bool {
    use reply::Result as R;
    match (sent, answer) {
        // Their texts are for people, or stay in the table of those who count.
        (Command::React(react), R::Done(_)) => proto::label::check_emoji(&react.emoji).is_ok(),
        (Command::CreateGroup(create), R::Created(_)) => proto::label::check_name(&create.name).is_ok(),
        (Command::Rename(rename), R::Done(_)) => proto::label::check_name(&rename.name).is_ok(),
        (Command::Send(send), R::Sent(_)) => proto::json::check_line(&send.body).is_ok(),
        (Command::Publish(publish), R::Sent(_)) => proto::json::check_line(&publish.body).is_ok(),
        (Command::Edit(edit), R::Done(_)) => proto::json::check_line(&edit.body).is_ok(),
        _ => !matches!(kind, RequestKind::Send | RequestKind::Publish | RequestKind::Edit),
    }
}

#[tokio::test]
async fn each_field_of_each_request_may_be_spoiled_and_nobody_else_notices() {
    let commands = sound();
    for kind in RequestKind::ALL {
        assert!(commands.iter().any(|command| RequestKind::of(command) == *kind), "{kind:?} is new");
    }
    let router = Running::start().await;
    let mut reader = router.connect().await;
    for (n, body) in ["\"one\"", "2", "{\"three\":[]}"].iter().enumerate() {
        assert_eq!(reader.send("alice", "alice~bob", body).await.seq, n as u64 + 1);
    }
    let mut gateway = router.in_process().await;
    let (mut refused, mut ended) = (0, 0);
    for command in commands {
        let kind = RequestKind::of(&command);
        let whole = Request { id: 1, user: "alice".into(), command: Some(command), trace: Bytes::new() };
        for (path, mut bytes) in spoil(&whole.encode_to_vec()) {
            // It is to be answered by an id that is known.
            if path == [1] {
                continue;
            }
            let Ok(mut sent) = Request::decode(&bytes[..]) else {
                ended += 1;
                gateway.post_raw(bytes.into()).await;
                while soon("the link's end", gateway.replies.message()).await.unwrap().is_some() {}
                gateway = router.in_process().await;
                continue;
            };
            sent.id = gateway.next_id();
            bytes = sent.encode_to_vec();
            gateway.post_raw(bytes.into()).await;
            match gateway.answer(sent.id).await {
                reply::Result::Failure(failure) => {
                    let codes = ["bad_request", "too_large", "not_found", "conflict", "forbidden"];
                    assert!(codes.contains(&failure.code.as_str()), "{kind:?} {path:?}: {failure:?}");
                    refused += 1;
                }
                answer => {
                    let what = format!("{kind:?} {path:?}: {sent:?} was answered {answer:?}");
                    let what = what.get(..600).unwrap_or(&what);
                    assert!(sent.command.is_some_and(|sent| is_free(kind, &answer, &sent)), "{what}");
                }
            }
        }
    }
    println!("{refused} were refused, {ended} ended their link");
    assert!(refused > 300, "{refused}");

    // What others have is as it was, and can be read.
    for user in ["alice", "bob"] {
        let query = wire::History { conversation: "alice~bob".into(), limit: 200, ..Default::default() };
        let reply::Result::History(page) = reader.ask(user, Command::History(query)).await else {
            panic!("no history");
        };
        assert!(page.messages.len() >= 3);
        for event in page.messages {
            if let Some(wire::entry::What::Message(message)) = event.entry.unwrap().what {
                assert_eq!(proto::json::check_line(&message.body), Ok(()), "{message:?}");
            }
        }
        assert!(!reader.inbox(user).await.is_empty());
    }
}

#[tokio::test]
async fn a_body_is_json_that_every_reader_can_read() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let deep = "[".repeat(1_000) + &"]".repeat(1_000);
    for body in ["hi", "{", "\"", "1 2", "\"\n\"", "[\n]", "\"\\ud800\"", "1e999", deep.as_str()] {
        let refused = gateway.refused("alice", crate::gateway::send("alice~bob", body)).await;
        assert_eq!(refused, "bad_request", "{body}");
    }
    assert_eq!(gateway.send("alice", "alice~bob", "\"hi\"").await.seq, 1);
    let long = format!("\"{}\"", "x".repeat(MAX_BODY_BYTES));
    assert_eq!(gateway.refused("alice", crate::gateway::send("alice~bob", &long)).await, "too_large");
}

#[tokio::test]
async fn a_frame_of_too_many_requests_ends_its_link_and_no_other() {
    let router = Running::start().await;
    let (mut other, mut gateway) = (router.connect().await, router.connect().await);
    gateway.post_frame(Requests { requests: vec![Bytes::new(); MOST_REQUESTS + 1] }).await;
    while soon("the link's end", gateway.replies.message()).await.unwrap().is_some() {}
    assert_eq!(other.send("alice", "alice~bob", "1").await.seq, 1);
}

#[tokio::test]
async fn a_link_that_says_nothing_is_ended_and_one_that_only_beats_is_not() {
    let silence = std::time::Duration::from_millis(400);
    let router = Running::with(router::Config { link_silence: silence, ..Default::default() }).await;
    let (mut silent, mut beating) = (router.connect().await, router.connect().await);
    let beat = async {
        loop {
            beating.post_frame(Requests::default()).await;
            tokio::time::sleep(silence / 8).await;
        }
    };
    let ended = async { while soon("its end", silent.replies.message()).await.unwrap().is_some() {} };
    tokio::select! {
        () = beat => {}
        () = ended => {}
    }
    assert_eq!(beating.send("alice", "alice~bob", "1").await.seq, 1);
}
