//! `errata token`: directly on the state database; a running collector sees the change with the next request.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Exit, duration, settings::Settings, terminal};
use crate::{
    clock::Clock,
    state::{self, Limit, NewToken, Role, State, TokenInfo},
};

/// Make, list and revoke tokens; a running collector needs no restart
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Make a token and print it, once
///
/// Roles: ingest (ship events), support (look up, search), sre (error rates, search), product (validation analytics,
/// search without personal columns), admin (everything).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata token create --name shop-api --project shop --role ingest
  errata token create --name anna --project shop --role support --role product --expires 90d
  errata token create --name batch --project shop --role ingest --limit 10000/60s
  TOKEN=$(errata token create --name ci --project shop --role ingest)")]
pub struct Create {
    /// Name in lists and logs; each is used once
    #[arg(long, value_parser = name)]
    name: String,
    /// Tenant whose events the token ships and sees
    #[arg(long, value_parser = name)]
    project: String,
    /// What the token may do (repeatable)
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// Lifetime such as 12h or 90d; default: none
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    expires: Option<Duration>,
    /// Events per window such as 10000/60s; past it 429; default: none
    #[arg(long, value_name = "N/WINDOW")]
    limit: Option<Limit>,
}

/// List all tokens (not their texts: only hashes are kept)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata token list
  errata token list --json | jq -r '.[].name'")]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Revoke a token, at once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  errata token revoke shop-api")]
pub struct Revoke {
    /// Name or id, as in `errata token list`
    #[arg(value_name = "NAME")]
    name: String,
}

pub fn run(command: &Command, settings: &Settings) -> anyhow::Result<Exit> {
    let data_dir = settings.load()?.data_dir;
    // Making a token may come before the first start; listing an empty directory into being is a mistake in its name.
    let is_new = !data_dir.join(state::FILE).is_file();
    if is_new && !matches!(command, Command::Create(_)) {
        anyhow::bail!(
            "{} holds no state of a collector; name its data directory by --data-dir or ERRATA_DATA_DIR",
            data_dir.display()
        );
    }
    let state = State::open(&data_dir)?;
    let now_ms = Clock::system().now_ms();
    match command {
        Command::Create(args) => {
            let token = state.create_token(&args.new_token(now_ms), now_ms)?;
            if is_new {
                terminal::note(&format!(
                    "no collector has used {} yet: a collector elsewhere will not know this token (name its data directory by \
                     --data-dir or ERRATA_DATA_DIR)",
                    std::path::absolute(&data_dir)?.display()
                ));
            }
            terminal::note(&format!(
                "made the token {:?} for the project {:?}; it is shown this once, keep it safe:",
                args.name, args.project
            ));
            terminal::print(&format!("{token}\n"))?;
        }
        Command::List(args) => {
            let tokens = state.tokens()?;
            let shown = if args.json { serde_json::to_string_pretty(&tokens)? + "\n" } else { table(&tokens, now_ms) };
            terminal::print(&shown)?;
        }
        Command::Revoke(args) => {
            state.revoke_token(&args.name, now_ms)?;
            terminal::note(&format!("revoked {:?}", args.name));
        }
    }
    Ok(Exit::Done)
}

impl Create {
    fn new_token(&self, now_ms: i64) -> NewToken {
        let mut roles = self.roles.clone();
        roles.sort_by_key(|role| role.as_str());
        roles.dedup();
        NewToken {
            name: self.name.clone(),
            project: self.project.clone(),
            roles,
            expires_ms: self.expires.map(|lifetime| now_ms + lifetime.as_millis() as i64),
            limit: self.limit,
        }
    }
}

/// Names stand in lists, logs and labels: 1–64 letters, digits, `-`, `_`, `.`.
fn name(text: &str) -> Result<String, String> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 letters, digits, -, _ or .".to_owned())
    }
}

fn table(tokens: &[TokenInfo], now_ms: i64) -> String {
    if tokens.is_empty() {
        return "no tokens; `errata token create --name N --project P --role ingest` makes one\n".to_owned();
    }
    let header = ["NAME", "PROJECT", "ROLES", "LIMIT", "CREATED", "EXPIRES", "ID"].map(str::to_owned);
    let rows = tokens.iter().map(|token| {
        let roles: Vec<_> = token.roles.iter().map(|role| role.as_str()).collect();
        let expires = match token.expires_ms {
            None => "never".to_owned(),
            Some(at) if at <= now_ms => format!("{} (over)", day(at)),
            Some(at) => day(at),
        };
        [
            terminal::clean(&token.name),
            terminal::clean(&token.project),
            roles.join(","),
            token.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
            day(token.created_ms),
            expires,
            token.id.clone(),
        ]
    });
    terminal::table(std::iter::once(header).chain(rows))
}

fn day(at_ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(at_ms)
        .map_or_else(|| "?".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true)[..10].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create() -> Create {
        Create {
            name: "shop-api".into(),
            project: "shop".into(),
            roles: vec![Role::Support, Role::Ingest, Role::Support],
            expires: Some(Duration::from_hours(24)),
            limit: Some("10/60s".parse().unwrap()),
        }
    }

    #[test]
    fn a_created_token_is_in_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let now_ms = 1_794_873_600_000;
        state.create_token(&create().new_token(now_ms), now_ms).unwrap();
        let text = table(&state.tokens().unwrap(), now_ms);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("NAME"), "{text}");
        for expected in ["shop-api", "ingest,support", "10/60s", "2026-11-17", "2026-11-18"] {
            assert!(lines[1].contains(expected), "{expected}: {text}");
        }
        assert!(table(&state.tokens().unwrap(), now_ms + 86_400_000).contains("(over)"));
    }

    #[test]
    fn an_empty_list_teaches() {
        assert!(table(&[], 0).contains("errata token create"));
    }

    #[test]
    fn names_are_plain() {
        assert!(name("shop-api_2.eu").is_ok());
        for text in ["", "a b", "a\n", "é", &"a".repeat(65)] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }
}
