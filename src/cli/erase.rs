//! `errata erase`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Exit,
    client::{Client, ClientArgs},
    settings::Settings,
    terminal,
};

/// How often it is asked whether an erasure is done.
const INTERVAL: Duration = Duration::from_millis(500);

/// Erase all events of an account, a user or a request, for good
///
/// Stored, queued or quarantined: what was received of them up to now goes, from the token's project. Prints the receipt and waits until it is done;
/// interrupting it does not stop the erasure. Sums (how many errors there were) stay. Needs an admin token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata erase --account-id 17
  errata erase --request-id req_8f14e45f
  errata erase --user-id 82 --no-wait
  errata erase --receipt 01990c2e-…        # how far it is")]
#[group(id = "what", required = true, multiple = false, args = ["account_id", "user_id", "request_id", "receipt"])]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// Erase the events of this account
    #[arg(long, value_name = "ID")]
    account_id: Option<String>,
    /// Erase the events of this user
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Erase the events of this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Show an earlier erasure
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let mut receipt = match &args.receipt {
        Some(id) => client.get(&["erase", id]).await?,
        None => client.post(&["erase"], &args.body()).await?,
    };
    let id = receipt["id"].as_str().unwrap_or_default().to_owned();
    if args.receipt.is_none() && !args.no_wait {
        terminal::note(&format!("erasing; receipt {}", terminal::clean(&id)));
        let mut problem = Value::Null;
        while receipt["state"] != "done" {
            if receipt["problem"] != problem {
                problem = receipt["problem"].clone();
                let text = problem.as_str().unwrap_or("it goes on");
                terminal::note(&terminal::clean_text(&format!("it waits: {text}")));
            }
            tokio::time::sleep(INTERVAL).await;
            receipt = client.get(&["erase", &id]).await?;
        }
    }
    let shown =
        if args.json { terminal::clean_json(&serde_json::to_string_pretty(&receipt)?) + "\n" } else { text(&receipt) };
    terminal::print(&shown)?;
    Ok(Exit::Done)
}

impl Args {
    fn body(&self) -> Value {
        let ids = [("account_id", &self.account_id), ("user_id", &self.user_id), ("request_id", &self.request_id)];
        ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), json!(id.as_ref()?)))).collect()
    }
}

fn text(receipt: &Value) -> String {
    let word = |key: &str| terminal::clean(receipt[key].as_str().unwrap_or("-"));
    let number = |key: &str| receipt[key].as_u64().map_or_else(|| "not counted yet".to_owned(), terminal::grouped);
    let rows = [
        ["receipt", &word("id")],
        ["state", &word("state")],
        ["erased by", &word("kind")],
        ["requested", &word("requested_at")],
        ["done", &word("done_at")],
        ["stored events", &number("stored")],
        ["queued events", &number("withheld")],
        ["quarantined", &number("quarantined")],
        ["problem", &word("problem")],
        ["reaches", &word("reach")],
    ]
    .map(|[name, value]| [name.to_owned(), value.to_owned()]);
    terminal::table(rows.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receipt_is_a_table() {
        let text = text(
            &json!({"id": "7", "state": "done", "stored": 1234, "withheld": 0, "quarantined": 0, "reach": "ask each"}),
        );
        assert!(text.contains("1,234") || text.contains("1234") || text.contains("1 234"), "{text}");
        assert!(text.contains("done") && text.contains("problem"), "{text}");
        assert!(text.contains("ask each"), "{text}");
    }
}
