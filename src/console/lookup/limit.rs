//! The rate limit of a request, then and now.

use crate::{
    console::view::{
        Explore, Markup, number, plural,
        time::{Format, duration, moment},
    },
    http::lookup::Limited,
};

pub(super) struct LimitView {
    /// `10 requests a window, none left`
    pub(super) state: String,
    pub(super) reset: Option<Markup>,
    /// What the customer had to wait, and still has to.
    pub(super) wait: String,
    /// Unix milliseconds of the reset, while it is ahead: the script counts down to it.
    pub(super) countdown_to: Option<i64>,
    pub(super) episode: Option<EpisodeView>,
}

pub(super) struct EpisodeView {
    pub(super) events: Markup,
    pub(super) start: Markup,
    pub(super) end: Markup,
    pub(super) retries: String,
}

impl LimitView {
    pub(super) fn new(limited: &Limited, now_ms: i64) -> Self {
        let limit = limited.limit;
        let allowed = limit.limit.map(|limit| format!("The limit is {}", plural(limit, "request", "requests")));
        let left = limit.remaining.map(|left| match left {
            0 => "none were left".to_owned(),
            left => format!("{} were left", number(left)),
        });
        let state: Vec<_> = allowed.into_iter().chain(left).collect();
        let reset_ms = limit.reset.map(|reset| reset.saturating_mul(1000));
        let now = limited.wait_s(now_ms).unwrap_or(0);
        let wait = match limited.wait_s(limited.at_ms) {
            Some(then) if now > 0 => format!("The customer had to wait {}.", duration(then.saturating_mul(1000))),
            Some(then) => {
                format!("The customer had to wait {}; it is open again now.", duration(then.saturating_mul(1000)))
            }
            None => String::new(),
        };
        Self {
            state: state.join(", "),
            reset: reset_ms.map(|reset| moment(reset, Format::Clock)),
            wait,
            countdown_to: reset_ms.filter(|_| now > 0),
            episode: limited.episode.as_ref().map(|episode| EpisodeView {
                events: Explore::between(episode.start_ms, episode.end_ms.saturating_add(1))
                    .with("status", "429")
                    .with("service", &episode.service)
                    .with("environment", &episode.environment)
                    .with("route", &episode.route)
                    .with("account_id", &episode.account_id)
                    .text(&plural(episode.events, "refusal", "refusals")),
                start: moment(episode.start_ms, Format::Clock),
                end: moment(episode.end_ms, Format::Clock),
                retries: plural(episode.retries_before_reset, "retry", "retries"),
            }),
        }
    }
}
