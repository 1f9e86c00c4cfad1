//! Groups: who may change what, what members are told, and races.

use proto::wire::{self, change::Kind, reply, request::Command};
use router::{AddToGroups, Config};

use crate::gateway::{Gateway, Running, change, create_group, names, send};

fn add(conversation: &str, members: &[&str]) -> Command {
    let (conversation, members) = (conversation.into(), names(members));
    Command::AddMembers(wire::AddMembers { conversation, members, role: String::new(), service: false })
}

fn user(name: &str) -> proto::UserId {
    proto::UserId::parse(name).unwrap()
}

fn remove(conversation: &str, user: &str) -> Command {
    Command::RemoveMember(wire::RemoveMember { conversation: conversation.into(), user: user.into() })
}

fn rename(conversation: &str, name: &str) -> Command {
    Command::Rename(wire::Rename { conversation: conversation.into(), name: name.into() })
}

fn members(conversation: &str) -> Command {
    Command::Members(wire::Members { conversation: conversation.into() })
}

#[tokio::test]
async fn the_creator_is_a_member_and_the_owner_and_all_are_told() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol", "bob", "alice"]).await;
    let (owner, list) = gateway.members("bob", &group).await;
    assert_eq!((owner.as_str(), list), ("alice", names(&["alice", "bob", "carol"])));
    for user in ["alice", "bob", "carol"] {
        let inbox = gateway.inbox(user).await;
        assert_eq!((inbox.len(), inbox[0].seq), (1, 0));
        let created = change(&inbox[0]);
        assert_eq!((created.kind(), created.name.as_str()), (Kind::Created, "tea"));
        assert_eq!(created.members, names(&["alice", "bob", "carol"]));
    }
}

#[tokio::test]
async fn creating_again_is_the_same_answer_and_one_group() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let command = create_group("tea", &["bob"]);
    let first = gateway.ask("alice", command.clone()).await;
    assert!(matches!(first, reply::Result::Created(_)), "{first:?}");
    assert_eq!(gateway.ask("alice", command.clone()).await, first);
    assert_eq!(gateway.inbox("bob").await.len(), 1);
    assert_eq!(gateway.refused("bob", command.clone()).await, "conflict");
    assert_eq!(gateway.refused("mallory", command).await, "conflict");
}

#[tokio::test]
async fn groups_of_the_wrong_form_are_refused() {
    let config = Config { max_group_members: 3, ..Config::default() };
    let router = Running::with(config).await;
    let mut gateway = router.connect().await;
    for (command, code) in [
        (create_group("", &["bob"]), "bad_request"),
        (create_group(&"ä".repeat(129), &["bob"]), "bad_request"),
        (create_group("tea\u{1b}[2J", &["bob"]), "bad_request"),
        (create_group("tea", &["not a user"]), "bad_request"),
        (create_group("tea", &["b", "c", "d"]), "conflict"),
        (
            Command::CreateGroup(wire::CreateGroup {
                name: "tea".into(),
                members: vec![],
                conversation: "alice~bob".into(),
                role: String::new(),
                service: false,
            }),
            "bad_request",
        ),
    ] {
        assert_eq!(gateway.refused("alice", command.clone()).await, code, "{command:?}");
    }
    gateway.group("alice", &"ä".repeat(128), &["b", "c"]).await;
}

/// The same command of a token with the scope `service`.
fn by_service(command: Command) -> Command {
    match command {
        Command::CreateGroup(create) => Command::CreateGroup(wire::CreateGroup { service: true, ..create }),
        Command::AddMembers(add) => Command::AddMembers(wire::AddMembers { service: true, ..add }),
        other => other,
    }
}

#[tokio::test]
async fn only_those_who_have_written_to_each_other_are_added_where_that_is_asked() {
    let config = Config { add_to_groups: AddToGroups::Contacts, ..Config::default() };
    let router = Running::with(config).await;
    let mut gateway = router.connect().await;
    // Who has written to alice, and to whom alice has written.
    for (from, to) in
        [("alice", "bob"), ("bob", "alice"), ("carol", "alice"), ("alice", "carol"), ("alice", "dave")]
    {
        let conversation = proto::ConversationId::direct(&user(from), &user(to));
        gateway.send(from, conversation.as_str(), "\"hi\"").await;
    }
    let group = gateway.group("alice", "tea", &["bob", "alice"]).await;
    gateway.done("alice", add(&group, &["carol", "bob"])).await;
    for (name, stranger) in [("who has not answered", "dave"), ("who has never been written to", "erin")] {
        for command in [create_group(name, &["bob", stranger]), add(&group, &["bob", stranger])] {
            let refusal = gateway.refusal("alice", command).await;
            assert_eq!(refusal.code, "forbidden", "{name}");
            assert!(refusal.message.contains(stranger), "{}", refusal.message);
        }
    }
    // It is whoever adds that counts, and a member is no new one.
    assert_eq!(gateway.refused("bob", add(&group, &["dave"])).await, "forbidden");
    gateway.done("bob", add(&group, &["carol"])).await;
    gateway.done("alice", by_service(add(&group, &["erin"]))).await;
    let (_, members) = gateway.members("bob", &group).await;
    assert_eq!(members, names(&["alice", "bob", "carol", "erin"]));
}

#[tokio::test]
async fn only_backends_add_to_groups_where_that_is_asked() {
    let config = Config { add_to_groups: AddToGroups::Service, ..Config::default() };
    let router = Running::with(config).await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "\"hi\"").await;
    gateway.send("bob", "alice~bob", "\"hi\"").await;
    let refusal = gateway.refusal("alice", create_group("tea", &["bob"])).await;
    assert_eq!(refusal.code, "forbidden");
    assert!(refusal.message.contains("bob"), "{}", refusal.message);
    let alone = gateway.group("alice", "alone", &[]).await;
    assert_eq!(gateway.refused("alice", add(&alone, &["bob"])).await, "forbidden");
    gateway.done("alice", by_service(add(&alone, &["bob"]))).await;
    let made = gateway.ask("alice", by_service(create_group("tea", &["bob"]))).await;
    assert!(matches!(made, reply::Result::Created(_)), "{made:?}");
}

#[tokio::test]
async fn any_member_adds_and_the_new_ones_see_what_comes_after() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    gateway.send("alice", &group, "1").await;
    gateway.done("bob", add(&group, &["carol", "alice", "carol"])).await;
    gateway.send("alice", &group, "2").await;

    let inbox = gateway.inbox("carol").await;
    assert_eq!(inbox.len(), 2);
    let added = change(&inbox[0]);
    assert_eq!((added.kind(), added.name.as_str()), (Kind::MembersAdded, "tea"));
    assert_eq!(added.members, names(&["alice", "bob", "carol"]));
    assert_eq!(inbox[1].seq, 2);
    let reply::Result::Members(list) = gateway.ask("carol", members(&group)).await else { panic!() };
    assert_eq!(list.members[2].since, 1);
}

#[tokio::test]
async fn adding_members_again_changes_nothing() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    gateway.done("alice", add(&group, &["bob", "alice"])).await;
    assert_eq!(gateway.inbox("bob").await.len(), 1);
    assert_eq!(gateway.refused("alice", add(&group, &[])).await, "bad_request");
    assert_eq!(gateway.refused("alice", add(&group, &["not a user"])).await, "bad_request");
}

#[tokio::test]
async fn one_member_too_many_is_a_conflict() {
    let config = Config { max_group_members: 3, ..Config::default() };
    let router = Running::with(config).await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    gateway.done("alice", add(&group, &["carol"])).await;
    assert_eq!(gateway.refused("alice", add(&group, &["dave"])).await, "conflict");
    gateway.done("alice", add(&group, &["carol", "bob"])).await;
}

#[tokio::test]
async fn the_owner_removes_and_others_do_not() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol"]).await;
    assert_eq!(gateway.refused("bob", remove(&group, "carol")).await, "forbidden");
    assert_eq!(gateway.refused("alice", remove(&group, "dave")).await, "not_found");
    assert_eq!(gateway.refused("alice", remove(&group, "not a user")).await, "bad_request");
    gateway.done("alice", remove(&group, "carol")).await;
    gateway.send("alice", &group, "1").await;

    let inbox = gateway.inbox("carol").await;
    let last = change(inbox.last().unwrap());
    assert_eq!((last.kind(), last.user.as_str()), (Kind::MemberRemoved, "carol"));
    assert_eq!(gateway.inbox("bob").await.len(), 3);
    assert_eq!(gateway.refused("carol", send(&group, "2")).await, "not_found");
}

#[tokio::test]
async fn when_the_owner_leaves_the_longest_member_owns_the_group() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["zoe"]).await;
    gateway.done("alice", add(&group, &["bob"])).await;
    gateway.done("alice", remove(&group, "alice")).await;
    assert_eq!(gateway.members("bob", &group).await, ("zoe".into(), names(&["zoe", "bob"])));

    let of_the_leaver = gateway.inbox("alice").await;
    let kinds: Vec<Kind> = of_the_leaver.iter().map(|event| change(event).kind()).collect();
    assert_eq!(kinds, [Kind::Created, Kind::MembersAdded, Kind::OwnerChanged, Kind::MemberRemoved]);
    assert_eq!(change(&of_the_leaver[2]).user, "zoe");
    assert_eq!(change(&of_the_leaver[3]).user, "alice");
    assert_eq!(gateway.inbox("bob").await.len(), 3);
}

#[tokio::test]
async fn when_the_last_member_leaves_the_group_is_gone() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    gateway.done("bob", remove(&group, "bob")).await;
    gateway.done("alice", remove(&group, "alice")).await;
    for command in [send(&group, "1"), members(&group), add(&group, &["bob"]), remove(&group, "alice")] {
        assert_eq!(gateway.refused("alice", command).await, "not_found");
    }
    let kinds: Vec<Kind> = gateway.inbox("alice").await.iter().map(|event| change(event).kind()).collect();
    assert_eq!(kinds, [Kind::Created, Kind::MemberRemoved, Kind::MemberRemoved]);
}

#[tokio::test]
async fn only_the_owner_renames() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    assert_eq!(gateway.refused("bob", rename(&group, "coffee")).await, "forbidden");
    assert_eq!(gateway.refused("alice", rename(&group, "")).await, "bad_request");
    gateway.done("alice", rename(&group, "coffee")).await;
    gateway.done("alice", rename(&group, "coffee")).await;
    let inbox = gateway.inbox("bob").await;
    assert_eq!(inbox.len(), 2);
    let renamed = change(&inbox[1]);
    assert_eq!((renamed.kind(), renamed.name.as_str()), (Kind::Renamed, "coffee"));
}

fn set_role(conversation: &str, user: &str, role: &str) -> Command {
    Command::SetRole(wire::SetRole {
        conversation: conversation.into(),
        user: user.into(),
        role: role.into(),
    })
}

fn readers(command: Command) -> Command {
    let role = "reader".to_owned();
    match command {
        Command::CreateGroup(create) => Command::CreateGroup(wire::CreateGroup { role, ..create }),
        Command::AddMembers(add) => Command::AddMembers(wire::AddMembers { role, ..add }),
        other => other,
    }
}

/// Each member with its role, in the order of joining.
async fn roles_of(gateway: &mut Gateway, by: &str, group: &str) -> Vec<String> {
    let reply::Result::Members(list) = gateway.ask(by, members(group)).await else { panic!() };
    list.members.iter().map(|member| format!("{} {}", member.user, member.role)).collect()
}

#[tokio::test]
async fn the_owner_gives_every_role_and_everybody_is_told() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol"]).await;
    gateway.done("alice", set_role(&group, "bob", "admin")).await;
    gateway.done("alice", set_role(&group, "carol", "reader")).await;
    gateway.done("alice", set_role(&group, "carol", "reader")).await;
    let roles = roles_of(&mut gateway, "carol", &group).await;
    assert_eq!(roles, ["alice owner", "bob admin", "carol reader"]);
    assert_eq!(gateway.refused("carol", send(&group, "1")).await, "forbidden");
    gateway.done("alice", set_role(&group, "bob", "owner")).await;
    let roles = roles_of(&mut gateway, "carol", &group).await;
    assert_eq!(roles, ["alice admin", "bob owner", "carol reader"]);
    let told = gateway.inbox("carol").await;
    let told: Vec<_> =
        told.iter().map(change).map(|it| (it.kind(), it.user.clone(), it.role.clone())).collect();
    let changed = |kind, user: &str, role: &str| (kind, user.to_owned(), role.to_owned());
    assert_eq!(
        told[1..],
        [
            changed(Kind::RoleChanged, "bob", "admin"),
            changed(Kind::RoleChanged, "carol", "reader"),
            changed(Kind::OwnerChanged, "bob", ""),
            changed(Kind::RoleChanged, "alice", "admin"),
        ]
    );
}

#[tokio::test]
async fn who_may_give_which_role() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol", "dave"]).await;
    gateway.done("alice", set_role(&group, "bob", "admin")).await;
    gateway.done("bob", set_role(&group, "carol", "reader")).await;
    for (by, user, role, code) in [
        // Of an admin.
        ("bob", "dave", "admin", "forbidden"),
        ("bob", "dave", "owner", "forbidden"),
        ("bob", "alice", "reader", "forbidden"),
        ("bob", "bob", "member", "forbidden"),
        // Of a member, and of a reader.
        ("dave", "carol", "member", "forbidden"),
        ("dave", "dave", "admin", "forbidden"),
        ("carol", "carol", "member", "forbidden"),
        // There is always an owner.
        ("alice", "alice", "member", "conflict"),
        ("alice", "zoe", "reader", "not_found"),
        ("alice", "dave", "king", "bad_request"),
        ("alice", "dave", "", "bad_request"),
        ("zoe", "dave", "reader", "not_found"),
    ] {
        assert_eq!(gateway.refused(by, set_role(&group, user, role)).await, code, "{by} {user} {role}");
    }
    gateway.done("bob", set_role(&group, "carol", "member")).await;
    assert_eq!(gateway.refused("alice", set_role("alice~bob", "bob", "reader")).await, "bad_request");
}

#[tokio::test]
async fn what_readers_members_and_admins_may_do_to_the_group() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "beth", "carol", "dave"]).await;
    for (user, role) in [("bob", "admin"), ("beth", "admin"), ("carol", "reader")] {
        gateway.done("alice", set_role(&group, user, role)).await;
    }
    for (by, command) in [
        ("carol", add(&group, &["zoe"])),
        ("carol", rename(&group, "coffee")),
        ("dave", rename(&group, "coffee")),
        ("dave", remove(&group, "carol")),
        ("bob", remove(&group, "beth")),
        ("bob", remove(&group, "alice")),
    ] {
        assert_eq!(gateway.refused(by, command.clone()).await, "forbidden", "{by} {command:?}");
    }
    gateway.done("bob", rename(&group, "coffee")).await;
    gateway.done("bob", remove(&group, "dave")).await;
    gateway.done("bob", remove(&group, "carol")).await;
    // Who comes back is a member like others.
    gateway.done("bob", add(&group, &["carol"])).await;
    gateway.done("beth", remove(&group, "beth")).await;
    assert_eq!(roles_of(&mut gateway, "carol", &group).await, ["alice owner", "bob admin", "carol member"]);
}

#[tokio::test]
async fn whoever_is_added_as_a_reader_is_one() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let create = readers(create_group("news", &["alice", "bob"]));
    let reply::Result::Created(created) = gateway.ask("alice", create).await else { panic!() };
    let group = created.conversation;
    gateway.done("alice", readers(add(&group, &["carol", "bob"]))).await;
    gateway.done("alice", add(&group, &["dave"])).await;
    let roles = roles_of(&mut gateway, "bob", &group).await;
    assert_eq!(roles, ["alice owner", "bob reader", "carol reader", "dave member"]);
    let told = gateway.inbox("bob").await;
    assert_eq!(
        told.iter().map(|event| change(event).role.clone()).collect::<Vec<_>>(),
        ["reader", "reader", ""]
    );
    for role in ["admin", "owner", "king"] {
        let Command::AddMembers(asked) = add(&group, &["zoe"]) else { panic!() };
        let asked = Command::AddMembers(wire::AddMembers { role: role.into(), ..asked });
        assert_eq!(gateway.refused("alice", asked).await, "bad_request");
    }
}

#[tokio::test]
async fn the_heir_is_who_may_most_and_was_there_longest() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol", "dave"]).await;
    gateway.done("alice", set_role(&group, "bob", "reader")).await;
    gateway.done("alice", set_role(&group, "dave", "admin")).await;
    gateway.done("alice", remove(&group, "alice")).await;
    assert_eq!(roles_of(&mut gateway, "bob", &group).await, ["bob reader", "carol member", "dave owner"]);
    gateway.done("dave", remove(&group, "dave")).await;
    assert_eq!(roles_of(&mut gateway, "bob", &group).await, ["bob reader", "carol owner"]);
    gateway.done("carol", remove(&group, "carol")).await;
    assert_eq!(roles_of(&mut gateway, "bob", &group).await, ["bob owner"]);
    gateway.send("bob", &group, "1").await;
}

#[tokio::test]
async fn a_direct_conversation_cannot_be_changed() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for command in [add("alice~bob", &["carol"]), remove("alice~bob", "alice"), rename("alice~bob", "tea")] {
        assert_eq!(gateway.refused("alice", command.clone()).await, "bad_request");
        assert_eq!(gateway.refused("carol", command).await, "not_found");
    }
    assert_eq!(gateway.members("bob", "alice~bob").await, (String::new(), names(&["alice", "bob"])));
}

#[tokio::test]
async fn to_those_outside_a_group_is_as_if_it_were_not_there() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    for group in [group.as_str(), "g_00000000000000000000000000"] {
        for command in [
            send(group, "1"),
            members(group),
            add(group, &["mallory"]),
            remove(group, "bob"),
            remove(group, "mallory"),
            rename(group, "mine"),
            Command::Typing(wire::SayTyping { conversation: group.into() }),
            Command::Read(wire::Read { conversation: group.into(), seq: 1 }),
            Command::History(wire::History { conversation: group.into(), ..Default::default() }),
        ] {
            let answer = gateway.ask("mallory", command.clone()).await;
            let reply::Result::Failure(failure) = answer else { panic!("{command:?}: {answer:?}") };
            assert_eq!(
                (failure.code.as_str(), failure.message.as_str()),
                ("not_found", "no such conversation"),
                "{command:?}"
            );
        }
    }
}

#[tokio::test]
async fn changes_that_race_are_all_made() {
    let router = Running::start().await;
    let mut one = router.connect().await;
    let mut other = router.in_process().await;
    let group = one.group("alice", "tea", &["bob"]).await;
    let users: Vec<String> = (0..24).map(|n| format!("user-{n:02}")).collect();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for pair in users.chunks(2) {
        first.push(one.post("alice", add(&group, &[&pair[0]])).await);
        second.push(other.post("bob", add(&group, &[&pair[1]])).await);
    }
    let mut made = 0;
    for (ids, gateway) in [(first, &mut one), (second, &mut other)] {
        for id in ids {
            match gateway.answer(id).await {
                reply::Result::Done(_) => made += 1,
                // Only ever when it has lost every one of its tries.
                reply::Result::Failure(failure) => assert_eq!(failure.code, "unavailable"),
                other => panic!("{other:?}"),
            }
        }
    }
    let (_, list) = one.members("alice", &group).await;
    assert_eq!(list.len(), 2 + made);
    // Every event tells of all who were members then: one more each time.
    let told: Vec<usize> = one.inbox("bob").await.iter().map(|event| change(event).members.len()).collect();
    assert_eq!(told, (2..=2 + made).collect::<Vec<_>>());
}

#[tokio::test]
async fn when_all_leave_at_once_each_heir_was_still_a_member() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol", "dave"]).await;
    let commands = ["alice", "bob", "carol", "dave"].map(|user| (user, remove(&group, user)));
    for id in gateway.post_all(commands.to_vec()).await {
        let answer = gateway.answer(id).await;
        assert!(matches!(answer, reply::Result::Done(_)), "{answer:?}");
    }
    for user in ["alice", "bob", "carol", "dave"] {
        let inbox = gateway.inbox(user).await;
        let last = change(inbox.last().unwrap());
        assert_eq!((last.kind(), last.user.as_str()), (Kind::MemberRemoved, user));
        let mut gone: Vec<String> = Vec::new();
        for event in &inbox {
            let change = change(event);
            match change.kind() {
                Kind::OwnerChanged => assert!(!gone.contains(&change.user), "{inbox:?}"),
                Kind::MemberRemoved => gone.push(change.user),
                _ => {}
            }
        }
        assert_eq!(gateway.refused(user, members(&group)).await, "not_found");
    }
}
