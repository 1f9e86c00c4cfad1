//! Presence: who has a session, when the last one ended, and which nodes are
//! told.

use std::time::Duration;

use proto::{NodeIncarnation, Time, UserId};
use store::model::{Detach, Location, PresenceRecord};

use super::harness::{Kind, Stores, for_every_store};

for_every_store![
    whoever_never_came_is_not_here_and_has_no_end,
    whoever_has_a_session_is_here_until_the_last_one_ends,
    only_the_last_session_to_end_is_the_last,
    the_end_of_who_is_not_watched_need_not_be_told,
    whoever_comes_after_an_absence_is_told_apart,
    watchers_are_named_until_they_watch_no_more,
    sessions_on_dead_nodes_are_nobody,
    dead_nodes_watch_nobody,
    the_nodes_that_listen_are_named,
    users_are_answered_in_the_order_asked,
];

async fn seen(stores: &Stores, user: &UserId) -> PresenceRecord {
    stores.two.presence(std::slice::from_ref(user), None).await.unwrap().remove(0)
}

async fn watch(stores: &Stores, user: &UserId, node: &NodeIncarnation) -> PresenceRecord {
    stores.one.presence(std::slice::from_ref(user), Some(node)).await.unwrap().remove(0)
}

async fn detach(stores: &Stores, user: &UserId, location: &Location) -> bool {
    let detach = Detach { user: user.clone(), session: location.session.clone() };
    stores.one.detach(vec![detach]).await.unwrap()[0]
}

/// Waits for something that a task of the store does.
async fn until(
    stores: &Stores,
    user: &UserId,
    what: &str,
    holds: impl Fn(&PresenceRecord) -> bool,
) -> PresenceRecord {
    testbed::wait::until(Duration::from_secs(20), what, async || {
        Some(seen(stores, user).await).filter(|seen| holds(seen))
    })
    .await
    .unwrap()
}

async fn whoever_never_came_is_not_here_and_has_no_end(kind: Kind) {
    let stores = kind.open().await;
    let nobody = PresenceRecord { here: false, ended: None, watchers: vec![] };
    assert_eq!(seen(&stores, &stores.user("alice")).await, nobody);
}

async fn whoever_has_a_session_is_here_until_the_last_one_ends(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let (phone, laptop) = (node.location("phone"), node.location("laptop"));
    stores.attach(&alice, &phone).await;
    stores.attach(&alice, &laptop).await;
    assert!(seen(&stores, &alice).await.here);
    detach(&stores, &alice, &phone).await;
    assert!(seen(&stores, &alice).await.here);
    let before = Time::now();
    detach(&stores, &alice, &laptop).await;
    let seen = seen(&stores, &alice).await;
    assert!(!seen.here);
    let (time, ago) = seen.ended.unwrap();
    assert!(
        (before.before(Duration::from_millis(2))..=Time::now()).contains(&time),
        "{time:?} is not after {before:?}"
    );
    assert!(ago < Duration::from_secs(10), "{ago:?}");
}

async fn only_the_last_session_to_end_is_the_last(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let (phone, laptop) = (node.location("phone"), node.location("laptop"));
    stores.attach(&alice, &phone).await;
    stores.attach(&alice, &laptop).await;
    watch(&stores, &alice, &node.id).await;
    assert!(!detach(&stores, &alice, &node.location("phone")).await);
    assert!(!detach(&stores, &alice, &phone).await);
    assert!(!detach(&stores, &alice, &phone).await);
    assert!(detach(&stores, &alice, &laptop).await);
    assert!(!detach(&stores, &alice, &laptop).await);
}

async fn the_end_of_who_is_not_watched_need_not_be_told(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let phone = node.location("phone");
    stores.attach(&alice, &phone).await;
    watch(&stores, &alice, &node.id).await;
    stores.one.unwatch(std::slice::from_ref(&alice), &node.id).await.unwrap();
    assert!(!detach(&stores, &alice, &phone).await);
    // A node that begins to watch now sees when it ended.
    assert!(watch(&stores, &alice, &node.id).await.ended.is_some());
}

async fn whoever_comes_after_an_absence_is_told_apart(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let node = stores.node("gw").await;
    let (phone, laptop) = (node.location("phone"), node.location("laptop"));
    let first = stores.attach(&alice, &phone).await.absence.unwrap();
    assert_eq!((first.ended_ago, first.watchers), (None, vec![]));
    assert_eq!(stores.attach(&alice, &phone).await.absence, None);
    assert_eq!(stores.attach(&alice, &laptop).await.absence, None);
    assert_eq!(stores.look(&alice, store::model::StartPoint::Head).await.absence, None);
    for location in [&phone, &laptop] {
        detach(&stores, &alice, location).await;
    }
    assert_eq!(stores.look(&alice, store::model::StartPoint::Head).await.absence, None);
    let again = stores.attach(&alice, &phone).await.absence.unwrap();
    assert!(again.ended_ago.unwrap() < Duration::from_secs(10));
}

async fn watchers_are_named_until_they_watch_no_more(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let (one, two) = (stores.node("gw-1").await, stores.node("gw-2").await);
    assert_eq!(watch(&stores, &alice, &one.id).await.watchers, std::slice::from_ref(&one.id));
    watch(&stores, &alice, &one.id).await;
    watch(&stores, &alice, &two.id).await;
    let mut expected = vec![one.id.clone(), two.id.clone()];
    expected.sort();
    let phone = two.location("phone");
    let mut named = stores.attach(&alice, &phone).await.absence.unwrap().watchers;
    named.sort();
    assert_eq!(named, expected);
    stores.two.unwatch(&[alice.clone(), stores.user("bob")], &one.id).await.unwrap();
    assert_eq!(seen(&stores, &alice).await.watchers, std::slice::from_ref(&two.id));
    detach(&stores, &alice, &phone).await;
    assert_eq!(seen(&stores, &alice).await.watchers, std::slice::from_ref(&two.id));
    stores.one.unwatch(std::slice::from_ref(&alice), &two.id).await.unwrap();
    assert_eq!(seen(&stores, &alice).await.watchers, []);
}

async fn sessions_on_dead_nodes_are_nobody(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let (gone, stays) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let other = stays.location("laptop");
    for user in [&alice, &bob] {
        stores.attach(user, &gone.location("phone")).await;
    }
    stores.attach(&bob, &other).await;
    drop(gone);
    let first = until(&stores, &alice, "the end of a node", |seen| !seen.here).await;
    let (time, _) = first.ended.unwrap();
    // Noted once: it does not change with each reading.
    let (again, _) = seen(&stores, &alice).await.ended.unwrap();
    assert!(again.0.abs_diff(time.0) < 2_000, "{time:?}, then {again:?}");
    assert!(stores.attach(&alice, &stays.location("phone")).await.absence.is_some());
    assert!(seen(&stores, &bob).await.here, "a session on another node stays");
    watch(&stores, &bob, &stays.id).await;
    assert!(detach(&stores, &bob, &other).await, "the last one on a living node is the last");
}

async fn dead_nodes_watch_nobody(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let (gone, stays) = (stores.node("gw-1").await, stores.node("gw-2").await);
    watch(&stores, &alice, &gone.id).await;
    watch(&stores, &alice, &stays.id).await;
    drop(gone);
    let expected = [stays.id.clone()];
    until(&stores, &alice, "a dead watcher's end", |seen| seen.watchers == expected).await;
    let attached = stores.attach(&alice, &stays.location("phone")).await;
    assert_eq!(attached.absence.unwrap().watchers, expected);
}

async fn the_nodes_that_listen_are_named(kind: Kind) {
    let stores = kind.open().await;
    let (one, two) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let nodes = stores.one.nodes().await.unwrap();
    assert!(nodes.contains(&one.id) && nodes.contains(&two.id));
    let gone = one.id.clone();
    drop(one);
    testbed::wait::until_true(Duration::from_secs(20), "a node's end", async || {
        !stores.one.nodes().await.unwrap().contains(&gone)
    })
    .await
    .unwrap();
    assert!(stores.one.nodes().await.unwrap().contains(&two.id));
}

async fn users_are_answered_in_the_order_asked(kind: Kind) {
    let stores = kind.open().await;
    let node = stores.node("gw").await;
    let users: Vec<UserId> = (0..500).map(|number| stores.user(&format!("u{number}"))).collect();
    for user in users.iter().step_by(100) {
        stores.attach(user, &node.location("phone")).await;
    }
    let seen = stores.two.presence(&users, Some(&node.id)).await.unwrap();
    let here: Vec<usize> = (0..500).filter(|index| seen[*index].here).collect();
    assert_eq!(here, [0, 100, 200, 300, 400]);
    let twice = [users[1].clone(), users[0].clone(), users[0].clone()];
    let seen = stores.two.presence(&twice, None).await.unwrap();
    assert_eq!(seen.iter().map(|seen| seen.here).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(stores.two.presence(&[], None).await.unwrap(), []);
}
