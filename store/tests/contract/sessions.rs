//! Sessions: where they are, which one of a device counts, and when they end.

use proto::{DeviceId, SessionId};
use store::model::{Attach, Detach, From, InboxQuery, Location, Standing};

use super::harness::{Kind, Stores, for_every_store};

for_every_store![
    an_attached_session_is_located,
    looking_a_place_up_registers_nothing,
    devices_of_a_user_stand_side_by_side,
    a_second_session_of_a_device_replaces_the_first,
    attaching_again_replaces_nothing,
    detaching_removes_only_its_own,
    a_session_knows_its_standing,
    a_batch_of_attaches_is_answered_in_order,
    sessions_end_with_their_nodes_lease,
];

async fn an_attached_session_is_located(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let node = stores.node("gw").await;
    let location = node.location("phone");
    let attached = stores.attach(&alice, &location).await;
    assert_eq!(attached.replaced, []);
    let found = stores.two.locate(&[bob, alice]).await.unwrap();
    assert_eq!(found, [vec![], vec![location]]);
}

async fn looking_a_place_up_registers_nothing(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    stores.look(&alice, From::Head).await;
    assert_eq!(stores.one.locate(&[alice]).await.unwrap(), [vec![]]);
}

async fn devices_of_a_user_stand_side_by_side(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let (here, there) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let (phone, laptop) = (here.location("phone"), there.location("laptop"));
    stores.attach(&alice, &phone).await;
    assert_eq!(stores.attach(&alice, &laptop).await.replaced, []);
    let mut found = stores.one.locate(&[alice]).await.unwrap().remove(0);
    found.sort_by_key(|location| location.device.clone());
    assert_eq!(found, [laptop, phone]);
}

async fn a_second_session_of_a_device_replaces_the_first(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let (here, there) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let (first, second) = (here.location("phone"), there.location("phone"));
    stores.attach(&alice, &first).await;
    assert_eq!(stores.attach(&alice, &second).await.replaced, [first]);
    assert_eq!(stores.one.locate(&[alice]).await.unwrap(), [vec![second]]);
}

async fn attaching_again_replaces_nothing(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let location = node.location("phone");
    stores.attach(&alice, &location).await;
    assert_eq!(stores.attach(&alice, &location).await.replaced, []);
    assert_eq!(stores.one.locate(&[alice]).await.unwrap(), [vec![location]]);
}

async fn detaching_removes_only_its_own(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let (first, second, laptop) = (node.location("phone"), node.location("phone"), node.location("laptop"));
    for location in [&first, &second, &laptop] {
        stores.attach(&alice, location).await;
    }
    let detach = |location: &Location| Detach { user: alice.clone(), session: location.session.clone() };
    stores.one.detach(vec![detach(&first)]).await.unwrap();
    assert_eq!(stores.one.locate(std::slice::from_ref(&alice)).await.unwrap()[0].len(), 2);
    stores.two.detach(vec![detach(&second)]).await.unwrap();
    assert_eq!(stores.one.locate(std::slice::from_ref(&alice)).await.unwrap(), [vec![laptop.clone()]]);
    stores.one.detach(vec![detach(&laptop), detach(&laptop)]).await.unwrap();
    assert_eq!(stores.one.locate(std::slice::from_ref(&alice)).await.unwrap(), [vec![]]);
}

async fn standing(stores: &Stores, user: &proto::UserId, session: &SessionId, device: &DeviceId) -> Standing {
    let query = InboxQuery {
        user: user.clone(),
        after: proto::Cursor::ORIGIN,
        limit: 1,
        session: Some((session.clone(), device.clone())),
        marks: None,
    };
    stores.one.read_inbox(vec![query]).await.unwrap().remove(0).standing
}

async fn a_session_knows_its_standing(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let (first, second) = (node.location("phone"), node.location("phone"));
    let of = |location: &Location| (location.session.clone(), location.device.clone());
    let (session, device) = of(&first);
    assert_eq!(standing(&stores, &alice, &session, &device).await, Standing::Missing);
    stores.attach(&alice, &first).await;
    assert_eq!(standing(&stores, &alice, &session, &device).await, Standing::Registered);
    stores.attach(&alice, &node.location("laptop")).await;
    assert_eq!(standing(&stores, &alice, &session, &device).await, Standing::Registered);
    stores.attach(&alice, &second).await;
    assert_eq!(standing(&stores, &alice, &session, &device).await, Standing::Superseded);
}

async fn a_batch_of_attaches_is_answered_in_order(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let node = stores.node("gw").await;
    stores.send(&alice, &alice, "one").await;
    let (first, second) = (node.location("phone"), node.location("phone"));
    let attach = |user: &proto::UserId, location: &Location| Attach {
        user: user.clone(),
        location: Some(location.clone()),
        from: From::Head,
    };
    let batch = vec![attach(&alice, &first), attach(&bob, &first), attach(&alice, &second)];
    let answers = stores.one.attach(batch).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.head.0).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(answers[2].replaced, [first], "of two sessions the later one wins");
    assert_eq!(stores.one.locate(&[alice]).await.unwrap(), [vec![second]]);
}

async fn sessions_end_with_their_nodes_lease(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let (gone, stays) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let (phone, laptop) = (gone.location("phone"), stays.location("laptop"));
    stores.attach(&alice, &phone).await;
    stores.attach(&alice, &laptop).await;
    drop(gone);
    // A lease may be given back by a task, so this is waited for.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while stores.one.locate(std::slice::from_ref(&alice)).await.unwrap() != [vec![laptop.clone()]] {
        assert!(tokio::time::Instant::now() < deadline, "the session outlives its node");
        tokio::task::yield_now().await;
    }
    let (session, device) = (phone.session, phone.device);
    assert_eq!(standing(&stores, &alice, &session, &device).await, Standing::Missing);
}
