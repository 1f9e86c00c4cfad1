//! The variables that are known to `daemon` are those of the flags.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;

use clap::{Args as _, Command, CommandFactory as _};
use daemon::environment::KNOWN;
use gateway::config::GatewayArgs;
use standalone::args::{Args, CheckTokenCommand, TokenCommand};

/// As `--store` is `SWITCHBOARD_STORE`.
fn variables(command: &Command) -> BTreeSet<String> {
    let variables = command.get_arguments().filter_map(|arg| arg.get_env());
    variables.map(|name| name.to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_flag_has_its_variable_and_each_is_known() {
    let commands = [
        GatewayArgs::augment_args(Command::new("gateway")),
        daemon::Args::augment_args(Command::new("daemon")),
        router::Args::command(),
        Args::augment_args(Command::new("standalone")),
        TokenCommand::augment_args(Command::new("token")),
        CheckTokenCommand::augment_args(Command::new("check-token")),
    ];
    let flags: BTreeSet<String> = commands.iter().flat_map(variables).collect();
    let known: BTreeSet<String> = KNOWN.iter().map(|name| (*name).to_owned()).collect();
    // It is there in builds for tests only.
    let ours = |names: &BTreeSet<String>| {
        names.iter().filter(|name| *name != "SWITCHBOARD_FAIL_AT").cloned().collect::<BTreeSet<_>>()
    };
    assert_eq!(ours(&flags), ours(&known), "daemon/src/environment.rs lists all variables of all flags");
}
