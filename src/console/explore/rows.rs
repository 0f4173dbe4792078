//! An event as a row of the table: the same on the page and in its live tail.

use crate::{
    console::{
        address::{Address, cut},
        view::{self, Markup, escape, time},
    },
    event::Event,
    http::{Shared, events::Viewer},
};

/// Characters of a message that a row shows; the request's page has all of it.
const MESSAGE: usize = 160;

/// Characters of a route, an account, a service.
const WORD: usize = 80;

/// The row of an event, as it may be shown: what happened in plain words first, then its codes.
pub(super) fn row(event: Event, viewer: &Viewer, shared: &Shared, address: &Address) -> Markup {
    let headline = viewer.sight().explanation(shared.catalog.explain(&event), &event).headline;
    let at_ms = event.timestamp_ms;
    // What is personal is taken from here alone.
    let event = viewer.show(event, shared);
    let status = event.status.to_string();
    let [day, clock] = [time::Format::Day, time::Format::Clock].map(|format| time::moment(at_ms, format));
    let badge = address.narrow_badge(event.status, &status);
    let place = format!("{} {}", event.method, event.route);
    let place = address.narrow("route", &event.route, &cut(place.trim(), WORD));
    let service = [&event.service, &event.release].map(|text| cut(text, WORD)).join(" ");
    let service = address.narrow("service", &event.service, service.trim());
    let account = event.account_id.as_str();
    let account = address.narrow("account_id", account, &cut(account, WORD));
    let id = view::request_for(&event.request_id, &viewer.token);
    let codes = codes(&event, &headline);
    let headline = escape(&cut(&headline, MESSAGE));
    Markup::new(format!(
        "<tr><td class=\"when\">{day} {clock}</td><td>{badge}</td><td class=\"what\"><b>{headline}</b>{codes}</td><td class=\"where\">{place}<span \
         class=\"faint\">{service}</span></td><td>{account}</td><td class=\"which\">{id}</td></tr>"
    ))
}

/// The first field error as its field, message and rule; else the general error, where the headline does not say it.
fn codes(event: &crate::http::stored::StoredEvent, headline: &str) -> String {
    let Some(error) = event.errors.first() else {
        let general = event.error.as_str();
        let is_said = general.is_empty() || general == headline;
        return if is_said {
            String::new()
        } else {
            format!("<span class=\"faint\">{}</span>", escape(&cut(general, MESSAGE)))
        };
    };
    let more = event.errors.len() - 1;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let field = if error.field.is_empty() {
        String::new()
    } else {
        format!("<code>{}</code> ", escape(&cut(&error.field, WORD)))
    };
    format!("<span class=\"faint\">{field}{}{}</span>", escape(&cut(error.message.as_str(), MESSAGE)), escape(&more))
}

impl Address {
    /// A status in its colour, which narrows the view to it.
    fn narrow_badge(&self, status: u16, text: &str) -> Markup {
        let badge = view::badge(status);
        if self.pairs().iter().any(|(name, value)| name == "status" && value == text) {
            return badge;
        }
        let link = escape(&self.only("status", text).path("/explore"));
        Markup::new(format!("<a class=\"plain\" href=\"{link}\">{badge}</a>"))
    }
}
