//! Instructions of the hot pieces between a client's socket and the routers and
//! the bus, held against `instructions.txt` (`make instructions`).
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use gateway::caller::auth::Authenticator;
use gateway::caller::auth::token::Token;
use gateway::config::{AuthConfig, Secret};
use gateway::protocol::binary;
use gateway::protocol::command::Command;
use gateway::protocol::event::Event;
use gateway::protocol::fields::Fields;
use gateway::protocol::frame::Frame;
use gateway::protocol::publication::Publication;
use gateway::session::Session;
use prost::Message as _;
use proto::wire::{self, Announcement, Entry, Envelope, Target, client, entry::What, reply, request};
use proto::{Cursor, DeviceId, Fingerprint, Position, Seq, StoreIncarnation, UserId};
use testbed::instructions::{self, Piece};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let accepted = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let pieces = [commands(), frames(), bus(), link(), sessions(), tokens()];
    let pieces: Vec<Piece> = pieces.into_iter().flatten().collect();
    instructions::main(&accepted, &pieces)
}

/// A command in.
fn commands() -> Vec<Piece> {
    let parse = |text: String| {
        let fields = Fields::from_text(&text).unwrap();
        let kind = fields.required_text("type").unwrap();
        Command::parse(&kind, &fields).unwrap()
    };
    let decode = |bytes: Vec<u8>| {
        let (kind, fields) = binary::decode(&bytes).unwrap();
        Command::of(kind, &fields).unwrap()
    };
    vec![
        Piece::new("command: send, 128 bytes, JSON", || send_text(128), parse),
        Piece::new("command: send, 4096 bytes, JSON", || send_text(4_096), parse),
        Piece::new("command: ack, JSON", || r#"{"type":"ack","cursor":"1234.7k2"}"#.to_owned(), parse),
        Piece::new("command: send, 128 bytes, protobuf", || send_bytes(128), decode),
    ]
}

/// A frame out.
fn frames() -> Vec<Piece> {
    let json = |frame: Frame| {
        let mut out = String::new();
        frame.write_json(&mut out);
        out
    };
    let known = || {
        let event = event();
        event.json();
        event.protobuf();
        Frame::Event(Position(1234), event)
    };
    let receipt = || {
        let kind = wire::receipt::Kind::Read.into();
        let receipt = wire::Receipt { conversation: "alice~bob".into(), user: "bob".into(), kind, seq: 5 };
        Frame::Receipt(Arc::new(receipt.into()))
    };
    let first = || Frame::Event(Position(1234), event());
    vec![
        Piece::new("frame: message, first of a node, JSON", first, json),
        Piece::new("frame: message, encoded before, JSON", known, json),
        Piece::new("frame: message, first of a node, protobuf", first, |frame| binary::encode(&frame)),
        Piece::new("frame: message, encoded before, protobuf", known, |frame| binary::encode(&frame)),
        Piece::new("frame: sent, JSON", sent_frame, json),
        Piece::new("frame: sent, protobuf", sent_frame, |frame| binary::encode(&frame)),
        Piece::new("frame: receipt, JSON", receipt, json),
        Piece::new("frame: publication, first of a node, JSON", || Frame::Publication(publication()), json),
    ]
}

/// An envelope of the bus.
fn bus() -> Vec<Piece> {
    let encode = |envelope: Envelope| envelope.encode_to_vec();
    let decode = |bytes: Bytes| Envelope::decode(bytes).unwrap();
    vec![
        Piece::new("bus: encode an envelope of 1", || envelope(1), encode),
        Piece::new("bus: encode an envelope of 32", || envelope(32), encode),
        Piece::new("bus: decode an envelope of 1", || envelope(1).encode_to_vec().into(), decode),
        Piece::new("bus: decode an envelope of 32", || envelope(32).encode_to_vec().into(), decode),
    ]
}

/// A frame to a router and one from it.
fn link() -> Vec<Piece> {
    vec![
        Piece::new("link: encode 32 requests", || requests(32), |requests| frame(requests).encode_to_vec()),
        Piece::new(
            "link: decode 32 requests",
            || Bytes::from(frame(requests(32)).encode_to_vec()),
            |bytes| {
                let frame = wire::Requests::decode(bytes).unwrap();
                let requests = frame.requests.into_iter();
                requests.map(|request| wire::Request::decode(request).unwrap()).collect::<Vec<_>>()
            },
        ),
        Piece::new("link: encode 32 replies", || replies(32), |frame| frame.encode_to_vec()),
        Piece::new(
            "link: decode 32 replies",
            || Bytes::from(replies(32).encode_to_vec()),
            |bytes| wire::Replies::decode(bytes).unwrap(),
        ),
    ]
}

/// A session takes what comes, and its transport what waits.
fn sessions() -> Vec<Piece> {
    let events = |count: u64| (1..=count).map(|number| (Position(number), event())).collect::<Vec<_>>();
    let through = |(session, events, mut out): (Session, Vec<_>, Vec<Frame>)| {
        for (position, event) in &events {
            session.offer(*position, event);
        }
        session.take(&mut out, 128);
        out
    };
    let own = |(session, event, mut out): (Session, Event, Vec<Frame>)| {
        session.command_begins();
        session.offer_own(Some("7".into()), "alice~bob", sent(), event, StoreIncarnation(7));
        session.take(&mut out, 128);
        out
    };
    vec![
        Piece::new(
            "session: 1 event in and out",
            move || (session(), events(1), Vec::with_capacity(128)),
            through,
        ),
        Piece::new(
            "session: 32 events in and out",
            move || (session(), events(32), Vec::with_capacity(128)),
            through,
        ),
        Piece::new(
            "session: own message answered",
            || (session(), Event::new("alice~bob".into(), Seq(5), entry()), Vec::with_capacity(128)),
            own,
        ),
    ]
}

/// A token of HS256.
fn tokens() -> Vec<Piece> {
    let secret = Secret::new("a secret of at least thirty-two bytes");
    let config = AuthConfig { secret: Some(secret.clone()), ..AuthConfig::default() };
    let authenticator = Authenticator::new(&config).unwrap();
    let ttl = Duration::from_secs(3_600);
    let token = move || {
        let token = Token { sub: "alice", device: Some("phone"), ttl, ..Token::default() };
        token.sign(&secret).unwrap()
    };
    let verify = move |token: String| authenticator.verify(&token).now_or_never().unwrap().unwrap();
    vec![Piece::new("token: verify HS256", token, verify)]
}

fn send_text(bytes: usize) -> String {
    let body = "x".repeat(bytes - 2);
    format!(r#"{{"type":"send","ref":7,"to":"bob","body":"{body}","client_msg_id":"m-123456"}}"#)
}

fn send_bytes(bytes: usize) -> Vec<u8> {
    let send = client::Send {
        to: Some("bob".into()),
        body: Some(body(bytes)),
        client_msg_id: Some("m-123456".into()),
        ..Default::default()
    };
    let command = Some(client::command::Command::Send(send));
    client::Command { r#ref: Some("7".into()), command, ..Default::default() }.encode_to_vec()
}

fn body(bytes: usize) -> Bytes {
    format!("\"{}\"", "x".repeat(bytes - 2)).into()
}

fn entry() -> Entry {
    let what = What::Message(wire::Message { body: body(128), client_msg_id: "m-123456".into() });
    Entry { fingerprint: 7, time: 1_790_000_000_000, by: "alice".into(), what: Some(what) }
}

fn event() -> Arc<Event> {
    Arc::new(Event::new("alice~bob".into(), Seq(5), entry()))
}

fn publication() -> Arc<Publication> {
    let wire = wire::Publication { channel: "c_news".into(), seq: 5, entry: Some(entry()) };
    Arc::new(wire.into())
}

fn sent() -> wire::Sent {
    let time = 1_790_000_000_000;
    wire::Sent { seq: 5, time, position: 1, fingerprint: 7, store: 7, ..Default::default() }
}

fn sent_frame() -> Frame {
    let cursor = Some(Cursor { position: Position(1), fingerprint: Fingerprint(7) });
    Frame::Sent {
        reference: Some("7".into()),
        conversation: "alice~bob".into(),
        sent: Box::new(sent()),
        cursor,
    }
}

fn envelope(announcements: usize) -> Envelope {
    let one = Announcement {
        conversation: "alice~bob".into(),
        seq: 5,
        entry: Some(entry()),
        targets: vec![Target { user: "bob".into(), position: 9 }],
        ..Default::default()
    };
    Envelope { store: "a.1".into(), number: 3, announcements: vec![one; announcements], ..Default::default() }
}

fn requests(count: u64) -> Vec<wire::Request> {
    let send = wire::Send {
        conversation: "alice~bob".into(),
        body: body(128),
        client_msg_id: "m-123456".into(),
        hidden_id: false,
        session: "0123456789abcdef".into(),
    };
    let one = |id| wire::Request {
        id,
        user: "alice".into(),
        command: Some(request::Command::Send(send.clone())),
        ..Default::default()
    };
    (1..=count).map(one).collect()
}

/// As they are sent: each is encoded when it is asked.
fn frame(requests: Vec<wire::Request>) -> wire::Requests {
    wire::Requests { requests: requests.iter().map(|request| request.encode_to_vec().into()).collect() }
}

fn replies(count: u64) -> wire::Replies {
    let one = |id| wire::Reply { id, result: Some(reply::Result::Sent(sent())) };
    wire::Replies { replies: (1..=count).map(one).collect(), ..Default::default() }
}

/// One that is live from the beginning of its inbox on.
fn session() -> Session {
    let (user, device) = (UserId::parse("bob").unwrap(), DeviceId::parse("phone").unwrap());
    let session = Session::new(
        user.clone(),
        device,
        gateway::session::Proof::of(user, proto::TokenEnd(u64::MAX)).into(),
        1_024,
    );
    session.begin(Cursor::ORIGIN, Position(0), []);
    session
}
