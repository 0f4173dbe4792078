//! What reaches a person's terminal: printing, colour, columns. Text of others goes through [`clean`] first.

use std::io::{self, IsTerminal, Write as _};

use anstyle::{AnsiColor, Style};

pub use crate::inert::{clean, clean_json, clean_text};

/// Columns that human output keeps to.
pub const WIDTH: usize = 80;

/// Prints a result. A reader that went away (`| head`) is no failure.
pub fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print()`], for bytes.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Says something beside the result, on standard error. Without one there is nobody to tell.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    On,
    Off,
}

impl Colour {
    /// On for a terminal, unless `NO_COLOR` is set or the terminal is dumb; `CLICOLOR_FORCE` switches it on for pagers.
    pub fn of_stdout() -> Self {
        Self::decide(io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    fn decide(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is_forced = is_set("CLICOLOR_FORCE") && variable("CLICOLOR_FORCE").as_deref() != Some("0");
        let is_able = is_terminal && variable("TERM").as_deref() != Some("dumb");
        if !is_set("NO_COLOR") && (is_forced || is_able) { Self::On } else { Self::Off }
    }

    /// The text in a style, if colour is on. The text must be [`clean`].
    pub fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::On if !text.is_empty() => format!("{style}{text}{style:#}"),
            _ => text.to_owned(),
        }
    }
}

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();

/// The colour of a status family, as in the console.
pub fn status_style(status: u64) -> Style {
    let colour = match status {
        401 | 403 => AnsiColor::Magenta,
        404 => AnsiColor::BrightBlack,
        409 => AnsiColor::Cyan,
        429 => AnsiColor::Blue,
        500.. => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    colour.on_default().bold()
}

/// Columns a clean text takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Two for East Asian wide characters and pictographs, none for combining marks. An approximation by block.
fn char_columns(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f | 0x200c..=0x200d | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A clean text cut to a number of columns, with an ellipsis where it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += char_columns(character);
        if used > width {
            break;
        }
        shown.push(character);
    }
    shown.push('…');
    shown
}

/// A clean text padded to a number of columns.
pub fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rows of clean cells in columns, two spaces apart; the first row is the header.
pub fn table<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    rows.iter().fold(String::new(), |mut text, row| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| pad(cell, width)).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        text
    })
}

/// Breaks a clean text into lines of at most `width` columns, between words where it can.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            for character in word.chars() {
                if columns(&line) + char_columns(character) > width {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(character);
            }
        }
        lines.push(line);
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_and_no_color_wins() {
        let decide = |is_terminal, set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Colour::decide(is_terminal, move |name| set.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone()))
        };
        assert_eq!(decide(true, &[]), Colour::On);
        assert_eq!(decide(false, &[]), Colour::Off);
        assert_eq!(decide(true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]), Colour::Off);
        assert_eq!(decide(true, &[("NO_COLOR", "")]), Colour::On);
        assert_eq!(decide(false, &[("CLICOLOR_FORCE", "1")]), Colour::On);
        assert_eq!(decide(true, &[("TERM", "dumb")]), Colour::Off);
    }

    #[test]
    fn wrapped_lines_fit_and_lose_nothing() {
        let text = "one two three fourteen-characters-and-more 日本語 end";
        for width in 4..30 {
            let lines = wrap(text, width);
            assert!(lines.iter().all(|line| columns(line) <= width), "{width}: {lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
        assert_eq!(wrap("a\n\nb\n", 9), ["a", "", "b"]);
    }

    #[test]
    fn cut_text_says_so() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(columns(&cut("日本語日本語", 6)), 5);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
