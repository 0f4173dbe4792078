//! `errata catalog drift`: the API against its reference, for people and for CI.

use serde_json::{Value, json};

use crate::{
    cli::{
        Exit,
        client::{Client, ClientArgs},
        node::Node,
        settings::Settings,
        terminal,
    },
    inert::csv_record,
};

/// Rows of a table that are shown; `--json` and `--csv` have all.
const SHOWN: usize = 40;

/// Compare what was observed with what is documented
///
/// Undocumented: observed, and not in the collector's catalog; messages that differ in a value alone are one row, with {n} for a number
/// and {value} for another value. Unobserved: documented, and no event had it. Without --fail-on the exit code is 0 whatever differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata catalog drift
  errata catalog drift --from -30d --environment production --json
  errata catalog drift --from 2026-11-17 --to 2026-11-18 --csv > drift.csv
  errata catalog drift --release 2026.11.2 --fail-on undocumented   # in CI: exit code 1 when there is something")]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// Start: RFC 3339, a date such as 2026-11-17 (its begin, UTC), a time before now such as -7d, or now
    #[arg(long, value_name = "WHEN", default_value = "-7d", allow_hyphen_values = true)]
    from: String,
    /// End, as --from, but of a date its end; default: now
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
    /// Print CSV: both sides, a column says which
    #[arg(long, conflicts_with = "json")]
    csv: bool,
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
    let shown = if args.json {
        terminal::clean_json(&serde_json::to_string_pretty(&drift)?) + "\n"
    } else if args.csv {
        csv(&drift)
    } else {
        page(&drift)
    };
    terminal::print(&shown)?;
    if !args.json && Node::of(&drift).flag("more") == Some(true) {
        terminal::note("there were more different messages; the rarest are not looked at: a shorter time has fewer");
    }
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

/// The lists of the answer: the side and the list, what kind of entry is in it, and the keys of its count and its text.
const LISTS: [(&str, &str, &str, &str, &str); 5] = [
    ("undocumented", "statuses", "status", "events", ""),
    ("undocumented", "fields", "field", "count", "message"),
    ("undocumented", "errors", "error", "events", "error"),
    ("unobserved", "statuses", "status", "", "title"),
    ("unobserved", "fields", "field", "", "message"),
];

/// A line for each entry of both sides; what an entry does not have is empty.
fn csv(drift: &Value) -> String {
    const OF_ENTRY: [&str; 9] =
        ["status", "module", "route", "field", "rule", "message", "pattern", "first_seen", "last_seen"];
    let names = ["drift", "kind", "count"].into_iter().chain(OF_ENTRY).chain(["samples"]);
    let header = csv_record(&names.collect::<Vec<_>>());
    let records = LISTS.iter().flat_map(|&(side, list, kind, count, text)| {
        Node::of(drift).get(side).list(list).map(move |entry| {
            // Of what is unobserved there was none.
            let count = if count.is_empty() { "0".to_owned() } else { entry.raw(count) };
            let cells = OF_ENTRY.iter().map(|name| entry.raw(if *name == "message" { text } else { name }));
            let samples = entry.texts("samples").join(" ");
            let cells = [side.to_owned(), kind.to_owned(), count].into_iter().chain(cells).chain([samples]);
            csv_record(&cells.collect::<Vec<_>>())
        })
    });
    std::iter::once(header).chain(records).collect()
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
    let more = if more > 0 { format!("… and {more} more; --csv and --json have all\n") } else { String::new() };
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
    fn csv_has_both_sides_and_is_inert() {
        let error = json!({"status": 401, "error": "=cmd|' /C calc'!A1, gone", "pattern": "=cmd {n}", "events": 470,
            "first_seen": "2026-11-17T00:09:39.853Z", "last_seen": "2026-11-18T23:25:52.892Z", "samples": ["req_1", "-req_2"]});
        let field =
            json!({"module": "auth", "field": "password", "rule": "required", "message": "This field is required"});
        let drift = json!({"undocumented": {"statuses": [{"status": 405, "events": 35}], "fields": [], "errors": [error]},
            "unobserved": {"statuses": [{"status": 409, "title": "Conflict"}], "fields": [field]}, "more": false});
        let expected = [
            "drift,kind,count,status,module,route,field,rule,message,pattern,first_seen,last_seen,samples",
            "undocumented,status,35,405,,,,,,,,,",
            "undocumented,error,470,401,,,,,\"'=cmd|' /C calc'!A1, gone\",'=cmd {n},2026-11-17T00:09:39.853Z,2026-11-18T23:25:52.892Z,req_1 -req_2",
            "unobserved,status,0,409,,,,,Conflict,,,,",
            "unobserved,field,0,,auth,,password,required,This field is required,,,,",
        ];
        assert_eq!(csv(&drift), expected.map(|line| line.to_owned() + "\r\n").concat());
        assert_eq!(csv(&json!({})), expected[0].to_owned() + "\r\n");
    }

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
        let text = csv(&drift);
        assert!(text.contains("\r\nundocumented,field,5,,,/a,x,other,odd \\u{1b}[31m,,,,\r\n"), "{text:?}");
        let several = json!({"undocumented": {"errors": [
            {"events": 5, "status": 400, "error": "No task 17", "pattern": "No task {n}", "errors": 4}]}});
        let text = page(&several);
        assert!(text.contains("No task {n}") && !text.contains("17"), "{text}");
        let agrees = page(&json!({"from": "2026-11-01T00:00:00.000Z", "to": "2026-11-08T00:00:00.000Z"}));
        assert!(agrees.starts_with("Events from 2026-11-01T00:00:00.000Z to 2026-11-08") && agrees.contains("agree"));
    }
}
