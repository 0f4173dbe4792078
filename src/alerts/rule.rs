//! What an alert rule is, validated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{keys::length, receiver::Receiver};
use crate::store::query::{Filter, StatusFilter};

/// Names and values that tell one series of a rule from another.
pub type Labels = BTreeMap<String, String>;

pub const SECOND_MS: i64 = 1000;
pub const MINUTE_MS: i64 = 60_000;
pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 86_400_000;

/// The rules in effect, and what they share.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub rules: Vec<Rule>,
    pub objectives: Objectives,
    pub receivers: Vec<Receiver>,
}

/// Parts of requests that must succeed, 0 to 1, by service.
#[derive(Clone, Debug, PartialEq)]
pub struct Objectives {
    /// By `service/environment` or `service`.
    by_service: BTreeMap<String, f64>,
    other: f64,
}

impl Default for Objectives {
    fn default() -> Self {
        Self { by_service: BTreeMap::new(), other: 0.999 }
    }
}

impl Objectives {
    /// The key of all services that have none of their own.
    pub const OTHER: &'static str = "*";

    pub fn set(&mut self, key: &str, target: f64) {
        if key == Self::OTHER {
            self.other = target;
        } else {
            self.by_service.insert(key.to_owned(), target);
        }
    }

    /// The target of a service in an environment: the most exact one that is set.
    #[must_use]
    pub fn of(&self, service: &str, environment: &str) -> f64 {
        let exact = self.by_service.get(&format!("{service}/{environment}"));
        exact.or_else(|| self.by_service.get(service)).copied().unwrap_or(self.other)
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique; also the `alertname` that receivers see.
    pub name: String,
    pub kind: Kind,
    pub severity: Severity,
    /// A rule that is off takes the place of a built-in one; it is in no [`RuleSet`].
    pub enabled: bool,
    /// How long the condition must hold before it fires, milliseconds.
    pub for_ms: i64,
    /// How long the condition must be gone before it resolves, milliseconds.
    pub keep_firing_ms: i64,
    /// Added to each alert.
    pub labels: Labels,
    /// Where people read what to do; may be empty.
    pub runbook: String,
    /// Names of those who are told; empty: all.
    pub receivers: Vec<String>,
    pub only: Only,
}

/// What a rule is limited to; an empty list is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    pub projects: Vec<String>,
    pub services: Vec<String>,
    pub environments: Vec<String>,
    pub routes: Vec<String>,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody must look now.
    Page,
    /// Somebody must look on a working day.
    Ticket,
}

impl Severity {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// What a rule watches. Lengths of time are milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    ServerErrors(BurnRate),
    ServerErrorCount(ErrorCount),
    RateLimited(RateLimited),
    NewError(NewError),
    ValidationSpike(ValidationSpike),
    Silence(Silence),
}

/// How fast a service spends the errors that its objective allows, in two windows at once: the long one says that it matters, the
/// short one that it goes on (Site Reliability Workbook, chapter 5). Needs request totals.
#[derive(Clone, Debug, PartialEq)]
pub struct BurnRate {
    /// Any pair that is over its burn rate is enough.
    pub windows: Vec<BurnWindow>,
    /// Errors within the long window that are never too many: at night one error may be a tenth of all requests.
    pub min_errors: u64,
}

/// Two windows, and the burn rate that both must reach. Whole minutes; a long window of more than [`BY_THE_MINUTE_MS`] begins on a
/// whole hour, and counts once request totals reach back over it (but for six hours).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnWindow {
    pub long_ms: i64,
    pub short_ms: i64,
    pub burn: f64,
}

/// Request totals are read by the minute so far back, and by the hour before.
pub const BY_THE_MINUTE_MS: i64 = 6 * HOUR_MS;

/// Request totals may be so far behind; when a service's are further behind, nothing is known of it.
pub const TOTALS_LAG_MS: i64 = 5 * MINUTE_MS;

/// 5xx per minute over the larger of a floor and a multiple of what is usual.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorCount {
    pub window_ms: i64,
    /// Errors per minute that are never too many.
    pub floor: f64,
    /// How many times the usual rate is too many.
    pub factor: f64,
    /// How far back "usual" (the median of whole hours) looks.
    pub baseline_ms: i64,
    /// Accounts that must be affected, where events name any.
    pub min_accounts: u64,
    /// Whether services that ship request totals are watched too: those have burn rates.
    pub with_totals: bool,
    pub group_by: Vec<GroupKey>,
}

/// 429s of one account, or route, over a threshold in a window; or an episode that lasts.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimited {
    pub window_ms: i64,
    pub threshold: u64,
    /// An episode (429s without a pause longer than [`EPISODE_GAP_MS`]) that has lasted so long and has the threshold's number of events
    /// in all; 0: episodes do not count.
    pub lasting_ms: i64,
    pub group_by: Vec<GroupKey>,
}

/// A longer pause between two 429s ends an episode; as in the answers to lookups.
pub const EPISODE_GAP_MS: i64 = crate::store::query::rate_limit::GAP_MS;

/// A fingerprint that was not seen for long, if ever.
#[derive(Clone, Debug, PartialEq)]
pub struct NewError {
    /// How long it counts as new.
    pub window_ms: i64,
    /// How far back it must not have been seen.
    pub look_back_ms: i64,
    /// Time from a project's first event in which everything is new and nothing fires.
    pub learning_ms: i64,
    pub min_events: u64,
    pub min_accounts: u64,
    pub statuses: Vec<StatusFilter>,
}

/// Field errors of one (route, field, rule) far over what is usual at this hour.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationSpike {
    /// Median absolute deviations above the median.
    pub deviations: f64,
    /// With fewer than seven days of history: times the highest hour.
    pub peak_factor: f64,
    pub min_events: u64,
    pub history_ms: i64,
    pub learning_ms: i64,
}

/// A service that shipped regularly and stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub window_ms: i64,
    /// Part of the windows of the day before that must have had something.
    pub regular: f64,
}

/// What series are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKey {
    Service,
    Environment,
    Route,
    Method,
    Account,
}

impl GroupKey {
    pub const ALL: [Self; 5] = [Self::Service, Self::Environment, Self::Route, Self::Method, Self::Account];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Route => "route",
            Self::Method => "method",
            Self::Account => "account",
        }
    }
}

impl Kind {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ServerErrors(_) => "server_errors",
            Self::ServerErrorCount(_) => "server_error_count",
            Self::RateLimited(_) => "rate_limited",
            Self::NewError(_) => "new_error",
            Self::ValidationSpike(_) => "validation_spike",
            Self::Silence(_) => "silence",
        }
    }

    /// Whether an event with some status can be of this kind's making; for what stands beside an alert as evidence.
    #[must_use]
    pub fn statuses(&self) -> Vec<StatusFilter> {
        match self {
            Self::ServerErrors(_) | Self::ServerErrorCount(_) => vec![StatusFilter::Class(5)],
            Self::RateLimited(_) => vec![StatusFilter::Code(429)],
            Self::NewError(kind) => kind.statuses.clone(),
            Self::ValidationSpike(_) | Self::Silence(_) => Vec::new(),
        }
    }

    /// How far before the time of an evaluation it reads.
    #[must_use]
    pub fn reach_ms(&self) -> i64 {
        match self {
            Self::ServerErrors(kind) => {
                let longest = kind.windows.iter().map(|window| window.long_ms).max().unwrap_or_default();
                longest + HOUR_MS + TOTALS_LAG_MS
            }
            Self::ServerErrorCount(kind) => kind.baseline_ms + kind.window_ms + HOUR_MS,
            Self::RateLimited(kind) => kind.window_ms.max(kind.lasting_ms + EPISODE_GAP_MS) + EPISODE_GAP_MS,
            Self::NewError(kind) => kind.look_back_ms,
            Self::ValidationSpike(kind) => kind.history_ms + 2 * HOUR_MS,
            Self::Silence(kind) => kind.window_ms + 2 * DAY_MS,
        }
    }

    /// What the windows are made of: minutes, or seconds where a window is no whole number of minutes.
    #[must_use]
    pub fn step_ms(&self) -> i64 {
        let window_ms = match self {
            Self::ServerErrorCount(kind) => kind.window_ms,
            Self::RateLimited(kind) => kind.window_ms,
            Self::ServerErrors(_) | Self::NewError(_) | Self::ValidationSpike(_) => MINUTE_MS,
            Self::Silence(kind) => kind.window_ms,
        };
        if window_ms % MINUTE_MS == 0 { MINUTE_MS } else { SECOND_MS }
    }
}

impl Rule {
    /// What it is about, of a range.
    #[must_use]
    pub fn filter(&self, from_ms: i64, to_ms: i64) -> Filter {
        Filter {
            from_ms,
            to_ms,
            services: self.only.services.clone(),
            environments: self.only.environments.clone(),
            routes: self.only.routes.clone(),
            ..Filter::default()
        }
    }

    /// How far apart its evaluations are: the step of its windows, or of `for` where that is finer.
    #[must_use]
    pub fn step_ms(&self) -> i64 {
        let whole = self.for_ms % MINUTE_MS == 0 && self.keep_firing_ms % MINUTE_MS == 0;
        if whole { self.kind.step_ms() } else { SECOND_MS }
    }
}

impl Rule {
    /// When it fires, in a line.
    #[must_use]
    pub fn describe(&self) -> String {
        let held = if self.for_ms == 0 { String::new() } else { format!(", for {}", length(self.for_ms)) };
        format!("{}{held}", self.kind.describe())
    }
}

impl Kind {
    fn describe(&self) -> String {
        let by = |keys: &[GroupKey]| keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
        match self {
            Self::ServerErrors(kind) => {
                let windows = kind.windows.iter().map(|window| {
                    let (long, short) = (length(window.long_ms), length(window.short_ms));
                    format!("{} × over {long} and {short}", window.burn)
                });
                let windows: Vec<_> = windows.collect();
                format!("error budget burns {}, at least {} errors", windows.join(" or "), kind.min_errors)
            }
            Self::ServerErrorCount(kind) => format!(
                "5xx a minute over {}: {} or {} × usual, {} accounts, by {}",
                length(kind.window_ms),
                kind.floor,
                kind.factor,
                kind.min_accounts,
                by(&kind.group_by)
            ),
            Self::RateLimited(kind) => {
                let lasting = match kind.lasting_ms {
                    0 => String::new(),
                    ms => format!(", or without a pause for {}", length(ms)),
                };
                let window = length(kind.window_ms);
                format!("{} × 429 within {window}{lasting}, by {}", kind.threshold, by(&kind.group_by))
            }
            Self::NewError(kind) => format!(
                "{} events of {} accounts of an error not seen for {}",
                kind.min_events,
                kind.min_accounts,
                length(kind.look_back_ms)
            ),
            Self::ValidationSpike(kind) => format!(
                "{} field errors an hour, {} deviations over usual or {} × the peak",
                kind.min_events, kind.deviations, kind.peak_factor
            ),
            Self::Silence(kind) => format!("nothing for {} of a regular service", length(kind.window_ms)),
        }
    }
}
