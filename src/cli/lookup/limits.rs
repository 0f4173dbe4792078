//! The rate limit block of a lookup.

use super::{Node, times::Times};
use crate::cli::duration;

/// What the client's limit was, how long it had to wait, and the episode around; empty without a limit.
pub fn lines(limit: Node<'_>, times: &Times) -> Vec<String> {
    if !limit.is_some() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut state: Vec<String> = Vec::new();
    if let Some(allowed) = limit.count("limit") {
        state.push(format!("limit {allowed}"));
    }
    if let Some(remaining) = limit.count("remaining") {
        state.push(format!("{remaining} left"));
    }
    let reset = match limit.number("reset") {
        Some(seconds) => times.clock_of_unix(seconds as i64),
        None => times.clock(&limit.raw("reset")),
    };
    if !reset.is_empty() {
        state.push(format!("reset at {reset}"));
    }
    lines.push(state.join(", "));
    let wait = |key| limit.number(key).map(|seconds: f64| duration::rough(seconds.max(0.0).ceil() as u64));
    match (wait("wait_seconds_then"), limit.number("wait_seconds_now")) {
        (Some(then), Some(now)) if now > 0.0 => {
            lines.push(format!("had to wait {then} then, {} from now", duration::rough(now.ceil() as u64)));
        }
        (Some(then), _) => lines.push(format!("had to wait {then} then; the limit is open again now")),
        _ => {}
    }
    lines.extend(episode(limit.get("episode"), times));
    lines.retain(|line| !line.is_empty());
    lines
}

fn episode(episode: Node<'_>, times: &Times) -> Option<String> {
    if !episode.is_some() {
        return None;
    }
    let (start, end) = (times.short(&episode.raw("start")), times.clock(&episode.raw("end")));
    let events = episode.count("events").map(|events| format!("{events} refusals"));
    let retries = episode.count("retries_before_reset").map(|retries| format!("{retries} retries before the reset"));
    let counts: Vec<_> = events.into_iter().chain(retries).collect();
    Some(format!("episode {start} to {end}: {}", counts.join(", ")))
}
