//! The roles of a group's members.

use std::collections::BTreeMap;

use proto::{Role, UserId};

use crate::{Error, Result};

/// Who is an admin or a reader; everybody else is the owner or a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(BTreeMap<UserId, Role>);

impl Roles {
    /// The role of somebody who is in the group, and not its owner.
    pub fn of(&self, user: &UserId) -> Role {
        self.0.get(user).copied().unwrap_or_default()
    }

    /// Gives it to somebody; the owner's is not kept here.
    pub fn set(&mut self, user: &UserId, role: Role) {
        match role {
            Role::Admin | Role::Reader => self.0.insert(user.clone(), role),
            Role::Member | Role::Owner => self.0.remove(user),
        };
    }

    /// As stores keep it, `,user:letter` each: a script finds a user in it.
    pub(crate) fn to_text(&self) -> String {
        let letter = |role: &Role| if *role == Role::Admin { 'a' } else { 'r' };
        self.0.iter().map(|(user, role)| format!(",{user}:{}", letter(role))).collect()
    }

    /// Reads that text. Fails for any other form.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::Corrupt("the roles of a group".into());
        let one = |part: &str| {
            let (user, letter) = part.split_once(':').ok_or_else(wrong)?;
            let role = match letter {
                "a" => Role::Admin,
                "r" => Role::Reader,
                _ => return Err(wrong()),
            };
            Ok((UserId::parse(user).map_err(|_| wrong())?, role))
        };
        let parts = text.split(',').skip(1);
        if text.is_empty() || text.starts_with(',') {
            Ok(Self(parts.map(one).collect::<Result<_>>()?))
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[test]
    fn what_is_kept_is_who_differs() {
        let mut roles = Roles::default();
        assert_eq!((roles.to_text(), roles.of(&user("bob"))), (String::new(), Role::Member));
        roles.set(&user("carol"), Role::Reader);
        roles.set(&user("bob"), Role::Admin);
        assert_eq!(roles.to_text(), ",bob:a,carol:r");
        assert_eq!(Roles::parse(",bob:a,carol:r").unwrap(), roles);
        roles.set(&user("bob"), Role::Owner);
        roles.set(&user("carol"), Role::Member);
        assert_eq!(roles, Roles::parse("").unwrap());
    }

    #[test]
    fn what_is_no_text_of_roles_is_corrupt() {
        for text in ["bob:a", ",bob", ",bob:x", ",:a", ",bob:a,", ","] {
            assert!(Roles::parse(text).is_err(), "{text}");
        }
    }
}
