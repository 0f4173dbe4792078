//! The filters of the event search as flags.

use std::fmt;

use clap::Args;

/// Which events.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters (repeat one for several values)")]
pub struct Filters {
    /// Status code, or 4xx, 5xx
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Service that answered
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// production, staging …
    #[arg(long, value_name = "NAME")]
    environment: Vec<String>,
    /// Version of the service
    #[arg(long, value_name = "VERSION")]
    release: Vec<String>,
    /// Template of the path, such as /api/orders/{id}
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// GET, POST …
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Account the request was made for
    #[arg(long, value_name = "ID")]
    account: Vec<String>,
    /// User who made the request
    #[arg(long, value_name = "ID")]
    user: Vec<String>,
    /// Field with an error, such as items[].sku
    #[arg(long, value_name = "FIELD")]
    field: Vec<String>,
    /// Rule that a field broke, such as required
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Kind of error, 16 hex digits
    #[arg(long, value_name = "HEX")]
    fingerprint: Vec<String>,
    /// Text in the error or a field's message
    #[arg(long, short = 'q', value_name = "TEXT")]
    text: Option<String>,
}

/// Where a range begins unless it is said.
const FROM: &str = "-24h";

/// From when to when.
#[derive(Clone, Debug, Default, Args)]
pub struct Range {
    /// Start of the range: RFC 3339, a date such as 2026-11-17 (its begin, UTC), a time before now such as -7d, or now
    #[arg(long, value_name = "TIME", default_value = FROM, allow_hyphen_values = true)]
    from: String,
    /// End of the range, as --from, but of a date its end; default: now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
}

/// Parameters of a question: name and value.
pub type Query = Vec<(&'static str, String)>;

impl Filters {
    pub fn query(&self) -> Query {
        let lists = [
            ("status", &self.status),
            ("service", &self.service),
            ("environment", &self.environment),
            ("release", &self.release),
            ("route", &self.route),
            ("method", &self.method),
            ("account_id", &self.account),
            ("user_id", &self.user),
            ("field", &self.field),
            ("rule", &self.rule),
            ("fingerprint", &self.fingerprint),
        ];
        let mut query: Query = lists
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone())))
            .collect();
        query.extend(self.text.clone().map(|text| ("q", text)));
        query
    }
}

impl Range {
    pub fn query(&self) -> Query {
        let mut query = vec![("from", self.from.clone())];
        query.extend(self.to.clone().map(|to| ("to", to)));
        query
    }
}

/// As it goes on after what was found: `no event fits in the last 24 hours`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from.as_str(), &self.to) {
            (FROM, None) => f.write_str("in the last 24 hours (--from goes further back)"),
            (from, to) => write!(f, "from {from} to {}", to.as_deref().unwrap_or("now")),
        }
    }
}
