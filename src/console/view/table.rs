//! Tables: a caption, headers that stay in sight, numbers on the right, cells that are markup.

use super::{Markup, escape};

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words, on the left.
    Text(&'static str),
    /// Numbers, on the right.
    Number(&'static str),
    /// Words that name the row.
    Row(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Number(title) | Self::Row(title) => title,
        }
    }
}

/// Past so many columns a narrow screen shows each row as a block, its cells with their titles, and not as a line.
const WIDE: usize = 3;

/// A table that scrolls sideways where the screen is narrow. `caption` says what it shows.
#[must_use]
pub fn scroll(caption: &str, columns: &[Column], rows: &[Vec<Markup>]) -> Markup {
    let caption = escape(caption);
    let head = |column: &Column| {
        let class = if matches!(column, Column::Number(_)) { " class=\"number\"" } else { "" };
        format!("<th scope=\"col\"{class}>{}</th>", escape(column.title()))
    };
    let heads = columns.iter().map(head).collect::<Vec<_>>().concat();
    let body = rows.iter().flat_map(|row| ["<tr>".to_owned(), cells(columns, row), "</tr>".to_owned()]);
    let body = body.collect::<Vec<_>>().concat();
    let class = if columns.len() > WIDE { " class=\"blocks\"" } else { "" };
    Markup::new(format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table{class}><caption class=\"hidden\">{caption}</caption>\
         <thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    ))
}

fn cells(columns: &[Column], row: &[Markup]) -> String {
    let is_wide = columns.len() > WIDE;
    let title = |title| if is_wide { format!(" data-title=\"{}\"", escape(title)) } else { String::new() };
    let cell = |(column, cell): (&Column, &Markup)| match column {
        Column::Text(text) => format!("<td{}>{cell}</td>", title(text)),
        Column::Number(text) => format!("<td class=\"number\"{}>{cell}</td>", title(text)),
        Column::Row(_) => format!("<th scope=\"row\">{cell}</th>"),
    };
    columns.iter().zip(row).map(cell).collect::<Vec<_>>().concat()
}

impl From<&str> for Markup {
    /// The text, escaped.
    fn from(text: &str) -> Self {
        Self::new(escape(text))
    }
}

impl From<String> for Markup {
    /// The text, escaped.
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_on_the_right_and_rows_have_names() {
        let columns = [Column::Row("Route"), Column::Number("Errors")];
        let html = scroll("Routes & more", &columns, &[vec!["/a<b>".into(), "5".into()]]);
        let html = html.as_str();
        assert!(html.contains("<caption class=\"hidden\">Routes &amp; more</caption>"), "{html}");
        assert!(html.contains("<th scope=\"row\">/a&lt;b&gt;</th><td class=\"number\">5</td>"), "{html}");
        assert!(html.contains("<th scope=\"col\" class=\"number\">Errors</th>"), "{html}");
    }

    #[test]
    fn cells_of_wide_tables_have_their_titles() {
        let columns = [Column::Row("a"), Column::Text("b"), Column::Text("c"), Column::Text("d"), Column::Number("e<")];
        let row = |cells: usize| vec!["x".into(); cells];
        let html = scroll("Wide", &columns, &[row(5)]);
        assert!(html.as_str().contains("<td class=\"number\" data-title=\"e&lt;\">x</td>"), "{html}");
        assert!(!scroll("Narrow", &columns[..3], &[row(3)]).as_str().contains("data-title"));
    }
}
