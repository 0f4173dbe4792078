//! `errata issues`.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Exit,
    client::{Client, ClientArgs},
    duration,
    settings::Settings,
    terminal,
};

/// See which kinds of errors there are, and say which are resolved
///
/// An issue is a kind of error: service, route, status, error, the fields with the rules they broke, type and place of an exception.
/// docs/issues.md says what each state means.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(List),
    Show(Show),
    Resolve(Resolve),
    Reopen(Reopen),
}

/// List the issues that were seen in a range, or resolved in it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata issues list
  errata issues list --state new,regressed,escalating --from -7d
  errata issues list --service igny8-api --status 5xx --sort count
  errata issues list --json | jq -r '.issues[].fingerprint'")]
pub struct List {
    #[command(flatten)]
    client: ClientArgs,
    /// regressed, escalating, new, ongoing, resolved; several separated by commas
    #[arg(long, value_name = "STATES")]
    state: Option<String>,
    /// Service that answered
    #[arg(long)]
    service: Option<String>,
    /// Where it was seen
    #[arg(long)]
    environment: Option<String>,
    /// Template of the path
    #[arg(long)]
    route: Option<String>,
    /// 422, 5xx; several separated by commas
    #[arg(long)]
    status: Option<String>,
    /// Text in the error, the exception's type, the route or a field
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Start of the range: RFC 3339, a date such as 2026-11-17 (its begin, UTC), a time before now such as -7d, or now
    #[arg(long, default_value = "-24h", allow_hyphen_values = true)]
    from: String,
    /// End of the range, as --from, but of a date its end; default: now
    #[arg(long, allow_hyphen_values = true)]
    to: Option<String>,
    /// What comes first: last_seen, count, first_seen
    #[arg(long, default_value = "last_seen")]
    sort: String,
    /// Issues at most, 1 to 200
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show one issue
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata issues show 4d5e1f0a9b8c7d6e
  errata issues show 4d5e1f0a9b8c7d6e --from -30d --json")]
pub struct Show {
    #[command(flatten)]
    client: ClientArgs,
    /// As in `errata issues list`
    fingerprint: String,
    /// Start of the range that is counted: RFC 3339, a date such as 2026-11-17 (its begin, UTC), a time before now such as -7d, or now
    #[arg(long, default_value = "-24h", allow_hyphen_values = true)]
    from: String,
    /// End of the range, as --from, but of a date its end; default: now
    #[arg(long, allow_hyphen_values = true)]
    to: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Say that an issue is resolved; when it is seen again it counts as regressed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata issues resolve 4d5e1f0a9b8c7d6e
  errata issues resolve 4d5e1f0a9b8c7d6e --in-release 2026.11.3 --comment 'validated in the form'")]
pub struct Resolve {
    #[command(flatten)]
    client: ClientArgs,
    /// As in `errata issues list`
    fingerprint: String,
    /// The release that holds the remedy: older ones may still have the issue
    #[arg(long, value_name = "RELEASE")]
    in_release: Option<String>,
    #[arg(long, default_value = "")]
    comment: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Take back that an issue is resolved
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  errata issues reopen 4d5e1f0a9b8c7d6e")]
pub struct Reopen {
    #[command(flatten)]
    client: ClientArgs,
    /// As in `errata issues list`
    fingerprint: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(command: &Command, settings: &Settings) -> anyhow::Result<Exit> {
    let now = Utc::now();
    match command {
        Command::List(args) => {
            let client = Client::new(&args.client, settings)?;
            let request = client.request(Method::GET, &["issues"]).query(&query(args));
            let page = client.send(request).await?;
            print(&page, args.json, || list(&page, now))
        }
        Command::Show(args) => {
            let client = Client::new(&args.client, settings)?;
            let range = [("from", Some(&args.from)), ("to", args.to.as_ref())];
            let range: Vec<_> = range.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let issue = client.send(client.request(Method::GET, &["issues", &args.fingerprint]).query(&range)).await?;
            print(&issue, args.json, || page(&issue["issue"], &issue, now))
        }
        Command::Resolve(args) => {
            let body = json!({"in_release": args.in_release, "comment": args.comment});
            let client = Client::new(&args.client, settings)?;
            let issue = client.post(&["issues", &args.fingerprint, "resolve"], &body).await?;
            print(&issue, args.json, || said(&issue))
        }
        Command::Reopen(args) => {
            let client = Client::new(&args.client, settings)?;
            let issue = client.post(&["issues", &args.fingerprint, "reopen"], &json!({})).await?;
            print(&issue, args.json, || said(&issue))
        }
    }
}

fn print(value: &Value, json: bool, shown: impl Fn() -> String) -> anyhow::Result<Exit> {
    let shown = if json { terminal::clean_json(&serde_json::to_string_pretty(value)?) + "\n" } else { shown() };
    terminal::print(&shown)?;
    Ok(Exit::Done)
}

fn query(args: &List) -> Vec<(&'static str, String)> {
    let optional = [
        ("state", &args.state),
        ("service", &args.service),
        ("environment", &args.environment),
        ("route", &args.route),
        ("status", &args.status),
        ("q", &args.q),
        ("to", &args.to),
        ("cursor", &args.cursor),
    ];
    let given = optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let always = [("from", args.from.clone()), ("sort", args.sort.clone()), ("limit", args.limit.to_string())];
    given.chain(always).collect()
}

fn text(value: &Value, key: &str) -> String {
    terminal::clean(value[key].as_str().unwrap_or_default())
}

fn number(value: &Value, key: &str) -> String {
    terminal::grouped(value[key].as_u64().unwrap_or_default())
}

/// `5 d ago`.
fn ago(value: &Value, key: &str, now: DateTime<Utc>) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(value[key].as_str().unwrap_or_default()) else { return String::new() };
    let seconds = now.signed_duration_since(at).num_seconds();
    if seconds < 0 { "just now".to_owned() } else { format!("{} ago", duration::rough(seconds.unsigned_abs())) }
}

fn list(page: &Value, now: DateTime<Utc>) -> String {
    let issues = page["issues"].as_array().map_or(&[][..], Vec::as_slice);
    if issues.is_empty() {
        return "no issues: nothing that fits was seen in this range; try a longer one, such as --from -30d\n"
            .to_owned();
    }
    let header = ["FINGERPRINT", "STATE", "EVENTS", "ACCOUNTS", "LAST SEEN", "ISSUE"].map(str::to_owned);
    let rows = issues.iter().map(|issue| {
        let title = terminal::cut(&text(issue, "title"), 72);
        let status = issue["status"].as_u64().unwrap_or_default();
        [
            text(issue, "fingerprint"),
            text(issue, "state"),
            number(issue, "count"),
            number(issue, "accounts"),
            ago(issue, "last_seen", now),
            format!("{status} {} · {title}", text(issue, "route")),
        ]
    });
    let mut shown = terminal::table(std::iter::once(header).chain(rows));
    let by_state = page["by_state"].as_object().into_iter().flatten();
    let by_state: Vec<_> = by_state
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(state, count)| format!("{count} {}", terminal::clean(state)))
        .collect();
    // Writing to a String does not fail.
    let (in_all, by_state) = (number(page, "issues_in_all"), by_state.join(", "));
    let _ = writeln!(shown, "\n{} of {in_all} shown; {by_state}", issues.len());
    if page["next_cursor"].is_string() {
        let _ = writeln!(shown, "more: --cursor {}", text(page, "next_cursor"));
    }
    shown
}

/// An issue, and what is known of it besides.
fn page(issue: &Value, more: &Value, now: DateTime<Utc>) -> String {
    let mut lines = terminal::wrap(&text(issue, "title"), terminal::WIDTH);
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {}{value}", terminal::pad(name, 14)));
        }
    };
    add("fingerprint", text(issue, "fingerprint"));
    add("state", text(issue, "state"));
    let place = format!("{} {} · {}", text(issue, "method"), text(issue, "route"), text(issue, "service"));
    add("where", place.trim().to_owned());
    add("status", issue["status"].as_u64().unwrap_or_default().to_string());
    add("error", text(issue, "error_template"));
    for field in issue["fields"].as_array().into_iter().flatten() {
        add("field", format!("{}  {}", text(field, "field"), text(field, "rule")).trim().to_owned());
    }
    add("exception", text(issue, "exception_type"));
    add("in", text(more, "top_frame"));
    add("first seen", format!("{} ({})", text(issue, "first_seen"), ago(issue, "first_seen", now)));
    add("last seen", format!("{} ({})", text(issue, "last_seen"), ago(issue, "last_seen", now)));
    add("in this range", format!("{} events, {} accounts", number(issue, "count"), number(issue, "accounts")));
    if issue["resolved"].is_object() {
        add("resolved", resolved(&issue["resolved"]));
    }
    let releases = more["releases"].as_array().into_iter().flatten();
    for release in releases.take(5).filter(|release| release["release"] != "") {
        let count = format!("{} events, last {}", number(release, "count"), ago(release, "last_seen", now));
        add("release", format!("{}: {count}", text(release, "release")));
    }
    for sample in issue["samples"].as_array().into_iter().flatten() {
        add("request", terminal::clean(sample.as_str().unwrap_or_default()));
    }
    lines.join("\n") + "\n"
}

fn resolved(resolution: &Value) -> String {
    let release = text(resolution, "in_release");
    let release = if release.is_empty() { release } else { format!(" in {release}") };
    let comment = text(resolution, "comment");
    let comment = if comment.is_empty() { comment } else { format!(": {comment}") };
    format!("{} by {}{release}{comment}", text(resolution, "at"), text(resolution, "by"))
}

fn said(issue: &Value) -> String {
    format!("{} is {}: {}\n", text(issue, "fingerprint"), text(issue, "state"), text(issue, "title"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue() -> Value {
        json!({
            "fingerprint": "00000000000000ff", "state": "regressed", "title": "The server failed: \u{1b}[31mKeyError",
            "service": "api", "method": "POST", "route": "/items/{id}", "status": 500, "error_template": "boom {n}",
            "fields": [{"field": "sku", "rule": "required"}], "exception_type": "KeyError", "top_frame": "post in app/views.py",
            "first_seen": "2026-11-17T12:00:00Z", "last_seen": "2026-11-22T11:00:00Z", "count": 1234, "accounts": 7,
            "samples": ["req_1"], "releases": [{"release": "2", "count": 5, "last_seen": "2026-11-22T11:00:00Z"}],
            "resolved": {"at": "2026-11-20T12:00:00Z", "by": "anna", "in_release": "2", "comment": "mended"}
        })
    }

    fn now() -> DateTime<Utc> {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_list_is_a_table_with_a_sum_and_the_way_on() {
        let page = json!({"issues": [issue()], "issues_in_all": 3, "by_state": {"new": 0, "regressed": 3}, "next_cursor": "1.2.3.4"});
        let shown = list(&page, now());
        for part in [
            "00000000000000ff  regressed  1,234",
            "60 min ago",
            "500 /items/{id} · The server failed: \\u{1b}[31mKeyError",
            "1 of 3 shown; 3 regressed\n",
            "more: --cursor 1.2.3.4\n",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(list(&json!({"issues": []}), now()).starts_with("no issues"));
    }

    #[test]
    fn an_issue_is_told_with_all_that_is_known() {
        let shown = page(&issue(), &issue(), now());
        for part in [
            "sku  required",
            "KeyError",
            "post in app/views.py",
            "2026-11-20T12:00:00Z by anna in 2: mended",
            "5 d ago",
            "1,234 events, 7 accounts",
            "2: 5 events, last 60 min ago",
            "req_1",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert_eq!(said(&issue()), "00000000000000ff is regressed: The server failed: \\u{1b}[31mKeyError\n");
    }
}
