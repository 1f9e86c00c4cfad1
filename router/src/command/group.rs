//! Groups: who may change what. The group is read, the change is decided, and it is
//! written only if the group is still as it was read. Otherwise it is read and
//! decided again.

use std::time::Duration;

use bytes::Bytes;
use daemon::Backoff;
use proto::role::ROLES_OF_NEW;
use proto::wire::{self, change, entry, reply};
use proto::{ConversationId, Role, Time, UserId, label};
use rustc_hash::FxHashSet;
use store::model::{Change, Conversation, Group, Member, Post, PostKind, PostResult, Roles, Version};

use super::{done, field, new_entry};
use crate::config::AddToGroups;
use crate::core::Core;
use crate::error::{Error, NO_CONVERSATION, Result};

/// How often a change is decided when others change the group at the same time.
/// With the pauses between it takes about a second.
const TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Makes a group. Its creator is its owner.
pub(crate) async fn create(core: &Core, by: UserId, create: wire::CreateGroup) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &create.conversation)?;
    if !conversation.is_group() {
        return Err(Error::BadRequest("`conversation` must be the id of a group".to_owned()));
    }
    check_name(&create.name)?;
    let members = distinct(std::iter::once(by.clone()).chain(users(core, &create.members)?));
    check_count(core, members.len())?;
    let change = Change {
        expect: Version(0),
        name: Some(create.name.clone()),
        owner: Some(by.clone()),
        roles: role_of_new(&create.role)?.map(|role| {
            let mut roles = Roles::default();
            members.iter().filter(|user| **user != by).for_each(|user| roles.set(user, role));
            roles
        }),
        add: members.clone(),
        remove: Vec::new(),
    };
    let created = wire::Change {
        kind: change::Kind::Created.into(),
        name: create.name,
        members: members.into_iter().map(Into::into).collect(),
        role: create.role,
        ..wire::Change::default()
    };
    let decision = Decision { change, entries: vec![created], service: create.service };
    decision.permit(core, &by).await?;
    match core.post(decision.post(&conversation, &by)).await? {
        PostResult::Done { .. } => {}
        // `Stale` or `NotMember`: this id is in use, for a group that this command
        // made before, or for somebody else's.
        _ => match state(core, &by, &conversation).await {
            Ok(state) if state.group.as_ref().is_some_and(|group| group.owner == by) => {
                core.store.settle(&conversation).await?;
            }
            Ok(_) | Err(Error::NotFound(_)) => {
                return Err(Error::Conflict("`conversation` is taken".to_owned()));
            }
            Err(error) => return Err(error),
        },
    }
    Ok(reply::Result::Created(wire::Created { conversation: conversation.into() }))
}

/// Lists the members of a conversation, also of a direct one.
pub(crate) async fn members(core: &Core, user: UserId, query: wire::Members) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &query.conversation)?;
    let state = state(core, &user, &conversation).await?;
    let role = |user: &UserId| state.group.as_ref().map(|group| group.role(user).to_string());
    let members = state.members.into_iter().map(|member| wire::Member {
        role: role(&member.user).unwrap_or_default(),
        user: member.user.into(),
        since: member.since.0,
        delivered_seq: member.delivered.0,
        read_seq: member.read.0,
    });
    Ok(reply::Result::Members(wire::MemberList {
        members: members.collect(),
        owner: state.group.map(|group| group.owner.into()).unwrap_or_default(),
    }))
}

/// A member adds others. For those who are members already nothing changes.
pub(crate) async fn add(core: &Core, by: UserId, add: wire::AddMembers) -> Result<reply::Result> {
    let named = distinct(users(core, &add.members)?.into_iter());
    if named.is_empty() {
        return Err(Error::BadRequest("`members` must name at least one user".to_owned()));
    }
    let (service, role) = (add.service, role_of_new(&add.role)?);
    change(core, &by, &add.conversation, |state, group| {
        if group.role(&by) == Role::Reader {
            return Err(Error::forbidden("a reader of a group adds nobody"));
        }
        let mut members: Vec<UserId> = state.members.iter().map(|member| member.user.clone()).collect();
        let present: FxHashSet<&UserId> = state.members.iter().map(|member| &member.user).collect();
        let new: Vec<UserId> = named.iter().filter(|user| !present.contains(user)).cloned().collect();
        if new.is_empty() {
            return Ok(None);
        }
        members.extend(new.iter().cloned());
        check_count(core, members.len())?;
        let added = wire::Change {
            kind: change::Kind::MembersAdded.into(),
            name: group.name.clone(),
            members: members.into_iter().map(Into::into).collect(),
            role: add.role.clone(),
            ..wire::Change::default()
        };
        let roles = role.map(|role| {
            let mut roles = group.roles.clone();
            new.iter().for_each(|user| roles.set(user, role));
            roles
        });
        let change = Change { add: new, roles, ..Change::default() };
        Ok(Some(Decision { change, entries: vec![added], service }))
    })
    .await
}

/// A member leaves, or one who may removes it.
pub(crate) async fn remove(core: &Core, by: UserId, remove: wire::RemoveMember) -> Result<reply::Result> {
    let user: UserId = field("user", &remove.user)?;
    change(core, &by, &remove.conversation, |state, group| {
        if user != by && group.role(&by) < Role::Admin {
            return Err(Error::forbidden("only the owner and admins remove others"));
        }
        if !state.members.iter().any(|member| member.user == user) {
            return Err(Error::NotFound("no such member"));
        }
        if user != by && group.role(&user) >= group.role(&by) {
            return Err(Error::forbidden("an admin removes members and readers"));
        }
        let removed = wire::Change {
            kind: change::Kind::MemberRemoved.into(),
            user: user.to_string(),
            ..wire::Change::default()
        };
        let mut change = Change { remove: vec![user.clone()], ..Change::default() };
        let mut entries = vec![removed];
        if group.role(&user) != Role::Member {
            let mut roles = group.roles.clone();
            roles.set(&user, Role::Member);
            change.roles = Some(roles);
        }
        if group.owner == user
            && let Some(heir) = heir(state, group)
        {
            // Before the removal, which is the last entry that the leaver gets.
            entries.insert(0, new_owner(heir));
            change.owner = Some(heir.clone());
            let mut roles = group.roles.clone();
            roles.set(heir, Role::Owner);
            change.roles = Some(roles);
        }
        Ok(Some(Decision { change, entries, service: false }))
    })
    .await
}

/// Who owns the group once its owner leaves: of those who may most, who has been there
/// longest.
fn heir<'a>(state: &'a Conversation, group: &Group) -> Option<&'a UserId> {
    let others = state.members.iter().map(|member| &member.user).filter(|user| **user != group.owner);
    // Of several the last one counts: from the newest to the oldest.
    others.rev().max_by_key(|user| group.role(user))
}

fn new_owner(user: &UserId) -> wire::Change {
    wire::Change {
        kind: change::Kind::OwnerChanged.into(),
        user: user.to_string(),
        ..wire::Change::default()
    }
}

/// The owner or an admin gives a member another role.
pub(crate) async fn set_role(core: &Core, by: UserId, set: wire::SetRole) -> Result<reply::Result> {
    let user: UserId = field("user", &set.user)?;
    let role = role_of(&set.role)?;
    change(core, &by, &set.conversation, |state, group| {
        let own = group.role(&by);
        if own < Role::Admin {
            return Err(Error::forbidden("only the owner and admins give roles"));
        }
        if !state.members.iter().any(|member| member.user == user) {
            return Err(Error::NotFound("no such member"));
        }
        let before = group.role(&user);
        if before == role {
            return Ok(None);
        }
        if own == Role::Admin && (before >= Role::Admin || role >= Role::Admin) {
            return Err(Error::forbidden("an admin makes members readers, and readers members"));
        }
        if user == by {
            return Err(Error::Conflict("a group has an owner: make another one the owner".to_owned()));
        }
        let changed = |user: &UserId, role: Role| wire::Change {
            kind: change::Kind::RoleChanged.into(),
            user: user.to_string(),
            role: role.to_string(),
            ..wire::Change::default()
        };
        let (mut change, mut roles) = (Change::default(), group.roles.clone());
        roles.set(&user, role);
        let entries = match role {
            Role::Owner => {
                // Whoever gives the group away stays as an admin.
                roles.set(&by, Role::Admin);
                change.owner = Some(user.clone());
                vec![new_owner(&user), changed(&by, Role::Admin)]
            }
            role => vec![changed(&user, role)],
        };
        change.roles = Some(roles);
        Ok(Some(Decision { change, entries, service: false }))
    })
    .await
}

fn role_of(name: &str) -> Result<Role> {
    Role::parse(name)
        .ok_or_else(|| Error::BadRequest(format!("`role` must be one of {}", Role::NAMES.join(", "))))
}

/// The role of those who are added, unless they are members like others.
fn role_of_new(name: &str) -> Result<Option<Role>> {
    match name {
        "" => Ok(None),
        name => match role_of(name)? {
            Role::Member => Ok(None),
            role if ROLES_OF_NEW.contains(&role) => Ok(Some(role)),
            _ => Err(Error::BadRequest("`role` of those who are added must be member or reader".to_owned())),
        },
    }
}

/// The owner or an admin gives the group another name.
pub(crate) async fn rename(core: &Core, by: UserId, rename: wire::Rename) -> Result<reply::Result> {
    check_name(&rename.name)?;
    change(core, &by, &rename.conversation, |_, group| {
        if group.role(&by) < Role::Admin {
            return Err(Error::forbidden("only the owner and admins rename the group"));
        }
        if group.name == rename.name {
            return Ok(None);
        }
        let renamed = wire::Change {
            kind: change::Kind::Renamed.into(),
            name: rename.name.clone(),
            ..wire::Change::default()
        };
        let change = Change { name: Some(rename.name.clone()), ..Change::default() };
        Ok(Some(Decision { change, entries: vec![renamed], service: false }))
    })
    .await
}

/// The state of a conversation that the user is in. Fails with `NO_CONVERSATION`
/// for everyone else. A direct conversation is there for its two members before
/// its first message.
pub(crate) async fn state(core: &Core, user: &UserId, conversation: &ConversationId) -> Result<Conversation> {
    if !conversation.admits(user) {
        return Err(NO_CONVERSATION);
    }
    let mut states = core.store.conversations(std::slice::from_ref(conversation), None).await?;
    match (states.pop().flatten(), conversation.pair()) {
        (Some(state), _) if state.members.iter().any(|member| member.user == *user) => Ok(state),
        (None, Some((one, other))) => Ok(untouched(one, other)),
        _ => Err(NO_CONVERSATION),
    }
}

/// The state of a direct conversation without messages.
fn untouched(one: UserId, other: UserId) -> Conversation {
    let mut users = vec![one, other];
    users.dedup();
    let member = |user| Member {
        user,
        since: Default::default(),
        delivered: Default::default(),
        read: Default::default(),
    };
    Conversation {
        head: Default::default(),
        group: None,
        last_message: None,
        unread: 0,
        members: users.into_iter().map(member).collect(),
    }
}

/// A change of a group, and the entries that tell its members.
struct Decision {
    /// Its `expect` is set later, to the version that the decision was made on.
    change: Change,
    entries: Vec<wire::Change>,
    /// A backend decided it, by a token with the scope `service`.
    service: bool,
}

impl Decision {
    /// Fails when `by` may not add the users whom it adds (`--add-to-groups`).
    async fn permit(&self, core: &Core, by: &UserId) -> Result<()> {
        let added: Vec<&UserId> = self.change.add.iter().filter(|user| *user != by).collect();
        let Some(first) = added.first() else { return Ok(()) };
        match core.config.add_to_groups {
            AddToGroups::Anyone => Ok(()),
            _ if self.service => Ok(()),
            AddToGroups::Service => Err(Error::forbidden(format!(
                "to add {first} to a group the token needs the scope `service`"
            ))),
            AddToGroups::Contacts => {
                let direct: Vec<_> = added.iter().map(|user| ConversationId::direct(by, user)).collect();
                let talked = core.store.talked(&direct).await?;
                match added.iter().zip(talked).find(|(_, talked)| !talked) {
                    None => Ok(()),
                    Some((user, _)) => Err(Error::forbidden(format!(
                        "{user} can be added to a group once {by} and {user} have written to each other"
                    ))),
                }
            }
        }
    }

    fn post(self, conversation: &ConversationId, by: &UserId) -> Post {
        let time = Time::now();
        let entries = self.entries.into_iter().map(|change| new_entry(by, time, entry::What::Change(change)));
        Post {
            conversation: conversation.clone(),
            by: by.clone(),
            entries: entries.collect(),
            kind: PostKind::Change(self.change),
            trace: Bytes::new(),
        }
    }
}

/// Reads the group, decides, and writes; again when the group has changed in
/// between. `decide` gives `None` when nothing is to be changed.
async fn change(
    core: &Core,
    by: &UserId,
    conversation: &str,
    decide: impl Fn(&Conversation, &Group) -> Result<Option<Decision>>,
) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", conversation)?;
    let mut backoff = Backoff::from_zero(FIRST_PAUSE, LONGEST_PAUSE);
    for _ in 0..TRIES {
        let state = state(core, by, &conversation).await?;
        let Some(group) = &state.group else {
            return Err(Error::BadRequest("a direct conversation cannot be changed".to_owned()));
        };
        let Some(mut decision) = decide(&state, group)? else {
            // Perhaps this command did it before, and failed half way.
            core.store.settle(&conversation).await?;
            return Ok(done());
        };
        decision.permit(core, by).await?;
        decision.change.expect = group.version;
        match core.post(decision.post(&conversation, by)).await? {
            PostResult::Done { .. } => return Ok(done()),
            PostResult::NotMember => return Err(NO_CONVERSATION),
            _ => tokio::time::sleep(backoff.pause()).await,
        }
    }
    Err(Error::Unavailable("the group is being changed by many at once"))
}

fn check_name(name: &str) -> Result<()> {
    label::check_name(name).map_err(|rule| Error::field("name", rule))
}

fn check_count(core: &Core, members: usize) -> Result<()> {
    let most = core.config.max_group_members;
    if members > most {
        return Err(Error::Conflict(format!("a group has {most} members at most")));
    }
    Ok(())
}

/// As many as a group may have, before any of them is looked at.
fn users(core: &Core, names: &[String]) -> Result<Vec<UserId>> {
    check_count(core, names.len())?;
    names.iter().map(|name| field("members", name)).collect()
}

/// Each user once, in the order in which they come.
fn distinct(users: impl Iterator<Item = UserId>) -> Vec<UserId> {
    let mut seen = FxHashSet::default();
    users.filter(|user| seen.insert(user.clone())).collect()
}
