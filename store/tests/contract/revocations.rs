//! Revocations of tokens: numbered, told to every node, kept until their tokens have
//! ended, and bounded.

use proto::wire::{self, notice};
use proto::{Revocation, RevokedTokens, Time, TokenId, UserId};
use store::Bounds;
use store::model::{REVOCATIONS, RevokeResult};

use super::harness::{Kind, Stores, for_every_store};

for_every_store![
    a_revocation_is_read_through_any_handle_and_told_to_every_node,
    of_two_revocations_the_later_times_count_under_a_new_number,
    pages_follow_one_another_without_a_hole,
    one_too_many_is_refused_and_a_repeat_is_not,
    what_has_ended_makes_room_and_its_number_is_not_given_again,
];

/// The set is one for a whole store: each test has its own server.
async fn open(kind: Kind, revocations: u64) -> Stores {
    kind.open_alone(Bounds { revocations, ..Bounds::default() }).await
}

fn later() -> Time {
    Time(Time::now().0 + 3_600_000)
}

fn of_user(name: &str, before: u64, until: Time) -> Revocation {
    let tokens = RevokedTokens::Of(UserId::parse(name).unwrap());
    Revocation { tokens, before: Time(before), until }
}

fn of_token(id: &str, until: Time) -> Revocation {
    Revocation { tokens: RevokedTokens::One(TokenId::parse(id).unwrap()), before: Time(0), until }
}

async fn revoke(stores: &Stores, revocation: &Revocation) -> RevokeResult {
    stores.one.revoke(vec![revocation.clone()]).await.unwrap().remove(0)
}

async fn a_revocation_is_read_through_any_handle_and_told_to_every_node(kind: Kind) {
    let stores = open(kind, 10).await;
    let (mut one, mut two) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let batch = vec![of_user("alice", 1_790_000_000_123, later()), of_token("5f: \u{e9}", later())];
    assert_eq!(stores.one.revoke(batch.clone()).await.unwrap(), [RevokeResult::Done; 2]);
    let page = stores.two.revocations(0).await.unwrap();
    assert_eq!((&page.revocations, page.last, page.head), (&batch, 2, 2));
    let page = stores.two.revocations(1).await.unwrap();
    assert_eq!((&page.revocations[..], page.last, page.head), (&batch[1..], 2, 2));
    for node in [&mut one, &mut two] {
        let said = batch.iter().map(wire::Revocation::from).collect();
        let what = notice::What::Revoked(wire::Revocations { revocations: said });
        assert_eq!(node.notice().await.what, Some(what));
    }
}

async fn of_two_revocations_the_later_times_count_under_a_new_number(kind: Kind) {
    let stores = open(kind, 10).await;
    let (soon, late) = (later(), Time(later().0 + 5_000));
    for (before, until) in [(5_000, soon), (3_000, late), (4_000, soon)] {
        assert_eq!(revoke(&stores, &of_user("alice", before, until)).await, RevokeResult::Done);
    }
    let page = stores.one.revocations(0).await.unwrap();
    assert_eq!((&page.revocations[..], page.last), (&[of_user("alice", 5_000, late)][..], 3));
    assert!(stores.one.revocations(3).await.unwrap().revocations.is_empty());
}

async fn pages_follow_one_another_without_a_hole(kind: Kind) {
    let stores = open(kind, 10_000).await;
    let until = later();
    let all: Vec<_> = (0..REVOCATIONS + 7).map(|n| of_token(&format!("t-{n}"), until)).collect();
    for some in all.chunks(200) {
        stores.one.revoke(some.to_vec()).await.unwrap();
    }
    let first = stores.two.revocations(0).await.unwrap();
    assert_eq!((first.revocations.len(), first.last), (REVOCATIONS, REVOCATIONS as u64));
    let rest = stores.two.revocations(first.last).await.unwrap();
    assert_eq!((rest.last, rest.head), (all.len() as u64, all.len() as u64));
    assert_eq!([first.revocations, rest.revocations].concat(), all);
}

async fn one_too_many_is_refused_and_a_repeat_is_not(kind: Kind) {
    let stores = open(kind, 2).await;
    let batch: Vec<_> = ["a", "b", "c"].map(|id| of_token(id, later())).to_vec();
    let results = stores.one.revoke(batch.clone()).await.unwrap();
    assert_eq!(results, [RevokeResult::Done, RevokeResult::Done, RevokeResult::Full]);
    assert_eq!(revoke(&stores, &batch[0]).await, RevokeResult::Done);
    assert_eq!(revoke(&stores, &batch[2]).await, RevokeResult::Full);
    let page = stores.one.revocations(0).await.unwrap();
    assert_eq!(page.revocations, [batch[1].clone(), batch[0].clone()]);
}

async fn what_has_ended_makes_room_and_its_number_is_not_given_again(kind: Kind) {
    let stores = open(kind, 1).await;
    assert_eq!(revoke(&stores, &of_token("over", Time(1))).await, RevokeResult::Done);
    let new = of_token("new", later());
    assert_eq!(revoke(&stores, &new).await, RevokeResult::Done);
    let page = stores.one.revocations(0).await.unwrap();
    assert_eq!((page.revocations, page.last, page.head), (vec![new], 2, 2));
}
