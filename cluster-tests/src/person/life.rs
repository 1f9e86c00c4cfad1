//! The task behind a [`Person`](super::Person): its connections one after the other,
//! what it is told to do, and what it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use loadtest::client::{Account, Client, Error, Frame, Transport};
use loadtest::history::DeviceLog;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::{ACKNOWLEDGE, Deceit, Order, RECONNECT, REPEAT, Standing};
use crate::PATIENCE;
use crate::subscriptions::Subscriptions;

/// What the task knows.
pub(super) struct Life {
    pub(super) gateways: Vec<String>,
    pub(super) gateway: usize,
    pub(super) transport: Transport,
    pub(super) account: Account,
    pub(super) log: DeviceLog,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) subscriptions: Subscriptions,
    pub(super) deceit: Option<Deceit>,
    /// A message that is written down after the next one.
    pub(super) withheld: Option<Frame>,
    /// Users whose presence it wants to be told of.
    pub(super) watched: Vec<String>,
    /// The newest message of others that it has not marked as read.
    pub(super) newest: Option<(String, u64)>,
    /// By the order in which they were said; commands by id.
    pub(super) unanswered: BTreeMap<u64, (String, Value)>,
    /// From a connection's `ref` to the key in `unanswered`.
    pub(super) references: BTreeMap<u64, u64>,
    pub(super) reading: bool,
    /// It was told not to come back.
    pub(super) over: bool,
    pub(super) repeat_at: Option<Instant>,
    /// When it was told to go on elsewhere.
    pub(super) leave_at: Option<Instant>,
}

impl Life {
    pub(super) async fn run(mut self) {
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
