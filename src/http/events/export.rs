//! `GET /api/v1/events?format=csv|ndjson`: many events as a download, page by page.
//!
//! One page is in memory at a time, and the next is asked for when the client has taken it. What ends an export early is seen: its last
//! line says why, and the transfer is broken off, so that no client takes a part for the whole.

use std::time::Duration;

use axum::{
    body::Body as AnswerBody,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use chrono::DateTime;
use http_body_util::channel::Channel;

use super::{Body, Broken, Viewer, Written, csv, one_line, places::Place, write};
use crate::{
    http::{Shared, answer::ApiError, unavailable},
    store::query::{Cursor, Filter, Page},
};

/// Events of an export at most, and unless `limit` says less.
pub const MOST: usize = 1_000_000;

/// Events asked of ClickHouse at once.
const PAGE: usize = 500;

/// How long after its last line an export is broken off: by then that is on its way.
const LINGER: Duration = Duration::from_secs(2);

/// Most events of this export; where it ends, the trailers say how many there were and where the next one begins.
const LIMIT: HeaderName = HeaderName::from_static("x-export-limit");
const EVENTS: HeaderName = HeaderName::from_static("x-export-events");
const NEXT: HeaderName = HeaderName::from_static("x-next-cursor");

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Ndjson,
}

impl Format {
    /// Reads `csv` or `ndjson`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "csv" => Some(Self::Csv),
            "ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// The last line of one that ends before its end.
    fn broken(self, why: &str) -> String {
        match self {
            Self::Csv => csv::broken(why),
            Self::Ndjson => format!("{}\n", serde_json::json!({ "export_error": why })),
        }
    }
}

/// An export under way.
struct Export {
    shared: Shared,
    viewer: Viewer,
    filter: Filter,
    format: Format,
    /// Events that may still be written.
    left: usize,
    limit: usize,
    _place: Place,
}

/// Begins an export; its first page is asked for before it is answered, so that what is wrong is told in the envelope.
///
/// # Errors
/// 429 when too many are under way, 503 when ClickHouse does not answer.
pub async fn export(
    shared: &Shared,
    viewer: Viewer,
    filter: Filter,
    format: Format,
    limit: usize,
    after: Option<Cursor>,
) -> Result<Response, ApiError> {
    let place = shared.streams.exports.take(&viewer.token.id)?;
    let export = Export { shared: shared.clone(), viewer, filter, format, left: limit, limit, _place: place };
    let first = export.page(after).await.map_err(|error| unavailable(&error))?;
    let (to, body) = Channel::new(1);
    let answer = export.answer(body);
    tokio::spawn(export.run(first, to));
    Ok(answer)
}

impl Export {
    async fn page(&self, after: Option<Cursor>) -> Result<Page, crate::store::StoreError> {
        let page = self.shared.store.search(self.viewer.project(), &self.filter, self.left.min(PAGE), after);
        self.shared.timed("export", page).await
    }

    fn answer(&self, body: Body) -> Response {
        let mut response = Response::new(AnswerBody::new(body));
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y%m%dT%H%M%SZ");
        let (from, to) = (at(self.filter.from_ms), at(self.filter.to_ms));
        let name = format!("attachment; filename=\"errata-events-{from}-{to}.{}\"", self.format.extension());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.format.content_type()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::TRAILER, HeaderValue::from_static("x-export-events, x-next-cursor"));
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        if let Ok(name) = HeaderValue::from_str(&name) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        response
    }

    /// Writes every page, and how it ended.
    async fn run(mut self, first: Page, mut to: Written) {
        match self.pages(first, &mut to).await {
            Ok(next) => {
                let mut trailers = HeaderMap::new();
                trailers.insert(EVENTS, HeaderValue::from(self.limit - self.left));
                if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next.to_string()).ok()) {
                    trailers.insert(NEXT, next);
                }
                let _ = to.send_trailers(trailers).await; // a client that is gone needs none
            }
            Err(broken) => {
                tracing::warn!(events = self.limit - self.left, "an export ended early: {broken}");
                let line = self.format.broken(&format!("this export ends before its end: {broken}; ask again"));
                let _ = tokio::time::timeout(super::STALLED, to.send_data(line.into())).await; // as above
                // The server drops what it has not written yet when a body breaks off.
                tokio::time::sleep(LINGER).await;
                to.abort(broken);
            }
        }
    }

    /// Writes pages until there is none, or there may be no more events; then says where a further export would begin.
    async fn pages(&mut self, mut page: Page, to: &mut Written) -> Result<Option<Cursor>, Broken> {
        if self.format == Format::Csv {
            write(&self.shared, to, csv::header().into()).await?;
        }
        loop {
            self.left = self.left.saturating_sub(page.events.len());
            // An event at a time: a page is not held twice.
            let mut text = Vec::new();
            for event in page.events {
                let event = self.viewer.show(event, &self.shared);
                match self.format {
                    Format::Csv => text.extend(csv::record(&event).into_bytes()),
                    Format::Ndjson => text.extend(one_line(&event).into_iter().chain(*b"\n")),
                }
                if text.len() >= 64 << 10 {
                    write(&self.shared, to, std::mem::take(&mut text)).await?;
                }
            }
            write(&self.shared, to, text).await?;
            let Some(next) = page.next else { return Ok(None) };
            if self.left == 0 {
                return Ok(Some(next));
            }
            if !self.viewer.is_still_valid(&self.shared) {
                return Err(Broken("the token is no longer valid".to_owned()));
            }
            page = self.page(Some(next)).await.map_err(|error| {
                tracing::warn!("a page of an export: {error}");
                Broken("the store does not answer at the moment".to_owned())
            })?;
        }
    }
}
