//! Overview: is something wrong now, what is the shape of it, where, and is Errata itself well.

mod health;
mod shape;

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

use self::{health::Check, shape::Shape};
use super::{
    Layout, Range, Visit,
    chart::{Mark, Shade},
    layout::first_place,
    newest, render, see_other,
    view::{
        self, Column, Explore, Markup, percent, request_for, scroll, share,
        time::{ago, parse},
    },
};
use crate::{
    alerts::evidence::AccountShare,
    event::{FieldError, catalog::Catalog},
    http::{
        Shared,
        alerts::{self, Alert, Alerts},
        analyse::{ask_rates, ask_rates_and_first, default_step},
        answer::ApiError,
        audit::{Subject, about},
        operate::{Intake, intake},
        params::Params,
        unavailable,
    },
    state::{Role, TokenInfo},
    store::query::{Filter, IssueKind, NO_STEPS_S, RateKey, RatedSeries, ReleaseStart, Top, TopRow},
};

/// An account's part of an alert's events from which on it is worth a word: of an error that all meet, somebody always has the most.
const LARGE_SHARE: f64 = 0.2;

/// Rows of each list.
const ROWS: usize = 8;

/// Errors up to which the page shows at once whom they met.
const ACCOUNTS_AT_ONCE: u64 = 300_000;

/// New issues shown.
const NEW: usize = 6;

/// Releases marked in the chart.
const MARKS: usize = 12;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    layout: Layout,
    alerts: Vec<AlertLine>,
    /// Why alerts do not change.
    frozen: String,
    shape: Shape,
    /// Where errors are, if there are none in the range.
    newest: Option<Markup>,
    routes: Markup,
    services: Markup,
    accounts: Markup,
    /// Where the accounts are asked for by the page itself, because they take long.
    accounts_later: Option<String>,
    /// The newest kinds of error that were first seen in the range.
    issues: Vec<IssueLine>,
    checks: Vec<Check>,
}

#[derive(Template)]
#[template(path = "overview/accounts_page.html")]
struct AccountsPage {
    layout: Layout,
    accounts: Markup,
    back: String,
}

struct IssueLine {
    badge: Markup,
    words: String,
    place: String,
    path: String,
    events: Markup,
    since: Markup,
}

struct AlertLine {
    class: &'static str,
    state: &'static str,
    rule: String,
    summary: String,
    evidence: String,
    since: Option<Markup>,
    sample: Option<Markup>,
}

/// What is asked for the page.
struct Answers {
    alerts: Alerts,
    by_status: Vec<RatedSeries>,
    by_route: Vec<RatedSeries>,
    by_service: Vec<RatedSeries>,
    /// With how many events each has in the range.
    issues: Vec<(IssueKind, u64)>,
    releases: Vec<ReleaseStart>,
    intake: Intake,
}

/// `GET /`; who has no use for rates and alerts begins elsewhere.
pub(super) async fn overview(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    if let Some(place) = first_place(&token).filter(|_| !token.has_any(&[Role::Sre])) {
        about(subject, String::new); // nothing is shown
        return Ok(see_other(place));
    }
    let range = Range::read(&mut params, &visit);
    params.finish()?;
    let step_s = (default_step(range.length_ms()) / 1000).max(60) as u32;
    let answers = Box::pin(ask(&shared, &token.project, &range, step_s)).await?;
    let errors: u64 = answers.by_status.iter().map(|series| series.errors).sum();
    let accounts = match errors {
        0..=ACCOUNTS_AT_ONCE => ask_accounts(&shared, &token.project, &range).await?,
        _ => Top::default(),
    };
    let newest = match errors {
        0 => newest::outside(&shared, &token.project, &range, &visit, "The newest one").await?,
        _ => None,
    };
    let shades = shades(&answers.alerts.alerts, visit.now_ms);
    let marks = answers.releases.into_iter().map(mark).collect();
    let page = OverviewPage {
        newest,
        frozen: answers.alerts.frozen.clone().unwrap_or_default(),
        shape: Shape::new(&answers.by_status, &range, step_s, (shades, marks)),
        routes: top("Routes with most errors", &["service", "route"], &answers.by_route, errors, &range),
        services: top("Services with most errors", &["service"], &answers.by_service, errors, &range),
        accounts: top_accounts(&accounts, &range),
        accounts_later: (errors > ACCOUNTS_AT_ONCE).then(|| visit.elsewhere("/overview/accounts", &[])),
        issues: answers
            .issues
            .iter()
            .map(|(kind, events)| IssueLine::new(shared.catalog, kind, *events, &range, visit.now_ms))
            .collect(),
        checks: health::checks(&answers.intake),
        alerts: answers
            .alerts
            .alerts
            .into_iter()
            .filter_map(|alert| AlertLine::new(alert, &token, visit.now_ms))
            .collect(),
        layout: visit.layout("Overview").with_range(&range, &visit),
    };
    Ok(render(&page)?.into_response())
}

/// `GET /overview/accounts`: the accounts with most errors, by themselves; of many errors, the overview asks for them here when it is there.
pub(super) async fn accounts(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let range = Range::read(&mut params, &visit);
    params.finish()?;
    let page = AccountsPage {
        accounts: top_accounts(&ask_accounts(&shared, &token.project, &range).await?, &range),
        back: visit.elsewhere("/", &[]),
        layout: visit.layout("Accounts with most errors").with_range(&range, &visit),
    };
    Ok(render(&page)?.into_response())
}

async fn ask_accounts(shared: &Shared, project: &str, range: &Range) -> Result<Top, ApiError> {
    let filter = range.filter(Filter::default());
    let asked = shared.store.top(project, &filter, &[RateKey::Account], ROWS);
    shared.timed("top_accounts", asked).await.map_err(|error| unavailable(&error))
}

/// Everything at once: the page takes as long as the slowest of its questions.
async fn ask(shared: &Shared, project: &str, range: &Range, step_s: u32) -> Result<Answers, ApiError> {
    let filter = range.filter(Filter::default());
    let releases = async {
        let asked = shared.store.release_starts(project, (range.from_ms, range.to_ms), MARKS);
        shared.timed("release_starts", asked).await.map_err(|error| unavailable(&error))
    };
    let (alerts, by_status, (by_route, by_service), issues, releases, intake) = tokio::try_join!(
        alerts::standing(shared, project.to_owned()),
        ask_rates(shared, project, &filter, &[RateKey::Status], step_s),
        ask_rates_and_first(shared, project, &filter, &[RateKey::Service, RateKey::Route], NO_STEPS_S),
        new_issues(shared, project, (range.from_ms, range.to_ms)),
        releases,
        intake(shared),
    )?;
    Ok(Answers { alerts, by_status, by_route, by_service, issues, releases, intake })
}

/// The newest issues of a range, and how many events each has in it.
async fn new_issues(shared: &Shared, project: &str, range_ms: (i64, i64)) -> Result<Vec<(IssueKind, u64)>, ApiError> {
    let asked = async {
        let kinds = shared.store.new_issues(project, range_ms, NEW).await?;
        let events = shared.store.issue_counts(project, &kinds, range_ms).await?;
        let with_events = |kind: IssueKind| {
            let events = events.get(&kind.fingerprint).copied().unwrap_or(0);
            (kind, events)
        };
        Ok(kinds.into_iter().map(with_events).collect())
    };
    shared.timed("new_issues", asked).await.map_err(|error| unavailable(&error))
}

/// A release where it came to; production goes without saying.
fn mark(start: ReleaseStart) -> Mark {
    let label = match start.environment.as_str() {
        "" | "production" => start.release,
        other => format!("{} ({other})", start.release),
    };
    Mark { at_ms: start.at_ms, label }
}

/// The periods in which alerts fired.
fn shades(alerts: &[Alert], now_ms: i64) -> Vec<Shade> {
    let shade = |alert: &Alert| {
        let from_ms = alert.fired_at.as_deref().and_then(parse)?;
        let to_ms = alert.resolved_at.as_deref().and_then(parse).unwrap_or(now_ms);
        Some(Shade { from_ms, to_ms, label: format!("{}: {}", alert.rule, alert.summary) })
    };
    alerts.iter().filter_map(shade).collect()
}

impl IssueLine {
    fn new(catalog: &Catalog, kind: &IssueKind, events: u64, range: &Range, now_ms: i64) -> Self {
        let error = |(field, rule): (&String, &String)| FieldError {
            field: field.clone(),
            path: field.clone(),
            message: String::new(),
            rule: rule.clone(),
        };
        let errors: Vec<FieldError> = kind.fields.iter().zip(&kind.rules).map(error).collect();
        let headline = catalog.headline(&kind.route, kind.status, &kind.error_template, &errors);
        let exception =
            if kind.exception_type.is_empty() { String::new() } else { format!(": {}", kind.exception_type) };
        let fingerprint = format!("{:016x}", kind.fingerprint);
        Self {
            badge: view::badge(kind.status),
            words: format!("{headline}{exception}"),
            place: format!("{} {}", kind.service, kind.route).trim().to_owned(),
            events: Explore::of(range).with("fingerprint", &fingerprint).number(events),
            path: view::issue_path(&fingerprint, range),
            since: ago(kind.first_ms, now_ms),
        }
    }
}

impl AlertLine {
    /// None for those that have resolved.
    fn new(alert: Alert, token: &TokenInfo, now_ms: i64) -> Option<Self> {
        let class = match alert.state {
            "firing" => "bad",
            "pending" | "acknowledged" | "silenced" => "warn",
            _ => return None,
        };
        let evidence = alert.evidence.as_ref();
        let since = alert.fired_at.as_deref().unwrap_or(&alert.active_since);
        Some(Self {
            class,
            state: alert.state,
            rule: alert.rule,
            summary: alert.summary,
            evidence: evidence.map(|evidence| of_one_account(&evidence.accounts)).unwrap_or_default(),
            since: parse(since).map(|at| ago(at, now_ms)),
            sample: evidence.and_then(|evidence| evidence.samples.first()).map(|id| request_for(id, token)),
        })
    }
}

/// Who has a good part of an alert's events; empty if nobody has. The accounts come with the largest first.
fn of_one_account(accounts: &[AccountShare]) -> String {
    accounts
        .first()
        .filter(|one| one.share >= LARGE_SHARE)
        .map_or_else(String::new, |one| format!("One account, {}, is {} of it.", one.account, percent(one.share)))
}

/// What is shown where a share is not known; the words below the table say more.
const UNKNOWN: &str = "<span title=\"More errors than requests were reported\">not known</span>";

/// The labels with the most errors.
fn top(caption: &'static str, keys: &[&'static str], series: &[RatedSeries], errors: u64, range: &Range) -> Markup {
    let rows: Vec<Vec<Markup>> = series
        .iter()
        .filter(|series| series.errors > 0)
        .take(ROWS)
        .map(|series| {
            let label = |key: &str| series.labels.get(key).map_or("", String::as_str);
            let link = keys.iter().fold(Explore::of(range), |link, key| link.with(key, label(key)));
            let shown = keys.last().map_or("", |key| label(key));
            vec![
                link.text(if shown.is_empty() { "(not named)" } else { shown }),
                link.number(series.errors),
                percent(series.errors as f64 / errors.max(1) as f64).into(),
                match series.ratio.map(share) {
                    Some(Some(share)) => share.into(),
                    Some(None) => Markup::new(UNKNOWN.to_owned()),
                    None => "–".into(),
                },
            ]
        })
        .collect();
    let name = if keys.len() > 1 { "Route" } else { "Service" };
    let columns =
        [Column::Row(name), Column::Number("Errors"), Column::Number("Of all"), Column::Number("Of requests")];
    if rows.is_empty() {
        return Markup::default();
    }
    let table = scroll(caption, &columns, &rows);
    if rows.iter().flatten().all(|cell| cell.as_str() != UNKNOWN) {
        return table;
    }
    Markup::new(format!(
        "{table}<p class=\"faint below\">Of requests: not known where more errors than requests were reported.</p>"
    ))
}

fn top_accounts(accounts: &Top, range: &Range) -> Markup {
    let row = |row: &TopRow| {
        let account = row.labels.first().map_or("", String::as_str);
        let link = Explore::of(range).with("account_id", account);
        let share = percent(row.events as f64 / accounts.events.max(1) as f64);
        vec![link.text(account), link.number(row.events), share.into()]
    };
    let rows: Vec<_> = accounts.rows.iter().map(row).collect();
    if rows.is_empty() {
        return Markup::default();
    }
    let columns = [Column::Row("Account"), Column::Number("Errors"), Column::Number("Of all")];
    scroll("Accounts with most errors", &columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_more_errors_than_requests_has_no_share() {
        let of = |ratio| {
            let labels = [("service", "api".to_owned())].into();
            let series = RatedSeries { labels, errors: 27, requests: Some(25), ratio, points: Vec::new() };
            top("Services", &["service"], &[series], 27, &Range::default()).as_str().to_owned()
        };
        let unknown = of(Some(1.08));
        assert!(unknown.contains(">not known</span>") && unknown.contains("more errors than requests"), "{unknown}");
        assert!(!unknown.contains("108"), "{unknown}");
        for (ratio, shown) in [(Some(0.5), "50\u{202f}%"), (Some(1.0), "100\u{202f}%"), (None, ">–<")] {
            let known = of(ratio);
            assert!(known.contains(shown) && !known.contains("not known"), "{known}");
        }
    }

    #[test]
    fn an_account_is_named_beside_an_alert_only_if_it_has_a_good_part_of_it() {
        let told = |share| of_one_account(&[AccountShare { account: "17".to_owned(), events: 9, share }]);
        assert_eq!(told(0.5).replace('\u{202f}', " "), "One account, 17, is 50 % of it.");
        assert_eq!([told(0.02), of_one_account(&[])], ["", ""]);
    }
}
