//! The events of a request, and what else the account met around it, in order.

use crate::{
    console::view::{
        self, Markup,
        time::{Format, moment},
    },
    http::lookup::Request,
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
    at_ms: i64,
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
            }
        });
        let mut rows: Vec<Row> = own.chain(others).collect();
        rows.sort_by_key(|row| row.at_ms);
        let this = rows.iter().rposition(|row| row.is_own).unwrap_or(0);
        let first = this.saturating_sub(ROWS / 2).min(rows.len().saturating_sub(ROWS));
        let hidden = rows.len().saturating_sub(ROWS);
        let retries =
            found.related.iter().filter(|other| Some(other.fingerprint) == fingerprint && other.timestamp_ms > after);
        let summary = match retries.count() {
            0 => String::new(),
            count => format!("They tried again {} within ten minutes and met the same error.", times(count)),
        };
        Self {
            rows: rows.into_iter().skip(first).take(ROWS).collect(),
            hidden,
            has_account: latest.is_some_and(|event| !event.account_id.is_empty()),
            summary,
        }
    }
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
