//! `errata audit`: who looked what up.

use serde_json::Value;

use super::{
    Exit,
    client::{Client, ClientArgs},
    settings::Settings,
    terminal,
};

/// Show who looked up what, newest first
///
/// Lookups, tickets (the ids found, never the text), searches, changes of alerts, erasures, tokens made and revoked, of the
/// token's project. Kept for 400 days. Needs an admin token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata audit
  errata audit --subject req_8f14e45f --from -30d
  errata audit --by anna --action lookup --json | jq -r '.[].subject'")]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// Start: RFC 3339, a date such as 2026-11-17 (its begin, UTC), a time before now such as -7d, or now
    #[arg(long, value_name = "WHEN", default_value = "-24h", allow_hyphen_values = true)]
    from: String,
    /// End, as --from, but of a date its end; default: now
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only what this token did
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only this action: lookup, ticket, search, erase …
    #[arg(long)]
    action: Option<String>,
    /// Only entries whose subject holds this text
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Only this outcome: ok, "not found", denied, refused, failed
    #[arg(long)]
    outcome: Option<String>,
    /// Entries, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let limit = args.limit.to_string();
    let query = [
        ("from", Some(args.from.as_str())),
        ("to", args.to.as_deref()),
        ("token", args.by.as_deref()),
        ("action", args.action.as_deref()),
        ("subject", args.subject.as_deref()),
        ("outcome", args.outcome.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let query: Vec<_> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut data = client.send(client.request(reqwest::Method::GET, &["audit"]).query(&query)).await?;
    let entries = match data["entries"].take() {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    };
    let shown =
        if args.json { terminal::clean_json(&serde_json::to_string_pretty(&entries)?) + "\n" } else { table(&entries) };
    terminal::print(&shown)?;
    Ok(Exit::Done)
}

fn table(entries: &[Value]) -> String {
    if entries.is_empty() {
        return "nothing was done in this time; --from goes further back\n".to_owned();
    }
    let header = ["AT", "WHO", "ACTION", "OUTCOME", "FROM", "SUBJECT"].map(str::to_owned);
    let text = |entry: &Value, key: &str| terminal::clean(entry[key].as_str().unwrap_or_default());
    let rows = entries.iter().map(|entry| {
        let [at, who, action, outcome, peer] = ["at", "token", "action", "outcome", "peer"].map(|key| text(entry, key));
        [at, who, action, outcome, peer, terminal::cut(&text(entry, "subject"), 120)]
    });
    terminal::table(std::iter::once(header).chain(rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_escapes_what_others_wrote() {
        let entry = json!({"at": "2026", "token": "anna", "action": "lookup", "outcome": "ok", "peer": "::1", "subject": "a\x1b[31m"});
        let text = table(&[entry]);
        assert!(text.contains("a\\u{1b}[31m") && text.contains("anna"), "{text}");
        assert!(table(&[]).contains("--from"));
    }
}
