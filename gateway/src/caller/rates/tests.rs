use proto::ErrorCode;
use proto::wire::{self, CountRates};
use tokio::time::advance;

use super::*;

fn user(name: &str) -> proto::UserId {
    proto::UserId::parse(name).unwrap()
}

/// One message a second, four at once: a part of one.
const SLOW: RateLimitConfig = RateLimitConfig {
    messages_per_second: 1,
    invites_per_minute: 6,
    reads_per_second: 2,
    signals_per_second: 8,
    attaches_per_second: 4,
    service_requests_per_second: 100,
};

/// Gateways that share a router which counts, and which may be away.
struct Cluster {
    gateways: Vec<RateLimits>,
    /// What the router knows: by user and class.
    counted: std::collections::HashMap<(String, u32), (proto::Allowance, Instant)>,
    requests: usize,
    away: bool,
}

impl Cluster {
    fn new(limits: RateLimitConfig, gateways: usize) -> Self {
        let gateways = (0..gateways).map(|_| RateLimits::new(limits, |_| None)).collect();
        Self { gateways, counted: Default::default(), requests: 0, away: false }
    }

    /// Reports spending, and answers.
    fn exchange(&mut self, all: bool) {
        for gateway in self.gateways.clone() {
            let told = gateway.shared.table.tell(all, Instant::now());
            if told.is_empty() {
                continue;
            }
            self.requests += 1;
            let spendings = told.iter().map(|(_, spending)| spending.clone()).collect();
            let left = (!self.away).then(|| self.count(CountRates { spendings }));
            gateway.heard(&told, left);
        }
    }

    /// Counts as a router does (the router's own tests check that).
    fn count(&mut self, asked: CountRates) -> Vec<f32> {
        let now = Instant::now();
        let one = |spending: wire::Spending| {
            let rate = proto::Rate { per_second: spending.per_second.into(), burst: spending.burst.into() };
            let key = (spending.user, spending.class);
            let first = (proto::Allowance::of(spending.left.into(), rate), now);
            let (before, at) = *self.counted.get(&key).unwrap_or(&first);
            let left = before.after(now - at, rate).less(spending.spent.into(), rate);
            self.counted.insert(key, (left, now));
            left.units() as f32
        };
        asked.spendings.into_iter().map(one).collect()
    }

    /// Asks until there is a decision.
    fn ask(&mut self, gateway: usize, payer: Payer<'_>, class: Class) -> Result<(), Failure> {
        loop {
            match self.gateways[gateway].admit(payer, class, 1) {
                Admission::Passes => return Ok(()),
                Admission::Refused(failure, _) => return Err(failure),
                Admission::Waits(_) => self.exchange(false),
            }
        }
    }

    fn passed(&mut self, gateway: usize, user: &proto::UserId, class: Class, tries: usize) -> usize {
        let payer = Payer { user, service: false };
        (0..tries).filter(|_| self.ask(gateway, payer, class).is_ok()).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_on_one_gateway_is_refused_on_the_other() {
    let mut cluster = Cluster::new(SLOW, 2);
    let alice = user("alice");
    assert_eq!(cluster.passed(0, &alice, Class::Write, 10), 4);
    // It does not know yet, and lets a part of a burst through.
    assert_eq!(cluster.passed(1, &alice, Class::Write, 10), 1);
    let mut more = 0;
    for second in 1..=60 {
        advance(Duration::from_secs(1)).await;
        more += cluster.passed(0, &alice, Class::Write, 10) + cluster.passed(1, &alice, Class::Write, 10);
        assert!(more <= second + 1, "{more} in {second} s");
    }
    assert!(more >= 58, "and what comes back may be used: {more}");
    assert_eq!(cluster.passed(1, &user("bob"), Class::Write, 10), 4, "nobody else is meant");
}

#[tokio::test(start_paused = true)]
async fn every_class_has_its_own_limit() {
    let mut cluster = Cluster::new(SLOW, 1);
    let alice = user("alice");
    let bursts =
        [(Class::Write, 4), (Class::Invite, 6), (Class::Read, 8), (Class::Signal, 32), (Class::Attach, 16)];
    for (class, burst) in bursts {
        assert_eq!(cluster.passed(0, &alice, class, 100), burst, "{class:?}");
        let refused = cluster.ask(0, Payer { user: &alice, service: false }, class).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimited);
        assert!(refused.message.contains(class.as_str()), "{}", refused.message);
        assert!(refused.retry_after_ms.unwrap() >= 1_000, "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_backend_does_counts_for_a_limit_of_its_own() {
    let mut cluster = Cluster::new(SLOW, 2);
    let backend = user("backend");
    let payer = Payer { user: &backend, service: true };
    for n in 0..400 {
        let class = [Class::Write, Class::Invite, Class::Attach][n % 3];
        assert_eq!(cluster.ask(n % 2, payer, class), Ok(()), "{n}");
    }
    let more = (0..200).filter(|n| cluster.ask(n % 2, payer, Class::Write).is_ok()).count();
    assert!(more <= 100, "{more}: a part for each gateway at most");
    assert_eq!(
        cluster.passed(0, &backend, Class::Write, 10),
        4,
        "its token without the scope has the user's"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nobody_is_refused_or_remembered() {
    let mut cluster = Cluster::new(RateLimitConfig::default(), 1);
    assert_eq!(cluster.passed(0, &user("alice"), Class::Write, 10_000), 10_000);
    assert_eq!((cluster.gateways[0].shared.table.len(), cluster.requests), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_now_and_then_costs_no_question_and_one_report_a_second_for_all() {
    let mut cluster = Cluster::new(RateLimitConfig { messages_per_second: 50, ..SLOW }, 1);
    let users: Vec<_> = (0..500).map(|n| user(&format!("user{n}"))).collect();
    for _ in 0..10 {
        for user in &users {
            assert_eq!(cluster.passed(0, user, Class::Write, 1), 1);
        }
        cluster.exchange(false);
        assert_eq!(cluster.requests, 0);
    }
    cluster.exchange(true);
    assert_eq!(cluster.requests, 1);
    // A fast sender causes one request for each part, not for each message.
    let before = cluster.requests;
    assert_eq!(cluster.passed(0, &user("busy"), Class::Write, 200), 200);
    assert!(cluster.requests - before <= 8, "{}", cluster.requests - before);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_does_not_answer_leaves_each_gateway_to_itself() {
    let mut cluster = Cluster::new(SLOW, 2);
    let alice = user("alice");
    cluster.away = true;
    assert_eq!(cluster.passed(0, &alice, Class::Write, 10), 4);
    assert_eq!(cluster.passed(1, &alice, Class::Write, 10), 4);
    cluster.away = false;
    advance(Duration::from_secs(2)).await;
    cluster.exchange(true);
    // The router does not know what was let through meanwhile, as after its
    // death.
    let passed = cluster.passed(0, &alice, Class::Write, 10) + cluster.passed(1, &alice, Class::Write, 10);
    assert!(passed <= 4, "{passed}");
}

#[tokio::test(start_paused = true)]
async fn the_death_of_a_router_gives_nothing_back_to_a_user_whom_a_gateway_knows() {
    let mut cluster = Cluster::new(SLOW, 1);
    let alice = user("alice");
    assert_eq!(cluster.passed(0, &alice, Class::Write, 10), 4);
    cluster.counted.clear();
    assert_eq!(cluster.passed(0, &alice, Class::Write, 10), 0);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_groups_in_seconds_are_impossible() {
    let mut cluster = Cluster::new(RateLimitConfig { invites_per_minute: 30, ..SLOW }, 4);
    let alice = user("alice");
    let mut made = 0;
    for _ in 0..8 {
        for gateway in 0..4 {
            made += cluster.passed(gateway, &alice, Class::Invite, 400);
        }
        advance(Duration::from_secs(1)).await;
    }
    assert!((30..=38).contains(&made), "{made}");
}

#[tokio::test(start_paused = true)]
async fn users_who_have_stopped_are_forgotten() {
    let mut cluster = Cluster::new(SLOW, 1);
    for n in 0..1_000 {
        cluster.passed(0, &user(&format!("user{n}")), Class::Write, 1);
    }
    for _ in 0..10 {
        cluster.passed(0, &user("busy"), Class::Write, 1);
        cluster.exchange(true);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(cluster.gateways[0].shared.table.len(), 1);
}

#[test]
fn what_was_under_way_behind_a_refusal_waits_with_it() {
    let (mut refusals, now) = (Refusals::default(), Instant::now());
    assert_eq!(refusals.wait(Class::Write, now), None);
    refusals.note(Class::Write, Duration::from_secs(1), Why::Rate, now);
    let later = now + Duration::from_millis(400);
    assert_eq!(refusals.wait(Class::Write, later), Some((Duration::from_millis(600), Why::Rate)));
    assert_eq!(refusals.wait(Class::Read, later), None);
    assert_eq!(refusals.wait(Class::Write, now + Duration::from_secs(1)), None);
}

#[tokio::test]
async fn what_would_wait_too_long_is_refused_and_so_is_what_comes_behind_it() {
    let overloaded = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = overloaded.clone();
    let rates = RateLimits::new(SLOW, move |_| {
        seen.load(std::sync::atomic::Ordering::Relaxed).then_some(Bottleneck::Gateway)
    });
    let alice = user("alice");
    let payer = Payer { user: &alice, service: false };
    let Admission::Refused(failure, why) = rates.admit(payer, Class::Write, 1) else { panic!("it passes") };
    let wait = failure.retry_after_ms.unwrap();
    assert_eq!((failure.code, why), (ErrorCode::RateLimited, Why::Overload(Bottleneck::Gateway)));
    assert!((1_000..2_000).contains(&wait), "{wait}");
    assert!(matches!(rates.admit(payer, Class::Attach, 1), Admission::Passes), "a session has its own line");
    let (mut refusals, now) = (Refusals::default(), Instant::now());
    refusals.note(Class::Write, Duration::from_millis(wait), why, now);
    // The overload is over, and what was sent behind still does not overtake it.
    overloaded.store(false, std::sync::atomic::Ordering::Relaxed);
    let still = refusals.wait(Class::Write, now).unwrap();
    let failure = rates.refuse_still(payer, Class::Write, still).unwrap();
    assert_eq!(failure.retry_after_ms, Some(wait));
    assert!(failure.message.contains("more is asked"), "{}", failure.message);
    // None of it has cost the user anything.
    assert!(matches!(rates.admit(payer, Class::Write, 1), Admission::Passes));
}
