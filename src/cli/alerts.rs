//! `errata alerts`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};

use super::{
    Exit,
    client::{Client, ClientArgs},
    settings::Settings,
    terminal,
};
use crate::{
    alerts::{
        Rule, RuleSet,
        notify::{self, Notification},
    },
    clock::Clock,
    config::Config,
};

/// Check, list and try alert rules and receivers
///
/// Rules are in the file that `alerts` (ERRATA_ALERTS) names; without one the built-in rules are on. docs/alerts.md
/// explains every kind and key.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Check(Check),
    List(List),
    Test(Test),
    SendTest(SendTest),
}

/// Validate a file of rules; every problem names its rule and key, exit code 1 when there is one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata alerts check
  errata alerts check alerts.toml && errata serve --set alerts=alerts.toml")]
pub struct Check {
    /// Default: the configured file
    file: Option<PathBuf>,
}

/// List the rules in effect, the built-in ones among them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata alerts list
  errata alerts list --file alerts.toml")]
pub struct List {
    /// Rules to list; default: the configured file
    #[arg(long)]
    file: Option<PathBuf>,
}

/// Replay rules over stored history: when would each have fired and resolved
///
/// The running collector replays them as it would have evaluated them, by the events' own time; nobody is notified.
/// Exit code 1 when something would have fired.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata alerts test --from -7d
  errata alerts test --rule rate-limited --from 2026-11-17 --to 2026-11-18
  errata alerts test --file alerts.toml --from -24h --json | jq '.firings[].rule'")]
pub struct Test {
    #[command(flatten)]
    client: ClientArgs,
    /// Name of one rule; default: every rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Rules to replay; default: those that the collector has in effect
    #[arg(long)]
    file: Option<PathBuf>,
    /// Start of the range: RFC 3339, a date such as 2026-11-17 (its begin, UTC), a time before now such as -7d, or now
    #[arg(long, default_value = "-24h", allow_hyphen_values = true)]
    from: String,
    /// End of the range, as --from, but of a date its end; default: now
    #[arg(long, allow_hyphen_values = true)]
    to: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Send a test notification to the receivers of a file, from this machine
///
/// Says for each whether it has taken the message; exit code 1 when one has not. No running collector is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata alerts send-test
  errata alerts send-test --receiver on-call --file alerts.toml")]
pub struct SendTest {
    /// Name of one receiver; default: every receiver
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// Receivers to tell; default: those of the configured file
    #[arg(long)]
    file: Option<PathBuf>,
}

pub async fn run(command: &Command, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::Check(args) => {
            let (name, text) = text_of(args.file.as_deref(), settings)?;
            let (shown, exit) = report(&name, &text);
            terminal::print(&terminal::clean_text(&shown))?;
            Ok(exit)
        }
        Command::List(args) => {
            let (name, text) = text_of(args.file.as_deref(), settings)?;
            let set = RuleSet::parse(&text).with_context(|| name)?;
            terminal::print(&list(&set))?;
            Ok(Exit::Done)
        }
        Command::Test(args) => test(args, settings).await,
        Command::SendTest(args) => send_test(args, settings).await,
    }
}

/// A file of rules and what it is called: the one named, else the configured one, else the built-in rules (an empty file).
fn text_of(file: Option<&Path>, settings: &Settings) -> anyhow::Result<(String, String)> {
    let configured = match file {
        Some(_) => Config::default(),
        None => settings.load()?,
    };
    let path = match file {
        Some(file) => file,
        None if configured.alerts.is_empty() => return Ok(("the built-in rules".to_owned(), String::new())),
        None => Path::new(&configured.alerts),
    };
    let name = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Ok((name, text))
}

fn report(name: &str, text: &str) -> (String, Exit) {
    match RuleSet::parse(text) {
        Ok(set) => {
            let (rules, receivers) = (set.rules.len(), set.receivers.len());
            (format!("{name}: {rules} rules, {receivers} receivers\n"), Exit::Done)
        }
        Err(problems) => {
            let count = problems.0.len();
            let lines = problems.0.iter().map(|problem| format!("{name}: {problem}\n"));
            let plural = if count == 1 { "" } else { "s" };
            (lines.chain([format!("{count} problem{plural}\n")]).collect(), Exit::Negative)
        }
    }
}

fn list(set: &RuleSet) -> String {
    let header = ["RULE", "KIND", "SEVERITY", "FIRES WHEN"].map(str::to_owned);
    let row = |rule: &Rule| {
        let name = terminal::clean(&rule.name);
        [name, rule.kind.as_str().to_owned(), rule.severity.as_str().to_owned(), rule.describe()]
    };
    terminal::table(std::iter::once(header).chain(set.rules.iter().map(row)))
}

async fn test(args: &Test, settings: &Settings) -> anyhow::Result<Exit> {
    let rules = match &args.file {
        Some(file) => Some(text_of(Some(file), settings)?.1),
        None => None,
    };
    let client = Client::new(&args.client, settings)?;
    let body = json!({"rules": rules, "rule": args.rule, "from": args.from, "to": args.to});
    let result = client.post(&["alerts", "test"], &body).await?;
    let firings = result["firings"].as_array().cloned().unwrap_or_default();
    let shown = if args.json {
        terminal::clean_json(&serde_json::to_string_pretty(&result)?) + "\n"
    } else {
        firings_text(&result, &firings)
    };
    terminal::print(&shown)?;
    Ok(if firings.is_empty() { Exit::Done } else { Exit::Negative })
}

async fn send_test(args: &SendTest, settings: &Settings) -> anyhow::Result<Exit> {
    let (name, text) = text_of(args.file.as_deref(), settings)?;
    let set = RuleSet::parse(&text).with_context(|| name.clone())?;
    let asked = set.receivers.iter().filter(|one| args.receiver.as_ref().is_none_or(|name| *name == one.name));
    let asked: Vec<_> = asked.collect();
    if asked.is_empty() {
        anyhow::bail!("{name} has no such receiver; add a [[receiver]] (docs/alerts.md shows each type)");
    }
    let base_url = settings.load()?.base_url();
    let mut exit = Exit::Done;
    for receiver in asked {
        let now_ms = Clock::system().now_ms();
        let shown = match notify::send(receiver, &Notification::test(now_ms, &base_url), now_ms).await {
            Ok(()) => "sent".to_owned(),
            Err(error) => {
                exit = Exit::Negative;
                format!("not sent: {error}")
            }
        };
        let line = format!("{} ({}): {shown}\n", receiver.name, receiver.kind.as_str());
        terminal::print(&terminal::clean_text(&line))?;
    }
    Ok(exit)
}

fn firings_text(result: &Value, firings: &[Value]) -> String {
    let text = |value: &Value, key: &str| terminal::clean(value[key].as_str().unwrap_or_default());
    let rules = result["rules"].as_array().map_or(0, Vec::len);
    let range = format!("{} to {}", text(result, "from"), text(result, "to"));
    if firings.is_empty() {
        return format!("nothing would have fired from {range} ({rules} rules)\n");
    }
    let lines = firings.iter().map(|firing| {
        let labels = firing["labels"].as_object().into_iter().flatten();
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}={}", terminal::clean(value.as_str().unwrap_or_default())))
            .collect();
        let resolved = match firing["resolved_at"].as_str() {
            Some(at) => format!("resolved {}", terminal::clean(at)),
            None => "still firing at the end".to_owned(),
        };
        format!(
            "{} ({})  fired {}, {resolved}\n  {}\n  {}\n",
            text(firing, "rule"),
            text(firing, "severity"),
            text(firing, "fired_at"),
            labels.join(" "),
            text(firing, "summary"),
        )
    });
    let lines: Vec<_> = lines.collect();
    format!("{}\n{} would have fired from {range} ({rules} rules)\n", lines.join("\n"), firings.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_named_with_the_file() {
        let (text, exit) =
            report("a.toml", "[[rule]]\nname = 'x'\nkind = 'rate_limited'\nseverity = 'loud'\nthreshold = -1");
        assert_eq!(exit, Exit::Negative);
        assert!(text.contains("a.toml: rule \"x\": threshold: ") && text.ends_with("2 problems\n"), "{text}");
        assert_eq!(report("the built-in rules", "").1, Exit::Done);
    }

    #[test]
    fn the_list_says_when_each_rule_fires() {
        let text = list(&RuleSet::builtin().unwrap());
        assert!(text.contains("rate-limited") && text.contains("60 × 429 within 5m"), "{text}");
    }

    #[test]
    fn a_firing_is_told_with_its_times_and_labels() {
        let firing = json!({"rule": "r", "severity": "page", "labels": {"account": "17\u{1b}"}, "fired_at": "a", "resolved_at": "b",
            "summary": "s"});
        let text = firings_text(&json!({"from": "f", "to": "t", "rules": ["r"]}), &[firing]);
        assert!(text.starts_with("r (page)  fired a, resolved b\n  account=17\\u{1b}\n  s\n"), "{text}");
        assert!(firings_text(&json!({"rules": []}), &[]).starts_with("nothing would have fired"));
    }
}
