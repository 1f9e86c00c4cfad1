//! A device that goes on whatever happens: reconnects to the next gateway with
//! its cursor, subscribes to its channels again, repeats what got no answer under
//! the same id, and writes everything into the history.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use loadtest::client::{Account, Client, Error, Frame, Transport};
use loadtest::history::{DeviceLog, History};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::PATIENCE;
use crate::subscriptions::Subscriptions;

const RECONNECT: Duration = Duration::from_millis(100);
const REPEAT: Duration = Duration::from_millis(250);
const ACKNOWLEDGE: Duration = Duration::from_millis(500);

/// A handle; the device stops when it is dropped.
#[derive(Debug)]
pub struct Person {
    user: String,
    device: String,
    history: Arc<History>,
    /// Orders that the connection has not taken yet; when it is full, giving one waits.
    orders: mpsc::Sender<Order>,
    standing: watch::Receiver<Standing>,
    said: AtomicU64,
    /// The last message that it was told to edit.
    edited: Mutex<Option<(String, u64)>>,
    stop: CancellationToken,
}

/// How the device stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// A session is open.
    pub connected: bool,
    /// The gateway of the session (not over polls).
    pub node: String,
    /// Sessions begun so far.
    pub sessions: usize,
    /// Messages that were acknowledged.
    pub answered: u64,
    /// Messages received, its own copies not counted.
    pub received: usize,
    /// Reasons of `goaway`, in order.
    pub goaways: Vec<String>,
    /// How sessions ended that it did not leave itself: WebSocket close codes,
    /// in order; 0 for a broken connection.
    pub closes: Vec<u16>,
    /// Reasons of `reset`, in order.
    pub resets: Vec<String>,
    /// Codes of refusals, in order.
    pub refusals: Vec<String>,
    /// The position of the last event.
    pub cursor: String,
    /// The conversation and seq of the last message of its own that was acknowledged.
    pub last_sent: Option<(String, u64)>,
    /// What it was told of each user's presence, in order; only with
    /// [`watch`](Person::watch).
    pub seen_online: Vec<(String, bool)>,
}

/// How a device deceives the history once: what the checker is there to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deceit {
    /// The next message is not written down.
    Loses,
    /// The next message is written down twice.
    Repeats,
    /// The next two messages are written down in the other order.
    Reorders,
}

enum Order {
    Deceive(Deceit),
    /// A message, or an amendment; said until it is answered.
    Say {
        id: String,
        command: Value,
    },
    Watch(Vec<String>),
    Move {
        gateway: usize,
        transport: Transport,
    },
    Read(bool),
}

impl Person {
    pub(crate) fn start(
        tasks: &TaskTracker,
        history: &Arc<History>,
        gateways: Vec<String>,
        transport: Transport,
        account: Account,
        log: DeviceLog,
    ) -> Self {
        let (orders, received) = mpsc::channel(1024);
        let (standing, watched) = watch::channel(Standing::default());
        let stop = CancellationToken::new();
        let user = log.user();
        let device = account.device.clone().unwrap_or_default();
        let life = Life {
            gateway: gateways.iter().position(|url| *url == account.gateway).unwrap_or_default(),
            gateways,
            subscriptions: Subscriptions::of(transport, &account),
            deceit: None,
            withheld: None,
            watched: Vec::new(),
            newest: None,
            transport,
            account,
            log,
            standing,
            orders: received,
            unanswered: BTreeMap::new(),
            references: BTreeMap::new(),
            reading: true,
            over: false,
            repeat_at: None,
            leave_at: None,
        };
        tasks.spawn({
            let stop = stop.clone();
            async move { stop.run_until_cancelled(life.run()).await }
        });
        let history = Arc::clone(history);
        let (said, edited) = (AtomicU64::new(0), Mutex::default());
        Self { user, device, history, orders, standing: watched, said, edited, stop }
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How the device stands now.
    #[expect(clippy::disallowed_methods, reason = "for the length of a copy")]
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Writes to another user; gives the message's id.
    pub async fn say_to(&self, user: &str) -> Result<String> {
        let (one, other) = if self.user() <= user { (self.user(), user) } else { (user, self.user()) };
        let conversation = format!("{one}~{other}");
        self.say(&conversation, json!({"to": user})).await
    }

    /// Writes to a conversation, or publishes to a channel; gives the message's id.
    pub async fn say_in(&self, conversation: &str) -> Result<String> {
        let field = if conversation.starts_with("c_") { "channel" } else { "conversation" };
        self.say(conversation, json!({field: conversation})).await
    }

    /// Edits the last message that it was told is sent; nothing where there is
    /// none, or where it has edited that one.
    pub async fn edit_last(&self) -> Result<()> {
        let last = self.standing().last_sent;
        let before = std::mem::replace(&mut *self.edited.lock().expect("no holder panics"), last.clone());
        let Some((conversation, seq)) = last.filter(|last| before.as_ref() != Some(last)) else {
            return Ok(());
        };
        let id = format!("edit of {conversation} #{seq} by {}.{}", self.user, self.device);
        self.history.editing(&conversation, seq, &id);
        let command = json!({"type": "edit", "conversation": conversation, "seq": seq, "body": id});
        self.amend(id, command).await
    }

    /// Reacts to the last message that it was told is sent.
    pub async fn react_to_last(&self) -> Result<()> {
        let Some((conversation, seq)) = self.standing().last_sent else { return Ok(()) };
        let command =
            json!({"type": "react", "conversation": conversation, "seq": seq, "emoji": "+1", "on": true});
        self.amend(String::new(), command).await
    }

    async fn amend(&self, id: String, command: Value) -> Result<()> {
        self.said.fetch_add(1, Ordering::Relaxed);
        self.order(Order::Say { id, command }).await
    }

    /// Asks for the presence of these users, and to be told of it from now on, in
    /// each of its sessions.
    pub async fn watch(&self, users: &[&str]) -> Result<()> {
        self.order(Order::Watch(users.iter().map(|user| (*user).to_owned()).collect())).await
    }

    /// Writes a body of this many bytes to another user; gives the message's id.
    pub async fn say_much_to(&self, user: &str, bytes: usize) -> Result<String> {
        let (one, other) = if self.user() <= user { (self.user(), user) } else { (user, self.user()) };
        let conversation = format!("{one}~{other}");
        self.say(&conversation, json!({"to": user, "body": "x".repeat(bytes)})).await
    }

    async fn say(&self, conversation: &str, mut command: Value) -> Result<String> {
        let count = self.said.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}.{}-{count}", self.user, self.device);
        let channel = conversation.starts_with("c_");
        command["type"] = json!(if channel { "publish" } else { "send" });
        if channel {
            // What tells its readers which one it is.
            command["body"] = json!(id);
        } else if command["body"].is_null() {
            command["body"] = json!(format!("message {count} of {}", self.user));
        }
        command["client_msg_id"] = json!(id);
        self.history.sending(conversation, &id);
        self.order(Order::Say { id: id.clone(), command }).await?;
        Ok(id)
    }

    /// Goes on at another gateway and over another transport, with the cursor;
    /// returns when connected there.
    pub async fn move_to(&self, gateway: usize, transport: Transport) -> Result<()> {
        let sessions = self.standing().sessions;
        self.order(Order::Move { gateway, transport }).await?;
        self.until("moved", |standing| standing.sessions > sessions && standing.connected).await
    }

    /// Deceives the history once.
    pub async fn deceive(&self, deceit: Deceit) -> Result<()> {
        self.order(Order::Deceive(deceit)).await
    }

    /// Leaves the connection open and reads nothing from it.
    pub async fn stop_reading(&self) -> Result<()> {
        self.order(Order::Read(false)).await
    }

    /// Reads on after [`stop_reading`](Self::stop_reading).
    pub async fn read_on(&self) -> Result<()> {
        self.order(Order::Read(true)).await
    }

    /// Waits until the device stands so.
    pub async fn until(&self, what: &str, holds: impl FnMut(&Standing) -> bool) -> Result<()> {
        let mut standing = self.standing.clone();
        let found = timeout(PATIENCE, standing.wait_for(holds)).await;
        found.ok().and_then(Result::ok).with_context(|| format!("{self} is not {what}"))?;
        Ok(())
    }

    /// Messages said and not acknowledged yet.
    pub fn unanswered(&self) -> u64 {
        self.said.load(Ordering::Relaxed) - self.standing().answered
    }

    /// Waits until no more than so many messages are unanswered.
    pub async fn answered_but(&self, unanswered: u64) -> Result<()> {
        let said = self.said.load(Ordering::Relaxed);
        self.until("answered", |standing| said - standing.answered <= unanswered).await
    }

    async fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).await.ok().context("the device has ended")
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}: {:?}", self.user, self.device, self.standing())
    }
}

/// The task behind a [`Person`].
struct Life {
    gateways: Vec<String>,
    gateway: usize,
    transport: Transport,
    account: Account,
    log: DeviceLog,
    standing: watch::Sender<Standing>,
    orders: mpsc::Receiver<Order>,
    subscriptions: Subscriptions,
    deceit: Option<Deceit>,
    /// A message that is written down after the next one.
    withheld: Option<Frame>,
    /// Users whose presence it wants to be told of.
    watched: Vec<String>,
    /// The newest message of others that it has not marked as read.
    newest: Option<(String, u64)>,
    /// By the order in which they were said; commands by id.
    unanswered: BTreeMap<u64, (String, Value)>,
    /// From a connection's `ref` to the key in `unanswered`.
    references: BTreeMap<u64, u64>,
    reading: bool,
    /// It was told not to come back.
    over: bool,
    repeat_at: Option<Instant>,
    /// When it was told to go on elsewhere.
    leave_at: Option<Instant>,
}

impl Life {
    async fn run(mut self) {
        let mut next = None;
        while !self.over {
            let Some(client) = (match next.take() {
                Some(client) => Some(client),
                None => self.connect().await,
            }) else {
                continue;
            };
            let ended = self.session(client).await;
            (self.leave_at, self.repeat_at) = (None, None);
            self.references.clear();
            self.standing.send_modify(|standing| match &ended {
                Ok(Some(_)) => {}
                // A poll that could not be begun, which is no end of anything.
                Ok(None) | Err(Error::Unreached(_)) => standing.connected = false,
                Err(error) => {
                    standing.connected = false;
                    let closed = if let Error::Closed(close) = error { close.code } else { None };
                    standing.closes.push(closed.unwrap_or_default());
                }
            });
            match ended {
                Ok(elsewhere) => next = elsewhere,
                Err(_) => self.gateway += 1,
            }
        }
        // Stays to be looked at.
        std::future::pending::<()>().await;
    }

    async fn connect(&mut self) -> Option<Client> {
        self.account.gateway = self.gateways[self.gateway % self.gateways.len()].clone();
        match timeout(PATIENCE, Client::connect(self.transport, &self.account)).await {
            Ok(Ok(client)) => Some(client),
            _ => {
                self.gateway += 1;
                sleep(RECONNECT).await;
                None
            }
        }
    }

    /// Goes on elsewhere before it leaves; nothing if nobody takes it there.
    async fn go_elsewhere(&mut self) -> Option<Client> {
        for _ in 0..self.gateways.len() {
            self.gateway += 1;
            if let Some(client) = self.connect().await {
                return Some(client);
            }
        }
        None
    }

    /// Until it is told to move, or the connection ends. Sent away by its
    /// gateway it goes on elsewhere at the time that it was told, and then leaves.
    async fn session(&mut self, mut client: Client) -> Result<Option<Client>, Error> {
        self.log.began(client.cursor());
        let node = client.welcome().and_then(|welcome| welcome.text("node")).unwrap_or_default().to_owned();
        self.account.cursor = Some(client.cursor().to_owned());
        self.standing.send_modify(|standing| {
            standing.connected = true;
            standing.sessions += 1;
            standing.node = node;
            client.cursor().clone_into(&mut standing.cursor);
        });
        self.subscriptions.begin();
        self.repeat(&mut client).await?;
        self.ask_presence(&mut client).await?;
        let mut acknowledged = client.cursor().to_owned();
        let mut clock = interval(ACKNOWLEDGE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.leave_at.is_some_and(|at| at <= Instant::now()) {
                self.leave_at = None;
                if let Some(elsewhere) = self.go_elsewhere().await {
                    return Ok(Some(elsewhere));
                }
            }
            let (repeat_at, leave_at) = (self.repeat_at, self.leave_at);
            tokio::select! {
                () = async { sleep_until(leave_at.unwrap_or_else(Instant::now)).await }, if leave_at.is_some() => {}
                frame = client.next_frame(), if self.reading => {
                    let frame = frame?;
                    self.account.cursor = Some(client.cursor().to_owned());
                    self.take(&frame);
                }
                order = self.orders.recv() => match order {
                    None => return Ok(None),
                    Some(Order::Read(reading)) => self.reading = reading,
                    Some(Order::Deceive(deceit)) => self.deceit = Some(deceit),
                    Some(Order::Watch(users)) => {
                        self.watched = users;
                        self.ask_presence(&mut client).await?;
                    }
                    Some(Order::Move { gateway, transport }) => {
                        (self.gateway, self.transport) = (gateway, transport);
                        return Ok(None);
                    }
                    Some(Order::Say { id, command }) => {
                        let key = self.unanswered.last_key_value().map_or(0, |(key, _)| key + 1);
                        self.unanswered.insert(key, (id, command));
                        self.say(&mut client, key).await?;
                    }
                },
                () = async { sleep_until(repeat_at.unwrap_or_else(Instant::now)).await }, if repeat_at.is_some() => {
                    self.repeat(&mut client).await?;
                }
                _ = clock.tick(), if self.reading => {
                    if client.cursor() != acknowledged {
                        client.cursor().clone_into(&mut acknowledged);
                        client.start(json!({"type": "ack", "cursor": acknowledged})).await?;
                    }
                    if let Some((conversation, seq)) = self.newest.take() {
                        let read = json!({"type": "read", "conversation": conversation, "seq": seq});
                        client.start(read).await?;
                    }
                }
            }
        }
    }

    /// Sends what has no answer and is not under way on this connection.
    async fn repeat(&mut self, client: &mut Client) -> Result<(), Error> {
        self.repeat_at = None;
        for command in self.subscriptions.due() {
            let reference = client.start(command.clone()).await?;
            self.subscriptions.asked(reference, &command);
        }
        let keys: Vec<u64> = self.unanswered.keys().copied().collect();
        for key in keys {
            if !self.references.values().any(|under_way| *under_way == key) {
                self.say(client, key).await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self, client: &mut Client, key: u64) -> Result<(), Error> {
        let Some((id, command)) = self.unanswered.get(&key) else { return Ok(()) };
        let reference = client.start(command.clone()).await?;
        if command["client_msg_id"].is_string() {
            self.log.expect_answer(reference, id);
        }
        self.references.insert(reference, key);
        Ok(())
    }

    async fn ask_presence(&self, client: &mut Client) -> Result<(), Error> {
        if !self.watched.is_empty() {
            client.start(json!({"type": "presence", "users": self.watched, "watch": true})).await?;
        }
        Ok(())
    }

    fn take(&mut self, frame: &Frame) {
        if let Some(publications) = self.subscriptions.take(frame) {
            if frame.kind() == "error" {
                self.repeat_at.get_or_insert(Instant::now() + REPEAT);
            }
            for publication in publications {
                self.log.publication(&publication, publication.text("body"));
            }
            return;
        }
        self.write_down(frame);
        let own = frame.text("from") == Some(&self.log.user());
        let answered = frame.answers().and_then(|reference| self.references.remove(&reference));
        let text = |field: &str| frame.text(field).unwrap_or_default().to_owned();
        match (frame.kind(), answered) {
            ("sent" | "ok", Some(key)) => self.answered(frame, key),
            ("error", Some(key)) => {
                self.standing.send_modify(|standing| standing.refusals.push(text("code")));
                // Said again, under the same id: nothing was acknowledged. What it
                // would amend may be gone with a store that lost its last writes.
                if text("code") == "unavailable" || !self.is_amendment(key) {
                    self.repeat_at.get_or_insert(Instant::now() + REPEAT);
                } else {
                    self.unanswered.remove(&key);
                    self.standing.send_modify(|standing| standing.answered += 1);
                }
            }
            ("ok", None) => self.heard_presence(frame.0["presence"].as_array().into_iter().flatten()),
            ("presence", _) => self.heard_presence([&frame.0]),
            ("message", _) if !own => {
                self.newest = Some((text("conversation"), frame.number("seq").unwrap_or_default()));
                self.standing.send_modify(|standing| standing.received += 1);
            }
            ("reset", _) => self.standing.send_modify(|standing| standing.resets.push(text("reason"))),
            ("goaway", _) => {
                let pause = frame.number("reconnect_in_ms");
                self.over = pause.is_none();
                self.leave_at = pause.map(|ms| Instant::now() + Duration::from_millis(ms));
                self.standing.send_modify(|standing| standing.goaways.push(text("reason")));
            }
            _ => {}
        }
        if let Some(cursor) = frame.cursor() {
            self.standing.send_modify(|standing| cursor.clone_into(&mut standing.cursor));
        }
    }

    fn write_down(&mut self, frame: &Frame) {
        let is_message = frame.kind() == "message";
        match self.deceit.take_if(|_| is_message) {
            Some(Deceit::Loses) => {}
            Some(Deceit::Reorders) => self.withheld = Some(frame.clone()),
            Some(Deceit::Repeats) => {
                self.log.frame(frame);
                self.log.frame(frame);
            }
            None => self.log.frame(frame),
        }
        if is_message && let Some(withheld) = self.withheld.take_if(|withheld| withheld != frame) {
            self.log.frame(&withheld);
        }
    }

    fn is_amendment(&self, key: u64) -> bool {
        self.unanswered.get(&key).is_some_and(|(_, command)| command["client_msg_id"].is_null())
    }

    fn answered(&mut self, frame: &Frame, key: u64) {
        let Some((id, command)) = self.unanswered.remove(&key) else { return };
        if command["type"] == "edit" {
            self.log.edited(&id);
        }
        let sent = (command["type"] == "send").then(|| frame.text("conversation").zip(frame.number("seq")));
        self.standing.send_modify(|standing| {
            standing.answered += 1;
            if let Some((conversation, seq)) = sent.flatten() {
                standing.last_sent = Some((conversation.to_owned(), seq));
            }
        });
    }

    fn heard_presence<'a>(&self, told: impl IntoIterator<Item = &'a Value>) {
        self.standing.send_modify(|standing| {
            for one in told {
                let user = one["user"].as_str().unwrap_or_default().to_owned();
                standing.seen_online.push((user, one["online"] == true));
            }
        });
    }
}
