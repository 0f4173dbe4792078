//! Request totals: JSON → [`RequestTotal`]s and rejects.
//!
//! What tells one total from another is taken as it is or rejects the total, never cut, scrubbed or guessed at: two totals
//! that became alike would replace each other. So is a field that is not known: it may be a dimension that would be lost.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    Context, Format, Reason, Refusal, Reject,
    event::{MAX_METHOD, MAX_NAME, MAX_PATH},
    fields::{Making, Rejection},
    item::{Item, kind},
    items, timestamp,
};
use crate::event::{RequestTotal, rate_limit::MAX_COUNT};

const MINUTE_MS: i64 = 60_000;

/// The outcome of decoding a body: every item of it is in one of the two lists.
#[derive(Debug, Default)]
pub struct Totals {
    /// In the order sent. `received_us` is that of the context for all: whoever keeps them numbers them on.
    pub totals: Vec<RequestTotal>,
    pub rejects: Vec<Reject>,
}

/// Decodes a body whose content encoding is already undone.
///
/// # Errors
/// When the body as a whole is no JSON, empty, or holds too many items. A bad item of a good body is a [`Reject`] instead.
pub fn totals(format: Format, body: &[u8], context: Context<'_>) -> Result<Totals, Refusal> {
    let mut decoded = Totals::default();
    items::each(format, body, context.limits, |index, item| {
        let total = item.and_then(|item| build(item, &context).map_err(|rejection| rejection.at(index)));
        match total {
            Ok(total) => decoded.totals.push(total),
            Err(reject) => decoded.rejects.push(reject),
        }
    })?;
    Ok(decoded)
}

/// Makes the total, or says everything that is wrong with the item.
fn build(item: Item, context: &Context<'_>) -> Result<RequestTotal, Rejection> {
    let Item { mut fields, replaced, .. } = item;
    let mut making = Making::new(context, false);
    if replaced {
        let message = "holds a NUL or half of a surrogate pair: two totals could become one".to_owned();
        making.problem("total", Reason::InvalidField, message);
    }
    let mut take = |name: &str| fields.remove(name).unwrap_or_default();
    let total = RequestTotal {
        project: context.project.to_owned(),
        minute: minute(&mut making, &take("minute")),
        service: word(&mut making, "service", take("service"), MAX_NAME),
        environment: word(&mut making, "environment", take("environment"), MAX_NAME),
        release: word(&mut making, "release", take("release"), MAX_NAME),
        route: word(&mut making, "route", take("route"), MAX_PATH),
        method: word(&mut making, "method", take("method"), MAX_METHOD).trim().to_ascii_uppercase(),
        status: status(&mut making, &take("status")),
        reporter: word(&mut making, "reporter", take("reporter"), MAX_NAME),
        count: count(&mut making, &take("count")),
        received_us: context.received_at_ms.saturating_mul(1000),
    };
    for name in fields.keys() {
        let message = "is no field of a total: it would not tell this total from others".to_owned();
        making.problem(name, Reason::InvalidField, message);
    }
    making.problems().map_or(Ok(total), Err)
}

fn minute(making: &mut Making<'_>, value: &Value) -> u32 {
    let parsed = match value {
        Value::Null => Err("is required: the begin of the minute that was counted".to_owned()),
        value => timestamp::parse(value),
    };
    let time = match parsed {
        Ok(time) => time,
        Err(message) => {
            making.problem("minute", Reason::InvalidTimestamp, message);
            return 0;
        }
    };
    let bounds = timestamp::check(time, making.context.oldest_ms, making.context.received_at_ms);
    match (bounds, u32::try_from(time / 1000)) {
        (Err((reason, message)), _) => making.problem("minute", reason, message),
        (Ok(()), Ok(minute)) if time % MINUTE_MS == 0 => return minute,
        _ => {
            let message = "must be the begin of a minute (2026-01-31T23:59:00Z): totals are per minute".to_owned();
            making.problem("minute", Reason::InvalidTimestamp, message);
        }
    }
    0
}

fn word(making: &mut Making<'_>, field: &str, value: Value, max: usize) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        other => {
            making.wrong_type(field, "a string", &other);
            return String::new();
        }
    };
    if text.len() > max {
        making.problem(field, Reason::InvalidField, format!("must have at most {max} bytes, got {}", text.len()));
        return String::new();
    }
    if matches!(making.scrubber().text(&text), Cow::Owned(_)) {
        let message = "looks like a secret or an e-mail address, which is not kept: name it otherwise".to_owned();
        making.problem(field, Reason::InvalidField, message);
        return String::new();
    }
    text
}

fn status(making: &mut Making<'_>, value: &Value) -> u16 {
    const EXPECTED: &str = "an integer from 100 to 599";
    let (reason, message) = match (value, integer(value)) {
        (Value::Null, _) => (Reason::MissingStatus, format!("is required: {EXPECTED}")),
        (_, Some(status @ 100..=599)) => return status as u16,
        (Value::Number(number), _) => (Reason::InvalidStatus, format!("must be {EXPECTED}, got {number}")),
        (other, _) => (Reason::InvalidStatus, format!("must be {EXPECTED}, got {}", kind(other))),
    };
    making.problem("status", reason, message);
    0
}

fn count(making: &mut Making<'_>, value: &Value) -> u64 {
    let message = match (value, integer(value)) {
        (Value::Null, _) => "is required: how many requests were served".to_owned(),
        (_, Some(count)) if count <= MAX_COUNT => return count,
        (Value::Number(number), _) => format!("must be an integer from 0 to {MAX_COUNT}, got {number}"),
        (other, _) => format!("must be an integer from 0 to {MAX_COUNT}, got {}", kind(other)),
    };
    making.problem("count", Reason::InvalidField, message);
    0
}

/// A whole number that is not negative; `5.0` is one.
fn integer(value: &Value) -> Option<u64> {
    let whole = |number: &f64| number.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(number);
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|number| number as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decode::{Limits, tests};

    fn context(limits: &Limits) -> Context<'_> {
        Context { received_at_ms: 1_795_348_800_000, oldest_ms: 1_787_572_800_000, limits, ..tests::context() }
    }

    fn decode(items: &Value) -> Totals {
        let limits = Limits::default();
        totals(Format::Json, items.to_string().as_bytes(), context(&limits)).unwrap()
    }

    fn item(field: &str, value: Value) -> Value {
        let mut item = json!({
            "minute": "2026-11-22T11:58:00Z", "service": "api", "environment": "production", "release": "1",
            "route": "/a/{id}/", "method": "get", "status": 200, "count": 7, "reporter": "api-1"
        });
        item[field] = value;
        item
    }

    #[test]
    fn every_field_is_taken() {
        let decoded = decode(&item("count", json!(7.0)));
        let text = |text: &str| text.to_owned();
        let limits = Limits::default();
        let context = context(&limits);
        let expected = RequestTotal {
            project: context.project.to_owned(),
            minute: 1_795_348_680,
            service: text("api"),
            environment: text("production"),
            release: text("1"),
            route: text("/a/{id}/"),
            method: text("GET"),
            status: 200,
            reporter: text("api-1"),
            count: 7,
            received_us: context.received_at_ms * 1000,
        };
        assert_eq!((decoded.totals, decoded.rejects), (vec![expected], vec![]));
        let least = decode(&json!({"minute": 1_795_348_680, "status": 200, "count": 0, "route": null}));
        assert_eq!((least.totals[0].minute, least.totals[0].route.as_str()), (1_795_348_680, ""));
    }

    #[test]
    fn what_is_no_total_is_rejected_by_its_field() {
        for (field, value, reason, words) in [
            ("minute", json!(null), Reason::InvalidTimestamp, "is required"),
            ("minute", json!("noon"), Reason::InvalidTimestamp, "RFC 3339"),
            ("minute", json!("2026-11-22T11:58:30Z"), Reason::InvalidTimestamp, "begin of a minute"),
            ("minute", json!("2026-11-22T11:58:00.001Z"), Reason::InvalidTimestamp, "begin of a minute"),
            ("minute", json!("2001-01-01T00:00:00Z"), Reason::TooOld, "oldest time"),
            ("minute", json!("2126-11-22T11:58:00Z"), Reason::TooNew, "one hour ahead"),
            ("status", json!(null), Reason::MissingStatus, "is required"),
            ("status", json!(99), Reason::InvalidStatus, "100 to 599, got 99"),
            ("status", json!("200"), Reason::InvalidStatus, "got a string"),
            ("count", json!(null), Reason::InvalidField, "is required"),
            ("count", json!(-1), Reason::InvalidField, "got -1"),
            ("count", json!(1.5), Reason::InvalidField, "got 1.5"),
            ("count", json!(1e300), Reason::InvalidField, "got 1e+300"),
            ("service", json!(["api"]), Reason::InvalidField, "a string"),
            ("service", json!("x".repeat(257)), Reason::InvalidField, "at most 256 bytes"),
            ("reporter", json!("anna@example.com"), Reason::InvalidField, "e-mail"),
            ("region", json!("eu"), Reason::InvalidField, "no field of a total"),
        ] {
            let Totals { totals, rejects } = decode(&json!([item(field, value.clone()), item("count", json!(1))]));
            assert_eq!((totals.len(), rejects.len()), (1, 1), "{field} {value}");
            let Reject { index: 0, reason: found, errors, .. } = &rejects[0] else { panic!("{rejects:?}") };
            assert_eq!((*found, errors[0].0.as_str(), errors.len()), (reason, field, 1), "{value}: {errors:?}");
            assert!(errors[0].1.contains(words), "{value}: {errors:?}");
        }
    }

    #[test]
    fn texts_that_would_become_one_by_replacing_are_rejected() {
        for reporter in [r"a\u0000", r"a\ud800"] {
            let line = item("count", json!(1)).to_string().replace("api-1", reporter);
            let limits = Limits::default();
            let decoded = totals(Format::Ndjson, line.as_bytes(), context(&limits)).unwrap();
            assert_eq!((decoded.totals.len(), decoded.rejects.len()), (0, 1), "{reporter}");
            assert!(decoded.rejects[0].errors[0].1.contains("surrogate"), "{:?}", decoded.rejects);
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_refused_and_a_bad_line_rejected() {
        let limits = Limits { items: 3, event: 400, ..Limits::default() };
        let of = |format, body: &str| totals(format, body.as_bytes(), context(&limits));
        let good = item("count", json!(1)).to_string();
        let mixed = format!("\u{feff}{good}\n\nnonsense\n{{\"x\":\"{}\"}}\n", "x".repeat(400));
        let decoded = of(Format::Ndjson, &mixed).unwrap();
        let rejected: Vec<_> = decoded.rejects.iter().map(|reject| (reject.index, reject.reason)).collect();
        assert_eq!(decoded.totals.len(), 1);
        assert_eq!(rejected, [(1, Reason::InvalidJson), (2, Reason::TooLarge)]);
        assert!(decoded.rejects.iter().all(|reject| reject.errors[0].0 == "total"), "{:?}", decoded.rejects);
        assert!(matches!(of(Format::Ndjson, "\n\nnonsense"), Err(Refusal::NotJson { line: 3, .. })));
        assert!(matches!(of(Format::Ndjson, " \n"), Err(Refusal::Empty)));
        assert!(matches!(of(Format::Ndjson, &format!("{good}\n").repeat(4)), Err(Refusal::TooMany { limit: 3 })));
        assert!(matches!(of(Format::Json, "[{}, "), Err(Refusal::NotJson { .. })));
        assert!(matches!(of(Format::Json, "{\"a\": "), Err(Refusal::NotJson { .. })));
        assert!(matches!(of(Format::Json, "[]"), Err(Refusal::Empty)));
        assert_eq!(of(Format::Json, "[7]").unwrap().rejects[0].reason, Reason::NotAnObject);
    }
}
