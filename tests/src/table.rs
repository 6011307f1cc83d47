//! Tables that are kept as data: lines of fields between commas, the first of them the names of the columns. What begins
//! with `#` is a comment.

use std::fs;
use std::path::Path;

/// A table from `tests/data`.
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A row of it.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [String],
    cells: &'a [String],
}

impl Table {
    /// Reads one.
    ///
    /// # Panics
    /// When it is not there, or a row has another number of fields than there are columns.
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut rows: Vec<Vec<String>> = lines.map(|line| line.split(',').map(str::to_owned).collect()).collect();
        let columns = rows.remove(0);
        for row in &rows {
            assert_eq!(row.len(), columns.len(), "{name}: another number of fields than columns: {row:?}");
        }
        Self { columns, rows }
    }

    /// The rows, in their order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { columns: &self.columns, cells })
    }

    /// The columns from this one on.
    pub fn columns_from(&self, first: &str) -> &[String] {
        let at = self.columns.iter().position(|column| column == first).expect("a column of this name");
        &self.columns[at..]
    }
}

impl<'a> Row<'a> {
    /// What stands in a column.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn get(&self, column: &str) -> &'a str {
        let at = self.columns.iter().position(|name| name == column);
        &self.cells[at.unwrap_or_else(|| panic!("there is no column {column}"))]
    }
}
