//! The roles of a group's members: docs/PROTOCOL.md §5.

use std::fmt;

/// What a member of a group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// Reads. What it does is acknowledge, mark as read, and take back what it wrote
    /// before.
    Reader,
    /// Writes, and adds members.
    #[default]
    Member,
    /// Also renames the group, takes back others' messages, and removes members and
    /// readers.
    Admin,
    /// Everything. A group has one.
    Owner,
}

/// The roles that members may be added with.
pub const ROLES_OF_NEW: [Role; 2] = [Role::Member, Role::Reader];

impl Role {
    /// Every role, from the one that may least.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Member, Self::Admin, Self::Owner];
    /// Their names.
    pub const NAMES: [&'static str; 4] = ["reader", "member", "admin", "owner"];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_by_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::parse(&role.to_string()), Some(role));
        }
        assert_eq!(Role::parse("Owner"), None);
        assert!(Role::Reader < Role::Member && Role::Member < Role::Admin && Role::Admin < Role::Owner);
    }
}
