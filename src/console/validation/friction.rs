//! Who cannot get on, as a table.

use super::{
    Context,
    failures::{explore, field_link},
};
use crate::{
    console::view::{Column, Markup, duration, escape, number, plural, route_code, scroll, time::ago_of},
    http::validation::friction::{Friction, FrictionAccount, FrictionAt},
};

pub(super) struct FrictionView {
    pub(super) is_empty: bool,
    /// What the words of the table mean.
    pub(super) legend: String,
    pub(super) table: Markup,
}

impl FrictionView {
    pub(super) fn new(friction: &Friction, context: &Context<'_>) -> Self {
        const COLUMNS: [Column; 8] = [
            Column::Row("Field"),
            Column::Text("Route"),
            Column::Number("Accounts"),
            Column::Number("Tries each"),
            Column::Number("Stuck"),
            Column::Number("Still failing"),
            Column::Number("Not seen again"),
            Column::Text("Most tries"),
        ];
        let quiet = duration(friction.quiet_seconds * 1000);
        let rows: Vec<_> = friction.rows.iter().filter(|row| row.accounts > 0).map(|row| cells(row, context)).collect();
        Self {
            is_empty: rows.is_empty(),
            legend: format!(
                "A try is an hour in which an account failed. Who failed in the last {quiet} still fails; who tried more than once and still \
                 fails is stuck; the others got on, or gave up."
            ),
            table: scroll("Accounts that fail again and again, by field and route", &COLUMNS, &rows),
        }
    }
}

fn cells(row: &FrictionAt, context: &Context<'_>) -> Vec<Markup> {
    let link = context.failure_link(&[("field", &row.field), ("route", &row.route), ("rule", "")]);
    let events = explore(context).with("field", &row.field).with("route", &row.route);
    let tries = row.attempts_per_account.map(|tries| format!("{tries:.1}")).unwrap_or_default();
    vec![
        field_link(&row.field, &link),
        route_code(&row.route),
        events.number(row.accounts),
        tries.into(),
        Markup::new(format!("<b>{}</b>", number(row.stuck))),
        number(row.still_failing).into(),
        number(row.not_seen_again).into(),
        worst(&row.worst, row, context),
    ]
}

/// The three accounts that tried most, each with its events.
fn worst(accounts: &[FrictionAccount], row: &FrictionAt, context: &Context<'_>) -> Markup {
    const NAMED: usize = 3;
    let name = |account: &FrictionAccount| {
        let events = explore(context).with("field", &row.field).with("route", &row.route);
        let link = events.with("account_id", account.account_id.as_str()).text(account.account_id.as_str());
        let last = ago_of(&account.last_seen, context.visit.now_ms);
        let tries = plural(account.attempts, "try", "tries");
        format!("{link} <span class=\"faint\">{} · last {last}</span>", escape(&tries))
    };
    Markup::new(accounts.iter().take(NAMED).map(name).collect::<Vec<_>>().join("<br>"))
}
