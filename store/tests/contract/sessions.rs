//! Sessions: where they are, which one of a device is valid, and when they end.

use proto::{Cursor, DeviceId, Fingerprint, Position, Seq, SessionId, UserId};
use store::Bounds;
use store::model::{
    Acknowledge, Attach, AttachResult, Detach, FIRST_PAGE, InboxPage, InboxQuery, Location, Mark, MarkKind,
    Standing, StartPoint,
};

use super::harness::{Kind, Stores, for_every_store};

for_every_store![
    an_attached_session_is_located,
    looking_a_place_up_registers_nothing,
    devices_of_a_user_stand_side_by_side,
    a_second_session_of_a_device_replaces_the_first,
    attaching_again_replaces_nothing,
    of_too_many_sessions_the_oldest_is_replaced,
    detaching_removes_only_its_own,
    a_session_knows_its_standing,
    a_batch_of_attaches_is_answered_in_order,
    a_session_that_begins_at_a_place_is_given_its_first_page,
    whoever_begins_at_the_head_or_only_looks_is_given_no_page,
    a_place_that_does_not_hold_comes_without_a_page,
    a_first_page_has_a_bound_and_then_no_marks,
    an_attach_says_whether_its_place_has_been_acknowledged,
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
    stores.look(&alice, StartPoint::Head).await;
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

async fn of_too_many_sessions_the_oldest_is_replaced(kind: Kind) {
    let stores = kind.open_with(Bounds { sessions: 3, ..Bounds::default() }).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let (here, there) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let [first, second, third] = [here.location("d1"), there.location("d2"), here.location("d3")];
    for location in [&first, &second, &third] {
        assert_eq!(stores.attach(&alice, location).await.replaced, []);
        stores.attach(&bob, location).await;
    }
    // A session that attaches again is not an additional one, and is the
    // newest.
    assert_eq!(stores.attach(&alice, &first).await.replaced, []);
    let fourth = there.location("d4");
    assert_eq!(stores.attach(&alice, &fourth).await.replaced, [second]);
    // A session of a device that is there already replaces only that one.
    let again = there.location("d3");
    assert_eq!(stores.attach(&alice, &again).await.replaced, [third]);
    // In one call, too, each item sees the result of the one before it.
    let (fifth, sixth) = (here.location("d5"), here.location("d6"));
    let attach = |location: &Location| Attach {
        user: alice.clone(),
        location: Some(location.clone()),
        from: StartPoint::Head,
    };
    let answers = stores.two.attach(vec![attach(&fifth), attach(&sixth)]).await.unwrap();
    let replaced: Vec<_> = answers.into_iter().flat_map(|answer| answer.replaced).collect();
    assert_eq!(replaced, [first, fourth]);
    let found = stores.one.locate(&[alice, bob]).await.unwrap();
    assert_eq!(found[0], [again, fifth, sixth]);
    assert_eq!(found[1].len(), 3, "nobody else's are touched");
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
        from: StartPoint::Head,
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
    // A task may end the lease, so this is waited for.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while stores.one.locate(std::slice::from_ref(&alice)).await.unwrap() != [vec![laptop.clone()]] {
        assert!(tokio::time::Instant::now() < deadline, "the session outlives its node");
        tokio::task::yield_now().await;
    }
    let (session, device) = (phone.session, phone.device);
    assert_eq!(standing(&stores, &alice, &session, &device).await, Standing::Missing);
}

async fn resume(stores: &Stores, user: &UserId, location: &Location, from: StartPoint) -> AttachResult {
    let attach = Attach { user: user.clone(), location: Some(location.clone()), from };
    stores.two.attach(vec![attach]).await.unwrap().remove(0)
}

fn positions(page: &InboxPage) -> Vec<u64> {
    page.events.iter().map(|filed| filed.position.0).collect()
}

async fn a_session_that_begins_at_a_place_is_given_its_first_page(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let node = stores.node("gw").await;
    let (phone, laptop) = (node.location("phone"), node.location("laptop"));
    let first = stores.send(&alice, &bob, "one").await;
    let position = first.position.unwrap();
    let up_to_date = resume(&stores, &alice, &phone, StartPoint::Cursor(position)).await.page.unwrap();
    assert_eq!((positions(&up_to_date), up_to_date.head, up_to_date.marks), (vec![], Position(1), vec![]));

    let conversation = proto::ConversationId::direct(&alice, &bob);
    let read = Mark { conversation, user: bob.clone(), kind: MarkKind::Read, seq: Seq(1) };
    stores.one.mark(vec![read.clone()]).await.unwrap();
    stores.send(&bob, &alice, "two").await;
    let attached = resume(&stores, &alice, &laptop, StartPoint::Cursor(position)).await;
    let page = attached.page.unwrap();
    assert_eq!((positions(&page), page.head, page.reset), (vec![2], Position(2), None));
    assert_eq!(page.standing, Standing::Registered);
    assert!(page.marks.iter().any(|mark| mark.user == read.user && mark.kind == MarkKind::Read));
    assert_eq!((attached.start, page.marks_next), (position, None));

    let oldest = resume(&stores, &alice, &phone, StartPoint::Start).await.page.unwrap();
    assert_eq!((positions(&oldest), oldest.marks), (vec![1, 2], page.marks));
}

async fn whoever_begins_at_the_head_or_only_looks_is_given_no_page(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let position = stores.send(&alice, &alice, "one").await.position.unwrap();
    assert_eq!(stores.attach(&alice, &node.location("phone")).await.page, None);
    assert_eq!(stores.look(&alice, StartPoint::Start).await.page, None);
    assert_eq!(stores.look(&alice, StartPoint::Cursor(position)).await.page, None);
}

async fn a_place_that_does_not_hold_comes_without_a_page(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    stores.send(&alice, &alice, "one").await;
    let other = Cursor { position: Position(1), fingerprint: Fingerprint(7) };
    let attached = resume(&stores, &alice, &node.location("phone"), StartPoint::Cursor(other)).await;
    assert!(attached.reset.is_some() && attached.page.is_none() && !attached.acknowledged);
}

async fn a_first_page_has_a_bound_and_then_no_marks(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let node = stores.node("gw").await;
    let position = stores.send(&alice, &bob, "first").await.position.unwrap();
    for number in 0..=FIRST_PAGE {
        stores.send(&bob, &alice, &number.to_string()).await;
    }
    let page =
        resume(&stores, &alice, &node.location("phone"), StartPoint::Cursor(position)).await.page.unwrap();
    assert_eq!(positions(&page), (2..2 + FIRST_PAGE as u64).collect::<Vec<_>>());
    assert_eq!((page.head, page.marks), (Position(2 + FIRST_PAGE as u64), vec![]));
}

async fn an_attach_says_whether_its_place_has_been_acknowledged(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let node = stores.node("gw").await;
    let phone = node.location("phone");
    let known = async |cursor| resume(&stores, &alice, &phone, StartPoint::Cursor(cursor)).await.acknowledged;
    assert!(known(Cursor::ORIGIN).await, "there is nothing to acknowledge");
    stores.send(&bob, &alice, "one").await;
    stores.send(&bob, &alice, "two").await;
    let inbox = stores.inbox(&alice).await;
    let position = |filed: &store::model::InboxEvent| Cursor {
        position: filed.position,
        fingerprint: Fingerprint(filed.event.entry.fingerprint),
    };
    let (one, two) = (position(&inbox[0]), position(&inbox[1]));
    assert!(!known(one).await);
    stores.one.acknowledge(vec![Acknowledge::up_to(alice.clone(), one)]).await.unwrap();
    assert!(known(one).await && !known(two).await);
}
