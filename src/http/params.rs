//! Query parameters → filters; every problem is named by its parameter.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequestParts, Query},
    http::{Uri, request::Parts as RequestParts},
};

use super::{Shared, answer::ApiError, privacy};
use crate::{
    clock::when::{Edge, when},
    state::TokenInfo,
    store::query::{Filter, StatusFilter},
};

/// How far back a question looks unless it says otherwise.
const DEFAULT_RANGE_MS: i64 = 24 * 3_600_000;

/// The query string, parsed; parameters may be repeated.
#[derive(Clone, Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    problems: BTreeMap<String, Vec<String>>,
    /// Whether who asks sees no people: `q` finds then what they are shown.
    masks_text: bool,
}

impl FromRequestParts<Shared> for Params {
    type Rejection = ApiError;

    /// Reads the query; where it names people by pseudonyms, the ids stand in their place.
    async fn from_request_parts(parts: &mut RequestParts, shared: &Shared) -> Result<Self, ApiError> {
        let mut params = Self::of(&parts.uri)?;
        if let Some(token) = parts.extensions.get::<TokenInfo>() {
            params.masks_text = !shared.sight(token).sees_people();
            privacy::translate(shared, token, parts.uri.path(), &mut params.pairs).await?;
        }
        Ok(params)
    }
}

impl Params {
    /// The query of a URI.
    ///
    /// # Errors
    /// 400 when it does not decode.
    pub fn of(uri: &Uri) -> Result<Self, ApiError> {
        let Query(pairs) = Query::try_from_uri(uri).map_err(|error| ApiError::invalid("query", error.body_text()))?;
        Ok(Self { pairs, ..Self::default() })
    }

    /// Whether they ask for somebody: by account, by user, or by words of a message.
    pub fn ask_for_people(&self) -> bool {
        self.pairs.iter().any(|(name, _)| ["account_id", "user_id", "q"].contains(&name.as_str()))
    }

    /// All values of a parameter, of which each may hold several separated by commas.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let values = self.take(name);
        values
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The values of a parameter whose values may hold commas: one each time it is given.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        self.take(name).into_iter().filter(|value| !value.is_empty()).collect()
    }

    /// The one value of a parameter.
    pub fn one(&mut self, name: &str) -> Option<String> {
        let mut values = self.take(name);
        if values.len() > 1 {
            self.problem(name, "give it once");
        }
        values.pop().filter(|value| !value.is_empty())
    }

    /// The one value of a parameter, read by `parse`; `expected` says what it takes.
    pub fn parsed<T>(&mut self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.one(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.problem(name, format!("expected {expected}, got {text:?}"));
        }
        value
    }

    /// Each value of a list, read by `parse`.
    pub fn parsed_list<T>(&mut self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let mut values = Vec::new();
        for text in self.list(name) {
            match parse(&text) {
                Some(value) => values.push(value),
                None => self.problem(name, format!("expected {expected}, got {text:?}")),
            }
        }
        values
    }

    /// The one value of a parameter that takes one of some names.
    pub fn choice<T: Copy>(&mut self, name: &str, all: &[T], as_str: fn(T) -> &'static str) -> Option<T> {
        self.parsed(name, &names(all, as_str), |text| named(all, as_str, text))
    }

    /// Each value of a list of such names.
    pub fn choices<T: Copy>(&mut self, name: &str, all: &[T], as_str: fn(T) -> &'static str) -> Vec<T> {
        self.parsed_list(name, &names(all, as_str), |text| named(all, as_str, text))
    }

    /// `limit`: a whole number from 1 to `most`.
    pub fn limit(&mut self, default: usize, most: usize) -> usize {
        let expected = format!("a whole number from 1 to {most}");
        self.parsed("limit", &expected, |text| text.parse().ok().filter(|limit| (1..=most).contains(limit)))
            .unwrap_or(default)
    }

    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.entry(name.to_owned()).or_default().push(message.into());
    }

    /// `from` and `to`, milliseconds since the Unix epoch.
    pub fn range(&mut self, now_ms: i64) -> (i64, i64) {
        let to_ms = self.time("to", Edge::To, now_ms).unwrap_or(now_ms + 1);
        let from_ms = self.time("from", Edge::From, now_ms).unwrap_or(to_ms - DEFAULT_RANGE_MS);
        if from_ms >= to_ms {
            self.problem("from", "must be before `to`");
        }
        (from_ms, to_ms)
    }

    fn time(&mut self, name: &str, edge: Edge, now_ms: i64) -> Option<i64> {
        let text = self.one(name)?;
        when(&text, edge, now_ms).map_err(|problem| self.problem(name, problem)).ok()
    }

    /// The filters of `GET /api/v1/events`.
    pub fn filter(&mut self, now_ms: i64) -> Filter {
        let (from_ms, to_ms) = self.range(now_ms);
        Filter { from_ms, to_ms, ..self.conditions() }
    }

    /// Those filters but `from` and `to`.
    pub fn conditions(&mut self) -> Filter {
        Filter {
            from_ms: 0,
            to_ms: 0,
            statuses: self.parsed_list("status", "a status from 400 to 599, or 4xx, 5xx", StatusFilter::parse),
            services: self.list("service"),
            environments: self.list("environment"),
            routes: self.texts("route"),
            methods: self.list("method").into_iter().map(|method| method.to_ascii_uppercase()).collect(),
            account_ids: self.list("account_id"),
            user_ids: self.list("user_id"),
            fields: self.texts("field"),
            rules: self.texts("rule"),
            fingerprints: self.parsed_list("fingerprint", "16 hex digits", |text| u64::from_str_radix(text, 16).ok()),
            releases: self.list("release"),
            text: self.one("q"),
            masks_text: self.masks_text,
        }
    }

    /// Ends the reading: every problem found, and parameters nobody asked for.
    ///
    /// # Errors
    /// 400, with a message for each parameter that is wrong.
    pub fn finish(mut self) -> Result<(), ApiError> {
        for name in std::mem::take(&mut self.pairs).into_iter().map(|(name, _)| name) {
            self.problem(&name, "there is no such parameter here; see /docs");
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        let error = ApiError::new(axum::http::StatusCode::BAD_REQUEST, "Validation failed");
        let all =
            self.problems.into_iter().flat_map(|(name, messages)| messages.into_iter().map(move |m| (name.clone(), m)));
        Err(all.fold(error, |error, (name, message)| error.field(&name, message)))
    }

    fn take(&mut self, name: &str) -> Vec<String> {
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(key, _)| key == name);
        self.pairs = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }
}

/// What a parameter takes, in words.
fn names<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> String {
    all.iter().map(|one| as_str(*one)).collect::<Vec<_>>().join(", ")
}

fn named<T: Copy>(all: &[T], as_str: fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|one| as_str(*one) == text)
}

/// The range of a query that is not read yet; where it is wrong, the default.
pub(super) fn range_of(pairs: &[(String, String)], now_ms: i64) -> (i64, i64) {
    let time = |name: &str, edge| {
        let (_, text) = pairs.iter().find(|(key, _)| key == name)?;
        when(text, edge, now_ms).ok()
    };
    let to_ms = time("to", Edge::To).unwrap_or(now_ms + 1);
    (time("from", Edge::From).unwrap_or(to_ms - DEFAULT_RANGE_MS), to_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params { pairs: pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(), ..Params::default() }
    }

    #[test]
    fn the_same_date_at_both_ends_is_that_day() {
        let (now, day) = (1_795_000_000_000, (1_794_873_600_000, 1_794_960_000_000));
        let pairs = [("from", "2026-11-17"), ("to", "2026-11-17")];
        let mut asked = params(&pairs);
        assert_eq!(asked.range(now), day);
        assert_eq!(range_of(&params(&pairs).pairs, now), day);
        assert!(asked.finish().is_ok());
        assert_eq!(params(&[("to", "2026-11-17")]).range(now), day);
        let mut turned = params(&[("from", "2026-11-18"), ("to", "2026-11-17")]);
        turned.range(now);
        assert_eq!(turned.problems["from"], ["must be before `to`"]);
    }

    #[test]
    fn lists_may_be_repeated_or_comma_separated() {
        let mut params = params(&[("status", "422,5xx"), ("status", "400")]);
        let filter = params.filter(0);
        let expected = [StatusFilter::Code(422), StatusFilter::Class(5), StatusFilter::Code(400)];
        assert_eq!(filter.statuses, expected);
        assert!(params.finish().is_ok());
    }

    #[test]
    fn what_takes_names_takes_them_and_lists_them() {
        let as_str = |number: u8| if number == 1 { "one" } else { "two" };
        let mut params = params(&[("by", "two,one,two"), ("sort", "two"), ("state", "one,three")]);
        assert_eq!(params.choices("by", &[1, 2], as_str), [2, 1, 2]);
        assert_eq!((params.choice("sort", &[1, 2], as_str), params.choice("format", &[1, 2], as_str)), (Some(2), None));
        assert_eq!(params.choices("state", &[1, 2], as_str), [1]);
        assert_eq!(params.problems["state"], ["expected one, two, got \"three\""]);
    }

    #[test]
    fn every_problem_is_named() {
        let mut params = params(&[("status", "200"), ("limit", "0"), ("from", "soon"), ("colour", "red")]);
        params.limit(10, 500);
        params.filter(0);
        assert_eq!(params.problems.keys().collect::<Vec<_>>(), ["from", "limit", "status"]);
        assert!(params.finish().is_err());
    }
}
