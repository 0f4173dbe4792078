//! Issues as rows of a table.

use crate::{
    console::{
        Range,
        chart::spark,
        view::{Explore, Markup, badge, escape, plural, state_tag, time::ago_of},
    },
    http::issues::IssueRow,
};

/// The page of an issue, over the same range.
fn path(issue: &IssueRow, range: &Range) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(range.params());
    let query = query.finish();
    let path = format!("/issues/{}", issue.fingerprint);
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

pub(super) fn cells(issue: &IssueRow, range: &Range, now_ms: i64) -> Vec<Markup> {
    let events = Explore::of(range).with("fingerprint", &issue.fingerprint);
    let name = format!(
        "<a href=\"{path}\">{title}</a><span class=\"under\">{badge} <code>{place}</code> {service}</span>",
        path = escape(&path(issue, range)),
        title = escape(&issue.title),
        badge = badge(issue.status),
        place = escape(format!("{} {}", issue.method, issue.route).trim()),
        service = escape(&issue.service),
    );
    vec![
        Markup::new(name),
        state_tag(issue.state),
        spark(&issue.trend.events, &format!("{}, {}", plural(issue.count, "event", "events"), range.words())),
        events.number(issue.count),
        events.number(issue.accounts),
        ago_of(&issue.first_seen, now_ms),
        ago_of(&issue.last_seen, now_ms),
    ]
}
