//! The catalog as a Markdown document.

use std::fmt::{self, Write};

use super::{Catalog, FieldEntry, PracticeKind, StatusEntry};

impl Catalog {
    /// The catalog as a document that people read: statuses, field messages by module, scenarios, practices.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a String does not fail.
        let _ = self.write_markdown(&mut page);
        page
    }

    fn write_markdown(&self, page: &mut String) -> fmt::Result {
        writeln!(page, "# {}: error reference\n", inline(&self.api.name))?;
        write!(page, "Version {}.", inline(&self.api.version))?;
        if !self.api.source.is_empty() {
            write!(page, " Source: {}.", inline(&self.api.source))?;
        }
        writeln!(page, "\n\n## Status codes\n")?;
        for status in &self.statuses {
            write_status(page, status)?;
        }
        if !self.fields.is_empty() {
            writeln!(page, "## Messages of fields\n")?;
        }
        for module in &self.modules {
            let fields: Vec<_> = self.fields.iter().filter(|field| field.module == module.name).collect();
            if !fields.is_empty() {
                let routes: Vec<_> = module.routes.iter().map(|route| format!("`{}`", code(route))).collect();
                writeln!(page, "### {}\n\n{}\n", inline(&module.title), routes.join(", "))?;
                write_fields(page, &fields)?;
            }
        }
        if !self.scenarios.is_empty() {
            writeln!(page, "## Scenarios\n")?;
        }
        for scenario in &self.scenarios {
            writeln!(
                page,
                "### {} ({})\n\n{}\n",
                inline(&scenario.title),
                scenario.status,
                inline(&scenario.solution)
            )?;
        }
        if !self.practices.is_empty() {
            writeln!(page, "## For those who write clients\n")?;
        }
        for practice in &self.practices {
            match practice.kind {
                PracticeKind::Practice => {
                    writeln!(page, "### {}\n\n{}\n", inline(&practice.title), inline(&practice.text))?;
                }
                PracticeKind::Tip => writeln!(page, "- {}\n", inline(&practice.text))?,
            }
            if !practice.code.is_empty() {
                let fence = fence_of(&practice.code);
                writeln!(page, "{fence}\n{}\n{fence}\n", practice.code.trim_end())?;
            }
        }
        Ok(())
    }
}

fn write_status(page: &mut String, status: &StatusEntry) -> fmt::Result {
    writeln!(
        page,
        "### {} {}\n\n{}.\n",
        status.code,
        inline(&status.title),
        inline(status.meaning.trim_end_matches('.'))
    )?;
    if !status.errors.is_empty() {
        let errors: Vec<_> = status.errors.iter().map(|error| format!("`{}`", code(error))).collect();
        writeln!(page, "Messages: {}\n", errors.join(", "))?;
    }
    for header in &status.headers {
        writeln!(page, "- `{}`: {}", code(&header.name), inline(&header.meaning))?;
    }
    if !status.headers.is_empty() {
        writeln!(page)?;
    }
    if !status.causes.is_empty() {
        writeln!(page, "Causes:\n")?;
        for cause in &status.causes {
            writeln!(page, "- {}", inline(cause))?;
        }
        writeln!(page)?;
    }
    if !status.solution.is_empty() {
        writeln!(page, "**Solution:** {}\n", inline(&status.solution))?;
    }
    Ok(())
}

fn write_fields(page: &mut String, fields: &[&FieldEntry]) -> fmt::Result {
    writeln!(page, "| field | message | meaning | rule | solution |\n|---|---|---|---|---|")?;
    for field in fields {
        let names: Vec<_> = field.fields.iter().map(|name| format!("`{}`", code(name))).collect();
        writeln!(
            page,
            "| {} | {} | {} | `{}` | {} |",
            names.join(", "),
            inline(&field.message),
            inline(&field.description),
            code(&field.rule),
            inline(&field.solution)
        )?;
    }
    writeln!(page)
}

/// A text on one line, with nothing in it that Markdown or HTML takes for its own.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        if matches!(character, '\\' | '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '#') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// A text within backticks and, perhaps, a table.
fn code(text: &str) -> String {
    text.replace('`', "'").replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A fence longer than any in the code.
fn fence_of(code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_a_document_with_every_entry() {
        let catalog = Catalog::builtin();
        let page = catalog.to_markdown();
        for status in catalog.statuses() {
            assert!(page.contains(&format!("### {} {}", status.code, inline(&status.title))), "{}", status.code);
        }
        for field in catalog.fields() {
            assert!(page.contains(&inline(&field.message)), "{}", field.message);
        }
        assert_eq!(page.matches("\n| `").count(), catalog.fields().len());
        assert!(page.contains("## Scenarios") && page.contains("## For those who write clients"));
    }

    #[test]
    fn no_text_breaks_out() {
        assert_eq!(inline("a | <b>\n*c*"), "a \\| \\<b\\> \\*c\\*");
        assert_eq!(code("a`b|c"), "a'b\\|c");
        assert_eq!(fence_of("```\nx"), "````");
    }
}
