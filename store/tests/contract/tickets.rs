//! One-time tickets.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::harness::{Kind, for_every_store};

for_every_store![
    a_ticket_is_taken_once_through_any_handle,
    a_ticket_is_given_again_to_whoever_has_taken_it,
    a_ticket_that_was_given_back_can_be_taken_again,
    a_ticket_ends_with_its_life
];

fn name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

async fn a_ticket_is_taken_once_through_any_handle(kind: Kind) {
    let stores = kind.open().await;
    let (ticket, grant) = (name(), Bytes::from_static(b"\x00\xffwhat it stands for"));
    stores.one.keep_ticket(&ticket, grant.clone(), Duration::from_secs(30)).await.unwrap();
    let (one, two) = tokio::join!(stores.one.take_ticket(&ticket, "a"), stores.two.take_ticket(&ticket, "b"));
    let mut taken = [one.unwrap(), two.unwrap()];
    taken.sort();
    assert_eq!(taken, [None, Some(grant)]);
    assert_eq!(stores.one.take_ticket(&name(), "a").await.unwrap(), None);
}

async fn a_ticket_is_given_again_to_whoever_has_taken_it(kind: Kind) {
    let stores = kind.open().await;
    let (ticket, grant) = (name(), Bytes::from_static(b"grant"));
    stores.one.keep_ticket(&ticket, grant.clone(), Duration::from_secs(30)).await.unwrap();
    for store in [&stores.one, &stores.two] {
        assert_eq!(store.take_ticket(&ticket, "a").await.unwrap(), Some(grant.clone()));
    }
    // A late repeat of the first call does not make it new.
    stores.one.keep_ticket(&ticket, grant, Duration::from_secs(30)).await.unwrap();
    assert_eq!(stores.two.take_ticket(&ticket, "b").await.unwrap(), None);
}

async fn a_ticket_that_was_given_back_can_be_taken_again(kind: Kind) {
    let stores = kind.open().await;
    let (ticket, grant) = (name(), Bytes::from_static(b"grant"));
    stores.one.keep_ticket(&ticket, grant.clone(), Duration::from_secs(30)).await.unwrap();
    assert_eq!(stores.one.take_ticket(&ticket, "a").await.unwrap(), Some(grant.clone()));
    // Another caller cannot return it.
    stores.two.return_ticket(&ticket, "b").await.unwrap();
    assert_eq!(stores.two.take_ticket(&ticket, "b").await.unwrap(), None);
    stores.two.return_ticket(&ticket, "a").await.unwrap();
    assert_eq!(stores.two.take_ticket(&ticket, "b").await.unwrap(), Some(grant));
    assert_eq!(stores.one.take_ticket(&ticket, "a").await.unwrap(), None);
    // A ticket that never was cannot be returned either.
    stores.one.return_ticket(&name(), "a").await.unwrap();
}

async fn a_ticket_ends_with_its_life(kind: Kind) {
    let stores = kind.open().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // A new one each time, checked a little later than the last.
    for later in 1.. {
        let ticket = name();
        stores.one.keep_ticket(&ticket, Bytes::new(), Duration::from_millis(20)).await.unwrap();
        sleep(Duration::from_millis(20 * later)).await;
        if stores.two.take_ticket(&ticket, "a").await.unwrap().is_none() {
            return;
        }
        assert!(Instant::now() < deadline, "tickets live on");
    }
}
