//! Channels: publishing, the audience, and the log.

use proto::wire::{self, reply, request::Command};

use crate::gateway::{Gateway, Running};

fn publish(channel: &str, body: &str, client_msg_id: &str) -> Command {
    Command::Publish(wire::Publish {
        channel: channel.to_owned(),
        body: body.to_owned().into(),
        client_msg_id: client_msg_id.to_owned(),
        hidden_id: false,
    })
}

fn join(channel: &str, node: &str) -> Command {
    Command::JoinChannel(wire::JoinChannel { channel: channel.to_owned(), node: node.to_owned() })
}

fn read(channel: &str, after: u64, limit: u32) -> Command {
    Command::ReadChannel(wire::ReadChannel { channel: channel.to_owned(), after, limit })
}

impl Gateway {
    async fn published(&mut self, command: Command) -> wire::Sent {
        match self.ask("alice", command).await {
            reply::Result::Sent(sent) => sent,
            other => panic!("{other:?}"),
        }
    }

    async fn channel(&mut self, command: Command) -> wire::ChannelPage {
        match self.ask("alice", command).await {
            reply::Result::Channel(page) => page,
            other => panic!("{other:?}"),
        }
    }
}

fn bodies(page: &wire::ChannelPage) -> Vec<(u64, String)> {
    let body = |publication: &wire::Publication| match &publication.entry.as_ref().unwrap().what {
        Some(wire::entry::What::Message(message)) => String::from_utf8(message.body.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    page.publications.iter().map(|publication| (publication.seq, body(publication))).collect()
}

#[tokio::test]
async fn a_publication_is_numbered_kept_and_told_to_the_nodes_that_joined() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let mut ear = router.listen("gw").await;
    let first = gateway.published(publish("c_news", "1", "m-1")).await;
    assert_eq!((first.seq, first.duplicate, first.position), (1, false, 0));
    let joined = gateway.channel(join("c_news", ear.node.as_str())).await;
    assert_eq!((joined.head, joined.publications.len()), (1, 0));
    gateway.published(publish("c_news", "2", "m-2")).await;
    let heard = ear.publication().await;
    assert_eq!((heard.channel.as_str(), heard.seq), ("c_news", 2));
    let leave = wire::LeaveChannel { channel: "c_news".into(), node: ear.node.to_string() };
    gateway.done("alice", Command::LeaveChannel(leave)).await;
    gateway.published(publish("c_news", "3", "m-3")).await;
    gateway.channel(join("c_news", ear.node.as_str())).await;
    gateway.published(publish("c_news", "4", "m-4")).await;
    assert_eq!(ear.publication().await.seq, 4);
}

#[tokio::test]
async fn a_repeat_is_the_same_publication() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let first = gateway.published(publish("c_news", "1", "m-1")).await;
    let again = gateway.published(publish("c_news", "2", "m-1")).await;
    assert_eq!((again.seq, again.time, again.duplicate), (1, first.time, true));
    assert_eq!(bodies(&gateway.channel(read("c_news", 0, 10)).await), [(1, "1".to_owned())]);
}

#[tokio::test]
async fn a_log_is_read_in_pages_of_bounded_size() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let large = format!("\"{}\"", "x".repeat(60_000));
    for n in 1..=30 {
        gateway.published(publish("c_news", &large, &format!("m-{n}"))).await;
    }
    let mut after = 0;
    while after < 30 {
        let page = gateway.channel(read("c_news", after, 1_000)).await;
        assert_eq!(page.head, 30);
        let bytes: usize = bodies(&page).iter().map(|(_, body)| body.len()).sum();
        assert!(bytes <= 1 << 20, "{bytes}");
        for (seq, _) in bodies(&page) {
            assert_eq!(seq, after + 1);
            after = seq;
        }
    }
    assert_eq!(gateway.channel(read("c_news", 10, 3)).await.publications.len(), 3);
    assert_eq!(gateway.channel(read("c_none", 0, 3)).await, wire::ChannelPage::default());
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for (command, code) in [
        (publish("news", "1", "m-1"), "bad_request"),
        (publish("c_news", "", "m-1"), "bad_request"),
        (publish("c_news", "1", ""), "bad_request"),
        (publish("c_news", &"1".repeat(65_537), "m-1"), "too_large"),
        (join("c_", "gw"), "bad_request"),
        (join("c_news", ""), "bad_request"),
        (read("c_a b", 0, 1), "bad_request"),
    ] {
        assert_eq!(gateway.refused("alice", command).await, code);
    }
}
