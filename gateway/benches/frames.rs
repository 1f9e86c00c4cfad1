//! The hot pieces of a gateway: a command in, an envelope in, frames out.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use gateway::protocol::command::Command;
use gateway::protocol::event::Event;
use gateway::protocol::fields::Fields;
use gateway::protocol::frame::Frame;
use prost::Message as _;
use proto::wire::{Announcement, Entry, Envelope, Message, Target, entry::What};
use proto::{Position, Seq};

fn send_frame(body_bytes: usize) -> String {
    let body = "x".repeat(body_bytes - 2);
    format!(r#"{{"type":"send","ref":7,"to":"bob","body":"{body}","client_msg_id":"m-123456"}}"#)
}

fn entry() -> Entry {
    let body = Bytes::from(format!("\"{}\"", "x".repeat(126)));
    let what = What::Message(Message { body, client_msg_id: "m-123456".into() });
    Entry { fingerprint: 7, time: 1_790_000_000_000, by: "alice".into(), what: Some(what) }
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

fn benches(criterion: &mut Criterion) {
    for bytes in [128, 4_096] {
        let text = send_frame(bytes);
        criterion.bench_function(&format!("parse send of {bytes} bytes"), |bencher| {
            bencher.iter(|| {
                let fields = Fields::from_text(black_box(&text)).unwrap();
                let kind = fields.required_text("type").unwrap();
                Command::parse(&kind, &fields).unwrap()
            });
        });
    }
    criterion.bench_function("encode message frame, first session", |bencher| {
        bencher.iter(|| {
            let event = Event::new("alice~bob".into(), Seq(5), entry());
            Frame::Event(Position(9), Arc::new(event)).to_json()
        });
    });
    let shared = Arc::new(Event::new("alice~bob".into(), Seq(5), entry()));
    criterion.bench_function("encode message frame, further sessions", |bencher| {
        bencher.iter(|| Frame::Event(Position(9), black_box(shared.clone())).to_json());
    });
    for announcements in [1, 32] {
        let envelope = envelope(announcements);
        let bytes = Bytes::from(envelope.encode_to_vec());
        criterion.bench_function(&format!("encode envelope of {announcements}"), |bencher| {
            bencher.iter(|| black_box(&envelope).encode_to_vec());
        });
        criterion.bench_function(&format!("decode envelope of {announcements}"), |bencher| {
            bencher.iter(|| Envelope::decode(black_box(bytes.clone())).unwrap());
        });
    }
}

criterion_group!(frames, benches);
criterion_main!(frames);
