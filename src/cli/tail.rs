//! `errata tail`.

use std::time::Duration;

use chrono::Utc;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{
    Exit,
    client::{Client, ClientArgs, ClientError, Stream},
    filters::Filters,
    node::Node,
    search::entry,
    settings::Settings,
    terminal::{self, Colour},
    times::Times,
};

/// How long it is waited before a tail that ended is opened again.
const AGAIN: Duration = Duration::from_secs(2);

/// Follow events live, as they become visible: some two seconds after the collector took them
///
/// Runs until it is interrupted. When the connection breaks it is opened again and goes on after the last event that was shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata tail
  errata tail --status 5xx --service igny8-api
  errata tail --account 17 --json | jq -r .request_id")]
pub struct Args {
    #[command(flatten)]
    filters: Filters,
    /// Print whole events as JSON, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let query = args.filters.query();
    let mut last: Option<String> = None;
    let mut has_opened = false;
    loop {
        let mut request = client.request(Method::GET, &["events", "tail"]).query(&query);
        if let Some(last) = &last {
            request = request.header("Last-Event-ID", last);
        }
        let ended = match client.stream(request).await {
            Ok(stream) => {
                if !has_opened {
                    terminal::note("following; Ctrl-C ends");
                }
                has_opened = true;
                match follow(stream, args.json, &mut last).await {
                    Ok(()) => "the collector ended the tail".to_owned(),
                    Err(error) => match error.downcast::<ClientError>() {
                        Ok(error) => error.to_string(),
                        // Nobody reads what is printed.
                        Err(error) => return Err(error),
                    },
                }
            }
            // One that has run before may wait for the collector; a refusal is final.
            Err(error) if has_opened && may_pass(&error) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        terminal::note(&format!("{}; opening it again", terminal::clean(&ended)));
        tokio::time::sleep(AGAIN).await;
    }
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refused) => {
            refused.status.is_server_error() || refused.status == StatusCode::TOO_MANY_REQUESTS
        }
        ClientError::Unreachable { .. } => true,
        _ => false,
    }
}

/// Prints what a tail tells until it ends.
async fn follow(mut stream: Stream<'_>, json: bool, last: &mut Option<String>) -> anyhow::Result<()> {
    let colour = Colour::of_stdout();
    let mut message = Message::default();
    while let Some(line) = stream.line().await? {
        if !line.trim_end_matches('\r').is_empty() {
            message.take(line.trim_end_matches('\r'));
            continue;
        }
        let Message { kind, id, data } = std::mem::take(&mut message);
        if data.is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(&data)?;
        match kind.as_str() {
            "" if json => terminal::print(&(terminal::clean_json(&data) + "\n"))?,
            "" => terminal::print(&entry(Node::of(&value), colour, &Times::local(Utc::now())))?,
            _ => terminal::note(&note(&kind, Node::of(&value))),
        }
        if id.is_some() {
            *last = id;
        }
    }
    Ok(())
}

fn note(kind: &str, data: Node<'_>) -> String {
    match kind {
        "missed" => {
            let count = terminal::grouped(data.count("count").unwrap_or_default());
            format!("… {count} more are not shown, they came too fast; `errata search` has them")
        }
        _ => format!("… {}", data.text("message")),
    }
}

/// A server-sent event, as far as it has come.
#[derive(Debug, Default, PartialEq)]
struct Message {
    kind: String,
    id: Option<String>,
    data: String,
}

impl Message {
    fn take(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.kind),
            "id" => self.id = Some(value.to_owned()),
            "data" => self.data.push_str(value),
            // A comment, or a pause to keep.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::stub::{Reply, Stub};

    #[tokio::test]
    async fn messages_are_read_and_the_last_id_is_kept() {
        let body = "retry: 2000\n: hello\n\nid: a.1\ndata: {\"status\":500,\"request_id\":\"r\"}\n\nevent: missed\ndata: {\"count\":3}\n\n";
        let stub = Stub::start(move |_| Reply::Cutting { kind: "text/event-stream", length: body.len(), body }).await;
        let client = stub.client();
        let stream = client.stream(client.request(Method::GET, &["events", "tail"])).await.unwrap();
        let mut last = None;
        follow(stream, true, &mut last).await.unwrap();
        assert_eq!(last.as_deref(), Some("a.1"));
    }

    #[test]
    fn lines_make_a_message() {
        let mut message = Message::default();
        for line in [": comment", "id: 7", "event:missed", "data: {\"a\":", "data: 1}"] {
            message.take(line);
        }
        assert_eq!(message, Message { kind: "missed".into(), id: Some("7".into()), data: "{\"a\":1}".into() });
        let missed = serde_json::json!({"count": 1234});
        assert!(note("missed", Node::of(&missed)).starts_with("… 1,234 more"));
    }
}
