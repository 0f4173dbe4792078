//! Settings: who has tokens, how long events are kept, whether Errata is well, who looked what up. Nothing is changed here: that is done on the
//! machine, by whoever runs Errata, and each place says how.

mod audit;

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

pub(super) use audit::page as audit;

use super::{
    Layout, Visit, render,
    view::{
        Column, Markup, ago, code, duration, escape, number, plural, scroll,
        time::{Format, moment},
    },
};
use crate::{
    http::{Shared, answer::ApiError, in_state, operate::intake},
    state::{AuditFilter, Erasure, TokenInfo},
};

/// Entries of the audit log on this page; it has one of its own.
const ENTRIES: usize = 10;

/// Erasures on this page.
const ERASURES: usize = 10;

const DAY_MS: i64 = 86_400_000;

#[derive(Template)]
#[template(path = "settings/page.html")]
struct SettingsPage {
    layout: Layout,
    project: String,
    tokens: Markup,
    retention_days: u32,
    health: Vec<HealthLine>,
    version: &'static str,
    audit: Markup,
    erasures: Option<Markup>,
}

/// Whether a part is well, in a sentence.
struct HealthLine {
    is_good: bool,
    words: String,
}

/// `GET /settings`
pub(super) async fn page(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
) -> Result<Response, ApiError> {
    let project = token.project.clone();
    let read =
        in_state(&shared, "reading settings", move |state| Ok((state.tokens()?, state.erasures(&project, ERASURES)?)));
    let filter = AuditFilter { from_ms: visit.now_ms - 7 * DAY_MS, to_ms: visit.now_ms + 1, ..AuditFilter::default() };
    let entries = crate::http::audit::read(&shared, &token, filter, ENTRIES);
    let ((tokens, erasures), entries, health) = tokio::try_join!(read, entries, health(&shared))?;
    let own: Vec<_> = tokens.into_iter().filter(|other| other.project == token.project).collect();
    let page = SettingsPage {
        project: token.project.clone(),
        tokens: tokens_table(&own, &visit),
        retention_days: shared.config.retention_days,
        health,
        version: env!("CARGO_PKG_VERSION"),
        audit: audit::table(&entries.entries),
        erasures: (!erasures.is_empty()).then(|| erasures_table(&erasures)),
        layout: visit.layout("Settings"),
    };
    Ok(render(&page)?.into_response())
}

fn tokens_table(tokens: &[TokenInfo], visit: &Visit) -> Markup {
    const COLUMNS: [Column; 5] = [
        Column::Row("Name"),
        Column::Text("Roles"),
        Column::Text("Made"),
        Column::Text("Expires"),
        Column::Text("Events it may ship"),
    ];
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            let roles = token.roles.iter().map(|role| format!("<span class=\"tag\">{}</span>", role.as_str()));
            let expires = match token.expires_ms {
                None => Markup::from("never"),
                Some(at) if at <= visit.now_ms => Markup::new(format!("<b>over</b>, since {}", ago(at, visit.now_ms))),
                Some(at) => ago(at, visit.now_ms),
            };
            let limit = token.limit.map_or_else(
                || "no limit".to_owned(),
                |limit| format!("{} in {}", number(limit.events), duration(limit.seconds as i64 * 1000)),
            );
            vec![
                token.name.as_str().into(),
                Markup::new(roles.collect::<Vec<_>>().join(" ")),
                moment(token.created_ms, Format::Day),
                expires,
                limit.into(),
            ]
        })
        .collect();
    scroll("Tokens", &COLUMNS, &rows)
}

fn erasures_table(erasures: &[Erasure]) -> Markup {
    const COLUMNS: [Column; 5] = [
        Column::Row("Receipt"),
        Column::Text("Asked for"),
        Column::Text("By"),
        Column::Text("State"),
        Column::Number("Events"),
    ];
    let rows: Vec<_> = erasures
        .iter()
        .map(|erasure| {
            let events = erasure.stored.unwrap_or_default() + erasure.withheld + erasure.quarantined;
            let state = match &erasure.problem {
                Some(problem) => format!("{}: {problem}", erasure.state.as_str()),
                None => erasure.state.as_str().to_owned(),
            };
            vec![
                code(&erasure.id),
                Markup::new(format!(
                    "{} <span class=\"faint\">by {}</span>",
                    moment(erasure.requested_ms, Format::Minute),
                    escape(&erasure.kind)
                )),
                erasure.by.as_str().into(),
                state.into(),
                number(events).into(),
            ]
        })
        .collect();
    scroll("Erasures", &COLUMNS, &rows)
}

/// The parts of Errata and how they are.
async fn health(shared: &Shared) -> Result<Vec<HealthLine>, ApiError> {
    let intake = intake(shared).await?;
    let line = |is_good, words: String| HealthLine { is_good, words };
    let spool = match (intake.refusal, intake.queued) {
        (Some(refusal), _) => line(false, format!("Events are not taken: {refusal}")),
        (None, 0) => line(true, "Events are taken, and none waits for the database".to_owned()),
        (None, queued) => {
            let (waiting, age) = (plural(queued, "event waits", "events wait"), duration(intake.oldest_wait_ms));
            line(
                intake.oldest_wait_ms < 60_000,
                format!("Events are taken; {waiting} for the database, the oldest for {age}"),
            )
        }
    };
    let store = match intake.store_problem {
        None => line(true, "The database answers".to_owned()),
        Some(problem) => line(false, format!("The database does not answer: {problem}. Events queue until it does")),
    };
    let books = match intake.imbalance {
        0 => line(true, "The books balance: every event is stored, queued or set aside".to_owned()),
        events => line(false, format!("The books do not balance by {events} events: tell whoever runs Errata")),
    };
    let quarantine = shared.quarantine.clone();
    let set_aside = tokio::task::spawn_blocking(move || quarantine.list()).await;
    let set_aside = set_aside.map_err(|error| ApiError::internal("reading the quarantine", &error))?;
    let quarantined = match set_aside.as_ref().map(Vec::len) {
        Ok(0) => line(true, "No event is set aside".to_owned()),
        Ok(count) => {
            let events = plural(count as u64, "event is", "events are");
            line(false, format!("{events} set aside because the database refused them: errata quarantine list"))
        }
        Err(error) => line(false, format!("The quarantine cannot be read: {error}")),
    };
    let lost = shared.metrics.audit_entries.with_label_values(&["lost"]).get();
    let trail = match lost {
        0 => line(true, "The audit log is complete since the start".to_owned()),
        lost => line(
            false,
            format!(
                "{} of the audit log could not be written: they are in the collector’s log",
                plural(lost, "entry", "entries")
            ),
        ),
    };
    Ok(vec![spool, store, books, quarantined, trail])
}
