//! What became of all lines, and how it is told.

use std::{collections::HashMap, fmt::Write, time::Duration};

use serde::{Deserialize, Serialize};

use super::ship::{Outcome, Rejection};
use crate::cli::terminal::{self, grouped};

/// Kinds of rejection that are told apart; further ones share a line.
const KINDS: usize = 200;

/// Kinds that are listed, most frequent first.
const LISTED_KINDS: usize = 10;

/// Line numbers given for each kind.
const EXAMPLES: usize = 3;

/// Longest message that is shown; one character more is kept, which tells that it was cut.
const MESSAGE: usize = 300;

#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: u64,
    pub duplicates: u64,
    rejections: Rejections,
    /// Rejections of runs that were interrupted; this one goes on where they stopped.
    earlier: u64,
}

/// Lines that were not taken, by message. Of bounded size: it is a part of the resume record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rejections {
    pub count: u64,
    /// Rejected lines whose message the collector did not list.
    unlisted: u64,
    kinds: HashMap<String, Kind>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kind {
    count: u64,
    /// `file:line` of the first ones.
    examples: Vec<String>,
}

impl Rejections {
    /// Counts the rejections of a batch of an input.
    pub fn add(&mut self, input: &str, listed: &[Rejection], unlisted: u64) {
        self.count += unlisted + listed.len() as u64;
        self.unlisted += unlisted;
        for rejection in listed {
            let message: String = rejection.message.chars().take(MESSAGE + 1).collect();
            let kind = self.kind(message);
            kind.count += 1;
            if kind.examples.len() < EXAMPLES {
                kind.examples.push(format!("{input}:{}", rejection.line));
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.unlisted += other.unlisted;
        for (message, theirs) in other.kinds {
            let kind = self.kind(message);
            kind.count += theirs.count;
            let room = EXAMPLES.saturating_sub(kind.examples.len());
            kind.examples.extend(theirs.examples.into_iter().take(room));
        }
    }

    fn kind(&mut self, message: String) -> &mut Kind {
        let is_new = !self.kinds.contains_key(&message);
        let message = if is_new && self.kinds.len() >= KINDS { "other messages".into() } else { message };
        self.kinds.entry(message).or_default()
    }
}

impl Tally {
    /// Counts a batch of an input.
    pub fn add(&mut self, input: &str, outcome: &Outcome) {
        self.accepted += outcome.accepted;
        self.duplicates += outcome.duplicates;
        self.rejections.add(input, &outcome.rejected, outcome.unlisted);
    }

    /// Takes over what an interrupted run had rejected.
    pub fn add_earlier(&mut self, rejections: Rejections) {
        self.earlier += rejections.count;
        self.rejections.merge(rejections);
    }

    /// Rejected lines, those of interrupted runs included.
    pub fn rejected(&self) -> u64 {
        self.rejections.count
    }

    /// Lines that were answered for in this run.
    pub fn lines(&self) -> u64 {
        self.accepted + self.duplicates + self.rejections.count - self.earlier
    }

    /// The final words.
    pub fn summary(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let rate = (self.lines() as f64 / seconds.max(0.001)) as u64;
        let mut text = format!(
            "{} lines in {seconds:.1} s ({}/s): {} accepted, {} duplicates, {} rejected\n",
            grouped(self.lines()),
            grouped(rate),
            grouped(self.accepted),
            grouped(self.duplicates),
            grouped(self.rejections.count - self.earlier),
        );
        if self.earlier > 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} more were rejected before the interruption", grouped(self.earlier));
        }
        self.rejections.list(&mut text);
        text
    }
}

impl Rejections {
    fn list(&self, text: &mut String) {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then_with(|| a.cmp(b)));
        if !kinds.is_empty() {
            text.push_str("\nrejected:\n");
        }
        for (message, kind) in kinds.iter().take(LISTED_KINDS) {
            let message = terminal::cut(&terminal::clean(message), MESSAGE);
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

    #[test]
    fn rejections_are_told_by_message_with_the_first_lines() {
        let mut tally = Tally::default();
        let rejection = |line| Rejection { line, message: "status: is \x1b[31mrequired".into() };
        let outcome =
            Outcome { accepted: 1200, duplicates: 3, rejected: (1..=5).map(rejection).collect(), unlisted: 2 };
        tally.add("a.ndjson", &outcome);
        let text = tally.summary(Duration::from_secs(2));
        assert!(text.starts_with("1,210 lines in 2.0 s (605/s): 1,200 accepted, 3 duplicates, 7 rejected\n"), "{text}");
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
        tally.add("a", &Outcome { rejected, ..Outcome::default() });
        assert!(tally.rejections.kinds.len() <= KINDS + 1);
        let text = tally.summary(Duration::from_secs(1));
        assert!(text.contains("800 × other messages") && text.contains("191 × 191 further messages"), "{text}");
    }
}
