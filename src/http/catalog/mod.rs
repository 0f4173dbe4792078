//! The error catalog with what was observed of it, and where the two differ.

mod undocumented;

use std::collections::{BTreeMap, HashMap};

use axum::{Extension, extract::State as AxumState};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    params::Params,
    privacy::Sight,
    unavailable,
};
use crate::{
    clock::rfc3339,
    event::catalog::{Api, Catalog as Entries, FieldEntry, Module, Practice, RuleEntry, ScenarioEntry, StatusEntry},
    state::TokenInfo,
    store::query::{FailureKey, FailureRow, Filter, GeneralError, NO_STEPS_S, RateKey},
};
pub use undocumented::Undocumented;

/// Different messages that are told apart at most, the most frequent.
const MESSAGES: usize = 5000;

/// The catalog with live numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Catalog)]
pub struct CatalogAnswer {
    pub from: String,
    pub to: String,
    #[schema(value_type = Api)]
    pub api: &'static Api,
    #[schema(value_type = Vec<Module>)]
    pub modules: &'static [Module],
    pub statuses: Vec<StatusSeen>,
    pub fields: Vec<FieldSeen>,
    #[schema(value_type = Vec<ScenarioEntry>)]
    pub scenarios: &'static [ScenarioEntry],
    #[schema(value_type = Vec<RuleEntry>)]
    pub rules: &'static [RuleEntry],
    #[schema(value_type = Vec<Practice>)]
    pub practices: &'static [Practice],
    /// More different messages were observed than are told apart; the rarest are in no number.
    pub more: bool,
}

/// A documented status and how often it was observed.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusSeen {
    #[serde(flatten)]
    #[schema(value_type = StatusEntry)]
    pub entry: &'static StatusEntry,
    /// Events with it.
    pub events: u64,
}

/// A documented message and how often it was observed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldSeen {
    #[serde(flatten)]
    #[schema(value_type = FieldEntry)]
    pub entry: &'static FieldEntry,
    #[serde(flatten)]
    pub seen: Seen,
}

/// How often a message was observed.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Seen {
    /// Messages.
    pub count: u64,
    /// Absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// At most five request ids.
    pub samples: Vec<String>,
}

/// Where the API and its reference differ.
#[derive(Debug, Serialize, ToSchema)]
pub struct Drift {
    pub from: String,
    pub to: String,
    pub undocumented: Undocumented,
    pub unobserved: Unobserved,
    /// More different messages were observed than are told apart (5,000, before those that differ in a value alone are one row); the rarest are not
    /// looked at.
    pub more: bool,
}

/// In the catalog, and not observed.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Unobserved {
    pub statuses: Vec<UnobservedStatus>,
    pub fields: Vec<UnobservedField>,
}

/// A documented status that no event had.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnobservedStatus {
    pub status: u16,
    pub title: String,
}

/// A documented message that no event had.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnobservedField {
    pub module: String,
    pub field: String,
    pub rule: String,
    pub message: String,
    pub description: String,
}

/// The catalog with live numbers.
///
/// Every entry of the error catalog, with how often it was observed. Takes the filters of the event search.
#[utoipa::path(
    get, path = "/api/v1/catalog", tag = "analyse", operation_id = "catalog",
    params(
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now")),
    responses((status = 200, description = "entries with their numbers", body = CatalogAnswer), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn catalog(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<CatalogAnswer>, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    params.finish()?;
    let observed = observe(&shared, &token, &filter).await?;
    Ok(Data::ok(observed.catalog(shared.catalog, &filter)))
}

/// Drift.
///
/// What was observed and is not documented, and what is documented and was not observed: the API and its reference differ there. Takes the
/// filters of the event search.
#[utoipa::path(
    get, path = "/api/v1/catalog/drift", tag = "analyse", operation_id = "catalog_drift",
    params(
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now")),
    responses((status = 200, description = "both sides", body = Drift), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn drift(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<Drift>, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    params.finish()?;
    let observed = observe(&shared, &token, &filter).await?;
    Ok(Data::ok(observed.drift(shared.catalog, &filter, &shared.sight(&token))))
}

/// What was observed in a range.
pub(crate) struct Observed {
    /// Events by status.
    statuses: BTreeMap<u16, u64>,
    /// By route, field, rule and message.
    messages: Vec<FailureRow>,
    errors: Vec<GeneralError>,
    more: bool,
}

pub(crate) async fn observe(shared: &Shared, token: &TokenInfo, filter: &Filter) -> Result<Observed, ApiError> {
    let sight = shared.sight(token);
    // Before they are counted: of an event alone it is known whose ids are in its message.
    let keys = [FailureKey::Route, FailureKey::Field, FailureKey::Rule, sight.message_key()];
    let project = &token.project;
    let questions = async {
        tokio::try_join!(
            shared.timed("observed_statuses", shared.store.rates(project, filter, &[RateKey::Status], NO_STEPS_S)),
            shared.timed(
                "observed_messages",
                shared.store.validation_failures(project, filter, &keys, None, MESSAGES + 1)
            ),
            shared.timed(
                "observed_errors",
                shared.store.general_errors(project, filter, !sight.sees_people(), MESSAGES + 1)
            ),
        )
    };
    let (statuses, messages, errors) = Box::pin(questions).await.map_err(|error| unavailable(&error))?;
    let status = |series: &crate::store::query::Series| series.labels.get("status").and_then(|text| text.parse().ok());
    let statuses = statuses.iter().filter_map(|series| Some((status(series)?, series.total)));
    let more = messages.len() > MESSAGES || errors.len() > MESSAGES;
    Ok(Observed { statuses: statuses.collect(), messages, errors, more })
}

impl Observed {
    pub(crate) fn catalog(&self, entries: &'static Entries, filter: &Filter) -> CatalogAnswer {
        let mut seen = self.by_entry(entries);
        let fields = entries
            .fields()
            .iter()
            .map(|entry| FieldSeen { entry, seen: seen.remove(&identity(entry)).map(Seen::from).unwrap_or_default() });
        let statuses = entries
            .statuses()
            .iter()
            .map(|entry| StatusSeen { entry, events: self.statuses.get(&entry.code).copied().unwrap_or(0) });
        CatalogAnswer {
            from: rfc3339(filter.from_ms),
            to: rfc3339(filter.to_ms),
            api: entries.api(),
            modules: entries.modules(),
            statuses: statuses.collect(),
            fields: fields.collect(),
            scenarios: entries.scenarios(),
            rules: entries.rules(),
            practices: entries.practices(),
            more: self.more,
        }
    }

    pub(crate) fn drift(&self, entries: &'static Entries, filter: &Filter, sight: &Sight) -> Drift {
        Drift {
            from: rfc3339(filter.from_ms),
            to: rfc3339(filter.to_ms),
            undocumented: Undocumented::of(self, entries, sight),
            unobserved: self.unobserved(entries),
            more: self.more,
        }
    }

    fn unobserved(&self, entries: &'static Entries) -> Unobserved {
        let seen = self.by_entry(entries);
        let statuses = entries.statuses().iter().filter(|entry| entry.code >= 400);
        let statuses = statuses.filter(|entry| !self.statuses.contains_key(&entry.code));
        let fields = entries.fields().iter().filter(|entry| !seen.contains_key(&identity(entry)));
        Unobserved {
            statuses: statuses
                .map(|entry| UnobservedStatus { status: entry.code, title: entry.title.clone() })
                .collect(),
            fields: fields.map(UnobservedField::from).collect(),
        }
    }

    /// What was observed of each documented message.
    fn by_entry(&self, entries: &'static Entries) -> HashMap<*const FieldEntry, Sum> {
        let mut seen: HashMap<_, Sum> = HashMap::new();
        for row in &self.messages {
            if let Some(entry) = entry_of(row, entries) {
                seen.entry(identity(entry)).or_default().add(row);
            }
        }
        seen
    }
}

/// Entries are the catalog's own for the life of the process: their places tell them apart.
fn identity(entry: &FieldEntry) -> *const FieldEntry {
    std::ptr::from_ref(entry)
}

fn text<'r>(row: &'r FailureRow, key: &str) -> &'r str {
    row.keys.get(key).map_or("", String::as_str)
}

fn entry_of<'e>(row: &FailureRow, entries: &'e Entries) -> Option<&'e FieldEntry> {
    entries.field_entry(text(row, "route"), text(row, "field"), text(row, "message"))
}

/// Of several rows.
#[derive(Default)]
struct Sum {
    count: u64,
    /// Milliseconds since the Unix epoch.
    seen_ms: Option<(i64, i64)>,
    samples: Vec<String>,
}

impl Sum {
    fn add(&mut self, row: &FailureRow) {
        self.add_all(row.count, (row.first_seen_ms, row.last_seen_ms), &row.sample_request_ids);
    }

    fn add_error(&mut self, error: &GeneralError) {
        self.add_all(error.events, (error.first_seen, error.last_seen), &error.samples);
    }

    fn add_all(&mut self, count: u64, (first_ms, last_ms): (i64, i64), samples: &[String]) {
        const SAMPLES: usize = 5;
        self.count += count;
        let (first, last) = self.seen_ms.unwrap_or((first_ms, last_ms));
        self.seen_ms = Some((first.min(first_ms), last.max(last_ms)));
        self.samples.extend(samples.iter().take(SAMPLES.saturating_sub(self.samples.len())).cloned());
    }
}

impl From<Sum> for Seen {
    fn from(sum: Sum) -> Self {
        Self { count: sum.count, last_seen: sum.seen_ms.map(|(_, last_ms)| rfc3339(last_ms)), samples: sum.samples }
    }
}

impl From<&FieldEntry> for UnobservedField {
    fn from(entry: &FieldEntry) -> Self {
        Self {
            module: entry.module.clone(),
            field: entry.fields.first().cloned().unwrap_or_default(),
            rule: entry.rule.clone(),
            message: entry.message.clone(),
            description: entry.description.clone(),
        }
    }
}
