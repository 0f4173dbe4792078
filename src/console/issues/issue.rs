//! The page of one issue.

use askama::Template;

use crate::{
    console::{
        Layout, Range,
        chart::{Band, Mark, Stacked},
        view::{
            Column, Explore, Family, Markup, badge, field_name, plural, request_for, scroll, state_tag,
            time::{self, Format, ago_of, moment},
        },
    },
    event::catalog::Explanation,
    http::issues::{EventsOf, IssueDetail, IssueRow, SeenRelease},
    state::{Role, TokenInfo},
};

#[derive(Template)]
#[template(path = "issues/issue.html")]
pub(super) struct IssuePage {
    layout: Layout,
    title: Markup,
    badge: Markup,
    state: Markup,
    /// Why it is in this state, in a sentence.
    standing: String,
    fingerprint: String,
    place: Markup,
    service: Markup,
    first_seen: Markup,
    last_seen: Markup,
    /// Events and accounts of the range.
    events: Markup,
    accounts: String,
    range: String,
    chart: Markup,
    what: What,
    releases: Markup,
    environments: Markup,
    /// Who had most of it; absent for those who see no accounts.
    top_accounts: Option<Markup>,
    samples: Vec<Markup>,
    /// Whether the forms are theirs who look.
    may_resolve: bool,
    resolved: Option<ResolvedView>,
    /// What the release field proposes.
    last_release: Markup,
}

/// What the error is.
struct What {
    error: Markup,
    fields: Vec<FieldView>,
    exception: Markup,
    frame: Markup,
    meaning: Markup,
    solution: Markup,
}

struct FieldView {
    name: Markup,
    rule: Markup,
    message: Markup,
    documented: Option<bool>,
    cause: Markup,
    solution: Markup,
}

struct ResolvedView {
    at: Markup,
    by: Markup,
    in_release: Markup,
    comment: Markup,
}

pub(super) fn page(layout: Layout, detail: IssueDetail, range: &Range, token: &TokenInfo, now_ms: i64) -> IssuePage {
    let IssueDetail { issue, top_frame, releases, environments, top_accounts, newest: _, explanation } = detail;
    let events = Explore::of(range).with("fingerprint", &issue.fingerprint);
    let resolved = issue.resolved.as_ref().map(|resolved| ResolvedView {
        at: ago_of(&resolved.at, now_ms),
        by: resolved.by.as_str().into(),
        in_release: resolved.in_release.as_str().into(),
        comment: resolved.comment.as_str().into(),
    });
    IssuePage {
        title: issue.title.as_str().into(),
        badge: badge(issue.status),
        state: state_tag(issue.state),
        standing: standing(&issue),
        place: format!("{} {}", issue.method, issue.route).trim().into(),
        service: issue.service.as_str().into(),
        first_seen: ago_of(&issue.first_seen, now_ms),
        last_seen: ago_of(&issue.last_seen, now_ms),
        events: events.text(&plural(issue.count, "event", "events")),
        accounts: plural(issue.accounts, "account", "accounts"),
        range: range.words(),
        chart: chart(&issue, &releases),
        what: what(&issue, top_frame, explanation.as_ref()),
        releases: releases_table(&releases, &issue.fingerprint, now_ms),
        environments: counts("Environments", "Environment", "environment", &environments, &events),
        top_accounts: top_accounts.map(|accounts| counts("Accounts", "Account", "account_id", &accounts, &events)),
        samples: issue.samples.iter().map(|id| request_for(id, token)).collect(),
        may_resolve: token.has_any(&[Role::Support, Role::Sre]),
        resolved,
        last_release: issue.last_release.clone().unwrap_or_default().into(),
        fingerprint: issue.fingerprint,
        layout,
    }
}

fn standing(issue: &IssueRow) -> String {
    match issue.state {
        "regressed" => "It came back after it was resolved.".to_owned(),
        "new" => "It was never seen before the last 24 hours.".to_owned(),
        "resolved" => "It was not seen since it was resolved.".to_owned(),
        "escalating" => issue.escalation.as_ref().map_or_else(String::new, |why| {
            let usual = if why.high < 1.0 {
                "Usually it has none".to_owned()
            } else {
                format!("Usually it has {:.0} an hour, and rarely more than {:.0}", why.median, why.high)
            };
            format!("{} in the last hour. {usual}.", plural(why.last_hour, "event", "events"))
        }),
        _ => "It goes on as usual.".to_owned(),
    }
}

fn chart(issue: &IssueRow, releases: &[SeenRelease]) -> Markup {
    let step_ms = issue.trend.step.max(1) * 1000;
    let marks = releases
        .iter()
        .filter(|release| !release.release.is_empty())
        .filter_map(|release| Some(Mark { at_ms: time::parse(&release.first_seen)?, label: release.release.clone() }));
    let mut marks: Vec<_> = marks.collect();
    marks.sort_by_key(|mark| mark.at_ms);
    Stacked {
        id: "events",
        title: "Events over time".to_owned(),
        description: format!("{}, and the releases that had it first", plural(issue.count, "event", "events")),
        events: Explore::default().with("fingerprint", &issue.fingerprint),
        unit: format!("events per {}", time::per(step_ms)),
        from_ms: time::parse(&issue.trend.from).unwrap_or_default(),
        step_ms,
        bands: vec![Band { family: Family::of(issue.status), counts: issue.trend.events.clone() }],
        known: vec![true; issue.trend.events.len()],
        marks,
        ..Stacked::default()
    }
    .html()
}

fn what(issue: &IssueRow, frame: Option<String>, explanation: Option<&Explanation>) -> What {
    let known = |field: &str, rule: &str| {
        let fields = explanation.map_or(&[][..], |explanation| explanation.fields.as_slice());
        fields.iter().find(|one| one.field == field && one.rule == rule).cloned()
    };
    let fields = issue.fields.iter().map(|field| {
        let told = known(&field.field, &field.rule);
        FieldView {
            name: field_name(&field.field).into(),
            rule: field.rule.as_str().into(),
            message: told.as_ref().map(|told| told.message.as_str().into()).unwrap_or_default(),
            documented: told.as_ref().map(|told| told.documented),
            cause: told.as_ref().and_then(|told| told.cause.clone()).unwrap_or_default().into(),
            solution: told.and_then(|told| told.solution).unwrap_or_default().into(),
        }
    });
    let fields: Vec<_> = fields.collect();
    let status = explanation.filter(|_| fields.is_empty()).map(|explanation| &explanation.status);
    What {
        error: issue.error_template.as_str().into(),
        exception: issue.exception_type.as_str().into(),
        frame: frame.unwrap_or_default().into(),
        meaning: status.map(|status| status.meaning.as_str().into()).unwrap_or_default(),
        solution: status.map(|status| status.solution.as_str().into()).unwrap_or_default(),
        fields,
    }
}

fn releases_table(releases: &[SeenRelease], fingerprint: &str, now_ms: i64) -> Markup {
    if releases.is_empty() {
        return Markup::default();
    }
    let row = |seen: &SeenRelease| {
        let name = if seen.release.is_empty() { "none named".into() } else { seen.release.as_str().into() };
        let first_ms = time::parse(&seen.first_seen);
        let first = first_ms.map_or_else(Markup::default, |at| moment(at, Format::Minute));
        // The count is of all time, so are the events that it leads to.
        let link = Explore::between(first_ms.unwrap_or_default(), now_ms + 1);
        let link = link.with("fingerprint", fingerprint).with("release", &seen.release);
        vec![name, link.number(seen.count), first, ago_of(&seen.last_seen, now_ms)]
    };
    let columns =
        [Column::Row("Release"), Column::Number("Events"), Column::Text("First seen"), Column::Text("Last seen")];
    scroll("Releases that had it", &columns, &releases.iter().map(row).collect::<Vec<_>>())
}

/// Events by a name, each leading to its events.
fn counts(caption: &str, title: &'static str, parameter: &str, counts: &[EventsOf], events: &Explore) -> Markup {
    if counts.is_empty() {
        return Markup::default();
    }
    let row = |one: &EventsOf| {
        let name = if one.name.is_empty() { "none named".into() } else { one.name.as_str().into() };
        vec![name, events.clone().with(parameter, &one.name).number(one.count)]
    };
    let columns = [Column::Row(title), Column::Number("Events")];
    scroll(caption, &columns, &counts.iter().map(row).collect::<Vec<_>>())
}
