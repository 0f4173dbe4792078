//! The events of a request, and what else the account met around it, in order.

use crate::{
    console::view::{
        self, Markup,
        time::{Format, moment},
    },
    http::lookup::{RELATED, Request},
};

/// Rows shown at once; those nearest to the request are.
const ROWS: usize = 30;

pub(super) struct Timeline {
    pub(super) rows: Vec<Row>,
    /// Rows that had no room.
    pub(super) hidden: usize,
    /// Whether there is an account whose requests are shown too.
    pub(super) has_account: bool,
    /// How often the customer tried again and met the same error, or what came of the request in a sentence.
    pub(super) summary: String,
}

pub(super) struct Row {
    pub(super) time: Markup,
    pub(super) badge: Markup,
    pub(super) place: String,
    /// Its page, unless it is this one.
    pub(super) link: String,
    pub(super) what: String,
    pub(super) is_own: bool,
    /// It stands for so many more like the one before it, of which it is the last.
    pub(super) more: usize,
    at_ms: i64,
    status: u16,
}

impl Timeline {
    pub(super) fn new(found: &Request) -> Self {
        let own = found.events.iter().map(|event| Row {
            at_ms: event.timestamp_ms,
            time: moment(event.timestamp_ms, Format::Clock),
            badge: view::badge(event.status),
            place: place(&event.method, &event.route),
            link: String::new(),
            what: "this request".to_owned(),
            is_own: true,
            more: 0,
            status: event.status,
        });
        let latest = found.events.last();
        let fingerprint = latest.map(|event| event.fingerprint);
        let after = latest.map_or(i64::MAX, |event| event.timestamp_ms);
        let others = found.related.iter().map(|other| {
            let is_same = Some(other.fingerprint) == fingerprint;
            let fields = if other.fields.is_empty() { String::new() } else { format!(": {}", other.fields.join(", ")) };
            let what = match (is_same, other.timestamp_ms > after) {
                (true, true) => "tried again, same error".to_owned(),
                (true, false) => "same error before".to_owned(),
                (false, _) => format!("{}{fields}", other.error.lines().next().unwrap_or_default()),
            };
            Row {
                at_ms: other.timestamp_ms,
                time: moment(other.timestamp_ms, Format::Clock),
                badge: view::badge(other.status),
                place: place(&other.method, &other.route),
                link: view::lookup_path(&other.request_id),
                what,
                is_own: false,
                more: 0,
                status: other.status,
            }
        });
        let mut rows: Vec<Row> = own.chain(others).collect();
        rows.sort_by_key(|row| row.at_ms);
        let mut rows = folded(rows);
        let this = rows.iter().rposition(|row| row.is_own).unwrap_or(0);
        let first = this.saturating_sub(ROWS / 2).min(rows.len().saturating_sub(ROWS));
        let hidden = rows.len().saturating_sub(ROWS);
        let rows = rows.drain(..).skip(first).take(ROWS).collect();
        let retries =
            found.related.iter().filter(|other| Some(other.fingerprint) == fingerprint && other.timestamp_ms > after);
        let summary = match retries.count() {
            0 => String::new(),
            count => {
                let least = if found.related.len() >= RELATED { "at least " } else { "" };
                format!("They tried again {least}{} within ten minutes and met the same error.", times(count))
            }
        };
        Self { rows, hidden, has_account: latest.is_some_and(|event| !event.account_id.is_empty()), summary }
    }
}

/// Puts the rows of a run together: the first is shown, the others are one row with their number.
fn folded(rows: Vec<Row>) -> Vec<Row> {
    let is_like =
        |a: &Row, b: &Row| !a.is_own && !b.is_own && a.status == b.status && a.place == b.place && a.what == b.what;
    let mut folded: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match folded.last_mut() {
            Some(last) if last.more > 0 && is_like(last, &row) => *last = Row { more: last.more + 1, ..row },
            Some(last) if is_like(last, &row) => folded.push(Row { more: 1, ..row }),
            _ => folded.push(row),
        }
    }
    folded
}

fn place(method: &str, route: &str) -> String {
    format!("{method} {route}").trim().to_owned()
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_ms: i64, what: &str, is_own: bool) -> Row {
        Row {
            time: Markup::default(),
            badge: Markup::default(),
            place: "POST /a/".to_owned(),
            link: String::new(),
            what: what.to_owned(),
            is_own,
            more: 0,
            at_ms,
            status: 429,
        }
    }

    #[test]
    fn runs_of_the_same_are_two_rows() {
        let rows = vec![
            row(1, "same", false),
            row(2, "this", true),
            row(3, "same", false),
            row(4, "same", false),
            row(5, "same", false),
            row(6, "other", false),
            row(7, "same", false),
        ];
        let told: Vec<_> = folded(rows).into_iter().map(|row| (row.at_ms, row.more)).collect();
        assert_eq!(told, [(1, 0), (2, 0), (3, 0), (5, 2), (6, 0), (7, 0)]);
    }
}
