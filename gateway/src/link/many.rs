//! One message to many users, to each in the direct conversation with them. That makes
//! many sends, which share one body and go to the routers one after another.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proto::wire::{self, reply, request};
use proto::{ClientMessageId, CommandKind, ConversationId, UserId};
use tokio::time::Instant;

use super::execute::Commands;
use super::request::random_key;
use crate::metrics;
use crate::protocol::answer::Answer;
use crate::protocol::failure::Failure;

/// The weight of a message in addition to its body. It bounds the messages under way
/// to 256.
const BESIDE_BODY: usize = 4 << 10;
/// Messages of one caller under way at once, at most.
const AT_ONCE: usize = 256;

impl Commands {
    /// Sends, and returns the result for each of `to`. No user may be named twice.
    /// Those who are not reached within the time of a command are answered
    /// `unavailable`, and nothing has been sent to those who had not begun by then.
    pub async fn send_to_many(
        &self,
        user: &UserId,
        to: Vec<UserId>,
        body: Bytes,
        client_msg_id: Option<ClientMessageId>,
    ) -> Answer {
        let hidden_id = client_msg_id.is_none();
        let message = wire::Send {
            conversation: String::new(),
            body,
            client_msg_id: client_msg_id.map_or_else(random_key, String::from),
            hidden_id,
            // The bus brings the session its own copies.
            session: String::new(),
        };
        let until = Instant::now() + self.timeout;
        let sends = to.into_iter().map(|peer| {
            let conversation = ConversationId::direct(user, &peer);
            let message = wire::Send { conversation: conversation.to_string(), ..message.clone() };
            async move {
                let sent = self.send_one(user, message, until).await;
                metrics::command(CommandKind::Send, sent.as_ref().err().map(|failure| failure.code));
                sent.map(|sent| (conversation, sent))
            }
        });
        Answer::Results(stream::iter(sends).buffered(AT_ONCE).collect().await)
    }

    async fn send_one(
        &self,
        user: &UserId,
        message: wire::Send,
        until: Instant,
    ) -> Result<wire::Sent, Failure> {
        let hidden_id = message.hidden_id;
        let weight = u32::try_from(message.body.len() + BESIDE_BODY).unwrap_or(u32::MAX);
        let _room = self
            .many
            .acquire_many(weight)
            .await
            .map_err(|_| Failure::unavailable("the gateway is stopping"))?;
        if Instant::now() >= until {
            return Err(Failure::unavailable("there was no time left for this one"));
        }
        match self.context.routers.call(user, request::Command::Send(message)).await? {
            reply::Result::Sent(mut sent) => {
                // The client did not repeat it, only the gateway did.
                sent.duplicate &= !hidden_id;
                Ok(sent)
            }
            _ => Err(Failure::internal("the router gave an answer of the wrong kind")),
        }
    }
}
