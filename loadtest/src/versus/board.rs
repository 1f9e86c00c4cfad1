//! The figures of all servers: medians over the rounds, and ratios to the
//! floor and to Socket.IO.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::json;

use crate::workload::Kind;

/// Figures by name, in the order in which they first came.
#[derive(Debug, Default)]
pub struct Board {
    rows: Vec<Row>,
    /// What could not be measured, and why; each once.
    notes: Vec<String>,
}

#[derive(Debug)]
struct Row {
    name: String,
    unit: &'static str,
    /// A value a round.
    values: BTreeMap<Kind, Vec<f64>>,
}

impl Board {
    /// One value of one round.
    pub(super) fn add(&mut self, kind: Kind, name: &str, unit: &'static str, value: f64) {
        let index = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name: name.to_owned(), unit, values: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[index].values.entry(kind).or_default().push(value);
    }

    /// A figure, if it was measured.
    pub(super) fn add_known(&mut self, kind: Kind, name: &str, unit: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.add(kind, name, unit, value);
        }
    }

    /// Something that a reader of the figures has to know.
    pub(super) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.rows.iter().flat_map(|row| row.values.keys().copied()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}

impl Row {
    fn median(&self, kind: Kind) -> Option<f64> {
        median(self.values.get(&kind)?)
    }

    /// This project's figure as a multiple of another's.
    fn ratio(&self, to: Kind) -> Option<f64> {
        let (own, other) = (self.median(Kind::Switchboard)?, self.median(to)?);
        (other > 0.0).then_some(own / other)
    }
}

/// The middle one; of two middle ones their mean.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds();
        write!(f, "{:44}", "median of the rounds")?;
        for kind in &kinds {
            write!(f, "{:>13}", kind.name())?;
        }
        writeln!(f, "{:>12}{:>12}", "÷ socket.io", "÷ relay")?;
        for row in &self.rows {
            write!(f, "{:44}", format!("{}, {}", row.name, row.unit))?;
            for kind in &kinds {
                write!(f, "{:>13}", row.median(*kind).map_or("–".to_owned(), figure))?;
            }
            for other in [Kind::SocketIo, Kind::Relay] {
                write!(f, "{:>12}", row.ratio(other).map_or("–".to_owned(), |ratio| format!("{ratio:.2}")))?;
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

impl Serialize for Board {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let by_name = |of: &dyn Fn(Kind) -> serde_json::Value| {
                    row.values.keys().map(|kind| (kind.name(), of(*kind))).collect::<BTreeMap<_, _>>()
                };
                json!({
                    "name": row.name,
                    "unit": row.unit,
                    "median": by_name(&|kind| json!(row.median(kind))),
                    "rounds": by_name(&|kind| json!(row.values.get(&kind))),
                    "to_socketio": row.ratio(Kind::SocketIo),
                    "to_relay": row.ratio(Kind::Relay),
                })
            })
            .collect();
        json!({"figures": rows, "notes": self.notes}).serialize(serializer)
    }
}

/// With as many digits as mean something.
fn figure(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_and_ratios_of_them() {
        let mut board = Board::default();
        for (own, other) in [(30.0, 100.0), (10.0, 50.0), (20.0, 80.0)] {
            board.add(Kind::Switchboard, "CPU", "µs", own);
            board.add(Kind::SocketIo, "CPU", "µs", other);
        }
        board.add(Kind::Switchboard, "only here", "ms", 1.0);
        board.note("centrifugo left out".to_owned());
        board.note("centrifugo left out".to_owned());
        let json = serde_json::to_value(&board).unwrap();
        assert_eq!(json["figures"][0]["median"]["switchboard"], 20.0);
        assert_eq!(json["figures"][0]["to_socketio"], 0.25);
        assert_eq!(json["figures"][1]["to_relay"], serde_json::Value::Null);
        assert_eq!(json["notes"].as_array().unwrap().len(), 1);
        let text = board.to_string();
        assert!(
            text.contains("0.25") && text.contains("80.00") && text.contains("note: centrifugo"),
            "{text}"
        );
    }

    #[test]
    fn of_two_middle_values_the_mean_is_taken() {
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
