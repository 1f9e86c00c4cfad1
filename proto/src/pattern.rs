//! Names and beginnings of names: which channels a token lets its user subscribe to,
//! and whose presence its user may see. Gateways and routers check them by the same
//! rules.

use std::sync::Arc;

use crate::id::{FormError, has_only_name_characters};

/// Patterns of one list at most.
pub const MAX_PATTERNS: usize = 100;

/// The longest name of a channel has 66 characters.
const MAX_CHARACTERS: usize = 66;
const RULE: FormError = FormError(
    "must be 1 to 66 characters of A-Z a-z 0-9 . _ @ -, with `*` at the end where it is the beginning of names, \
     or `*` alone",
);

/// A name, or the beginning of names: `c_team.*`; `*` is every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Checks the form.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if (1..=MAX_CHARACTERS).contains(&text.len()) && has_only_name_characters(name) {
            return Ok(Self(text.to_owned()));
        }
        Err(RULE)
    }

    /// The text that it was made of.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this name, or a beginning of it.
    pub fn has(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => self.0 == name,
        }
    }
}

impl std::str::FromStr for Pattern {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        Self::parse(text)
    }
}

/// The names of a list of patterns. The default is every name. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(Option<Arc<[Pattern]>>);

impl Names {
    /// The names of these patterns.
    pub fn of(patterns: impl IntoIterator<Item = Pattern>) -> Self {
        let patterns: Vec<Pattern> = patterns.into_iter().collect();
        let every = patterns.iter().any(|pattern| pattern.as_str() == "*");
        Self((!every).then(|| patterns.into()))
    }

    /// These names and those of more patterns.
    pub fn and(&self, more: Vec<Pattern>) -> Self {
        match &self.0 {
            Some(patterns) if !more.is_empty() => Self::of(patterns.iter().cloned().chain(more)),
            _ => self.clone(),
        }
    }

    /// Whether this is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.has(name)))
    }

    /// The patterns as texts; `*` for every name.
    pub fn texts(&self) -> Vec<String> {
        match &self.0 {
            Some(patterns) => patterns.iter().map(|pattern| pattern.0.clone()).collect(),
            None => vec!["*".to_owned()],
        }
    }

    /// Reads such texts again. Fails where one of them is no pattern.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, FormError> {
        Ok(Self::of(texts.into_iter().map(Pattern::parse).collect::<Result<Vec<_>, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_a_beginning_of_names() {
        let pattern = |text| Pattern::parse(text).unwrap();
        assert!(pattern("c_news").has("c_news") && !pattern("c_news").has("c_news2"));
        assert!(pattern("c_team.*").has("c_team.7") && !pattern("c_team.*").has("c_teams"));
        assert!(pattern("*").has("anything"));
        for wrong in ["", "a*b", "**", "a b", "c_é", &"x".repeat(67)] {
            assert_eq!(Pattern::parse(wrong), Err(RULE), "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_any_pattern_and_none_of_no_pattern() {
        let names = Names::parse(["c_news", "c_team.*"]).unwrap();
        assert!(names.has("c_news") && names.has("c_team.1") && !names.has("c_sport"));
        assert!(!Names::of([]).has("c_news"));
        assert!(Names::default().has("c_news"));
        let more = Names::of([]).and(vec![Pattern::parse("c_sport").unwrap()]);
        assert!(more.has("c_sport") && !more.has("c_news"));
        assert_eq!(names.and(vec![Pattern::parse("*").unwrap()]), Names::default());
        for names in [names, Names::default(), Names::of([])] {
            assert_eq!(Names::parse(names.texts().iter().map(String::as_str)), Ok(names));
        }
    }
}
