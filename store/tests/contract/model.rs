//! Random operations of two routers, compared with a plain model ([`world`]). Some
//! answers are lost and some calls are given up between two of their steps: then two
//! worlds are possible, until something is answered that only one of them answers.
//! Proptest shrinks what fails; `PROPTEST_CASES` says how many cases there are.

mod case;
mod reading;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proto::Seq;
use store::model::{Amenders, HistoryRange, MarkKind};
use tokio::runtime::Handle;

use self::case::Case;
use self::world::{Change, Place, User};
use super::harness::{Kind, for_every_store};

for_every_store![random_operations_agree_with_a_plain_model];

const USERS: usize = 4;
const GROUPS: usize = 2;
/// Operations of one case at most.
const LONGEST: usize = 40;
/// Cases of each kind of store, unless PROPTEST_CASES says how many.
const CASES: u32 = 8;

/// One operation; users by number.
#[derive(Debug, Clone)]
enum Step {
    Post {
        by: User,
        place: Place,
        what: What,
        lost: Lost,
    },
    /// By two routers at the same time.
    Both {
        place: Place,
        one: (User, What),
        other: (User, What),
    },
    Mark {
        user: User,
        place: Place,
        kind: MarkKind,
        seq: u64,
    },
    /// Reads the inbox, and acknowledges so many events of it.
    Read {
        user: User,
        limit: usize,
        acknowledge: bool,
    },
    History {
        user: User,
        place: Place,
        range: HistoryRange,
        limit: usize,
    },
    Attach {
        user: User,
        device: u8,
    },
    Detach {
        user: User,
        number: usize,
    },
    Publish {
        by: User,
        key: u8,
    },
    /// The routers are started anew; the embedded store, which is in one process with its
    /// router, is not (`tests/crash.rs` does that).
    Restart,
}

/// What a user posts. The version that a change expects is the present one.
#[derive(Debug, Clone)]
enum What {
    Message(u32),
    Edit(u64, u8, Amenders),
    Recall(u64, Amenders),
    React(u64, &'static str, bool),
    Change(Change),
    Stale,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lost {
    /// It arrives.
    No,
    /// It is lost on its way.
    Answer,
    /// The router dies after the call was polled so often. What it left is found by a
    /// repair, or by the next who writes there.
    Call { polls: usize, repaired: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = 0..USERS;
    let place = prop_oneof![
        (0..USERS, 0..USERS).prop_map(|(one, other)| Place::Direct(one.min(other), one.max(other))),
        (0..GROUPS).prop_map(Place::Group),
    ];
    let seq = 0..6_u64;
    let who = prop_oneof![Just(Amenders::Anyone), Just(Amenders::Sender), Just(Amenders::SenderOrAdmin)];
    let change = prop_oneof![
        3 => (0..USERS).prop_map(Change::Add),
        1 => (0..USERS).prop_map(Change::Remove),
        1 => (0..USERS).prop_map(Change::Owner),
        1 => (0..9_u8).prop_map(Change::Rename),
    ];
    let what = prop_oneof![
        8 => (0..6_u32).prop_map(What::Message),
        3 => (seq.clone(), 0..4_u8, who.clone()).prop_map(|(seq, key, who)| What::Edit(seq, key, who)),
        2 => (seq.clone(), who).prop_map(|(seq, who)| What::Recall(seq, who)),
        3 => (seq.clone(), prop_oneof![Just("+"), Just("👍")], any::<bool>())
            .prop_map(|(seq, emoji, on)| What::React(seq, emoji, on)),
        4 => change.prop_map(What::Change),
        1 => Just(What::Stale),
    ];
    let lost = prop_oneof![
        4 => Just(Lost::No),
        1 => Just(Lost::Answer),
        2 => (1..=8_usize, any::<bool>()).prop_map(|(polls, repaired)| Lost::Call { polls, repaired }),
    ];
    let range = prop_oneof![
        Just(HistoryRange::Newest),
        (0..8_u64).prop_map(|seq| HistoryRange::Before(Seq(seq))),
        (0..8_u64).prop_map(|seq| HistoryRange::After(Seq(seq))),
    ];
    let kind = prop_oneof![Just(MarkKind::Delivered), Just(MarkKind::Read)];
    let step = prop_oneof![
        16 => (user.clone(), place.clone(), what.clone(), lost)
            .prop_map(|(by, place, what, lost)| Step::Post { by, place, what, lost }),
        4 => (place.clone(), (user.clone(), what.clone()), (user.clone(), what.clone()))
            .prop_map(|(place, one, other)| Step::Both { place, one, other }),
        3 => (user.clone(), place.clone(), kind, seq)
            .prop_map(|(user, place, kind, seq)| Step::Mark { user, place, kind, seq }),
        3 => (user.clone(), 1..20_usize, any::<bool>())
            .prop_map(|(user, limit, acknowledge)| Step::Read { user, limit, acknowledge }),
        3 => (user.clone(), place, range, 1..5_usize)
            .prop_map(|(user, place, range, limit)| Step::History { user, place, range, limit }),
        2 => (user.clone(), 0..2_u8).prop_map(|(user, device)| Step::Attach { user, device }),
        1 => (user.clone(), 0..3_usize).prop_map(|(user, number)| Step::Detach { user, number }),
        2 => (user, 0..4_u8).prop_map(|(by, key)| Step::Publish { by, key }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..LONGEST)
}

async fn random_operations_agree_with_a_plain_model(kind: Kind) {
    let runtime = Handle::current();
    let run = move || {
        // A failure prints the smallest steps that show it.
        let cases =
            if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { CASES };
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&steps(), |steps| {
            runtime.block_on(Box::pin(agrees(kind, steps)));
            Ok(())
        })
    };
    if let Err(failure) = tokio::task::spawn_blocking(run).await.unwrap() {
        panic!("{failure}");
    }
}

async fn agrees(kind: Kind, steps: Vec<Step>) {
    let mut case = Case::begin(kind).await;
    for (number, step) in steps.iter().enumerate() {
        case.take(number, step).await;
    }
    case.compare().await;
}
