//! The figures of all contenders, and ratios of their medians.

use super::Contender;
use crate::results::{Sheet, Table};

/// Rows are what is asked, columns the contenders.
#[derive(Debug)]
pub(super) struct Board {
    sheet: Sheet,
    table: Table,
}

impl Board {
    pub(super) fn new(rounds: usize) -> Self {
        Self { sheet: Sheet::today(rounds), table: Table::new("median of the rounds") }
    }

    /// One value of one round.
    pub(super) fn add(&mut self, whose: Contender, name: &str, unit: &str, value: f64) {
        self.table.add(name, whose.name(), unit, value);
    }

    /// A figure, if it was measured.
    pub(super) fn add_known(&mut self, whose: Contender, name: &str, unit: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.add(whose, name, unit, value);
        }
    }

    /// What a reader of the figures has to know.
    pub(super) fn note(&mut self, text: String) {
        self.sheet.note(text);
    }

    /// The version of a program that was compared.
    pub(super) fn version(&mut self, program: &str, version: String) {
        self.sheet.versions.insert(program.to_owned(), version);
    }

    /// All of it, with a column for each ratio.
    pub(super) fn finish(mut self, contenders: &[Contender]) -> Sheet {
        let median = |table: &Table, row: &str, whose: Contender| table.cell(row, whose.name())?.median();
        let rows: Vec<String> = self.table.rows.iter().map(|row| row.name.clone()).collect();
        for &own in contenders {
            for &rival in own.rivals() {
                for row in &rows {
                    let (Some(mine), Some(theirs)) =
                        (median(&self.table, row, own), median(&self.table, row, rival))
                    else {
                        continue;
                    };
                    if theirs > 0.0 {
                        let column = format!("{} ÷ {}", own.name(), rival.name());
                        self.table.add(row, &column, "×", mine / theirs);
                    }
                }
            }
        }
        self.sheet.tables.push(self.table);
        self.sheet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_and_only_of_what_both_have() {
        let mut board = Board::new(3);
        for (own, other) in [(30.0, 100.0), (10.0, 50.0), (20.0, 80.0)] {
            board.add(Contender::Switchboard, "CPU", "µs", own);
            board.add(Contender::SocketIo, "CPU", "µs", other);
        }
        board.add(Contender::Switchboard, "only here", "ms", 1.0);
        board.note("centrifugo left out".to_owned());
        board.note("centrifugo left out".to_owned());
        let sheet = board.finish(&[Contender::Switchboard, Contender::SocketIo]);
        let ratio =
            |row: &str| sheet.cell(row, "switchboard ÷ socket.io").ok().and_then(|cell| cell.median());
        assert_eq!((ratio("CPU"), ratio("only here")), (Some(0.25), None));
        assert_eq!(sheet.notes.len(), 1);
        let text = sheet.markdown();
        assert!(text.contains("| CPU | 20.0 µs (10.0 to 30.0) | 80.0 µs (50.0 to 100) | 0.25 × |"), "{text}");
    }
}
