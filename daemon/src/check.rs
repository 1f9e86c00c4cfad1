//! `check`: a subcommand that takes the flags of serving and says whether they
//! would work here, without serving. A line for each thing that it looks at; the
//! exit code is 0, or 1 when a line says `fail`.
//!
//! ```text
//! ok    --listen         0.0.0.0:8080 is free
//! warn  --store          redis://redis:6379: redis keeps no append-only file: …
//! fail  --router         http://router:7100: the name has no address: …
//! ```

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Command;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

use crate::args::Args;
use crate::settings::Settings;
use crate::{environment, logs, run};

/// The subcommand's name.
pub const NAME: &str = "check";
/// For one check; what waits for the network ends earlier by itself.
const LIMIT: Duration = Duration::from_secs(10);
/// Of the column with the flags: the longest one that has a line.
const WIDTH: usize = "--internal-tls-cert".len();

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    verdict: Verdict,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Finding {
    /// All is well.
    pub fn ok(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, text: text.into() }
    }

    /// It works, but not as one may think.
    pub fn warn(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, text: text.into() }
    }

    /// It would not work; the text says what to change.
    pub fn fail(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, text: text.into() }
    }

    /// Of something that was looked at: what it is and what works otherwise than
    /// one may think, or why it would not work.
    pub fn of(name: impl Display, looked: Result<(String, Vec<String>), String>) -> Vec<Self> {
        match looked {
            Err(why) => vec![Self::fail(format!("{name}: {why}"))],
            Ok((what, warnings)) => std::iter::once(Self::ok(format!("{name}: {what}")))
                .chain(warnings.into_iter().map(Self::warn))
                .collect(),
        }
    }

    fn line(&self, flag: &str) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        // An error from elsewhere may have several lines, or write to a terminal.
        let text: String = self.text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        format!("{verdict:<4}  {flag:<WIDTH$}  {text}")
    }
}

/// What a check will find.
pub type Findings = Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

/// The checks of one configuration, in the order in which their lines are
/// printed. They run at the same time.
#[derive(Default)]
pub struct Checks(Vec<(Flag, Findings)>);

/// What to change when a check fails.
type Flag = Cow<'static, str>;

impl Checks {
    /// Adds a check; `flag` is what to change when it fails.
    pub fn add(&mut self, flag: impl Into<Flag>, check: impl Future<Output = Vec<Finding>> + Send + 'static) {
        self.0.push((flag.into(), Box::pin(check)));
    }

    /// Adds what has been found already.
    pub fn found(&mut self, flag: impl Into<Flag>, findings: impl IntoIterator<Item = Finding>) {
        let findings = findings.into_iter().collect();
        self.add(flag, async { findings });
    }

    /// Adds what every serving program needs: the address for its peers at
    /// `--listen`, the admin server's, logs, telemetry, and no misspelt variable.
    /// `admin_is_optional`: the program serves without an admin server, too.
    pub fn process(&mut self, listen: SocketAddr, args: &Args, admin_is_optional: bool) {
        self.found("--listen", [free(listen).map_or_else(Finding::fail, Finding::ok)]);
        let admin = match args.admin_listen {
            admin if admin.port() == listen.port() && admin.port() != 0 && overlap(listen, admin) => {
                Err(format!("{admin} is the address of --listen, too: give it another port"))
            }
            admin => free(admin),
        };
        self.found(
            "--admin-listen",
            [admin.map_or_else(if admin_is_optional { Finding::warn } else { Finding::fail }, Finding::ok)],
        );
        if let Err(error) = logs::filter(&args.log.log) {
            self.found("--log", [Finding::fail(format!("{error}"))]);
        }
        match Settings::from_env() {
            Err(wrong) => self.found("telemetry", [Finding::fail(wrong.to_string())]),
            Ok(settings) if settings.is_silent() => {}
            Ok(_) => self.found("telemetry", [Finding::ok("the OTEL_ variables can be used")]),
        }
        self.found("environment", environment::warnings().into_iter().map(Finding::warn));
    }

    /// Runs them, prints their lines, and says by the exit code whether all is
    /// well.
    pub fn run(self) -> ExitCode {
        let failed = block_on(async {
            let mut checks: FuturesOrdered<_> = self.0.into_iter().map(bounded).collect();
            let mut failed = false;
            while let Some((flag, findings)) = checks.next().await {
                for finding in findings {
                    println!("{}", finding.line(&flag));
                    failed |= finding.verdict == Verdict::Fail;
                }
            }
            failed
        });
        match failed {
            Ok(false) => ExitCode::SUCCESS,
            Ok(true) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }
}

async fn bounded((flag, check): (Flag, Findings)) -> (Flag, Vec<Finding>) {
    let found = tokio::time::timeout(LIMIT, check).await;
    (flag, found.unwrap_or_else(|_| vec![Finding::fail(format!("no end within {LIMIT:?}"))]))
}

/// Runs a future of a subcommand, on this thread. What it has begun and left is
/// not waited for.
pub fn block_on<F: Future>(future: F) -> std::io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(output)
}

/// Whether somebody listens there: one connection, and nothing is sent.
pub async fn somebody_listens(host: &str, port: u16) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(4);
    match tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

fn free(address: SocketAddr) -> Result<String, String> {
    match run::reserve(address, "") {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) => {
            let cause = error.root_cause();
            let advice = match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
                Some(ErrorKind::AddrInUse) => "end the program that has it, or give another port",
                Some(ErrorKind::PermissionDenied) => "give a port above 1023, or the right to use this one",
                Some(ErrorKind::AddrNotAvailable) => "give an address of this machine, or 0.0.0.0",
                _ => "give another address",
            };
            Err(format!("cannot listen on {address}: {cause}: {advice}"))
        }
    }
}

/// Whether two addresses of one port cannot both be listened on.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified()
}

/// The subcommand, to be added to a serving program's own; `serving` adds the
/// flags of serving.
pub fn subcommand(serving: impl FnOnce(Command) -> Command) -> Command {
    // Flags bring their own type's description.
    serving(Command::new(NAME))
        .about("Says whether these flags would work here: files, addresses, store, routers, keys")
        .long_about(
            "Says whether these flags would work here, without serving. It takes the flags and variables of serving, \
             and looks at files, addresses, the store, routers and keys. A line for each: ok, warn or fail, with what \
             to change. The exit code is 0, 1 when a line says `fail`, or 2 when a flag is wrong. Nothing is written, \
             and no secret is shown.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_with_its_columns() {
        let line = |finding: Finding, flag: &str| finding.line(flag);
        assert_eq!(line(Finding::ok("free"), "--listen"), "ok    --listen             free");
        assert_eq!(line(Finding::fail("a\nb\u{1b}[2J"), "--store"), "fail  --store              a b [2J");
    }

    #[test]
    fn an_address_is_free_or_has_a_reason() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(free(address).unwrap_err().contains("end the program that has it"));
        drop(taken);
        assert!(free(address).is_ok());
        assert!(free("192.0.2.1:1".parse().unwrap()).unwrap_err().contains("an address of this machine"));
    }

    #[test]
    fn one_port_for_two_servers_is_found() {
        let overlap = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80") && overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_does_not_end_is_a_failure_with_its_name() {
        let (flag, found) = bounded(("--store".into(), Box::pin(std::future::pending()))).await;
        assert_eq!((&*flag, found), ("--store", vec![Finding::fail("no end within 10s")]));
    }
}
