//! Text of others made harmless for people's eyes: on a terminal, in a spreadsheet, on a page.

use std::{borrow::Cow, fmt::Write as _};

/// Characters of a cell.
const CELL_CHARS: usize = 32_000;

/// One line of untrusted text: control characters, line breaks and direction overrides are shown as escapes, so that a
/// payload can neither steer the terminal nor disguise itself.
#[must_use]
pub fn clean(text: &str) -> String {
    escape(text, |_| false)
}

/// As [`clean`], but line breaks stay.
#[must_use]
pub fn clean_text(text: &str) -> String {
    escape(text, |character| character == '\n')
}

/// As [`clean`], but line breaks and tabs stay: text of a page, or all of one.
#[must_use]
pub fn clean_page(text: &str) -> Cow<'_, str> {
    let stays = |character| matches!(character, '\n' | '\t');
    if text.chars().all(|character| stays(character) || !is_unsafe(character)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escape(text, stays))
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if is_unsafe(character) && !keep(character) {
            match character {
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                other => _ = write!(shown, "\\u{{{:x}}}", u32::from(other)), // writing to a String cannot fail
            }
        } else {
            shown.push(character);
        }
        shown
    })
}

/// JSON text for a terminal: what [`clean`] escapes is escaped here the JSON way, so the value stays the same.
#[must_use]
pub fn clean_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut shown, character| {
        if is_unsafe(character) && character != '\n' {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}"); // writing to a String cannot fail
            }
        } else {
            shown.push(character);
        }
        shown
    })
}

/// Whether a character steers or deceives: control characters (C0, DEL, C1), line and paragraph separators, direction marks
/// and overrides, invisible fillers, tags.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as a cell of CSV: on one line, quoted where need be, cut after 32,000 characters (spreadsheets take 32,767), and with a `'` before
/// what a spreadsheet would take for a formula.
#[must_use]
pub fn csv_cell(text: &str) -> String {
    let end = text.char_indices().nth(CELL_CHARS);
    let (shown, cut) = end.map_or((text, ""), |(at, _)| (&text[..at], "… (cut)"));
    // A spreadsheet that trims what it reads must not find a formula either.
    let begins_formula = shown.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || shown.starts_with(['\t', '\r', '\n']);
    // What would steer a terminal or turn the direction of writing is shown as an escape.
    let shown = clean(shown);
    let guard = if begins_formula { "'" } else { "" };
    if shown.contains(['"', ',']) || shown.starts_with(' ') || shown.ends_with(' ') {
        format!("\"{guard}{}{cut}\"", shown.replace('"', "\"\""))
    } else {
        format!("{guard}{shown}{cut}")
    }
}

/// A line of CSV (RFC 4180) of [such cells](csv_cell).
#[must_use]
pub fn csv_record(cells: &[impl AsRef<str>]) -> String {
    cells.iter().map(|text| csv_cell(text.as_ref())).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_as_the_standard_says() {
        assert_eq!(csv_record(&["a", "=b,c"]) + &csv_record(&[""]), "a,\"'=b,c\"\r\n\r\n");
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "\u{a0}=1"] {
            let cell = csv_cell(text);
            assert!(cell.trim_start_matches('"').starts_with('\''), "{text:?}: {cell:?}");
        }
        assert_eq!(csv_cell("=HYPERLINK(\"http://x\",\"y\")"), "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"");
        assert_eq!([csv_cell("a=1"), csv_cell(""), csv_cell("2026-11-17")], ["a=1", "", "2026-11-17"]);
    }

    #[test]
    fn cells_are_quoted_bounded_and_on_one_line() {
        assert_eq!(csv_cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(csv_cell("a\r\nb\u{1b}[31m\u{202e}"), "a\\r\\nb\\u{1b}[31m\\u{202e}");
        let long = csv_cell(&"ä".repeat(100_000));
        assert_eq!(long.chars().count(), CELL_CHARS + "… (cut)".chars().count());
    }

    #[test]
    fn hostile_text_is_inert() {
        assert_eq!(clean("\x1b[31mred\x1b]0;title\x07"), "\\u{1b}[31mred\\u{1b}]0;title\\u{7}");
        assert_eq!(clean("\u{9b}2J\u{7f}"), "\\u{9b}2J\\u{7f}");
        assert_eq!(clean("invoice\u{202e}gpj.exe"), "invoice\\u{202e}gpj.exe");
        assert_eq!(clean("a\r\nb\tc\u{2028}"), "a\\r\\nb\\tc\\u{2028}");
        assert_eq!(clean_text("a\nb\r"), "a\nb\\r");
        assert_eq!(clean_page("a\n\tb\r\u{202e}\u{feff}"), "a\n\tb\\r\\u{202e}\\u{feff}");
        assert_eq!(clean("Größe 日本 é 🙂"), "Größe 日本 é 🙂");
    }

    #[test]
    fn json_for_a_terminal_keeps_its_value() {
        let value = serde_json::json!({"a": "\u{9b}2J\u{202e}\u{7f}\x1b[0m\u{e0001}é"});
        let shown = clean_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!shown.chars().any(|character| is_unsafe(character) && character != '\n'), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
