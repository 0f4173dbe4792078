//! What became of all lines, and how it is told.

use std::{collections::HashMap, fmt::Write, time::Duration};

use super::ship::Outcome;
use crate::cli::terminal::{self, grouped};

/// Kinds of rejection that are told apart; further ones share a line.
const KINDS: usize = 200;

/// Kinds that are listed, most frequent first.
const LISTED_KINDS: usize = 10;

/// Line numbers given for each kind.
const EXAMPLES: usize = 3;

#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// Rejected lines whose message the collector did not list.
    unlisted: u64,
    kinds: HashMap<String, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    count: u64,
    /// `file:line` of the first ones.
    examples: Vec<String>,
}

impl Tally {
    /// Counts a batch of an input.
    pub fn add(&mut self, input: &str, outcome: Outcome) {
        self.accepted += outcome.accepted;
        self.duplicates += outcome.duplicates;
        self.rejected += outcome.unlisted + outcome.rejected.len() as u64;
        self.unlisted += outcome.unlisted;
        for rejection in outcome.rejected {
            let is_new = !self.kinds.contains_key(&rejection.message);
            let message = if is_new && self.kinds.len() >= KINDS { "other messages".into() } else { rejection.message };
            let kind = self.kinds.entry(message).or_default();
            kind.count += 1;
            if kind.examples.len() < EXAMPLES {
                kind.examples.push(format!("{input}:{}", rejection.line));
            }
        }
    }

    /// Lines that were answered for.
    pub fn lines(&self) -> u64 {
        self.accepted + self.duplicates + self.rejected
    }

    /// The final words.
    pub fn summary(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let rate = (self.lines() as f64 / seconds.max(0.001)) as u64;
        let mut text = format!(
            "{} lines in {seconds:.1} s ({} events/s): {} accepted, {} duplicates, {} rejected\n",
            grouped(self.lines()),
            grouped(rate),
            grouped(self.accepted),
            grouped(self.duplicates),
            grouped(self.rejected),
        );
        self.list_rejections(&mut text);
        text
    }

    fn list_rejections(&self, text: &mut String) {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then_with(|| a.cmp(b)));
        if !kinds.is_empty() {
            text.push_str("\nrejected:\n");
        }
        for (message, kind) in kinds.iter().take(LISTED_KINDS) {
            let message = terminal::cut(&terminal::clean(message), 300);
            let examples = terminal::clean(&kind.examples.join(", "));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:>8} × {message}\n           first at {examples}", grouped(kind.count));
        }
        if let Some((_, rest)) = kinds.split_at_checked(LISTED_KINDS).filter(|(_, rest)| !rest.is_empty()) {
            let count: u64 = rest.iter().map(|(_, kind)| kind.count).sum();
            let _ = writeln!(text, "{:>8} × {} further messages", grouped(count), rest.len());
        }
        if self.unlisted > 0 {
            let _ = writeln!(
                text,
                "{:>8} × not listed (the collector lists the first 100 of a batch; --batch 100 lists all)",
                grouped(self.unlisted)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::ship::Rejection;

    #[test]
    fn rejections_are_told_by_message_with_the_first_lines() {
        let mut tally = Tally::default();
        let rejection = |line| Rejection { line, message: "status: is \x1b[31mrequired".into() };
        let outcome =
            Outcome { accepted: 1200, duplicates: 3, rejected: (1..=5).map(rejection).collect(), unlisted: 2 };
        tally.add("a.ndjson", outcome);
        let text = tally.summary(Duration::from_secs(2));
        assert!(
            text.starts_with("1,210 lines in 2.0 s (605 events/s): 1,200 accepted, 3 duplicates, 7 rejected\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "5 × status: is \\u{1b}[31mrequired\n           first at a.ndjson:1, a.ndjson:2, a.ndjson:3\n"
            ),
            "{text}"
        );
        assert!(text.contains("2 × not listed"), "{text}");
    }

    #[test]
    fn messages_without_end_take_bounded_memory() {
        let mut tally = Tally::default();
        let rejected = (0..1000).map(|line| Rejection { line, message: format!("bad {line}") }).collect();
        tally.add("a", Outcome { rejected, ..Outcome::default() });
        assert!(tally.kinds.len() <= KINDS + 1);
        let text = tally.summary(Duration::from_secs(1));
        assert!(text.contains("800 × other messages") && text.contains("191 × 191 further messages"), "{text}");
    }
}
