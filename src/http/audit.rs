//! Who looked what up: written by a layer around the routes that say so (`Route::audited`), read by admins.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use axum::{
    Extension,
    extract::{Request, State as AxumState},
    http::{HeaderMap, Method, StatusCode, Uri},
    middleware::Next,
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{AnswerId, ApiError, Data},
    auth, in_state, is_api, page_of,
    params::Params,
    serve::Peer,
};
use crate::{
    clock::{Clock, rfc3339},
    console,
    metrics::Metrics,
    state::{AuditEntry, AuditFilter, State, TokenInfo},
};

/// Entries that wait to be written; a further one is lost, and said to be.
const WAITING: usize = 20_000;

/// Entries of one transaction.
const TOGETHER: usize = 500;

/// Attempts at a write, and the pause between them.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Entries on a page unless `limit` says otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// Characters kept of where a proxy says that a request comes from.
const FORWARDED: usize = 100;

/// Takes entries to the database on a thread of its own, so that no lookup waits for a disk. They are there some milliseconds
/// later; what cannot be written is counted (`errata_audit_entries_total{outcome="lost"}`) and logged.
pub struct Trail {
    sender: Mutex<Option<SyncSender<AuditEntry>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trail")
    }
}

impl Trail {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(state: State, clock: Clock, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let counted = Arc::clone(&metrics);
        let writer = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(&receiver, &state, &clock, &counted))?;
        Ok(Self { sender: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)), metrics })
    }

    /// Hands an entry over.
    pub fn record(&self, entry: AuditEntry) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match &*sender {
            None => entry,
            Some(sender) => match sender.try_send(entry) {
                Ok(()) => return,
                Err(TrySendError::Full(entry) | TrySendError::Disconnected(entry)) => entry,
            },
        };
        lost(&self.metrics, &[refused], "too many wait to be written, or the collector ends");
    }

    /// Writes what waits, and ends. Blocks.
    pub fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the audit log's thread panicked; its last entries may be lost");
        }
    }
}

fn write_all(receiver: &Receiver<AuditEntry>, state: &State, clock: &Clock, metrics: &Metrics) {
    while let Ok(first) = receiver.recv() {
        let mut entries = vec![first];
        entries.extend(receiver.try_iter().take(TOGETHER - 1));
        let mut attempt = 1;
        let written = loop {
            match state.record_audit(&entries, clock.now_ms()) {
                Err(error) if attempt < ATTEMPTS => {
                    tracing::warn!("writing the audit log: {error}; trying again");
                    attempt += 1;
                    std::thread::sleep(PAUSE);
                }
                ended => break ended,
            }
        };
        match written {
            Ok(()) => metrics.audit_entries.with_label_values(&["written"]).inc_by(entries.len() as u64),
            Err(error) => lost(metrics, &entries, &error.to_string()),
        }
    }
}

/// Says what the log lacks: the log of the process is the next best place.
fn lost(metrics: &Metrics, entries: &[AuditEntry], why: &str) {
    metrics.audit_entries.with_label_values(&["lost"]).inc_by(entries.len() as u64);
    for AuditEntry { token, action, subject, outcome, .. } in entries {
        tracing::error!(token, action, subject, outcome, why, "an entry of the audit log is lost");
    }
}

/// What an entry is about, where the handler knows better than the path and the query say. A page about nothing (an empty text) has none.
#[derive(Clone, Debug, Default)]
pub struct Subject(Arc<Mutex<Option<String>>>);

impl Subject {
    pub fn set(&self, subject: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(subject.into());
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Sets the subject of the entry, if the route is audited.
pub(crate) fn about(subject: Option<Extension<Subject>>, text: impl FnOnce() -> String) {
    if let Some(Extension(subject)) = subject {
        subject.set(text());
    }
}

/// A route that is audited: its path and what is done there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audited {
    pub path: &'static str,
    pub action: &'static str,
    /// Entered only where it asks for somebody.
    pub of_people: bool,
}

/// Enters what a request was and what became of it. Outside of the check of roles: what was denied is entered too. A request without a
/// good token is nobody's, and is not.
pub(super) async fn record(
    AxumState((shared, audited)): AxumState<(Shared, Audited)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(token) = auth::token_of(&request).or_else(|| console::visitor_of(&request)) else {
        return next.run(request).await;
    };
    if audited.of_people && !Params::of(request.uri()).is_ok_and(|params| params.ask_for_people()) {
        return next.run(request).await;
    }
    let subject = Subject::default();
    request.extensions_mut().insert(subject.clone());
    let (uri, is_read) = (request.uri().clone(), request.method() == Method::GET);
    let entry = AuditEntry {
        peer: peer(&request),
        request_id: request.extensions().get::<AnswerId>().map(|id| id.0.clone()).unwrap_or_default(),
        ..entry_of(&token, audited.action, shared.clock.now_ms())
    };
    let response = next.run(request).await;
    let subject = match subject.take() {
        // A page where nothing was asked for yet.
        Some(subject) if subject.is_empty() && is_read && !is_api(uri.path()) => return response,
        Some(subject) => subject,
        None => subject_of(audited.path, &uri),
    };
    shared.audit.record(AuditEntry { subject, outcome: outcome(response.status()).to_owned(), ..entry });
    response
}

/// An entry of somebody's deed, without its subject and outcome.
#[must_use]
pub fn entry_of(token: &TokenInfo, action: &str, at_ms: i64) -> AuditEntry {
    let roles: Vec<_> = token.roles.iter().map(|role| role.as_str()).collect();
    AuditEntry {
        at_ms,
        project: token.project.clone(),
        token: token.name.clone(),
        roles: roles.join(","),
        action: action.to_owned(),
        ..AuditEntry::default()
    }
}

/// What stands in the path for the placeholders of the route, and the query.
fn subject_of(template: &str, uri: &Uri) -> String {
    let values = template.split('/').zip(uri.path().split('/')).filter(|(part, _)| part.starts_with('{'));
    let mut subject = values.map(|(_, value)| value).collect::<Vec<_>>().join(" ");
    if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
        let gap = if subject.is_empty() { "" } else { " " };
        subject = format!("{subject}{gap}?{query}");
    }
    subject
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "denied",
        404 => "not found",
        400..=499 => "refused",
        500..=599 => "failed",
        _ => "ok",
    }
}

/// The connection's address, and whom a proxy says it asks for: the latter is only as true as the proxy.
pub fn peer(request: &Request) -> String {
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.ip().to_string()).unwrap_or_default();
    match forwarded(request.headers()) {
        Some(origin) => format!("{peer} for {origin}"),
        None => peer,
    }
}

fn forwarded(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-forwarded-for")?.to_str().ok()?;
    Some(text.chars().take(FORWARDED).collect::<String>()).filter(|text| !text.is_empty())
}

/// What people did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit {
    /// Newest first.
    pub entries: Vec<AuditLine>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One thing that somebody did.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLine {
    pub id: i64,
    pub at: String,
    /// Name of the token; `(command line)` for whoever has the data directory.
    pub token: String,
    /// Roles of the token at the time.
    pub roles: Vec<String>,
    /// `lookup`, `ticket`, `search` …
    pub action: String,
    /// Request ids, filters, a name: what it was about.
    pub subject: String,
    /// `ok`, `not found`, `denied`, `refused`, `failed`.
    pub outcome: String,
    /// Address of the client's connection, and whom a proxy said it asked for.
    pub peer: String,
    /// `X-Request-ID` of the answer.
    pub request_id: String,
}

impl From<AuditEntry> for AuditLine {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: rfc3339(entry.at_ms),
            token: entry.token,
            roles: entry.roles.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect(),
            action: entry.action,
            subject: entry.subject,
            outcome: entry.outcome,
            peer: entry.peer,
            request_id: entry.request_id,
        }
    }
}

/// Read the audit log.
///
/// Who looked up what, in the token's project: lookups, tickets (the ids found, never the text), searches, exports, changes of alerts, erasures,
/// tokens made and revoked. Kept for 400 days, at most a million entries over all projects.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "operate", operation_id = "audit",
    params(
        ("token" = Option<String>, Query, description = "name of a token"),
        ("action" = Option<String>, Query, description = "`lookup`, `ticket`, `search` …, as entries have it"),
        ("outcome" = Option<String>, Query, description = "`ok`, `not found`, `denied`, `refused`, `failed`"),
        ("subject" = Option<String>, Query, description = "a part of the subject, such as a request id"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "entries, newest first", body = Audit), (status = 400, description = "a parameter is wrong"))
)]
pub async fn list(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<Audit>, ApiError> {
    let (from_ms, to_ms) = params.range(shared.clock.now_ms());
    let filter = AuditFilter {
        from_ms,
        to_ms,
        token: params.one("token"),
        action: params.one("action"),
        outcome: params.one("outcome"),
        subject: params.one("subject"),
        before: params.parsed("cursor", "the next_cursor of a page", |text| text.parse().ok()),
    };
    let limit = params.limit(PAGE.0, PAGE.1);
    params.finish()?;
    Ok(Data::ok(read(&shared, &token, filter, limit).await?))
}

/// A page of the log.
pub(crate) async fn read(
    shared: &Shared,
    token: &TokenInfo,
    filter: AuditFilter,
    limit: usize,
) -> Result<Audit, ApiError> {
    let project = token.project.clone();
    let entries =
        in_state(shared, "reading the audit log", move |state| state.audit(&project, &filter, limit + 1)).await?;
    let (entries, next_cursor) = page_of(entries, limit, |entry| entry.id);
    Ok(Audit { entries: entries.into_iter().map(AuditLine::from).collect(), next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_what_the_path_and_the_query_name() {
        let subject = |template, uri: &'static str| subject_of(template, &Uri::from_static(uri));
        assert_eq!(subject("/api/v1/requests/{request_id}", "/api/v1/requests/req_1"), "req_1");
        assert_eq!(subject("/api/v1/events", "/api/v1/events?status=5xx&q=a"), "?status=5xx&q=a");
        assert_eq!(subject("/a/{x}/b", "/a/1/b?c=d"), "1 ?c=d");
        assert_eq!(subject("/api/v1/events", "/api/v1/events"), "");
    }
}
