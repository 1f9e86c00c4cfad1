//! What gateways are told when the store fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::wire::router_client::RouterClient;
use proto::wire::{self, Failure, Notice, reply, request::Command};
use proto::{ConversationId, NodeIncarnation, Revocation, Seq, UserId};
use router::{Config, Service};
use store::model::{
    Acknowledge, AcknowledgeResult, Attach, AttachResult, Audience, Broadcast, BroadcastResult, ChannelPage,
    ChannelQuery, Conversation, Detach, Group, HistoryPage, HistoryQuery, InboxPage, InboxQuery, Location,
    Mark, MarkResult, Member, Membership, Post, PostResult, PresenceRecord, RevocationPage, RevokeResult,
    Roles, UnheardMessage, Version,
};
use store::{Error, Result, Store};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, create_group, names, send, soon};

/// A store that fails in one way.
#[derive(Clone)]
enum Faulty {
    /// Every call fails.
    Fails(Error),
    /// A group that somebody else has always just changed.
    Races,
    /// No call ever ends.
    Hangs,
}

impl Faulty {
    async fn fail<T>(&self) -> Result<T> {
        match self {
            Self::Fails(error) => Err(error.clone()),
            Self::Races => Err(Error::Unavailable("not asked for".into())),
            Self::Hangs => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn post(&self, batch: Vec<Post>) -> Result<Vec<PostResult>> {
        match self {
            Self::Races => Ok(vec![PostResult::Stale; batch.len()]),
            _ => self.fail().await,
        }
    }

    async fn settle(&self, _: &ConversationId) -> Result<()> {
        self.fail().await
    }

    async fn repair(&self, _: Duration) -> Result<usize> {
        self.fail().await
    }

    async fn attach(&self, _: Vec<Attach>) -> Result<Vec<AttachResult>> {
        self.fail().await
    }

    async fn detach(&self, _: Vec<Detach>) -> Result<Vec<bool>> {
        self.fail().await
    }

    async fn presence(&self, _: &[UserId], _: Option<&NodeIncarnation>) -> Result<Vec<PresenceRecord>> {
        self.fail().await
    }

    async fn unwatch(&self, _: &[UserId], _: &NodeIncarnation) -> Result<()> {
        self.fail().await
    }

    async fn nodes(&self) -> Result<Vec<NodeIncarnation>> {
        self.fail().await
    }

    async fn locate(&self, _: &[UserId]) -> Result<Vec<Vec<Location>>> {
        self.fail().await
    }

    async fn read_inbox(&self, _: Vec<InboxQuery>) -> Result<Vec<InboxPage>> {
        self.fail().await
    }

    async fn acknowledge(&self, _: Vec<Acknowledge>) -> Result<Vec<AcknowledgeResult>> {
        self.fail().await
    }

    async fn mark(&self, _: Vec<Mark>) -> Result<Vec<MarkResult>> {
        self.fail().await
    }

    async fn history(&self, _: HistoryQuery) -> Result<Option<HistoryPage>> {
        self.fail().await
    }

    async fn conversations(
        &self,
        ids: &[ConversationId],
        _: Option<&UserId>,
    ) -> Result<Vec<Option<Conversation>>> {
        if !matches!(self, Self::Races) {
            return self.fail().await;
        }
        let owner = UserId::parse("alice").unwrap();
        let member = Member { user: owner.clone(), since: Seq(0), delivered: Seq(0), read: Seq(0) };
        let group = Group { version: Version(1), name: "tea".into(), owner, roles: Roles::default() };
        let state = Conversation {
            head: Seq(0),
            group: Some(group),
            last_message: None,
            unread: 0,
            members: vec![member],
        };
        Ok(vec![Some(state); ids.len()])
    }

    async fn members(&self, _: &[ConversationId]) -> Result<Vec<Vec<UserId>>> {
        self.fail().await
    }

    async fn broadcast(&self, _: Vec<Broadcast>) -> Result<Vec<BroadcastResult>> {
        self.fail().await
    }

    async fn join_channels(&self, _: Vec<Audience>) -> Result<Vec<Seq>> {
        self.fail().await
    }

    async fn leave_channels(&self, _: Vec<Audience>) -> Result<()> {
        self.fail().await
    }

    async fn read_channels(&self, _: Vec<ChannelQuery>) -> Result<Vec<ChannelPage>> {
        self.fail().await
    }

    async fn take_unheard(&self, _: usize, _: Duration) -> Result<Vec<UnheardMessage>> {
        self.fail().await
    }

    async fn heard(&self, _: &[UnheardMessage]) -> Result<()> {
        self.fail().await
    }

    async fn unheard(&self) -> Result<u64> {
        self.fail().await
    }

    async fn talked(&self, _: &[ConversationId]) -> Result<Vec<bool>> {
        self.fail().await
    }

    async fn memberships(&self, _: &UserId) -> Result<Vec<Membership>> {
        self.fail().await
    }

    async fn publish(&self, _: Vec<(NodeIncarnation, Notice)>) -> Result<()> {
        self.fail().await
    }

    async fn return_ticket(&self, _: &str, _: &str) -> Result<()> {
        self.fail().await
    }

    async fn keep_ticket(&self, _: &str, _: Bytes, _: Duration) -> Result<()> {
        self.fail().await
    }

    async fn take_ticket(&self, _: &str, _: &str) -> Result<Option<Bytes>> {
        self.fail().await
    }

    async fn revoke(&self, _: Vec<Revocation>) -> Result<Vec<RevokeResult>> {
        self.fail().await
    }

    async fn revocations(&self, _: u64) -> Result<RevocationPage> {
        self.fail().await
    }

    async fn ping(&self) -> Result<()> {
        self.fail().await
    }
}

fn service(store: Faulty, config: Config) -> (Service, CancellationToken) {
    let shutdown = CancellationToken::new();
    (Service::new(Arc::new(store), config, shutdown.clone()), shutdown)
}

/// Every command, of the right form.
fn commands() -> Vec<Command> {
    let conversation = || "alice~bob".to_owned();
    let group = || "g_00000000000000000000000000".to_owned();
    vec![
        send("alice~bob", "1"),
        Command::Attach(wire::Attach::default()),
        Command::Detach(wire::Detach { session: "s".into() }),
        Command::ReadInbox(wire::ReadInbox::default()),
        Command::Ack(wire::Ack {
            device: "d".into(),
            cursor: Some(wire::Cursor::default()),
            ..wire::Ack::default()
        }),
        Command::Read(wire::Read { conversation: conversation(), seq: 1 }),
        Command::Typing(wire::SayTyping { conversation: conversation() }),
        Command::History(wire::History { conversation: conversation(), ..Default::default() }),
        Command::Conversations(wire::Conversations::default()),
        create_group("tea", &["bob"]),
        Command::Members(wire::Members { conversation: conversation() }),
        Command::AddMembers(wire::AddMembers {
            conversation: group(),
            members: names(&["bob"]),
            ..Default::default()
        }),
        Command::RemoveMember(wire::RemoveMember { conversation: group(), user: "bob".into() }),
        Command::Rename(wire::Rename { conversation: group(), name: "tea".into() }),
    ]
}

async fn failure(gateway: &mut Gateway, command: Command) -> Failure {
    match gateway.ask("alice", command.clone()).await {
        reply::Result::Failure(failure) => failure,
        other => panic!("{command:?}: {other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_unavailable_with_advice_to_wait() {
    let (service, _shutdown) = service(Faulty::Fails(Error::Unavailable("gone".into())), Config::default());
    let mut gateway = Gateway::open(RouterClient::new(service.server())).await.unwrap();
    for command in commands() {
        let failure = failure(&mut gateway, command.clone()).await;
        assert_eq!((failure.code.as_str(), failure.retry_after_ms), ("unavailable", 1_000), "{command:?}");
    }
    assert!(service.ready().await.is_err());
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_a_fault_of_the_server() {
    let (service, _shutdown) = service(Faulty::Fails(Error::Corrupt("secret".into())), Config::default());
    let mut gateway = Gateway::open(RouterClient::new(service.server())).await.unwrap();
    for command in commands() {
        let failure = failure(&mut gateway, command.clone()).await;
        assert_eq!((failure.code.as_str(), failure.retry_after_ms), ("internal", 0), "{command:?}");
        assert!(!failure.message.contains("secret"));
    }
}

#[tokio::test]
async fn a_change_that_loses_every_race_is_called_off() {
    let (service, _shutdown) = service(Faulty::Races, Config::default());
    let mut gateway = Gateway::open(RouterClient::new(service.server())).await.unwrap();
    let rename = wire::Rename { conversation: "g_00000000000000000000000000".into(), name: "coffee".into() };
    assert_eq!(failure(&mut gateway, Command::Rename(rename)).await.code, "unavailable");
}

#[tokio::test]
async fn a_store_that_hangs_cannot_hold_the_drain() {
    let config = Config { drain: Duration::from_millis(200), ..Config::default() };
    let (service, shutdown) = service(Faulty::Hangs, config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(router::serve(listener, router::Port::default(), service, shutdown.clone()));
    let mut gateway =
        Gateway::open(RouterClient::connect(format!("http://{address}")).await.unwrap()).await.unwrap();
    gateway.post("alice", send("alice~bob", "1")).await;
    shutdown.cancel();
    soon("the server's end", server.join_next()).await.unwrap().unwrap().unwrap();
}
