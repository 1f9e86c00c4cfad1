//! How much one user may do: a limit for each class of commands and requests
//! (`crate::caller::rates`), on all gateways together.

use daemon::args::heading;
use proto::Rate;

use super::wrong::Wrong;
use proto::Class;

/// What may be done at once after a pause, in seconds of the limit.
const BURST_SECONDS: f64 = 4.0;
/// The largest value of a flag: beyond it the counts would not be exact.
const MOST: u32 = 1_000_000;

/// The flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = heading::USER_LIMITS)]
pub struct RateArgs {
    /// Messages a second.
    ///
    /// Counts send, publish, edit, recall, react, rename and remove_member. Four
    /// times as many at once after a pause. 0: no limit; 1000000 at most.
    #[arg(long, env = "SWITCHBOARD_MESSAGES_PER_SECOND", default_value_t = 50, value_name = "N")]
    pub messages_per_second: u32,

    /// New groups and additions to groups, a minute.
    ///
    /// Counts create_group and add_members. All of them at once after a pause.
    /// 0: no limit; 1000000 at most.
    #[arg(long, env = "SWITCHBOARD_INVITES_PER_MINUTE", default_value_t = 30, value_name = "N")]
    pub invites_per_minute: u32,

    /// Requests that read, a second.
    ///
    /// Counts history, conversations, members, presence, subscribe, unsubscribe
    /// and polls. Four times as many at once after a pause. 0: no limit; 1000000
    /// at most.
    #[arg(long, env = "SWITCHBOARD_READS_PER_SECOND", default_value_t = 50, value_name = "N")]
    pub reads_per_second: u32,

    /// Acknowledgements, read marks, typing signals and pings, a second.
    ///
    /// Counts ack, read, typing and ping. Four times as many at once after a
    /// pause. 0: no limit; 1000000 at most.
    #[arg(long, env = "SWITCHBOARD_SIGNALS_PER_SECOND", default_value_t = 200, value_name = "N")]
    pub signals_per_second: u32,

    /// New sessions, tickets and renewed tokens, a second.
    ///
    /// A poll that waits begins a session, too, where the last poll did not wait
    /// on the same gateway. Four times as many at once after a pause. 0: no
    /// limit; 1000000 at most.
    #[arg(long, env = "SWITCHBOARD_ATTACHES_PER_SECOND", default_value_t = 20, value_name = "N")]
    pub attaches_per_second: u32,

    /// Requests of any kind of a user with the scope `service`, a second.
    ///
    /// It replaces the limits above for tokens with that scope, whomever they
    /// act for. Four times as many at once after a pause. 0: no limit; 1000000
    /// at most.
    #[arg(long, env = "SWITCHBOARD_SERVICE_REQUESTS_PER_SECOND", default_value_t = 2_000, value_name = "N")]
    pub service_requests_per_second: u32,
}

/// The checked limits; the flags of the same names say what each is.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateLimitConfig {
    /// `--messages-per-second`.
    pub messages_per_second: u32,
    /// `--invites-per-minute`.
    pub invites_per_minute: u32,
    /// `--reads-per-second`.
    pub reads_per_second: u32,
    /// `--signals-per-second`.
    pub signals_per_second: u32,
    /// `--attaches-per-second`.
    pub attaches_per_second: u32,
    /// `--service-requests-per-second`.
    pub service_requests_per_second: u32,
}

impl RateArgs {
    pub(super) fn check(&self) -> Result<RateLimitConfig, Wrong> {
        let within = |flag: &str, number: u32| match number {
            0..=MOST => Ok(number),
            _ => Err(Wrong(format!("{flag}: must be from 0 to {MOST}, not {number}"))),
        };
        Ok(RateLimitConfig {
            messages_per_second: within("--messages-per-second", self.messages_per_second)?,
            invites_per_minute: within("--invites-per-minute", self.invites_per_minute)?,
            reads_per_second: within("--reads-per-second", self.reads_per_second)?,
            signals_per_second: within("--signals-per-second", self.signals_per_second)?,
            attaches_per_second: within("--attaches-per-second", self.attaches_per_second)?,
            service_requests_per_second: within(
                "--service-requests-per-second",
                self.service_requests_per_second,
            )?,
        })
    }
}

impl RateLimitConfig {
    /// The limit of a class; nothing: there is none.
    pub fn of(&self, class: Class) -> Option<Rate> {
        let a_second =
            |number: u32| Rate { per_second: f64::from(number), burst: f64::from(number) * BURST_SECONDS };
        let rate = match class {
            Class::Write => a_second(self.messages_per_second),
            Class::Invite => {
                let number = f64::from(self.invites_per_minute);
                Rate { per_second: number / 60.0, burst: number }
            }
            Class::Read => a_second(self.reads_per_second),
            Class::Signal => a_second(self.signals_per_second),
            Class::Attach => a_second(self.attaches_per_second),
            Class::Service => a_second(self.service_requests_per_second),
        };
        (rate.per_second > 0.0).then_some(rate)
    }
}
