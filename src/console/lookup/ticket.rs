//! Several ids of one ticket: a short result each.

use askama::Template;

use crate::{
    console::{
        Layout, Visit,
        view::{
            self, Markup,
            time::{Format, ago, moment, parse, with_moments},
        },
    },
    http::lookup::{
        LookupState,
        ticket::{TicketAnswer, TicketResult},
    },
};

#[derive(Template)]
#[template(path = "lookup/ticket.html")]
pub(super) struct TicketPage {
    layout: Layout,
    found: usize,
    results: Vec<ResultView>,
    /// The text held more ids than are looked up.
    more: bool,
}

struct ResultView {
    id: Markup,
    path: String,
    headline: String,
    badge: Option<Markup>,
    when: Option<(Markup, Markup)>,
    place: String,
    reply: String,
    reason: Markup,
    is_pending: bool,
}

pub(super) fn page(visit: &Visit, answer: TicketAnswer) -> TicketPage {
    let ids: Vec<_> = answer.results.iter().map(|result| result.request_id.clone()).collect();
    TicketPage {
        layout: visit.layout(format!("{} requests", ids.len())).with_asked(ids.join(" ")),
        found: answer.results.iter().filter(|result| result.state == LookupState::Found).count(),
        more: answer.more,
        results: answer.results.into_iter().map(|result| ResultView::new(result, visit.now_ms)).collect(),
    }
}

impl ResultView {
    fn new(result: TicketResult, now_ms: i64) -> Self {
        let (method, route) = (result.method.unwrap_or_default(), result.route.unwrap_or_default());
        let at = result.timestamp.as_deref().and_then(parse);
        Self {
            id: view::request(&result.request_id),
            path: view::lookup_path(&result.request_id),
            headline: result.headline.unwrap_or_default(),
            badge: result.status.map(view::badge),
            when: at.map(|at| (moment(at, Format::Full), ago(at, now_ms))),
            place: [format!("{method} {route}").trim(), &result.service.unwrap_or_default()]
                .join(" · ")
                .trim_matches([' ', '·'])
                .to_owned(),
            reply: result.customer_reply.unwrap_or_default(),
            reason: with_moments(&result.reason.unwrap_or_default()),
            is_pending: result.state == LookupState::Pending,
        }
    }
}
