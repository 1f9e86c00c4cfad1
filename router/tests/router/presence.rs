//! `presence`, who is told of it, and `kick`.

use proto::wire::{self, Notice, notice::What, reply, request::Command};

use crate::gateway::{Ear, Gateway, Running, names, soon};

fn ask_command(users: &[&str], watcher: Option<&Ear>) -> Command {
    let node = watcher.map_or_else(String::new, |ear| ear.node.to_string());
    Command::Presence(wire::AskPresence { users: names(users), node })
}

async fn ask(gateway: &mut Gateway, users: &[&str], watcher: Option<&Ear>) -> Vec<wire::Presence> {
    match gateway.ask("somebody", ask_command(users, watcher)).await {
        reply::Result::Presences(answer) => answer.presences,
        other => panic!("{other:?}"),
    }
}

async fn detach(gateway: &mut Gateway, user: &str, session: &str) {
    gateway.done(user, Command::Detach(wire::Detach { session: session.into() })).await;
}

/// The presences of the next envelope that has notices.
async fn presences(ear: &mut Ear) -> Vec<(String, bool, u64)> {
    let notices = ear.notices().await;
    notices.into_iter().filter_map(presence).map(|told| (told.user, told.online, told.last_seen)).collect()
}

fn presence(notice: Notice) -> Option<wire::Presence> {
    assert!(notice.users.is_empty() && notice.session.is_empty(), "for whoever watches");
    match notice.what {
        Some(What::Presence(presence)) => Some(presence),
        Some(What::NodeGone(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn users_are_answered_in_the_order_asked_and_last_seen_only_while_away() {
    let router = Running::start().await;
    let ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    let found = ask(&mut gateway, &["bob", "alice", "bob"], None).await;
    let flags: Vec<_> = found.iter().map(|one| (one.user.as_str(), one.online, one.last_seen)).collect();
    assert_eq!(flags, [("bob", false, 0), ("alice", true, 0), ("bob", false, 0)]);

    detach(&mut gateway, "alice", "s-1").await;
    let since = std::time::Instant::now();
    let away = soon("the end of the grace", async {
        loop {
            let found = ask(&mut gateway, &["alice"], None).await.remove(0);
            if !found.online {
                return found;
            }
            assert_eq!(found.last_seen, 0, "online");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let took = since.elapsed().as_millis();
    assert!(took > 4_500, "away after {took} ms");
    assert!(away.last_seen > 0);
}

#[tokio::test]
async fn of_a_user_with_thousands_of_watchers_each_node_is_told_once() {
    let router = Running::start().await;
    let mut ears = Vec::new();
    for number in 0..3 {
        ears.push(router.listen(&format!("gw-{number}")).await);
    }
    let mut gateway = router.connect().await;
    // However many sessions of a node watch.
    for _ in 0..50 {
        for ear in &ears {
            ask(&mut gateway, &["alice", "bob"], Some(ear)).await;
        }
    }
    let home = router.listen("gw-home").await;
    gateway.attach("alice", "phone", "s-1", &home).await;
    gateway.attach("alice", "laptop", "s-2", &home).await;
    gateway.attach("bob", "phone", "s-3", &home).await;
    for ear in &mut ears {
        let mut told = Vec::new();
        while told.len() < 2 {
            told.extend(presences(ear).await);
        }
        assert_eq!(told, [("alice".to_owned(), true, 0), ("bob".to_owned(), true, 0)]);
    }
    for (user, session) in [("alice", "s-1"), ("alice", "s-2"), ("bob", "s-3")] {
        detach(&mut gateway, user, session).await;
    }
    for ear in &mut ears {
        let mut told = Vec::new();
        while told.len() < 2 {
            told.extend(presences(ear).await);
        }
        let who: Vec<_> = told.iter().map(|(user, online, _)| (user.as_str(), *online)).collect();
        assert_eq!(who, [("alice", false), ("bob", false)]);
        assert!(told.iter().all(|(_, _, last_seen)| *last_seen > 0));
    }
}

#[tokio::test]
async fn whoever_comes_back_at_once_was_not_away_and_who_watches_no_more_is_told_nothing() {
    let router = Running::start().await;
    let (home, mut ear) = (router.listen("gw-home").await, router.listen("gw-1").await);
    let mut gateway = router.connect().await;
    for (user, session) in [("alice", "s-1"), ("bob", "s-2"), ("carol", "s-3")] {
        gateway.attach(user, "phone", session, &home).await;
    }
    ask(&mut gateway, &["alice", "bob", "carol"], Some(&ear)).await;
    let unwatch = wire::Unwatch { users: names(&["carol"]), node: ear.node.to_string() };
    gateway.done("somebody", Command::Unwatch(unwatch)).await;
    detach(&mut gateway, "alice", "s-1").await;
    gateway.attach("alice", "phone", "s-4", &home).await;
    detach(&mut gateway, "carol", "s-3").await;
    detach(&mut gateway, "bob", "s-2").await;
    // The first thing told is of the last one who left.
    let told = presences(&mut ear).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1), ("bob", false));
    gateway.attach("bob", "phone", "s-5", &home).await;
    assert_eq!(presences(&mut ear).await, [("bob".to_owned(), true, 0)]);
}

#[tokio::test]
async fn whoever_begins_to_watch_in_the_grace_is_told_when_it_is_over() {
    let router = Running::start().await;
    let (home, mut ear) = (router.listen("gw-home").await, router.listen("gw-1").await);
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &home).await;
    // Ends with its node: no router has seen the session end.
    drop(home);
    let found = ask(&mut gateway, &["alice"], Some(&ear)).await;
    assert!(found[0].online, "in the grace");
    let told = soon("the end of the grace", async {
        loop {
            if let Some(told) = presences(&mut ear).await.pop() {
                return told;
            }
        }
    })
    .await;
    assert_eq!((told.0.as_str(), told.1), ("alice", false));
}

#[tokio::test]
async fn living_nodes_are_told_of_those_that_died() {
    let router = Running::start().await;
    let mut ear = router.listen("gw-1").await;
    soon("a node that was missed", async {
        loop {
            // It lives for longer than the time between two looks.
            let other = router.listen("gw-2").await;
            let named = other.node.to_string();
            let quiet = tokio::time::timeout(std::time::Duration::from_millis(1_500), ear.notices()).await;
            assert!(quiet.is_err(), "nobody has died: {quiet:?}");
            drop(other);
            let heard = tokio::time::timeout(std::time::Duration::from_secs(3), ear.notices()).await;
            let Ok(mut notices) = heard else { continue };
            assert_eq!(notices.len(), 1);
            let Some(What::NodeGone(gone)) = notices.remove(0).what else { panic!("not that") };
            assert_eq!(gone.node, named);
            return;
        }
    })
    .await;
}

#[tokio::test]
async fn presence_of_the_wrong_form_is_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let many: Vec<String> = (0..501).map(|number| format!("u{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for command in [
        ask_command(&many, None),
        ask_command(&["a b"], None),
        Command::Presence(wire::AskPresence { users: names(&["a"]), node: "n n".into() }),
        Command::Unwatch(wire::Unwatch { users: names(&["a"]), node: String::new() }),
        Command::Kick(wire::Kick { device: "d d".into() }),
    ] {
        assert_eq!(gateway.refused("somebody", command).await, "bad_request");
    }
    assert_eq!(ask(&mut gateway, &many[1..], None).await.len(), 500);
}

#[tokio::test]
async fn whoever_is_kicked_is_told_on_each_node_and_nobody_else() {
    let router = Running::start().await;
    let (mut one, mut two) = (router.listen("gw-1").await, router.listen("gw-2").await);
    let mut gateway = router.connect().await;
    gateway.done("alice", Command::Kick(wire::Kick::default())).await;
    gateway.attach("alice", "phone", "s-1", &one).await;
    gateway.attach("alice", "laptop", "s-2", &two).await;
    gateway.attach("alice", "tablet", "s-3", &two).await;
    gateway.attach("bob", "phone", "s-4", &two).await;
    let kicked = |notice: &Notice| {
        assert!(matches!(notice.what, Some(What::Kicked(_))), "{notice:?}");
        assert_eq!(notice.users, ["alice"]);
        notice.session.clone()
    };
    gateway.done("alice", Command::Kick(wire::Kick { device: "tablet".into() })).await;
    assert_eq!(two.notices().await.iter().map(kicked).collect::<Vec<_>>(), ["s-3"]);
    gateway.done("alice", Command::Kick(wire::Kick::default())).await;
    assert_eq!(one.notices().await.iter().map(kicked).collect::<Vec<_>>(), ["s-1"]);
    assert_eq!(two.notices().await.iter().map(kicked).collect::<Vec<_>>(), ["s-2", "s-3"], "one envelope");
}
