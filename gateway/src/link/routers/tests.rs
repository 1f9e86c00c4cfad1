use futures_util::{FutureExt, StreamExt};
use prost::Message as _;
use proto::weight::FRAME;
use proto::wire::{Ack, Done, React, Reply, Request, SayTyping, Send};

use super::super::outbound::Outbound;
use super::*;

/// A router as the gateway has it, and what is said to it.
struct Peer {
    link: Arc<Link>,
    outbound: Outbound,
    /// What it has not answered yet.
    left: Vec<Request>,
}

impl Peer {
    /// The requests of the frame that leaves now, if one does.
    fn hears(&mut self) -> Vec<Request> {
        let mut look = || self.outbound.next().now_or_never();
        // At first it lets others have their turn.
        let frame = look().or_else(look).flatten();
        let requests = frame.map(|frame| frame.requests).unwrap_or_default();
        requests.into_iter().map(|request| Request::decode(request).unwrap()).collect()
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
    let peers = peers(&routers, ["a", "b"]);
    (routers, peers)
}

fn peers<const N: usize>(routers: &Routers, names: [&str; N]) -> [Peer; N] {
    names.map(|name| {
        let (link, outbound) = Link::new(name.into());
        let link = Arc::new(link);
        routers.opened(&link);
        Peer { link, outbound, left: Vec::new() }
    })
}

fn submit(routers: &Routers, user: &str, command: request::Command) {
    routers.submit(&UserId::parse(user).unwrap(), command, Box::new(|_| {}));
}

fn typing(routers: &Routers, user: &str) {
    submit(routers, user, request::Command::Typing(SayTyping { conversation: "a~b".into() }));
}

fn ack(routers: &Routers) {
    submit(routers, "u", request::Command::Ack(Ack::default()));
}

fn send(body: &str) -> request::Command {
    request::Command::Send(Send { body: body.to_owned().into(), ..Send::default() })
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
    routers.shared.width.store(1, Ordering::Relaxed);
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
async fn two_routers_are_used_at_least_and_more_for_what_requests_cost() {
    let routers = Routers::new(LinkConfig::default(), &TaskTracker::new(), CancellationToken::new());
    let peers = peers(&routers, ["a", "b", "c", "d"]);
    let width = |cost: u64| {
        routers.shared.cost.store(cost, Ordering::Relaxed);
        routers.widen(Duration::from_secs(1));
        routers.shared.width.load(Ordering::Relaxed)
    };
    assert_eq!([0, 150_000, 450_000, 310_000, 150_000].map(width), [2, 2, 3, 3, 2]);
    routers.counted(2);
    assert_eq!([0, 75_000, 225_000, 155_000, 75_000].map(width), [2, 2, 3, 3, 2], "the other has as much");
    assert_eq!(width(10_000_000), 4, "there are no more");
    peers[1..].iter().for_each(|peer| routers.closed(&peer.link));
    assert_eq!(width(0), 1, "and here only one");
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_for_what_it_weighs() {
    let (routers, _peers) = routers();
    let cost = |body: usize| {
        routers.shared.cost.store(0, Ordering::Relaxed);
        submit(&routers, "u", send(&"x".repeat(body)));
        routers.shared.cost.load(Ordering::Relaxed)
    };
    assert!(cost(65_536) > 3 * cost(1));
}

/// A user whose requests go to the first of two routers.
fn user_of_the_first() -> String {
    (0..).map(|n| format!("user{n}")).find(|user| hash_of(user).is_multiple_of(2)).unwrap()
}

/// One of the second.
fn user_of_the_second() -> String {
    (0..).map(|n| format!("user{n}")).find(|user| hash_of(user) % 2 == 1).unwrap()
}

fn bodies(requests: &[Request]) -> Vec<String> {
    let body = |request: &Request| match &request.command {
        Some(request::Command::Send(send)) => String::from_utf8(send.body.to_vec()).unwrap(),
        Some(request::Command::React(_)) => "react".to_owned(),
        other => panic!("{other:?}"),
    };
    requests.iter().map(body).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_late_router_does_not_answer_goes_elsewhere_long_before_two_seconds_and_in_order() {
    let (routers, [mut hung, mut well]) = routers();
    let (user, other) = (user_of_the_first(), user_of_the_second());
    let begun = Instant::now();
    for body in ["1", "2", "3"] {
        submit(&routers, &user, send(body));
    }
    assert_eq!(hung.hears().len(), 3);
    // One that has not left the gateway yet.
    submit(&routers, &user, send("4"));
    submit(&routers, &other, send("quick"));
    let quick = well.hears();
    well.answers(&routers, &quick);
    let again = loop {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
        let heard = well.hears();
        if !heard.is_empty() {
            break heard;
        }
    };
    assert_eq!(bodies(&again), ["1", "2", "3", "4"]);
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    // What comes next goes behind them, and the late router gets nothing more.
    submit(&routers, &user, send("5"));
    assert_eq!(bodies(&well.hears()), ["5"]);
    assert!(hung.hears().is_empty());
    assert_eq!(routers.late(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_would_undo_something_waits_and_what_came_behind_it_too() {
    let (routers, [mut hung, mut well]) = routers();
    let user = user_of_the_first();
    submit(&routers, &user, send("1"));
    submit(&routers, &user, request::Command::React(React::default()));
    submit(&routers, &user, send("2"));
    assert_eq!(hung.hears().len(), 3);
    let begun = Instant::now();
    let mut again = Vec::new();
    while again.len() < 3 {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
        let heard = bodies(&well.hears());
        if again.is_empty() && !heard.is_empty() {
            assert_eq!(heard, ["1"], "after {:?}", begun.elapsed());
            submit(&routers, &user, send("3"));
            assert_eq!(bodies(&hung.hears()), ["3"], "behind what still waits there");
        }
        again.extend(heard);
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(again, ["1", "react", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_answers_again_is_used_again() {
    let (routers, [mut hung, mut well]) = routers();
    let user = user_of_the_first();
    submit(&routers, &user, send("1"));
    let stale = hung.hears();
    while routers.late() == 0 {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    let again = well.hears();
    well.answers(&routers, &again);
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::task::yield_now().await;
    assert_eq!(routers.late(), 1, "it has answered nothing");
    hung.link.punctuality.heard(Instant::now());
    hung.answers(&routers, &stale);
    while routers.late() > 0 {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    submit(&routers, &user, send("2"));
    assert_eq!(bodies(&hung.hears()), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn when_no_router_answers_nothing_is_repeated_before_its_time() {
    let (routers, [mut first, mut second]) = routers();
    for user in [user_of_the_first(), user_of_the_second()] {
        submit(&routers, &user, send("1"));
    }
    assert_eq!((first.hears().len(), second.hears().len()), (1, 1));
    for _ in 0..150 {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
        assert_eq!((first.hears().len(), second.hears().len()), (0, 0));
    }
    assert_eq!(routers.late(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_rest_what_nobody_answers_is_repeated_and_given_up_in_time() {
    let (routers, mut peers) = routers();
    // So long that its clock rests.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (asked, config) = (Instant::now(), LinkConfig::default());
    let (answer, answered) = oneshot::channel();
    let user = UserId::parse("u").unwrap();
    routers.submit(&user, send("1"), Box::new(|outcome| answer.send(outcome).ok().unwrap()));
    assert_eq!(heard(&mut peers).1.len(), 1);
    tokio::time::sleep(config.second_try + TICK * 2).await;
    assert_eq!(heard(&mut peers).1.len(), 1);
    let outcome = tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap().unwrap();
    assert!(outcome.result.is_err() && outcome.repeated);
    assert!(asked.elapsed() <= config.timeout + TICK * 2, "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_link_on_which_nothing_is_asked_says_so_at_once_and_again() {
    let (_routers, [mut peer, _]) = routers();
    let (link, begun) = (peer.link.clone(), Instant::now());
    let mut beats = Vec::new();
    let beating = async {
        while beats.len() < 3 {
            assert_eq!(peer.outbound.next().await.unwrap().requests.len(), 0);
            beats.push(begun.elapsed().as_secs());
        }
    };
    tokio::select! {
        () = link.beat() => {}
        () = beating => {}
    }
    assert_eq!(beats, [0, 5, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_bounded_by_what_its_requests_weigh_whatever_they_are() {
    let (routers, mut peers) = routers();
    let body = bytes::Bytes::from(vec![b'1'; 65_536]);
    for n in 0..100 {
        let command = match n % 3 {
            0 => request::Command::Publish(wire::Publish { body: body.clone(), ..Default::default() }),
            1 => request::Command::Edit(wire::Edit { body: body.clone(), ..Default::default() }),
            _ => request::Command::Send(wire::Send { body: body.clone(), ..Default::default() }),
        };
        routers.submit(&UserId::parse("u").unwrap(), command, Box::new(|_| {}));
    }
    let (at, first) = heard(&mut peers);
    let mut frames = vec![first];
    while frames.iter().map(Vec::len).sum::<usize>() < 100 {
        frames.push(peers[at].hears());
    }
    for requests in frames {
        let requests = requests.iter().map(|request| request.encode_to_vec().into()).collect();
        let bytes = wire::Requests { requests }.encoded_len();
        assert!(bytes <= FRAME.bytes, "{bytes}");
    }
}

/// Whoever has a request under way, and whoever has none.
fn refused(routers: &Routers, users: [&str; 2]) -> [bool; 2] {
    users.map(|user| routers.refuses(&UserId::parse(user).unwrap()).is_some())
}

#[tokio::test(start_paused = true)]
async fn commands_are_refused_while_more_is_asked_than_is_answered_in_time_and_let_in_afterwards() {
    let (routers, mut peers) = routers();
    // Of a thousand that come in each tenth of a second a hundred are answered, by both
    // routers.
    let mut asked = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        for user in 0..1_000 {
            submit(&routers, &format!("user{user}"), send("x"));
        }
        for (peer, asked) in peers.iter_mut().zip(&mut asked) {
            asked.extend(peer.hears());
            let now: Vec<_> = asked.drain(..50).collect();
            peer.answers(&routers, &now);
        }
        tokio::time::sleep(TICK).await;
    }
    // A thousand a second for half a second: five hundred places, half of them for others.
    assert_eq!(refused(&routers, ["user0", "idle"]), [true, true]);
    let left = |routers: &Routers| routers.shared.unanswered.waiting(0).0;
    let answer = |peers: &mut [Peer; 2], asked: &mut [Vec<Request>; 2], most: usize| {
        for (peer, asked) in peers.iter_mut().zip(asked) {
            asked.extend(peer.hears());
            let now: Vec<_> = asked.drain(..most.min(asked.len())).collect();
            peer.answers(&routers, &now);
        }
    };
    while left(&routers) > 400 {
        answer(&mut peers, &mut asked, 50);
        tokio::time::sleep(TICK).await;
    }
    // Of those the oldest are answered: somebody has still something under way.
    submit(&routers, "busy", send("x"));
    assert_eq!(refused(&routers, ["busy", "idle"]), [true, false]);
    while left(&routers) > 0 {
        answer(&mut peers, &mut asked, 50);
        tokio::time::sleep(TICK).await;
    }
    tokio::time::sleep(TICK * 2).await;
    assert_eq!(refused(&routers, ["busy", "idle"]), [false, false]);
}

/// How long each of some users' commands has waited for its answer.
type Waits = Arc<std::sync::Mutex<Vec<Duration>>>;

/// Asks, unless it is refused. Returns whether it was.
fn ask(routers: &Routers, user: &str, waits: &Waits) -> bool {
    let user = UserId::parse(user).unwrap();
    if routers.refuses(&user).is_some() {
        return true;
    }
    let (asked, waits) = (Instant::now(), waits.clone());
    routers.submit(&user, send("x"), Box::new(move |_| waits.lock().unwrap().push(asked.elapsed())));
    false
}

#[tokio::test(start_paused = true)]
async fn at_ten_times_what_is_answered_what_is_let_in_waits_no_longer_than_it_may() {
    let (routers, mut peers) = routers();
    let mut asked = Vec::new();
    let (mut many, mut few) = (Waits::default(), Waits::default());
    let mut refused = (0, 0);
    // Between the clock's ticks.
    tokio::time::sleep(TICK / 2).await;
    // Of ten thousand a second a thousand are answered, the oldest first. A hundred users
    // ask for a hundred each, and twenty for two.
    for tenth in 0..200 {
        // The first moments have their price: how much is too much is known afterwards.
        if tenth == 60 {
            (many, few, refused) = (Waits::default(), Waits::default(), (0, 0));
        }
        for round in 0..10 {
            for user in 0..100 {
                refused.0 += u32::from(ask(&routers, &format!("busy{user}"), &many));
            }
            let quiet = tenth % 5 * 4 + round;
            if round < 4 {
                refused.1 += u32::from(ask(&routers, &format!("quiet{quiet}"), &few));
            }
        }
        // One store is behind both.
        asked.extend(peers.iter_mut().flat_map(Peer::hears));
        asked.sort_by_key(|request| request.id);
        let now: Vec<_> = asked.drain(..asked.len().min(100)).collect();
        peers[0].answers(&routers, &now);
        tokio::time::sleep(TICK).await;
    }
    let longest = |waits: &Waits| waits.lock().unwrap().iter().max().copied().unwrap();
    // A tick more than the time, for that is how often it is looked.
    let bound = Duration::from_millis(500) + TICK * 2;
    assert!(longest(&many) <= bound && longest(&few) <= bound, "{:?} {:?}", longest(&many), longest(&few));
    // As much is done as can be, and whoever asks for little gets it.
    let (many, few) = (many.lock().unwrap().len(), few.lock().unwrap().len());
    assert!((12_500..=14_500).contains(&(many + few)), "{many} {few}");
    assert!(refused.0 > 120_000 && refused.1 == 0, "{refused:?}");
}

/// A thousand users ask, and are answered; returns how many were refused. One request
/// stays without an answer until the next time. The clock's turn comes so late.
async fn tenth(routers: &Routers, peers: &mut [Peer; 2], late: Duration) -> usize {
    let mut refused = 0;
    for user in 0..1_000 {
        let user = format!("user{user}");
        match routers.refuses(&UserId::parse(&user).unwrap()) {
            None => submit(routers, &user, send("x")),
            Some(bottleneck) => {
                assert_eq!(bottleneck, Bottleneck::Gateway);
                refused += 1;
            }
        }
    }
    for peer in peers {
        let mut heard = std::mem::take(&mut peer.left);
        heard.extend(peer.hears());
        peer.left.extend(heard.pop());
        peer.answers(routers, &heard);
    }
    tokio::time::advance(TICK + late).await;
    tokio::task::yield_now().await;
    refused
}

#[tokio::test(start_paused = true)]
async fn commands_are_refused_while_this_node_itself_is_late_and_let_in_afterwards() {
    let (routers, mut peers) = routers();
    let (late, in_time) = (Duration::from_millis(101), Duration::ZERO);
    tenth(&routers, &mut peers, in_time).await;
    // Standing still for once is no overload.
    tenth(&routers, &mut peers, Duration::from_secs(1)).await;
    for _ in 0..5 {
        assert_eq!(tenth(&routers, &mut peers, in_time).await, 0);
    }
    for _ in 0..3 {
        assert_eq!(tenth(&routers, &mut peers, late).await, 0);
    }
    let refused = tenth(&routers, &mut peers, in_time).await;
    assert!((290..=310).contains(&refused), "{refused} of a thousand, when seven tenths are let in");
    for _ in 0..20 {
        tenth(&routers, &mut peers, in_time).await;
    }
    assert_eq!(tenth(&routers, &mut peers, in_time).await, 0);
}
