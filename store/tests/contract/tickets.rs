//! One-time tickets.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::harness::{Kind, for_every_store};

for_every_store![a_ticket_is_taken_once_through_any_handle, a_ticket_ends_with_its_life];

fn name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

async fn a_ticket_is_taken_once_through_any_handle(kind: Kind) {
    let stores = kind.open().await;
    let (ticket, grant) = (name(), Bytes::from_static(b"\x00\xffwhat it stands for"));
    stores.one.keep_ticket(&ticket, grant.clone(), Duration::from_secs(30)).await.unwrap();
    let (one, two) = tokio::join!(stores.one.take_ticket(&ticket), stores.two.take_ticket(&ticket));
    let mut taken = [one.unwrap(), two.unwrap()];
    taken.sort();
    assert_eq!(taken, [None, Some(grant)]);
    assert_eq!(stores.one.take_ticket(&name()).await.unwrap(), None);
}

async fn a_ticket_ends_with_its_life(kind: Kind) {
    let stores = kind.open().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // A new one each time, looked at a little later than the last.
    for later in 1.. {
        let ticket = name();
        stores.one.keep_ticket(&ticket, Bytes::new(), Duration::from_millis(20)).await.unwrap();
        sleep(Duration::from_millis(20 * later)).await;
        if stores.two.take_ticket(&ticket).await.unwrap().is_none() {
            return;
        }
        assert!(Instant::now() < deadline, "tickets live on");
    }
}
