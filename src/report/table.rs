//! A query's answer as a table of plain text.

/// Cells beyond this are cut, and say so: a table is to be read, sqlite3 gives the whole.
const CELL_CHARS_MAX: usize = 100;

/// Columns as wide as their widest cell, a rule under the head, a line that counts the rows; `of`
/// is how many there are with those that are not shown.
pub(crate) fn render_table(columns: &[String], rows: &[Vec<String>], of: usize) -> String {
    let count = rows.len();
    let rows = rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect());
    let mut all: Vec<Vec<String>> = std::iter::once(columns.to_vec()).chain(rows).collect();
    let rule = widths(&all).into_iter().map(|width| "-".repeat(width)).collect();
    all.insert(1, rule);
    let mut out = render_columns(&all);
    let all = if of > count { format!(" of {of}") } else { String::new() };
    out.push_str(&format!("({count}{all} {})\n", if of == 1 { "row" } else { "rows" }));
    out
}

/// Rows of which each column is as wide as its widest cell; whole cells, without a rule.
pub(crate) fn render_columns(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

fn shown(cell: &str) -> String {
    let one_line = crate::kernel::escape_controls(cell.trim_end_matches('\n'));
    match one_line.char_indices().nth(CELL_CHARS_MAX) {
        None => one_line,
        Some((end, _)) => format!("{}...", &one_line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: &[&[&str]]) -> String {
        let owned = |cells: &[&str]| -> Vec<String> {
            cells.iter().map(|cell| (*cell).to_owned()).collect()
        };
        let rows: Vec<_> = rows.iter().map(|row| owned(row)).collect();
        render_table(&owned(columns), &rows, rows.len())
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let text = render_table(&["a".into()], &[vec!["1".into()]], 27);
        assert_eq!(text, "a\n-\n1\n(1 of 27 rows)\n");
    }

    #[test]
    fn tables() {
        let text = table(&["status", "n"], &[&["ok", "12"], &["critical", "1"]]);
        assert_eq!(text, "status    n\n--------  --\nok        12\ncritical  1\n(2 rows)\n");
        assert_eq!(table(&["a"], &[]), "a\n-\n(0 rows)\n");
        assert_eq!(
            table(&["a"], &[&["two\nlines\n"]]),
            "a\n------------\ntwo\\x0alines\n(1 row)\n"
        );
        let long = table(&["a"], &[&[&"é".repeat(500)]]);
        assert!(long.contains(&format!("{}...\n", "é".repeat(CELL_CHARS_MAX))));
    }
}
