//! One POST: to an address that was checked, to that address alone, and with bounds on all that comes back.

use reqwest::{
    Client,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use url::{Host, Url};

use super::{SendError, TIMEOUT, policy};
use crate::alerts::receiver::{Network, SecretText, http_url};

/// Of an answer, what is read at most.
const ANSWER: usize = 64 << 10;

/// Of an answer, what an error shows, characters.
const SHOWN: usize = 200;

/// The address of a receiver.
pub(super) fn address(url: &SecretText) -> Result<Url, SendError> {
    let text = url.read().map_err(SendError::Unreadable)?;
    http_url(&text).map_err(SendError::BadAddress)
}

/// Posts JSON.
pub(super) async fn post(url: Url, allow: &[Network], headers: HeaderMap, body: Vec<u8>) -> Result<(), SendError> {
    let client = client(&url, allow).await?;
    let request = client.post(url).headers(headers).header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Without the URL, which may hold a token.
    let unreachable = |error: reqwest::Error| SendError::Unreachable(chain(&error.without_url()));
    let mut response = request.body(body).send().await.map_err(unreachable)?;
    let status = response.status();
    let mut answer = Vec::new();
    while answer.len() < ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
            // The status has said it already.
            Ok(None) | Err(_) => break,
        }
    }
    if status.is_success() {
        return Ok(());
    }
    let text: String = String::from_utf8_lossy(&answer).chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    Err(SendError::Refused { status: status.as_u16(), text })
}

/// A client that connects to the addresses which were checked, whatever the name resolves to later; follows no redirect and asks no
/// proxy, for which nothing was checked.
async fn client(url: &Url, allow: &[Network]) -> Result<Client, SendError> {
    // The provider of the process; a second install changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let builder = Client::builder()
        .user_agent(concat!("errata/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT);
    let builder = match url.host() {
        Some(Host::Domain(name)) => {
            let addresses = policy::resolve(name, port, allow).await?;
            builder.resolve_to_addrs(name, &addresses)
        }
        Some(Host::Ipv4(address)) => policy::check(address.into(), allow).map(|()| builder)?,
        Some(Host::Ipv6(address)) => policy::check(address.into(), allow).map(|()| builder)?,
        None => return Err(SendError::BadAddress("names no host".to_owned())),
    };
    builder.build().map_err(|error| SendError::Unmade(error.to_string()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
