//! How a serving program reads its command line: flags, or a subcommand and its
//! flags. In reading order: [`parse`], [`check`], [`check_token`].

pub mod check;
pub mod check_token;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches as _};
use daemon::args::{ABOUT_TELEMETRY, with_help};
use daemon::healthcheck::{self, Healthcheck};

/// What the command line asks for: with the flags `S` of serving, `T` of a token
/// and `C` of the check of one.
#[derive(Debug)]
pub enum Task<S, T, C> {
    /// No subcommand, or `serve`.
    Serve(S),
    /// `check`.
    Check(S),
    /// `token`.
    Token(T),
    /// `check-token`.
    CheckToken(C),
    /// `healthcheck`.
    Healthcheck(Healthcheck),
}

/// Reads the command line of `program`, which has a name and a description;
/// ends the process when it asks for help or is wrong. `adjust` may change the
/// flags of serving.
pub fn parse<S: Args, T: Args, C: Args>(
    program: Command,
    adjust: impl Fn(Command) -> Command,
) -> Task<S, T, C> {
    let mut command = command::<S, T, C>(program, adjust);
    let matches = command.get_matches_mut();
    let task = match matches.subcommand() {
        Some((healthcheck::NAME, asked)) => Healthcheck::from_arg_matches(asked).map(Task::Healthcheck),
        Some((daemon::check::NAME, serve)) => S::from_arg_matches(serve).map(Task::Check),
        Some((TOKEN, token)) => T::from_arg_matches(token).map(Task::Token),
        Some((CHECK_TOKEN, token)) => C::from_arg_matches(token).map(Task::CheckToken),
        Some((_, serve)) => S::from_arg_matches(serve).map(Task::Serve),
        None => S::from_arg_matches(&matches).map(Task::Serve),
    };
    task.unwrap_or_else(|error| error.format(&mut command).exit())
}

const TOKEN: &str = "token";
const CHECK_TOKEN: &str = "check-token";

fn command<S: Args, T: Args, C: Args>(program: Command, adjust: impl Fn(Command) -> Command) -> Command {
    // Flags bring their own type's description, so ours comes after them.
    let about = program.get_about().cloned().unwrap_or_default();
    let serving =
        |command| adjust(S::augment_args(command)).long_about(None).after_long_help(ABOUT_TELEMETRY);
    let serve = serving(Command::new("serve")).about("Serves clients; the same as without a subcommand");
    let token = T::augment_args(Command::new(TOKEN))
        .about("Prints a token, signed with --jwt-secret")
        .long_about(None);
    let check_token = C::augment_args(Command::new(CHECK_TOKEN))
        .about("Says what a token says, and whether these flags would have it believed")
        .long_about(
            "Says what a token says, and whether these flags would have it believed, or why not. The exit code is 0 \
             when it is, 1 when it is not, or 2 when a flag is wrong. The signature is not shown.",
        );
    let command = serving(program)
        .about(about)
        .subcommand(serve)
        .subcommand(daemon::check::subcommand(serving))
        .subcommand(token)
        .subcommand(check_token)
        .subcommand(healthcheck::subcommand())
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true);
    with_help(command)
}

/// Says in one line what is wrong with the command line.
pub fn wrong(program: &str, reason: &dyn Display) -> ExitCode {
    eprintln!("{program}: {reason}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::check_token::CheckTokenArgs;
    use super::*;
    use crate::caller::auth::token::TokenArgs;
    use crate::config::GatewayArgs;

    fn of_gateway(program: Command) -> Command {
        command::<GatewayArgs, TokenArgs, CheckTokenArgs>(program, |command| command)
    }

    #[test]
    fn the_flags_fit_together() {
        of_gateway(Command::new("gateway")).debug_assert();
    }

    #[test]
    fn help_describes_the_program_and_its_subcommands() {
        let mut command = of_gateway(Command::new("gateway").about("Holds connections"));
        let help = command.render_long_help().to_string();
        for line in [
            "Holds connections",
            "Serves clients; ",
            "Says whether these flags ",
            "Prints a token, ",
            "Says what a token says, ",
            "Asks the running process ",
        ] {
            assert!(help.contains(line), "{line}: {help}");
        }
    }

    #[test]
    fn every_flag_has_a_group_and_one_sentence_that_fits_a_line() {
        let command = of_gateway(Command::new("gateway"));
        for flag in command.get_arguments() {
            let help = flag.get_help().unwrap_or_else(|| panic!("{} has no help", flag.get_id())).to_string();
            let group = flag.get_help_heading();
            assert!(group.is_some(), "{} has no group", flag.get_id());
            assert!(help.len() <= 80 && !help.contains(['\n', '.']) || help.contains("://"), "{help}");
        }
    }

    #[test]
    fn a_token_needs_none_of_the_flags_of_serving() {
        let matches = of_gateway(Command::new("gateway"))
            .try_get_matches_from(["gateway", "token", "--user", "alice"])
            .unwrap();
        assert_eq!(matches.subcommand_name(), Some("token"));
    }
}
