//! A device that goes on whatever happens: reconnects to the next gateway with
//! its cursor, subscribes to its channels again, repeats what got no answer under
//! the same id, and writes everything into the history.

mod life;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use loadtest::client::{Account, Transport};
use loadtest::history::{DeviceLog, History};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::PATIENCE;
use crate::subscriptions::Subscriptions;
use life::Life;

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
