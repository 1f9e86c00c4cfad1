use futures_util::{FutureExt, StreamExt};
use proto::wire::{Ack, Done, Reply, Request, SayTyping};

use super::stream::Outbound;
use super::*;

/// A router as the gateway has it, and what is said to it.
struct Peer {
    link: Arc<Link>,
    outbound: Outbound,
}

impl Peer {
    /// The requests of the frame that leaves now, if one does.
    fn hears(&mut self) -> Vec<Request> {
        let mut look = || self.outbound.next().now_or_never();
        // At first it lets others have their turn.
        let frame = look().or_else(look).flatten();
        frame.map(|frame| frame.requests).unwrap_or_default()
    }

    fn answers(&self, routers: &Routers, requests: &[Request]) {
        for request in requests {
            let reply = Reply { id: request.id, result: Some(reply::Result::Done(Done {})) };
            routers.answered(reply, Instant::now());
        }
    }
}

fn routers() -> (Routers, [Peer; 2]) {
    let routers = Routers::new(LinkConfig::default(), &TaskTracker::new(), CancellationToken::new());
    let peers = ["a", "b"].map(|name| {
        let (link, outbound) = Link::new(name.into());
        let link = Arc::new(link);
        routers.opened(&link);
        Peer { link, outbound }
    });
    (routers, peers)
}

fn typing(routers: &Routers, user: &str) {
    let command = request::Command::Typing(SayTyping { conversation: "a~b".into() });
    routers.submit(&UserId::parse(user).unwrap(), command, Box::new(|_| {}));
}

fn ack(routers: &Routers) {
    let command = request::Command::Ack(Ack::default());
    routers.submit(&UserId::parse("u").unwrap(), command, Box::new(|_| {}));
}

/// Which of the two hears of a request, and what.
fn heard(peers: &mut [Peer; 2]) -> (usize, Vec<Request>) {
    let [a, b] = peers;
    match (a.hears(), b.hears()) {
        (requests, other) if other.is_empty() => (0, requests),
        (other, requests) if other.is_empty() => (1, requests),
        both => panic!("both: {both:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_takes_what_comes_until_its_thread_has_nothing_else_to_do() {
    let (routers, mut peers) = routers();
    typing(&routers, "u");
    let (at, _) = heard(&mut peers);
    let (frame, ()) = tokio::join!(peers[at].outbound.next(), async {
        typing(&routers, "v");
        typing(&routers, "w");
    });
    assert_eq!(frame.unwrap().requests.len(), 2);
    let begun = tokio::time::Instant::now();
    typing(&routers, "u");
    let frame = peers[at].outbound.next().await;
    assert_eq!(frame.unwrap().requests.len(), 1);
    assert_eq!(begun.elapsed(), Duration::ZERO, "no clock is waited for, and no answer");
}

#[tokio::test(start_paused = true)]
async fn an_ack_leaves_with_the_next_request_or_when_it_has_been_quiet() {
    let (routers, mut peers) = routers();
    ack(&routers);
    let (at, first) = heard(&mut peers);
    peers[at].answers(&routers, &first);
    ack(&routers);
    assert!(peers[at].hears().is_empty(), "the last frame has just left");
    typing(&routers, "u");
    let second = peers[at].hears();
    assert_eq!(second.len(), 2);
    peers[at].answers(&routers, &second);
    ack(&routers);
    assert!(peers[at].hears().is_empty());
    tokio::time::advance(Duration::from_millis(200)).await;
    peers[at].link.flush();
    assert_eq!(peers[at].hears().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_users_requests_keep_to_a_router_while_one_is_unanswered() {
    let (routers, mut peers) = routers();
    // With two routers in use, users are of both.
    let other = |user: &str| hash_of(user) % 2 == 1;
    let user = (0..).map(|n| format!("user{n}")).find(|user| other(user)).unwrap();
    typing(&routers, &user);
    let (at, first) = heard(&mut peers);
    routers.shared.width.store(2, Ordering::Relaxed);
    typing(&routers, &user);
    let (same, second) = heard(&mut peers);
    assert_eq!((same, second.len()), (at, 1), "in order behind the first");
    peers[at].answers(&routers, &first);
    peers[at].answers(&routers, &second);
    typing(&routers, &user);
    assert_eq!(heard(&mut peers).0, 1 - at);
}

#[tokio::test(start_paused = true)]
async fn more_routers_are_used_for_more_requests_and_fewer_when_half_would_do() {
    let (routers, _peers) = routers();
    let width = |requests: u64| {
        routers.shared.asked.store(requests, Ordering::Relaxed);
        routers.widen(Duration::from_secs(1));
        routers.shared.width.load(Ordering::Relaxed)
    };
    assert_eq!([6_000, 10_000, 6_000, 2_000, 0].map(width), [1, 2, 2, 1, 1]);
    routers.counted(2);
    assert_eq!([3_000, 5_000, 3_000, 1_000, 0].map(width), [1, 2, 2, 1, 1], "the other has as many");
    assert_eq!(width(100_000), 2, "there are no more");
}
