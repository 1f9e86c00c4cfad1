//! Commands on their way to a router, and their answers on the way back.

use std::time::{Duration, Instant};

use proto::{CommandKind, DeviceId, UserId};
use tokio::sync::Semaphore;

use super::context::NodeContext;
use super::request::{Prepared, prepare, unhide};
use super::typing::{TypingLimits, TypingPass};
use crate::metrics;
use crate::protocol::answer::Answer;
use crate::protocol::command::Command;
use crate::protocol::failure::Failure;
use crate::protocol::scopes::Scopes;

/// Bytes of messages to many that are under way to routers, of all callers of this
/// node together; the next one waits until an answer has made room. Other commands
/// go between them.
const TO_MANY: usize = 1 << 20;

/// Does commands, by asking routers.
pub struct Commands {
    /// The node and its routers.
    pub(crate) context: NodeContext,
    /// Remembers who typed where, so that `typing` is passed on only now and then.
    pub(crate) typing: TypingLimits,
    /// Room on the way to the routers for messages to many, in bytes.
    pub(super) many: Semaphore,
    /// After so long a command without an answer is `unavailable`.
    pub(crate) timeout: Duration,
    /// How far ahead the end of a token may lie.
    pub(super) longest_token: Duration,
}

/// Whether `typing` is passed on to a router.
pub(crate) enum Typing {
    /// It is passed on; with the pass, if it is `typing` and no other command.
    Passes(Option<TypingPass>),
    /// It came too soon after the last one, and is not passed on. The client is told
    /// that it was done.
    Dropped,
}

impl Commands {
    /// Does commands by the routers of `context`.
    pub fn new(context: NodeContext, timeout: Duration, longest_token: Duration) -> Self {
        let (typing, many) = (TypingLimits::default(), Semaphore::new(TO_MANY));
        Self { context, typing, many, timeout, longest_token }
    }

    /// Does a command for `user` and waits for its answer. The caller has seen that
    /// the `scopes` permit it. Fails as the router says, and with `unavailable`
    /// when none answers in time.
    pub async fn execute(
        &self,
        user: &UserId,
        device: &DeviceId,
        scopes: Scopes,
        command: Command,
    ) -> Result<Answer, Failure> {
        let command = match command {
            Command::SendToMany { to, body, client_msg_id } => {
                return Ok(self.send_to_many(user, to, body, client_msg_id).await);
            }
            Command::Revoke { tokens, before, until } => {
                let answer = self.revoke(user, tokens, before, until).await;
                metrics::command(CommandKind::Revoke, answer.as_ref().err().map(|failure| failure.code));
                return answer;
            }
            command => command,
        };
        let kind = command.kind();
        let typing = match self.admit_typing("", user, &command) {
            Typing::Dropped => {
                metrics::command(kind, None);
                return Ok(Answer::Done);
            }
            Typing::Passes(pass) => pass,
        };
        // A kick is about another user than the one who asks for it.
        let kicked = match &command {
            Command::Kick { user, .. } => Some(user.clone()),
            _ => None,
        };
        let user = kicked.as_ref().unwrap_or(user);
        let result = match prepare(user, device, None, scopes, command) {
            Ok(Prepared { command, destination, hidden_id, .. }) => {
                let result = self.context.routers.call(user, command).await;
                result.and_then(|reply| Answer::from_reply(unhide(reply, hidden_id), destination))
            }
            Err(failure) => Err(failure),
        };
        if let (Err(_), Some(pass)) = (&result, typing) {
            self.typing.forget(pass);
        }
        metrics::command(kind, result.as_ref().err().map(|failure| failure.code));
        result
    }

    /// Whether a command is passed on, as far as `typing` is concerned. `session` is
    /// its session's id, empty without one.
    pub(crate) fn admit_typing(&self, session: &str, user: &UserId, command: &Command) -> Typing {
        let Command::Typing(conversation) = command else { return Typing::Passes(None) };
        let pass = self.typing.admit(session, user, conversation, Instant::now());
        pass.map_or(Typing::Dropped, |pass| Typing::Passes(Some(pass)))
    }
}
