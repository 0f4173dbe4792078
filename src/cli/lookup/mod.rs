//! `errata lookup`: one request in full, or a whole ticket in short.

mod bulk;
mod general;
mod limits;
mod page;

use std::io::Read;

use chrono::Utc;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    Exit,
    client::{Client, ClientArgs, ClientError, Refused},
    node::Node,
    settings::Settings,
    terminal::{self, Colour},
    times::{self, Times},
};

/// Most ids that are asked for one by one, because the collector took them for ordinary words of a text.
const ALONE_IDS: usize = 20;

/// Longest text that is read from standard input, bytes.
const TEXT_BYTES: u64 = 1 << 20; // more than the collector takes, so that it is the one to say so

/// Explain what happened to a request: the error, its cause, who else has it, what to answer
///
/// One id gives the whole page. Several ids, any text that holds ids (a ticket), or - (standard input) give a line for
/// each. No time range is needed. Colour is used on a terminal only (NO_COLOR switches it off).
///
/// Exit code: 0 when found, or received and not yet queryable; 1 when not found (the reason is printed; with several ids:
/// when one of them is not found); 2 on failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata lookup 550e8400-e29b-41d4-a716-446655440000
  errata lookup req_8sKd2 01M7KE1BA6MR36ZXJN6Q6ZD31W
  pbpaste | errata lookup -
  errata lookup 550e8400-e29b-41d4-a716-446655440000 --json | jq -r .customer_reply")]
pub struct Args {
    /// A request id; or several, a text with ids, or - for standard input
    #[arg(value_name = "ID", required = true, value_parser = not_blank)]
    ids: Vec<String>,
    /// Print the data of the answer as JSON
    #[arg(long)]
    json: bool,
    /// Show the stored response body of each error too
    #[arg(long, conflicts_with = "json")]
    body: bool,
    #[command(flatten)]
    client: ClientArgs,
}

fn not_blank(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("expected a request id, such as 550e8400-e29b-41d4-a716-446655440000".to_owned());
    }
    Ok(text.to_owned())
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    One(String),
    /// Ids as arguments: each is answered for, also one that looks like no id.
    Several(Vec<String>),
    Text(String),
}

impl Question {
    fn of(ids: &[String]) -> std::io::Result<Self> {
        match ids {
            [dash] if dash == "-" => {
                let mut text = Vec::new();
                std::io::stdin().lock().take(TEXT_BYTES).read_to_end(&mut text)?;
                Ok(Self::Text(String::from_utf8_lossy(&text).into_owned()))
            }
            [id] if !id.trim().contains(char::is_whitespace) => Ok(Self::One(id.trim().to_owned())),
            several if !several.iter().any(|id| id.contains(char::is_whitespace)) => {
                Ok(Self::Several(several.to_vec()))
            }
            texts => Ok(Self::Text(texts.join(" "))),
        }
    }
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let question = Question::of(&args.ids)?;
    let client = Client::new(&args.client, settings)?;
    let (answer, exit) = match &question {
        Question::One(id) => match client.get(&["requests", id]).await {
            Ok(data) => (data, Exit::Done),
            Err(ClientError::Refused(refused)) if is_not_found(&refused) => {
                if args.json {
                    terminal::print(&json_text(&not_found_json(id, &refused))?)?;
                } else {
                    terminal::print(&not_found(id, &refused))?;
                }
                return Ok(Exit::Negative);
            }
            Err(error) => return Err(error.into()),
        },
        Question::Several(ids) => {
            let mut data = client.post(&["requests", "lookup"], &json!({ "text": ids.join(" ") })).await?;
            for id in bulk::missing(&data, ids).into_iter().take(ALONE_IDS) {
                let answer = match client.get(&["requests", &id]).await {
                    Ok(found) => bulk::row(&id, Node::of(&found)),
                    Err(ClientError::Refused(refused)) if is_not_found(&refused) => {
                        let reasons = refused.errors.get("request_id").map(|reasons| reasons.join("; "));
                        json!({ "request_id": id, "state": "not_found", "reason": reasons })
                    }
                    Err(error) => return Err(error.into()),
                };
                bulk::add(&mut data, answer);
            }
            bulk::add_missing(&mut data, ids);
            let exit = bulk::exit(Node::of(&data));
            (data, exit)
        }
        Question::Text(text) => {
            let data = client.post(&["requests", "lookup"], &json!({ "text": text })).await?;
            let exit = bulk::exit(Node::of(&data));
            (data, exit)
        }
    };
    let shown = if args.json {
        json_text(&answer)?
    } else {
        let (colour, times) = (Colour::of_stdout(), Times::local(Utc::now()));
        match question {
            Question::One(_) => page::render(Node::of(&answer), colour, &times, args.body),
            Question::Several(_) | Question::Text(_) => bulk::render(Node::of(&answer), colour, &times),
        }
    };
    terminal::print(&shown)?;
    Ok(exit)
}

fn json_text(data: &Value) -> serde_json::Result<String> {
    Ok(terminal::clean_json(&serde_json::to_string_pretty(data)?) + "\n")
}

/// A 404 that speaks of the request id. Any other is a wrong address.
fn is_not_found(refused: &Refused) -> bool {
    refused.status == StatusCode::NOT_FOUND && refused.errors.contains_key("request_id")
}

fn not_found(id: &str, refused: &Refused) -> String {
    let reasons = refused.errors.get("request_id").into_iter().flatten();
    let mut text = format!("not found: {}\n", terminal::clean(id));
    for line in reasons.flat_map(|reason| terminal::wrap(&terminal::clean_text(reason), terminal::WIDTH - 2)) {
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn not_found_json(id: &str, refused: &Refused) -> Value {
    json!({ "request_id": id, "state": "not_found", "reasons": refused.errors.get("request_id") })
}

#[cfg(test)]
mod tests;
