//! The audit log as a page.

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

use crate::{
    console::{
        Layout, Range, Visit, render,
        view::{
            Column, Markup, Pager, escape, scroll,
            time::{Format, moment_of},
        },
    },
    http::{
        Shared,
        answer::ApiError,
        audit::{AuditLine, read},
        params::Params,
    },
    state::{AuditFilter, TokenInfo},
};

/// Entries of a page.
const PAGE: usize = 100;

/// Filters that can be typed: the parameter, its label.
const FILTERS: [(&str, &str); 4] =
    [("token", "Token"), ("action", "Action"), ("subject", "Subject has"), ("outcome", "Outcome")];

#[derive(Template)]
#[template(path = "settings/audit.html")]
struct AuditPage {
    layout: Layout,
    range: String,
    filters: Vec<(&'static str, &'static str, String)>,
    kept: Vec<(String, String)>,
    is_empty: bool,
    table: Markup,
    pager: Markup,
}

/// `GET /settings/audit`
pub(in crate::console) async fn page(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let range = Range::read(&mut params, &visit);
    let filter = AuditFilter {
        from_ms: range.from_ms,
        to_ms: range.to_ms,
        token: params.one("token"),
        action: params.one("action"),
        outcome: params.one("outcome"),
        subject: params.one("subject"),
        before: params.parsed("cursor", "the address of a page’s next one", |text| text.parse().ok()),
    };
    params.finish()?;
    let has_cursor = filter.before.is_some();
    let found = read(&shared, &token, filter, PAGE).await?;
    let next = found.next_cursor.as_ref().map(|cursor| visit.with_params(&[("cursor", cursor)]));
    let page = AuditPage {
        range: range.words(),
        filters: FILTERS.iter().map(|(name, words)| (*name, *words, visit.param(name))).collect(),
        kept: range.params().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        is_empty: found.entries.is_empty(),
        table: table(&found.entries),
        pager: Pager { first: has_cursor.then(|| visit.with_params(&[("cursor", "")])), next }.html(),
        layout: visit.layout("Audit log").with_range(&range, &visit),
    };
    Ok(render(&page)?.into_response())
}

pub(super) fn table(entries: &[AuditLine]) -> Markup {
    const COLUMNS: [Column; 6] = [
        Column::Text("When"),
        Column::Row("Who"),
        Column::Text("What"),
        Column::Text("Subject"),
        Column::Text("Outcome"),
        Column::Text("From"),
    ];
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            vec![
                moment_of(&entry.at, Format::Minute),
                Markup::new(format!(
                    "{} <span class=\"faint\">{}</span>",
                    escape(&entry.token),
                    escape(&entry.roles.join(", "))
                )),
                entry.action.as_str().into(),
                Markup::new(format!("<code class=\"subject\">{}</code>", escape(&entry.subject))),
                entry.outcome.as_str().into(),
                entry.peer.as_str().into(),
            ]
        })
        .collect();
    scroll("Audit log", &COLUMNS, &rows)
}
