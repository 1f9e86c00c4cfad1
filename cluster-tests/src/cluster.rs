//! The builder and the running cluster.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Transport};
use loadtest::fleet::{Fleet, Node, Plan};
use loadtest::history::{Allowed, History, Report};
use serde_json::json;
use tempfile::TempDir;
use testbed::{
    Binaries, Clocks, FaultProxy, Gateways, Profile, RedisCluster, RedisSentinel, RedisServer, SmallDisk,
    wait,
};
use tokio_util::task::TaskTracker;

use crate::ways::Ways;
use crate::{PATIENCE, Person};

/// Mebibytes of a small disk.
const SMALL_DISK: u32 = 32;

/// On what the cluster keeps its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// One Redis; numbering, filing and announcing in one call.
    Single,
    /// One Redis; step by step, as a Redis Cluster needs it.
    Steps,
    /// A Redis Cluster of three primaries.
    Cluster,
    /// The same, each primary with a replica.
    Replicated,
    /// A primary, a replica and three sentinels.
    Sentinel,
    /// A folder of standalone, which is one gateway and no router.
    Embedded,
}

/// The servers behind it.
#[derive(Debug)]
pub enum Store {
    /// For [`StoreKind::Single`] and [`StoreKind::Steps`].
    One(Box<RedisServer>),
    /// Of [`StoreKind::Cluster`] and [`StoreKind::Replicated`].
    Many(RedisCluster),
    /// Of [`StoreKind::Sentinel`].
    Watched(RedisSentinel),
    /// Of [`StoreKind::Embedded`], if it is on no small disk.
    Folder(Option<TempDir>),
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Builder {
    store: StoreKind,
    gateways: usize,
    routers: usize,
    proxied: bool,
    ways: bool,
    clocks: bool,
    small_disk: bool,
    router_flags: String,
    gateway_flags: String,
    apart: bool,
    redis_rights: Option<Vec<String>>,
    environment: Vec<(String, String)>,
    builds: Option<Builds>,
}

/// Programs of two commits.
#[derive(Debug, Clone)]
pub struct Builds {
    /// With which a cluster begins.
    pub old: Arc<Binaries>,
    /// What it is upgraded to.
    pub new: Arc<Binaries>,
}

/// A running cluster; everything ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The gateways and routers.
    pub fleet: Fleet,
    /// The store's servers.
    pub store: Store,
    /// Between the gateways and Redis, if asked for.
    pub proxy: Option<FaultProxy>,
    /// Between every pair of processes, if asked for.
    pub ways: Option<Ways>,
    /// Of every process, if asked for.
    pub clocks: Option<Clocks>,
    /// Under the single Redis or standalone, if asked for.
    pub disk: Option<SmallDisk>,
    /// The programs of its processes, if it was given two.
    pub builds: Option<Builds>,
    /// What everyone has sent and received.
    pub history: Arc<History>,
    gateways: Vec<String>,
    tasks: TaskTracker,
}

impl Store {
    /// Every server that may be asked.
    fn servers(&self) -> Vec<&RedisServer> {
        match self {
            Self::One(server) => vec![server],
            Self::Many(servers) => servers.servers().collect(),
            Self::Watched(group) => group.all(),
            Self::Folder(_) => Vec::new(),
        }
    }
}

impl Builder {
    /// So many gateways, 2 by default.
    pub fn gateways(mut self, count: usize) -> Self {
        self.gateways = count;
        self
    }

    /// So many routers, 2 by default.
    pub fn routers(mut self, count: usize) -> Self {
        self.routers = count;
        self
    }

    /// On another store than a single Redis.
    pub fn store(mut self, kind: StoreKind) -> Self {
        self.store = kind;
        self
    }

    /// A fault proxy between the gateways and a single Redis.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// A fault proxy on each way between two processes, with a single Redis; not
    /// together with [`proxied`](Self::proxied).
    pub fn ways(mut self) -> Self {
        self.ways = true;
        self
    }

    /// Each gateway and router has a clock that can be set, by its name: `gw-0`,
    /// `router-0` and so on; a single Redis' is `redis`.
    pub fn clocks(mut self) -> Self {
        self.clocks = true;
        self
    }

    /// The single Redis, or standalone, keeps its data on a small disk.
    pub fn small_disk(mut self) -> Self {
        self.small_disk = true;
        self
    }

    /// More flags for every router, separated by blanks.
    pub fn router_flags(mut self, flags: &str) -> Self {
        self.router_flags = flags.to_owned();
        self
    }

    /// More flags for every gateway, separated by blanks.
    pub fn gateway_flags(mut self, flags: &str) -> Self {
        self.gateway_flags = flags.to_owned();
        self
    }

    /// Gateways have the same ports at addresses of their own.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Routers and gateways are a user `switchboard` of Redis with these rights, in the
    /// words of `ACL SETUSER`; until Redis is restarted.
    pub fn redis_user(mut self, rights: Vec<String>) -> Self {
        self.redis_rights = Some(rights);
        self
    }

    /// An environment variable for every process.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It begins with the older of these programs.
    pub fn builds(mut self, builds: Builds) -> Self {
        self.builds = Some(builds);
        self
    }

    /// Starts it; returns when all of it is ready.
    pub async fn start(self) -> Result<Cluster> {
        let binaries = match &self.builds {
            Some(builds) => Arc::clone(&builds.old),
            None => tokio::task::spawn_blocking(|| Binaries::build(Profile::Debug)).await??,
        };
        let clocks = self.clocks.then(Clocks::new).transpose()?;
        let disk = self.small_disk.then(|| SmallDisk::mount(SMALL_DISK)).transpose()?;
        let (store, url) = match self.store {
            StoreKind::Cluster | StoreKind::Replicated => {
                let replicas = usize::from(self.store == StoreKind::Replicated);
                let servers = RedisCluster::start_with_replicas(3, replicas).await?;
                let url = servers.url();
                (Store::Many(servers), url)
            }
            StoreKind::Embedded => {
                let own = disk.is_none().then(|| TempDir::with_prefix("switchboard-data-")).transpose()?;
                let folder = disk.as_ref().map(SmallDisk::folder).or(own.as_ref().map(TempDir::path));
                let folder = folder.context("one of the two")?.join("data");
                (Store::Folder(own), format!("embedded:{}", folder.display()))
            }
            StoreKind::Sentinel => {
                let group = RedisSentinel::start(3).await?;
                let url = group.url();
                (Store::Watched(group), url)
            }
            kind => {
                let mut server = RedisServer::builder();
                if let Some(disk) = &disk {
                    server = server.option("dir", disk.folder().display());
                }
                if let Some(clocks) = &clocks {
                    server = server.environment(clocks.variables("redis")?);
                }
                let server = server.start().await?;
                let steps = if kind == StoreKind::Steps { "?steps=separate" } else { "" };
                let url = server.url() + steps;
                (Store::One(Box::new(server)), url)
            }
        };
        let url = match &self.redis_rights {
            None => url,
            Some(rights) => {
                let mut words = vec!["ACL", "SETUSER", "switchboard"];
                words.extend(rights.iter().map(String::as_str));
                words.push(">word");
                for server in store.servers() {
                    server.command(&words).await?.ok()?;
                }
                url.replacen("://", "://switchboard:word@", 1)
            }
        };
        let mut plan = Plan::new(self.gateways, self.routers, &url);
        let proxy = match &store {
            Store::One(server) if self.proxied => {
                let proxy = FaultProxy::redis(server.port()).await?;
                plan.gateway_store = proxy.redis_url();
                Some(proxy)
            }
            _ => None,
        };
        let plan = plan.router_flags(&self.router_flags).gateway_flags(&self.gateway_flags);
        let plan = plan.environment(self.environment);
        let standalone = self.store == StoreKind::Embedded;
        let plan = Plan { apart: self.apart, standalone, ..plan };
        let mut fleet = Fleet::planned(&binaries, &plan)?;
        let ways = match &store {
            Store::One(server) if self.ways => Some(Ways::through(&mut fleet, server.port()).await?),
            _ => None,
        };
        if let Some(clocks) = &clocks {
            for (index, gateway) in fleet.gateways().iter_mut().enumerate() {
                gateway.set_variables(clocks.variables(&format!("gw-{index}"))?);
            }
            for (index, router) in fleet.routers().iter_mut().enumerate() {
                router.set_variables(clocks.variables(&format!("router-{index}"))?);
            }
        }
        fleet.start_all().await?;
        let gateways = fleet.gateway_urls();
        let (history, tasks) = (History::new(), TaskTracker::new());
        let builds = self.builds;
        Ok(Cluster { fleet, store, proxy, ways, clocks, disk, builds, history, gateways, tasks })
    }
}

impl Cluster {
    /// Two gateways and two routers on a single Redis, if nothing else is said.
    pub fn builder() -> Builder {
        Builder {
            store: StoreKind::Single,
            gateways: 2,
            routers: 2,
            proxied: false,
            ways: false,
            clocks: false,
            small_disk: false,
            router_flags: String::new(),
            gateway_flags: String::new(),
            apart: false,
            redis_rights: None,
            environment: Vec::new(),
            builds: None,
        }
    }

    /// Where clients of this gateway connect.
    pub fn gateway(&self, index: usize) -> &str {
        &self.gateways[index % self.gateways.len()]
    }

    /// What a balancer stands before; of a cluster whose gateways are apart.
    pub fn behind_balancer(&mut self) -> Gateways {
        let nodes = self.fleet.gateways();
        let admin = nodes.first().map_or(0, Node::admin_port);
        Gateways { addresses: nodes.iter().map(Node::address).collect(), admin }
    }

    /// A gateway's process.
    pub fn gateway_node(&mut self, index: usize) -> &mut Node {
        &mut self.fleet.gateways()[index]
    }

    /// A router's process.
    pub fn router_node(&mut self, index: usize) -> &mut Node {
        &mut self.fleet.routers()[index]
    }

    /// The single Redis.
    pub fn redis(&mut self) -> &mut RedisServer {
        match &mut self.store {
            Store::One(server) => server,
            Store::Many(servers) => &mut servers.primaries()[0],
            Store::Watched(group) => &mut group.servers()[0],
            Store::Folder(_) => panic!("standalone has no Redis"),
        }
    }

    /// Every server of Redis.
    pub fn redis_servers(&self) -> Vec<&RedisServer> {
        self.store.servers()
    }

    /// The proxy that was asked for.
    pub fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().expect("the builder was told `proxied`")
    }

    /// The ways that were asked for.
    pub fn ways(&self) -> &Ways {
        self.ways.as_ref().expect("the builder was told `ways`")
    }

    /// Begins a new history, for people who are not there yet.
    pub fn begin_history(&mut self) {
        self.history = History::new();
    }

    /// A user's device at a gateway, to be connected by the test itself.
    pub fn account(&self, user: &str, device: &str, gateway: usize) -> Account {
        Account::new(self.gateway(gateway), &Fleet::issuer().token(user), device)
    }

    /// Connects a device over a WebSocket, from the head on.
    pub async fn connect(&self, user: &str, device: &str, gateway: usize) -> Result<Client> {
        Ok(Client::connect(Transport::WebSocket, &self.account(user, device, gateway)).await?)
    }

    /// A person at a gateway who stays connected, whatever happens, and whom
    /// the history follows; returns when connected.
    pub async fn person(&self, user: &str, device: &str, gateway: usize) -> Result<Person> {
        self.person_over(Transport::WebSocket, user, device, gateway).await
    }

    /// As [`person`](Self::person), over any transport.
    pub async fn person_over(
        &self,
        transport: Transport,
        user: &str,
        device: &str,
        gateway: usize,
    ) -> Result<Person> {
        self.person_as(transport, user, self.account(user, device, gateway)).await
    }

    /// As [`person`](Self::person), with an account that the test has made. One
    /// of another address than a gateway's, a balancer's, knows no other.
    pub async fn person_as(&self, transport: Transport, user: &str, account: Account) -> Result<Person> {
        let device = account.device.clone().context("a person has a named device")?;
        let log = self.history.device(user, &device);
        let known = self.gateways.contains(&account.gateway);
        let gateways = if known { self.gateways.clone() } else { vec![account.gateway.clone()] };
        let account = Account { others: gateways.clone(), ..account };
        let person = Person::start(&self.tasks, &self.history, gateways, transport, account, log);
        person.until("connected", |standing| standing.connected).await?;
        Ok(person)
    }

    /// A new group of these users, made by the first; the history knows it.
    pub async fn group(&self, users: &[&str]) -> Result<String> {
        let (first, others) = users.split_first().context("a group has a member")?;
        let mut maker = Http::new(&self.account(first, "maker", 0))?;
        let made =
            maker.command(&json!({"type": "create_group", "name": "group", "members": others})).await?;
        let conversation = made.text("conversation").context("a new group has an id")?;
        self.history.group(conversation, users);
        Ok(conversation.to_owned())
    }

    /// Waits until so many more messages have been acknowledged.
    pub async fn progress(&mut self, messages: usize) -> Result<()> {
        let enough = self.history.acknowledged_count() + messages;
        let waited = wait::until_true(PATIENCE, "messages are being acknowledged", async || {
            self.history.acknowledged_count() >= enough
        })
        .await;
        waited.with_context(|| self.outputs())
    }

    /// Waits until every message of these people is answered and with all who
    /// should have it, then judges the history.
    pub async fn settle(&mut self, people: &[&Person], allowed: Allowed) -> Result<Report> {
        let waited = wait::until_true(PATIENCE, "everything is answered and has arrived", async || {
            people.iter().all(|person| person.unanswered() == 0) && self.history.settled(allowed)
        })
        .await;
        let report = self.history.check(allowed);
        let standings: Vec<_> =
            people.iter().map(|person| format!("{} unanswered, {person}", person.unanswered())).collect();
        let outcome = if report.is_clean() { waited } else { Err(anyhow::anyhow!("{report}")) };
        outcome.with_context(|| format!("{report}\n{}\n{}", standings.join("\n"), self.outputs()))?;
        Ok(report)
    }

    /// The last lines of every process, for failures.
    pub fn outputs(&mut self) -> String {
        let mut text = String::new();
        let nodes = (0..self.fleet.gateways().len()).map(|index| (true, index));
        let nodes = nodes.chain((0..self.fleet.routers().len()).map(|index| (false, index)));
        for (gateway, index) in nodes.collect::<Vec<_>>() {
            let kind = if gateway { "gateway" } else { "router" };
            let node =
                if gateway { &mut self.fleet.gateways()[index] } else { &mut self.fleet.routers()[index] };
            let output = node.process().map(|process| process.output()).unwrap_or_default();
            let lines: Vec<&str> = output.lines().collect();
            let from = lines.len().saturating_sub(15);
            text.push_str(&format!("--- {kind} {index}\n{}\n", lines[from..].join("\n")));
        }
        text
    }
}
