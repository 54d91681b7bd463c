//! Tables of aligned columns, as Go's tabwriter lays them out for kubectl.
//!
//! A column is as wide as its widest cell plus three blanks, and at least six. In a watch the widths of the rows
//! printed so far are kept.

const PADDING: usize = 3;
const WIDTH_MIN: usize = 6;

/// Rows waiting to be aligned.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    remembered: Vec<usize>,
}

impl Table {
    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The rows so far as text; widths are remembered for the rows that follow.
    pub(crate) fn flush(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        self.remembered.resize(columns.max(self.remembered.len()), 0);
        for row in &rows {
            // The last cell of a row ends no column and so counts for no width.
            for (column, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
                let width = (cell.chars().count() + PADDING).max(WIDTH_MIN);
                self.remembered[column] = self.remembered[column].max(width);
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                let blanks = self.remembered[column].saturating_sub(cell.chars().count());
                line.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_align_and_widths_are_remembered() {
        let mut table = Table::default();
        table.row(row(&["NAME", "A", "AGE"]));
        table.row(row(&["podinfo", "1", "4s"]));
        assert_eq!(table.flush(), "NAME      A     AGE\npodinfo   1     4s\n");
        table.row(row(&["x", "2", "5s"]));
        assert_eq!(table.flush(), "x         2     5s\n");
    }
}
