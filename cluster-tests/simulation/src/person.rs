//! A person with one device: writes to others, takes what comes, and comes back with
//! its cursor to the next gateway whenever its WebSocket breaks or falls silent. It says
//! again what has no answer, under the same id, or gives it up. All that it sees is
//! written into the history.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use loadtest::client::Frame;
use loadtest::history::{DeviceLog, History};
use loadtest::token::Issuer;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::hosts::{GATEWAYS, SECRET};
use crate::network::{self, Connection};

/// How long opening a WebSocket may take.
const OPEN: Duration = Duration::from_secs(3);
/// Before it connects again.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two acknowledgements.
const ACKNOWLEDGE: Duration = Duration::from_millis(700);
/// What was refused is said again after that.
const REPEAT: Duration = Duration::from_millis(300);
/// Between two looks at a history, while nothing new is written.
const LOOK: Duration = Duration::from_millis(500);
/// Two heartbeats of a gateway: one that is silent for longer counts as gone.
const SILENCE: Duration = Duration::from_secs(4);

/// What people write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// What comes to their minds.
    Talk,
    /// Nothing new.
    Quiet,
    /// One word each, to everybody.
    LastWord,
}

/// What people share.
pub(crate) struct Crowd {
    pub(crate) history: Arc<History>,
    pub(crate) users: Vec<String>,
    /// The group that everybody is in, once it was made.
    pub(crate) group: std::cell::RefCell<Option<String>>,
    pub(crate) phase: std::cell::Cell<Phase>,
    /// What each device has of each conversation, by seq.
    pub(crate) seen: std::cell::RefCell<BTreeMap<String, BTreeSet<(String, u64)>>>,
    /// What `history` has shown of each conversation, by seq.
    pub(crate) logged: std::cell::RefCell<BTreeSet<(String, u64)>>,
    /// How often Redis has lost its last writes.
    pub(crate) losses: std::cell::Cell<u32>,
    /// Of all people together.
    pub(crate) unanswered: std::cell::RefCell<BTreeMap<String, usize>>,
    /// The mean time between two messages of a person, in ms.
    pub(crate) pace: u64,
    /// How likely it is that nobody says a message again that was refused, or whose
    /// connection has ended.
    pub(crate) given_up: f64,
}

impl Crowd {
    /// Messages that some devices or the history have of a conversation and others of its
    /// members have not, acknowledged or not: a message is for every member or for none.
    /// Where Redis has lost something, a seq does not name one message, and nothing is said.
    pub(crate) fn differences(&self) -> Vec<String> {
        if self.losses.get() > 0 {
            return Vec::new();
        }
        let (seen, logged) = (self.seen.borrow(), self.logged.borrow());
        let mut all: BTreeMap<&(String, u64), usize> = logged.iter().map(|message| (message, 0)).collect();
        seen.values().flatten().for_each(|message| *all.entry(message).or_default() += 1);
        let devices = |conversation: &str| {
            let users = seen.keys().filter_map(|device| device.split('/').next());
            users
                .filter(|user| conversation.split('~').any(|one| one == *user) || !conversation.contains('~'))
                .count()
        };
        let missing = all.iter().filter(|((conversation, _), count)| **count < devices(conversation));
        missing
            .map(|((conversation, seq), count)| format!("{conversation} #{seq} is with {count} devices"))
            .collect()
    }
}

pub(crate) struct Person {
    crowd: Rc<Crowd>,
    user: String,
    device: String,
    log: DeviceLog,
    chance: StdRng,
    gateway: usize,
    cursor: String,
    said: u64,
    /// By the order in which they were said; commands by id.
    unanswered: BTreeMap<u64, (String, Value)>,
    /// From a connection's `ref` to the key in `unanswered`.
    references: BTreeMap<u64, u64>,
    last_reference: u64,
    last_sent: Option<(String, u64)>,
    /// Losses that it knows of: a seq of a lost history is another message's.
    losses: u32,
    newest: Option<(String, u64)>,
    speak_at: Instant,
    repeat_at: Option<Instant>,
    is_first: bool,
    /// Has said its last word, or says nothing.
    is_silent: bool,
    /// Reads the histories of all its conversations, one after the other.
    looks: Option<usize>,
}

impl Person {
    pub(crate) fn new(crowd: Rc<Crowd>, user: &str, device: &str, seed: u64, gateway: usize) -> Self {
        let log = crowd.history.device(user, device);
        Self {
            crowd,
            user: user.to_owned(),
            device: device.to_owned(),
            log,
            chance: StdRng::seed_from_u64(seed),
            gateway,
            cursor: "start".to_owned(),
            said: 0,
            unanswered: BTreeMap::new(),
            references: BTreeMap::new(),
            last_reference: 0,
            last_sent: None,
            losses: 0,
            newest: None,
            speak_at: Instant::now(),
            repeat_at: None,
            is_first: gateway == 0 && device == "a",
            is_silent: false,
            looks: None,
        }
    }

    /// Writes and reads until its host ends.
    pub(crate) async fn live(mut self) {
        self.speak_at = Instant::now();
        loop {
            // It has broken, or never began.
            let _ = self.session().await;
            self.references.clear();
            self.unanswered =
                std::mem::take(&mut self.unanswered).into_iter().filter(|_| !self.gives_up()).collect();
            self.count();
            self.gateway += 1;
            sleep(PAUSE.mul_f64(self.chance.random_range(0.5..1.5))).await;
        }
    }

    /// Whether something that was not acknowledged is not said again.
    fn gives_up(&mut self) -> bool {
        self.crowd.phase.get() != Phase::LastWord && self.chance.random_bool(self.crowd.given_up)
    }

    fn speaks(&self) -> bool {
        match self.crowd.phase.get() {
            Phase::Talk => !self.is_silent,
            Phase::Quiet => false,
            Phase::LastWord => !self.is_silent && self.crowd.group.borrow().is_some(),
        }
    }

    async fn session(&mut self) -> Result<()> {
        let mut stream = timeout(OPEN, self.open()).await??;
        let welcome = frame(timeout(OPEN, stream.next()).await?)?.context("a frame")?;
        ensure!(welcome.kind() == "welcome", "{welcome:?}");
        let cursor = welcome.cursor().unwrap_or_default().to_owned();
        self.log.began(&cursor);
        self.cursor.clone_from(&cursor);
        let mut acknowledged = cursor;
        let mut acknowledge_at = Instant::now() + ACKNOWLEDGE;
        if self.is_first && self.crowd.group.borrow().is_none() {
            let users = &self.crowd.users;
            self.start(&mut stream, json!({"type": "create_group", "name": "all", "members": users})).await?;
        }
        for key in self.unanswered.keys().copied().collect::<Vec<_>>() {
            self.say(&mut stream, key).await?;
        }
        let mut heard = Instant::now();
        let mut look_at = heard;
        loop {
            let repeat_at = self.repeat_at.unwrap_or_else(|| Instant::now() + SILENCE);
            tokio::select! {
                biased;
                read = stream.next() => {
                    heard = Instant::now();
                    if let Some(frame) = frame(read)? {
                        self.take(&frame)?;
                    }
                }
                () = sleep_until(heard + SILENCE) => bail!("silence"),
                () = sleep_until(self.speak_at), if self.speaks() => self.speak(&mut stream).await?,
                () = sleep_until(look_at), if self.looks.is_some() => {
                    look_at = Instant::now() + LOOK;
                    self.look(&mut stream).await?;
                }
                () = sleep_until(repeat_at), if self.repeat_at.is_some() => {
                    self.repeat_at = None;
                    let under_way: Vec<u64> = self.references.values().copied().collect();
                    for key in self.unanswered.keys().copied().collect::<Vec<_>>() {
                        if !under_way.contains(&key) {
                            self.say(&mut stream, key).await?;
                        }
                    }
                }
                // One that looks says nothing: its marks would tell other devices of
                // what they have not heard.
                () = sleep_until(acknowledge_at), if self.looks.is_none() => {
                    acknowledge_at = Instant::now() + ACKNOWLEDGE;
                    if self.cursor != acknowledged {
                        acknowledged.clone_from(&self.cursor);
                        self.start(&mut stream, json!({"type": "ack", "cursor": acknowledged})).await?;
                    }
                    if let Some((conversation, seq)) = self.newest.take() {
                        let read = json!({"type": "read", "conversation": conversation, "seq": seq});
                        self.start(&mut stream, read).await?;
                    }
                }
            }
        }
    }

    async fn open(&self) -> Result<WebSocketStream<Connection>> {
        let gateway = GATEWAYS[self.gateway % GATEWAYS.len()].address();
        let stream = network::connect(gateway).await?;
        let url = format!("ws://{gateway}/v1/ws?device={}&cursor={}", self.device, self.cursor);
        let mut request = url.into_client_request()?;
        let token = Issuer::new(SECRET).token(&self.user);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        Ok(client_async(request, stream).await?.0)
    }

    async fn start(&mut self, stream: &mut WebSocketStream<Connection>, mut command: Value) -> Result<u64> {
        self.last_reference += 1;
        command["ref"] = json!(self.last_reference);
        // A gateway that takes nothing is gone, too.
        timeout(SILENCE, stream.send(Message::text(command.to_string()))).await??;
        Ok(self.last_reference)
    }

    /// Writes something new, or edits what it wrote last.
    async fn speak(&mut self, stream: &mut WebSocketStream<Connection>) -> Result<()> {
        let pause = self.chance.random_range(0..=2 * self.crowd.pace);
        self.speak_at = Instant::now() + Duration::from_millis(pause);
        self.said += 1;
        let is_last = self.crowd.phase.get() == Phase::LastWord;
        self.is_silent |= is_last;
        let id = format!("{}-{}-{}", self.user, self.device, self.said);
        if std::mem::replace(&mut self.losses, self.crowd.losses.get()) != self.losses {
            self.last_sent = None;
        }
        let command = if !is_last
            && self.chance.random_bool(0.1)
            && let Some((conversation, seq)) = self.last_sent.take()
        {
            self.crowd.history.editing(&conversation, seq, &id);
            json!({"type": "edit", "conversation": conversation, "seq": seq, "body": id})
        } else {
            let group = self.crowd.group.borrow().clone().filter(|_| is_last || self.chance.random_bool(0.4));
            match group {
                Some(group) => {
                    self.crowd.history.sending(&group, &id);
                    json!({"type": "send", "conversation": group, "body": id, "client_msg_id": id})
                }
                None => {
                    let to = &self.crowd.users[self.chance.random_range(0..self.crowd.users.len())];
                    self.crowd.history.sending(&direct(&self.user, to), &id);
                    json!({"type": "send", "to": to, "body": id, "client_msg_id": id})
                }
            }
        };
        self.unanswered.insert(self.said, (id, command));
        self.count();
        self.say(stream, self.said).await
    }

    /// Asks for the history of the next conversation.
    async fn look(&mut self, stream: &mut WebSocketStream<Connection>) -> Result<()> {
        let crowd = self.crowd.clone();
        let mut conversations: Vec<String> =
            crowd.users.iter().map(|other| direct(&self.user, other)).collect();
        conversations.extend(crowd.group.borrow().clone());
        let next = self.looks.map_or(0, |last| last + 1) % conversations.len();
        self.looks = Some(next);
        let look = json!({"type": "history", "conversation": conversations[next], "limit": 200});
        self.start(stream, look).await.map(drop)
    }

    fn count(&self) {
        let who = format!("{}/{}", self.user, self.device);
        self.crowd.unanswered.borrow_mut().insert(who, self.unanswered.len());
    }

    async fn say(&mut self, stream: &mut WebSocketStream<Connection>, key: u64) -> Result<()> {
        let Some((id, command)) = self.unanswered.get(&key).cloned() else { return Ok(()) };
        // Before it is sent: the answer may be there when this is polled next.
        let reference = self.last_reference + 1;
        if command["type"] == "send" {
            self.log.expect_answer(reference, &id);
        }
        self.references.insert(reference, key);
        self.start(stream, command).await?;
        Ok(())
    }

    fn take(&mut self, frame: &Frame) -> Result<()> {
        self.log.frame(frame);
        if let ("message" | "sent", Some(conversation), Some(seq)) =
            (frame.kind(), frame.text("conversation"), frame.number("seq"))
        {
            let who = format!("{}/{}", self.user, self.device);
            self.crowd.seen.borrow_mut().entry(who).or_default().insert((conversation.to_owned(), seq));
        }
        for message in frame.0["messages"].as_array().into_iter().flatten() {
            if let (Some(conversation), Some(seq)) =
                (message["conversation"].as_str(), message["seq"].as_u64())
            {
                self.crowd.logged.borrow_mut().insert((conversation.to_owned(), seq));
            }
        }
        let key = frame.answers().and_then(|reference| self.references.remove(&reference));
        let text = |field: &str| frame.text(field).unwrap_or_default().to_owned();
        match (frame.kind(), key) {
            ("sent" | "ok", Some(key)) => {
                if let Some((id, command)) = self.unanswered.remove(&key) {
                    match command["type"] == "edit" {
                        true => self.log.edited(&id),
                        false => {
                            self.last_sent =
                                frame.text("conversation").map(str::to_owned).zip(frame.number("seq"))
                        }
                    }
                }
                self.count();
            }
            ("error", Some(key)) => {
                // What it would edit is gone with a store that lost its last writes.
                let is_gone = self.unanswered.get(&key).is_some_and(|(_, command)| command["type"] == "edit")
                    && !matches!(&*text("code"), "unavailable" | "rate_limited" | "internal");
                if is_gone || self.gives_up() {
                    self.unanswered.remove(&key);
                    self.count();
                } else {
                    // Nothing was acknowledged: it is said again, under the same id.
                    self.repeat_at.get_or_insert(Instant::now() + REPEAT);
                }
            }
            ("ok", None) => {
                if let Some(group) = frame.text("conversation").filter(|id| id.starts_with("g_")) {
                    let users: Vec<&str> = self.crowd.users.iter().map(String::as_str).collect();
                    self.crowd.history.group(group, &users);
                    *self.crowd.group.borrow_mut() = Some(group.to_owned());
                }
            }
            ("message", _) if frame.text("from") != Some(&self.user) => {
                self.newest = Some((text("conversation"), frame.number("seq").unwrap_or_default()));
            }
            ("goaway", _) => bail!("goaway: {}", text("reason")),
            _ => {}
        }
        if let Some(cursor) = frame.cursor() {
            cursor.clone_into(&mut self.cursor);
        }
        Ok(())
    }
}

/// A device that comes when all is well again and reads everything from the beginning;
/// unless Redis has lost something, which such a device is not told.
pub(crate) async fn read_all(crowd: Rc<Crowd>, user: &str, seed: u64) {
    while crowd.phase.get() == Phase::Talk {
        sleep(PAUSE).await;
    }
    if crowd.losses.get() == 0 {
        let device = Person::new(crowd, user, "reader", seed, 0);
        Person { is_silent: true, is_first: false, looks: Some(0), ..device }.live().await;
    }
}

/// The direct conversation of two users.
fn direct(one: &str, other: &str) -> String {
    format!("{}~{}", one.min(other), one.max(other))
}

/// The frame that a message carries, if it is one.
fn frame(read: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>) -> Result<Option<Frame>> {
    match read.context("the WebSocket ended")?? {
        Message::Text(text) => Ok(Some(Frame(serde_json::from_str(&text)?))),
        Message::Close(close) => bail!("closed: {close:?}"),
        _ => Ok(None),
    }
}
