//! Starting each of the servers that are compared, two nodes of each on a
//! redis-server of their own (the relay: one process and no Redis).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::{Binaries, Process, RedisServer, port, wait};
use tokio::net::TcpStream;

use crate::fleet::{Fleet, Plan};
use crate::results::says;
use crate::workload::{Kind, Role, ServerProcess, Servers};

const START: Duration = Duration::from_secs(60);

/// What `go install` is asked for.
const CENTRIFUGO: &str = "github.com/centrifugal/centrifugo/v6@v6.9.1";

/// Publications that a channel's history keeps: more than anybody misses here.
const HISTORY: u64 = 10_000;

/// The programs of a contender and their versions, once it is installed.
pub(super) fn versions(kind: Kind, folder: &Path) -> Vec<(&'static str, String)> {
    let package = |name: &str| {
        let file = folder.join("socketio/node_modules").join(name).join("package.json");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        package["version"].as_str().unwrap_or("unknown").to_owned()
    };
    match kind {
        Kind::SocketIo => vec![
            ("socket.io", package("socket.io")),
            ("@socket.io/redis-adapter", package("@socket.io/redis-adapter")),
            ("node", says("node", &["--version"])),
        ],
        Kind::Socketioxide => {
            let crates = ["socketioxide", "socketioxide-redis"];
            crates.map(|name| (name, locked(SOCKETIOXIDE_FILES[1].1, name))).into()
        }
        Kind::Centrifugo | Kind::CentrifugoHistory => {
            vec![("centrifugo", CENTRIFUGO.rsplit('@').next().unwrap_or("unknown").to_owned())]
        }
        Kind::Switchboard | Kind::Relay => Vec::new(),
    }
}

const SOCKETIO_FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../../versus/socketio/package.json")),
    ("package-lock.json", include_str!("../../versus/socketio/package-lock.json")),
    (".npmrc", include_str!("../../versus/socketio/.npmrc")),
    ("server.mjs", include_str!("../../versus/socketio/server.mjs")),
];

const SOCKETIOXIDE_FILES: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("../../versus/socketioxide/Cargo.toml")),
    ("Cargo.lock", include_str!("../../versus/socketioxide/Cargo.lock")),
    ("main.rs", include_str!("../../versus/socketioxide/main.rs")),
];

/// The version of a crate in a lock file.
fn locked(lock: &str, name: &str) -> String {
    let after = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1);
    after.and_then(|rest| rest.split('"').next()).unwrap_or("unknown").to_owned()
}

/// Servers with what has to live as long as they do; all ends on drop.
#[derive(Debug)]
pub struct Running {
    /// For the workloads.
    pub servers: Servers,
    _redis: Option<RedisServer>,
    _fleet: Option<Fleet>,
    _processes: Vec<Process>,
}

impl Running {
    /// Servers that somebody else started.
    pub fn given(servers: Servers) -> Self {
        Self { servers, _redis: None, _fleet: None, _processes: Vec::new() }
    }
}

/// Gateways and routers of this project.
pub async fn switchboard(binaries: &Binaries, gateways: usize, routers: usize) -> Result<Running> {
    switchboard_on(binaries, gateways, routers, "").await
}

/// The same, with parameters for the store's URL: `?steps=separate`.
pub async fn switchboard_on(
    binaries: &Binaries,
    gateways: usize,
    routers: usize,
    parameters: &str,
) -> Result<Running> {
    let redis = deployed_redis().await?;
    // So that what telemetry costs can be measured.
    let telemetry = std::env::vars().filter(|(name, _)| name.starts_with("OTEL_"));
    let plan = Plan::new(gateways, routers, &(redis.url() + parameters)).environment(telemetry);
    let flags = format!("--log warn --worker-threads {}", threads(gateways + routers));
    let fleet = Fleet::start(binaries, &plan.gateway_flags(&flags).router_flags(&flags)).await?;
    let mut processes = named(Role::Gateway, "gateway", &fleet.gateway_pids());
    processes.extend(named(Role::Router, "router", &fleet.router_pids()));
    processes.extend(redis_process(&redis));
    let servers = Servers {
        kind: Kind::Switchboard,
        gateways: fleet.gateway_urls(),
        issuer: Fleet::issuer(),
        processes,
        redis_port: Some(redis.port()),
    };
    Ok(Running { servers, _redis: Some(redis), _fleet: Some(fleet), _processes: Vec::new() })
}

/// A Redis that flushes its file as `deploy/redis/redis.conf` says.
async fn deployed_redis() -> Result<RedisServer> {
    RedisServer::builder().option("appendfsync", "everysec").start().await
}

/// Threads of each of so many processes: of one machine's cores they all have a
/// share, and more threads than cores only get in each other's way.
fn threads(processes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / processes.max(1)).max(1)
}

/// A Socket.IO cluster of two nodes.
pub(super) async fn socketio(folder: &Path) -> Result<Running> {
    let folder = folder.join("socketio");
    let script = folder.join("server.mjs");
    tokio::task::spawn_blocking(move || install_socketio(&folder)).await??;
    let redis = deployed_redis().await?;
    let node = |port: u16| (vec![script.display().to_string(), port.to_string(), redis.url()], "/");
    let node_program = find("node")?;
    let (urls, nodes) = nodes("socket.io", &node_program, node).await?;
    Ok(on_redis(Kind::SocketIo, urls, nodes, redis))
}

/// Two nodes of Socketioxide with its Redis adapter.
pub(super) async fn socketioxide(folder: &Path) -> Result<Running> {
    let folder = folder.to_owned();
    let program = tokio::task::spawn_blocking(move || install_socketioxide(&folder)).await??;
    let redis = deployed_redis().await?;
    let threads = threads(2).to_string();
    let node = |port: u16| (vec![port.to_string(), redis.url(), threads.clone()], "/");
    let (urls, nodes) = nodes("socketioxide", &program, node).await?;
    Ok(on_redis(Kind::Socketioxide, urls, nodes, redis))
}

/// Two nodes of Centrifugo with its Redis engine, `kind` with or without
/// histories of channels.
pub(super) async fn centrifugo(folder: &Path, kind: Kind) -> Result<Running> {
    let folder = folder.to_owned();
    let program = tokio::task::spawn_blocking(move || install_centrifugo(&folder)).await??;
    let redis = deployed_redis().await?;
    let config = program.with_extension("json");
    std::fs::write(&config, centrifugo_config(&redis.url(), kind.keeps()).to_string())?;
    let node = |port: u16| {
        let flags = [
            ("--config", config.display().to_string()),
            ("--http_server.address", "127.0.0.1".to_owned()),
            ("--http_server.port", port.to_string()),
            ("--health.enabled", "true".to_owned()),
            ("--log.level", "warn".to_owned()),
        ];
        (flags.iter().map(|(name, value)| format!("{name}={value}")).collect(), "/health")
    };
    let (urls, nodes) = nodes("centrifugo", &program, node).await?;
    Ok(on_redis(kind, urls, nodes, redis))
}

fn centrifugo_config(redis: &str, history: bool) -> serde_json::Value {
    let mut config = json!({
        "engine": {"type": "redis", "redis": {"address": redis}},
        "client": {"insecure": true, "allowed_origins": ["*"], "recovery_max_publication_limit": HISTORY},
    });
    if history {
        config["channel"]["without_namespace"] = json!({
            "history_size": HISTORY, "history_ttl": "1h", "force_positioning": true, "force_recovery": true,
        });
    }
    config
}

/// This program again, as the relay.
pub(super) async fn relay() -> Result<Running> {
    let port = port::free();
    let program = std::env::current_exe().context("this program's file")?;
    let arguments = ["relay".to_owned(), "--listen".to_owned(), format!("127.0.0.1:{port}")];
    let mut process = Process::spawn("relay", &program, &arguments)?;
    let answers = wait::until(START, "the relay listens", async || match process.exited() {
        Ok(None) => TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| true),
        _ => Some(false),
    });
    ensure!(answers.await?, "the relay ended at start:\n{}", process.output());
    let servers = Servers {
        kind: Kind::Relay,
        gateways: vec![format!("http://127.0.0.1:{port}")],
        issuer: Fleet::issuer(),
        processes: named(Role::Gateway, "relay", &[process.pid()]),
        redis_port: None,
    };
    Ok(Running { servers, _redis: None, _fleet: None, _processes: vec![process] })
}

/// Two nodes of a program; the arguments and the path that answers when it is
/// ready come from its port.
async fn nodes(
    name: &str,
    program: &Path,
    node: impl Fn(u16) -> (Vec<String>, &'static str),
) -> Result<(Vec<String>, Vec<Process>)> {
    let (mut urls, mut processes) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let port = port::free();
        let (arguments, ready) = node(port);
        let mut process = Process::spawn(name, program, &arguments)?;
        process.ready(&format!("http://127.0.0.1:{port}{ready}"), START).await?;
        urls.push(format!("http://127.0.0.1:{port}"));
        processes.push(process);
    }
    Ok((urls, processes))
}

fn on_redis(kind: Kind, gateways: Vec<String>, nodes: Vec<Process>, redis: RedisServer) -> Running {
    let pids: Vec<u32> = nodes.iter().map(Process::pid).collect();
    let mut processes = named(Role::Gateway, kind.name(), &pids);
    processes.extend(redis_process(&redis));
    let redis_port = Some(redis.port());
    let servers = Servers { kind, gateways, issuer: Fleet::issuer(), processes, redis_port };
    Running { servers, _redis: Some(redis), _fleet: None, _processes: nodes }
}

fn named(role: Role, name: &str, pids: &[u32]) -> Vec<ServerProcess> {
    let processes = pids.iter().enumerate();
    processes.map(|(index, pid)| ServerProcess { role, name: format!("{name}-{index}"), pid: *pid }).collect()
}

fn redis_process(redis: &RedisServer) -> Option<ServerProcess> {
    redis.pid().map(|pid| ServerProcess { role: Role::Redis, name: "redis".to_owned(), pid })
}

/// The packages of the lock file, once; blocks for as long as npm takes.
fn install_socketio(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let old = std::fs::read_to_string(folder.join("package-lock.json")).unwrap_or_default();
    let fresh = old == SOCKETIO_FILES[1].1 && folder.join("node_modules/socket.io").is_dir();
    for (name, text) in SOCKETIO_FILES {
        std::fs::write(folder.join(name), text)?;
    }
    if fresh {
        return Ok(());
    }
    let mut npm = Command::new(find("npm")?);
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
    said(&mut npm)
}

/// Builds it, once; blocks for as long as Go takes.
fn install_centrifugo(folder: &Path) -> Result<PathBuf> {
    let version = CENTRIFUGO.rsplit('@').next().unwrap_or("unknown");
    let folder = std::path::absolute(folder)?.join(format!("centrifugo-{version}"));
    let program = folder.join("centrifugo");
    if program.is_file() {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder)?;
    let mut go = Command::new(find("go")?);
    go.args(["install", CENTRIFUGO]).env("GOBIN", &folder);
    said(&mut go)?;
    Ok(program)
}

/// Builds it from its lock file, once; blocks for as long as cargo takes.
fn install_socketioxide(folder: &Path) -> Result<PathBuf> {
    let folder = std::path::absolute(folder)?.join("socketioxide");
    let program = folder.join("target/release/yardstick-socketioxide");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    if program.is_file() && SOCKETIOXIDE_FILES.iter().all(|(name, content)| text(name) == *content) {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder)?;
    for (name, content) in SOCKETIOXIDE_FILES {
        std::fs::write(folder.join(name), content)?;
    }
    let mut cargo = Command::new(find("cargo")?);
    cargo.args(["build", "--release", "--locked", "--target-dir", "target"]).current_dir(&folder);
    said(&mut cargo)?;
    Ok(program)
}

/// Runs it; a failure has its last line.
fn said(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    ensure!(output.status.success(), "{name} failed: {}", last.trim());
    Ok(())
}

fn find(program: &str) -> Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "looking a program up, not configuration")]
    let path = std::env::var("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(program));
    files.find(|file| file.is_file()).with_context(|| format!("{program} is not installed"))
}
