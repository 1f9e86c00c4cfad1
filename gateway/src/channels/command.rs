//! `subscribe` and `unsubscribe` of two-way transports (PROTOCOL.md §5).

use std::sync::Arc;

use proto::{ChannelId, CommandKind, Seq};

use super::feed::Feed;
use super::{Channels, PAGE};
use crate::metrics;
use crate::protocol::answer::Answer;
use crate::protocol::failure::Failure;
use crate::protocol::frame::{Frame, Reference};
use crate::protocol::jump::Jump;
use crate::protocol::publication::Publication;
use crate::session::{Session, Start};

/// The most bytes of publications in an answer, besides the first one. The rest
/// follows as frames.
const ANSWER_BYTES: usize = 256 << 10;

impl Channels {
    /// Begins a subscription; the answer joins the session's frames. Fails when
    /// the session has too many; the caller answers that.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        channel: ChannelId,
        after: Option<Seq>,
        reference: Reference,
    ) -> Result<(), Failure> {
        session.subscription_begins(&channel, self.max_subscriptions)?;
        let feed = self.add(&channel, session);
        let (channels, session) = (self.clone(), session.clone());
        self.context.tracker.spawn(async move {
            let found = channels.find(&session, &feed, &channel, after).await;
            let result = found.and_then(|(start, publications, jump)| {
                let answer = Answer::Subscribed { seq: start.head, publications };
                let first =
                    Frame::of_jump(jump).into_iter().chain([Frame::Ok(reference.clone(), Box::new(answer))]);
                let there = session.subscribed(&channel, start, first);
                there.then_some(()).ok_or_else(|| Failure::conflict("unsubscribed before it began"))
            });
            let refused = result.as_ref().err().map(|failure| failure.code);
            metrics::command(CommandKind::Subscribe, refused);
            if let Err(failure) = result {
                if session.subscription_failed(&channel) {
                    channels.remove(&channel, &session);
                }
                session.answer(Frame::Error(reference, Box::new(failure)));
            }
        });
        Ok(())
    }

    /// Ends a subscription, if there is one.
    pub(crate) fn unsubscribe(&self, session: &Session, channel: &ChannelId, reference: Reference) {
        if session.unsubscribe(channel) {
            self.remove(channel, session);
        }
        metrics::command(CommandKind::Unsubscribe, None);
        session.answer(Frame::Ok(reference, Box::new(Answer::Done)));
    }

    /// Finds where a subscription begins, the publications of its answer, and
    /// what is missing before them.
    async fn find(
        &self,
        session: &Session,
        feed: &Feed,
        channel: &ChannelId,
        after: Option<Seq>,
    ) -> Result<(Start, Vec<Arc<Publication>>, Option<Jump>), Failure> {
        let head = feed.joined().await?;
        let Some(after) = after else {
            return Ok((Start { position: head, head, again: false }, Vec::new(), None));
        };
        if after == head {
            return Ok((Start { position: head, head, again: true }, Vec::new(), None));
        }
        let page = self.page(&session.user, channel, after, PAGE).await?;
        let jump = match page.publications.first() {
            Some(first) => Jump::before(channel, after, first),
            None => Jump::between(channel, after, page.head),
        };
        let mut publications = page.publications;
        // A publication that does not directly follow the one before is the
        // first of the frames.
        let together = publications.windows(2).take_while(|two| two[0].seq().next() == two[1].seq()).count();
        publications.truncate(together + 1);
        let mut bytes = 0;
        let fits = publications.iter().take_while(|publication| {
            bytes += publication.size();
            bytes <= ANSWER_BYTES
        });
        let count = fits.count().max(1);
        publications.truncate(count);
        let position = publications.last().map_or(page.head, |last| last.seq());
        Ok((Start { position, head: page.head, again: true }, publications, jump))
    }
}
