//! The table of failures: field, rule, route, how often, whom, the trend.

use std::collections::HashMap;

use super::Context;
use crate::{
    console::{
        address::Address,
        chart::spark,
        view::{Column, Explore, Markup, code, escape, field_name, number, percent, plural, route_code, scroll},
    },
    http::validation::{Failure, Failures, TopRule},
    store::query::FailureTrend,
};

/// One of the rules that cause most.
pub(super) struct Top {
    pub(super) field: String,
    pub(super) rule: String,
    pub(super) share: String,
    pub(super) count: Markup,
    /// None where no filter asks for it.
    pub(super) link: Option<String>,
}

impl Top {
    pub(super) fn new(rule: &TopRule, context: &Context<'_>) -> Self {
        let values = [("field", rule.field.as_str()), ("rule", rule.rule.as_str())];
        Self {
            field: field_name(&rule.field).to_owned(),
            share: percent(rule.share),
            count: explore(context, &values).text(&plural(rule.count, "failure", "failures")),
            link: context.failure_link(&values),
            rule: rule.rule.clone(),
        }
    }
}

/// A field that leads to the page of its failures, if a filter asks for them.
pub(super) fn field_link(field: &str, link: Option<&str>) -> Markup {
    let name = code(field_name(field));
    match link {
        Some(link) => Markup::new(format!("<a href=\"{}\">{name}</a>", escape(link))),
        None => name,
    }
}

/// How many failures, and in how many events where those are fewer: they are what the link leads to.
pub(super) fn counted(row: &Failure, events: &Explore) -> Markup {
    let count = events.number(row.count);
    if row.events == row.count {
        return count;
    }
    let events = plural(row.events, "event", "events");
    Markup::new(format!("{count} <span class=\"faint\">in {}</span>", escape(&events)))
}

/// A number of accounts that leads to them: where the page of their failure lists whom it meets.
pub(super) fn accounts_link(accounts: u64, link: Option<&str>) -> Markup {
    match link {
        Some(link) if accounts > 0 => Markup::new(format!("<a href=\"{}#who\">{}</a>", escape(link), number(accounts))),
        _ => number(accounts).into(),
    }
}

/// The events of the page's range and of all its filters, but with these values of their own.
pub(super) fn explore(context: &Context<'_>, values: &[(&str, &str)]) -> Explore {
    with_filters(Explore::of(context.range), context, values)
}

/// Events with all filters of the page, but with these values of their own.
pub(super) fn with_filters(events: Explore, context: &Context<'_>, values: &[(&str, &str)]) -> Explore {
    let others: Vec<_> = values.iter().map(|(name, _)| *name).chain(["from", "to"]).collect();
    let kept = Address::of(context.visit).without(&others);
    let kept = kept.pairs().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    kept.chain(values.iter().copied()).fold(events, |events, (name, value)| events.with(name, value))
}

/// `knows_before`: whether the period before is one that can be compared with.
pub(super) fn table(failures: &Failures, trends: &[FailureTrend], knows_before: bool, context: &Context<'_>) -> Markup {
    const COLUMNS: [Column; 8] = [
        Column::Row("Field"),
        Column::Text("Rule"),
        Column::Text("Route"),
        Column::Number("Failures"),
        Column::Number("Accounts"),
        Column::Text("Trend"),
        Column::Number("Change"),
        Column::Text("Reference"),
    ];
    let key = |trend: &FailureTrend| [trend.field.clone(), trend.rule.clone(), trend.route.clone()];
    let trends: HashMap<_, _> = trends.iter().map(|trend| (key(trend), trend)).collect();
    let rows: Vec<_> = failures.rows.iter().map(|row| cells(row, &trends, knows_before, context)).collect();
    scroll("Validation failures by field, rule and route", &COLUMNS, &rows)
}

fn cells(
    row: &Failure,
    trends: &HashMap<[String; 3], &FailureTrend>,
    knows_before: bool,
    context: &Context<'_>,
) -> Vec<Markup> {
    let key = |name: &str| row.keys.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    let (field, rule, route) = (key("field"), key("rule"), key("route"));
    let values = [("field", field.as_str()), ("rule", rule.as_str()), ("route", route.as_str())];
    let link = context.failure_link(&values);
    let label = plural(row.count, "failure", "failures");
    let trend = trends.get(&[field.clone(), rule.clone(), route.clone()]);
    vec![
        field_link(&field, link.as_deref()),
        code(&rule),
        route_code(&route),
        counted(row, &explore(context, &values)),
        accounts_link(row.accounts, link.as_deref()),
        trend.map_or_else(Markup::default, |trend| spark(&context.counts(trend), &format!("{label} over the range"))),
        change(row.count, row.previous_count.filter(|_| knows_before), &context.before(&values)),
        documented_tag(row.documented == Some(true)),
    ]
}

pub(super) fn documented_tag(documented: bool) -> Markup {
    Markup::new(if documented {
        "<span class=\"tag yes\">documented</span>".to_owned()
    } else {
        "<span class=\"tag no\">not documented</span>".to_owned()
    })
}

/// Against the period before: `+12 %`, `−40 %`, `none before`; a dash where that is not known. It leads to the events of that period, if there are any.
fn change(count: u64, before: Option<u64>, events: &Explore) -> Markup {
    let Some(before) = before else {
        let hover = "there are no events of all of the period of the same length before";
        return Markup::new(format!("<span title=\"{hover}\">–</span>"));
    };
    let text = match (count, before) {
        (_, 0) => "none before".to_owned(),
        (count, before) if count == before => "same".to_owned(),
        (count, before) => {
            let factor = count as f64 / before as f64;
            if factor >= 10.0 {
                format!("× {factor:.0}")
            } else {
                let percent = (factor - 1.0) * 100.0;
                format!("{}{:.0}\u{202f}%", if percent < 0.0 { "−" } else { "+" }, percent.abs())
            }
        }
    };
    let hover = format!("{} in the period of the same length before", number(before));
    let shown = if before == 0 { escape(&text) } else { events.text(&text).to_string() };
    Markup::new(format!("<span title=\"{}\">{shown}</span>", escape(&hover)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_in_the_form_that_is_read_fastest() {
        let events = Explore::default().with("rule", "required");
        let text = |count, before| {
            let html = change(count, before, &events).to_string().replace('\u{202f}', " ");
            let text = html.split_once('>').unwrap().1.trim_end_matches("</span>");
            let link =
                text.strip_prefix("<a href=\"/explore?rule=required\">").and_then(|link| link.strip_suffix("</a>"));
            assert_eq!(link.is_some(), before.is_some_and(|before| before > 0), "{html}");
            link.unwrap_or(text).to_owned()
        };
        let told = [text(5, Some(0)), text(5, Some(5)), text(6, Some(5)), text(3, Some(5))];
        assert_eq!(told, ["none before", "same", "+20 %", "−40 %"]);
        assert_eq!([text(5000, Some(5)), text(5, None)], ["× 1000", "–"]);
    }
}
