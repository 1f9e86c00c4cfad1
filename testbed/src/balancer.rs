//! A real load balancer before gateways, with the configuration that is in
//! `deploy/`: only addresses, ports and folders are put into it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{Process, port};

const START: Duration = Duration::from_secs(20);

/// The program that balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is Debian's package of that name")]
pub enum Program {
    Haproxy,
    Nginx,
    Caddy,
}

/// What requests are sent to.
#[derive(Debug, Clone)]
pub struct Gateways {
    /// `IP:PORT` of each, for clients.
    pub addresses: Vec<String>,
    /// The port of all of them where `/readyz` is asked.
    pub admin: u16,
}

/// A running load balancer, killed on drop.
#[derive(Debug)]
pub struct Balancer {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Haproxy, Self::Nginx, Self::Caddy];

    /// Its configuration as it is shipped.
    pub fn configuration(self) -> Result<String> {
        let file = match self {
            Self::Haproxy => "deploy/haproxy/haproxy.cfg",
            Self::Nginx => "deploy/balancers/nginx.conf",
            Self::Caddy => "deploy/balancers/Caddyfile",
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        fs::read_to_string(&path).with_context(|| format!("{} could not be read", path.display()))
    }

    /// Its name, and the package's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
        }
    }

    /// The shipped configuration for this place.
    fn placed(self, text: &str, port: u16, folder: &Path, gateways: &Gateways) -> Result<String> {
        let Gateways { addresses, admin } = gateways;
        let folder = folder.display();
        let replaced = match self {
            Self::Haproxy => {
                let mut servers = String::new();
                for (index, address) in addresses.iter().enumerate() {
                    writeln!(servers, "server gateway-{index} {address}")?;
                }
                vec![
                    ("bind :8080", format!("bind 127.0.0.1:{port}")),
                    ("bind :8404", format!("bind 127.0.0.1:{}", crate::port::free())),
                    // A test needs few, and memory is taken for as many as may be.
                    ("\nglobal\n", "\nglobal\n  maxconn 2000\n".to_owned()),
                    (" port 9090", format!(" port {admin}")),
                    (" init-addr none resolvers dns", String::new()),
                    ("server-template gateway- 32 gateway:8080", servers),
                ]
            }
            Self::Nginx => {
                let mut places = format!("http {{\n  access_log {folder}/access;\n");
                for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
                    writeln!(places, "  {what}_temp_path {folder}/{what};")?;
                }
                let mut servers = String::new();
                for address in addresses {
                    writeln!(servers, "    server {address} max_fails=1 fail_timeout=2s;")?;
                }
                vec![
                    ("http {\n  access_log off;\n", places),
                    ("listen 8080;", format!("listen 127.0.0.1:{port};")),
                    (NGINX_SERVERS, servers),
                ]
            }
            Self::Caddy => vec![
                ("{\n\tservers {", "{\n\tadmin off\n\tservers {".to_owned()),
                ("\n:8080 {", format!("\nhttp://127.0.0.1:{port} {{")),
                ("gateway-1:8080 gateway-2:8080", addresses.join(" ")),
                ("health_port 9090", format!("health_port {admin}")),
            ],
        };
        let mut text = text.to_owned();
        for (from, to) in replaced {
            ensure!(text.matches(from).count() == 1, "{} has not one `{from}`", self.name());
            text = text.replace(from, &to);
        }
        Ok(text)
    }

    fn arguments(self, file: &str, folder: &str) -> Vec<String> {
        let arguments: &[&str] = match self {
            Self::Haproxy => &["-db", "-f", file],
            Self::Nginx => {
                return [
                    "-c",
                    file,
                    "-p",
                    folder,
                    "-e",
                    "stderr",
                    "-g",
                    // One process: the workers of a master that is killed go on.
                    &format!("daemon off; master_process off; pid {folder}/pid;"),
                ]
                .map(str::to_owned)
                .into();
            }
            Self::Caddy => &["run", "--adapter", "caddyfile", "--config", file],
        };
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }
}

const NGINX_SERVERS: &str = "    server gateway-1:8080 max_fails=1 fail_timeout=2s;\n    \
                             server gateway-2:8080 max_fails=1 fail_timeout=2s;\n";

impl Balancer {
    /// Starts one before these, which run; returns when it lets requests
    /// through to them.
    pub async fn start(program: Program, gateways: &Gateways) -> Result<Self> {
        Self::start_with(program, gateways, |text| text).await
    }

    /// The same, with another text of the configuration.
    pub async fn start_with(
        program: Program,
        gateways: &Gateways,
        change: impl FnOnce(String) -> String,
    ) -> Result<Self> {
        let port = port::free();
        let folder = TempDir::with_prefix("switchboard-balancer-")?;
        let file = folder.path().join("configuration");
        let text = change(program.configuration()?);
        fs::write(&file, program.placed(&text, port, folder.path(), gateways)?)?;
        let name = program.name();
        let arguments = program.arguments(&file.to_string_lossy(), &folder.path().to_string_lossy());
        let home = |name: &str| (name.to_owned(), folder.path().to_string_lossy().into_owned());
        let environment = ["XDG_DATA_HOME", "XDG_CONFIG_HOME"].map(home);
        let mut process = Process::spawn_with(name, &found(name), &arguments, &environment)
            .with_context(|| format!("{name} is needed (Debian's package {name})"))?;
        process.ready(&format!("http://127.0.0.1:{port}/v1/openapi.json"), START).await?;
        Ok(Self { port, process, _folder: folder })
    }

    /// `http://127.0.0.1:PORT` for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written, for failures.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// Debian's place for servers is not in every user's PATH.
fn found(name: &str) -> std::path::PathBuf {
    let there = Path::new("/usr/sbin").join(name);
    if there.exists() { there } else { name.into() }
}
