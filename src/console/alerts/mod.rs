//! Alerts: what fires and why, who looks after it, who is not told, and what became of earlier ones.

mod shown;

use std::{collections::BTreeMap, fmt::Write as _};

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    Form, Html, Layout, Visit, render,
    view::{Column, Markup, Pager, ago, plural, scroll, state_tag, time},
};
use crate::{
    http::{
        Shared,
        alerts::{self, Alert, AlertChange, AlertSilence, Alerts, NewAcknowledgement, NewSilence},
        answer::ApiError,
        audit::{Subject, about},
        params::Params,
    },
    state::TokenInfo,
};
use shown::{AlertView, SilenceView};

/// Changes on a page of the history.
const CHANGES: usize = 50;

#[derive(Template)]
#[template(path = "alerts/alerts.html")]
struct AlertsPage {
    layout: Layout,
    /// Is something wrong, in a sentence.
    summary: String,
    /// Why nothing moves at the moment.
    frozen: String,
    /// When rules were evaluated last.
    evaluated: Option<Markup>,
    firing: Vec<AlertView>,
    others: Vec<AlertView>,
    silences: Vec<SilenceView>,
    /// Names of the rules in effect, for the form.
    rules: Vec<String>,
    history: Option<Markup>,
    /// Whose history it is, and the way to that of all.
    of_rule: Option<(Markup, String)>,
    pager: Markup,
}

/// `GET /alerts`
pub(super) async fn page(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Html, ApiError> {
    let rule = params.one("rule");
    let cursor = params.parsed("cursor", "the next_cursor of a page", |text| text.parse::<i64>().ok());
    params.finish()?;
    let (standing, history) = tokio::try_join!(
        alerts::standing(&shared, token.project.clone()),
        alerts::changes(&shared, token.project.clone(), rule.clone(), cursor, CHANGES),
    )?;
    let summary = summary(&standing);
    let Alerts { evaluated_at, frozen, alerts, silences } = standing;
    let view = |alert: Alert| AlertView::new(alert, &token, visit.now_ms);
    let (firing, others): (Vec<_>, Vec<_>) = alerts.into_iter().partition(|alert| is_firing(alert.state));
    let pager = Pager {
        first: cursor.map(|_| visit.with_params(&[("cursor", "")])),
        next: history.next_cursor.as_ref().map(|cursor| visit.with_params(&[("cursor", cursor)])),
    };
    let rules = shared.rules.rules.iter().map(|rule| rule.name.clone());
    render(&AlertsPage {
        layout: visit.layout("Alerts"),
        summary,
        frozen: frozen.unwrap_or_default(),
        evaluated: evaluated_at.as_deref().and_then(time::parse).map(|at| ago(at, visit.now_ms)),
        firing: firing.into_iter().map(view).collect(),
        others: others.into_iter().map(view).collect(),
        silences: silences.into_iter().map(|silence: AlertSilence| SilenceView::new(silence, visit.now_ms)).collect(),
        rules: rules.collect(),
        history: (!history.changes.is_empty()).then(|| changes(&history.changes, &visit)),
        of_rule: rule.map(|rule| (rule.into(), visit.with_params(&[("rule", ""), ("cursor", "")]))),
        pager: pager.html(),
    })
}

fn is_firing(state: &str) -> bool {
    matches!(state, "firing" | "acknowledged" | "silenced")
}

/// `2 alerts fire, 1 of them acknowledged; 1 more is pending.`
fn summary(standing: &Alerts) -> String {
    let count = |state: &str| standing.alerts.iter().filter(|alert| alert.state == state).count() as u64;
    let mut text = match standing.alerts.iter().filter(|alert| is_firing(alert.state)).count() as u64 {
        0 => "Nothing fires".to_owned(),
        some => plural(some, "alert fires", "alerts fire"),
    };
    for state in ["acknowledged", "silenced"] {
        match count(state) {
            0 => {}
            some => _ = write!(text, ", {some} of them {state}"), // writing to a String cannot fail
        }
    }
    match count("pending") {
        0 => {}
        pending => _ = write!(text, "; {} pending", plural(pending, "more is", "more are")),
    }
    text + "."
}

fn changes(changes: &[AlertChange], visit: &Visit) -> Markup {
    let columns = [
        Column::Text("When"),
        Column::Text("Change"),
        Column::Row("Rule"),
        Column::Text("Of what"),
        Column::Text("Counted then"),
    ];
    let row = |change: &AlertChange| {
        let rule = visit.with_params(&[("rule", &change.rule), ("cursor", "")]);
        vec![
            time::ago_of(&change.at, visit.now_ms),
            state_tag(&change.change),
            shown::link(&rule, &change.rule),
            shown::labels(&change.labels),
            change.summary.as_str().into(),
        ]
    };
    scroll("What became of alerts, the newest first", &columns, &changes.iter().map(row).collect::<Vec<_>>())
}

/// The labels that a form names, as JSON: those of an alert, which the form was made for.
fn labels_of(form: &Form) -> Result<BTreeMap<String, String>, ApiError> {
    match form.field("labels") {
        "" => Ok(BTreeMap::new()),
        text => serde_json::from_str(text).map_err(|_| {
            ApiError::invalid("labels", "are not those of an alert: open the page again and repeat what you did")
        }),
    }
}

/// `POST /alerts/acknowledge`
pub(super) async fn acknowledge(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    visit: Visit,
    form: Form,
) -> Result<Response, ApiError> {
    about(subject, || form.field("rule").to_owned());
    let asked = NewAcknowledgement { labels: labels_of(&form)?, comment: form.field("comment").trim().to_owned() };
    alerts::look_after(&shared, token, form.field("rule").to_owned(), asked).await?;
    Ok(visit.send_on("/alerts", "Acknowledged: nobody is told again until it fires anew."))
}

/// `POST /alerts/silence`
pub(super) async fn silence(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    visit: Visit,
    form: Form,
) -> Result<Response, ApiError> {
    let mut labels = labels_of(&form)?;
    let (label, value) = (form.field("label").trim(), form.field("value").trim());
    if !label.is_empty() {
        labels.insert(label.to_owned(), value.to_owned());
    }
    let asked = NewSilence {
        rule: Some(form.field("rule").to_owned()).filter(|rule| !rule.is_empty()),
        labels,
        until: None,
        lasts: Some(form.field("for").to_owned()),
        comment: form.field("comment").trim().to_owned(),
    };
    let silence = alerts::begin_silence(&shared, token, subject, asked).await?;
    let until = time::utc(silence.until_ms, time::Format::Full);
    Ok(visit.send_on("/alerts", &format!("Silenced until {until}. States go on; nobody is told.")))
}

/// `POST /alerts/end-silence`
pub(super) async fn end_silence(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    visit: Visit,
    form: Form,
) -> Result<Response, ApiError> {
    about(subject, || form.field("id").to_owned());
    alerts::stop_silence(&shared, token.project, form.field("id").to_owned()).await?;
    Ok(visit.send_on("/alerts", "The silence has ended: what still fires is told again."))
}
