//! The places between the steps of a post, or of archiving, where tests let a router die.

use std::str::FromStr;

/// A place between two steps of a post, or of archiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Before anything is written.
    Begun,
    /// In the conversation's log, in nobody's inbox.
    Numbered,
    /// In the inboxes of the members of one bucket, not yet in the others'.
    FiledSome,
    /// In every inbox, answered to nobody.
    Filed,
    /// Announced, not answered.
    Announced,
    /// In the archive, and still in Redis.
    Copied,
}

impl Step {
    /// Every step, in order. A post in one call has `Begun`, `Filed` and
    /// `Announced`; `Copied` is the archive's.
    pub const ALL: [Self; 6] =
        [Self::Begun, Self::Numbered, Self::FiledSome, Self::Filed, Self::Announced, Self::Copied];

    /// As a flag names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Numbered => "numbered",
            Self::FiledSome => "filed-some",
            Self::Filed => "filed",
            Self::Announced => "announced",
            Self::Copied => "copied",
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|step| step.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|step| step.as_str()).collect();
            format!("`{text}` is no step; there are {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_comes_back_from_its_name() {
        for step in Step::ALL {
            assert_eq!(step.as_str().parse(), Ok(step));
        }
        assert!("later".parse::<Step>().unwrap_err().contains("filed-some"));
    }
}
