//! The stylesheet, the script and the icon: in the binary, under names made of their content, so that browsers keep them for good.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::shell::{Accepts, compress};
use crate::http::answer::ApiError;

/// A file that pages name.
pub(super) struct Asset {
    /// `/assets/console.1f2e3d4c5b6a7988.css`
    pub(super) path: String,
    kind: &'static str,
    text: &'static str,
    gzip: Option<Vec<u8>>,
}

impl Asset {
    fn new(name: &str, extension: &str, kind: &'static str, text: &'static str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let hash = hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self { path: format!("/assets/{name}.{hash:016x}.{extension}"), kind, text, gzip: compress(text.as_bytes()) }
    }
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "css", "text/css; charset=utf-8", include_str!("assets/console.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "js", "text/javascript; charset=utf-8", include_str!("assets/console.js")));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

/// `GET /assets/{file}`
pub(super) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let all: [&'static Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    let Some(asset) = all.into_iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(file.as_str())) else {
        return ApiError::not_found()
            .field("path", "this file is of another version; load the page again")
            .into_response();
    };
    let zipped = asset.gzip.as_deref().filter(|_| Accepts::of(&headers).gzip);
    let mut response = zipped.unwrap_or(asset.text.as_bytes()).into_response();
    let answered = response.headers_mut();
    if zipped.is_some() {
        answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
