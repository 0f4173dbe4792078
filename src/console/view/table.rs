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
    Markup::new(format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table><caption class=\"hidden\">{caption}</caption>\
         <thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    ))
}

fn cells(columns: &[Column], row: &[Markup]) -> String {
    let cell = |(column, cell): (&Column, &Markup)| match column {
        Column::Text(_) => format!("<td>{cell}</td>"),
        Column::Number(_) => format!("<td class=\"number\">{cell}</td>"),
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
}
