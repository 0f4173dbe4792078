//! What people write: configuration, and the parameters of a query.

use std::fmt::Write as _;

use super::draw::text;
use crate::{
    cli::duration,
    clock::when::{Edge, calendar, day, duration_ms, when},
    config::{ByteSize, Config},
    event::scrub::ScrubConfig,
    http::params::Params,
    store::query::{Cursor, StatusFilter},
};

/// 2026-11-20T00:00:00Z.
const NOW_MS: i64 = 1_795_132_800_000;

/// Any text is a configuration, or is refused with a line; one that is read is written and read as the same.
pub fn configuration(input: &[u8]) {
    let text = text(input);
    match toml::from_str::<Config>(&text) {
        Ok(config) => {
            // The key of the scrubber is never written.
            let without_key = Config { scrub: ScrubConfig::default(), ..config };
            let written = toml::to_string(&without_key).unwrap();
            let again: Config = toml::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
            assert_eq!(toml::to_string(&again).unwrap(), written, "a configuration is read back as it was written");
            let shown = without_key.masked().unwrap();
            passwords_are_hidden(&without_key.clickhouse.url, &shown);
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse(), Ok(size), "a size is read back as it is shown");
    }
    if let Ok(time) = duration::parse(&text) {
        assert!(time.as_secs() <= 36_500 * 86_400);
        assert_eq!(duration::parse(&format!("{}ms", time.as_millis())), Ok(time));
    }
}

/// The password of each URL is in what is shown nowhere.
fn passwords_are_hidden(urls: &str, shown: &str) {
    for url in urls.split(',') {
        let Some((_, rest)) = url.split_once("://") else { continue };
        let authority = rest.split(['/', '?', '#']).next().unwrap();
        let Some((user, _)) = authority.rsplit_once('@') else { continue };
        let Some((_, password)) = user.split_once(':') else { continue };
        if password.len() >= 8
            && !urls.replacen(password, "", 1).contains(password)
            && !password.contains(['"', '\\', '*'])
        {
            assert!(!shown.contains(password), "{password:?} is shown in {shown}");
        }
    }
}

/// Any query string is a filter within the times that ClickHouse can tell, or is refused by the name of what is wrong.
pub fn query_parameters(input: &[u8]) {
    let text = text(input);
    single_values(&text);
    let Ok(uri) = axum::http::Uri::builder().path_and_query(format!("/?{}", escaped(&text))).build() else { return };
    let Ok(mut params) = Params::of(&uri) else { return };
    let filter = params.filter(NOW_MS);
    let limit = params.limit(100, 500);
    assert!((1..=500).contains(&limit));
    let cursor = params.parsed("cursor", "a cursor", |text| text.parse::<Cursor>().ok());
    if params.finish().is_ok() {
        assert!(filter.from_ms < filter.to_ms, "{filter:?}");
        let lists = [&filter.services, &filter.environments, &filter.account_ids, &filter.user_ids, &filter.releases];
        assert!(lists.into_iter().flatten().all(|value| !value.is_empty() && !value.contains(',')), "{filter:?}");
        assert!(filter.methods.iter().all(|method| *method == method.to_ascii_uppercase()));
        assert!(filter.statuses.iter().all(|status| match status {
            StatusFilter::Code(code) => (400..=599).contains(code),
            StatusFilter::Class(class) => (4..=5).contains(class),
        }));
        assert!(cursor.is_none_or(|cursor| cursor.to_string().parse() == Ok(cursor)));
    }
}

/// Bytes that no URI may hold, as browsers send them.
fn escaped(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    for byte in query.bytes() {
        if byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

fn single_values(text: &str) {
    for edge in [Edge::From, Edge::To] {
        let Ok(time) = when(text, edge, NOW_MS) else { continue };
        assert!((0..=10_413_791_999_999).contains(&time), "{time}");
        assert_eq!(when(&format!(" {text} "), edge, NOW_MS), Ok(time), "white space around it means nothing");
        assert!(calendar(text, edge).is_err() || calendar(text, edge) == Ok(time), "now does not move the calendar");
    }
    if day(text).is_some() {
        let [begin, end] = [Edge::From, Edge::To].map(|edge| when(text, edge, NOW_MS).unwrap());
        assert!(end - begin == 86_400_000 || begin == 0 || end == 10_413_791_999_999, "{begin} to {end}");
    }
    if let Some(length) = duration_ms(text) {
        assert!(length >= 0);
        assert_eq!(when(&format!("-{text}"), Edge::From, NOW_MS), Ok((NOW_MS - length).max(0)));
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor), "a cursor is read back as it is shown");
    }
}
