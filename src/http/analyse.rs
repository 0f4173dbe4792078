//! Search and error rates.

use std::collections::BTreeMap;

use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    events::{
        Viewer,
        export::{self, Format},
    },
    params::Params,
    stored::StoredEvent,
    unavailable,
};
use crate::{
    clock::{rfc3339, when::duration_ms},
    state::TokenInfo,
    store::query::{Cursor, Filter, RateKey, RatedPoint, RatedSeries, RequestPoint, ratio},
};

/// Events on a page unless `limit` says otherwise, and at most.
const PAGE: (usize, usize) = (100, 500);

/// Steps of one series at most.
const MAX_STEPS: i64 = 5000;

/// A page of events. One of large events (8 MiB together) ends before its limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventsPage {
    /// Newest first.
    pub events: Vec<StoredEvent>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Errors over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rates {
    pub from: String,
    pub to: String,
    /// Seconds.
    pub step: u32,
    /// Most errors first, at most 500, and at most 200,000 points together.
    pub series: Vec<RateSeries>,
}

/// Errors and requests of one set of labels.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateSeries {
    pub labels: BTreeMap<&'static str, String>,
    pub errors: u64,
    /// Requests with these labels (grouped by status: answered with it), successes included; null where no request totals were reported.
    pub requests: Option<u64>,
    /// Errors per request with these labels, whatever its status, of the steps that have request totals. Above 1 where more errors than requests
    /// were reported: requests of somebody are missing then, and it is no share.
    pub ratio: Option<f64>,
    /// In order. Where the service reports request totals: every step that it reported for, 0 errors included, and the first step of each
    /// gap, with nulls. Elsewhere: the steps with errors.
    pub points: Vec<RatePoint>,
}

/// Errors and requests of one step.
#[derive(Debug, Serialize, ToSchema)]
pub struct RatePoint {
    pub at: String,
    /// Null in a gap: nobody reported, and there was no error.
    pub errors: Option<u64>,
    /// Null where nobody reported, and in steps that are no whole minutes.
    pub requests: Option<u64>,
    /// As of the series.
    pub ratio: Option<f64>,
}

/// Search events.
///
/// Filters may be repeated or hold several values separated by commas (`route`, `field` and `rule`: repeat them). Paging by cursor
/// is stable while events arrive. A token whose only role is `product` sees accounts and users as pseudonyms (`acct_…`, `user_…`), which these
/// filters take too, and nothing else that names somebody.
///
/// `format=csv` and `format=ndjson` are exports: one answer of up to 1,000,000 events, newest first, that comes as it is read. It is no
/// envelope. The trailer `X-Export-Events` counts them, and `X-Next-Cursor` is there when the limit ended it. An export that ends before
/// its end says so in its last line (`export_error`), and its transfer is broken off. Cells of CSV that a spreadsheet would take for a formula
/// begin with `'`. At most 2 exports a token and 8 a collector at once.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "look up", operation_id = "search_events",
    params(
        ("status" = Option<String>, Query, description = "`422`, `5xx`, several"),
        ("service" = Option<String>, Query, description = "service that answered, as shipped; several"),
        ("environment" = Option<String>, Query, description = "`production`, `staging` … as shipped; several"),
        ("route" = Option<String>, Query, description = "template of the path: `/api/orders/{id}`; repeat it for several"),
        ("method" = Option<String>, Query, description = "`GET`, `POST` … in either case; several"),
        ("account_id" = Option<String>, Query,
            description = "account the request was made for, or its pseudonym; several; ids need the role support or sre"),
        ("user_id" = Option<String>, Query, description = "user who made the request, or the pseudonym; several; ids need the role support or sre"),
        ("field" = Option<String>, Query,
            description = "field with an error, without positions: `items[].sku`; repeat it for several"),
        ("rule" = Option<String>, Query, description = "rule that a field broke: `required`, `min_length(8)` …; repeat it for several"),
        ("fingerprint" = Option<String>, Query, description = "kind of error, 16 hex digits, as events state it; several"),
        ("release" = Option<String>, Query, description = "version of the service, as shipped; several"),
        ("q" = Option<String>, Query, description = "text in the error or a field message, as the token is shown them"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"),
        ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now"), ("limit" = Option<u32>, Query, description = "1 to 500, default 100; of an export 1 to 1,000,000, which is the default"),
        ("format" = Option<String>, Query, description = "`json` (a page, the default), `csv` or `ndjson` (an export)"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "a page of events, newest first; or an export",
            content((EventsPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))), (status = 400, description = "a parameter is wrong"),
        (status = 429, description = "too many exports are under way"), (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn events(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    let format = params.parsed("format", "json, csv or ndjson", |text| match text {
        "json" => Some(None),
        text => Format::parse(text).map(Some),
    });
    let format = format.flatten();
    let (default, most) = if format.is_some() { (export::MOST, export::MOST) } else { PAGE };
    let limit = params.limit(default, most);
    let cursor = params.parsed("cursor", "the next_cursor of a page", |text| text.parse::<Cursor>().ok());
    params.finish()?;
    let viewer = Viewer::of(token, &shared);
    if let Some(format) = format {
        return export::export(&shared, viewer, filter, format, limit, cursor).await;
    }
    let page = shared
        .timed("search", shared.store.search(viewer.project(), &filter, limit, cursor))
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(Data::ok(EventsPage {
        events: page.events.into_iter().map(|event| viewer.show(event, &shared)).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    })
    .into_response())
}

/// Error rates over time.
///
/// Errors per step and group, and with request totals: requests and the share of errors. Takes the filters of the event search. `status`,
/// `field`, `rule`, `fingerprint` and `q` choose among the errors; requests are counted whatever became of them. Request totals know no accounts and
/// users. Requests are those of the whole minutes in the range; let `from` and `to` be whole minutes for exact shares.
#[utoipa::path(
    get, path = "/api/v1/rates", tag = "watch", operation_id = "rates",
    params(
        ("group_by" = Option<String>, Query, description = "status, service, environment, release, route, method; several"),
        ("step" = Option<String>, Query, description = "`1m`, `1h` …; default: the range in some 120 steps"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now")),
    responses((status = 200, description = "errors and requests over time", body = Rates), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn rates(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<Rates>, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    let group_by = params.choices("group_by", &RateKey::ALL, RateKey::as_str);
    let step = step_of(&mut params, filter.to_ms - filter.from_ms);
    params.finish()?;
    let series = ask_rates(&shared, &token.project, &filter, &group_by, step).await?;
    let series = series.into_iter().map(RateSeries::from).collect();
    Ok(Data::ok(Rates { from: rfc3339(filter.from_ms), to: rfc3339(filter.to_ms), step, series }))
}

/// Errors and requests per step of so many seconds, the series with the most errors first.
///
/// # Errors
/// 503 when ClickHouse does not answer.
pub async fn ask_rates(
    shared: &Shared,
    project: &str,
    filter: &Filter,
    group_by: &[RateKey],
    step: u32,
) -> Result<Vec<RatedSeries>, ApiError> {
    let errors = shared.timed("rates", shared.store.rates(project, filter, group_by, step));
    let requests = shared.timed("requests_served", shared.store.requests_served(project, filter, group_by, step));
    let (errors, requests) = tokio::try_join!(errors, requests).map_err(|error| unavailable(&error))?;
    Ok(ratio::join(errors, &requests, group_by, filter, step))
}

/// The same, and what it is by the first of the labels alone.
///
/// # Errors
/// As of [`ask_rates`].
pub async fn ask_rates_and_first(
    shared: &Shared,
    project: &str,
    filter: &Filter,
    group_by: &[RateKey],
    step: u32,
) -> Result<(Vec<RatedSeries>, Vec<RatedSeries>), ApiError> {
    let errors = shared.timed("rates", shared.store.rates_and_first(project, filter, group_by, step));
    let requests = shared.timed("requests_served", shared.store.requests_served(project, filter, group_by, step));
    let ((errors, of_first), requests) = tokio::try_join!(errors, requests).map_err(|error| unavailable(&error))?;
    let first = &group_by[..group_by.len().min(1)];
    let of_first = ratio::join(of_first, &RequestPoint::by_first(&requests), first, filter, step);
    Ok((ratio::join(errors, &requests, group_by, filter, step), of_first))
}

/// `step`, in seconds.
pub(super) fn step_of(params: &mut Params, range_ms: i64) -> u32 {
    let step_ms =
        params.parsed("step", "a length such as 1m, 15m, 1h, 1d", |text| duration_ms(text).filter(|ms| *ms >= 1000));
    let step_ms = step_ms.unwrap_or_else(|| default_step(range_ms));
    if range_ms / step_ms > MAX_STEPS {
        params.problem("step", format!("gives more than {MAX_STEPS} steps; make it longer, or the range shorter"));
    }
    u32::try_from(step_ms / 1000).unwrap_or(u32::MAX)
}

/// The first round length that cuts the range into at most 120 steps, milliseconds.
#[must_use]
pub fn default_step(range_ms: i64) -> i64 {
    const ROUND_S: [i64; 9] = [1, 10, 60, 300, 900, 3600, 21_600, 86_400, 604_800];
    let fits = |step: &&i64| range_ms / (**step * 1000) <= 120;
    ROUND_S.iter().find(fits).unwrap_or(&ROUND_S[ROUND_S.len() - 1]) * 1000
}

impl From<RatedSeries> for RateSeries {
    fn from(RatedSeries { labels, errors, requests, ratio, points }: RatedSeries) -> Self {
        Self { labels, errors, requests, ratio, points: points.into_iter().map(RatePoint::from).collect() }
    }
}

impl From<RatedPoint> for RatePoint {
    fn from(RatedPoint { at_ms, errors, requests, ratio }: RatedPoint) -> Self {
        Self { at: rfc3339(at_ms), errors, requests, ratio }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_step_is_round_and_gives_few_steps() {
        assert_eq!(default_step(3_600_000), 60_000);
        assert_eq!(default_step(24 * 3_600_000), 900_000);
        assert_eq!(default_step(i64::MAX), 604_800_000);
    }
}
