//! Sorted sets: members in the order of their scores.

use std::collections::BTreeMap;

use super::database::Text;

/// A sorted set. Those of the store are small: they are sorted when they are read.
#[derive(Default, Clone)]
pub(super) struct Sorted {
    scores: BTreeMap<Text, f64>,
}

/// One end of a range of scores.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    score: f64,
    /// The score itself is not in the range.
    exclusive: bool,
}

impl Edge {
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let (exclusive, digits) = match text.strip_prefix(b"(") {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let score = score(digits).map_err(|_| "ERR min or max is not a float".to_owned())?;
        Ok(Self { score, exclusive })
    }
}

/// Reads a score.
pub(super) fn score(text: &[u8]) -> Result<f64, String> {
    let wrong = || "ERR value is not a valid float".to_owned();
    match std::str::from_utf8(text).map_err(|_| wrong())? {
        "+inf" | "inf" => Ok(f64::INFINITY),
        "-inf" => Ok(f64::NEG_INFINITY),
        digits => match digits.parse::<f64>() {
            Ok(score) if !score.is_nan() => Ok(score),
            _ => Err(wrong()),
        },
    }
}

/// A score as Redis writes it.
pub(super) fn text_of(score: f64) -> Text {
    if score.is_infinite() {
        return if score > 0.0 { b"inf".to_vec() } else { b"-inf".to_vec() };
    }
    // Below 2^53 in size a whole number has no digits behind the point.
    score.to_string().into_bytes()
}

impl Sorted {
    pub(super) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    /// Whether it is new. With `only_new` another score is not taken.
    pub(super) fn add(&mut self, member: &[u8], score: f64, only_new: bool) -> bool {
        let known = self.scores.contains_key(member);
        if !(known && only_new) {
            self.scores.insert(member.to_vec(), score);
        }
        !known
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> bool {
        self.scores.remove(member).is_some()
    }

    /// All, in their order.
    pub(super) fn all(&self) -> Vec<(&Text, f64)> {
        let mut all: Vec<(&Text, f64)> = self.scores.iter().map(|(member, score)| (member, *score)).collect();
        // The sort is stable: members of one score are in the order of their bytes.
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        all
    }

    /// Those of a range of scores, in their order.
    pub(super) fn between(&self, low: Edge, high: Edge) -> Vec<(&Text, f64)> {
        let above = |score: f64| if low.exclusive { score > low.score } else { score >= low.score };
        let below = |score: f64| if high.exclusive { score < high.score } else { score <= high.score };
        self.all().into_iter().filter(|(_, score)| above(*score) && below(*score)).collect()
    }
}
