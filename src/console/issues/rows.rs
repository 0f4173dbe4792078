//! Issues as rows of a table.

use crate::{
    console::{
        Range,
        chart::spark,
        view::{Explore, Markup, badge, escape, issue_path, plural, state_tag, time::ago_of},
    },
    http::issues::IssueRow,
};

pub(super) fn cells(issue: &IssueRow, range: &Range, now_ms: i64) -> Vec<Markup> {
    let events = Explore::of(range).with("fingerprint", &issue.fingerprint);
    let name = format!(
        "<a href=\"{path}\">{title}</a><span class=\"under\">{badge} <code>{place}</code> {service}</span>",
        path = escape(&issue_path(&issue.fingerprint, range)),
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
