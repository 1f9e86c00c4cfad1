//! The flags that every serving binary has; each is also an environment
//! variable of the same name.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, ValueEnum};

use crate::duration;

/// Flatten these into a binary's own flags.
#[derive(Debug, Clone, clap::Args)]
// The default id is the type's name, which binaries give their own flags, too.
#[group(id = "daemon")]
pub struct Args {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDRESS", value_parser = listen_address)]
    pub admin_listen: SocketAddr,

    /// After SIGTERM: how long what is under way may take to end. A gateway tells
    /// its clients to go elsewhere within half of it (5 s at most), and serves
    /// each until it has, for a quarter of it longer (5 s at most).
    #[arg(long, env = "SWITCHBOARD_DRAIN", default_value = "30s", value_parser = duration::parse)]
    pub drain: Duration,

    /// Threads that do the work. By default as many as there are cores, or as
    /// the cgroup's CPU limit allows. Where several processes share a machine,
    /// fewer for each cost less CPU.
    #[arg(long, env = "SWITCHBOARD_WORKER_THREADS", value_name = "N")]
    pub worker_threads: Option<NonZeroUsize>,

    /// What is logged, to standard error.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The flags of logging alone, for programs without an admin server.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace) or a list
    /// such as `info,router=debug`.
    #[arg(long, env = "SWITCHBOARD_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How lines are written.
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads the value of a flag that may hold a secret; to be given to clap as
/// `value_parser`. Clap's own errors quote what they refuse, this one does not.
pub fn hidden<T>() -> Hidden<T> {
    Hidden(PhantomData)
}

/// See [`hidden`].
#[derive(Debug)]
pub struct Hidden<T>(PhantomData<fn() -> T>);

impl<T> Clone for Hidden<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> TypedValueParser for Hidden<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: Display,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let parsed = match value.to_str() {
            None => Err("is not UTF-8".to_owned()),
            Some(text) => text.parse().map_err(|wrong: T::Err| wrong.to_string()),
        };
        parsed.map_err(|wrong| {
            let flag = arg.and_then(Arg::get_long).map_or_else(String::new, |name| format!("--{name}: "));
            command.clone().error(ErrorKind::ValueValidation, format!("{flag}{wrong}"))
        })
    }
}

/// Makes help show no value of the environment: any may be secret, or hold one.
/// To be put around the whole command of a binary.
pub fn without_values(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values)
}

/// Reads where to listen: an address and a port, or a name and a port, of which
/// the first IPv4 address counts, else the first. To be given to clap as
/// `value_parser`; asks the resolver.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let named = text.rsplit_once(':').filter(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
    if named.is_none() {
        return Err(
            "must be an address and a port, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080".to_owned()
        );
    }
    let found: Vec<SocketAddr> =
        text.to_socket_addrs().map_err(|error| format!("the name has no address: {error}"))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_may_listen_on_an_address_or_on_a_name() {
        let read = |text| listen_address(text).map(|address| address.to_string());
        assert_eq!(read("127.0.0.1:8080").as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(read("[::1]:0").as_deref(), Ok("[::1]:0"));
        assert_eq!(read("localhost:8080").as_deref(), Ok("127.0.0.1:8080"));
        for wrong in
            ["", "8080", ":8080", "localhost", "localhost:http", "localhost:70000", "no.such.host.invalid:1"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
