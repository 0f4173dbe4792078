//! Not found is a page: what is known, and what to do.

use askama::Template;

use crate::{
    console::{
        Layout,
        view::{
            Markup,
            time::{Format, ago, moment},
        },
    },
    event::RequestId,
    http::lookup::Unknown,
};

#[derive(Template)]
#[template(path = "lookup/unknown.html")]
pub(super) struct UnknownPage {
    layout: Layout,
    id: RequestId,
    headline: &'static str,
    /// What is known, label by label.
    facts: Vec<(&'static str, Markup)>,
    /// What to do, step by step.
    steps: Vec<String>,
}

pub(super) fn page(layout: Layout, id: &RequestId, why: &Unknown, now_ms: i64) -> UnknownPage {
    let (headline, facts, steps) = told(why, now_ms);
    UnknownPage { layout, id: id.clone(), headline, facts, steps }
}

type Told = (&'static str, Vec<(&'static str, Markup)>, Vec<String>);

fn told(why: &Unknown, now_ms: i64) -> Told {
    let at = |ms: i64| Markup::new(format!("{} ({})", moment(ms, Format::Full), ago(ms, now_ms)));
    match why {
        Unknown::Rejected(rejection) => (
            "This request was reported, and the report was not taken",
            vec![
                ("Arrived", at(rejection.at_ms)),
                ("Reason", rejection.reason.as_str().into()),
                ("What was wrong", rejection.message.as_str().into()),
            ],
            vec![
                "The API sent an error event that Errata cannot read. Tell the API’s developers what was wrong, as it stands above.".into(),
                "Ask the customer for the answer they got: status, message and time help to find the cause in the API’s own log.".into(),
            ],
        ),
        Unknown::Quarantined { at_ms, reason, entry } => (
            "This request was received and is set aside",
            vec![("Received", at(*at_ms)), ("Why", format!("the database refused it: {reason}").into())],
            vec![format!("Nothing is lost. Ask an admin to put it back: errata quarantine retry {entry}; then look it up again.")],
        ),
        Unknown::Erased { at_ms } => (
            "What was known of this request was erased",
            vec![("Erased", at(*at_ms))],
            vec!["An admin has erased it, as the law gives people a right to. Nothing of it is kept; the customer’s own answer is all there is."
                .into()],
        ),
        Unknown::Expired { first_seen_ms, kept_days } => (
            "This request is too old to be kept",
            vec![("Its event was of", at(*first_seen_ms)), ("Kept", format!("{kept_days} days").into())],
            vec!["The id is genuine. Ask the customer to try again and to send the new request id.".into()],
        ),
        Unknown::TooOld { made_ms, kept_days } => (
            "This id is older than what is kept",
            vec![("The id was made", at(*made_ms)), ("Kept", format!("{kept_days} days").into())],
            vec!["Ask the customer to try again and to send the new request id.".into()],
        ),
        Unknown::NeverReceived { project, span } => {
            let mut facts: Vec<(&'static str, Markup)> = vec![("Project", project.as_str().into())];
            match span {
                Some(span) => {
                    facts.push(("First event of the project", at(span.first_ms)));
                    facts.push(("Latest event", at(span.last_ms)));
                }
                None => facts.push(("Events of the project", "none has arrived yet".into())),
            }
            let steps = vec![
                "Check the id with the customer: all of it, from the error answer itself (request_id, or the header X-Request-ID). Requests that \
                 succeeded have no event here.".into(),
                "Check that it is of this project, and not of another one you can sign in to.".into(),
                "If other requests of the same service are missing too, its events do not arrive: tell the API’s developers.".into(),
            ];
            ("Nothing was ever received with this id", facts, steps)
        }
    }
}
