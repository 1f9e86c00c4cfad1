//! How a serving binary reads its command line: flags, or `serve` and flags,
//! `token` and the flags of a token, or `healthcheck`.

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, Command};
use daemon::args::without_values;
use daemon::healthcheck::{self, Healthcheck};

/// What the command line asks for.
#[derive(Debug)]
pub enum Task<S, T> {
    /// No subcommand, or `serve`.
    Serve(S),
    /// `token`.
    Token(T),
    /// `healthcheck`.
    Healthcheck(Healthcheck),
}

/// Reads the command line of `program`, which has a name and a description;
/// ends the process when it asks for help or is wrong. `adjust` may change the
/// flags of serving.
pub fn parse<S: Args, T: Args>(program: Command, adjust: impl Fn(Command) -> Command) -> Task<S, T> {
    let mut command = command::<S, T>(program, adjust);
    let matches = command.get_matches_mut();
    let task = match (healthcheck::asked(&matches), matches.subcommand()) {
        (Some(asked), _) => asked.map(Task::Healthcheck),
        (None, Some(("token", token))) => T::from_arg_matches(token).map(Task::Token),
        (None, Some((_, serve))) => S::from_arg_matches(serve).map(Task::Serve),
        (None, None) => S::from_arg_matches(&matches).map(Task::Serve),
    };
    task.unwrap_or_else(|error| error.format(&mut command).exit())
}

fn command<S: Args, T: Args>(program: Command, adjust: impl Fn(Command) -> Command) -> Command {
    // Flags bring their own type's description, so ours comes after them.
    let about = program.get_about().cloned().unwrap_or_default();
    let serve = adjust(S::augment_args(Command::new("serve")))
        .about("Serves clients; what happens without a subcommand")
        .long_about(None);
    let token = T::augment_args(Command::new("token"))
        .about("Prints a token, signed with --jwt-secret")
        .long_about(None);
    let command = adjust(S::augment_args(program))
        .about(about)
        .long_about(None)
        .subcommand(serve)
        .subcommand(token)
        .subcommand(healthcheck::subcommand())
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true);
    without_values(command)
}

/// Says in one line what is wrong with the command line.
pub fn wrong(program: &str, reason: &dyn Display) -> ExitCode {
    eprintln!("{program}: {reason}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::auth::token::TokenArgs;
    use crate::config::GatewayArgs;

    #[test]
    fn the_flags_fit_together() {
        command::<GatewayArgs, TokenArgs>(Command::new("gateway"), |command| command).debug_assert();
    }

    #[test]
    fn help_describes_the_program_and_its_subcommands() {
        let program = Command::new("gateway").about("Holds connections");
        let mut command = command::<GatewayArgs, TokenArgs>(program, |command| command);
        let help = command.render_long_help().to_string();
        for line in ["Holds connections", "Serves clients; ", "Prints a token, ", "Asks the running process "]
        {
            assert!(help.contains(line), "{line}: {help}");
        }
    }

    #[test]
    fn a_token_needs_none_of_the_flags_of_serving() {
        let command = command::<GatewayArgs, TokenArgs>(Command::new("gateway"), |command| command);
        let matches = command.try_get_matches_from(["gateway", "token", "--user", "alice"]).unwrap();
        assert_eq!(matches.subcommand_name(), Some("token"));
    }
}
