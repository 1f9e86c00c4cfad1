//! The subcommand `healthcheck`: asks the process on the same machine whether
//! it is ready. For container images, which have neither a shell nor curl.
//! Prints one line; the exit code is 0 (ready) or 1.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args as _, Command};

use crate::args::listen_address;
use crate::duration;

/// The subcommand's name.
pub const NAME: &str = "healthcheck";
/// The most bytes read of a response. Ours have a few lines.
const MAX_RESPONSE_BYTES: u64 = 16 * 1024;

/// The flags of `healthcheck`.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "healthcheck")]
pub struct Healthcheck {
    /// The --admin-listen of the running process.
    ///
    /// 0.0.0.0 and :: stand for this machine.
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDRESS", value_parser = listen_address)]
    pub admin_listen: SocketAddr,

    /// The time for the answer.
    ///
    /// From 1ms to 10m.
    #[arg(long, default_value = "4s", value_parser = duration::between("1ms", "10m"), value_name = "DURATION")]
    pub timeout: Duration,
}

/// The subcommand, which a serving binary adds to its own.
pub fn subcommand() -> Command {
    // Last, since the flags bring the description of their own type.
    Healthcheck::augment_args(Command::new(NAME))
        .about("Asks the running process whether it is ready; exit code 0 or 1")
        .long_about(None)
}

impl Healthcheck {
    /// Asks, and prints the answer in one line.
    pub fn run(&self) -> ExitCode {
        match self.ask() {
            Ok(()) => {
                println!("ready");
                ExitCode::SUCCESS
            }
            Err(why) => {
                println!("not ready: {why}");
                ExitCode::FAILURE
            }
        }
    }

    /// Asks `/readyz` of the process. The error says in one line why the
    /// process is not ready, or that it does not answer.
    pub fn ask(&self) -> Result<(), String> {
        let address = reachable(self.admin_listen);
        let answer = self
            .answer(address)
            .map_err(|error| format!("{address} (--admin-listen) does not answer: {error}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split_ascii_whitespace().nth(1) {
            Some("200") => Ok(()),
            Some("503") => Err(body.lines().collect::<Vec<_>>().join("; ")),
            _ => Err(format!("{address} (--admin-listen) is not our admin server")),
        }
    }

    fn answer(&self, address: SocketAddr) -> std::io::Result<String> {
        let deadline = Instant::now() + self.timeout;
        let left = || Some(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        let mut stream = TcpStream::connect_timeout(&address, self.timeout.max(Duration::from_millis(1)))?;
        stream.set_write_timeout(left())?;
        write!(stream, "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        loop {
            stream.set_read_timeout(left())?;
            let read = stream.read(&mut piece)?;
            answer.extend_from_slice(&piece[..read]);
            let over = Instant::now() >= deadline || answer.len() as u64 > MAX_RESPONSE_BYTES;
            if read == 0 || over {
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
        }
    }
}

/// The address at which a listener of this machine is reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_is_reached_on_this_machine() {
        for (listen, address) in
            [("0.0.0.0:9090", "127.0.0.1:9090"), ("[::]:1", "[::1]:1"), ("10.0.0.1:2", "10.0.0.1:2")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), address);
        }
    }
}
