//! The binary: its flags, its answers when it cannot start, and its end.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(20);

fn router(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_router"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    router(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_teaches_every_flag() {
    let help = text(&run(&["--help"]).stdout);
    for flag in [
        "--listen",
        "--store",
        "--store-replicas",
        "--inbox-events",
        "--inbox-age",
        "--conversation-messages",
        "--max-age",
        "--archive",
        "--archive-file",
        "--archive-after",
        "--max-group-members",
        "--max-sessions",
        "--add-to-groups",
        "--channel-messages",
        "--webhook-url",
        "--webhook-secret",
        "--webhook-queue",
        "--webhook-batch",
        "--webhook-timeout",
        "--drain",
        "--admin-listen",
        "--log",
        "--log-format",
        "SWITCHBOARD_STORE",
    ] {
        assert!(help.contains(flag), "{flag} is missing in\n{help}");
    }
    assert!(!help.contains("fail-at"), "{help}");
}

#[test]
fn a_wrong_flag_says_what_is_wrong_with_it() {
    let store = ["--store", "redis://127.0.0.1:1"];
    for (arguments, said) in [
        (&["--store", "http://host"][..], "redis-cluster"),
        (&[], "--store"),
        (&[store[0], store[1], "--max-age", "90"], "for example 30s or 90d"),
        (&[store[0], store[1], "--max-age", "0s"], "must be from 1s to 36525d"),
        (&[store[0], store[1], "--inbox-age", "40000d"], "must be from 1s to 36525d"),
        (&[store[0], store[1], "--archive-after", "999ms"], "must be from 1s to 36525d"),
        (&[store[0], store[1], "--webhook-timeout", "0s"], "must be from 100ms to 10m"),
        (&[store[0], store[1], "--drain", "18446744073709551615ms"], "must be from 0s to 1d"),
        (&[store[0], store[1], "--archive", "redis://host"], "postgres://"),
        (&[store[0], store[1], "--archive-connections", "0"], "--archive-connections"),
        (&[store[0], store[1], "--max-group-members", "0"], "--max-group-members"),
        (&[store[0], store[1], "--max-sessions", "0"], "--max-sessions"),
        (&[store[0], store[1], "--add-to-groups", "friends"], "anyone, contacts, service"),
        (&[store[0], store[1], "--listen", "nowhere"], "--listen"),
        (&[store[0], store[1], "--nonsense"], "--nonsense"),
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, said) in [
        (["--store", "redis://127.0.0.1:1", "--listen", &taken], "cannot listen on"),
        (["--store", "embedded:/nowhere", "--listen", "127.0.0.1:0"], "standalone only"),
        (["--store", "redis://127.0.0.1:1", "--log", "a=b=c"], "is not a filter"),
    ] {
        let output = run(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("router: ") && error.contains(said), "{error}");
    }
}

#[test]
fn without_its_store_it_runs_and_is_not_ready_and_ends_when_told() {
    let mut running = Running::start("redis://127.0.0.1:1");
    assert_eq!(running.get("/healthz").0, 200);
    assert_eq!(running.get("/readyz").0, 503);
    assert_eq!(running.get("/metrics").0, 200);
    assert_eq!(running.end(Signal::SIGTERM), Some(0));
}

/// A router process, killed when dropped.
struct Running {
    child: Child,
    admin: SocketAddr,
}

impl Running {
    fn start(store: &str) -> Self {
        let mut child = router(&[
            "--store",
            store,
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ])
        .spawn()
        .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut admin = None;
        let mut line = String::new();
        let mut seen = String::new();
        while admin.is_none() {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended:\n{seen}");
            seen.push_str(&line);
            if line.contains("admin server listens") {
                let (_, rest) = line.split_once(r#""address":""#).unwrap();
                admin = Some(rest.split_once('"').unwrap().0.parse().unwrap());
            }
        }
        // Keeps the pipe from filling up.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, admin: admin.unwrap() }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The exit code after a signal.
    fn end(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < DEADLINE, "it did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // May have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
