//! What goes together is bounded by what it weighs.

use proto::weight::FRAME;
use proto::wire::{Attach, Cursor, ReadInbox, attach::From, reply, request::Command};

use crate::gateway::{Gateway, Running, send};

/// Writes so many messages of so many bytes to each of these readers.
async fn miss(gateway: &mut Gateway, readers: &[String], messages: usize, bytes: usize) {
    let body = format!("\"{}\"", "x".repeat(bytes - 2));
    for reader in readers {
        let (one, other) = ("alice".min(reader), "alice".max(reader));
        let conversation = format!("{one}~{other}");
        let all: Vec<_> = (0..messages).map(|_| ("alice", send(&conversation, &body))).collect();
        for some in all.chunks(64) {
            for id in gateway.post_all(some.to_vec()).await {
                assert!(matches!(gateway.answer(id).await, reply::Result::Sent(_)));
            }
        }
    }
}

fn readers(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("reader{n}")).collect()
}

fn begin(n: usize) -> Command {
    Command::Attach(Attach {
        device: "d".into(),
        session: format!("s{n}"),
        node: "gw-1.x".into(),
        from: Some(From::Start(true)),
    })
}

/// Reads on to the head; every position comes once.
async fn read_on(gateway: &mut Gateway, reader: &str, mut after: Cursor, mut seen: u64, head: u64) {
    while seen < head {
        let query = ReadInbox { after: Some(after), limit: 1_000, ..Default::default() };
        let reply::Result::Inbox(page) = gateway.ask(reader, Command::ReadInbox(query)).await else {
            panic!("no page");
        };
        assert_eq!((page.reset, page.head), (0, head));
        assert!(!page.events.is_empty());
        for filed in page.events {
            seen += 1;
            assert_eq!(filed.position, seen);
            let fingerprint = filed.event.unwrap().entry.unwrap().fingerprint;
            after = Cursor { position: filed.position, fingerprint };
        }
    }
}

#[tokio::test]
async fn sessions_that_come_back_to_much_at_once_are_all_answered_in_frames_that_fit() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let readers = readers(30);
    miss(&mut gateway, &readers, 100, 8_192).await;
    gateway.frames.clear();
    let commands = readers.iter().enumerate().map(|(n, reader)| (reader.as_str(), begin(n)));
    let ids = gateway.post_all(commands.collect()).await;
    let mut begun = Vec::new();
    for id in ids {
        match gateway.answer(id).await {
            reply::Result::Attached(attached) => begun.push(attached),
            other => panic!("{other:?}"),
        }
    }
    for (reader, attached) in readers.iter().zip(begun) {
        assert_eq!(attached.head, 100);
        let (mut after, mut seen) = (attached.start.unwrap(), 0);
        for filed in attached.page.into_iter().flat_map(|page| page.events) {
            seen += 1;
            assert_eq!(filed.position, seen);
            let fingerprint = filed.event.unwrap().entry.unwrap().fingerprint;
            after = Cursor { position: filed.position, fingerprint };
        }
        read_on(&mut gateway, reader, after, seen, 100).await;
    }
    for (bytes, answers) in &gateway.frames {
        assert!(*answers <= FRAME.entries);
        // Of the frame itself: how many gateways there are.
        assert!(*answers == 1 || *bytes <= FRAME.bytes + 16, "{answers} answers of {bytes} bytes");
    }
}
