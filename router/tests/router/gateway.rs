//! A running router, and what stands for a gateway: one link, with verbs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::NodeIncarnation;
use proto::wire::router_client::RouterClient;
use proto::wire::{self, Envelope, Notice, Replies, Reply, Request, Requests, reply, request::Command};
use router::{Config, Port, Service};
use store::embedded::Embedded;
use store::{Bounds, Bus, BusItem, Store, Subscription};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Fails the test instead of waiting for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

pub(crate) struct Running {
    pub(crate) store: Arc<Embedded>,
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    server: JoinSet<Result<(), tonic::transport::Error>>,
    _folder: tempfile::TempDir,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::with_bounds(config, Bounds::default()).await
    }

    pub(crate) async fn with_bounds(config: Config, bounds: Bounds) -> Self {
        Self::start_with(Port::default(), config, bounds).await
    }

    pub(crate) async fn on(port: Port, config: Config) -> Self {
        Self::start_with(port, config, Bounds::default()).await
    }

    async fn start_with(port: Port, config: Config, bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("embedded:{}", folder.path().display()).parse().unwrap();
        let kept = store::Config { bounds, ..store::Config::new(url) };
        let store = Embedded::open(kept, CancellationToken::new()).await.unwrap();
        let shared: Arc<dyn Store> = store.clone();
        let shutdown = CancellationToken::new();
        let service = Service::new(shared, config, shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(router::serve(listener, port, service.clone(), shutdown.clone()));
        Self { store, service, address, shutdown, server, _folder: folder }
    }

    pub(crate) async fn connect(&self) -> Gateway {
        let client = RouterClient::connect(format!("http://{}", self.address)).await.unwrap();
        Gateway::open(client).await.unwrap()
    }

    pub(crate) async fn in_process(&self) -> Gateway {
        Gateway::open(RouterClient::new(self.service.server())).await.unwrap()
    }

    pub(crate) async fn listen(&self, node: &str) -> Ear {
        let node = NodeIncarnation::new(node).unwrap();
        Ear { subscription: self.store.subscribe(node.clone()).await.unwrap(), node }
    }

    /// The server's end.
    pub(crate) async fn stopped(&mut self) {
        soon("the server's end", self.server.join_next()).await.unwrap().unwrap().unwrap();
    }
}

/// One link to a router.
pub(crate) struct Gateway {
    requests: Option<mpsc::Sender<Requests>>,
    pub(crate) replies: Streaming<Replies>,
    next: u64,
    early: HashMap<u64, reply::Result>,
    pub(crate) draining: bool,
    /// Bytes and answers of each frame that has come.
    pub(crate) frames: Vec<(usize, usize)>,
}

impl Gateway {
    pub(crate) async fn open<T>(client: RouterClient<T>) -> Result<Self, tonic::Status>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        T::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
        <T::ResponseBody as tonic::codegen::Body>::Error:
            Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let mut client = client.max_decoding_message_size(proto::weight::FRAME_LIMIT);
        let (requests, queue) = mpsc::channel(64);
        let replies = client.link(ReceiverStream::new(queue)).await?.into_inner();
        Ok(Self {
            requests: Some(requests),
            replies,
            next: 1,
            early: HashMap::new(),
            draining: false,
            frames: Vec::new(),
        })
    }

    /// Sends many in one frame, in order; their ids.
    pub(crate) async fn post_all(&mut self, commands: Vec<(&str, Command)>) -> Vec<u64> {
        let first = self.next;
        let requests: Vec<Bytes> = (first..)
            .zip(commands)
            .map(|(id, (user, command))| {
                let command = Some(command);
                Request { id, user: user.to_owned(), command, trace: Bytes::new() }.encode_to_vec().into()
            })
            .collect();
        self.next += requests.len() as u64;
        let frame = Requests { requests };
        self.requests.as_ref().unwrap().send(frame).await.unwrap();
        (first..self.next).collect()
    }

    /// An id that no request has yet.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Sends what may be a request.
    pub(crate) async fn post_raw(&mut self, request: Bytes) {
        self.post_frame(Requests { requests: vec![request] }).await;
    }

    pub(crate) async fn post_frame(&mut self, frame: Requests) {
        self.requests.as_ref().unwrap().send(frame).await.unwrap();
    }

    pub(crate) async fn post(&mut self, user: &str, command: Command) -> u64 {
        self.post_all(vec![(user, command)]).await[0]
    }

    pub(crate) async fn answer(&mut self, id: u64) -> reply::Result {
        loop {
            if let Some(result) = self.early.remove(&id) {
                return result;
            }
            let frame = soon("an answer", self.replies.message()).await.unwrap();
            let frame = frame.expect("the link ended before the answer");
            self.draining |= frame.draining;
            self.frames.push((frame.encoded_len(), frame.replies.len()));
            for Reply { id, result } in frame.replies {
                assert!(self.early.insert(id, result.unwrap()).is_none(), "{id} was answered twice");
            }
        }
    }

    pub(crate) async fn ask(&mut self, user: &str, command: Command) -> reply::Result {
        let id = self.post(user, command).await;
        self.answer(id).await
    }

    /// The code of a refusal.
    /// The code with which it is refused.
    pub(crate) async fn refused(&mut self, user: &str, command: Command) -> String {
        self.refusal(user, command).await.code
    }

    pub(crate) async fn refusal(&mut self, user: &str, command: Command) -> wire::Failure {
        match self.ask(user, command.clone()).await {
            reply::Result::Failure(failure) => failure,
            other => panic!("{command:?} was not refused: {other:?}"),
        }
    }

    pub(crate) async fn done(&mut self, user: &str, command: Command) {
        let answer = self.ask(user, command.clone()).await;
        assert!(matches!(answer, reply::Result::Done(_)), "{command:?}: {answer:?}");
    }

    pub(crate) async fn send(&mut self, user: &str, conversation: &str, body: &str) -> wire::Sent {
        match self.ask(user, send(conversation, body)).await {
            reply::Result::Sent(sent) => sent,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn group(&mut self, owner: &str, name: &str, members: &[&str]) -> String {
        let command = create_group(name, members);
        match self.ask(owner, command).await {
            reply::Result::Created(created) => created.conversation,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn members(&mut self, user: &str, conversation: &str) -> (String, Vec<String>) {
        let query = Command::Members(wire::Members { conversation: conversation.to_owned() });
        match self.ask(user, query).await {
            reply::Result::Members(list) => {
                (list.owner, list.members.into_iter().map(|member| member.user).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything in a user's inbox, as (conversation, entry).
    pub(crate) async fn inbox(&mut self, user: &str) -> Vec<wire::Event> {
        let mut events = Vec::new();
        let mut after = wire::Cursor::default();
        loop {
            let query = wire::ReadInbox { after: Some(after), limit: 1_000, ..Default::default() };
            let reply::Result::Inbox(page) = self.ask(user, Command::ReadInbox(query)).await else {
                panic!("no page");
            };
            assert_eq!(page.reset, 0, "reset");
            for filed in page.events {
                assert_eq!(filed.position, after.position + 1, "a hole");
                let event = filed.event.unwrap();
                after.position = filed.position;
                after.fingerprint = event.entry.as_ref().unwrap().fingerprint;
                events.push(event);
            }
            if after.position == page.head {
                return events;
            }
        }
    }

    pub(crate) async fn attach(
        &mut self,
        user: &str,
        device: &str,
        session: &str,
        node: &Ear,
    ) -> wire::Attached {
        let command = Command::Attach(wire::Attach {
            device: device.to_owned(),
            session: session.to_owned(),
            node: node.node.to_string(),
            from: None,
        });
        match self.ask(user, command).await {
            reply::Result::Attached(attached) => attached,
            other => panic!("{other:?}"),
        }
    }

    /// Says that no more requests come.
    pub(crate) fn close(&mut self) {
        self.requests = None;
    }
}

/// A gateway's ear on the bus.
pub(crate) struct Ear {
    pub(crate) node: NodeIncarnation,
    subscription: Box<dyn Subscription>,
}

impl Ear {
    async fn envelope(&mut self) -> Envelope {
        loop {
            match soon("an envelope", self.subscription.next()).await {
                BusItem::Envelope(envelope) => return envelope,
                BusItem::Lost(loss) => panic!("lost: {loss:?}"),
                BusItem::Store(_) => {}
            }
        }
    }

    /// The notices of the next envelope that has some.
    pub(crate) async fn notices(&mut self) -> Vec<Notice> {
        loop {
            let envelope = self.envelope().await;
            if !envelope.notices.is_empty() {
                return envelope.notices;
            }
        }
    }

    /// The next publication, of an envelope that has no other.
    pub(crate) async fn publication(&mut self) -> wire::Publication {
        loop {
            let mut envelope = self.envelope().await;
            if !envelope.publications.is_empty() {
                assert_eq!(envelope.publications.len(), 1, "{envelope:?}");
                return envelope.publications.remove(0);
            }
        }
    }

    /// The next notice; announcements before it are passed over.
    pub(crate) async fn notice(&mut self) -> Notice {
        loop {
            let mut envelope = self.envelope().await;
            if !envelope.notices.is_empty() {
                assert_eq!(envelope.notices.len(), 1, "{envelope:?}");
                return envelope.notices.remove(0);
            }
        }
    }
}

/// A message with an id of its own.
pub(crate) fn send(conversation: &str, body: &str) -> Command {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    send_as(conversation, body, &format!("m-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

pub(crate) fn send_as(conversation: &str, body: &str, client_msg_id: &str) -> Command {
    Command::Send(wire::Send {
        conversation: conversation.to_owned(),
        body: body.to_owned().into(),
        client_msg_id: client_msg_id.to_owned(),
        hidden_id: false,
        session: String::new(),
    })
}

pub(crate) fn create_group(name: &str, members: &[&str]) -> Command {
    Command::CreateGroup(wire::CreateGroup {
        name: name.to_owned(),
        members: names(members),
        conversation: proto::ConversationId::new_group(proto::Time(1)).to_string(),
        role: String::new(),
        service: false,
    })
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The body of a message's event.
pub(crate) fn body(event: &wire::Event) -> String {
    match event.entry.as_ref().and_then(|entry| entry.what.as_ref()) {
        Some(wire::entry::What::Message(message)) => String::from_utf8(message.body.to_vec()).unwrap(),
        other => panic!("not a message: {other:?}"),
    }
}

/// The change of a group's event.
pub(crate) fn change(event: &wire::Event) -> wire::Change {
    match event.entry.as_ref().and_then(|entry| entry.what.as_ref()) {
        Some(wire::entry::What::Change(change)) => change.clone(),
        other => panic!("not a change: {other:?}"),
    }
}
