//! `errata top`.

use reqwest::Method;
use serde_json::Value;

use super::{
    Exit,
    client::{Client, ClientArgs},
    filters::{Filters, Range},
    newest::note_on_nothing,
    node::Node,
    settings::Settings,
    terminal::{self, WIDTH, grouped},
};
use crate::inert::csv_record;

/// List what has most errors: field validations, routes or accounts
///
/// Exit code: 0 when there is something, 1 when nothing fits, 2 on failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata top validation --from -7d
  errata top routes --status 5xx
  errata top accounts --status 429 --csv > accounts.csv")]
pub struct Args {
    /// What to list
    what: What,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    range: Range,
    /// How many rows at most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Print the data of the answer as JSON
    #[arg(long)]
    json: bool,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// Fields and the rules they broke; needs the role product
    Validation,
    /// Methods and routes
    Routes,
    /// Accounts; for the role product by their pseudonyms
    Accounts,
}

impl What {
    /// Where it is asked.
    const fn question(self) -> (&'static [&'static str], &'static str, &'static str) {
        match self {
            Self::Validation => (&["validation", "failures"], "group_by", "field,rule"),
            Self::Routes => (&["events", "top"], "by", "method,route"),
            Self::Accounts => (&["events", "top"], "by", "account_id"),
        }
    }

    /// Columns: title, and the row's key. Counts come first; the last column may be cut.
    const fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Validation => &[
                ("FAILURES", "count"),
                ("EVENTS", "events"),
                ("ACCOUNTS", "accounts"),
                ("SHARE", "share"),
                ("RULE", "rule"),
                ("FIELD", "field"),
            ],
            Self::Routes => &[("EVENTS", "events"), ("SHARE", "share"), ("METHOD", "method"), ("ROUTE", "route")],
            Self::Accounts => &[("EVENTS", "events"), ("SHARE", "share"), ("ACCOUNT", "account_id")],
        }
    }
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let (segments, name, keys) = args.what.question();
    let mut query = args.filters.query();
    query.extend(args.range.query());
    query.extend([(name, keys.to_owned()), ("limit", args.limit.to_string())]);
    let data = client.send(client.request(Method::GET, segments).query(&query)).await?;
    let rows = Node::of(&data).list("rows").len();
    let shown = if args.json {
        terminal::clean_json(&serde_json::to_string_pretty(&data)?) + "\n"
    } else if args.csv {
        csv(args.what, &data)
    } else {
        table(args.what, &data)
    };
    terminal::print(&shown)?;
    if rows == 0 {
        terminal::note(&note_on_nothing(&client, "nothing fits", &args.range).await);
        return Ok(Exit::Negative);
    }
    Ok(Exit::Done)
}

fn csv(what: What, data: &Value) -> String {
    let columns = what.columns();
    let header: Vec<_> = columns.iter().map(|(_, key)| *key).collect();
    let rows = Node::of(data).list("rows");
    let records = rows.map(|row| csv_record(&columns.iter().map(|(_, key)| row.raw(key)).collect::<Vec<_>>()));
    std::iter::once(csv_record(&header)).chain(records).collect()
}

fn table(what: What, data: &Value) -> String {
    let columns = what.columns();
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect()];
    rows.extend(Node::of(data).list("rows").map(|row| columns.iter().map(|(_, key)| shown(row, key)).collect()));
    let last = columns.len() - 1;
    // A rule may be long as well; the field beside it counts more.
    let widths: Vec<usize> = (0..last)
        .map(|column| rows.iter().map(|row| terminal::columns(&row[column])).max().unwrap_or_default().min(30))
        .collect();
    let room = WIDTH.saturating_sub(widths.iter().map(|width| width + 2).sum());
    let line = |row: &Vec<String>| {
        let cells = widths.iter().enumerate().map(|(column, width)| {
            let cell = terminal::cut(&row[column], *width);
            let gap = " ".repeat(width - terminal::columns(&cell));
            let is_number = matches!(columns[column].1, "count" | "events" | "accounts" | "share");
            if is_number { gap + &cell } else { cell + &gap }
        });
        let cells: Vec<_> = cells.chain([terminal::cut(&row[last], room)]).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn shown(row: Node<'_>, key: &str) -> String {
    match key {
        "share" => format!("{:.1} %", row.number(key).unwrap_or_default() * 100.0),
        "count" | "events" | "accounts" => grouped(row.count(key).unwrap_or_default()),
        "field" | "route" if row.raw(key).is_empty() => "(none)".to_owned(),
        _ => row.text(key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_fit_80_columns_and_csv_is_inert() {
        let hostile = "=1\u{1b}[2J,".repeat(5000);
        let data = json!({"rows": [
            {"field": "site_id", "rule": "not_owned", "count": 1234, "events": 1200, "accounts": 7, "share": 0.714},
            {"field": hostile, "rule": hostile, "count": 1, "events": 1, "accounts": 0, "share": 0.0001},
        ]});
        let text = table(What::Validation, &data);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("FAILURES  EVENTS  ACCOUNTS   SHARE  RULE "), "{text}");
        assert!(lines[1].starts_with("   1,234   1,200         7  71.4 %  not_owned "), "{text}");
        assert!(lines.iter().all(|line| terminal::columns(line) <= WIDTH) && !text.contains('\u{1b}'), "{text:?}");
        let text = csv(What::Validation, &data);
        assert!(text.starts_with("count,events,accounts,share,rule,field\r\n1234,1200,7,0.714,not_owned,site_id\r\n"));
        assert!(text.lines().nth(2).unwrap().starts_with("1,1,0,0.0001,\"'=1\\u{1b}[2J,"), "{text:.200}");
    }
}
