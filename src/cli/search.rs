//! `errata search`.

use chrono::Utc;
use reqwest::Method;
use serde_json::Value;

use super::{
    Exit,
    client::{Client, ClientArgs, Stream},
    filters::{Filters, Query, Range},
    newest::note_on_nothing,
    node::Node,
    settings::Settings,
    terminal::{self, Colour, DIM, WIDTH},
    times::Times,
};

/// Events that are asked for at once.
const PAGE: usize = 500;

/// Find events by filters, the newest first
///
/// Each is shown on two lines: status, time, route and account; request id and what was wrong. `errata lookup` explains one.
///
/// Exit code: 0 when something fits, 1 when nothing does, 2 on failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata search --status 5xx --from -7d
  errata search --account 17 --status 429 --limit 5
  errata search --field site_id --rule not_owned --all --csv > site_id.csv
  errata search -q 'duplicate key' --all --json | jq -r .request_id")]
pub struct Args {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    range: Range,
    /// How many events at most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Every event that fits, up to 1,000,000
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print whole events as JSON, one a line
    #[arg(long)]
    json: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let mut query = args.filters.query();
    query.extend(args.range.query());
    let found = if args.csv || args.json {
        query.push(("format", if args.csv { "csv" } else { "ndjson" }.to_owned()));
        if !args.all {
            query.push(("limit", args.limit.to_string()));
        }
        let stream = client.stream(client.request(Method::GET, &["events"]).query(&query)).await?;
        if args.csv { export_csv(stream).await? } else { export_json(stream).await? }
    } else {
        let most = if args.all { usize::MAX } else { args.limit as usize };
        list(&client, &query, most).await?
    };
    if found == 0 {
        terminal::note(&note_on_nothing(&client, "no event fits", &args.range).await);
        return Ok(Exit::Negative);
    }
    Ok(Exit::Done)
}

/// Prints the records as they come; how many there are.
async fn export_csv(mut stream: Stream<'_>) -> anyhow::Result<usize> {
    let mut records = 0;
    // The collector has made the cells inert, on a terminal too.
    while let Some(line) = stream.line().await? {
        let text = line.trim_end_matches('\r');
        if text.trim_start_matches('"').starts_with(BROKEN) {
            anyhow::bail!("{}", terminal::clean(text.trim_end_matches(',').trim_matches('"')));
        }
        terminal::print(&(line + "\n"))?;
        records += 1;
    }
    // The names of the columns are no event.
    Ok(records - 1.min(records))
}

/// What the last line of an export says that ended before its end.
const BROKEN: &str = "export_error";

/// Prints the events as they come; how many there are.
async fn export_json(mut stream: Stream<'_>) -> anyhow::Result<usize> {
    let mut events = 0;
    while let Some(line) = stream.line().await? {
        if line.starts_with(&format!("{{\"{BROKEN}\":")) {
            let why: Value = serde_json::from_str(&line)?;
            anyhow::bail!("{}", Node::of(&why).text(BROKEN));
        }
        terminal::print(&(terminal::clean_json(&line) + "\n"))?;
        events += 1;
    }
    Ok(events)
}

/// Prints events page by page; how many there are.
async fn list(client: &Client, query: &Query, most: usize) -> anyhow::Result<usize> {
    let (colour, times) = (Colour::of_stdout(), Times::local(Utc::now()));
    let mut cursor: Option<String> = None;
    let mut shown = 0;
    loop {
        let limit = (most - shown).min(PAGE).to_string();
        let mut page = query.clone();
        page.push(("limit", limit));
        page.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let data = client.send(client.request(Method::GET, &["events"]).query(&page)).await?;
        for event in Node::of(&data).list("events") {
            terminal::print(&entry(event, colour, &times))?;
            shown += 1;
        }
        let next = Node::of(&data).raw("next_cursor");
        if next.is_empty() {
            return Ok(shown);
        }
        if shown >= most {
            terminal::note("… more events fit: a larger --limit, or --all");
            return Ok(shown);
        }
        cursor = Some(next);
    }
}

/// An event on two lines of 80 columns.
pub fn entry(event: Node<'_>, colour: Colour, times: &Times) -> String {
    let status = event.count("status").unwrap_or_default();
    let when = times.short(&event.raw("timestamp"));
    let route = event.text("route");
    let route = if route.is_empty() { event.text("path") } else { route };
    let place = format!("{} {route}", event.text("method"));
    let account = event.text("account_id");
    let account = if account.is_empty() { account } else { terminal::cut(&format!("account {account}"), 24) };
    let room = WIDTH - 5 - 17 - terminal::columns(&account) - 2;
    let place = terminal::pad(&terminal::cut(place.trim(), room), room);
    let badge = colour.paint(terminal::status_style(status), &format!("{status:<3}"));
    let first = format!("{badge}  {}  {place}  {account}", terminal::pad(&when, 15));
    let id = event.text("request_id");
    let room = (WIDTH - 5).saturating_sub(terminal::columns(&id) + 2);
    let what = terminal::cut(&what(event), room.max(20));
    format!("{}\n     {id}  {}\n", first.trim_end(), colour.paint(DIM, &what))
}

/// The first field error, else the general one.
fn what(event: Node<'_>) -> String {
    let Some(error) = event.list("errors").next() else { return event.text("error") };
    let more = event.list("errors").len() - 1;
    let more = if more > 0 { format!(" (+{more})") } else { String::new() };
    let field = event.list("errors").next().map(|error| error.text("path")).unwrap_or_default();
    let message = error.text("message");
    if field.is_empty() { format!("{message}{more}") } else { format!("{field}{more}: {message}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::stub::{Reply, Stub};

    fn times() -> Times {
        Times::utc("2026-11-22T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn an_event_is_two_lines_of_80_columns_whatever_is_in_it() {
        let event = json!({"request_id": "550e8400-e29b-41d4-a716-446655440000", "status": 422, "timestamp": "2026-11-17T14:02:07Z",
            "method": "POST", "route": "/api/v1/planner/keywords/", "account_id": "7",
            "errors": [{"path": "site_id", "message": "Site must belong to your account"}, {"path": "x", "message": "y"}]});
        let shown = entry(Node::of(&event), Colour::Off, &times());
        let expected = "422  17 Nov 14:02:07  POST /api/v1/planner/keywords/                   account 7\n     \
            550e8400-e29b-41d4-a716-446655440000  site_id (+1): Site must belong to yo…\n";
        assert_eq!(shown, expected);
        let hostile = "\u{1b}[2J\u{202e}".repeat(10_000);
        let event = json!({"request_id": hostile[..0].to_owned() + "r", "status": 500, "timestamp": hostile, "method": hostile, "route": hostile,
            "account_id": hostile, "error": hostile});
        let shown = entry(Node::of(&event), Colour::Off, &times());
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.lines().all(|line| terminal::columns(line) <= WIDTH), "{shown}");
    }

    #[tokio::test]
    async fn all_pages_are_followed_by_their_cursors() {
        let stub = Stub::start(|received| {
            let page = |id: &str, next: Option<&str>| {
                json!({"events": [{"request_id": id, "status": 400}], "next_cursor": next})
            };
            let second = received.target.contains("cursor=c1");
            Reply::data(200, &if second { page("b", None) } else { page("a", Some("c1")) })
        })
        .await;
        let filters = Filters::default().query();
        assert_eq!(list(&stub.client(), &filters, usize::MAX).await.unwrap(), 2);
        assert_eq!(list(&stub.client(), &filters, 1).await.unwrap(), 1);
        let asked: Vec<_> = stub.received().into_iter().map(|received| received.target).collect();
        assert_eq!(asked.len(), 3);
        assert!(asked[1].ends_with("limit=500&cursor=c1") && asked[2].ends_with("limit=1"), "{asked:?}");
    }

    #[tokio::test]
    async fn an_export_that_breaks_off_is_a_failure() {
        for (body, length) in
            [("{\"status\":400}\n{\"export_error\":\"the store does not answer\"}\n", 62), ("{\"status\":400}\n", 900)]
        {
            let stub = Stub::start(move |_| Reply::Cutting { kind: "application/x-ndjson", length, body }).await;
            let client = stub.client();
            let stream = client.stream(client.request(Method::GET, &["events"])).await.unwrap();
            let error = export_json(stream).await.unwrap_err().to_string();
            assert!(error.contains("the store does not answer") || error.contains("cannot reach"), "{error}");
        }
    }
}
