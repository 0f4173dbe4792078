//! Bodies of request totals: lines and an array say the same, every item has one outcome, and what is taken is within its bounds.

use std::sync::LazyLock;

use super::events::NOW_MS;
use crate::{
    decode::{self, Context, Format, Limits, Reason, Totals},
    event::{RequestTotal, catalog::Catalog, rate_limit::MAX_COUNT, scrub::Scrubber},
};

/// Longest input that is looked at.
const MAX_INPUT: usize = 16 << 10;

static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(Scrubber::default);

pub fn run(input: &[u8]) {
    if input.len() > MAX_INPUT {
        return;
    }
    let limits = Limits { event: 1 << 10, ..Limits::default() };
    let context = Context {
        project: "igny8",
        received_at_ms: NOW_MS,
        oldest_ms: NOW_MS - 90 * 86_400_000,
        catalog: Catalog::builtin(),
        scrubber: &SCRUBBER,
        limits: &limits,
    };
    for format in [Format::Ndjson, Format::Json] {
        if let Ok(decoded) = decode::totals(format, input, context) {
            decoded.totals.iter().for_each(|total| within_bounds(total, &context));
        }
    }
    lines_and_array_agree(input, context);
}

fn within_bounds(total: &RequestTotal, context: &Context<'_>) {
    let minute_ms = i64::from(total.minute) * 1000;
    assert!(minute_ms % 60_000 == 0 && (context.oldest_ms..=NOW_MS + 3_600_000).contains(&minute_ms), "{total:?}");
    assert!((100..=599).contains(&total.status) && total.count <= MAX_COUNT, "{total:?}");
    let RequestTotal { service, environment, release, route, method, reporter, .. } = total;
    for (word, most) in
        [(service, 256), (environment, 256), (release, 256), (reporter, 256), (route, 2048), (method, 128)]
    {
        assert!(word.len() <= most, "{total:?}");
    }
    for word in [service, environment, release, route, reporter] {
        assert_eq!(SCRUBBER.text(word), word.as_str(), "a secret is kept");
    }
    assert_eq!(RequestTotal::decode(&total.encode()).as_ref().ok(), Some(total));
}

/// The lines that are JSON, one by one, as lines, and as an array.
fn lines_and_array_agree(input: &[u8], context: Context<'_>) {
    let lines: Vec<&str> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(str::trim_ascii)
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
        .collect();
    if lines.is_empty() {
        return;
    }
    let of = |format, body: String| {
        let decoded = decode::totals(format, body.as_bytes(), context).expect("a body of JSON");
        assert!(decoded.rejects.iter().all(|reject| !reject.errors.is_empty()), "{:?}", decoded.rejects);
        assert!(decoded.rejects.is_sorted_by_key(|reject| reject.index));
        decoded
    };
    let Totals { totals, rejects } = of(Format::Ndjson, lines.join("\n"));
    assert_eq!(totals.len() + rejects.len(), lines.len(), "every item has one outcome");
    let array = of(Format::Json, format!("[{}]", lines.join(",")));
    assert_eq!((&array.totals, &array.rejects), (&totals, &rejects));
    let alone: Vec<_> = lines.iter().flat_map(|line| of(Format::Ndjson, (*line).to_owned()).totals).collect();
    assert_eq!(alone, totals, "neighbours mean nothing");
    assert!(rejects.iter().all(|reject| reject.reason != Reason::InvalidRequestId), "{rejects:?}");
}
