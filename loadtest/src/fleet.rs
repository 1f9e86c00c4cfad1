//! Gateways and routers as real processes on one store: started, waited for,
//! killed and started again, and what they cost.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::{Binaries, Process, port};

use crate::token::Issuer;

/// Known to every gateway of a fleet; only processes on loopback believe it.
/// What its gateways know tokens by.
pub const SECRET: &str = "a secret for load tests and cluster tests only";
/// Flags for a gateway without limits of what one user may do.
pub const NO_LIMITS: [(&str, &str); 6] = [
    ("--messages-per-second", "0"),
    ("--invites-per-minute", "0"),
    ("--reads-per-second", "0"),
    ("--signals-per-second", "0"),
    ("--attaches-per-second", "0"),
    ("--service-requests-per-second", "0"),
];
const START: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Gateways to start.
    pub gateways: usize,
    /// Routers to start.
    pub routers: usize,
    /// The store's URL, as routers are given it.
    pub router_store: String,
    /// For gateways; another one where a proxy stands before it.
    pub gateway_store: String,
    /// Flags for every router beyond the needed ones.
    pub router_flags: Vec<String>,
    /// Flags for every gateway beyond the needed ones.
    pub gateway_flags: Vec<String>,
    /// Gateways have the same ports, each at a loopback address of its own, as
    /// machines have: for what stands before them.
    pub apart: bool,
    /// Each gateway is a whole system with its own store: there are no routers.
    pub standalone: bool,
    /// Environment variables for all of them: there are no flags for telemetry.
    pub environment: Vec<(String, String)>,
}

/// A running cluster without its store; everything is killed on drop.
#[derive(Debug)]
pub struct Fleet {
    routers: Vec<Node>,
    gateways: Vec<Node>,
}

/// One process at an address of its own, which it keeps over restarts.
#[derive(Debug)]
pub struct Node {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    host: Ipv4Addr,
    port: u16,
    admin: u16,
    /// Of a gateway: where the others reach it.
    peer: Option<u16>,
    process: Option<Process>,
}

impl Plan {
    /// So many of each on one store.
    pub fn new(gateways: usize, routers: usize, store: &str) -> Self {
        Self {
            gateways,
            routers,
            router_store: store.to_owned(),
            gateway_store: store.to_owned(),
            router_flags: Vec::new(),
            gateway_flags: Vec::new(),
            apart: false,
            standalone: false,
            environment: Vec::new(),
        }
    }

    /// With these environment variables for every process.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// More flags for every router, separated by blanks.
    pub fn router_flags(mut self, flags: &str) -> Self {
        self.router_flags.extend(flags.split_whitespace().map(str::to_owned));
        self
    }

    /// More flags for every gateway, separated by blanks.
    pub fn gateway_flags(mut self, flags: &str) -> Self {
        self.gateway_flags.extend(flags.split_whitespace().map(str::to_owned));
        self
    }
}

impl Fleet {
    /// Starts all; returns when each calls itself ready.
    pub async fn start(binaries: &Binaries, plan: &Plan) -> Result<Self> {
        let mut fleet = Self::planned(binaries, plan)?;
        fleet.start_all().await?;
        Ok(fleet)
    }

    /// All with their addresses, and nothing runs yet: for what stands between
    /// them.
    pub fn planned(binaries: &Binaries, plan: &Plan) -> Result<Self> {
        let mut fleet = Self { routers: Vec::new(), gateways: Vec::new() };
        for index in 0..plan.routers {
            fleet.routers.push(router(binaries, plan, index));
        }
        let scheme = scheme(&plan.gateway_flags);
        let addresses: Vec<String> =
            fleet.routers.iter().map(|router| format!("{scheme}://{}", router.address())).collect();
        let ports = (port::free(), port::free());
        for index in 0..plan.gateways {
            let mut gateway = gateway(binaries, plan, index, &addresses.join(","));
            if plan.apart {
                (gateway.port, gateway.admin) = ports;
                gateway.host = Ipv4Addr::new(127, 0, 1, u8::try_from(index + 1)?);
            }
            fleet.gateways.push(gateway);
        }
        Ok(fleet)
    }

    /// Starts all at once; returns when each calls itself ready.
    pub async fn start_all(&mut self) -> Result<()> {
        for node in self.routers.iter_mut().chain(&mut self.gateways) {
            node.spawn()?;
        }
        for node in self.routers.iter_mut().chain(&mut self.gateways) {
            node.ready().await?;
        }
        Ok(())
    }

    /// Signs tokens that the gateways believe.
    pub fn issuer() -> Issuer {
        Issuer::new(SECRET)
    }

    /// Where clients connect.
    pub fn gateway_urls(&self) -> Vec<String> {
        self.gateways.iter().map(Node::url).collect()
    }

    /// The gateways, those that are down among them.
    pub fn gateways(&mut self) -> &mut [Node] {
        &mut self.gateways
    }

    /// The routers, those that are down among them.
    pub fn routers(&mut self) -> &mut [Node] {
        &mut self.routers
    }

    /// Of the gateways that run.
    pub fn gateway_pids(&self) -> Vec<u32> {
        self.gateways.iter().filter_map(Node::pid).collect()
    }

    /// Of the routers that run.
    pub fn router_pids(&self) -> Vec<u32> {
        self.routers.iter().filter_map(Node::pid).collect()
    }
}

impl Node {
    /// `http://IP:PORT`, most often of 127.0.0.1.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `http://IP:PORT` of its admin server.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin_address())
    }

    /// The port of its admin server.
    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    /// Its process id; nothing while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The process, for signals, output and cost.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().with_context(|| format!("{} is down", self.name))
    }

    /// Ends it with SIGKILL, and waits until it has gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again at its address; returns when it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.spawn()?;
        self.ready().await
    }

    /// `IP:PORT` for other gateways; nothing where it is not reached by them.
    pub fn peer_address(&self) -> Option<String> {
        self.peer.map(|peer| format!("{}:{peer}", self.host))
    }

    /// Takes away its way to the other gateways, for the next start.
    pub fn without_peers(&mut self) {
        self.peer = None;
    }

    /// From the next start on it is this program of other binaries.
    pub fn set_program(&mut self, binaries: &Binaries) {
        if let Some(name) = self.program.file_name() {
            self.program = binaries.folder().join(name);
        }
    }

    /// Adds flags for the next start.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    /// From the next start on, whatever it was told to reach at one address
    /// (`IP:PORT`) it reaches at another.
    pub fn redirect(&mut self, from: &str, to: &str) {
        for argument in &mut self.arguments {
            *argument = argument.replace(from, to);
        }
    }

    /// Sets environment variables for the next start.
    pub fn set_variables(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.environment.extend(variables);
    }

    /// Takes flags off for the next start.
    pub fn unset_flags(&mut self, flags: &[&str]) {
        self.arguments.retain(|argument| !flags.contains(&argument.as_str()));
    }

    /// `IP:PORT` for clients, or for gateways.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn admin_address(&self) -> String {
        format!("{}:{}", self.host, self.admin)
    }

    fn spawn(&mut self) -> Result<()> {
        let mut arguments = self.arguments.clone();
        arguments.extend(["--listen".to_owned(), self.address()]);
        arguments.extend(["--admin-listen".to_owned(), self.admin_address()]);
        if let Some(peer) = self.peer {
            let address = format!("{}:{peer}", self.host);
            let scheme = scheme(&arguments);
            arguments.extend(["--peer-address".to_owned(), format!("{scheme}://{address}")]);
            arguments.extend(["--peer-listen".to_owned(), address]);
        }
        let process = Process::spawn_with(&self.name, &self.program, &arguments, &self.environment)?;
        self.process = Some(process);
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.admin_url());
        self.process()?.ready(&url, START).await
    }
}

/// Of the ways between processes, by the flags of a gateway.
fn scheme(flags: &[String]) -> &'static str {
    if flags.iter().any(|flag| flag == "--internal-tls-cert") { "https" } else { "http" }
}

fn router(binaries: &Binaries, plan: &Plan, index: usize) -> Node {
    let mut arguments = vec!["--store".to_owned(), plan.router_store.clone()];
    arguments.extend(plan.router_flags.clone());
    node(format!("router-{index}"), binaries.router(), arguments, plan)
}

fn gateway(binaries: &Binaries, plan: &Plan, index: usize, routers: &str) -> Node {
    let name = format!("gw-{index}");
    let of_cluster = [("--router", routers), ("--node", name.as_str())];
    let of_cluster = if plan.standalone { &[] } else { &of_cluster[..] };
    let mut arguments: Vec<String> = [("--store", plan.gateway_store.as_str()), ("--jwt-secret", SECRET)]
        .iter()
        .chain(of_cluster)
        // What is measured and broken here is not the limits, unless it is said.
        .chain(NO_LIMITS.iter().filter(|(flag, _)| !plan.gateway_flags.iter().any(|given| given == flag)))
        .flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()])
        .collect();
    arguments.extend(plan.gateway_flags.clone());
    let program = if plan.standalone { binaries.standalone() } else { binaries.gateway() };
    let peer = (!plan.standalone).then(port::free);
    Node { peer, ..node(name, program, arguments, plan) }
}

fn node(name: String, program: PathBuf, arguments: Vec<String>, plan: &Plan) -> Node {
    let (port, admin) = (port::free(), port::free());
    let environment = plan.environment.clone();
    let host = Ipv4Addr::LOCALHOST;
    Node { name, program, arguments, environment, host, port, admin, peer: None, process: None }
}
