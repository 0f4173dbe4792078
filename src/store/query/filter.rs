//! Which events a question is about: the filters of `GET /api/v1/events`.

use super::{CLOCK_AHEAD_MS, Sql, Value};
use crate::event::pseudonym::MASK;

/// Events of a time range that fit every list that is not empty (one of its values).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// First timestamp that counts, milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// First timestamp that does not count any more.
    pub to_ms: i64,
    pub statuses: Vec<StatusFilter>,
    pub services: Vec<String>,
    pub environments: Vec<String>,
    pub routes: Vec<String>,
    pub methods: Vec<String>,
    pub account_ids: Vec<String>,
    pub user_ids: Vec<String>,
    /// Field of a field error (`items[].sku`). With `rules`: both of the same field error.
    pub fields: Vec<String>,
    pub rules: Vec<String>,
    pub fingerprints: Vec<u64>,
    pub releases: Vec<String>,
    /// Text within the error or a field message, case folded.
    pub text: Option<String>,
    /// Whether that text is looked for in what who sees no people is shown: else people could be found by trying.
    pub masks_text: bool,
}

/// One status code or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    Code(u16),
    /// 4 is `4xx`.
    Class(u8),
}

impl StatusFilter {
    /// Reads `422` or `5xx`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(class) = text.strip_suffix("xx") {
            return class.parse().ok().filter(|class| (4..=5).contains(class)).map(Self::Class);
        }
        text.parse().ok().filter(|code| (400..=599).contains(code)).map(Self::Code)
    }

    /// Whether a code is it, or one of them.
    pub(super) fn holds(self, code: u16) -> bool {
        let (first, last) = self.range();
        (first..=last).contains(&code)
    }

    /// First and last code.
    fn range(self) -> (u16, u16) {
        match self {
            Self::Code(code) => (code, code),
            Self::Class(class) => (u16::from(class) * 100, u16::from(class) * 100 + 99),
        }
    }
}

impl std::fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl Sql {
    /// ` WHERE …` for a project and a time range: the primary key, and the partitions that can hold it.
    pub(super) fn push_range(&mut self, project: &str, from_ms: i64, to_ms: i64) -> &mut Self {
        self.push_value(" WHERE project = {}", Value::Text(project.to_owned()))
            .push_value(" AND timestamp >= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(from_ms))
            .push_value(" AND timestamp < fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(to_ms))
            .push_value(
                " AND received_at >= fromUnixTimestamp64Milli({}, 'UTC')",
                Value::Int(from_ms.saturating_sub(CLOCK_AHEAD_MS)),
            )
    }

    /// ` WHERE …` for a project and a filter.
    pub(super) fn push_filter(&mut self, project: &str, filter: &Filter) -> &mut Self {
        self.push_range(project, filter.from_ms, filter.to_ms).push_matching(filter)
    }

    /// The conditions on the event and on its field errors.
    pub(super) fn push_matching(&mut self, filter: &Filter) -> &mut Self {
        self.push_conditions(filter);
        if !filter.fields.is_empty() || !filter.rules.is_empty() {
            self.push(" AND arrayExists((field, rule) -> 1");
            self.push_errors_conditions(filter, "field", "rule").push(", `errors.field`, `errors.rule`)");
        }
        self
    }

    /// The conditions on the event itself.
    pub(super) fn push_conditions(&mut self, filter: &Filter) -> &mut Self {
        self.push_statuses(&filter.statuses);
        for (column, values) in [
            ("service", &filter.services),
            ("environment", &filter.environments),
            ("route", &filter.routes),
            ("method", &filter.methods),
            ("account_id", &filter.account_ids),
            ("user_id", &filter.user_ids),
            ("release", &filter.releases),
        ] {
            self.push_one_of(column, values);
        }
        self.push_fingerprints(&filter.fingerprints);
        if let Some(text) = &filter.text {
            // What a masked text has between its masks, the text has too: masking, which takes long, is for the few that have it.
            if !filter.masks_text || !text.contains(MASK) {
                self.push_text(text, |sql, column| sql.push(column));
            }
            if filter.masks_text {
                self.push_text(text, Self::push_masked);
            }
        }
        self
    }

    /// That a text is in the error or in a field message, as `shown` makes them.
    fn push_text(&mut self, text: &str, shown: impl for<'a> Fn(&'a mut Self, &'static str) -> &'a mut Self) {
        self.push(" AND (positionCaseInsensitiveUTF8(");
        shown(self, "error").push_value(", {}) > 0", Value::Text(text.to_owned()));
        self.push(" OR arrayExists(message -> positionCaseInsensitiveUTF8(");
        shown(self, "message").push_value(", {}) > 0, `errors.message`))", Value::Text(text.to_owned()));
    }

    /// The conditions on one field error, whose field and rule go by the given names.
    pub(super) fn push_errors_conditions(&mut self, filter: &Filter, field: &str, rule: &str) -> &mut Self {
        self.push_one_of(field, &filter.fields).push_one_of(rule, &filter.rules)
    }

    pub(super) fn push_one_of(&mut self, column: &str, values: &[String]) -> &mut Self {
        if !values.is_empty() {
            self.push(" AND ").push(column).push_value(" IN {}", Value::Texts(values.to_vec()));
        }
        self
    }

    /// As a set: there may be hundreds.
    pub(super) fn push_fingerprints(&mut self, fingerprints: &[u64]) -> &mut Self {
        if !fingerprints.is_empty() {
            self.push_value(" AND fingerprint IN {}", Value::UInts(fingerprints.to_vec()));
        }
        self
    }

    pub(super) fn push_statuses(&mut self, statuses: &[StatusFilter]) {
        if statuses.is_empty() {
            return;
        }
        self.push(" AND (0");
        for status in statuses {
            let (first, last) = status.range();
            self.push_value(" OR status BETWEEN {}", Value::UInt(first.into()));
            self.push_value(" AND {}", Value::UInt(last.into()));
        }
        self.push(")");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_and_classes_of_errors_only() {
        assert_eq!(StatusFilter::parse("422"), Some(StatusFilter::Code(422)));
        assert_eq!(StatusFilter::parse(" 5XX "), Some(StatusFilter::Class(5)));
        for text in ["", "xx", "2xx", "6xx", "200", "600", "abc", "-5xx", "4xxx"] {
            assert_eq!(StatusFilter::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_value_of_a_user_stands_in_the_text_of_the_sql() {
        let hostile = "x') OR 1 --{p0:String}".to_owned();
        let filter = Filter {
            services: vec![hostile.clone()],
            fields: vec![hostile.clone()],
            text: Some(hostile.clone()),
            masks_text: true,
            ..Filter::default()
        };
        let mut sql = Sql::new("SELECT 1 FROM events");
        sql.push_filter(&hostile, &filter);
        assert!(!sql.text.contains("OR 1 --"), "{}", sql.text);
        assert_eq!(sql.params.len(), 17);
        let is_hostile = |(_, value): &&(String, Value)| format!("{value:?}").contains("OR 1 --");
        assert_eq!(sql.params.iter().filter(is_hostile).count(), 7, "{:?}", sql.params);
    }
}
