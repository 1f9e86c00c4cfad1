//! The bus reader: one task of the node that reads the node's channel and
//! passes events to the sessions. An event is decoded once, whoever gets it.

use std::sync::Arc;
use std::time::Duration;

use daemon::trace;
use proto::wire::{self, Announcement, Envelope, MovedMark, Notice, Receipts, notice, receipt};
use proto::{End, Position, Seq, StoreIncarnation};
use store::{BusItem, Subscription};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Sessions;
use super::later_release::passed_over;
use crate::metrics;
use crate::protocol::event::Event;
use crate::protocol::frame::Frame;
use crate::protocol::receipt::Receipt;

/// After a loss this many sessions start to catch up at a time…
const CATCH_UP_CROWD: usize = 500;
/// … and then the next after this pause.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);

/// Reads the bus until `shutdown`.
pub async fn run(
    sessions: Arc<Sessions>,
    mut subscription: Box<dyn Subscription>,
    shutdown: CancellationToken,
) {
    // Until this moment nothing is missing.
    let mut heard_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            // A gap that has been open for too long…
            () = sessions.hub.close_gaps() => {}
            // A router that has died may have written what it told nobody.
            () = sessions.context.routers.stream_broke() => router_died(&sessions),
            // … which anything heard may also close.
            heard = subscription.next() => match heard {
                BusItem::Envelope(envelope) => {
                    spread(&sessions, envelope);
                    heard_at = Instant::now();
                }
                BusItem::Lost(loss) => lost(&sessions, loss.as_str(), heard_at),
                BusItem::Store(store) => store_is(&sessions, store, heard_at),
            },
        }
    }
}

fn spread(sessions: &Sessions, envelope: Envelope) {
    for announcement in envelope.announcements {
        announce(sessions, announcement);
    }
    for publication in envelope.publications {
        // One of a kind that only a later release knows leaves a hole, as it does on
        // a page of the log.
        if publication.entry.as_ref().is_some_and(|entry| entry.what.is_some()) {
            sessions.channels.announce(publication);
        }
    }
    for notice in envelope.notices {
        note(sessions, notice);
    }
}

fn announce(sessions: &Sessions, announcement: Announcement) {
    let Announcement { conversation, seq, entry, targets, trace } = announcement;
    let mut event = Event::new(conversation, Seq(seq), entry.unwrap_or_default());
    if let Some(place) = trace::SpanContext::of(&trace) {
        event.follow(place);
    }
    let event = Arc::new(event);
    if event.is_nothing() {
        passed_over(&event);
        for target in targets {
            let sessions = sessions.hub.of(&target.user);
            sessions.iter().for_each(|session| session.offer_head(Position(target.position)));
        }
        return;
    }
    if let Some(mark) = event.mark() {
        sessions.newest.admits(&mark);
    }
    let mut count = 0;
    for target in targets {
        for session in sessions.hub.of(&target.user) {
            let offered = session.offer(Position(target.position), &event);
            sessions.hub.settle(&session, offered);
            count += 1;
        }
    }
    metrics::fanout(count);
    event.span().set("switchboard.fanout", i64::try_from(count).unwrap_or(i64::MAX));
}

fn note(sessions: &Sessions, notice: Notice) {
    let addressed = || {
        let all = notice.users.iter().flat_map(|user| sessions.hub.of(user));
        all.filter(|session| notice.session.is_empty() || notice.session == session.id.as_str())
    };
    let ephemeral = |frame: Frame| {
        for session in addressed() {
            if !session.offer_ephemeral(frame.clone()) {
                metrics::ephemeral_dropped();
            }
        }
    };
    match notice.what.clone() {
        Some(notice::What::Typing(typing)) => ephemeral(Frame::Typing(Arc::new(typing))),
        Some(notice::What::Receipts(receipts)) => {
            let receipts = news_of(sessions, receipts);
            if receipts.is_empty() {
                return;
            }
            for session in addressed() {
                if session.offer_receipts(&receipts) {
                    sessions.hub.hurry_later(session);
                }
            }
        }
        Some(notice::What::Replaced(_)) => {
            addressed().for_each(|session| sessions.farewells.replaced(session));
        }
        Some(notice::What::Head(head)) => {
            addressed().for_each(|session| session.offer_head(Position(head.position)));
        }
        Some(notice::What::Kicked(_)) => {
            addressed().for_each(|session| sessions.farewells.end(session, End::Kicked));
        }
        Some(notice::What::Revoked(revoked)) => sessions.revocations.hold(revoked.revocations),
        Some(notice::What::Presence(presence)) => sessions.presence.heard(presence),
        Some(notice::What::NodeGone(_)) => sessions.presence.doubt_all(Duration::ZERO),
        // From a newer router: this node does not know it.
        None => {}
    }
}

/// Those of the marks that are not older than what this node knows, nor of a kind
/// that only a later release knows.
fn news_of(sessions: &Sessions, receipts: Receipts) -> Vec<Arc<Receipt>> {
    let Receipts { conversation, marks } = receipts;
    let receipts = marks.into_iter().map(|MovedMark { user, kind, seq }| {
        let conversation = conversation.clone();
        wire::Receipt { conversation, user, kind, seq }
    });
    receipts
        .filter(|receipt| receipt.kind() != receipt::Kind::Unknown)
        .filter(|receipt| sessions.newest.admits(&receipt.into()))
        .map(|receipt| Arc::new(receipt.into()))
        .collect()
}

/// Handles the store's incarnation, which may be a new one. The sessions stop
/// taking events before this node notes it, so that none goes on from a
/// position of another history (see [`crate::session::Session::offer_own`]).
fn store_is(sessions: &Arc<Sessions>, store: StoreIncarnation, heard_at: Instant) {
    sessions.revocations.doubt_all();
    if sessions.store() != StoreIncarnation::default() {
        lost(sessions, "store", heard_at);
    }
    sessions.set_store(store);
}

/// A router has died: it may have written something, or gathered marks, that it
/// told nobody. Sessions read from the log, some hundreds at a time; those that
/// have not begun go on taking events.
fn router_died(sessions: &Arc<Sessions>) {
    metrics::bus_lost("router");
    sessions.revocations.doubt();
    sessions.channels.doubt();
    let (all, since) = (sessions.hub.all(), Instant::now());
    sessions.context.tracker.spawn(async move {
        for crowd in all.chunks(CATCH_UP_CROWD) {
            for session in crowd {
                session.doubt(since);
                session.look_again();
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    });
}

/// Something may be missing: no session takes an event until it has read the
/// log; they read some hundreds at a time. Before `heard_at` nothing was
/// missing.
fn lost(sessions: &Arc<Sessions>, cause: &'static str, heard_at: Instant) {
    metrics::bus_lost(cause);
    sessions.revocations.doubt();
    sessions.presence.doubt_all(Duration::ZERO);
    sessions.channels.doubt();
    let all = sessions.hub.all();
    if all.is_empty() {
        return;
    }
    for session in &all {
        session.doubt(heard_at);
    }
    tracing::warn!(cause, sessions = all.len(), "the bus may have lost announcements");
    sessions.context.tracker.spawn(async move {
        for crowd in all.chunks(CATCH_UP_CROWD) {
            for session in crowd {
                session.look_again();
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use proto::wire::Receipt;
    use proto::{ChannelId, NodeIncarnation, UserId, wire};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::link::{LinkConfig, NodeContext, Routers};
    use crate::protocol::failure::Failure;
    use crate::session::channel_page::Page;
    use crate::session::subscribed::SubscribedChannels;
    use crate::session::{Session, SessionConfig};

    struct NoChannels;

    impl SubscribedChannels for NoChannels {
        fn announce(&self, _: wire::Publication) {}
        fn doubt(&self) {}
        fn leave(&self, _: &Session) {}
        fn page<'a>(
            &'a self,
            _: &'a UserId,
            _: &'a ChannelId,
            _: Seq,
        ) -> Pin<Box<dyn Future<Output = Result<Page, Failure>> + Send + 'a>> {
            Box::pin(async { Err(Failure::unavailable("there are no channels here")) })
        }
    }

    fn sessions() -> Arc<Sessions> {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let routers = Routers::new(LinkConfig::default(), &tracker, stop.clone());
        let context = NodeContext::new(NodeIncarnation::new("one").unwrap(), routers, tracker, stop, 1);
        let config = SessionConfig {
            node: "one".to_owned(),
            heartbeat: Duration::from_secs(20),
            queue: 16,
            max_watched: 1,
        };
        Sessions::new(context, config, Arc::new(NoChannels))
    }

    #[tokio::test]
    async fn a_late_mark_is_dropped_also_when_the_store_has_other_primaries_meanwhile() {
        let sessions = sessions();
        let read = |seq| Receipt { conversation: "a~b".into(), user: "a".into(), kind: 2, seq };
        store_is(&sessions, StoreIncarnation(1), Instant::now());
        assert!(sessions.newest.admits(&(&read(8)).into()));
        store_is(&sessions, StoreIncarnation(2), Instant::now());
        assert!(!sessions.newest.admits(&(&read(7)).into()), "a receipt goes back");
        assert!(sessions.newest.admits(&(&read(9)).into()));
    }
}
