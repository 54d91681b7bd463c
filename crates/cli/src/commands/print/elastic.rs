//! Elastic tabstops, as Go's tabwriter lays out kubectl's descriptions.
//!
//! A cell ends with a tab; neighbouring lines that have a cell in the same column share its width. What stands after a
//! line's last tab belongs to no column.

const PADDING: usize = 2;

/// Text with tabs as text with aligned columns.
pub(crate) fn align(text: &str) -> String {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<Vec<&str>> = body.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut out = String::new();
    layout(&lines, &mut Vec::new(), &mut out);
    out
}

/// Lays out lines that share the columns in `widths`; each block of lines with one column more is laid out by itself.
fn layout(lines: &[Vec<&str>], widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has_column = |line: &Vec<&str>| column + 1 < line.len();
    let mut rest = lines;
    while !rest.is_empty() {
        let before = rest.iter().take_while(|line| !has_column(line)).count();
        rest[..before].iter().for_each(|line| write(line, widths, out));
        rest = &rest[before..];
        let block = rest.iter().take_while(|line| has_column(line)).count();
        let width = rest[..block].iter().map(|line| line[column].chars().count() + PADDING).max();
        if let Some(width) = width {
            widths.push(width);
            layout(&rest[..block], widths, out);
            widths.pop();
        }
        rest = &rest[block..];
    }
}

fn write(line: &[&str], widths: &[usize], out: &mut String) {
    for (column, cell) in line.iter().enumerate() {
        out.push_str(cell);
        if let Some(width) = widths.get(column) {
            out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn neighbouring_lines_share_columns() {
        let text = "Name:\tx\nNamespace:\tdefault\nLabels:\ta=b\n\tc=d\nConditions:\n  Type\tStatus\n  Ready \tTrue \n";
        let expected = "Name:       x\nNamespace:  default\nLabels:     a=b\n            c=d\nConditions:\n  Type    Status\n  Ready   True \n";
        assert_eq!(align(text), expected);
    }
}
