//! Figures in rows and columns, several runs of each.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// A table; rows and columns stand in the order in which they first came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What its rows are: the head of their column.
    pub of: String,
    /// A line a workload, a transport, or a question.
    pub rows: Vec<Row>,
}

/// A row of a [`Table`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was run or asked: the row's first cell.
    pub name: String,
    /// The flags of `loadtest run` that bring it, where it is one run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub how: String,
    /// A figure for each column that was measured.
    pub cells: Vec<Cell>,
}

/// One figure, all of its runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The name of its column.
    pub column: String,
    /// The unit, as it is printed.
    pub unit: String,
    /// One value a run.
    pub values: Vec<f64>,
}

impl Table {
    /// An empty table.
    pub fn new(of: &str) -> Self {
        Self { of: of.to_owned(), rows: Vec::new() }
    }

    /// Adds the value of one run.
    pub fn add(&mut self, row: &str, column: &str, unit: &str, value: f64) {
        let row = self.row_mut(row);
        let index = row.cells.iter().position(|cell| cell.column == column).unwrap_or_else(|| {
            row.cells.push(Cell { column: column.to_owned(), unit: unit.to_owned(), values: Vec::new() });
            row.cells.len() - 1
        });
        row.cells[index].values.push(short(value));
    }

    /// The row of this name, made if it is not there.
    pub fn row_mut(&mut self, name: &str) -> &mut Row {
        let index = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name: name.to_owned(), ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    /// The figure at a row and a column.
    pub fn cell(&self, row: &str, column: &str) -> Option<&Cell> {
        let row = self.rows.iter().find(|known| known.name == row)?;
        row.cells.iter().find(|cell| cell.column == column)
    }

    /// The names of its columns.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        for cell in self.rows.iter().flat_map(|row| &row.cells) {
            if !columns.contains(&cell.column.as_str()) {
                columns.push(cell.column.as_str());
            }
        }
        columns
    }

    /// As Markdown: medians, and the range where there were several runs.
    pub fn markdown(&self) -> String {
        let columns = self.columns();
        let mut text = format!("| {} |", self.of);
        for column in &columns {
            let _ = write!(text, " {column} |");
        }
        let _ = write!(text, "\n| --- |{}\n", " ---: |".repeat(columns.len()));
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.name);
            for column in &columns {
                let cell = self.cell(&row.name, column).map_or("–".to_owned(), Cell::with_range);
                let _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
        text
    }
}

impl Cell {
    /// The middle value; of two middle ones their mean. Nothing without a run.
    pub fn median(&self) -> Option<f64> {
        let mut values = self.values.clone();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            even if even % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
            _ => Some(values[middle]),
        }
    }

    /// The median with its unit: `173 µs`, `13,900/s`.
    pub fn text(&self) -> String {
        let space = if self.unit.starts_with('/') { "" } else { " " };
        self.median().map_or("–".to_owned(), |median| format!("{}{space}{}", figure(median), self.unit))
    }

    /// The same with the lowest and the highest run: `173 µs (162 to 212)`.
    pub fn with_range(&self) -> String {
        if self.values.len() < 2 {
            return self.text();
        }
        let of = |pick: fn(f64, f64) -> f64| self.values.iter().copied().reduce(pick).map(figure);
        let (low, high) = (of(f64::min).unwrap_or_default(), of(f64::max).unwrap_or_default());
        format!("{} ({low} to {high})", self.text())
    }
}

/// Three digits, or more where the whole part has more; with commas.
fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let whole = text.split('.').next().unwrap_or_default().trim_start_matches('-').len();
    if whole < 5 {
        return text;
    }
    // Only whole numbers are as long as that.
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Four digits: more would be noise in the file.
fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("workload");
        for (own, other) in [(30.0, 100.0), (10.0, 50.0), (20.0, 80.0)] {
            table.add("direct", "switchboard", "µs", own);
            table.add("direct", "socket.io", "µs", other);
        }
        table.add("idle", "socket.io", "KiB", 4.0);
        table
    }

    #[test]
    fn figures_are_medians_with_their_range_and_what_is_missing_is_a_dash() {
        let text = table().markdown();
        assert_eq!(
            text,
            "| workload | switchboard | socket.io |\n| --- | ---: | ---: |\n\
             | direct | 20.0 µs (10.0 to 30.0) | 80.0 µs (50.0 to 100) |\n| idle | – | 4.00 KiB |\n"
        );
    }

    #[test]
    fn of_two_middle_values_the_mean_is_taken() {
        let cell = Cell { values: vec![4.0, 1.0], ..Cell::default() };
        assert_eq!(cell.median(), Some(2.5));
        assert_eq!(Cell::default().median(), None);
    }

    #[test]
    fn figures_have_as_many_digits_as_mean_something() {
        for (value, text) in [
            (0.0, "0"),
            (0.128, "0.13"),
            (9.999, "10.0"),
            (99.96, "100"),
            (1234.5, "1234"),
            (14_500.2, "14,500"),
        ] {
            assert_eq!(figure(value), text);
        }
        assert_eq!([short(123_456.0), short(0.012_345_6), short(0.0)], [123_500.0, 0.012_35, 0.0]);
    }
}
