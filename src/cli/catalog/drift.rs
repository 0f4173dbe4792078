//! `errata catalog drift`: the API against its reference, for people and for CI.

use serde_json::{Value, json};

use crate::cli::{
    Exit,
    client::{Client, ClientArgs},
    settings::Settings,
    terminal,
};

/// Rows of a table that are shown; `--json` has all.
const SHOWN: usize = 40;

/// Compare what was observed with what is documented
///
/// Undocumented: observed, and not in the collector's catalog; messages that differ in a value alone are one row, with {n} for a
/// number and {value} for another value. Unobserved: documented, and no event had it. Without --fail-on the exit code is 0 whatever
/// differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata catalog drift
  errata catalog drift --from -30d --environment production --json
  errata catalog drift --release 2026.11.2 --fail-on undocumented   # in CI: exit code 1 when there is something")]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// Start: RFC 3339, or a time before now
    #[arg(long, value_name = "WHEN", default_value = "-7d", allow_hyphen_values = true)]
    from: String,
    /// End, not included; default: now
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only events of this service
    #[arg(long)]
    service: Option<String>,
    /// Only events of this environment
    #[arg(long)]
    environment: Option<String>,
    /// Only events of this release
    #[arg(long)]
    release: Option<String>,
    /// What makes the exit code 1
    #[arg(long, value_name = "WHAT")]
    fail_on: Option<FailOn>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Something was observed that is not documented.
    Undocumented,
    /// Something is documented that was not observed.
    Unobserved,
    /// Either.
    Any,
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let query = [
        ("from", Some(args.from.as_str())),
        ("to", args.to.as_deref()),
        ("service", args.service.as_deref()),
        ("environment", args.environment.as_deref()),
        ("release", args.release.as_deref()),
    ];
    let query: Vec<_> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let drift = client.send(client.request(reqwest::Method::GET, &["catalog", "drift"]).query(&query)).await?;
    let shown =
        if args.json { terminal::clean_json(&serde_json::to_string_pretty(&drift)?) + "\n" } else { page(&drift) };
    terminal::print(&shown)?;
    Ok(verdict(&drift, args.fail_on))
}

fn verdict(drift: &Value, fail_on: Option<FailOn>) -> Exit {
    let has = |side: &str| count(&drift[side]) > 0;
    let fails = match fail_on {
        None => false,
        Some(FailOn::Undocumented) => has("undocumented"),
        Some(FailOn::Unobserved) => has("unobserved"),
        Some(FailOn::Any) => has("undocumented") || has("unobserved"),
    };
    if fails { Exit::Negative } else { Exit::Done }
}

/// Entries of one side.
fn count(side: &Value) -> usize {
    side.as_object().into_iter().flat_map(|kinds| kinds.values()).filter_map(Value::as_array).map(Vec::len).sum()
}

fn page(drift: &Value) -> String {
    let time = |name: &str| cell(&drift[name]);
    let mut page = String::new();
    let sections: [(&str, &str, &[&str]); 5] = [
        ("/undocumented/statuses", "Undocumented statuses", &["status", "events"]),
        ("/undocumented/fields", "Undocumented messages of fields", &["count", "route", "field", "rule", "message"]),
        ("/undocumented/errors", "Undocumented general errors", &["events", "status", "error"]),
        ("/unobserved/statuses", "Documented statuses that were not observed", &["status", "title"]),
        ("/unobserved/fields", "Documented messages that were not observed", &["module", "field", "message"]),
    ];
    for (path, title, columns) in sections {
        let rows = drift.pointer(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if !rows.is_empty() {
            page.push_str(&section(title, columns, rows));
        }
    }
    if page.is_empty() {
        page.push_str(
            "the API and its reference agree: all that was observed is documented, and all documented was observed\n",
        );
    }
    format!("Events from {} to {} (another time: --from, --to)\n\n{page}", time("from"), time("to"))
}

fn section(title: &str, columns: &[&str], rows: &[Value]) -> String {
    // Every table has five columns; those that are not used are empty.
    let line = |cell: &dyn Fn(&str) -> String| -> [String; 5] {
        std::array::from_fn(|index| columns.get(index).map(|column| cell(column)).unwrap_or_default())
    };
    let header = line(&|column| column.to_uppercase());
    // Messages that differ in a value alone are shown by what they have in common.
    let shown = |row: &Value, column: &str| match (column, &row["pattern"]) {
        ("message" | "error", Value::String(pattern)) => cell(&json!(pattern)),
        _ => cell(&row[column]),
    };
    let table = rows.iter().take(SHOWN).map(|row| line(&|column| shown(row, column)));
    let more = rows.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("… and {more} more; --json has all\n") } else { String::new() };
    format!("{title} ({})\n{}{more}\n", rows.len(), terminal::table(std::iter::once(header).chain(table)))
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    terminal::cut(&terminal::clean(&text), 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_what_was_asked() {
        let field = json!({"count": 5, "route": "/a", "field": "x", "rule": "other", "message": "odd \x1b[31m"});
        let drift = json!({"undocumented": {"statuses": [], "fields": [field], "errors": []},
            "unobserved": {"statuses": [], "fields": []}});
        for (fail_on, exit) in [
            (None, Exit::Done),
            (Some(FailOn::Undocumented), Exit::Negative),
            (Some(FailOn::Unobserved), Exit::Done),
            (Some(FailOn::Any), Exit::Negative),
        ] {
            assert_eq!(verdict(&drift, fail_on), exit, "{fail_on:?}");
        }
        let text = page(&drift);
        assert!(text.contains("Undocumented messages of fields (1)") && text.contains("\\u{1b}"), "{text}");
        let several = json!({"undocumented": {"errors": [
            {"events": 5, "status": 400, "error": "No task 17", "pattern": "No task {n}", "errors": 4}]}});
        let text = page(&several);
        assert!(text.contains("No task {n}") && !text.contains("17"), "{text}");
        let agrees = page(&json!({"from": "2026-11-01T00:00:00.000Z", "to": "2026-11-08T00:00:00.000Z"}));
        assert!(agrees.starts_with("Events from 2026-11-01T00:00:00.000Z to 2026-11-08") && agrees.contains("agree"));
    }
}
