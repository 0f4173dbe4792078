//! `errata quarantine`: through the admin endpoints of a running collector, which alone may touch its log.

use serde_json::{Value, json};

use super::{
    Exit,
    client::{Client, ClientArgs, ClientError},
    settings::Settings,
    terminal,
};

/// See and retry events that ClickHouse did not take
///
/// An event that ClickHouse will never take (rows that do not fit the tables) is set aside, durably, so that the others
/// go on. After the cause is mended, `retry` hands it to delivery again. Needs an admin token.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(List),
    Show(Show),
    Retry(Retry),
}

/// List the quarantined events with the reasons
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata quarantine list
  errata quarantine list --json | jq '.[].reason'")]
pub struct List {
    #[command(flatten)]
    client: ClientArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show one quarantined event as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  errata quarantine show 4711")]
pub struct Show {
    #[command(flatten)]
    client: ClientArgs,
    /// As in `errata quarantine list`
    id: String,
}

/// Hand quarantined events to delivery again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata quarantine retry 4711 4712
  errata quarantine retry --all")]
pub struct Retry {
    #[command(flatten)]
    client: ClientArgs,
    /// As in `errata quarantine list`
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Retry every quarantined event
    #[arg(long)]
    all: bool,
}

pub async fn run(command: &Command, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => {
            let entries = entries(&Client::new(&args.client, settings)?).await?;
            let shown = if args.json {
                terminal::clean_json(&serde_json::to_string_pretty(&entries)?) + "\n"
            } else {
                list(&entries)
            };
            terminal::print(&shown)?;
        }
        Command::Show(args) => {
            let entry = Client::new(&args.client, settings)?.get(&["quarantine", &args.id]).await?;
            terminal::print(&(terminal::clean_json(&serde_json::to_string_pretty(&entry)?) + "\n"))?;
        }
        Command::Retry(args) => return retry(args, &Client::new(&args.client, settings)?).await,
    }
    Ok(Exit::Done)
}

/// The list, whether the answer is one or has it under a name.
async fn entries(client: &Client) -> Result<Vec<Value>, ClientError> {
    let data = client.get(&["quarantine"]).await?;
    Ok(match data {
        Value::Array(entries) => entries,
        Value::Object(mut fields) => match fields.remove("entries").or_else(|| fields.remove("events")) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    })
}

async fn retry(args: &Retry, client: &Client) -> anyhow::Result<Exit> {
    let ids = if args.all {
        entries(client).await?.iter().map(|entry| text(entry, "id")).collect()
    } else {
        args.ids.clone()
    };
    let mut failed = 0;
    for id in &ids {
        match client.post(&["quarantine", id, "retry"], &json!({})).await {
            Ok(_) => terminal::note(&format!("{}: handed to delivery", terminal::clean(id))),
            Err(ClientError::Refused(refused)) => {
                failed += 1;
                terminal::note(&terminal::clean_text(&format!("{id}: {refused}")));
            }
            Err(other) => return Err(other.into()),
        }
    }
    terminal::print(&format!("retried {}, failed {failed}\n", ids.len() - failed))?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Negative })
}

fn list(entries: &[Value]) -> String {
    if entries.is_empty() {
        return "nothing is quarantined\n".to_owned();
    }
    let header = ["ID", "REQUEST ID", "REASON"].map(str::to_owned);
    let rows = entries.iter().map(|entry| {
        let reason = terminal::cut(&terminal::clean(&text(entry, "reason")), 200);
        [terminal::clean(&text(entry, "id")), terminal::clean(&text(entry, "request_id")), reason]
    });
    terminal::table(std::iter::once(header).chain(rows))
}

fn text(entry: &Value, key: &str) -> String {
    match entry.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_shows_reasons_and_escapes_them() {
        let text = list(&[json!({"id": "7", "request_id": null, "reason": "bad \x1b[31m row"})]);
        assert!(text.contains("bad \\u{1b}[31m row"), "{text:?}");
        assert_eq!(list(&[]), "nothing is quarantined\n");
    }
}
