//! The form of what our own processes say to each other and store: one number
//! for links, the bus and stored data (ADR 0026). Clients do not see it; theirs is
//! docs/PROTOCOL.md.

use std::fmt;
use std::str::FromStr;

use crate::id::FormError;

/// A form. Two of one major are read by the same code: what differs are fields
/// and kinds that the older one passes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Form {
    /// Another one is not understood: the data must be converted, or left.
    pub major: u64,
    /// Counts additions. A new kind of entry is read by one minor and written only
    /// by the next, so that neighbours can work side by side.
    pub minor: u64,
}

/// The form of this build. Major 1 had no number in the store; major 2 had no sets
/// of what is to be archived. Minor 1 is the first that links and stores say.
pub const FORM: Form = Form { major: 3, minor: 1 };

/// Whoever says no form is of this one: the last build that said none.
pub const UNSAID: Form = Form { major: 3, minor: 0 };

/// The gRPC metadata in which gateway and router say their form when a link opens.
pub const HEADER: &str = "switchboard-form";

impl Form {
    /// Whether processes of these two forms work side by side.
    pub fn is_beside(self, other: Self) -> bool {
        self.major == other.major && self.minor.abs_diff(other.minor) <= 1
    }

    /// Whether this form reads data that were written in at most that one.
    pub fn reads(self, stored: Self) -> bool {
        self.major == stored.major && stored.minor <= self.minor + 1
    }
}

/// Fails where a process of this build does not work beside a peer that says this in
/// [`HEADER`] (nothing: it said none); `who` is what the peer is called.
pub fn greet(who: &str, said: Option<&str>) -> Result<(), String> {
    match said.map_or(Ok(UNSAID), str::parse::<Form>) {
        Ok(form) if FORM.is_beside(form) => Ok(()),
        Ok(form) => Err(format!(
            "the {who} has form {form}, and this release, of form {FORM}, does not work beside it: upgrade one release after the other"
        )),
        Err(why) => Err(format!("the form of the {who} {why}")),
    }
}

impl FromStr for Form {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let numbers = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }));
        numbers.ok_or(FormError("must be two numbers with a point between them"))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        text.parse().unwrap()
    }

    #[test]
    fn neighbours_of_one_major_work_side_by_side_and_no_others() {
        for other in ["3.4", "3.5", "3.6"] {
            assert!(form("3.5").is_beside(form(other)), "{other}");
        }
        for other in ["3.3", "3.7", "2.5", "4.5"] {
            assert!(!form("3.5").is_beside(form(other)), "{other}");
        }
    }

    #[test]
    fn data_of_the_next_minor_are_read_and_all_older_ones_of_the_major() {
        for stored in ["3.0", "3.4", "3.5", "3.6"] {
            assert!(form("3.5").reads(form(stored)), "{stored}");
        }
        for stored in ["3.7", "2.0", "4.0"] {
            assert!(!form("3.5").reads(form(stored)), "{stored}");
        }
    }

    #[test]
    fn a_peer_of_the_next_minor_or_one_that_says_none_is_taken_and_a_later_one_refused() {
        let Form { major, minor } = FORM;
        let said = |major: u64, minor: u64| greet("router", Some(&format!("{major}.{minor}")));
        assert!(said(major, minor + 1).is_ok());
        assert!(greet("router", None).is_ok());
        for refused in [said(major, minor + 2), said(major + 1, minor)] {
            let why = refused.unwrap_err();
            assert!(why.contains("upgrade one release after the other"), "{why}");
        }
        assert!(greet("router", Some("a form of tomorrow")).is_err());
    }

    #[test]
    fn a_form_is_read_as_it_is_written() {
        assert_eq!(form(&FORM.to_string()), FORM);
        for wrong in ["", "3", "3.", ".1", "3.1.4", "three.one", "-3.1"] {
            assert!(wrong.parse::<Form>().is_err(), "{wrong}");
        }
    }
}
