//! The flags that every serving binary has. Each is also an environment
//! variable of the same name.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, ValueEnum};

use crate::duration;
use crate::otlp::Headers;

/// The groups that help shows flags in, one for all programs.
pub mod heading {
    /// The flags that somebody must give, or gives first.
    pub const NEEDED: &str = "What it needs";
    /// Keys, and what is asked of tokens.
    pub const TOKENS: &str = "Whose tokens are believed";
    /// The certificate that clients see.
    pub const TLS: &str = "TLS for clients";
    /// Origins and the chat page.
    pub const BROWSERS: &str = "Browsers";
    /// Load balancers in front of gateways.
    pub const PROXIES: &str = "Proxies in front";
    /// Heading of the flags that bound how often a user may do something.
    pub const USER_LIMITS: &str = "Limits for each user";
    /// Connections, memory and times of one gateway.
    pub const GATEWAY_LIMITS: &str = "Limits of one gateway";
    /// Groups, sessions and reactions, which routers see to.
    pub const MESSAGE_LIMITS: &str = "Limits of groups and sessions";
    /// Counts and ages.
    pub const KEPT: &str = "What the store keeps";
    /// How routers write.
    pub const WRITING: &str = "How messages are written";
    /// Messages for users who are away.
    pub const WEBHOOK: &str = "Webhook";
    /// The way from gateway to gateway.
    pub const PEERS: &str = "Between gateways";
    /// TLS on the ways between our own processes.
    pub const INTERNAL: &str = "TLS between our own processes";
    /// Name, admin server, end, threads.
    pub const PROCESS: &str = "The process";
    /// Logs, and what is exported.
    pub const TELEMETRY: &str = "Logs and telemetry";
    /// `--help` and `--version`.
    pub const HELP: &str = "Help";
}

/// What stands below the flags in the long help of a serving program.
pub const ABOUT_TELEMETRY: &str = "\
Telemetry by OTLP: the variables of the OpenTelemetry specification. Without any of them nothing is exported.
  OTEL_EXPORTER_OTLP_ENDPOINT     where traces, metrics and logs go, such as http://collector:4318
  OTEL_EXPORTER_OTLP_PROTOCOL     http/protobuf (the default) or grpc
  OTEL_EXPORTER_OTLP_HEADERS      credentials, such as api-key=...
  OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER
                                  `none` switches one of the three off
  OTEL_TRACES_SAMPLER             which messages are traced: parentbased_always_on (the default),
                                  parentbased_traceidratio, ...
  OTEL_TRACES_SAMPLER_ARG         the part of them, from 0 to 1, such as 0.01
  OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
                                  what this process is called
Metrics are also served for Prometheus at /metrics of --admin-listen, always.";

/// The common flags; a binary flattens them into its own.
#[derive(Debug, Clone, clap::Args)]
// The default id is the type's name, which binaries give their own flags, too.
#[group(id = "daemon")]
#[command(next_help_heading = heading::PROCESS)]
pub struct Args {
    /// The address and port of /healthz, /readyz and /metrics.
    ///
    /// Operators and Prometheus use it. It has no password: keep it from clients.
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDRESS", value_parser = listen_address)]
    pub admin_listen: SocketAddr,

    /// The time that the process may take to end after SIGTERM.
    ///
    /// A gateway tells its clients to go elsewhere within half of it (5s at
    /// most), and serves each of them until it has gone, for a quarter of it
    /// longer (5s at most). A router answers what it was asked. 1d at most.
    #[arg(long, env = "SWITCHBOARD_DRAIN", default_value = "30s",
          value_parser = duration::between("0s", "1d"), value_name = "DURATION")]
    pub drain: Duration,

    /// Threads that do the work [default: one a core].
    ///
    /// The default is the number of cores, or what the cgroup's CPU limit
    /// allows. Where several processes share a machine, fewer threads in each
    /// cost less CPU.
    #[arg(long, env = "SWITCHBOARD_WORKER_THREADS", value_name = "N")]
    pub worker_threads: Option<NonZeroUsize>,

    /// Headers of all telemetry that is exported, read from a file.
    ///
    /// As OTEL_EXPORTER_OTLP_HEADERS has them, and beside those: api-key=..., with
    /// commas between several. One line's end at the end of the file is not part of
    /// them.
    #[arg(long, env = "SWITCHBOARD_OTLP_HEADERS_FILE", value_name = "FILE", value_parser = in_file::<Headers>(),
          help_heading = heading::TELEMETRY)]
    pub otlp_headers_file: Option<Headers>,

    /// Logging, to standard error.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The flags of logging, for programs without an admin server, too.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = heading::TELEMETRY)]
pub struct LogArgs {
    /// What is logged: error, warn, info, debug or trace, or a list.
    ///
    /// A list has a level for each program part, such as `info,router=debug`.
    /// Lines go to standard error.
    #[arg(long, env = "SWITCHBOARD_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How log lines are written.
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A parser for flags that may hold a secret, for clap's `value_parser`. Clap's
/// own errors quote the value that they refuse; this one's do not.
pub fn hidden<T>() -> Hidden<T> {
    Hidden(SecretSource::InFlag, PhantomData)
}

/// A parser for flags that name a file with a secret, for clap's `value_parser`: the
/// flag's value is what the file holds. Neither that nor the file's other words are in
/// its errors.
pub fn in_file<T>() -> Hidden<T> {
    Hidden(SecretSource::InFile, PhantomData)
}

/// The parser that [`hidden`] and [`in_file`] make.
#[derive(Debug)]
pub struct Hidden<T>(SecretSource, PhantomData<fn() -> T>);

/// Where the secret is.
#[derive(Debug, Clone, Copy)]
enum SecretSource {
    InFlag,
    InFile,
}

impl SecretSource {
    /// The secret, and what its errors begin with.
    fn read(self, value: &OsStr) -> (Result<String, String>, String) {
        match self {
            Self::InFlag => {
                (value.to_str().map(str::to_owned).ok_or("is not UTF-8".to_owned()), String::new())
            }
            Self::InFile => {
                let path = Path::new(value);
                let held = std::fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"));
                let secret = held.map(|text| {
                    // One line's end at the end of the file is none of the secret's.
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    text.strip_suffix('\r').unwrap_or(text).to_owned()
                });
                (secret, format!("{}: ", path.display()))
            }
        }
    }
}

impl<T> Clone for Hidden<T> {
    fn clone(&self) -> Self {
        Self(self.0, PhantomData)
    }
}

impl<T> TypedValueParser for Hidden<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: Display,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let (secret, whose) = self.0.read(value);
        let parsed = secret.and_then(|text| text.parse().map_err(|wrong: T::Err| wrong.to_string()));
        parsed.map_err(|wrong| {
            let flag = arg.and_then(Arg::get_long).map_or_else(String::new, |name| format!("--{name}: "));
            command.clone().error(ErrorKind::ValueValidation, format!("{flag}{whose}{wrong}"))
        })
    }
}

/// Gives a command and its subcommands the help that all our programs have: `-h`
/// has a line for each flag, `--help` all that there is to say, and neither shows
/// a value of the environment, which may be a secret. To be put around the whole
/// command of a program.
pub fn with_help(command: Command) -> Command {
    let short = std::env::args_os().any(|argument| argument == "-h");
    with_help_of(command, short)
}

/// `short`: the help will be asked for by `-h`, where clap itself would still
/// name every flag's variable.
fn with_help_of(command: Command, short: bool) -> Command {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help_heading(heading::HELP);
    let help = help.help("Print help: -h a line for each flag, --help all there is to say");
    let version = command.get_version().is_some().then(|| {
        let version = Arg::new("version").short('V').long("version").action(ArgAction::Version);
        version.help("Print the version").help_heading(heading::HELP)
    });
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .mut_args(|arg| arg.hide_env_values(true).hide_env(short))
        .arg(help)
        .args(version)
        .mut_subcommands(|subcommand| with_help_of(subcommand, short))
}

/// Reads an address and a port, or a host name and a port; of a name's
/// addresses the first IPv4 address is taken, or else the first. For clap's
/// `value_parser`. Asks the resolver; fails when the text has another form or
/// the name has no address.
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
    fn a_secret_in_a_file_is_its_only_line_and_no_error_shows_it() {
        let folder = std::env::temp_dir().join(format!("switchboard-in-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let read = |held: &str| {
            let file = folder.join("number");
            std::fs::write(&file, held).unwrap();
            let command =
                Command::new("test").arg(Arg::new("n").long("n-file").value_parser(in_file::<u16>()));
            let matches =
                command.try_get_matches_from(["test".as_ref(), "--n-file".as_ref(), file.as_os_str()]);
            matches.map(|matches| matches.get_one::<u16>("n").copied()).map_err(|error| error.to_string())
        };
        for held in ["42", "42\n", "42\r\n"] {
            assert_eq!(read(held), Ok(Some(42)));
        }
        let wrong = read("hidden").unwrap_err();
        assert!(wrong.contains("--n-file: ") && !wrong.contains("hidden"), "{wrong}");
        assert!(read("42\n\n").is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

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
