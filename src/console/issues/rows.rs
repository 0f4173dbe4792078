//! Issues as rows of a table.

use crate::{
    console::{
        Range,
        chart::spark,
        view::{Explore, Markup, ago, badge, escape, plural, time},
    },
    http::issues::IssueRow,
};

/// The state of an issue or an alert, in a colour and always in words.
pub(super) fn state_tag(state: &str) -> Markup {
    let class = match state {
        "regressed" | "escalating" => " bad",
        "new" => " no",
        "resolved" => " yes",
        _ => "",
    };
    Markup::new(format!("<span class=\"tag{class}\">{}</span>", escape(state)))
}

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
    let when = |text: &str| time::parse(text).map_or_else(|| text.into(), |at| ago(at, now_ms));
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
        when(&issue.first_seen),
        when(&issue.last_seen),
    ]
}
