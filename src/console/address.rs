//! The address of a view: its filters as parameters, as chips, as a command. Explore and the pages of validation take the same ones.

use crate::console::{
    Visit,
    view::{self, Markup},
};

/// The filters: the parameter, and the flag of `errata search` and `errata tail`.
pub(super) const FILTERS: [(&str, &str); 12] = [
    ("status", "--status"),
    ("service", "--service"),
    ("environment", "--environment"),
    ("release", "--release"),
    ("route", "--route"),
    ("method", "--method"),
    ("account_id", "--account"),
    ("user_id", "--user"),
    ("field", "--field"),
    ("rule", "--rule"),
    ("fingerprint", "--fingerprint"),
    ("q", "--text"),
];

/// The parameters that make a view: its range and its filters, in the order they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address(Vec<(String, String)>);

impl Address {
    /// Of the page that was asked for: what of its parameters makes the view, each value on its own.
    pub(super) fn of(visit: &Visit) -> Self {
        Self::split(visit, |name| name == "from" || name == "to" || is_filter(name))
    }

    /// The same with all else that the page was asked for, such as an order, but for the place in its list.
    pub(super) fn of_list(visit: &Visit) -> Self {
        Self::split(visit, |name| name != "cursor")
    }

    fn split(visit: &Visit, is_kept: impl Fn(&str) -> bool) -> Self {
        let pairs = visit.params().into_iter().filter(|(name, value)| is_kept(name) && !value.is_empty());
        let split = pairs.flat_map(|(name, value)| {
            // Some filters may hold commas themselves.
            let is_list = is_filter(&name) && !["route", "field", "rule", "q"].contains(&name.as_str());
            let values: Vec<_> = if is_list {
                value.split(',').map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
            } else {
                vec![value]
            };
            values.into_iter().map(move |value| (name.clone(), value))
        });
        Self(split.collect())
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Whether it is narrowed by more than its range.
    pub(super) fn is_filtered(&self) -> bool {
        self.0.iter().any(|(name, _)| is_filter(name))
    }

    /// Where a path leads with these parameters.
    pub(super) fn path(&self, path: &str) -> String {
        view::address(path, &self.0)
    }

    /// With one value more, unless it is there.
    pub(super) fn and(&self, name: &str, value: &str) -> Self {
        let pair = (name.to_owned(), value.to_owned());
        let mut pairs = self.0.clone();
        if !value.is_empty() && !pairs.contains(&pair) {
            pairs.push(pair);
        }
        Self(pairs)
    }

    /// Without any value of these names.
    pub(super) fn without(&self, names: &[&str]) -> Self {
        Self(self.0.iter().filter(|(name, _)| !names.contains(&name.as_str())).cloned().collect())
    }

    /// Of another range; an empty text leaves an end out.
    pub(super) fn within(&self, from: &str, to: &str) -> Self {
        self.without(&["from", "to"]).and("from", from).and("to", to)
    }

    /// With this value alone of its name.
    pub(super) fn only(&self, name: &str, value: &str) -> Self {
        self.without(&[name]).and(name, value)
    }

    /// A link that narrows the view to a value; the value alone where the view is narrowed to it already.
    pub(super) fn narrow(&self, name: &str, value: &str, shown: &str) -> Markup {
        let shown = view::escape(shown);
        if value.is_empty() || self.0.iter().any(|(key, known)| key == name && known == value) {
            return Markup::new(shown);
        }
        let link = view::escape(&self.only(name, value).path("/explore"));
        Markup::new(format!("<a class=\"narrow-to\" href=\"{link}\">{shown}</a>"))
    }

    /// Each filter with the link that takes it off, and no other, of the page at a path.
    pub(super) fn chips(&self, path: &str) -> Vec<Markup> {
        self.chips_of(path, is_filter)
    }

    /// The same of some of the parameters.
    pub(super) fn chips_of(&self, path: &str, is_shown: impl Fn(&str) -> bool) -> Vec<Markup> {
        let filters = self.0.iter().enumerate().filter(|(_, (name, _))| is_shown(name));
        let chip = |(index, (name, value)): (usize, &(String, String))| {
            let mut rest = self.0.clone();
            rest.remove(index);
            view::chip(name, &cut(value, 80), &Self(rest).path(path))
        };
        filters.map(chip).collect()
    }

    /// The command that follows the same events in a terminal.
    pub(super) fn tail_command(&self) -> String {
        let flag = |(name, value): &(String, String)| {
            let (_, flag) = FILTERS.iter().find(|(filter, _)| filter == name)?;
            Some(format!(" {flag} {}", quoted(value)))
        };
        std::iter::once("errata tail".to_owned()).chain(self.0.iter().filter_map(flag)).collect()
    }
}

/// Whether a parameter is a filter.
fn is_filter(name: &str) -> bool {
    FILTERS.iter().any(|(filter, _)| *filter == name)
}

/// A word of a shell's command line.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:{}".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) && !text.contains('{') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The start of a text, with an ellipsis where it was cut.
pub(super) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(pairs: &[(&str, &str)]) -> Address {
        Address(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_chip_takes_its_own_value_off_and_no_other() {
        let view = address(&[("from", "-7d"), ("status", "422"), ("status", "5xx"), ("q", "a&b\"<c>")]);
        let chips = view.chips("/explore");
        assert_eq!(chips.len(), 3);
        assert!(
            chips[0].as_str().contains("href=\"/explore?from=-7d&amp;status=5xx&amp;q=a%26b%22%3Cc%3E\""),
            "{}",
            chips[0]
        );
        assert!(!chips[2].as_str().contains("<c>"), "{}", chips[2]);
    }

    #[test]
    fn views_are_narrowed_and_widened() {
        let view = address(&[("status", "422"), ("from", "-7d")]);
        assert_eq!(view.and("status", "422"), view);
        assert_eq!(view.only("status", "5xx").path("/explore"), "/explore?from=-7d&status=5xx");
        assert_eq!(view.within("a", "").path("/explore"), "/explore?status=422&from=a");
        assert_eq!(view.narrow("status", "422", "422").as_str(), "422");
        assert!(view.narrow("route", "/a<b>", "/a<b>").as_str().ends_with("route=%2Fa%3Cb%3E\">/a&lt;b&gt;</a>"));
        assert_eq!(Address::default().path("/explore"), "/explore");
    }

    #[test]
    fn the_command_is_one_a_shell_takes_as_it_is_meant() {
        let view =
            address(&[("status", "5xx"), ("route", "/a/{id}"), ("q", "it's $HOME; rm -rf"), ("account_id", "-1")]);
        let expected = r"errata tail --status 5xx --route '/a/{id}' --text 'it'\''s $HOME; rm -rf' --account '-1'";
        assert_eq!(view.tail_command(), expected);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!([cut("äöü", 3), cut("äöü", 2)], ["äöü", "äö…"]);
    }
}
