//! A TCP proxy that fails on demand: connections cut, refused, held (in one
//! direction, too), delayed, slowed to single bytes or left half open, and for
//! Redis announcements lost, repeated and reordered in the stream.

mod filter;
mod relay;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use filter::Losses;
pub use filter::Pushed;
use relay::Relay;

/// Listens on 127.0.0.1 and forwards to one target; ends on drop.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    losses: Arc<Mutex<Losses>>,
    /// The connections of one generation; a new one comes with each end of them.
    connections: Arc<Mutex<Generation>>,
    shutdown: CancellationToken,
}

/// How the proxy treats connections at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weather {
    refuse: bool,
    hold_up: bool,
    hold_down: bool,
    /// Connections from this address are held, in both directions.
    hold_from: Option<IpAddr>,
    delay: Duration,
    /// Up to so much is added to the delay.
    jitter: Duration,
    /// One byte at a time.
    drip: bool,
}

/// From whom to whom bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Bytes in both directions.
    Both,
    /// From those who connect to the target.
    Up,
    /// From the target to those who connected.
    Down,
}

/// Connections that end together.
#[derive(Debug, Clone, Default)]
struct Generation {
    /// Breaks both sides.
    cut: CancellationToken,
    /// Breaks the side of the target alone.
    vanish: CancellationToken,
}

impl FaultProxy {
    /// In front of `target`, any stream.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        Self::open(target, false).await
    }

    /// In front of a redis-server: it reads the server's side of the stream,
    /// so that pushed messages can be dropped.
    pub async fn redis(port: u16) -> Result<Self> {
        Self::open(SocketAddr::from(([127, 0, 0, 1], port)), true).await
    }

    async fn open(target: SocketAddr, reads_redis: bool) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let proxy = Self {
            address: listener.local_addr()?,
            weather: watch::Sender::new(Weather::default()),
            losses: Arc::default(),
            connections: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        let tasks = TaskTracker::new();
        let relay = Relay {
            target,
            weather: proxy.weather.subscribe(),
            losses: reads_redis.then(|| Arc::clone(&proxy.losses)),
        };
        tasks.spawn(accept(
            listener,
            relay,
            Arc::clone(&proxy.connections),
            proxy.shutdown.clone(),
            tasks.clone(),
        ));
        Ok(proxy)
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Breaks every connection that there is; new ones are served.
    pub fn cut(&self) {
        self.next_generation().cut.cancel();
    }

    /// Leaves every connection that there is half open: its target's side is
    /// closed, and whoever connected hears nothing of it and gets no answer. New
    /// ones are served.
    pub fn vanish(&self) {
        self.next_generation().vanish.cancel();
    }

    fn next_generation(&self) -> Generation {
        std::mem::take(&mut self.connections.lock().expect("no holder panics"))
    }

    /// From now on connections are closed as soon as they are made. Those that
    /// there are stay.
    pub fn refuse(&self) {
        self.weather.send_modify(|weather| weather.refuse = true);
    }

    /// From now on nothing is forwarded, and everything stays open.
    pub fn hold(&self) {
        self.hold_one_way(Direction::Both);
    }

    /// From now on nothing is forwarded in this direction, and everything stays
    /// open: a partition that one side does not see.
    pub fn hold_one_way(&self, direction: Direction) {
        self.weather.send_modify(|weather| {
            weather.hold_up |= direction != Direction::Down;
            weather.hold_down |= direction != Direction::Up;
        });
    }

    /// From now on nothing of connections that come from this address is forwarded,
    /// and everything stays open.
    pub fn hold_from(&self, source: IpAddr) {
        self.weather.send_modify(|weather| weather.hold_from = Some(source));
    }

    /// From now on whatever is read is forwarded this much later.
    pub fn delay(&self, delay: Duration) {
        self.delay_between(delay, delay);
    }

    /// From now on whatever is read is forwarded so much later, a random time
    /// between the two.
    pub fn delay_between(&self, least: Duration, most: Duration) {
        self.weather.send_modify(|weather| {
            (weather.delay, weather.jitter) = (least, most.saturating_sub(least));
        });
    }

    /// From now on each byte is forwarded by itself.
    pub fn drip(&self) {
        self.weather.send_modify(|weather| weather.drip = true);
    }

    /// Ends whatever is done to connections that there are and will be, and lets
    /// every pushed message pass as it is.
    pub fn heal(&self) {
        self.losses.lock().expect("no holder panics").none();
        self.weather.send_modify(|weather| *weather = Weather::default());
    }

    /// Drops every n-th of the pushed messages that `matches` holds for; 1
    /// drops all of them.
    pub fn drop_every(&self, n: u64, matches: impl Fn(&Pushed<'_>) -> bool + Send + 'static) {
        self.losses.lock().expect("no holder panics").every(n, Box::new(matches));
    }

    /// Drops the next `count` pushed messages that `matches` holds for, and
    /// then no more.
    pub fn drop_next(&self, count: u64, matches: impl Fn(&Pushed<'_>) -> bool + Send + 'static) {
        self.losses.lock().expect("no holder panics").next(count, Box::new(matches));
    }

    /// Of each hundred pushed messages drops so many, repeats as many, and lets as
    /// many pass only after a later one; which ones, the seed says.
    pub fn meddle(&self, percent: u8, seed: u64) {
        self.losses.lock().expect("no holder panics").at_random(percent, seed);
    }

    /// How many pushed messages have been dropped so far.
    pub fn dropped(&self) -> u64 {
        self.losses.lock().expect("no holder panics").dropped()
    }

    /// How many pushed messages have been passed on so far.
    pub fn passed(&self) -> u64 {
        self.losses.lock().expect("no holder panics").passed()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    relay: Relay,
    connections: Arc<Mutex<Generation>>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // The peer was gone already.
        let Ok((client, _)) = accepted else { continue };
        #[expect(clippy::disallowed_methods, reason = "for the length of a copy")]
        let refuse = relay.weather.borrow().refuse;
        if refuse {
            continue;
        }
        let Generation { cut, vanish } = connections.lock().expect("no holder panics").clone();
        let relay = relay.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                // An end of either side is all there is to say of it.
                _ = relay.run(client, vanish) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;
    use crate::resp::{Reply, parse};
    use crate::{RedisServer, wait};

    struct Link(TcpStream, Vec<u8>);

    impl Link {
        async fn open(proxy: &FaultProxy) -> Self {
            Self(TcpStream::connect(proxy.address()).await.unwrap(), Vec::new())
        }

        async fn say(&mut self, line: &str) {
            self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        }

        async fn hear(&mut self) -> anyhow::Result<Reply> {
            loop {
                if let Some((reply, length)) = parse(&self.1)? {
                    self.1.drain(..length);
                    return Ok(reply);
                }
                anyhow::ensure!(self.0.read_buf(&mut self.1).await? > 0, "closed");
            }
        }
    }

    async fn publish(server: &RedisServer, channel: &str, payloads: std::ops::Range<usize>) {
        for payload in payloads {
            server.command(&["PUBLISH", channel, &payload.to_string()]).await.unwrap().ok().unwrap();
        }
    }

    async fn payloads(link: &mut Link, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        for _ in 0..count {
            let message = link.hear().await.unwrap();
            heard.push(message.items()[2].text().unwrap().to_owned());
        }
        heard
    }

    async fn drops_every_third_of_a_channel(hello: &str) {
        let server = RedisServer::start().await.unwrap();
        let proxy = FaultProxy::redis(server.port()).await.unwrap();
        let mut link = Link::open(&proxy).await;
        if !hello.is_empty() {
            link.say(hello).await;
            link.hear().await.unwrap();
        }
        link.say("SUBSCRIBE a b").await;
        link.hear().await.unwrap();
        link.hear().await.unwrap();
        proxy.drop_every(3, |pushed| pushed.channel == b"a");
        publish(&server, "a", 0..7).await;
        publish(&server, "b", 7..10).await;
        assert_eq!(payloads(&mut link, 8).await, ["0", "1", "3", "4", "6", "7", "8", "9"]);
        assert_eq!(proxy.dropped(), 2);
        proxy.drop_next(1, |pushed| pushed.payload == b"11");
        publish(&server, "a", 10..14).await;
        assert_eq!(payloads(&mut link, 3).await, ["10", "12", "13"]);
    }

    #[tokio::test]
    async fn chosen_messages_are_dropped_with_resp2() {
        drops_every_third_of_a_channel("").await;
    }

    #[tokio::test]
    async fn chosen_messages_are_dropped_with_resp3() {
        drops_every_third_of_a_channel("HELLO 3").await;
    }

    #[tokio::test]
    async fn a_cut_breaks_what_is_open_and_serves_what_is_new() {
        let server = RedisServer::start().await.unwrap();
        let proxy = FaultProxy::redis(server.port()).await.unwrap();
        let mut link = Link::open(&proxy).await;
        link.say("PING").await;
        link.hear().await.unwrap();
        proxy.cut();
        assert!(link.hear().await.is_err());
        let mut link = Link::open(&proxy).await;
        link.say("PING").await;
        assert_eq!(link.hear().await.unwrap(), Reply::Status("PONG".into()));
    }

    #[tokio::test]
    async fn held_bytes_arrive_when_the_proxy_is_healed() {
        let server = RedisServer::start().await.unwrap();
        let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await.unwrap();
        let mut link = Link::open(&proxy).await;
        proxy.hold();
        link.say("PING").await;
        assert!(timeout(Duration::from_millis(100), link.hear()).await.is_err());
        proxy.heal();
        assert_eq!(link.hear().await.unwrap(), Reply::Status("PONG".into()));
    }

    #[tokio::test]
    async fn what_is_held_in_one_direction_goes_in_the_other() {
        let server = RedisServer::start().await.unwrap();
        let proxy = FaultProxy::redis(server.port()).await.unwrap();
        let mut link = Link::open(&proxy).await;
        proxy.hold_one_way(Direction::Down);
        link.say("SET a 1").await;
        wait::until_true(Duration::from_secs(10), "the command arrives", async || {
            server.command(&["GET", "a"]).await.is_ok_and(|reply| reply.text() == Some("1"))
        })
        .await
        .unwrap();
        assert!(timeout(Duration::from_millis(100), link.hear()).await.is_err());
        proxy.heal();
        assert_eq!(link.hear().await.unwrap(), Reply::Status("OK".into()));
        proxy.hold_one_way(Direction::Up);
        link.say("SET a 2").await;
        assert!(timeout(Duration::from_millis(100), link.hear()).await.is_err());
        assert_eq!(server.command(&["GET", "a"]).await.unwrap().text(), Some("1"));
    }

    #[tokio::test]
    async fn a_half_open_connection_hears_nothing_and_a_new_one_is_served() {
        let server = RedisServer::start().await.unwrap();
        let proxy = FaultProxy::redis(server.port()).await.unwrap();
        let mut link = Link::open(&proxy).await;
        link.say("PING").await;
        link.hear().await.unwrap();
        proxy.vanish();
        link.say("PING").await;
        assert!(timeout(Duration::from_millis(100), link.hear()).await.is_err(), "not closed either");
        let mut new = Link::open(&proxy).await;
        new.say("PING").await;
        assert_eq!(new.hear().await.unwrap(), Reply::Status("PONG".into()));
    }

    #[tokio::test]
    async fn single_bytes_arrive_as_they_were_sent() {
        let server = RedisServer::start().await.unwrap();
        let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await.unwrap();
        proxy.drip();
        proxy.delay_between(Duration::from_millis(1), Duration::from_millis(5));
        let mut link = Link::open(&proxy).await;
        link.say("ECHO 0123456789").await;
        let mut first = [0];
        link.0.read_exact(&mut first).await.unwrap();
        link.1.extend_from_slice(&first);
        assert_eq!(link.hear().await.unwrap(), Reply::Bytes(b"0123456789".to_vec()));
    }

    #[tokio::test]
    async fn a_meddled_bus_drops_repeats_and_reorders_and_the_seed_says_which() {
        const COUNT: usize = 200;
        let mut heard = Vec::new();
        for seed in [7, 7, 8] {
            let server = RedisServer::start().await.unwrap();
            let proxy = FaultProxy::redis(server.port()).await.unwrap();
            let mut link = Link::open(&proxy).await;
            link.say("SUBSCRIBE a").await;
            link.hear().await.unwrap();
            proxy.meddle(10, seed);
            publish(&server, "a", 0..COUNT).await;
            wait::until_true(Duration::from_secs(10), "all have been meddled with", async || {
                proxy.dropped() + proxy.passed() == COUNT as u64
            })
            .await
            .unwrap();
            proxy.heal();
            server.command(&["PUBLISH", "a", "end"]).await.unwrap().ok().unwrap();
            let mut payloads = Vec::new();
            while payloads.last().is_none_or(|last| last != "end") {
                let message = link.hear().await.unwrap();
                payloads.push(message.items()[2].text().unwrap().to_owned());
            }
            heard.push(payloads);
        }
        assert_eq!(heard[0], heard[1]);
        assert_ne!(heard[0], heard[2]);
        let numbers: Vec<usize> = heard[0].iter().filter_map(|payload| payload.parse().ok()).collect();
        let mut kept = numbers.clone();
        kept.sort_unstable();
        kept.dedup();
        assert!(kept.len() < COUNT, "some are dropped");
        assert!(kept.len() < numbers.len(), "some are repeated");
        assert!(!numbers.is_sorted(), "some are late");
    }

    #[tokio::test]
    async fn a_refused_connection_is_closed_at_once() {
        let server = RedisServer::start().await.unwrap();
        let proxy = FaultProxy::redis(server.port()).await.unwrap();
        proxy.refuse();
        assert!(Link::open(&proxy).await.hear().await.is_err());
    }
}
