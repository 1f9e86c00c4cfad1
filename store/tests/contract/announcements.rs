//! What nodes hear: each event once, with its positions in the inboxes.

use bytes::Bytes;
use proto::wire::{Notice, Typing, notice};
use proto::{ConversationId, NodeIncarnation};
use store::model::{Change, Post};

use super::harness::{
    Kind, What, decoded, edit, for_every_store, from_session, keyed, message, targets, text,
};

for_every_store![
    a_node_hears_an_event_once_with_all_its_readers_there,
    the_positions_are_those_of_the_inboxes,
    each_readers_node_hears_it_and_no_other,
    the_posting_session_is_not_told_but_other_devices_are,
    another_device_on_the_senders_node_is_told,
    a_repeat_is_not_announced_again,
    a_refused_post_is_not_announced,
    a_detached_session_is_not_announced_to,
    a_change_is_announced_to_members_before_and_after,
    a_batch_is_announced_in_order,
    a_posts_trace_is_announced_beside_its_entry,
    notices_reach_their_nodes,
];

async fn a_node_hears_an_event_once_with_all_its_readers_there(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    let mut node = stores.node("gw").await;
    stores.attach(&alice, &node.location("phone")).await;
    stores.attach(&bob, &node.location("phone")).await;
    stores.attach(&bob, &node.location("laptop")).await;
    let post = message(&carol, &group, "hi");
    stores.done(post.clone()).await;
    let heard = node.announcement().await;
    assert_eq!((heard.conversation.as_str(), heard.seq), (group.as_str(), 1));
    assert_eq!(heard.entry.as_ref(), Some(&decoded(&post)));
    let users: Vec<_> = targets(&heard).into_iter().map(|(user, _)| user).collect();
    assert_eq!(users, [alice.clone(), bob.clone()], "carol is not there; bob is one reader");
    stores.done(message(&alice, &group, "next")).await;
    assert_eq!(node.announcement().await.seq, 2);
}

async fn the_positions_are_those_of_the_inboxes(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    for _ in 0..3 {
        stores.send(&bob, &bob, "only in bob's inbox").await;
    }
    let mut node = stores.node("gw").await;
    stores.attach(&alice, &node.location("phone")).await;
    let attached = stores.attach(&bob, &node.location("phone")).await;
    let post = message(&alice, &ConversationId::direct(&alice, &bob), "hi");
    let position = stores.done(post).await.position.unwrap();
    let heard = targets(&node.announcement().await);
    assert_eq!(heard, [(alice.clone(), position.position), (bob.clone(), attached.head.next())]);
    for (user, position) in heard {
        let found = stores.inbox(&user).await.into_iter().find(|filed| filed.position == position);
        assert_eq!(text(&found.unwrap().event.entry).unwrap(), "hi");
    }
}

async fn each_readers_node_hears_it_and_no_other(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let (mut one, mut two, mut three) =
        (stores.node("gw-1").await, stores.node("gw-2").await, stores.node("gw-3").await);
    stores.attach(&alice, &one.location("phone")).await;
    stores.attach(&bob, &two.location("phone")).await;
    stores.attach(&carol, &three.location("phone")).await;
    stores.send(&alice, &bob, "for two").await;
    for (node, user) in [(&mut one, &alice), (&mut two, &bob)] {
        let users = targets(&node.announcement().await).into_iter().map(|(user, _)| user);
        assert_eq!(users.collect::<Vec<_>>(), std::slice::from_ref(user));
    }
    stores.send(&carol, &carol, "for carol").await;
    assert_eq!(text(three.announcement().await.entry.as_ref().unwrap()).unwrap(), "for carol");
}

async fn the_posting_session_is_not_told_but_other_devices_are(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let (mut here, mut there) = (stores.node("gw-1").await, stores.node("gw-2").await);
    let (phone, laptop) = (here.location("phone"), there.location("laptop"));
    stores.attach(&alice, &phone).await;
    stores.attach(&alice, &laptop).await;
    let notes = ConversationId::direct(&alice, &alice);
    stores.done(from_session(message(&alice, &notes, "from the phone"), &phone.session)).await;
    stores.done(from_session(message(&alice, &notes, "from the laptop"), &laptop.session)).await;
    assert_eq!(text(there.announcement().await.entry.as_ref().unwrap()).unwrap(), "from the phone");
    assert_eq!(text(here.announcement().await.entry.as_ref().unwrap()).unwrap(), "from the laptop");
}

async fn another_device_on_the_senders_node_is_told(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let mut node = stores.node("gw").await;
    let phone = node.location("phone");
    stores.attach(&alice, &phone).await;
    stores.attach(&alice, &node.location("laptop")).await;
    let notes = ConversationId::direct(&alice, &alice);
    stores.done(from_session(message(&alice, &notes, "hi"), &phone.session)).await;
    assert_eq!(targets(&node.announcement().await)[0].0, alice);
}

async fn a_repeat_is_not_announced_again(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let mut node = stores.node("gw").await;
    stores.attach(&alice, &node.location("phone")).await;
    let notes = ConversationId::direct(&alice, &alice);
    stores.done(keyed(&alice, &notes, "first", "m-1")).await;
    stores.post(keyed(&alice, &notes, "repeat", "m-1")).await;
    stores.done(keyed(&alice, &notes, "second", "m-2")).await;
    assert_eq!(node.announcement().await.seq, 1);
    assert_eq!(node.announcement().await.seq, 2);
}

async fn a_refused_post_is_not_announced(kind: Kind) {
    let stores = kind.open().await;
    let (alice, mallory) = (stores.user("alice"), stores.user("mallory"));
    let mut node = stores.node("gw").await;
    stores.attach(&alice, &node.location("phone")).await;
    let notes = ConversationId::direct(&alice, &alice);
    stores.post(message(&mallory, &notes, "refused")).await;
    stores.done(message(&alice, &notes, "accepted")).await;
    assert_eq!(text(node.announcement().await.entry.as_ref().unwrap()).unwrap(), "accepted");
}

async fn a_detached_session_is_not_announced_to(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let mut node = stores.node("gw").await;
    let phone = node.location("phone");
    stores.attach(&alice, &phone).await;
    stores.attach(&bob, &node.location("phone")).await;
    let detach = store::model::Detach { user: alice.clone(), session: phone.session };
    stores.one.detach(vec![detach]).await.unwrap();
    stores.send(&bob, &alice, "hi").await;
    let users: Vec<_> = targets(&node.announcement().await).into_iter().map(|(user, _)| user).collect();
    assert_eq!(users, [bob]);
}

async fn a_change_is_announced_to_members_before_and_after(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob]).await;
    let mut node = stores.node("gw").await;
    for user in [&alice, &bob, &carol] {
        stores.attach(user, &node.location("phone")).await;
    }
    let change = Change { add: vec![carol.clone()], remove: vec![bob.clone()], ..Default::default() };
    stores.change(&alice, &group, change).await;
    let heard = node.announcement().await;
    assert_eq!(heard.seq, 0);
    let expected: Vec<_> = [(&alice, 2), (&bob, 2), (&carol, 1)]
        .map(|(user, position)| (user.clone(), proto::Position(position)))
        .into();
    assert_eq!(targets(&heard), expected);
}

async fn a_batch_is_announced_in_order(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let mut node = stores.node("gw").await;
    stores.attach(&bob, &node.location("phone")).await;
    let conversation = ConversationId::direct(&alice, &bob);
    let batch = (1..=20).map(|n| message(&alice, &conversation, &n.to_string())).collect();
    stores.one.post(batch).await.unwrap();
    for seq in 1..=20 {
        let heard = node.announcement().await;
        assert_eq!(heard.seq, seq);
        assert_eq!(targets(&heard), [(bob.clone(), proto::Position(seq))]);
    }
}

async fn notices_reach_their_nodes(kind: Kind) {
    let stores = kind.open().await;
    let mut node = stores.node("gw").await;
    let notice = |user: &str| Notice {
        users: vec![user.into()],
        what: Some(notice::What::Typing(Typing { conversation: "a~b".into(), user: "a".into() })),
        ..Default::default()
    };
    let gone = NodeIncarnation::new("gone").unwrap();
    let notices = vec![(gone, notice("x")), (node.id.clone(), notice("y")), (node.id.clone(), notice("z"))];
    stores.two.publish(notices).await.unwrap();
    assert_eq!(node.notice().await, notice("y"));
    assert_eq!(node.next().await, What::Notice(notice("z")));
}

async fn a_posts_trace_is_announced_beside_its_entry(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    let mut node = stores.node("gw").await;
    stores.attach(&bob, &node.location("phone")).await;
    let traced =
        |post: Post, trace: &'static str| Post { trace: Bytes::from_static(trace.as_bytes()), ..post };
    let batch = vec![
        message(&alice, &conversation, "one"),
        traced(message(&alice, &conversation, "two"), "of two"),
        message(&alice, &conversation, "three"),
    ];
    let two = decoded(&batch[1]);
    stores.one.post(batch).await.unwrap();
    stores.done(traced(edit(&alice, &conversation, 2, "2"), "of the edit")).await;
    for trace in ["", "of two", "", "of the edit"] {
        assert_eq!(node.announcement().await.trace, trace);
    }
    let inbox = stores.inbox(&bob).await;
    assert_eq!(inbox[1].event.entry, two, "what is stored is the entry alone");
}
