//! What is around every page: the visitor, errors as pages, headers, compression.

use std::io::Write;

use axum::{
    body::Body,
    extract::{Request, State as AxumState},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use flate2::{Compression, write::GzEncoder};

use super::{Html, Visit, cookies, error, range};
use crate::http::{
    Shared,
    answer::{self, AnswerId},
    is_api,
    serve::Peer,
};

/// What a page may do: show itself with our style and script, send forms to us, and ask us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// Shorter texts are not worth compressing, bytes.
const WORTH_COMPRESSING: usize = 1024;

/// Middleware around everything that is not the API.
///
/// What a page shows and what a visitor has typed are compressed together. That would let another site guess the form's token by the length of
/// answers (BREACH) if it could make the browser ask with its cookies; `SameSite=Strict` is what keeps it from that.
pub(crate) async fn shell(AxumState(shared): AxumState<Shared>, mut request: Request, next: Next) -> Response {
    if is_api(request.uri().path()) {
        return next.run(request).await;
    }
    if let Some(uri) = range::in_utc(request.uri()) {
        *request.uri_mut() = uri;
    }
    let accepts = Accepts::of(request.headers());
    let peer = request.extensions().get::<Peer>().copied();
    let id = request.extensions().get::<AnswerId>().cloned();
    let visit = Visit::of(&shared, request.uri(), request.headers(), peer, id.as_ref());
    let mut response = match &visit {
        Ok(visit) => {
            request.extensions_mut().insert(visit.clone());
            next.run(request).await
        }
        Err(error) => axum::response::IntoResponse::into_response(error.clone()),
    };
    if accepts.html
        && let Some(error) = answer::take_error(&mut response)
    {
        if let Some(id) = &id {
            error.log(id);
        }
        error::show(&mut response, &error, visit.as_ref().ok());
    }
    if let Some(page) = response.extensions_mut().remove::<Html>() {
        write(&mut response, page, accepts.gzip);
        if let Ok(visit) = &visit
            && visit.flash.is_some()
        {
            cookies::clear(&mut response, cookies::FLASH, visit.is_https);
        }
    }
    response
}

/// What a client can read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepts {
    /// It is a browser that shows a page: errors are pages for it, and envelopes for programs.
    html: bool,
    pub(super) gzip: bool,
}

impl Accepts {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let names = |header, wanted: &str| {
            let lines = headers.get_all(header).into_iter().filter_map(|line| line.to_str().ok());
            let mut parts = lines.flat_map(|line| line.split(','));
            parts.any(|part| {
                let (name, quality) = part.split_once(';').unwrap_or((part, ""));
                name.trim().eq_ignore_ascii_case(wanted) && !matches!(quality.trim(), "q=0" | "q=0.0")
            })
        };
        Self { html: names(header::ACCEPT, "text/html"), gzip: names(header::ACCEPT_ENCODING, "gzip") }
    }
}

fn write(response: &mut Response, page: Html, may_compress: bool) {
    let (status, text) = page.into_parts();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let compressed = if may_compress { compress(text.as_bytes()) } else { None };
    if compressed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = compressed.map_or_else(|| Body::from(text), Body::from);
}

/// A text as gzip, if that is shorter.
pub(super) fn compress(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() < WORTH_COMPRESSING {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 3), Compression::new(5));
    encoder.write_all(text).ok()?; // writing to memory does not fail
    encoder.finish().ok().filter(|compressed| compressed.len() < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_pages_for_browsers_and_envelopes_for_programs() {
        let accepts = |accept: &'static str, encoding: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
            let accepts = Accepts::of(&headers);
            (accepts.html, accepts.gzip)
        };
        assert_eq!(accepts("text/html,application/xhtml+xml,*/*;q=0.8", "gzip, deflate, br"), (true, true));
        assert_eq!(accepts("*/*", "br;q=1, GZIP;q=0.5"), (false, true));
        assert_eq!(accepts("application/json", "gzip;q=0"), (false, false));
        assert_eq!(accepts("text/html;q=0", "identity"), (false, false));
    }
}
