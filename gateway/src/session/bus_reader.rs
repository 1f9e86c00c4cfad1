//! From the bus to the sessions: one task a node that hears the node's
//! channel. An event is decoded once, whoever it is for.

use std::sync::Arc;
use std::time::Duration;

use daemon::trace;
use proto::wire::{Announcement, Envelope, Notice, notice};
use proto::{End, Position, Seq, StoreIncarnation};
use store::{Heard, Subscription};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::protocol::event::Event;
use crate::protocol::frame::Frame;

/// After a loss this many sessions are sent to catching up at a time…
const CATCH_UP_CROWD: usize = 500;
/// … and then the next after this pause.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);

/// Hears the bus until `shutdown`.
pub async fn run(
    gateway: Arc<Gateway>,
    mut subscription: Box<dyn Subscription>,
    shutdown: CancellationToken,
) {
    // Up to here nothing is missing.
    let mut heard_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            // A gap that has been open for too long…
            () = gateway.hub.close_gaps() => {}
            // What a router that has died was about to tell.
            () = gateway.routers.stream_broke() => marks_missed(&gateway),
            // … which anything heard may also close.
            heard = subscription.next() => match heard {
                Heard::Envelope(envelope) => {
                    spread(&gateway, envelope);
                    heard_at = Instant::now();
                }
                Heard::Lost(loss) => lost(&gateway, loss.as_str(), heard_at),
                Heard::Store(store) => store_is(&gateway, store, heard_at),
            },
        }
    }
}

fn spread(gateway: &Gateway, envelope: Envelope) {
    for announcement in envelope.announcements {
        announce(gateway, announcement);
    }
    for publication in envelope.publications {
        gateway.channels.announce(publication);
    }
    for notice in envelope.notices {
        note(gateway, notice);
    }
}

fn announce(gateway: &Gateway, announcement: Announcement) {
    let Announcement { conversation, seq, entry, targets, trace } = announcement;
    let mut event = Event::new(conversation, Seq(seq), entry.unwrap_or_default());
    if let Some(place) = trace::Place::of(&trace) {
        event.follow(place);
    }
    let event = Arc::new(event);
    if let Some(mark) = event.mark() {
        gateway.newest.admits(&mark);
    }
    let mut sessions = 0;
    for target in targets {
        for session in gateway.hub.of(&target.user) {
            let offered = session.offer(Position(target.position), &event);
            gateway.hub.settle(&session, offered);
            sessions += 1;
        }
    }
    gateway.metrics.fanout(sessions);
    event.span().set("switchboard.fanout", i64::try_from(sessions).unwrap_or(i64::MAX));
}

fn note(gateway: &Gateway, notice: Notice) {
    let sessions = || {
        let all = notice.users.iter().flat_map(|user| gateway.hub.of(user));
        all.filter(|session| notice.session.is_empty() || notice.session == session.id.as_str())
    };
    let ephemeral = |frame: Frame| {
        for session in sessions() {
            if !session.offer_ephemeral(frame.clone()) {
                gateway.metrics.ephemeral_dropped();
            }
        }
    };
    match notice.what.clone() {
        Some(notice::What::Typing(typing)) => ephemeral(Frame::Typing(Arc::new(typing))),
        Some(notice::What::Receipt(receipt)) if !gateway.newest.admits(&(&receipt).into()) => {}
        Some(notice::What::Receipt(receipt)) => {
            let receipt = Arc::new(receipt);
            for session in sessions() {
                if session.offer_receipt(receipt.clone()) {
                    gateway.hub.hurry_later(session);
                }
            }
        }
        Some(notice::What::Replaced(_)) => {
            sessions().for_each(|session| gateway.farewells.replaced(session));
        }
        Some(notice::What::Head(head)) => {
            sessions().for_each(|session| session.offer_head(Position(head.position)));
        }
        Some(notice::What::Kicked(_)) => {
            sessions().for_each(|session| gateway.farewells.end(session, End::Kicked));
        }
        Some(notice::What::Presence(presence)) => gateway.presence.heard(presence),
        Some(notice::What::NodeGone(_)) => gateway.presence.doubt_all(Duration::ZERO),
        // From a newer router: nothing that this node knows of.
        None => {}
    }
}

/// The store's incarnation, perhaps another one than before. Sessions doubt
/// their places before this node knows it, so that none goes on from a place
/// of another history (see [`crate::session::Session::offer_own`]).
fn store_is(gateway: &Arc<Gateway>, store: StoreIncarnation, heard_at: Instant) {
    if gateway.store() != StoreIncarnation::default() {
        gateway.newest.forget();
        lost(gateway, "store", heard_at);
    }
    gateway.set_store(store);
}

/// A router has died, which gathers marks for a moment before it announces
/// them: every session asks for the latest, a crowd at a time.
fn marks_missed(gateway: &Arc<Gateway>) {
    let (sessions, since) = (gateway.hub.all(), Instant::now());
    gateway.tracker.spawn(async move {
        for crowd in sessions.chunks(CATCH_UP_CROWD) {
            crowd.iter().for_each(|session| session.miss_marks(since));
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    });
}

/// Something may be missing: every session reads on from the log. None takes
/// anything more until then; they read a crowd at a time. Before `heard_at`
/// nothing was missing.
fn lost(gateway: &Arc<Gateway>, cause: &'static str, heard_at: Instant) {
    gateway.metrics.bus_lost(cause);
    gateway.presence.doubt_all(Duration::ZERO);
    gateway.channels.doubt();
    let sessions = gateway.hub.all();
    if sessions.is_empty() {
        return;
    }
    for session in &sessions {
        session.doubt(heard_at);
    }
    tracing::warn!(cause, sessions = sessions.len(), "the bus may have lost announcements");
    gateway.tracker.spawn(async move {
        for crowd in sessions.chunks(CATCH_UP_CROWD) {
            for session in crowd {
                session.look_again();
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    });
}
